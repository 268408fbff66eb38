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
    killed.rename(moved)
    hit += random_kills([*line, str(moved)], 1, 20.0, random.Random(1))
    assert hit >= 2
    finish([*line, str(moved)], {"BURNISH_CORES": "1"})
    assert compare(smoke["folder"], moved) == []


@pytest.mark.parametrize("point", ["commit", "rename"])
def test_kills_at_the_worst_moments(smoke: dict, command: list[str], tmp_path: Path, point: str) -> None:
    folder = tmp_path / "run"
    for nth in (1, 7):
        armed = subprocess.Popen(
            [sys.executable, "-c", ARMED, point, str(nth), *command, str(folder)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        assert armed.wait(timeout=300) == -signal.SIGKILL
        wait_for_children(armed.pid)
    finish([sys.executable, "-m", "burnish", *command, str(folder)])
    assert compare(smoke["folder"], folder) == []


def test_ctrl_c_exits_with_130_and_prints_the_line_that_resumes(
    smoke: dict, command: list[str], tmp_path: Path
) -> None:
    """As a terminal does it: the whole process group hears it, here while two workers compute."""
    folder = tmp_path / "run"
    line = [sys.executable, "-m", "burnish", *command, str(folder), "--workers", "2"]
    process = subprocess.Popen(
        line, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    for told in process.stderr:
        if "r1/" in told:
            break
    os.killpg(process.pid, signal.SIGINT)
    said = process.stderr.read()
    # CPython ends by the signal itself where it struck inside an exec(); a shell says 130 for both.
    assert process.wait(timeout=60) in (130, -signal.SIGINT)
    assert shlex.join(["burnish", *line[3:]]) in said and "Traceback" not in said
    wait_for_children(process.pid)
    finish(line)
    assert compare(smoke["folder"], folder) == []
