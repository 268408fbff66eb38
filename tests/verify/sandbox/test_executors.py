"""The contract of `Executor`, for every executor that can run on this machine."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Executor, Limits, Ran
from burnish.verify.sandbox import Bubblewrap, Unsafe, probe, wardens

FOUND = probe(tools=False)
SOURCE = Path(__file__).resolve().parents[3] / "src"
no_sandbox = pytest.mark.skipif(not FOUND.isolated, reason=f"no sandbox on this machine: {FOUND.missing()}")
EXECUTORS = [
    pytest.param(Bubblewrap(), id="warm", marks=no_sandbox),
    pytest.param(Bubblewrap(warm=False), id="once", marks=no_sandbox),
    pytest.param(Unsafe(), id="unsafe"),
]
# Threads, which end with their process: nothing without a sandbox may leave children behind that go on forking.
FLOOD = """
import threading, time
for _ in range(20): threading.Thread(target=time.sleep, args=(5,), daemon=True).start()
time.sleep(5)
"""
every = pytest.mark.parametrize("executor", EXECUTORS)


@every
def test_a_program_runs_as_a_script_would(executor: Executor) -> None:
    code = """
import atexit, helper, sys, threading
assert __name__ == '__main__' and __file__.endswith('main.py') and sys.argv == ['main.py']
atexit.register(print, 'at exit')
threading.Thread(target=lambda: print('thread')).start()
print(sys.stdin.read(), helper.VALUE, open('data/in.txt').read())
print('an error', file=sys.stderr)
"""
    files = {"helper.py": b"VALUE = 7", "data/in.txt": "grüße".encode()}
    ran = executor.run(code, stdin="zażółć\n", files=files)
    assert (ran.status, ran.limit) == (0, ""), ran
    assert sorted(ran.stdout.split()) == sorted(["zażółć", "7", "grüße", "thread", "at", "exit"])
    assert ran.stdout.endswith("at exit\n") and ran.stderr == "an error\n"
    assert 0 < ran.seconds < 5


@every
def test_a_traceback_begins_at_the_program(executor: Executor) -> None:
    ran = executor.run("def f(x):\n    return 1 / x\n\nf(0)\n")
    assert ran.status == 1 and ran.stderr.count("File ") == 2
    assert "line 4, in <module>" in ran.stderr and "return 1 / x" in ran.stderr
    assert ran.stderr.strip().endswith("ZeroDivisionError: division by zero")
    assert "SyntaxError" in executor.run("def f(:").stderr


@every
@pytest.mark.parametrize(
    ("code", "limit"),
    [
        ("import time\ntime.sleep(99)", "time"),
        ("held = []\nwhile True: held.append(bytearray(1 << 20))", "memory"),
        (FLOOD, "processes"),
        ("while True: print('x' * 999)", "output"),
        ("import time\nfor i in range(20): open(str(i), 'wb').write(b'x' * (1 << 20))\ntime.sleep(9)", "disk"),
    ],
)
def test_limits_end_a_program(executor: Executor, code: str, limit: str) -> None:
    limits = Limits(seconds=1.0 if limit == "time" else 6.0, memory_mib=200, processes=12, output_kib=32, disk_mib=8)
    began = time.monotonic()
    ran = executor.run("print('before', flush=True)\n" + code, limits=limits)
    assert ran.limit == limit, ran
    assert ran.status != 0 and ran.stdout.startswith("before\n") and time.monotonic() - began < limits.seconds + 1
    assert len(ran.stdout) <= 32 << 10


def test_without_namespaces_children_end_too() -> None:
    """A tree of processes in sessions of their own, ended by a limit: none is left, also none of a later fork."""
    code = """
import os, time
for _ in range(3):
    if os.fork() == 0:
        os.setsid()
        for _ in range(3):
            if os.fork() == 0:
                time.sleep(20)
                os._exit(0)
        time.sleep(20)
        os._exit(0)
