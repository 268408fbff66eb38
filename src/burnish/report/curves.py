"""Training curves: losses of SFT and reward modelling, and DPO's log-probabilities of chosen and rejected.

Of training on fresh answers: the reward and what it was made from, the distance from the start, length, entropy.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from burnish.report.charts import Figure, Line, line_chart, thin
from burnish.report.reading import Evidence, short_name
from burnish.runs import StepView

# What a key may be called; the first one found is read. `chosen` and `rejected` are mean log p per trained token.
CHOSEN = ("chosen", "chosen_logprob", "chosen_logprobs", "logprob_chosen", "logps/chosen")
REJECTED = ("rejected", "rejected_logprob", "rejected_logprobs", "logprob_rejected", "logps/rejected")
STYLES = {"sft": "s-sft", "dpo": "s-dpo", "reward": "s-rm", "fresh": "s-average", "other": "s-other"}
# Of training on fresh answers: title, key in metrics.jsonl, what the axis says.
FRESH = (
    ("Distance from the start", "reference_kl", "nats a token"),
    ("Length of answers", "answer_tokens", "tokens"),
    ("Entropy", "entropy", "nats a token"),
)
PART = "reward_"
CHECKER, RIGHT = "checker", "share of right answers"  # what a checker's reward is
SCALES = 3.0  # a part that reaches so many times as far as the reward gets a picture of its own
PART_STYLES = ("s-r2", "s-r4", "s-dpo", "s-r1")


def _points(curve: Sequence[dict[str, Any]], keys: Sequence[str]) -> list[tuple[float, float]]:
    """(step, value) of the first key that occurs; lines without it or with a value that is not finite are left out."""
    key = next((name for name in keys if any(name in line for line in curve)), None)
    found = []
    for index, line in enumerate(curve):
        value = line.get(key) if key else None
        if isinstance(value, (int, float)) and math.isfinite(value):
            found.append((float(line.get("step", index + 1)), float(value)))
    return found


def _family(step: StepView, curve: Sequence[dict[str, Any]]) -> str:
    if step.kind == "reward":
        return "reward"
    if any("reward" in line and "groups" in line for line in curve):
        return "fresh"
    if _points(curve, CHOSEN) and _points(curve, REJECTED):
        return "dpo"
    return "sft" if short_name(step).startswith("sft") else "other"


def _figure(title: str, lines: list[Line], y_label: str, where: str) -> Figure | None:
    """A figure of the lines that have points; its words give first and last value."""
    thinned, each = [], 1
    for line in lines:
        if line.points:
            points, run = thin(line.points)
            each = max(each, run)
            thinned.append(Line(name=line.name, points=points, style=line.style, dashed=line.dashed))
    if not thinned:
        return None
    ends = [f"{ln.name} from {ln.points[0][1]:.3g} to {ln.points[-1][1]:.3g}" for ln in thinned]
    spoken = f"{title}, {where}: " + "; ".join(ends)
    note = f"Each point is the mean of {each} steps." if each > 1 else ""
    legend = [(f"{ln.style}{' dashed' if ln.dashed else ''}", "line", ln.name) for ln in thinned]
    return Figure(title=title, svg=line_chart(spoken, thinned, y_label=y_label), note=note, legend=legend)


def _losses(title: str, found: Sequence[tuple[StepView, list]], style: str, where: str) -> Figure | None:
    lines = [
        Line(name=short_name(step), points=_points(curve, ("loss",)), style=style, dashed=index % 2 == 1)
        for index, (step, curve) in enumerate(found)
    ]
    return _figure(title, lines, "loss, nats", where)


def _log_probabilities(found: Sequence[tuple[StepView, list]], where: str) -> Figure | None:
    lines = []
    for index, (step, curve) in enumerate(found):
        for words, keys, style in (("chosen", CHOSEN, "s-chosen"), ("rejected", REJECTED, "s-rejected")):
            name = f"{words}, {short_name(step)}"
            lines.append(Line(name=name, points=_points(curve, keys), style=style, dashed=index % 2 == 1))
    return _figure("DPO: log-probabilities", lines, "mean log p per token, nats", where)


def _reach(line: Line) -> float:
    return max((abs(value) for _, value in line.points), default=0.0)


def _rewarded_by(step: StepView) -> str:
    """What the line of the reward is called: a checker alone gives the share of right answers."""
    settings = step.note.get("identity", {}).get("settings", {})
    rewarder = settings.get("rewarder") if isinstance(settings, dict) else None
    kind = rewarder.get("type", "") if isinstance(rewarder, dict) else ""
    return f"reward, the {RIGHT}" if str(kind).endswith(".CheckerReward") else "reward"


def _fresh(step: StepView, curve: Sequence[dict[str, Any]], where: str) -> list[Figure | None]:
    """The reward with its parts (a checker that weighs 0 is the truth beside a reward), and what moves with it."""
    name, rewards = short_name(step), _points(curve, ("reward",))
    lines, others = [Line(name=_rewarded_by(step), points=rewards, style=STYLES["fresh"])], list[Line]()
    keys = dict.fromkeys(key for line in curve for key in line if key.startswith(PART))
    for place, key in enumerate(keys):
        style = PART_STYLES[place % len(PART_STYLES)]
        part = key.removeprefix(PART)
        told = f"{part}, the {RIGHT}" if part == CHECKER else part
        line = Line(name=told, points=_points(curve, (key,)), style=style, dashed=True)
        (lines if _reach(line) <= SCALES * _reach(lines[0]) else others).append(line)
    figures = [_figure(f"{name}: reward", lines, "mean of a round", where)]
    figures.append(_figure(f"{name}: parts of the reward", others, "mean of a round", where))
    for title, key, label in FRESH:
        line = Line(name=key.replace("_", " "), points=_points(curve, (key,)), style=STYLES["fresh"])
        figures.append(_figure(f"{name}: {title[0].lower()}{title[1:]}", [line], label, where))
    return figures


def training(evidence: Evidence) -> list[dict[str, Any]]:
    """Per group of steps, the figures of all steps that left a curve."""
    groups = []
    for number, steps in evidence.groups:
        where = evidence.title(number).lower()
        found: dict[str, list[tuple[StepView, list]]] = {name: [] for name in STYLES}
        for step in steps:
            if step.kind != "skipped" and (curve := [line for line in step.curve() if isinstance(line, dict)]):
                found[_family(step, curve)].append((step, curve))
        figures = [
            _losses("Reward model: loss", found["reward"], STYLES["reward"], where),
            _losses("SFT: loss", found["sft"], STYLES["sft"], where),
            _log_probabilities(found["dpo"], where),
            _losses("DPO + NLL: loss", found["dpo"], STYLES["dpo"], where),
            _losses("Training: loss", found["other"], STYLES["other"], where),
            *(figure for step, curve in found["fresh"] for figure in _fresh(step, curve, where)),
        ]
        if shown := [figure for figure in figures if figure]:
            groups.append({"title": where.capitalize(), "figures": shown})
    return groups
