"""Whether two answers are equal: exact paths first, then math-verify."""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from burnish.verify.math import symbolic
from burnish.verify.math.equality.compare import same
from burnish.verify.math.equality.values import Rules
from burnish.verify.math.reading.forms import read
from burnish.verify.math.reading.shapes import Form, Many, Sequence, Text, Union, Value
from burnish.verify.math.reading.tokens import FUNCTIONS, MAX_CHARACTERS
from burnish.verify.math.reading.units import unit_of
from burnish.verify.math.reading.words import words_of
from burnish.verify.math.result import MathResult

SYMBOLIC_CHARACTERS = 500  # ASSUMED: longer texts are not sent to math-verify
_NUMBER = re.compile(r"[-+]?(?:[0-9]{1,3}(?:,[0-9]{3})++|[0-9]{1,40})(?:\.[0-9]{1,40})?")
_COMMAND = re.compile(r"\\[A-Za-z]++(?:\s*+\{[A-Za-z*]++\})?")
_WORD = re.compile(r"[A-Za-z]{3,}+|[\u3400-\u9fff]++")
_ADDED = re.compile(r"\\(?:sum|prod|int|iint|oint|lim|limits|binom|partial|det|operatorname)(?![A-Za-z])")
_NEVER = re.compile(r"\\begin|\\[cl]?dots|\.\.\.|\n\s*\n|\$[^$]+\$[^$]+\$")
_LETTER = re.compile(r"[0-9)\s=][A-Za-z]{1,3}(?![A-Za-z])")
_NAME = r"(?:\\(?:text|mathrm|textrm)\s*+\{[\s~]*+)?[A-Za-z]{1,6}(?:\^\{?-?[0-9]\}?)?[\s~]*+\}?(?:\^\{?-?[0-9]\}?)?"
_UNIT = re.compile(
    rf"(?:(?<=[0-9)}}])|(?<=[0-9)}}$]))(?:\s|\\[,; ]|~)*+({_NAME}(?:\s*+(?:/|\\cdot|\*)\s*+{_NAME}){{0,3}})[\s$.]*+$"
)
DEFAULT = Rules()


@lru_cache(maxsize=4096)
def _number(text: str) -> tuple[Fraction, int] | None:
    """A plain number and how many decimals it was written with."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        return None
    digits = text.replace(",", "")
    return Fraction(digits), len(digits.partition(".")[2])


def equivalent(
    given: str, gold: str, *, rules: Rules = DEFAULT, symbolically: bool = True, seconds: float = symbolic.SECONDS
) -> MathResult:
    """Compare an answer with the gold one.

    Args:
        given: the answer alone, as `extract_answer` gives it; not the solution around it.
        gold: the gold answer; its written form decides which rounding is allowed.
        rules: tolerances.
        symbolically: ask math-verify for what the exact paths leave open.
        seconds: that math-verify may take, by the clock.

    Never raises, whatever the texts.
    """
    a, b = _number(given), _number(gold)
    if a and b and (a[0] == b[0] or (not b[1] and not rules.relative and "," not in given + gold)):
        kind = "equal" if a[0] == b[0] else "different"
        return MathResult(kind=kind, why="numbers", given=given, gold=gold)
    if not given.strip() or not gold.strip():
        return MathResult(kind="unparsable", why="one side is empty", given=given, gold=gold)
    if max(len(given), len(gold)) > MAX_CHARACTERS:
        equal = given == gold
        why = "the same text" if equal else f"longer than {MAX_CHARACTERS:,} characters"
        return MathResult(kind="equal" if equal else "unparsable", why=why, given=given, gold=gold)
    try:
        found = _compared(given, gold, rules)
    except RecursionError:
        found = None
    if found is not None:
        return MathResult(kind="equal" if found else "different", why="exact paths", given=given, gold=gold)
    return _left_open(given, gold, symbolically, seconds)


def _compared(given: str, gold: str, rules: Rules) -> bool | None:
    found = same(read(given), read(gold), rules)
    if found is True or words_of(given) == words_of(gold):
        return True
    # "56,144" is one number or two, "3 t" a product or three tonnes, as the other side has it.
    ours, theirs = _readings(given), _readings(gold)
    for first in ours:
        for second in theirs:
            if (first is not ours[0] or second is not theirs[0]) and same(first, second, rules):
                return True
    return found


def _readings(text: str) -> list[Form]:
    """The forms that a text may have, the likeliest first."""
    found = [read(text)]
    if _grouped(found[0]):
        found.append(read(text, False))
    if _LETTER.search(text):
        found.append(read(text, True, True))
    if match := _UNIT.search(text):  # "9.8 m/s^2", where letters in formulas are symbols
        words = re.findall(r"[A-Za-z]+|[0-9]+|[*/^-]", match[1].replace("\\text", "").replace("\\cdot", "*"))
        value = read(text[: match.start()])
        if isinstance(value, Value) and not value.unit and unit_of(words):
            found.append(Value(value.tree, tuple(words), value.name, value.others, value.grouped))
    return found


def _grouped(form: Form) -> bool:
    if isinstance(form, Value):
        return form.grouped
    return isinstance(form, Many | Sequence | Union) and any(_grouped(item) for item in form.items)


def _prose(text: str) -> bool:
    """Whether a text that was not read holds a word, of which math-verify would make a product of symbols."""
    return any(word not in FUNCTIONS for word in _WORD.findall(_COMMAND.sub(" ", text)))


def _suits(given: str, gold: str) -> bool:
    """Whether math-verify can be trusted with a pair: read here and undecided, or the notation that it adds.

    Of matrices in expressions, of series with dots and of several formulas in one text it reads a part and compares
    that (docs/verify_math.md lists pairs of different answers that it calls equal).
    """
    for text in (given, gold):
        if _NEVER.search(text) or (isinstance(read(text), Text) and not _ADDED.search(text)):
            return False
    return True


def _left_open(given: str, gold: str, symbolically: bool, seconds: float) -> MathResult:
    for side, text in (("the answer", given), ("the gold answer", gold)):
        form = read(text)
        if isinstance(form, Text) and (not form.math or _prose(text)):
            return MathResult(kind="unparsable", why=f"{side} is words, not a value", given=given, gold=gold)
    if max(len(given), len(gold)) > SYMBOLIC_CHARACTERS:
        why = f"no exact path reads it, and it is longer than {SYMBOLIC_CHARACTERS} characters"
        return MathResult(kind="unparsable", why=why, given=given, gold=gold)
    if not _suits(given, gold):
        return MathResult(kind="unparsable", why="notation that is not read here", given=given, gold=gold)
    if not symbolically:
        return MathResult(kind="unparsable", why="no exact path decides it", given=given, gold=gold)
    kind, why = symbolic.ask(given, gold, seconds)
    return MathResult(kind=kind, why=why, given=given, gold=gold)
