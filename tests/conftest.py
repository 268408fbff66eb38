"""One smoke run of the recipe, shared by the tests that look at a real run."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

Called = Callable[..., tuple[int, str, str]]
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c() -> None:
    """A suite started in the background ignores Ctrl-C, and so would every process that it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def burnish(*words: str, **env: str) -> subprocess.CompletedProcess:
    """Run the command line in a process of its own."""
    command = [sys.executable, "-m", "burnish", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env={**os.environ, **env})


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> dict:
    """{"folder": the run folder, "object": what --json printed, "stderr": the progress}."""
    folder = tmp_path_factory.mktemp("smoke") / "run"
    done = burnish("run", "llama3", "--scale", "smoke", "--out", str(folder), "--json")
    assert done.returncode == 0, done.stderr
    return {"folder": folder, "object": json.loads(done.stdout), "stderr": done.stderr}


@pytest.fixture
def called(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Called]:
    """Run the command line in this process, in an empty folder: (exit code, stdout, stderr)."""

    def call(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["burnish", *words])
        monkeypatch.chdir(tmp_path)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        said = capsys.readouterr()
        return stop.value.code or 0, said.out, said.err

    import torch

    from burnish import cli
    from burnish.runs.compute import compute, computing

    threads = torch.get_num_threads()
    with computing(compute()):
        yield call
    torch.set_num_threads(threads)
