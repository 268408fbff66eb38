"""Held-out accuracy: the base in its best prompt style, then every stage of every round; what the page says of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.records import Score
from burnish.report.charts import Figure, Mark, interval_chart
from burnish.report.reading import NARROW, Evidence, number, percent, points, round_of, short_name

ALL = "all"
STAGES = {"sft": "SFT", "dpo": "DPO", "average": "averaged", "format-scores": "format", "grpo": "GRPO"}
STYLES = {"sft": ("s-sft", "square"), "dpo": ("s-dpo", "triangle")}
STYLES |= dict.fromkeys(("average", "grpo"), ("s-average", "circle"))
BASE_STYLE = ("s-base", "diamond")
# Scores that are not of a stage on held-out tasks: `dev-*` is what the promotion looks at.
NOT_STAGES = re.compile(r"rm-accuracy|best-accuracy|promoted|tax|dev-.*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One scored model: the base, or a stage of a round. `scores` maps a task (an ability, or `all`) to its row."""

    key: str
    label: str
    round: int | None
    step: str
    scores: dict[str, Score]

    @property
    def overall(self) -> Score | None:
        return self.scores.get(ALL)

    @property
    def where(self) -> str:
        """`base`, `r2 DPO`."""
        return self.label if self.round is None else f"r{self.round} {self.label}"

    @property
    def look(self) -> tuple[str, str]:
        return BASE_STYLE if self.key == "base" else STYLES.get(self.key, ("s-other", "circle"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """All that was scored: base candidates, the best of them, and the stages in order."""

    starts: Sequence[Stage]
    base: Stage | None
    stages: Sequence[Stage]
    final: Stage | None
    promoted: dict[int, Stage] = field(default_factory=dict)
    abilities: Sequence[str] = field(default_factory=tuple)


def _by_task(rows: Sequence[Score]) -> dict[str, Score]:
    """Accuracy rows by task; rows of another metric (a pair accuracy, a rate) are not stages' scores."""
    return {row.task: row for row in rows if row.metric == "accuracy"}


def _value(stage: Stage | None) -> float | None:
    return stage.overall.value if stage and stage.overall else None


def read_progress(evidence: Evidence) -> Progress:
    """Find base, stages and the final one among the run's score rows."""
    starts, stages = [], []
    for step in evidence.view.steps:
        rows, name, inside = evidence.scores.get(step.name, []), short_name(step), round_of(step)
        tasks = _by_task(rows)
        if not tasks or NOT_STAGES.fullmatch(name):
            continue
        if inside is None and name.startswith("start-"):
            starts.append(Stage(key="base", label=name[6:], round=None, step=step.name, scores=tasks))
        else:
            key = name.removeprefix("scores-")
            label = STAGES.get(key, key.replace("-", " "))
            stages.append(Stage(key=key, label=label, round=inside, step=step.name, scores=tasks))
    known = [stage for stage in starts if _value(stage) is not None]
    base = max(known, key=lambda stage: _value(stage) or 0.0, default=None)
    if base is not None:
        base = Stage(key="base", label="base", round=None, step=base.step, scores=base.scores)
    abilities: dict[str, None] = {}
    for stage in [*starts, *stages]:
        abilities |= dict.fromkeys(task for task in stage.scores if task != ALL)
    promoted = _promoted(evidence, ([base] if base else []) + stages)
    scored = [stage for stage in stages if _value(stage) is not None]
    final = promoted[max(promoted)] if promoted else scored[-1] if scored else None
    known = {"base": base, "stages": stages, "final": final, "promoted": promoted}
    return Progress(starts=starts, abilities=sorted(abilities), **known)


def _promoted(evidence: Evidence, stages: Sequence[Stage]) -> dict[int, Stage]:
    """Round -> the stage whose model was promoted: by the name the step gives, else by the model its rows name."""
    found = {}
    for number_ in evidence.rounds:
        step = evidence.find("promoted", number_)
        if step is None:
            continue
        name = (step.note.get("metrics") or {}).get("promoted")
        models = {row.model for row in evidence.scores.get(step.name, [])}
        so_far = [s for s in stages if s.overall and (s.round is None or s.round <= number_)]
        named = [s for s in so_far if s.round == number_ and s.key == name]
        named = named or [s for s in so_far if len(models) == 1 and s.overall.model in models]
        if named and _value(named[-1]) is not None:
            found[number_] = named[-1]
    return found


def said(score: Score | None) -> dict[str, str] | None:
    """A score in words for a table cell; None when there is no row."""
    if score is None:
        return None
    interval = "" if score.low is None or score.high is None else f"{100 * score.low:.0f}–{100 * score.high:.0f}"
    note = f"n = {number(score.n)}" + (f", {number(score.unscored)} unscored" if score.unscored else "")
    return {"value": percent(score.value), "interval": interval, "note": note, "promoted": ""}


def headline(progress: Progress) -> dict[str, Any]:
    """The result in one line, and the sentence under it."""
    base, final = progress.base, progress.final
    start, end = _value(base), _value(final)
    styles = ", ".join(f"{s.label} {percent(_value(s))}" for s in progress.starts)
    blank = {"from": None, "to": None, "where": "", "interval": "", "note": None, "gain": "", "styles": styles}
    if end is None or final is None or final.overall is None:
        known = f"The base scores {percent(start)} on held-out tasks." if start is not None else ""
        return {**blank, "line": known or "Nothing has been scored yet."}
    row = final.overall
    interval = "" if row.low is None or row.high is None else f"{percent(row.low)} to {percent(row.high)}"
    known = f" (95{NARROW}% interval {interval})" if interval else ""
    shown = {**blank, "to": percent(end), "where": final.where, "interval": interval, "note": said(row)}
    if final.key == "base":
        return {
            **shown,
            "line": f"No stage was promoted over the base; held-out accuracy stays at {percent(end)}{known}.",
        }
    if start is None or base is None or base.overall is None:
        return {**shown, "line": f"Held-out accuracy is {percent(end)}{known}."}
    gain = round(end - start, 6)
    verb = "rose" if gain > 0 else "fell" if gain < 0 else "stayed"
    way = f"from {percent(start)} to {percent(end)}" if gain else f"at {percent(end)}"
    return {**shown, "line": f"Held-out accuracy {verb} {way}{known}.", "from": percent(start), "gain": points(gain)}


def fallen(progress: Progress) -> str:
    """Which abilities the final model does worse than the base, in a sentence; empty where they cannot be compared."""
    base, final = progress.base, progress.final
    if base is None or final is None or final.key == "base":
        return ""
    both = [(task, base.scores.get(task), final.scores.get(task)) for task in progress.abilities]
    known = [(t, a, b) for t, a, b in both if a and b and a.value is not None and b.value is not None]
    lower = sorted((b.value - a.value, t, a, b) for t, a, b in known if b.value < a.value)
    if not known:
        return ""
    if not lower:
        return f"No ability of {final.where} is below the base."
    told = [f"{t} {percent(a.value)} → {percent(b.value)}{_doubt(a, b)}" for _, t, a, b in lower]
    return f"Below the base in {len(lower)} of {len(known)} abilities: {', '.join(told)}."


def _doubt(base: Score, final: Score) -> str:
    """A note where the 95 % intervals of a fall overlap."""
    if base.low is None or final.high is None:
        return ""
    return " (the intervals overlap)" if final.high >= base.low else ""


def _hint(stage: Stage, row: Score, task: str) -> str:
    facts = said(row) or {}
    interval = f" (95 % interval {facts['interval']})" if facts["interval"] else ""
    return f"{stage.where}, {task}: {facts['value']}{interval}, {facts['note']}"


def progress_figure(progress: Progress, word: str = "round") -> Figure | None:
    """Base and all stages in the order of training, overall accuracy."""
    shown = [s for s in ([progress.base] if progress.base else []) + list(progress.stages) if _value(s) is not None]
    if not shown:
        return None
    crowded = len(shown) > 14
    marks, bands = [], []
    for slot, stage in enumerate(shown):
        row = stage.overall
        style, shape = stage.look
        label = "" if crowded else f"{100 * row.value:.0f}"
        hint = _hint(stage, row, "all abilities")
        mark = {"low": row.low, "high": row.high, "style": style, "shape": shape, "hint": hint, "label": label}
        marks.append(Mark(slot=slot, value=row.value, **mark))
    for number_ in dict.fromkeys(stage.round for stage in shown if stage.round is not None):
        inside = [i for i, stage in enumerate(shown) if stage.round == number_]
        bands.append((inside[0], inside[-1], f"{word} {number_}" if len(inside) > 1 else f"r{number_}"))
    slots = ["" if crowded else {"averaged": "avg."}.get(stage.label, stage.label) for stage in shown]
    line = [("s-average", [(mark.slot, mark.value) for mark in marks])]
    size = (max(480.0, 50.0 + 32.0 * len(shown)), 320.0)
    told = ", ".join(f"{stage.where} {percent(_value(stage))}" for stage in shown)
    svg = interval_chart(f"Held-out accuracy by stage: {told}", slots, marks, lines=line, bands=bands, size=size)
    return Figure(
        title="Held-out accuracy, all abilities", svg=svg, note="Whiskers are 95 % intervals.", legend=legend(progress)
    )


def ability_figures(progress: Progress) -> list[Figure]:
    """One small picture per ability: base and the stages of each round, with intervals."""
    rounds = list(dict.fromkeys(stage.round for stage in progress.stages))
    slots = (["base"] if progress.base else []) + ["run" if r is None else f"r{r}" for r in rounds]
    where = {r: i + bool(progress.base) for i, r in enumerate(rounds)}
    figures = []
    for task in progress.abilities:
        marks = []
        for stage in ([progress.base] if progress.base else []) + list(progress.stages):
            row = stage.scores.get(task)
            if row is None or row.value is None:
                continue
            fellows = [s.key for s in progress.stages if s.round == stage.round]
            aside = 0.0 if stage.key == "base" else (fellows.index(stage.key) - (len(fellows) - 1) / 2) * 0.2
            slot = 0 if stage.key == "base" else where[stage.round]
            style, shape = stage.look
            mark = {"low": row.low, "high": row.high, "style": style, "shape": shape, "hint": _hint(stage, row, task)}
            marks.append(Mark(slot=slot + aside, value=row.value, **mark))
        if marks:
            title = f"{task}: " + "; ".join(mark.hint for mark in marks)
            figures.append(Figure(title=task, svg=interval_chart(title, slots, marks, size=(300, 170))))
    return figures


def ability_table(progress: Progress) -> dict[str, Any]:
    """Rows of abilities (`all` first), columns of stages; cells as `said`."""
    columns = ([progress.base] if progress.base else []) + list(progress.stages)
    tasks = [task for task in [ALL, *progress.abilities] if any(task in stage.scores for stage in columns)]
    return {
        "columns": [{"round": stage.round, "label": stage.label, "step": stage.step} for stage in columns],
        "rows": [{"task": task, "cells": [said(stage.scores.get(task)) for stage in columns]} for task in tasks],
    }


def legend(progress: Progress) -> list[tuple[str, str, str]]:
    """(style, shape, words) of the markers that occur."""
    ordered = [(*BASE_STYLE, "base")] if progress.base else []
    for stage in progress.stages:
        item = (*stage.look, stage.label)
        if item not in ordered:
            ordered.append(item)
    return ordered
