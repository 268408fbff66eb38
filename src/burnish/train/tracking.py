"""Curves while a training goes on: TensorBoard beside `metrics.jsonl`, and W&B, trackio or MLflow by name.

A tracker watches; no bit of a result depends on it. After a kill the steps behind the last checkpoint come again.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError

Track = Callable[[Mapping[str, Any]], None]

SERVICES = ("tensorboard", "wandb", "trackio", "mlflow")


def _numbers(told: Mapping[str, Any]) -> dict[str, float]:
    return {f"train/{k}": float(v) for k, v in told.items() if k != "step" and isinstance(v, (int, float))}


def _module(name: str, package: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise SettingsError(f"--track {package} needs the package {package}: pip install {package}") from error


def _tensorboard(folder: Path, name: str, settings: Mapping[str, Any]) -> Track:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise SettingsError("--track tensorboard needs the package tensorboard: pip install tensorboard") from error
    writer = SummaryWriter(str(folder / "tensorboard"))

    def track(told: Mapping[str, Any]) -> None:
        for key, value in _numbers(told).items():
            writer.add_scalar(key, value, told["step"])
        writer.flush()

    return track


def _wandb(folder: Path, name: str, settings: Mapping[str, Any]) -> Track:
    wandb = _module("wandb", "wandb")
    run = wandb.init(project="burnish", name=name, dir=str(folder), config=dict(settings), resume="allow")
    return lambda told: run.log(_numbers(told), step=told["step"])


def _trackio(folder: Path, name: str, settings: Mapping[str, Any]) -> Track:
    trackio = _module("trackio", "trackio")
    trackio.init(project="burnish", name=name, config=dict(settings))
    return lambda told: trackio.log({**_numbers(told), "step": told["step"]})


def _mlflow(folder: Path, name: str, settings: Mapping[str, Any]) -> Track:
    mlflow = _module("mlflow", "mlflow")
    mlflow.set_experiment("burnish")
    mlflow.start_run(run_name=name)
    mlflow.log_params(dict(settings))
    return lambda told: mlflow.log_metrics(_numbers(told), step=told["step"])


def tracker(names: tuple[str, ...], folder: Path, *, name: str, settings: Mapping[str, Any]) -> Track:
    """One function that tells every named service of a step.

    Args:
        names: of `SERVICES`; none tells nobody.
        folder: where TensorBoard's files go (`folder/tensorboard`).
        name: of the run, as the service shows it.
        settings: shown beside the curves.

    Raises:
        SettingsError: an unknown service, or one whose package is missing.
    """
    makers = {"tensorboard": _tensorboard, "wandb": _wandb, "trackio": _trackio, "mlflow": _mlflow}
    unknown = [service for service in names if service not in makers]
    if unknown:
        raise SettingsError(f"--track {unknown[0]} is not known; there are {', '.join(SERVICES)}")
    tracks = [makers[service](folder, name, settings) for service in names]

    def track(told: Mapping[str, Any]) -> None:
        for one in tracks:
            one(told)

    return track
