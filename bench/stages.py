"""The second recipe's part of `bench/rounds.py --recipe deepseek_v2`: what each stage raised, and what it cost.

Control: SFT on randomly chosen own answers (`--set selection=random`, no stage of GRPO), with as many answers drawn and
as many trained on as the run it stands beside has spent in all: SFT, comparisons, reward models, and GRPO with the
groups that it had to draw again.

Final, base, SFT and control are compared by greedy answers to the same held-out prompts, paired, pooled over the seeds;
a difference holds when its 95 % interval excludes 0. What stage 1 raises is told by drawn answers, four to each prompt
at the temperature of training: these are what GRPO is rewarded for, and a greedy answer is at its ceiling for an
ability (code) whose drawn answers are not. The greedy figures stand beside them.
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
PAIR = 2  # answers of a row that a reward model is trained on


def settings_of(view: RunView) -> dict[str, Any]:
    """The settings that a run was made with."""
    return {name: told["value"] for name, told in view.about["settings"].items()}


def spent(view: RunView) -> tuple[int, int]:
    """(answers drawn to train on, answers trained on, once for each pass) in all of a run of the recipe.

    Neither counts what shows the base its chat format, which the control does too, nor what is only measured.
    """
    s, drawn, trained = settings_of(view), 0, 0
    for step in view.steps:
        name, found = step.name.rpartition("/")[2][3:], step.note["metrics"]
        if step.kind == "skipped" or name.startswith(("heldout-", "format")):
            continue
        if name == "samples" or name.startswith("answers-"):
            drawn += found["responses"]
        elif name == "sft":
            trained += s["sft_epochs"] * step.note["counts"]["kept"]
        elif step.kind == "reward":
            trained += PAIR * s["reward_epochs"] * step.note["counts"]["kept"]
        elif name == "grpo":
            learned = found["all_groups"] - found["all_groups_flat"] - found["all_groups_missing"]
            drawn, trained = drawn + int(s["group"] * found["all_groups"]), trained + int(s["group"] * learned)
    return drawn, trained


def control_settings(view: RunView) -> list[str]:
    """`--set` of the control that costs what this run has cost."""
    s, (drawn, trained) = settings_of(view), spent(view)
    values = {
        "selection": "random",
        "reasoning_rounds": 0,
        "preference_rounds": 0,
        "sampled": -(-drawn // s["samples"]),
        "mixed": -(-trained // s["sft_epochs"]),
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


def told_right(gain: dict[str, Any], group: str) -> tuple[float, float]:
    """Share of a group's drawn answers that are right, before a stage and after it: the mean over its abilities."""
    found = [told for a in deepseek_v2.GROUPS[group] if (told := gain.get(f"right {a}")) and told["n"]]
    return mean(told["before"] for told in found), mean(told["after"] for told in found)


def rows_of(folders: list[Path], controls: list[Path], minutes: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """The bars of the second recipe. `minutes`: of each run, by the clock and of processors."""
    views, others = [RunView(f) for f in folders], [RunView(f) for f in controls]
    tables = [{row["stage"]: row for row in stages(view)} for view in views]
    rows = []

    def row(name: str, value: float, bar: float, holds: bool, detail: str) -> None:
        rows.append({"name": name, "value": round(value, 4), "bar": bar, "holds": bool(holds), "detail": detail})

    final = [verdicts(view, "-scores-grpo") for view in views]
    against = {
        "final_over_base": [verdicts(view, best_start(view)) for view in views],
        "final_over_sft": [verdicts(view, "-scores-sft") for view in views],
    }
    if others:
        against["over_sft_on_random_samples"] = [verdicts(view, "-scores-sft") for view in others]
    for name, start in against.items():
        value, low, high = difference(list(zip(start, final, strict=False)))
        told = ", ".join(f"{100 * mean(a.values()):.1f} -> {100 * mean(b.values()):.1f}" for a, b in zip(start, final))
        row(name, value, 0, low > 0, f"95 % interval {low:.1f} to {high:.1f}, paired, {len(start)} seeds: {told}")
    for group in ("math", "code"):
        told = [told_right(t["stage 1"]["gain"], group) for t in tables]
        gain = 100 * mean(b - a for a, b in told)
        greedy = ", ".join(f"{100 * t['SFT'][group]:.1f} -> {100 * t['stage 1'][group]:.1f}" for t in tables)
        words = ", ".join(f"{100 * a:.1f} -> {100 * b:.1f}" for a, b in told)
        row(f"stage_1_{group}", gain, 0, all(b > a for a, b in told), f"drawn {words}; greedy {greedy}")
    for part in ("helpful", "safety"):
        told = [t["stage 2"]["gain"][part] for t in tables]
        words = ", ".join(f"{x['gain']:+.3f} ({x['low']:+.3f} to {x['high']:+.3f})" for x in told)
        row(f"stage_2_{part}_reward", mean(x["gain"] for x in told), 0, all(x["low"] > 0 for x in told), words)
    told = [100 * t["stage 2"]["tax"]["change"] for t in tables]
    row("stage_2_keeps_math_and_code", mean(told), -POINTS, min(told) >= -POINTS, ", ".join(f"{x:+.1f}" for x in told))
    most = max(min(both) for both in minutes)  # the clock of a busy machine tells of the other work, too
    words = ", ".join(f"{clock:.1f} ({processor:.1f})" for clock, processor in minutes)
    row("minutes", most, 15, most <= 15, f"by the clock {words} of one processor")
    return rows