time.sleep(20)
"""
    ran = Unsafe().run(code, limits=Limits(seconds=0.5))
    assert ran.limit == "time"
    left = [path.parent.name for path in Path("/proc").glob("[0-9]*/cmdline") if b"burnish-unsafe" in _cmdline(path)]
    assert not left


def _cmdline(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""


@every
def test_a_command_brings_files_back(executor: Executor) -> None:
    ran = executor.command(
        ["sh", "-c", "cat > out/copy; echo $? > status; echo done; exit 3"], stdin="in", files={"out/x": b""},
        keep=["out/copy", "status", "absent"],
    )  # fmt: skip
    assert (ran.status, ran.stdout, ran.limit) == (3, "done\n", "")
    assert ran.files == {"out/copy": b"in", "status": b"0\n"}
    assert executor.command(["no-such-command"]).status == 127
    assert executor.command(["./x"], files={"x": b"text"}).status == 126
    large = bytes(range(256)) * 4096
    assert executor.command(["cp", "a", "b"], files={"a": large}, keep=["b"]).files == {"b": large}


@every
def test_a_conversation(executor: Executor) -> None:
    code = (
        "seen = []\nwhile True:\n    seen.append(ask())\n    print(len(seen), flush=True)\n    answer('|'.join(seen))"
    )
    talk = executor.start(code)
    assert [talk.ask("a"), talk.ask("ß" * 3), talk.ask("")] == ["a", "a|ßßß", "a|ßßß|"]
    ran = talk.stop()
    assert (ran.status, ran.stdout, ran.limit) == (0, "1\n2\n3\n", "")
    with pytest.raises(WorkerError, match="ended with status 0"):
        talk.ask("again")


@every
def test_a_conversation_ends_by_its_own_doing_or_a_limit(executor: Executor) -> None:
    talk = executor.start("ask()\nraise ValueError('no more')")
    with pytest.raises(WorkerError, match=r"status 1.*no more"):
        talk.ask("x")
    assert "ValueError: no more" in talk.stop().stderr
    talk = executor.start("ask()\nwhile True: pass")
    began = time.monotonic()
    with pytest.raises(WorkerError, match="limit on time"):
        talk.ask("x", seconds=0.3)
    assert time.monotonic() - began < 2 and talk.stop().limit == "time"
    talk = executor.start("ask()\nanswer('x' * (1 << 20))", limits=Limits(output_kib=64))
    with pytest.raises(WorkerError, match="limit on output"):
        talk.ask("x")
    talk = executor.start("while True: answer(ask())", limits=Limits(seconds=0.3))
    assert talk.ask("x") == "x"
    time.sleep(0.6)
    with pytest.raises(WorkerError, match="limit on time"):
        talk.ask("x")


@every
def test_an_interrupt_is_a_keyboard_interrupt(executor: Executor) -> None:
    code = "import time\nask()\ntry: time.sleep(9)\nexcept KeyboardInterrupt: answer('back')\nanswer(ask())"
    talk = executor.start(code)
    timer = threading.Timer(0.3, talk.interrupt)
    timer.start()
    assert [talk.ask("x"), talk.ask("y")] == ["back", "y"]
    assert talk.stop().status == 0


@pytest.mark.parametrize(
    ("files", "limits", "told"),
    [
        ({"../x": b""}, Limits(), "../x"),
        ({"/etc/x": b""}, Limits(), "/etc/x"),
        ({"a//b": b""}, Limits(), "a//b"),
        ({"a": b"", "a/b": b""}, Limits(), "'a' is also the folder"),
        ({"x": bytes(2 << 20)}, Limits(disk_mib=1), "disk_mib=1"),
        ({}, Limits(seconds=0.0), "seconds is 0.0"),
        ({}, Limits(memory_mib=-1), "memory_mib is -1"),
    ],
)
def test_bad_requests_are_refused_before_anything_starts(
    files: dict[str, bytes], limits: Limits, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wardens, "start", lambda *words, **more: pytest.fail("a process was started"))
    for executor in (Bubblewrap(bwrap="/bin/true"), Unsafe()):
        with pytest.raises(SettingsError) as error:
            executor.run("pass", files=files, limits=limits)
        assert told in str(error.value)
    with pytest.raises(SettingsError, match="list of words"):
        Unsafe().command("ls -l")


@no_sandbox
def test_in_threads_and_in_asyncio() -> None:
    executor = Bubblewrap()
    codes = [f"import time; time.sleep(0.02); print({i})" for i in range(40)]
    with ThreadPoolExecutor(8) as pool:
        assert [ran.stdout for ran in pool.map(executor.run, codes)] == [f"{i}\n" for i in range(40)]

    async def together() -> list[Ran]:
        return await asyncio.gather(*(executor.run_async(code) for code in codes[:10]))

    assert [ran.stdout for ran in asyncio.run(together())] == [f"{i}\n" for i in range(10)]


def _in_a_child(queue: multiprocessing.Queue) -> None:
    queue.put(Bubblewrap().run("print('child')").stdout)


@no_sandbox
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_in_other_processes(method: str) -> None:
    """A forked child leaves the parent's warden alone and starts its own."""
    assert Bubblewrap().run("print('parent')").stdout == "parent\n"
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=_in_a_child, args=(queue,))
    child.start()
    assert queue.get(timeout=60) == "child\n"
    child.join()
    assert Bubblewrap().run("print('parent')").stdout == "parent\n"


