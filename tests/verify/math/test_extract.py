"""Where answers are found, and what the checker makes of a reference."""

from __future__ import annotations

import json
import time

import pytest

from burnish.records import Message, Prompt, Response
from burnish.verify.math import MathChecker, extract_answer
from burnish.verify.math.extract import boxed, choice


def verdict(reference: str, text: str, **settings):
    prompt = Prompt(messages=(Message(role="user", content="?"),), checker="math", reference=reference)
    response = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
    return MathChecker(**settings).check(prompt, response)


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("so \\boxed{\\frac{a}{\\sqrt{b}}} and no more", "\\frac{a}{\\sqrt{b}}"),
        ("\\boxed{1} then \\boxed{2}", "2"),
        ("\\boxed{1} and \\boxed{2}", "1, 2"),
        ("\\boxed{1}, $\\boxed{2}$", "1, 2"),
        ("$\\boxed 5$", "5"),
        ("\\fbox{x = 3}", "x = 3"),
        ("#### 72\n", "72"),
        ("#### Step 1\nadd\nThe answer is $\\frac{1}{2}$.", "$\\frac{1}{2}$"),
        ("The final answer is $x=2$ because $2x=4$.", "$x=2$ because $2x=4$"),
        ("**Answer:** Yes", "Yes"),
        ("答案是 $\\sqrt{3}$。", "$\\sqrt{3}$"),
        ("Therefore, $y = 2x$.", "$y = 2x$"),
        ("we find\n$$z = 4$$\n", "$$z = 4$$"),
        ("nothing marked, only 5 apples", "nothing marked, only 5 apples"),
        ("", None),
    ],
)
def test_statements(text: str, answer: str | None) -> None:
    assert extract_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "letters"),
    [
        ("The answer is (B).", "B"),
        ("Answer: C", "C"),
        ("ANSWER:D", "D"),
        ("Ans A", "A"),
        ("correct option is C", "C"),
        ("Thus, option B", "B"),
        ("(C) is the correct answer", "C"),
        ("D is the answer", "D"),
        ("故选：A", "A"),
        ("所以选择 B，因为", "B"),
        ("答案为 C。", "C"),
        ("故选ACD。", "ACD"),
        ("A, C and D are correct", "ACD"),
        ("\\boxed{\\text{(B)}}", "B"),
        ("\\boxed{B. 12}", "B"),
        ("I think\nE", "E"),
        ("The answer is A. Wait, the answer is B.", "B"),
        ("The answer is III only", None),
        ("A dog has 4 legs", None),
        ("The answer is 12", None),
    ],
)
def test_choices(text: str, letters: str | None) -> None:
    assert choice(text) == letters
    assert extract_answer(text, kind="choice") == letters


def test_numbers() -> None:
    assert extract_answer("so \\boxed{1{,}000}", kind="number") == "1000"
    assert extract_answer("on the 13th of May", kind="number") is None
    assert extract_answer("none", kind="number") is None
    assert boxed("no box") is None


@pytest.mark.parametrize(
    ("reference", "right", "wrong"),
    [
        ("72", "#### 72", "#### 73"),
        ("2", "\\boxed{2.0}", "\\boxed{2\\sqrt{3}}"),
        ("2", "so it is $\\frac{4}{2}$.", "so it is $2\\pi$."),
        ("\\frac{3}{4}", "The answer is 0.75.", "The answer is 0.7."),
        ("x^2 + 1", "hence $1 + x^2$", "hence $1 - x^2$"),
        ("(1, 2)", "The point is \\boxed{(1,2)}", "The point is \\boxed{(2,1)}"),
        ("$x=-1$ or $x=2$", "We get $x = 2$.\nThe answer is $x=2$ or $x=-1$.", "The answer is $x=2$."),
        ("no solution", "\\boxed{\\text{No solution}}", "\\boxed{3}"),
        ('["1/2", "\\\\frac{\\\\pi}{6}"]', "\\boxed{\\pi/6}", "\\boxed{\\pi/3}"),
        ('{"answers": ["7", "8"]}', "#### 8", "#### 9"),
        ('{"answer": "B", "options": {"A": "3", "B": "4"}}', "The answer is B.", "The answer is A."),
        ('{"answer": "B", "options": {"A": "3", "B": "4"}}', "so \\boxed{4}", "so \\boxed{3}"),
        ('{"answer": "B", "options": ["3", "4"]}', "so \\boxed{4}", "so \\boxed{3}"),
        ("B", "故选B", "故选C"),
        ("12 miles", "The answer is 12 miles.", "The answer is 12 km."),
        ("So 5 + 5 = 10.\n#### 10", "\\boxed{10}", "\\boxed{11}"),
    ],
)
def test_references(reference: str, right: str, wrong: str) -> None:
    assert verdict(reference, right).correct is True
    told = verdict(reference, wrong)
    assert told.correct is False and told.reason


