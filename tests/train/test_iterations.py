"""RPO in iterations: policy and reference start again from the result before, exactly as separate runs would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.errors import SettingsError
from burnish.models import weights_of
from burnish.runs import Run
from burnish.train import METHODS, train_iterations, train_rows
from burnish.train.checkpoint import read_tensors
from tests.train.material import LOOP, folders, rated_preferences

RPO = {**LOOP, "lr": 1e-2, "schedule": "constant", "beta": 0.5}


def note(run: Path, name: str) -> dict:
    (found,) = run.glob(f"*-{name}/step.json")
    return json.loads(found.read_text())


def test_two_iterations_are_two_separate_runs(base, tmp_path) -> None:
    told: list[dict] = []
    with Run(tmp_path / "run") as run:
        rows = rated_preferences()
        last = train_iterations(run, base, rows, method="rpo", iterations=2, track=told.append, **RPO)
    first = train_rows(base, rows, method="rpo", work=folders(tmp_path / "one"), **RPO)
    second = train_rows(first.weights, rows, method="rpo", work=folders(tmp_path / "two"), **RPO)
    one, two = (note(tmp_path / "run", f"rpo-{number}") for number in (1, 2))
    assert one["artifact"]["id"] == first.weights.id != base.id
    assert two["artifact"]["id"] == last.id == second.weights.id != first.weights.id
    assert two["metrics"] == second.metrics and last.id == weights_of(tmp_path / "two" / "artifact").id
    # the reference of each is where it starts: the base, then the result of the first
    assert one["metrics"]["reference"] == base.id and two["metrics"]["reference"] == one["artifact"]["id"]
    assert [line["step"] for line in told] == list(range(1, 11))


def test_the_second_reference_is_not_the_first_one(base, tmp_path) -> None:
    """At its first step the second iteration has no margin again; against the old reference it would have one."""
    first = train_rows(base, rated_preferences(), method="rpo", work=folders(tmp_path / "one"), **RPO)
    assert first.metrics["margin"] > 0.05
    train_rows(first.weights, rated_preferences(), method="rpo", work=folders(tmp_path / "two"), **RPO)
    lines = [json.loads(line) for line in (tmp_path / "two/artifact/metrics.jsonl").read_text().splitlines()]
    assert abs(lines[0]["margin"]) < 1e-5 < abs(lines[-1]["margin"])
    kept = [read_tensors(tmp_path / name / "scratch/reference.safetensors")[0]["logprobs"] for name in ("one", "two")]
    assert (kept[0] - kept[1]).abs().max() > 1e-3


def test_an_iteration_that_is_there_is_not_computed_again(base, tmp_path) -> None:
    rows = rated_preferences()
    with Run(tmp_path / "run") as run:
        train_iterations(run, base, rows, method="rpo", iterations=1, **RPO)
    assert note(tmp_path / "run", "rpo")["name"] == "01-rpo"
    with Run(tmp_path / "two") as run:
        train_iterations(run, base, rows, method="rpo", iterations=2, **RPO)
    before = (next((tmp_path / "two").glob("*-rpo-1")) / "metrics.jsonl").stat().st_mtime_ns
    with Run(tmp_path / "two") as run:
        three = train_iterations(run, base, rows, method="rpo", **RPO)
    assert (next((tmp_path / "two").glob("*-rpo-1")) / "metrics.jsonl").stat().st_mtime_ns == before
    assert note(tmp_path / "two", "rpo-3")["artifact"]["id"] == three.id


def test_reports_decide_how_often_and_less_than_once_is_refused(base, tmp_path) -> None:
    assert {name: known.iterations for name, known in METHODS.items() if known.iterations != 1} == {"rpo": 3}
    with Run(tmp_path / "run") as run, pytest.raises(SettingsError, match="iterations is 0; a method runs at least"):
        train_iterations(run, base, rated_preferences(), method="rpo", iterations=0, **RPO)