@no_sandbox
def test_a_warden_that_dies_is_replaced() -> None:
    executor = Bubblewrap()
    executor.run("pass")
    (held,) = (one for one in wardens._warm.values() if isinstance(one, wardens.Warden))
    held.process.kill()
    held.process.wait()
    assert executor.run("print('again')").stdout == "again\n"


@no_sandbox
def test_everything_ends_with_a_killed_parent() -> None:
    """Neither a slot nor a program outlives the process that asked, even when that is killed."""
    code = (
        "import os, threading, time\nfrom burnish.verify.sandbox import Bubblewrap\n"
        "from burnish.verify.sandbox.worlds.watch import descendants\n"
        "threading.Thread(target=Bubblewrap().run, args=('import time; time.sleep(4)',), daemon=True).start()\n"
        "time.sleep(1.0); print(*descendants(os.getpid()), flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(SOURCE)}
    ) as parent:
        pids = [int(one) for one in parent.stdout.readline().split()]
        assert len(pids) >= 6, pids
        parent.kill()
    until = time.monotonic() + 5
    while (left := [pid for pid in pids if Path(f"/proc/{pid}").exists()]) and time.monotonic() < until:
        time.sleep(0.02)
    assert not left


@no_sandbox
def test_packages_are_there_only_when_asked_for() -> None:
    code = "try:\n    import numpy; print('there')\nexcept ImportError: print('absent')"
    assert Bubblewrap().run(code).stdout == "there\n"
    assert Bubblewrap(packages=False).run(code).stdout == "absent\n"


@no_sandbox
def test_toolchains_run(tmp_path: Path) -> None:
    """Whatever the probe finds compiles and runs a small program."""
    sources = {
        "g++": ("a.cpp", "#include <iostream>\nint main(){std::cout << 42;}", "g++ a.cpp -o a && ./a"),
        "javac": (
            "A.java", "class A{public static void main(String[] a){System.out.print(42);}}", "javac A.java && java A",
        ),
        "node": ("a.js", "process.stdout.write('42')", "node a.js"),
        "rustc": ("a.rs", 'fn main(){print!("42");}', "rustc a.rs && ./a"),
        "go": ("a.go", 'package main\nimport "fmt"\nfunc main(){fmt.Print(42)}', "go run a.go"),
    }  # fmt: skip
    tools = [name for name in sources if name in probe().tools]
    if not tools:
        pytest.skip("no compiler on this machine: apt install g++")
    limits = Limits(seconds=30.0, memory_mib=1024, processes=128, disk_mib=256)
    for name in tools:
        file, text, command = sources[name]
        ran = Bubblewrap().command(["sh", "-c", command], files={file: text.encode()}, limits=limits)
        assert ran.stdout == "42", (name, ran)


ORDINARY = """
import os
from burnish.protocols import Limits
from burnish.verify.sandbox import Bubblewrap
assert os.getuid() == 65534
for executor in (Bubblewrap(), Bubblewrap(warm=False)):
    look = "import os\\nfor p in (1, os.getppid()):\\n    open(f'/proc/{p}/mem', 'rb')"
    assert 'PermissionError' in executor.run(look).stderr
    assert executor.run("import os\\nprint(os.getuid(), os.environ.get('SECRET'))").stdout == '1000 None\\n'
    limits = Limits(seconds=5.0, memory_mib=100, processes=12)
    bomb = "import os\\nwhile True:\\n    try: os.fork()\\n    except OSError: pass"
    assert executor.run(bomb, limits=limits).limit == 'processes'
    assert executor.run("x = []\\nwhile True: x.append(bytearray(1 << 20))", limits=limits).limit == 'memory'
    assert executor.command(['sh', '-c', 'echo in > out'], keep=['out']).files == {'out': b'in\\n'}
    talk = executor.start('while True: answer(ask())')
    assert talk.ask('x') == 'x' and talk.stop().status == 0
print('held')
"""


@no_sandbox
def test_root_can_run_it_as_an_ordinary_user() -> None:
    """The tests above run as whoever runs them; root also plays somebody without rights."""
    python = "/usr/bin/python3"
    if os.getuid():
        pytest.skip("this is an ordinary user already")
    young = [python, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if not os.path.exists(python) or subprocess.run(young).returncode:
        pytest.skip("no Python 3.11 outside root's own folder")
    if not all(os.stat(folder).st_mode & 0o005 == 0o005 for folder in (SOURCE, *SOURCE.parents)):
        pytest.skip(f"{SOURCE} is not open to others")
    done = subprocess.run(
        [python, "-c", ORDINARY], user=65534, group=65534, extra_groups=[], capture_output=True, text=True, cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCE), "SECRET": "42", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.stdout == "held\n", done.stderr
