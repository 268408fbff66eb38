"""Trainings that one process or several do alike; named, so that processes can import them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

from burnish.errors import WorkerError
from burnish.llm.local.decode import Grouped
from burnish.records import Weights
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, Session, train_rows
from burnish.train.checkpoint import Progress
from burnish.train.on_policy import Served
from tests.train.material import LOOP, Folders, demonstrations, folders, make_model, near, rows_for
from tests.train.on_policy.material import Recorder
from tests.train.on_policy.material import train as train_fresh_fast

SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain": {"mix": (0.5, 0.5)},
    "sft": {"weighting": "sequence", "noise": 5.0},
    "reward": {"margin": True, "recompute": 2, "ema": 0.8},
    "reward-anchored": {"low": 0.0, "high": 10.0},
    "reward-attributes": {"names": ("helpfulness", "verbosity")},
    "dpo": {"label_smoothing": 0.1, "sft_weight": 0.01, "recompute": 1},
    "kto": {"ema": 0.5},
    "rpo": {"lr": 3e-3},
}


def rows(
    name: str,
    base: Weights,
    place: Path,
    dtype: str = "float32",
    more: dict[str, Any] | None = None,
    *,
    work: Folders | None = None,
) -> Any:
    """Train with a method of fixed rows; its outcome."""
    how = LOOP | SETTINGS.get(name, {}) | {"pack_tokens": 120} | (more or {})
    if name == "distill":
        how["teacher"] = make_model(place / "teacher", seed=7)
    if "merging" in how:
        how["merge_base"] = near(base, place / "origin")
    method = how.pop("method", name)
    with computing(Compute(dtype=dtype)):
        return train_rows(base, rows_for(METHODS[method].noun), method=method, work=work or folders(place), **how)


def arm(rank: int, doomed: int, step: int, place: str) -> None:
    """In process `rank`: a checkpoint after every second step, and if it is the doomed one its end.

    At the end of its `step`-th update, or (`draw`) in its `step`-th draw of answers, after the second token.
    """
    begin = Progress.__init__
    Progress.__init__ = lambda self, scratch, **how: begin(self, scratch, **{**how, "checkpoint_steps": 2})
    if rank != doomed:
        return
    if place == "update":
        _end_after(Session, "update", lambda session: session.step == step)
    else:
        draws: list[Any] = []
        _end_after(Grouped, "step", lambda path: path.drawn == 2 and len(draws.append(path) or draws) == step)


def _end_after(owner: type, name: str, when: Callable[[Any], bool]) -> None:
    """End the process after the call of a method at which `when` says so."""
    call = getattr(owner, name)

    def armed(self: Any, *given: Any, **how: Any) -> Any:
        told = call(self, *given, **how)
        if when(self):
            os.kill(os.getpid(), signal.SIGKILL)
        return told

    setattr(owner, name, armed)


def rounds(
    base: Weights, place: Path, dtype: str = "float64", *, url: str = "", **how: Any
) -> tuple[Any, list[tuple[int, ...]]]:
    """Train on fresh answers; the outcome, and what was drawn in its order.

    Args:
        url: of a server that draws; empty draws here.
    """
    rewarder = Recorder()
    if url:
        how["sampler"] = Served.of(f"{url}#policy", reload=("sglang",))
    if "merging" in how:
        how["merge_base"] = near(base, place / "origin")
    if "keep_weight" in how:
        how["keep"] = demonstrations(5)
    with computing(Compute(dtype=dtype)):
        outcome = train_fresh_fast(base, folders(place), rewarder=rewarder, **how)
    return outcome, [answer.token_ids for answer in rewarder.answers]


def faulty_rounds(base: Weights, place: Path) -> None:
    """The judge goes away in the second round."""
    train_fresh_fast(base, folders(place), rewarder=Recorder(stop=WorkerError("the judge is away"), at=2))
