"""Containers: the command line, and a run through a client that plays docker without a daemon."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Limits
from burnish.verify.sandbox import Container, Session, probe
from burnish.verify.sandbox.container import engine_command
from burnish.verify.sandbox.worlds.request import Request

# Plays the client: checks what it is told, then runs the container's own program here, in a folder for /box.
CLIENT = f"""#!{sys.executable}
import os, signal, subprocess, sys, tempfile
words = sys.argv[1:]
place = os.path.join(os.path.dirname(os.path.abspath(__file__)), 'containers')
os.makedirs(place, exist_ok=True)
if words[0] == 'kill':
    os.killpg(int(open(os.path.join(place, words[-1])).read()), signal.SIGKILL)
    sys.exit(0)
if words[0] != 'run':
    sys.exit(0)
image = words.index('absent:1') if 'absent:1' in words else words.index('python:3.12-slim')
if words[image] == 'absent:1':
    sys.exit('docker: Error response from daemon: No such image: absent:1.')
wanted = {{'--network': 'none', '--cap-drop': 'ALL', '--security-opt': 'no-new-privileges', '--pull': 'never'}}
for pair in wanted.items():
    at = words.index(pair[0])
    assert words[at + 1] == pair[1] and at < image, pair
assert '--read-only' in words[:image] and words[words.index('--entrypoint') + 1] == 'python3'
with open(os.path.join(place, words[words.index('--name') + 1]), 'w') as file:
    file.write(str(os.getpgid(0)))
with tempfile.TemporaryDirectory() as box:
    inner = [box if word == '/box' else word for word in words[image + 1:]]
    sys.exit(subprocess.run([sys.executable, '-I', *inner]).returncode)
"""


@pytest.fixture
def docker(tmp_path: Path) -> Container:
    client = tmp_path / "docker"
    client.write_text(CLIENT)
    client.chmod(0o755)
    return Container(engine=str(client))


def test_the_command_line_closes_everything() -> None:
    limits = Limits(memory_mib=100, processes=7, disk_mib=9)
    words = engine_command("docker", "image:1", "name", Request(code="pass", limits=limits))
    text = " ".join(words[: words.index("image:1")])
    for part in (
        "docker run --rm --interactive --name name", "--pull never", "--network none", "--read-only", "--cap-drop ALL",
        "--security-opt no-new-privileges", "--user 65534:65534", "--pids-limit 8", "--memory 132m --memory-swap 132m",
        "--tmpfs /box:rw,exec,nosuid,nodev,size=9m", "--ulimit nofile=256:256",
    ):  # fmt: skip
        assert part in text, part
    assert "--privileged" not in words and "--volume" not in words and "-v" not in words


def test_programs_commands_and_files(docker: Container) -> None:
    ran = docker.run("import sys\nprint(sys.stdin.read(), open('a/b').read())\n1 / 0", stdin="in", files={"a/b": b"x"})
    assert (ran.status, ran.stdout, ran.limit) == (1, "in x\n", "")
    assert ran.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    large = bytes(range(256)) * 2048
    ran = docker.command(["sh", "-c", "cp a b; ln -s /etc/passwd c; exit 3"], files={"a": large}, keep=["b", "c", "d"])
    assert ran.status == 3 and ran.files == {"b": large}
    assert docker.command(["no-such-command"]).status == 127


def test_limits_and_conversations(docker: Container) -> None:
    assert docker.run("while True: pass", limits=Limits(seconds=0.7)).limit == "time"
    ran = docker.run("while True: print('x' * 999)", limits=Limits(output_kib=32))
    assert ran.limit == "output" and len(ran.stdout) <= 32 << 10
    talk = docker.start("while True: answer(ask() * 2)")
    assert [talk.ask("a"), talk.ask("ß" * 40000)] == ["aa", "ß" * 80000]
    assert talk.stop().status == 0
    with pytest.raises(WorkerError, match="ended with status 0"):
        talk.ask("b")
    with Session(docker) as session:
        session.run("x = 6")
        assert session.run("import time; time.sleep(9)", seconds=0.3).status == "time"
        assert session.run("x * 7").value == "42"


def test_faults_are_told(docker: Container) -> None:
    with pytest.raises(SettingsError, match="no-such-engine"):
        Container(engine="no-such-engine").run("pass")
    with pytest.raises(WorkerError, match=r"No such image: absent:1\. \(is the image pulled\?\)"):
        Container(engine=docker.engine, image="absent:1").run("pass")


def test_with_a_real_engine() -> None:
    found = probe(tools=False)
    engines = [name for name in ("docker", "podman") if (told := getattr(found, name)) and not told.startswith("(")]
    if not engines:
        pytest.skip(
            f"no container engine answers: docker {found.docker or 'missing'}, podman {found.podman or 'missing'}"
        )
    executor = Container(engine=engines[0])
    try:
        assert executor.run("print(6 * 7)").stdout == "42\n"
    except WorkerError as error:
        if "No such image" in str(error) or "not known" in str(error):
            pytest.skip(f"the image is not here: {engines[0]} pull {executor.image}")
        raise
    assert executor.run("import socket; socket.create_connection(('1.1.1.1', 80), 1)").status == 1
    assert executor.run("while True: pass", limits=Limits(seconds=1.0)).limit == "time"
