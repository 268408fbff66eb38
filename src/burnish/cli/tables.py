"""The table a run ends with: the base, then each round."""

from __future__ import annotations

from typing import Any, TextIO

from burnish.runs import RunView


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
