"""The second recipe's part of `bench/rounds.py --recipe deepseek_v2`: what each stage raised, and what it cost.

Control: SFT on randomly chosen own answers, with as many answers drawn as in all of the recipe and as many answers
trained on (`--set selection=random`, no stage of GRPO). Final and control, and final and base, are compared on the same
held-out prompts, paired, pooled over the seeds; a difference holds when its 95 % interval excludes 0.
"""

from __future__ import annotations

from pathlib import Path
from statistics import mean
from typing import Any

from burnish.cli.tables import stages
from burnish.evaluate import paired_difference
from burnish.evaluate.accuracy import VERDICTS
from burnish.recipes import deepseek_v2
from burnish.records import read_parquet
from burnish.runs import RunView

POINTS = 3.0  # how far the skills of stage 1 may fall in stage 2


def control_settings(scale: str) -> list[str]:
    """`--set` of the control that costs what the recipe costs."""
    s = deepseek_v2.scale(scale)
    explored = s.group * s.rl_prompts * (s.reasoning_rounds + s.preference_rounds)
    drawn = s.samples * (s.sampled + s.judged) + 2 * s.annotated + explored
    values = {
        "selection": "random",
        "reasoning_rounds": 0,
        "preference_rounds": 0,
        "sampled": drawn // s.samples,
        "mixed": s.mixed + explored // s.sft_epochs,
    }
    return [word for name, value in values.items() for word in ("--set", f"{name}={value}")]


def verdicts(view: RunView, ending: str) -> dict[str, float]:
    """Prompt -> right (1) or wrong (0), of the last step with such a name."""
    step = [s for s in view.steps if s.name.endswith(ending)][-1]
    rows = read_parquet(Path(step.folder) / VERDICTS)
    return {row.prompt: row.score for row in rows if row.score is not None}


def best_start(view: RunView) -> str:
    """The end of the name of the step that scored the base in its best prompt style."""
    starts = [s for s in view.steps if "-start-" in s.name and s.note["metrics"]["accuracy"] is not None]
    return max(starts, key=lambda s: s.note["metrics"]["accuracy"]).name


def difference(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> tuple[float, float, float]:
    """Mean of second less first over all prompts of all pairs, with its interval, in points."""
    both = [(a[id], b[id]) for a, b in pairs for id in a if id in b]
    found = paired_difference([a for a, _ in both], [b for _, b in both])
    return tuple(100 * value for value in found)


def rows_of(folders: list[Path], controls: list[Path], minutes: list[float]) -> list[dict[str, Any]]:
    """The bars of the second recipe."""
    views, others = [RunView(f) for f in folders], [RunView(f) for f in controls]
    tables = [{row["stage"]: row for row in stages(view)} for view in views]
    rows = []

    def row(name: str, value: float, bar: float, holds: bool, detail: str) -> None:
        rows.append({"name": name, "value": round(value, 4), "bar": bar, "holds": bool(holds), "detail": detail})

    final = [verdicts(view, "-scores-grpo") for view in views]
    against = {"final_over_base": [verdicts(view, best_start(view)) for view in views]}
    if others:
        against["over_sft_on_random_samples"] = [verdicts(view, "-scores-sft") for view in others]
    for name, start in against.items():
        value, low, high = difference(list(zip(start, final, strict=False)))
        row(name, value, 0, low > 0, f"95 % interval {low:.1f} to {high:.1f}, paired, {len(start)} seeds")
    for group in ("math", "code"):
        told = [(t["SFT"][group], t["stage 1"][group]) for t in tables]
        gain = 100 * mean(b - a for a, b in told)
        row(f"stage_1_{group}", gain, 0, gain > 0, ", ".join(f"{100 * a:.1f} -> {100 * b:.1f}" for a, b in told))
    for part in ("helpful", "safety"):
        told = [t["stage 2"]["gain"][part] for t in tables]
        words = ", ".join(f"{x['gain']:+.3f} ({x['low']:+.3f} to {x['high']:+.3f})" for x in told)
        row(f"stage_2_{part}_reward", mean(x["gain"] for x in told), 0, all(x["low"] > 0 for x in told), words)
    told = [100 * t["stage 2"]["tax"]["change"] for t in tables]
    row("stage_2_keeps_math_and_code", mean(told), -POINTS, min(told) >= -POINTS, ", ".join(f"{x:+.1f}" for x in told))
    row("minutes", max(minutes), 15, max(minutes) <= 15, ", ".join(f"{m:.1f}" for m in minutes))
    return rows
