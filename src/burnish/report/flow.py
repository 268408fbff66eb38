"""The flow: what each step took, kept, dropped and why; how long it ran; what stood in for people."""

from __future__ import annotations

from typing import Any

from burnish.report.reading import Evidence, bare, number, seconds, short_name
from burnish.runs import StepView

KINDS = {"rows": "rows", "causal": "weights", "reward": "reward model", "skipped": "skipped"}


def _reasons(counts: Any) -> list[dict[str, str]]:
    """Reasons with their counts, the largest first, equal ones by name."""
    items = counts.items() if isinstance(counts, dict) else []
    return [
        {"reason": bare(str(reason)), "count": number(count)}
        for reason, count in sorted(items, key=lambda item: (-item[1], item[0]))
    ]


def _line(evidence: Evidence, step: StepView) -> dict[str, Any]:
    counts = step.note.get("counts") or {}
    dropped, unscored = counts.get("dropped") or {}, counts.get("unscored") or {}
    taken, kept = counts.get("taken", 0), counts.get("kept", 0)
    lost, mute = sum(dropped.values()), sum(unscored.values())
    whole = max(taken, 1)
    return {
        "name": short_name(step),
        "full": step.name,
        "kind": KINDS.get(step.kind, step.kind),
        "skipped": bare(str(step.note.get("skipped", ""))).removeprefix("skipped: "),
        "taken": number(taken),
        "kept": number(kept),
        "dropped": number(lost),
        "unscored": number(mute),
        "why_dropped": _reasons(dropped),
        "why_unscored": _reasons(unscored),
        "cut": bool(lost + mute),
        "made": step.kind in ("causal", "reward") and not taken,
        "seconds": seconds(step.note.get("seconds")),
        "share": {
            "kept": round(100 * kept / whole, 2),
            "dropped": round(100 * lost / whole, 2),
            "unscored": round(100 * mute / whole, 2),
        },
        "simulated": evidence.simulated(step),
        "notices": [bare(str(text)) for text in (step.note.get("metrics") or {}).get("notices") or []],
    }


def flow(evidence: Evidence) -> list[dict[str, Any]]:
    """Groups of steps (before the rounds, then each round) with their lines and the sum of their seconds."""
    groups = []
    for number_, steps in evidence.groups:
        spent = sum(step.note.get("seconds") or 0.0 for step in steps)
        title = evidence.title(number_)
        groups.append({"title": title, "seconds": seconds(spent), "lines": [_line(evidence, step) for step in steps]})
    return groups


def totals(evidence: Evidence) -> dict[str, str]:
    """Counts of the whole run: steps, skipped steps and why, seconds of all steps together."""
    steps = evidence.view.steps
    spent = sum(step.note.get("seconds") or 0.0 for step in steps)
    skipped = [step for step in steps if step.kind == "skipped"]
    why: dict[str, list[str]] = {}
    for step in skipped:
        reason = bare(str(step.note["skipped"])).removeprefix("skipped: ")
        why.setdefault(reason, []).append(step.name)
    told = [f"{', '.join(names)} ({reason})" for reason, names in why.items()]
    words = f"Skipped steps, whose starting weights went on unchanged: {'; '.join(told)}." if told else ""
    return {
        "steps": number(len(steps)),
        "skipped": number(len(skipped)),
        "seconds": seconds(spent),
        "told": words,
    }
