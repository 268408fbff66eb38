"""The table base -> each round, the reward model's held-out accuracy, and what best-of-K gains."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from burnish.records import Score
from burnish.report.charts import Figure, Mark, interval_chart
from burnish.report.reading import Evidence, percent, points, short_name
from burnish.report.stages import ALL, Progress, Stage, said

MEAN, BEST = "mean of K", "best of K"
PAIRS = "rm-accuracy"
STRENGTH = "strength "


def _rows(evidence: Evidence, name: str, number: int | None) -> list[Score]:
    step = evidence.find(name, number)
    return evidence.scores.get(step.name, []) if step else []


def _pairs(evidence: Evidence, number: int) -> list[Score]:
    """Pair accuracies of a round; of several reward models (`rm-accuracy-NAME`), tasks begin with the name."""
    found = _rows(evidence, PAIRS, number)
    for step in evidence.steps_of(number):
        name = short_name(step).removeprefix(f"{PAIRS}-")
        if name != short_name(step):
            found = [*found, *(replace(row, task=f"{name}: {row.task}") for row in evidence.scores.get(step.name, []))]
    return found


def _task(rows: Sequence[Score], task: str) -> Score | None:
    return next((row for row in rows if row.task == task), None)


def table(evidence: Evidence, progress: Progress) -> dict[str, Any]:
    """The headline table. One row for the base, one for each stage before the rounds, one a round; a column a kind of
    stage, in order of appearance."""
    first = [stage for stage in progress.stages if _before(stage)]
    keys = {stage.key: stage.label for stage in progress.stages if stage.round is not None or stage in first}
    rows, kept = [], []
    if progress.base:
        cells = [said(progress.base.overall)] + [None] * (len(keys) - 1) if keys else [said(progress.base.overall)]
        rows.append({"label": "base", "pairs": None, "gain": None, "cells": cells, "base": True})
    for stage in first:
        cells = [said(stage.overall) if key == stage.key else None for key in keys]
        told = {"pairs": None, "gain": _gain(evidence, None), "base": False}
        rows.append({"label": stage.label, "cells": cells, **told})
    for number in evidence.rounds:
        scored = {stage.key: stage for stage in progress.stages if stage.round == number}
        gain = _gain(evidence, number)
        cells = [said(scored[key].overall) if key in scored else None for key in keys]
        goes_on = progress.promoted.get(number)
        for key, cell in zip(keys, cells, strict=True):
            if cell and goes_on is scored.get(key):
                cell["promoted"] = "promoted"
        whole = [row for row in _pairs(evidence, number) if row.task.rpartition(": ")[2] == ALL]
        pairs = said(whole[0]) if len(whole) == 1 else None  # of several reward models, the section below tells each
        rows.append({"label": f"{evidence.word} {number}", "pairs": pairs, "gain": gain, "cells": cells, "base": False})
        if goes_on is not None and goes_on.round != number:
            who = "the base" if goes_on.round is None else goes_on.where
            kept.append(f"{evidence.title(number)} went on with {who} again.")
    bold = any(cell and cell["promoted"] for row in rows for cell in row["cells"])
    words = {"kept": kept, "any_promoted": bold, "pairs_simulated": _simulated(evidence)}
    return {"columns": list(keys.values()), "rows": rows, "span": max(len(keys), 1), **words}


def _before(stage: Stage) -> bool:
    """Is it a trained stage before the rounds, such as `scores-sft`?"""
    return stage.round is None and re.sub(r"^\d\d-", "", stage.step).startswith("scores-")


def _gain(evidence: Evidence, number: int | None) -> dict[str, str] | None:
    """What the best of K gains over the mean of K, as a cell."""
    rows = _rows(evidence, "best-accuracy", number)
    mean, best = _task(rows, MEAN), _task(rows, BEST)
    if not (mean and best) or mean.value is None or best.value is None:
        return None
    told = f"{percent(mean.value)} → {percent(best.value)}"
    return {"value": points(best.value - mean.value), "interval": told, "note": "", "promoted": ""}


def _series(
    title: str, slots: list[str], series: Sequence[tuple[str, str, str, Sequence[Score | None]]], note: str
) -> Figure | None:
    """A small interval chart of series (name, style, shape, scores by slot), each joined by a line."""
    marks, lines = [], []
    for index, (name, style, shape, scores) in enumerate(series):
        aside = (index - (len(series) - 1) / 2) * min(0.16, 0.6 / max(len(series), 1))
        spots = []
        for slot, row in enumerate(scores):
            if row is None or row.value is None:
                continue
            facts = said(row) or {}
            hint = f"{slots[slot]}, {name}: {facts['value']} ({facts['interval']}), {facts['note']}"
            spots.append((slot + aside, row.value))
            label = f"{100 * row.value:.0f}" if len(series) <= 2 else ""
            mark = {"low": row.low, "high": row.high, "style": style, "shape": shape, "hint": hint, "label": label}
            marks.append(Mark(slot=slot + aside, value=row.value, **mark))
        lines.append((style, spots))
    if not marks:
        return None
    spoken = f"{title}: " + "; ".join(mark.hint for mark in marks)
    shown = [(style, shape, name) for name, style, shape, scores in series if any(scores)]
    svg = interval_chart(spoken, slots, marks, lines=lines, size=(300, 180))
    return Figure(title=title, svg=svg, note=note, legend=shown if len(series) > 1 else ())


def small_figures(evidence: Evidence) -> list[Figure]:
    """Beside the headline: RM pair accuracy by round, best of K against mean of K by round."""
    rounds = evidence.rounds
    slots = [f"r{n}" for n in rounds]
    pairs = [_task(_rows(evidence, "rm-accuracy", n), ALL) for n in rounds]
    gains = {n: _rows(evidence, "best-accuracy", n) for n in rounds}
    best = [_task(gains[n], BEST) for n in rounds]
    mean = [_task(gains[n], MEAN) for n in rounds]
    found = [
        _series("Reward model, held-out pairs in the right order", slots, [("all pairs", "s-rm", "circle", pairs)], ""),
        _series(
            "True accuracy of K samples",
            slots,
            [(MEAN, "s-all", "square", mean), (BEST, "s-chosen", "circle", best)],
            "On the round's sampling prompts, not on held-out ones.",
        ),
    ]
    return [figure for figure in found if figure]


def reward_section(evidence: Evidence) -> dict[str, Any]:
    """Held-out pair accuracy by the annotator's strength (picture) and by every other split (table)."""
    rows = {n: _pairs(evidence, n) for n in evidence.rounds}
    tasks = list(dict.fromkeys(row.task for found in rows.values() for row in found))
    strengths = sorted(task for task in tasks if task.startswith(STRENGTH))
    looks = [("s-r1", "diamond"), ("s-r2", "square"), ("s-r3", "circle"), ("s-r4", "triangle")]
    series = [
        (f"{evidence.word} {n}", *looks[i % len(looks)], [_task(found, task) for task in strengths])
        for i, (n, found) in enumerate(rows.items())
    ]
    slots = [task.removeprefix(STRENGTH) for task in strengths]
    figure = _series(
        "Pair accuracy by the annotator's strength", slots, series, "4 is significantly better, 1 marginally."
    )
    order = [ALL, *strengths, *[t for t in tasks if t not in strengths and t != ALL]]
    shown = [task for task in order if task in tasks]
    columns = [n for n, found in rows.items() if found]
    body = [{"task": task, "cells": [said(_task(rows[n], task)) for n in columns]} for task in shown]
    return {"figure": figure, "columns": columns, "rows": body, "simulated": _simulated(evidence)}


def _simulated(evidence: Evidence) -> bool:
    """Did a stand-in compare the held-out pairs of any round?"""
    found = [evidence.find("heldout-preferences", n) for n in evidence.rounds]
    return any(step and evidence.simulated(step) for step in found)
