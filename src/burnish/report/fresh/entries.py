"""The answers of `samples.jsonl` as the browser shows them: an entry for each prompt of a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from burnish.report.browser import BYTES, cut, embedded, finite
from burnish.report.reading import Evidence, bare, number, round_of, short_name
from burnish.runs import StepView

STATES = {"missing": "unscored"}


def fresh_steps(evidence: Evidence) -> list[StepView]:
    """The steps that left answers."""
    return [step for step in evidence.view.steps if step.kind != "skipped" and step.samples()]


def drawn(step: StepView) -> int:
    """Prompts that the step drew answers to, one as often as it was asked."""
    return int(step.note["metrics"].get("all_groups", 0))


def fresh_entries(evidence: Evidence) -> list[dict[str, Any]]:
    """An entry for each prompt of a round that one of its picked answers is to; in the order of the rounds.

    The last round of a training and its first come first where they do not all fit in.
    """
    steps = fresh_steps(evidence)
    budget, alone = BYTES // max(1, len(steps)), len(steps) == 1 and not evidence.rounds
    return [entry for step in steps for entry in _of_step(step, budget, alone=alone)]


def _of_step(step: StepView, budget: int, *, alone: bool) -> list[dict[str, Any]]:
    by_round: dict[int, list[dict[str, Any]]] = {}
    for row in step.samples():
        by_round.setdefault(int(row["round"]), []).append(row)
    order = sorted(by_round)
    found: dict[int, list[dict[str, Any]]] = {}
    for place in [*order[-1:], *order[:1], *order[1:-1]]:
        entries = _of_round(place if alone else _title(step, place), by_round[place])
        budget -= sum(len(embedded(entry).encode("utf-8")) for entry in entries)
        if budget < 0 and found:
            break
        found[place] = entries
    return [entry for place in sorted(found) for entry in found[place]]


def _title(step: StepView, place: int) -> str:
    """What the browser calls a round beside the rounds of a recipe, or of a second training."""
    outer = round_of(step)
    return ", ".join(filter(None, [f"{outer}" if outer is not None else "", f"{short_name(step)} {place}"]))


def _of_round(title: int | str, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    by_prompt: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_prompt.setdefault(row["prompt"], []).append(row)
    return [_entry(title, prompt, some) for prompt, some in by_prompt.items()]


def _entry(title: int | str, prompt: str, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    first = rows[0]
    return {
        "round": title,
        "id": prompt,
        "ability": first["ability"],
        "language": "",
        "difficulty": None,
        "tags": [f"route {first['route']}"] if first["route"] else [],
        "reference": cut(first["reference"]),
        "messages": _said(first["messages"]),
        "answers": [_answer(row) for row in rows],
    }


def _said(messages: Sequence[dict[str, str]]) -> list[dict[str, str]]:
    return [{"role": m["role"], "text": cut(m["content"])} for m in messages]


def _answer(row: dict[str, Any]) -> dict[str, Any]:
    parts = [f"{name} {'missing' if value is None else number(value)}" for name, value in row["parts"].items()]
    return {
        "index": row["index"],
        "messages": _said(row["answer"]),
        "score": finite(row["reward"]),
        "unscored": bare(row["why"])[:300],
        "length": row["tokens"],
        "finish": row["finish"],
        "state": STATES.get(row["pick"], "left" if row["left_out"] else "kept"),
        "pick": row["pick"],
        "at": "",
        "reason": "",
        "detail": "; ".join([*parts, *([f"not learned from: {row['left_out']}"] if row["left_out"] else [])]),
        "best": False,
    }
