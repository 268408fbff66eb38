"""Trackers watch: TensorBoard holds the curve, services are called by name, a missing package is said."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from burnish.errors import SettingsError
from burnish.train import tracker, train_rows
from tests.train.material import demonstrations, folders


def test_tensorboard_holds_the_curve(base, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track = tracker(("tensorboard",), tmp_path, name="x", settings={})
    settings = {"method": "sft", "lr": 1e-2, "epochs": 2, "batch_rows": 4}
    outcome = train_rows(base, demonstrations(), work=folders(tmp_path / "work"), track=track, **settings)
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    losses = events.Scalars("train/loss")
    assert [event.step for event in losses] == [1, 2, 3, 4, 5]
    assert losses[0].value == pytest.approx(outcome.metrics["first_loss"])
    assert losses[-1].value == pytest.approx(outcome.metrics["loss"])
    assert "train/lr" in events.Tags()["scalars"] and "train/step" not in events.Tags()["scalars"]


def test_tracking_moves_no_bit(base, tmp_path: Path) -> None:
    settings = {"method": "sft", "lr": 1e-2, "epochs": 2, "batch_rows": 4}
    seen: list[float] = []
    watched = train_rows(
        base, demonstrations(), work=folders(tmp_path / "a"), track=lambda told: seen.append(told["loss"]), **settings
    )
    alone = train_rows(base, demonstrations(), work=folders(tmp_path / "b"), **settings)
    assert watched.weights.id == alone.weights.id and len(seen) == 5


def test_services_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stand-ins for the services' modules: what is called, with what."""
    calls: list[tuple] = []
    run = SimpleNamespace(log=lambda numbers, step: calls.append(("wandb", numbers, step)))
    monkeypatch.setitem(sys.modules, "wandb", SimpleNamespace(init=lambda **how: run))
    trackio = SimpleNamespace(init=lambda **how: None, log=lambda numbers: calls.append(("trackio", numbers)))
    monkeypatch.setitem(sys.modules, "trackio", trackio)
    mlflow = SimpleNamespace(
        set_experiment=lambda name: None,
        start_run=lambda run_name: None,
        log_params=lambda given: calls.append(("params", given)),
        log_metrics=lambda numbers, step: calls.append(("mlflow", numbers, step)),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    track = tracker(("wandb", "trackio", "mlflow"), tmp_path, name="x", settings={"lr": 1.0})
    track({"step": 3, "loss": 0.5, "note": "words are left out"})
    assert calls == [
        ("params", {"lr": 1.0}),
        ("wandb", {"train/loss": 0.5}, 3),
        ("trackio", {"train/loss": 0.5, "step": 3}),
        ("mlflow", {"train/loss": 0.5}, 3),
    ]


def test_refusals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="there are tensorboard, wandb, trackio, mlflow"):
        tracker(("comet",), tmp_path, name="x", settings={})
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match="pip install wandb"):
        tracker(("wandb",), tmp_path, name="x", settings={})
