"""Arithmetic in columns, with its steps (math), and the same tasks told in other languages."""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.families import puzzles
from burnish.microworld.lexicon import FRUITS, NAMES
from burnish.microworld.tasks import Dials, Family, Task, user
from burnish.verify.math import final_number

PLAIN = {
    "en": ("What is {}?", "Compute {}.", "Work out {}."),
    "es": ("¿Cuánto es {}?", "Calcula {}."),
    "de": ("Was ist {}?", "Berechne {}."),
}
STORY = {  # name, first operand, thing, then one clause an operand, then the question
    "en": ("{} has {} {}", {"+": " and gets {} more", "-": " and gives {} away"}, ". How many now?"),
    "es": ("{} tiene {} {}", {"+": " y recibe {} más", "-": " y regala {}"}, ". ¿Cuántos hay ahora?"),
    "de": ("{} hat {} {}", {"+": " und bekommt {} dazu", "-": " und verschenkt {}"}, ". Wie viele jetzt?"),
}
ANSWER = {"en": "The answer is {}.", "es": "La respuesta es {}.", "de": "Die Antwort ist {}."}
QUICK = {"en": "Quick, {}, so {}.", "es": "Rápido, {}, son {}.", "de": "Schnell, {}, also {}."}
AND = {"en": " and ", "es": " y ", "de": " und "}
WELL = {"en": "Well, ", "es": "Bueno, ", "de": "Also, "}
# Words that only one of the languages has: an answer must speak the language of its question.
MARKERS = {
    "en": frozenset(["the", "answer", "is", "it", "well", "are"]),
    "es": frozenset(["la", "respuesta", "es", "son", "bueno"]),
    "de": frozenset(["die", "antwort", "ist", "das", "sind", "also"]),
}


def columns(a: int, sign: str, b: int, *, careless: bool) -> tuple[list[str], int]:
    """The steps of a column sum from the right, and its result; `careless` forgets every carry and every borrow."""
    x, y = str(a)[::-1], str(b)[::-1]
    steps, digits, carry = [], "", 0
    for place, top in enumerate(x):
        low = y[place] if place < len(y) else "0"
        last = place == len(x) - 1
        if sign == "+":
            value = int(top) + int(low) + carry
            shown = f"{top}+{low}" + ("+1" if carry else "")
            digits = (str(value) if last else str(value % 10)) + digits
            carried = int(value >= 10)
        else:
            value = int(top) - int(low) - carry
            carried = int(value < 0)
            if carried:
                shown, value = f"1{top}" + ("-1" if carry else "") + f"-{low}", value + 10
            else:
                shown = top + ("-1" if carry else "") + f"-{low}"
            digits = str(value) + digits
        steps.append(f"{shown}={value}")
        carry = 0 if careless else carried
    return steps, int(digits)


def has_trap(a: int, sign: str, b: int) -> bool:
    """True where forgetting a carry or borrow changes the result."""
    return columns(a, sign, b, careless=True)[1] != columns(a, sign, b, careless=False)[1]


def _operands(rng: Random, dials: Dials) -> tuple[int, str, int]:
    low, high = 10 ** (dials.digits - 1), 10**dials.digits - 1
    trap = rng.random() < dials.traps
    while True:
        a, b = rng.randint(low, high), rng.randint(low, high)
        sign = rng.choice("+-")
        if sign == "-":
            a, b = max(a, b), min(a, b)
        # A borrow in the last column would make the number negative; a != b keeps the story sensible.
        if a != b and has_trap(a, sign, b) == trap:
            return a, sign, b


def sum_task(rng: Random, dials: Dials, *, family: str, language: str) -> Task:
    """One sum of two numbers, or three (difficulty 3), plain or as a story, in `language`."""
    a, sign, b = _operands(rng, dials)
    terms = [(sign, b)]
    hard = rng.random() < dials.hard
    if hard:
        terms.append(("+", rng.randint(2, 9)))
    (right, total), (wrong, slip) = (solve(a, terms, careless=careless) for careless in (False, True))
    if rng.random() < 0.6:
        shown = f"{a}" + "".join(f" {s} {n}" for s, n in terms)
        if sign == "+" and not hard and rng.random() < 0.5:
            shown = f"{b} + {a}"
            (right, total), (wrong, slip) = (solve(b, [("+", a)], careless=c) for c in (False, True))
        text = rng.choice(PLAIN[language]).format(shown)
    else:
        start, clause, end = STORY[language]
        thing = rng.choice(FRUITS[language])
        text = start.format(rng.choice(NAMES), a, thing) + "".join(clause[s].format(n) for s, n in terms) + end
    first = ",".join(map(str, sorted((a, b)))) if sign == "+" else f"{a},{b}"
    tail = "".join(f"{s}{n}" for s, n in terms[1:])
    return Task(
        family=family, key=f"arithmetic/{sign}/{first}{'/' if tail else ''}{tail}", messages=user(text),
        answer=f"{', '.join(right)}. {ANSWER[language].format(total)}",
        hasty=QUICK[language].format(AND[language].join(step.split("=")[0] for step in wrong), slip),
        sloppy=WELL[language] + f"{', '.join(wrong)}. {ANSWER[language].format(slip)}",
        terse=f"{total}", gold={"number": total, "language": language}, language=language,
        difficulty=3.0 if hard else 2.0 if slip != total else 1.0,
        tags=("math", "sum" if sign == "+" else "difference") + (("three terms",) if hard else ()),
    )  # fmt: skip


def solve(a: int, terms: list[tuple[str, int]], *, careless: bool) -> tuple[list[str], int]:
    """The steps of a chain of sums and differences that begins with `a`, and its result."""
    steps: list[str] = []
    for sign, b in terms:
        more, a = columns(a, sign, b, careless=careless)
        steps += more
    return steps, a


def check_number(gold: Mapping[str, Any], text: str) -> str:
    """The final number must be the gold one, and the words must be of the question's language."""
    number = final_number(text)
    if number is None:
        return "no number in the answer"
    if number != gold["number"]:
        return f"the final number is {number}, not {gold['number']}"
    return check_language(gold, text)


def check_language(gold: Mapping[str, Any], text: str) -> str:
    """No word that only another language has."""
    words = set(re.findall(r"[^\W\d_]+", text.lower()))
    for language, markers in MARKERS.items():
        if language != gold["language"] and words & markers:
            return f"the answer speaks {language}, the question {gold['language']}"
    return ""


def _arithmetic(rng: Random, dials: Dials) -> Task:
    return sum_task(rng, dials, family="arithmetic", language="en")


def _multilingual(rng: Random, dials: Dials) -> Task:
    language = rng.choice(dials.languages)
    if rng.random() < 0.6:
        return sum_task(rng, dials, family="multilingual", language=language)
    return puzzles.chain_task(rng, dials, family="multilingual", language=language)


def _check_multilingual(gold: Mapping[str, Any], text: str) -> str:
    if "number" in gold:
        return check_number(gold, text)
    return puzzles.check_ordering(gold, text) or check_language(gold, text)


ARITHMETIC = Family(name="arithmetic", draw=_arithmetic, check=check_number, about="sums in columns, with steps")
MULTILINGUAL = Family(
    name="multilingual", draw=_multilingual, check=_check_multilingual, about="sums and puzzles in Spanish and German"
)
