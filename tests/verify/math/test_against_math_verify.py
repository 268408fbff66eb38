"""Verdicts against math-verify on the real answers: each difference belongs to a class with a reason.

docs/verify_math.md holds the table of the full sweep (`-m slow` repeats it: about twelve minutes, nearly all of it
math-verify's).
"""

from __future__ import annotations

import logging
import re
from collections import Counter

import pytest

from burnish.verify.math import equivalent
from burnish.verify.math.reading.forms import read
from burnish.verify.math.reading.shapes import Inequality, Many, Matrix, Sequence, Text, Union, Value
from tests.verify.math.gold import SETS, golds
from tests.verify.math.renderings import renderings

math_verify = pytest.importorskip("math_verify", reason="math-verify is absent: pip install 'burnish[math]'")

# Class of a difference -> who is right and why.
REASONS = {
    "nouns": "ours: a number counts whatever noun stands behind it; math-verify multiplies letters or compares strings",
    "words": "ours: words are compared without case, spacing and LaTeX dressing; math-verify compares strings",
    "sentences": "ours: the same sentence in another hand; math-verify reads letters of it as symbols",
    "e-notation": "ours: 4e33 is a number; math-verify reads 4 e 33",
    "several": "ours: lists, points and intervals with names, units, ± or ≈; math-verify reads one of them or none",
    "formula": "ours: one formula written twice; math-verify reads its letters, function names or parts otherwise",
    "unscored": "neither: a sentence or unread notation against another answer; ours says so, math-verify says no",
    "false equal": "ours: two different answers of which math-verify compares a part",
}


def theirs(given: str, gold: str) -> str:
    try:
        ours = math_verify.parse(f"\\boxed{{{given}}}", parsing_timeout=2)
        wanted = math_verify.parse(f"\\boxed{{{gold}}}", parsing_timeout=2)
        if not ours or not wanted:
            return "unread"
        return "equal" if math_verify.verify(wanted, ours, timeout_seconds=2) else "different"
    except Exception as error:
        return type(error).__name__


def adjudicate(ours: str, other: str, given: str, gold: str) -> str:
    """The class of one difference; an empty text when it belongs to none."""
    forms = read(given), read(gold)
    if other == "equal":
        return "false equal"
    if ours == "unparsable":
        return "unscored"
    if ours == "different":
        return "unscored" if other != "equal" else ""
    if all(isinstance(form, Text) for form in forms):
        return "sentences" if any(form.math for form in forms if isinstance(form, Text)) else "words"
    if any(re.search(r"\d[eE]-?\d", text) for text in (given, gold)):
        return "e-notation"
    if any(isinstance(form, Many | Sequence | Union | Inequality | Matrix) for form in forms):
        return "several"
    if any(isinstance(form, Value) and form.unit for form in forms):
        return "nouns"
    return "formula"


def sweep(name: str, count: int) -> tuple[Counter[str], int]:
    """Differences by class, and how many pairs were judged."""
    logging.disable(logging.CRITICAL)
    found = golds(name)
    classes: Counter[str] = Counter()
    pairs = 0
    step = max(1, len(found) // count)
    try:
        for index in range(0, len(found), step):
            gold = found[index]
            for given in (*renderings(gold)[:2], found[(index + 1) % len(found)]):
                pairs += 1
                ours, other = equivalent(given, gold, symbolically=False).kind, theirs(given, gold)
                if ours != other:
                    label = adjudicate(ours, other, given, gold)
                    assert label in REASONS, (label, ours, other, given, gold)
                    classes[label] += 1
    finally:
        logging.disable(logging.NOTSET)
    return classes, pairs


@pytest.mark.parametrize("name", [name for name in SETS if name != "college_math"])
def test_every_difference_has_a_reason(name: str) -> None:
    classes, pairs = sweep(name, 40)
    assert pairs >= 100
    assert classes["false equal"] == 0


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_every_difference_of_all_rows_has_a_reason() -> None:
    total = {name: sweep(name, 10**9) for name in SETS}
    assert sum(pairs for _, pairs in total.values()) > 11_000
    assert sum(classes["false equal"] for classes, _ in total.values()) <= 5
    # Where both read both sides and one says equal and the other different, the pair is in the table above.
    assert all(set(classes) <= set(REASONS) for classes, _ in total.values())


@pytest.mark.parametrize(
    ("given", "gold"),
    [
        ("$\\log \\left(\\sqrt[3]{10^{5}}\\right)=\\frac{5}{3}$", "$\\log \\frac{1}{1000000}=-6$"),
    ],
)
def test_pairs_that_math_verify_calls_equal(given: str, gold: str) -> None:
    assert theirs(given, gold) == "equal"
    assert equivalent(given, gold).kind == "different"