def test_unscored_and_silence() -> None:
    assert verdict("x^2", "").correct is False
    assert verdict("x^2", "I cannot tell").correct is False
    assert verdict("", "#### 3").correct is None
    assert "holds no number" in verdict("none", "#### 3").reason and verdict("none", "#### 3").correct is None
    for reference in ('{"gold": 3}', '{"answer": "B", "options": 3}', '{"answers": []}'):
        told = verdict(reference, "#### 3")
        assert told.correct is None and "must be" in told.reason
    told = verdict("x^2", "\\boxed{\\undefinedcommand{x}}")
    assert told.correct is None and "not read" in told.reason


def test_physics_answers_may_be_rounded() -> None:
    assert verdict("5.47e5", "\\boxed{5.5 \\times 10^5}").correct is False
    assert verdict("5.47e5", "\\boxed{5.5 \\times 10^5}", relative=0.01).correct is True


def test_the_checker_is_a_value() -> None:
    assert MathChecker() == MathChecker() and hash(MathChecker()) == hash(MathChecker())
    assert json.dumps(repr(MathChecker()))


HOSTILE = [
    "a" * 100_000, "1" * 100_000, "1 " * 50_000, "1," * 50_000, "$" * 100_000, "$a" * 50_000, "\\boxed{" * 14_000,
    "{" * 100_000, "(" * 100_000, "the answer is " * 7_000, "answer" + " " * 100_000, "A" * 100_000, "A " * 50_000,
    "#### " * 20_000, "####" + " " * 100_000, "\\frac" * 20_000, "\\frac{1}{" * 12_000, "1/" * 50_000, "=" * 100_000,
    "1=" * 50_000, "<<" * 50_000, "<<1=1>>" * 14_000, "选" * 100_000, "答案是" * 33_000, "\\text{" * 16_000,
    "\n" * 100_000, " " * 100_000, "1th" * 33_000, "^" * 100_000, "-" * 100_000, "so " * 33_000, "option " * 14_000,
    "(A) " * 25_000, "\\(" * 50_000, "\\[" * 50_000, "because " * 12_000, "√" * 100_000, "²" * 100_000, "1. " * 33_000,
    "correct " * 12_000, "A, B, " * 16_000, "\\left(" * 16_000, "|" * 100_000, "1!" * 50_000, "x^" * 50_000,
]  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: repr(text[:12]))
def test_a_hundred_kilobytes_of_anything(text: str) -> None:
    from burnish.verify.math import check_trace, equivalent

    checker = MathChecker(symbolically=False)
    for reference in ("3", "x^2+1", "B", "no solution"):
        begin = time.thread_time()
        checker.compare(text, reference)
        assert time.thread_time() - begin < 1.0, reference  # of CPU; a quadratic scan takes minutes
    for work in (lambda: equivalent(text, "3", symbolically=False), lambda: equivalent("3", text, symbolically=False)):
        begin = time.thread_time()
        work()
        assert time.thread_time() - begin < 1.0
    begin = time.thread_time()
    check_trace(text)
    assert time.thread_time() - begin < 4.0
