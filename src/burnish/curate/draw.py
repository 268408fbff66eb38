"""Which prompts a round asks: more where the model lags, and none twice while there are unused ones."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from burnish.curate.mix import apportion
from burnish.records import Prompt, dropped
from burnish.runs import Outcome

FLOOR = 0.25  # ASSUMED: weight of a solved ability against an unsolved one, so that none is forgotten


def take_prompts(prompts: Sequence[Prompt], *, by_checker: bool = False) -> Outcome:
    """Take prompts into a run; a prompt that occurs twice goes on once.

    Args:
        by_checker: a prompt that declares no ability gets the name of its checker as one, so that it can be routed.
    """
    seen: set[str] = set()
    rows, lost = [], []
    for prompt in prompts:
        if by_checker and prompt.checker and not prompt.ability:
            prompt = replace(prompt, ability=prompt.checker, id="")
        if prompt.id in seen:
            lost.append(dropped(prompt, "duplicate"))
        else:
            seen.add(prompt.id)
            rows.append(prompt)
    return Outcome(rows=rows, dropped=lost, taken=len(prompts))


def _order(prompt: Prompt, seed: int, act: str) -> bytes:
    return hashlib.blake2b(f"{act}\0{seed}\0{prompt.id}".encode(), digest_size=8).digest()


def draw_prompts(
    pool: Sequence[Prompt], used: Sequence[Any] = (), *, count: int, grades: Mapping[str, float], seed: int
) -> Outcome:
    """Draw a round's prompts (spec §3.1: raise difficulty where the model lags; the rule is ASSUMED).

    An ability's share grows with the share of its held-out answers that are wrong, `FLOOR` when all are right; inside
    an ability unused prompts come first, in an order that depends on the seed and the prompt alone.

    Args:
        pool: all prompts there are.
        used: rows of earlier draws (anything with the prompt's id as `id`); used prompts come last.
        count: how many to draw; the pool's size when that is smaller.
        grades: ability -> accuracy in 0..1 of the last evaluation; an absent ability counts as wholly wrong.
        seed: of the order.
    """
    times: dict[str, int] = {}
    for row in used:
        times[row.id] = times.get(row.id, 0) + 1
    groups: dict[str, list[Prompt]] = {}
    for prompt in pool:
        groups.setdefault(prompt.ability, []).append(prompt)
    for members in groups.values():
        members.sort(key=lambda prompt: (times.get(prompt.id, 0), _order(prompt, seed, "rank")))
    count = min(count, len(pool))
    wanted: dict[str, int] = dict.fromkeys(groups, 0)
    open_groups = sorted(groups)
    while open_groups and count > sum(wanted.values()):
        weights = {name: FLOOR + (1 - FLOOR) * (1 - grades.get(name, 0.0)) for name in open_groups}
        for name, number in apportion(weights, count - sum(wanted.values())).items():
            wanted[name] = min(len(groups[name]), wanted[name] + number)
        open_groups = [name for name in open_groups if wanted[name] < len(groups[name])]
    rows = [prompt for name in sorted(groups) for prompt in groups[name][: wanted[name]]]
    # Another order than the one they were taken by, which would put abilities with many unused prompts first.
    rows.sort(key=lambda prompt: _order(prompt, seed, "place"))
    return Outcome(rows=rows, metrics={f"ability {name}": number for name, number in wanted.items() if name})


def union(rows: Sequence[Any]) -> Outcome:
    """Rows of several rounds as one table (spec §3.1: the reward model learns from all preferences so far)."""
    seen: set[str] = set()
    kept, lost = [], []
    for row in rows:
        if row.id in seen:
            lost.append(dropped(row, "duplicate"))
        else:
            seen.add(row.id)
            kept.append(row)
    return Outcome(rows=kept, dropped=lost, taken=len(rows))
