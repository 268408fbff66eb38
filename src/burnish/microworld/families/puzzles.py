"""Ordering and list puzzles (reasoning): chains of comparisons, lists to turn round."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from random import Random
from typing import Any

from burnish.microworld.lexicon import NAMES, WORDS
from burnish.microworld.tasks import Dials, Family, Task, last_sentence, names_in, user

# relation -> (comparison, question for the most, question for the least)
RELATIONS = {
    "en": {
        "old": ("{} is older than {}.", "Who is the oldest?", "Who is the youngest?"),
        "tall": ("{} is taller than {}.", "Who is the tallest?", "Who is the shortest?"),
        "fast": ("{} is faster than {}.", "Who is the fastest?", "Who is the slowest?"),
    },
    "es": {
        "old": ("{} es mayor que {}.", "¿Quién es el mayor?", "¿Quién es el menor?"),
        "tall": ("{} es más alto que {}.", "¿Quién es el más alto?", "¿Quién es el más bajo?"),
        "fast": ("{} es más veloz que {}.", "¿Quién es el más veloz?", "¿Quién es el más lento?"),
    },
    "de": {
        "old": ("{} ist älter als {}.", "Wer ist am ältesten?", "Wer ist am jüngsten?"),
        "tall": ("{} ist größer als {}.", "Wer ist am größten?", "Wer ist am kleinsten?"),
        "fast": ("{} ist schneller als {}.", "Wer ist am schnellsten?", "Wer ist am langsamsten?"),
    },
}
ANSWER = {"en": "The answer is {}.", "es": "La respuesta es {}.", "de": "Die Antwort ist {}."}
DIRECT = {"en": "It is {}.", "es": "Es {}.", "de": "Das ist {}."}
WELL = {"en": "Well, ", "es": "Bueno, ", "de": "Also, "}
KNOWN_NAMES = frozenset(NAMES)
KNOWN_WORDS = frozenset(WORDS)


def chain_task(rng: Random, dials: Dials, *, family: str, language: str) -> Task:
    """Who is first or last in a chain of three names (four: difficulty 3), told by comparisons in any order.

    The careless author takes the name told first (or last): right only where the comparisons come in order.
    """
    hard = rng.random() < dials.hard
    chain = rng.sample(NAMES, 4 if hard else 3)
    relation = rng.choice(tuple(RELATIONS[language]))
    compare, most, least = RELATIONS[language][relation]
    wants_most = rng.random() < 0.5
    pairs = list(pairwise(chain))
    trap = rng.random() < dials.traps
    gold = chain[0] if wants_most else chain[-1]
    while True:
        told = rng.sample(pairs, len(pairs))
        guess = told[0][0] if wants_most else told[-1][1]
        if (guess != gold) == trap:
            break
    listed: list[str] = []
    for name in (name for pair in told for name in pair):
        if name not in listed:
            listed.append(name)
    text = " ".join(compare.format(a, b) for a, b in told) + " " + (most if wants_most else least)
    slip = listed[0] if wants_most else listed[-1]
    return Task(
        family=family, key=f"ordering/{relation}/{'>'.join(chain)}/{'most' if wants_most else 'least'}",
        messages=user(text), answer=f"{' > '.join(chain)}. {ANSWER[language].format(gold)}",
        hasty=DIRECT[language].format(guess),
        sloppy=WELL[language] + f"{' > '.join(listed)}. {ANSWER[language].format(slip)}",
        terse=gold, gold={"name": gold, "language": language}, language=language,
        difficulty=3.0 if hard else 2.0 if trap else 1.0, tags=("reasoning", "chain"),
    )  # fmt: skip


def reverse_task(rng: Random, dials: Dials) -> Task:
    """A list to turn round. The careless author swaps its ends only, which is right for three words and no more."""
    trap = rng.random() < dials.traps
    items = rng.sample(WORDS, 4 if trap else 3)
    right, slip = items[::-1], [items[-1], *items[1:-1], items[0]]
    shown = ", ".join(items)
    return Task(
        family="ordering", key=f"ordering/backwards/{','.join(items)}",
        messages=user(rng.choice(("Put this list backwards: {}.", "Turn this list round: {}.")).format(shown)),
        answer=f"Last to first: {', '.join(right)}.", hasty=f"It is {', '.join(slip)}.",
        sloppy=f"Well, {', '.join(items[1:] + items[:1])}.", terse=", ".join(right),
        gold={"list": right, "language": "en"}, difficulty=2.0 if trap else 1.0, tags=("reasoning", "list"),
    )  # fmt: skip


def check_ordering(gold: Mapping[str, Any], text: str) -> str:
    """The last sentence must name the gold name and no other, or list the gold words in their order."""
    said = last_sentence(text)
    if "list" in gold:
        words = names_in(said, KNOWN_WORDS)
        return "" if words == list(gold["list"]) else f"the list says {', '.join(words) or 'nothing'}"
    names = names_in(said, KNOWN_NAMES)
    if set(names) == {gold["name"]}:
        return ""
    return f"the answer names {', '.join(names) or 'nobody'}, not {gold['name']}"


def _draw(rng: Random, dials: Dials) -> Task:
    if rng.random() < 0.55:
        return chain_task(rng, dials, family="ordering", language="en")
    return reverse_task(rng, dials)


ORDERING = Family(name="ordering", draw=_draw, check=check_ordering, about="chains of comparisons, lists turned round")
