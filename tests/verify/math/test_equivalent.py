"""Which answers are one answer, and which are not; near misses; both ways round."""

from __future__ import annotations

import random
import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.verify.math import Rules, equivalent
from tests.verify.math.gold import SETS, golds

EQUAL = [
    ("1/2", "0.5"),
    ("\\frac{1}{2}", "0.5"),
    ("\\frac12", "1/2"),
    ("½", "\\tfrac{1}{2}"),
    ("2 1/2", "2.5"),
    ("2\\frac{1}{2}", "\\frac{5}{2}"),
    ("1,234", "1234"),
    ("1{,}234.50", "1234.5"),
    ("1\\,234\\,567", "1234567"),
    ("-\\frac{3}{4}", "\\frac{-3}{4}"),
    ("50%", "50"),
    ("50\\%", "\\frac{1}{2}"),
    ("50%", "0.5"),
    ("$12.50", "12.5"),
    ("12.50 dollars", "\\$12.50"),
    ("5 apples", "5"),
    ("5\\text{ cm}", "5 \\mathrm{~cm}"),
    ("100 cm", "1 m"),
    ("3 hours", "180 minutes"),
    ("90 km/h", "25 m/s"),
    ("1 \\text{ ft}^2", "144 square inches"),
    ("36 平方厘米", "36"),
    ("\\sqrt{12}", "2\\sqrt{3}"),
    ("√12", "2√3"),
    ("\\frac{1}{\\sqrt{2}}", "\\frac{\\sqrt{2}}{2}"),
    ("\\frac{1}{\\sqrt{2}-1}", "\\sqrt{2}+1"),
    ("\\sqrt[3]{54}", "3\\sqrt[3]{2}"),
    ("2^{10}", "1024"),
    ("3.2 \\times 10^{4}", "32000"),
    ("3.2e4", "32000"),
    ("6.02×10²³", "6.02e23"),
    ("\\frac{\\pi}{2}", "0.5\\pi"),
    ("π/2", "\\frac{1}{2}\\pi"),
    ("90^\\circ", "90"),
    ("90°", "\\frac{\\pi}{2}"),
    ("\\ln 8", "3\\ln 2"),
    ("e^{2+x}", "e^2 e^x"),
    ("\\sin^2 x+\\cos^2 x", "1"),
    ("\\log_2 8", "3"),
    ("\\binom{5}{2}", "10"),
    ("5!", "120"),
    ("|{-3}|", "3"),
    ("(x+1)^2", "x^2+2x+1"),
    ("\\frac{x^2-1}{x-1}", "x+1"),
    ("x = 3", "3"),
    ("x=1 or x=2", "1, 2"),
    ("x = 1, x = 2", "{2, 1}"),
    ("\\pm 2", "2, -2"),
    ("x=\\pm\\sqrt{3}", "-\\sqrt{3}, \\sqrt{3}"),
    ("1 \\pm \\sqrt{2}", "1+\\sqrt{2}, 1-\\sqrt{2}"),
    ("(1, 2)", "\\left(1,2\\right)"),
    ("(1/2, 3)", "(0.5, 3.0)"),
    ("(1,2), (3,4)", "(3,4),(1,2)"),
    ("\\{1, 2, 3\\}", "{3, 2, 1}"),
    ("[0, 1)", "0 \\le x < 1"),
    ("(2, \\infty)", "x > 2"),
    ("(-\\infty, 2) \\cup (2, \\infty)", "x \\ne 2"),
    ("(-∞, 1) ∪ (3, ∞)", "x<1 or x>3"),
    ("[0,1] \\cup [1,2]", "[0,2]"),
    ("\\mathbb{R}", "(-\\infty, \\infty)"),
    ("all real numbers", "ℝ"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\left[\\begin{array}{cc}1.0&2\\\\3&4\\end{array}\\right]"),
    ("\\begin{pmatrix} 1 \\\\ 2 \\end{pmatrix}", "(1, 2)"),
    ("2x + 4y = 6", "x + 2y = 3"),
    ("y = 2x + 1", "2x - y + 1 = 0"),
    ("y=2x+1", "2x+1"),
    ("5 + 3 = 8", "8"),
    ("3:4", "\\frac{3}{4}"),
    ("3:30 p.m.", "3:30"),
    ("\\text{No solution}", "no solutions"),
    ("\\varnothing", "no solution"),
    ("\\text{Yes}", "yes"),
    ("3+2i", "2i+3"),
    ("i^2", "-1"),
    ("$5$;$10$", "5, 10"),
    ("x=1 且 y=2".replace("且", "和"), "x=1, y=2"),
    ("3.14159", "3.14"),
    ("\\pi", "3.14"),
    ("\\frac{22}{7}", "3.143"),
]

DIFFERENT = [
    ("1/2", "2"),
    ("0.52", "0.5"),
    ("3.1", "3.14"),
    ("3.146", "3.14"),
    ("0.333", "\\frac{1}{3}"),
    ("10%", "12.5%"),
    ("5 cm", "5 m"),
    ("5 kg", "5 m"),
    ("5 minutes", "5 hours"),
    ("€5", "£5"),
    ("2\\sqrt{3}", "2"),
    ("\\frac{\\pi}{2}", "2"),
    ("\\sqrt{3}", "3"),
    ("\\sqrt{10^{20}+1}", "10^{10}"),
    ("x=1, y=2", "x=2, y=1"),
    ("(1, 2)", "(2, 1)"),
    ("[0, 1]", "(0, 1)"),
    ("[0, 1)", "[0, 1]"),
    ("(2, \\infty)", "x \\ge 2"),
    ("{1, 2}", "{1, 2, 3}"),
    ("1, 2", "1"),
    ("\\pm 2", "2"),
    ("\\begin{pmatrix} 1 & 2 \\\\ 3 & 4 \\end{pmatrix}", "\\begin{pmatrix} 1 & 3 \\\\ 2 & 4 \\end{pmatrix}"),
    ("2x + 4y = 6", "x + 2y = 4"),
    ("x^2+1", "x^2-1"),
    ("e^{2x}", "e^{x}"),
    ("\\sin x", "\\cos x"),
    ("Yes", "No"),
    ("3", "no solution"),
    ("9:10", "9:11"),
    ("α 内有无数条直线", "α 内有两条直线"),
    ("3:30 a.m.", "3:30 p.m."),
    ("i", "-i"),
    ("10^{20}+1", "10^{20}"),
]


@pytest.mark.parametrize(("text", "gold"), EQUAL)
def test_one_answer_in_two_forms(text: str, gold: str) -> None:
    result = equivalent(text, gold, symbolically=False)
    assert result.kind == "equal", result
    assert (result.given, result.gold) == (text, gold)


@pytest.mark.parametrize(("text", "gold"), DIFFERENT)
def test_different_answers(text: str, gold: str) -> None:
    assert equivalent(text, gold, symbolically=False).kind == "different"


@pytest.mark.parametrize(
    ("text", "gold"),
    [("\\foo{3}", "3"), ("", "3"), ("see the figure", "3"), ("9" * 500, "3"), ("1+" * 3000, "1")],
)
def test_what_nobody_can_read_is_no_verdict(text: str, gold: str) -> None:
    result = equivalent(text, gold)
    assert result.kind == "unparsable"
    assert result.why


def test_tolerances() -> None:
    assert equivalent("99.5", "100", rules=Rules(relative=0.01)).kind == "equal"
    assert equivalent("98", "100", rules=Rules(relative=0.01)).kind == "different"
    assert equivalent("3.14159", "3.14", rules=Rules(rounding=False)).kind == "different"
    # Rounding goes one way: a coarser answer does not stand for a finer gold one.
    assert equivalent("3.14", "3.14159").kind == "different"
    assert equivalent("12.54%", "12.5%").kind == "equal"
    assert equivalent("12.56%", "12.5%").kind == "different"


def test_both_ways_round() -> None:
    for pairs, kind in ((EQUAL[:-3], "equal"), (DIFFERENT, "different")):
        for text, gold in pairs:
            assert equivalent(gold, text, symbolically=False, rules=Rules(rounding=False)).kind == kind, (text, gold)


RATIONALS = st.fractions(max_denominator=1000)


@settings(max_examples=300, deadline=None)
@given(RATIONALS, RATIONALS, st.integers(1, 9), st.booleans())
def test_rationals_agree_exactly_when_their_values_do(a: Fraction, b: Fraction, scale: int, latex: bool) -> None:
    def write(value: Fraction) -> str:
        top, bottom = value.numerator * scale, value.denominator * scale
        return f"\\frac{{{top}}}{{{bottom}}}" if latex else f"{top}/{bottom}"

    assert (equivalent(write(a), str(b)).kind == "equal") == (a == b)
    assert equivalent(write(a), str(a)).kind == equivalent(str(a), write(a)).kind == "equal"


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(-20, 20), min_size=1, max_size=5), st.integers(2, 30), st.integers(2, 30), st.randoms())
def test_lists_and_surds(items: list[int], p: int, q: int, draw: random.Random) -> None:
    gold = ", ".join(map(str, items))
    shuffled = items[:]
    draw.shuffle(shuffled)
    assert equivalent(", ".join(map(str, shuffled)), gold).kind == "equal"
    assert equivalent(", ".join(map(str, [*items, 99])), gold).kind == "different"
    assert equivalent(f"\\sqrt{{{p * p * q}}}", f"{p}\\sqrt{{{q}}}").kind == "equal"
    assert equivalent(f"\\sqrt{{{p * p * q + 1}}}", f"{p}\\sqrt{{{q}}}").kind == "different"


