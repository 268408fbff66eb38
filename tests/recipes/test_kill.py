"""`kill -9` during a smoke run; bench/kill.py is the long form."""

from __future__ import annotations

import os
import random
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from bench.kill import ARMED, compare, finish, random_kills, wait_for_children


@pytest.fixture(scope="module")
def command() -> list[str]:
    return ["run", "llama3", "--scale", "smoke", "--out"]


def test_random_kills_leave_no_trace(smoke: dict, command: list[str], tmp_path: Path) -> None:
    killed, moved = tmp_path / "killed", tmp_path / "moved"
    line = [sys.executable, "-m", "burnish", *command]
    hit = random_kills([*line, str(killed)], 2, 20.0, random.Random(0))
    if killed.exists():  # on a machine that is busy enough both kills come before it does
        killed.rename(moved)
    hit += random_kills([*line, str(moved)], 1, 20.0, random.Random(1))
    assert hit >= 2
    finish([*line, str(moved)], {"BURNISH_CORES": "1"})
    assert compare(smoke["folder"], moved) == []


@pytest.fixture(scope="module")
def interrupted(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int, str]:
    """A run in its first round, ended by Ctrl-C as a terminal does it: the whole process group hears it."""
    folder = tmp_path_factory.mktemp("interrupted") / "run"
    line = [sys.executable, "-m", "burnish", *command, str(folder), "--workers", "2"]
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for told in process.stderr:
        if "r1/" in told:
            break
    os.killpg(process.pid, signal.SIGINT)
    said = process.stderr.read()
    code = process.wait(timeout=60)
    wait_for_children(process.pid)
    return folder, code, said


def test_ctrl_c_exits_with_130_and_prints_the_line_that_resumes(
    interrupted: tuple[Path, int, str], command: list[str]
) -> None:
    folder, code, said = interrupted
    # CPython ends by the signal itself where it struck inside an exec(); a shell says 130 for both.
    assert code in (130, -signal.SIGINT)
    assert shlex.join(["burnish", *command, str(folder), "--workers", "2"]) in said and "Traceback" not in said


def test_what_ctrl_c_left_survives_kills_at_the_worst_moments(
    smoke: dict, interrupted: tuple[Path, int, str], command: list[str]
) -> None:
    """Two kills inside a commit and two after a rename; one run to the end proves them and Ctrl-C harmless."""
    folder = interrupted[0]
    assert not (folder / "final").exists()
    for point, nth in (("commit", 1), ("rename", 1), ("commit", 7), ("rename", 7)):
        armed = subprocess.Popen(
            [sys.executable, "-c", ARMED, point, str(nth), *command, str(folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert armed.wait(timeout=300) == -signal.SIGKILL
        wait_for_children(armed.pid)
    finish([sys.executable, "-m", "burnish", *command, str(folder)])
    assert compare(smoke["folder"], folder) == []
