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
        ("while True: pass", "time"),
        ("held = []\nwhile True: held.append(bytearray(1 << 20))", "memory"),
        ("import os, time\nfor _ in range(40):\n    if os.fork() == 0: time.sleep(9)\ntime.sleep(9)", "processes"),
        ("while True: print('x' * 999)", "output"),
        ("import time\nfor i in range(20): open(str(i), 'wb').write(b'x' * (1 << 20))\ntime.sleep(9)", "disk"),
    ],
)
def test_limits_end_a_program(executor: Executor, code: str, limit: str) -> None:
    limits = Limits(seconds=2.0, memory_mib=200, processes=16, output_kib=32, disk_mib=8)
    began = time.monotonic()
    ran = executor.run("print('before', flush=True)\n" + code, limits=limits)
    assert ran.limit == limit, ran
    assert ran.status != 0 and ran.stdout.startswith("before\n") and time.monotonic() - began < 3.5
    assert len(ran.stdout) <= 32 << 10


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
    assert time.monotonic() - began < 1.3 and talk.stop().limit == "time"
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
