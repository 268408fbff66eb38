"""Answers that take a value back, number words, units and whole answers without a marker."""

from __future__ import annotations

import pytest

from burnish.verify.math import MathChecker, equivalent
from burnish.verify.math.reading.numerals import in_digits
from tests.verify.math.gold import rows

CHECKER = MathChecker(symbolically=False)


def kind(text: str, gold: str) -> str:
    return CHECKER.compare(text, gold).kind


NOT_STATED = [
    ("The answer is not 18.", "18"),
    ("The answer can't be 18", "18"),
    ("The answer isn't 18.", "18"),
    ("The answer is 18? No, it is 20.", "18"),
    ("The answer is 20. (The answer is not 18.)", "18"),
    ("It is 20, not 18.", "18"),
    ("\\boxed{\\text{not } 18}", "18"),
    ("\\boxed{\\neq 18}", "18"),
    ("\\boxed{> 18}", "18"),
    ("\\boxed{\\text{less than } 18}", "18"),
    ("\\boxed{\\ge 18}", "18"),
    ("\\boxed{17\\text{ to }18}", "18"),
    ("at least 18", "18"),
    ("You need at least 18 coins.", "18"),
    ("The answer is more than 18", "18"),
    ("The answer is between 17 and 18.", "18"),
    ("The answer is 18 or more", "18"),
    ("17 or 18", "18"),
    ("#### 17 or 18", "18"),
    ("17-18", "18"),
    ("17, 18", "18"),
    ("The answer is neither 17 nor 18", "18"),
    ("答案不是18", "18"),
    ("至少18", "18"),
    ("The answer is not six.", "6"),
    ("six or seven", "7"),
    ("The answer is either A or B", "B"),
    ("The answer is A or B", "A"),
    ("The answer is not B", "B"),
    ("neither A nor B", "B"),
    ("\\boxed{\\text{A or B}}", "B"),
    ("0.2%", "20%"),
    ("It is 0.2%", "20%"),
    ("The answer is not $x^2$", "x^2"),
    ("It is not $x^2$.", "x^2"),
    ("1万", "1"),
    ("1 million", "1"),
    ("The answer is 5 x 10^3 of them all", "5"),
    ("三角形", "3"),
    ("$3 million", "3"),
]


@pytest.mark.parametrize(("text", "gold"), NOT_STATED)
def test_a_value_that_is_taken_back_is_not_right(text: str, gold: str) -> None:
    assert kind(text, gold) in ("different", "unparsable")


STATED = [
    ("The answer is 18, since 2 + 2 = 4.", "18"),
    ("The answer is 18 because 2 + 2 = 4.", "18"),
    ("The answer is 18, as 9 * 2 = 18 and 2 + 2 = 4", "18"),
    ("The answer is 18 where x = 4.", "18"),
    ("18 since 2 + 2 = 4", "18"),
    ("The answer is 18? No, it is 20.", "20"),
    ("The answer is 20. (The answer is not 18.)", "20"),
    ("The answer is not 17 but 18.", "18"),
    ("The answer is not 17. It is 18.", "18"),
    ("It can't be 17, so it is 18.", "18"),
    ("The answer is 18 (not 17).", "18"),
    ("The answer is about 18.", "18"),
    ("I'm not sure, but the answer is 18.", "18"),
    ("It is 18!", "18"),
    ("**18**", "18"),
    ("10^6", "1000000"),
    ("3**2", "9"),
    ("10^{-1}", "0.1"),
    ("7.5e-3", "0.0075"),
    ("1e-5", "1e-05"),
    ("2^{10}", "1024"),
    ("1.2e3", "1200"),
    ("180 minutes", "3 hours"),
    ("It takes 180 minutes.", "3 hours"),
    ("5000 m", "5 km"),
    ("20%", "0.2"),
    ("2 * 9 = 18, 18 * 2 = 36", "36"),
    ("\\boxed{C}", "\\text{(C)}"),
    ("(b)", "B"),
    ("The answer is (b).", "B"),
    ("I think the answer isn't B, it's C", "C"),
    ("\\boxed{32348}", "\\$32,\\!348"),
    ("9.8 m/s^2", "9.8"),
    ("\\boxed{9.8\\ \\text{m/s}^2}", "9.8"),
    ("3 \\text{ m/s}", "10.8 km/h"),
    ("Answer: $18/day", "18"),
    ("$18 per day", "18"),
    ("The answer is six", "6"),
    ("There are six apples.", "6"),
    ("\\boxed{\\text{six}}", "6"),
    ("The answer is zero.", "0"),
    ("one million", "1000000"),
    ("1 million", "1000000"),
    ("2500000", "2.5 million"),
    ("2 dozen", "24"),
    ("答案是七十二。", "72"),
    ("三分之二", "2/3"),
    ("1.5万", "15000"),
    ("7.5 x 10^-3", "0.0075"),
    ("7.5 × 10⁻³", "0.0075"),
    ("The answer is 7.5 x 10^-3.", "0.0075"),
    ("72", "[72]"),
]


@pytest.mark.parametrize(("text", "gold"), STATED)
def test_a_value_that_is_stated_is_right(text: str, gold: str) -> None:
    assert kind(text, gold) == "equal"


def test_times_of_day_and_matrices() -> None:
    matrix = "\\begin{pmatrix}1&2\\\\3&4\\end{pmatrix}"
    for text, gold, wanted in (
        ("5:30 PM", "17:30", "equal"),
        ("12:30 a.m.", "0:30", "equal"),
        ("12:30 pm", "12:30", "equal"),
        ("5:30 AM", "17:30", "different"),
        ("6:30 PM", "17:30", "different"),
        (matrix, "[[1,2],[3,4]]", "equal"),
        (matrix, "[[1,3],[2,4]]", "different"),
        ("9.8 m/s", "9.8 m/s^2", "different"),
    ):
        assert equivalent(text, gold, symbolically=False).kind == wanted, (text, gold)
        assert equivalent(gold, text, symbolically=False).kind == wanted, (gold, text)


@pytest.mark.parametrize(
    ("text", "digits"),
    [
        ("one hundred and five", "105"),
        ("twenty-one apples", "21 apples"),
        ("nine hundred ninety-nine thousand", "999000"),
        ("minus five", "-5"),
        ("a dozen", "12"),
        ("two thirds", "2/3"),
        ("三百零五", "305"),
        ("一千二百万", "12000000"),
        ("二〇二三", "2023"),
        ("3千", "3000"),
        ("5万元", "50000元"),
        ("1,250 thousand", "1250000"),
    ],
)
def test_number_words(text: str, digits: str) -> None:
    assert in_digits(text) == digits


@pytest.mark.parametrize(
    "text", ["one-to-one", "two three", "三角形", "3千米", "第三", "一样", "million", "tennis", "5 men"]
)
def test_words_that_are_no_numbers(text: str) -> None:
    assert in_digits(text) == text


def test_tails_and_denials_of_gsm8k() -> None:
    """A reason behind the answer changes no verdict; a denied gold answer is never right."""
    for row in rows("gsm8k/test"):
        gold = row["answer"].rpartition("####")[2].strip()
        if gold != "4":
            assert kind(f"The answer is {gold}, since 2 + 2 = 4.", gold) == "equal", gold
            assert kind("The answer is 4, since 2 + 2 = 4.", gold) == "different", gold
        for text in ("The answer is not {}.", "at least {}", "\\boxed{{\\neq {}}}", "It isn't {}.", "1 or {}"):
            assert kind(text.format(gold), gold) != "equal", (text, gold)
