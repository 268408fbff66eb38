"""A needle in records (long context): one line of many holds the answer."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.lexicon import NAMES, SURNAMES
from burnish.microworld.tasks import Dials, Family, Task, user
from burnish.verify.math import final_number

FIELDS = ("room", "seat", "desk")


def _draw(rng: Random, dials: Dials) -> Task:
    """The careless author reads the first record only. The key is the needle; the haystack is not part of it."""
    count = rng.randint(*dials.records)
    fieldname = rng.choice(FIELDS)
    value = rng.randint(10, 99)
    if count <= len(NAMES):
        people = rng.sample(NAMES, count)
    else:  # a long haystack needs more people than there are first names
        people = [f"{a} {b}" for a in NAMES for b in SURNAMES]
        people = [rng.choice(NAMES), *rng.sample(people, count - 1)]
    who = people[0]
    others = rng.sample([n for n in range(10, 100) if n != value], min(count - 1, 89))
    rows = [(name, others[i % len(others)]) for i, name in enumerate(people[1:])]
    trap = rng.random() < dials.traps
    at = rng.randint(1, count - 1) if trap else 0
    rows.insert(at, (who, value))
    beside = rows[at + 1] if at + 1 < count else rows[at - 1]
    lines = " ".join(f"{name}: {fieldname} {number}." for name, number in rows)
    return Task(
        family="records", key=f"records/{fieldname}/{who}={value}",
        messages=user(f"{lines} Which {fieldname} has {who}?"),
        answer=f"{who}: {fieldname} {value}. The answer is {value}.", hasty=f"It is {rows[0][1]}.",
        sloppy=f"Well, {beside[0]}: {fieldname} {beside[1]}. The answer is {beside[1]}.", terse=str(value),
        gold={"number": value}, difficulty=3.0 if count > 8 else 2.0 if trap else 1.0, tags=("long context",),
    )  # fmt: skip


def _check(gold: Mapping[str, Any], text: str) -> str:
    number = final_number(text)
    return "" if number == gold["number"] else f"the final number is {number}, not {gold['number']}"


RECORDS = Family(name="records", draw=_draw, check=_check, about="one record of many holds the answer")
