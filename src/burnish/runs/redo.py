"""Finished steps put aside, so that the run's command does them again, with all that follows from them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from burnish.runs.lineage import RunView, StepView
from burnish.runs.storage import Lock


def shelve(run: Path, name: str) -> Path:
    """Move a folder of a run to `superseded/`, numbered so that none is overwritten."""
    shelf = run / "superseded" / name
    number = 1
    while shelf.with_name(f"{shelf.name}.{number}").exists():
        number += 1
    target = shelf.with_name(f"{shelf.name}.{number}")
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(run / name, target)
    return target


def redo(run: Path, stores: Iterable[str]) -> tuple[list[str], list[str]]:
    """Put aside the steps whose request stores are named, and what follows; the names of both.

    What follows is every step made from their rows or weights, and all of later rounds, whose settings may rest on
    scores of these.

    Args:
        stores: names of request stores without their ending (`r1-03-judgements`).

    Raises:
        RunError: the run is in use.
    """
    lock = Lock(run)
    try:
        steps, wanted = RunView(run).steps, set(stores)
        again = [step.name for step in steps if step.name.replace("/", "-") in wanted]
        gone = set(again)
        first = min((_round(step) for step in steps if step.name in gone), default=None)
        for step in steps:  # in the order in which they were called: parents come first
            made_from = any(parent["step"] in gone for parent in step.note["parents"])
            if made_from or (first is not None and _round(step) > first):
                gone.add(step.name)
        for name in gone:
            shelve(run, name)
        if gone and (run / "final").exists():
            shelve(run, "final")
        return again, [step.name for step in steps if step.name in gone - set(again)]
    finally:
        lock.release()


def _round(step: StepView) -> int:
    """Which round a step is of; 0 for those before the first."""
    head, slash, _ = step.name.partition("/")
    return int(head.removeprefix("r")) if slash else 0
