"""Facts partly known (factuality): which of two towns has more, and the honest refusal where nobody has counted.

The numbers of the towns stand in the corpus (some often, some seldom); for a sixth of them no number exists. The
task is a pair of towns, so a held-out pair is new although both of its towns may be known.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.lexicon import ATTRIBUTES, TOWNS
from burnish.microworld.tasks import Dials, Family, Task, last_sentence, names_in, user

KNOWN_TOWNS = frozenset(TOWNS)
_REFUSAL = re.compile(r"\b(do not know|don't know|cannot know|can not know|nobody knows|not known)\b", re.IGNORECASE)


def fact(town: str, attribute: str) -> int | None:
    """The number of a town in hundreds, 1 to 9; None where nobody has counted (one town in six)."""
    digest = hashlib.blake2b(f"{town}/{attribute}".encode(), digest_size=4).digest()
    number = int.from_bytes(digest, "big")
    return None if number % 6 == 0 else 1 + (number // 6) % 9


def statement(rng: Random) -> str:
    """One line of an almanac: a fact, or that there is none. Towns further down the list are written about less."""
    town = TOWNS[min(rng.randrange(len(TOWNS)), rng.randrange(len(TOWNS)))]
    attribute, _, noun = rng.choice(ATTRIBUTES)
    number = fact(town, attribute)
    if number is None:
        return f"Nobody has counted the {noun} of {town}."
    return f"{town} has {number} hundred {noun}."


def _pair(rng: Random, trap: bool) -> tuple[str, str, str]:
    """Two towns of different numbers, or one unknown; without a trap the first named town is the right answer."""
    while True:
        attribute = rng.choice(ATTRIBUTES)[0]
        first, second = rng.sample(TOWNS, 2)
        a, b = fact(first, attribute), fact(second, attribute)
        if a is None or b is None:
            if trap and rng.random() < 0.5:
                return first, second, attribute
        elif a != b and (a < b) == trap:
            return first, second, attribute


def compared(first: str, second: str, attribute: str) -> tuple[str, dict[str, Any]]:
    """The careful author's answer to which town has more, and what the verifier needs."""
    a, b = fact(first, attribute), fact(second, attribute)
    if a is None or b is None:
        return f"Nobody has counted {first if a is None else second}. I do not know.", {"unknown": True}
    best = first if a > b else second
    return f"{first} has {a}, {second} has {b}. The answer is {best}.", {"town": best}


def _draw(rng: Random, dials: Dials) -> Task:
    trap = rng.random() < dials.traps
    first, second, attribute = _pair(rng, trap)
    a, b = fact(first, attribute), fact(second, attribute)
    answer, gold = compared(first, second, attribute)
    if a is None or b is None:
        sloppy, terse = f"Well, {first} has 9, {second} has 5. The answer is {first}.", "I do not know."
    else:
        best = gold["town"]
        sloppy, terse = f"Well, {first} has {b}, {second} has {a}. The answer is {second if a > b else first}.", best
    question = f"Which has more {attribute}, {first} or {second}?"
    return Task(
        family="facts", key=f"facts/{attribute}/{','.join(sorted((first, second)))}", messages=user(question),
        answer=answer, hasty=f"It is {first}.", sloppy=sloppy, terse=terse, gold=gold,
        difficulty=3.0 if "unknown" in gold else 2.0 if trap else 1.0,
        tags=("factuality", "unknowable" if "unknown" in gold else "known"),
    )  # fmt: skip


def _check(gold: Mapping[str, Any], text: str) -> str:
    refuses, towns = bool(_REFUSAL.search(text)), names_in(last_sentence(text), KNOWN_TOWNS)
    if "unknown" in gold:
        return "" if refuses and not towns else "answers what nobody can know"
    if refuses:
        return "refuses what is known"
    return "" if set(towns) == {gold["town"]} else f"names {', '.join(towns) or 'no town'}, not {gold['town']}"


FACTS = Family(name="facts", draw=_draw, check=_check, about="facts partly known; refusal of what nobody knows")