def _misses(gold: str) -> list[str]:
    """A digit changed, the sign flipped, a fraction inverted."""
    found = []
    start = gold.rfind("=") + 1  # what stands before it is a name, or an earlier form of the answer
    if start:
        return [gold[:start] + miss for miss in _misses(gold[start:])]
    for index, character in enumerate(gold):
        if character.isdigit():
            found.append(gold[:index] + str((int(character) + 1) % 10) + gold[index + 1 :])
    if gold.startswith("$-"):
        found.append("$" + gold[2:])
    elif gold.startswith("$"):
        found.append("$-" + gold[1:])
    elif gold.strip("$ ") != "0":
        found.append(gold[1:] if gold.startswith("-") else "-" + gold)
    return found


@pytest.mark.parametrize("name", SETS)
def test_near_misses_of_real_golds(name: str) -> None:
    accepted = tried = 0
    sample = random.Random(name).sample(golds(name), min(120, len(golds(name))))
    for gold in sample:
        kinds = [equivalent(miss, gold, symbolically=False).kind for miss in _misses(gold)[:6]]
        tried += len(kinds)
        accepted += kinds.count("equal")
    assert tried > 50
    assert accepted == 0, f"{accepted} of {tried}"


@pytest.mark.parametrize("name", SETS)
def test_reflexive_and_symmetric_on_real_golds(name: str) -> None:
    found = golds(name)
    rules = Rules(rounding=False)
    draw = random.Random(name)
    for gold in draw.sample(found, min(150, len(found))):
        other = draw.choice(found)
        assert equivalent(gold, gold, symbolically=False).kind == "equal", gold
        one = equivalent(gold, other, symbolically=False, rules=rules).kind
        assert one == equivalent(other, gold, symbolically=False, rules=rules).kind, (gold, other)


def test_a_comparison_is_quick() -> None:
    begin = time.perf_counter()
    for _ in range(20):
        for text, gold in EQUAL:
            equivalent(text, gold, symbolically=False)
    assert (time.perf_counter() - begin) / (20 * len(EQUAL)) < 0.005
