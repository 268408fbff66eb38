"""The command as torchrun and Ray start it: a run as of one process, and an end of all when one ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.train.parallel.on_ray import train_on_ray
from tests.train.material import make_model
from tests.train.parallel.test_rows import check

ROOT = Path(__file__).resolve().parents[3]
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
SET = ("lr=3e-3", "batch_rows=8", "epochs=1", "warmup=0")


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A training on sixteen rows."""
    place = tmp_path_factory.mktemp("launch")
    make_model(place / "model")
    data = place / "rows.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i} + 2", "completion": f"{i + 2}"}) + "\n" for i in range(16)))
    options = ["sft", "--model", str(place / "model"), "--data", str(data), "--track", "none"]
    return [*options, *(part for setting in SET for part in ("--set", setting))]


def started(command: list[str], **env: str) -> subprocess.CompletedProcess:
    where = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}", "OMP_NUM_THREADS": "1", **env}
    return subprocess.run(command, capture_output=True, text=True, env=where, timeout=1800)


def same(one: Path, other: Path, tmp_path: Path) -> None:
    """The steps' weights and curves, up to rounding, and the same files."""
    for name, run in (("one", one), ("other", other)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "artifact").symlink_to(run / "02-sft")
    check(tmp_path / "one", tmp_path / "other", numbers=2e-5, moved=0.02)
    files = [{str(p.relative_to(run)) for p in run.rglob("*") if p.is_file()} for run in (one, other)]
    assert files[0] == files[1]


def test_torchrun_makes_the_run_of_one_process(called, words, tmp_path):
    alone = tmp_path / "alone"
    assert called("train", *words, "--out", str(alone))[0] == 0
    done = started([*TORCHRUN, "-m", "burnish.train", *words, "--out", str(tmp_path / "run"), "--json"])
    assert done.returncode == 0, done.stderr
    told: Any = json.loads(done.stdout)
    assert told["stages"]["02-sft"]["metrics"]["steps"] == 2
    same(alone, tmp_path / "run", tmp_path)
    assert [json.loads((run / "run.json").read_text())["processes"] for run in (alone, tmp_path / "run")] == [1, 2]


@pytest.mark.slow
def test_what_is_wrong_is_said_once(words, tmp_path):
    done = started([*TORCHRUN, "-m", "burnish.train", *words, "--set", "epocs=2", "--out", str(tmp_path / "run")])
    assert done.returncode == 1
    told = "burnish: error: --set epocs=2: there is no setting"
    assert done.stderr.count(told) == 1 and "exitcode  : 2" in done.stderr


@pytest.mark.slow
def test_kills_of_processes_and_launcher(tmp_path):
    done = started([sys.executable, str(ROOT / "bench" / "kill_ranks.py"), "--kills", "4", "--json"])
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A local cluster of two workers, whose processes find this source."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'burnish[ray]'")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("PYTHONPATH", f"{ROOT / 'src'}:{ROOT}")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


@pytest.mark.slow
def test_ray_makes_the_run_of_one_process(called, words, cluster, tmp_path):
    alone = tmp_path / "alone"
    assert called("train", *words, "--out", str(alone))[0] == 0
    said = train_on_ray([*words, "--out", str(tmp_path / "run")], processes=2)
    assert "02-sft: 16 in, 16 kept" in said
    same(alone, tmp_path / "run", tmp_path)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_ray_tells_what_a_process_said(words, cluster, tmp_path):
    with pytest.raises(WorkerError, match=r"process 0 of 2 ended with code 2(.|\n)*there is no method 'sfft'"):
        train_on_ray(["sfft", *words[1:], "--out", str(tmp_path / "bad")], processes=2)
    with pytest.raises(SettingsError, match="1 or more"):
        train_on_ray(words, processes=0)
