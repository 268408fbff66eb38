"""Ctrl-C reaches a whole process group; only the process that was started says a word about it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.runs.test_kill import children

# `parallel` in a process of its own, as `burnish run` calls it.
PROGRAM = """
import signal, sys, time
from burnish.runs.compute import Compute, computing
from burnish.runs.workers import parallel, stop_workers
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with computing(Compute(workers=2)):
        try:
            list(parallel(time.sleep, [(60,)] * 3))
        except KeyboardInterrupt:
            stop_workers()
            sys.exit(130)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc to see when the workers start")
def test_workers_that_are_being_started_stay_silent(tmp_path: Path) -> None:
    """The fork server imports torch for a second or more; tests/recipes/test_kill.py interrupts workers at work."""
    (tmp_path / "program.py").write_text(PROGRAM)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py")],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    deadline = time.time() + 60
    while len(children(process.pid)) < 3 and time.time() < deadline:  # itself, resource tracker, fork server
        time.sleep(0.005)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode in (130, -signal.SIGINT), said
    assert said == ""
