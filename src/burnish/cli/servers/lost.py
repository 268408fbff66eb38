"""What is missing at the end of a run or a verb, and why."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from typing import Any

SHOWN = 200  # characters of what a server said


def print_lost(lost: Counter[tuple[str, str]], total: int, kept: Path) -> None:
    """Answers that are missing, by reason with the first one's words; nothing where none is."""
    if not lost:
        return
    print(f"{lost.total():,} of {total:,} answers are missing", file=sys.stderr)
    reasons, words = Counter[str](), dict[str, str]()
    for (reason, detail), count in lost.items():
        reasons[reason] += count
        words.setdefault(reason, detail)
    for reason, count in reasons.most_common():
        print(f"  {count:,} {reason}" + f": {words[reason][:SHOWN]}" * bool(words[reason]), file=sys.stderr)
    if kept.exists():
        print(
            "the same command asks again for those that may pass; all reasons: "
            f"burnish requests {kept.parent} --failures",
            file=sys.stderr,
        )


def told_lost(view: Any) -> list[str]:
    """Sentences on the comparisons and grades of a run that have no verdict, and on a run without any winner."""
    compared = [s for s in view.steps if s.name.endswith("-preferences") and "skipped" not in s.note]
    left = [s for s in view.steps if s.name.endswith("-judgements") and "skipped" not in s.note]
    unscored, ties = Counter[str](), 0
    for step in compared:
        ties += step.note["counts"]["dropped"].get("tie", 0)
        if step.note["counts"]["unscored"]:
            unscored.update(row.detail for row in step.dropped() if row.unscored)
    lines = []
    total = sum(step.note["counts"]["taken"] for step in compared)
    if unscored:
        lines.append(f"{unscored.total():,} of {total:,} comparisons are unscored: {_by_reason(unscored)}")
    grades = [step.note["metrics"].get("judge_unscored") or 0 for step in view.steps if step.name.endswith("-pruned")]
    if any(grades):
        lines.append(f"{sum(grades):,} answers have no grade of the judge that prunes: their reward alone decided")
    if compared and not any(step.note["counts"]["kept"] for step in compared):
        never = Counter[str]()
        for step in left:
            never.update({**step.note["counts"]["dropped"], **step.note["counts"]["unscored"]})
        reasons = [f"{count:,} {what}" for what, count in (("unscored", unscored.total()), ("ties", ties)) if count]
        reasons += [f"{count:,} {reason}" for reason, count in never.most_common()]
        told = ", ".join(reasons) or "no two answers differed"
        # A stronger policy helps where answers did not differ enough, not where nobody told them apart.
        fix = f"mend the annotator (burnish requests {view.folder} --failures)" if unscored.total() > total / 2 else (
            "try a stronger --policy")  # fmt: skip
        lines.append(f"nothing was trained: no comparison had a winner ({told}); {fix}")
    return lines


def _by_reason(details: Counter[str]) -> str:
    """`12 no reply (HTTP 500 ...), 3 inconsistent (...)`: the commonest words of each reason."""
    reasons: Counter[str] = Counter()
    for detail, count in details.items():
        reasons[detail.partition(": ")[0]] += count
    told = []
    for reason, count in reasons.most_common():
        words = next(d for d, _ in details.most_common() if d.partition(": ")[0] == reason).partition(": ")[2]
        told.append(f"{count:,} {reason}" + f" ({words[:SHOWN]})" * bool(words))
    return ", ".join(told)
