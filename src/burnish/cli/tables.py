"""The table a run ends with: the base, then each round or stage."""

from __future__ import annotations

from typing import Any, TextIO

from burnish.recipes import load_recipe
from burnish.runs import RunView

FEW = 3  # abilities that are told one by one


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f}"


def _metric(view: RunView, name: str, key: str) -> float | None:
    found = [s for s in view.steps if s.name.endswith(name) and "skipped" not in s.note]
    return found[0].note["metrics"].get(key) if found else None


def rounds(view: RunView) -> list[dict[str, Any]]:
    """One record a row of the table; accuracies are shares, None where a step was skipped."""
    starts = [s.note["metrics"].get("accuracy") for s in view.steps if "-start-" in s.name]
    base = max((a for a in starts if a is not None), default=None)
    table: list[dict[str, Any]] = [{"stage": "base", "averaged": base}]
    names = sorted({s.name.split("/")[0] for s in view.steps if "/" in s.name}, key=lambda n: int(n[1:]))
    for name in names:
        inside = [s for s in view.steps if s.name.startswith(f"{name}/")]
        have = {s.name.split("/")[1][3:]: s.note["metrics"] for s in inside if "skipped" not in s.note}
        graded = have.get("best-accuracy", {})
        best, mean = graded.get("best"), graded.get("mean")
        table.append(
            {
                "stage": f"round {name[1:]}",
                "rm": have.get("rm-accuracy", {}).get("accuracy"),
                "mean_of_k": mean,
                "best_of_k": best,
                "gain": None if best is None or mean is None else best - mean,
                "sft": have.get("scores-sft", {}).get("accuracy"),
                "dpo": have.get("scores-dpo", {}).get("accuracy"),
                "averaged": have.get("scores-average", {}).get("accuracy"),
                "promoted": have.get("promoted", {}).get("promoted"),
            }
        )
        stage = table[-1]["promoted"]
        kept = table[-2].get("final", base)
        table[-1]["final"] = table[-1].get("averaged" if stage == "average" else stage, kept)
    return table


def print_rounds(view: RunView, to: TextIO) -> None:
    """Percent; `best of K` is the true accuracy of the chosen samples, with the mean of all K beside it."""
    heads = (("RM pairs", "rm"), ("mean of K", "mean_of_k"), ("best of K", "best_of_k"), ("SFT", "sft"), ("DPO", "dpo"))
    columns = (*heads, ("averaged", "averaged"))
    print(" " * 10 + "".join(f"{name:>11}" for name, _ in columns) + "  goes on", file=to)
    for row in rounds(view):
        cells = "".join(f"{_percent(row.get(key)):>11}" for _, key in columns)
        print(f"{row['stage']:<10}{cells}  {row.get('promoted') or ''}".rstrip(), file=to)


def stages(view: RunView) -> list[dict[str, Any]]:
    """A recipe in stages: one record each of the base, SFT and every stage.

    `all` and the recipe's groups of abilities (`other`: those in none) are held-out accuracies as shares, groups as
    means over their abilities; `gain` is what `reward-gain` found by part, `tax` what `tax` found.
    """
    module = load_recipe(view.about["recipe"])
    have = [s for s in view.steps if "skipped" not in s.note]
    starts = [s for s in have if "-start-" in s.name and s.note["metrics"].get("accuracy") is not None]
    scored = [("base", max(starts, key=lambda s: s.note["metrics"]["accuracy"]))] if starts else []
    scored += [("SFT", s) for s in have if s.name.endswith("-scores-sft")]
    scored += [(f"stage {s.name.split('/')[0][1:]}", s) for s in have if s.name.endswith("-scores-grpo")]
    table = []
    for name, step in scored:
        row: dict[str, Any] = {"stage": name, "all": step.note["metrics"].get("accuracy")}
        values = step.note["metrics"].get("by_ability") or {}
        home = {ability: g for g, members in module.GROUPS.items() for ability in members}
        for group in (*module.GROUPS, "other"):
            found = [value for ability, value in values.items() if home.get(ability, "other") == group]
            row[group] = sum(found) / len(found) if found else None
        inside = [s for s in have if "/" in s.name and s.name.split("/")[0] == step.name.split("/")[0]]
        for key, end in (("gain", "-reward-gain"), ("tax", "-tax")):
            row[key] = next((s.note["metrics"] for s in inside if s.name.endswith(end)), None)
        table.append(row)
    return table


def print_stages(view: RunView, to: TextIO) -> None:
    """Percent; below, what each stage's rewards gained on held-out prompts, and what it cost elsewhere."""
    table = stages(view)
    columns = [key for key in (table[0] if table else {}) if key not in ("stage", "gain", "tax")]
    print(" " * 10 + "".join(f"{name:>10}" for name in columns), file=to)
    for row in table:
        print(f"{row['stage']:<10}" + "".join(f"{_percent(row[key]):>10}" for key in columns), file=to)
    for row in table:
        parts = row["gain"] or {}
        many = sum(part.startswith("right ") for part in parts) > FEW
        for part, told in parts.items():
            if told["gain"] is None or (many and part.startswith("right ")):
                continue
            inside = "" if told["low"] is None else f" ({told['low']:+.3f} to {told['high']:+.3f})"
            name = f"answers {part}" if part.split()[0] == "right" else f"reward {part}"
            print(f"{row['stage']}: {name} {told['before']:.3f} -> {told['after']:.3f}, {told['gain']:+.3f}{inside}",
                  file=to)  # fmt: skip
        tax = row["tax"]
        if tax and tax["change"] is not None:
            bound = f"{'within' if tax['within'] else 'ABOVE'} the {100 * tax['tolerance']:g} points allowed"
            print(f"{row['stage']}: the other abilities changed by {100 * tax['change']:+.1f} points, {bound}", file=to)
    done = {row["stage"] for row in table}
    for number in sorted({s.name.split("/")[0] for s in view.steps if "/" in s.name}):
        if f"stage {number[1:]}" not in done:
            print(f"stage {number[1:]} trained nothing: it had no prompts, or no reward model", file=to)
