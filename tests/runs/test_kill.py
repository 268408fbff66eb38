"""`kill -9` at any moment of a toy run: the same command again leaves the same rows (bench/kill.py: on a recipe)."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs.toy_steps import toy_recipe


def fingerprint(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.glob("r*/**/*.parquet"))}


def start(folder: Path, workers: int) -> subprocess.Popen:
    command = [sys.executable, "-m", "tests.runs.toy_steps", str(folder), "0.02", str(workers)]
    return subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def children(group: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            if int(fields[2]) == group and fields[0] != "Z":
                found.append(int(entry.name))
    return found


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc to see which processes are left")
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_and_unkilled_runs_hold_equal_rows(tmp_path: Path, workers: int) -> None:
    toy_recipe(tmp_path / "whole", pause=0.02)
    whole = fingerprint(tmp_path / "whole")
    rng = random.Random(workers)
    folder = tmp_path / "killed"
    for attempt in range(4):
        process = start(folder, workers)
        deadline = time.time() + 30
        while not (folder / "run.json").exists() and time.time() < deadline:
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.8))
        if attempt % 2:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.wait()
        for _ in range(200):
            if not children(process.pid):
                break
            time.sleep(0.05)
        assert not children(process.pid), "workers outlive their parent"
    assert start(folder, workers).wait(timeout=60) == 0
    assert fingerprint(folder) == whole
    assert not (folder / ".work").exists()
