"""Replies of judges: published forms, what a person can still read, and what must stay unscored."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from burnish.judge.replies import read_choice, read_object, read_rating
from tests.judge.real import rows


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("Good.\n\nRating: [[8]]", 8),
        ("Rating: [[7.5]]", 7.5),
        ("Feedback: it meets the criteria for a score of 5, nearly. [RESULT] 4", 4),
        ("[RESULT] (4)", 4),
        ("Clear.\n\nScore: 10", 10),
        ("**Final score:** 6", 6),
        ("The assistant's response: 9/10.", 9),
        ("I give it 3 out of 10.", 3),
        ("[[3]] would be harsh.\nRating: [[8]]", 8),  # the last line decides
        ("Rating: [[5]]\nRating: [[5]]\nThat is all.", 5),
        ("The rating is 4", 4),
        ("```\nRating: [[8]]\n```", 8),
        ("Its grid is\n```\n[[7]]\n```\nRating: [[8]]\nBest wishes", 8),
    ],
)
def test_ratings_that_a_person_can_read(text: str, value: float) -> None:
    assert read_rating(text).value == value


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no rating"),
        ("It meets the criteria for a score of 5.", "no rating"),
        ("x[[i]] = 3", "no rating"),
        ("It calls np.array([[1]]) and stops", "no rating"),
        ("The fix:\n```python\ngrid = [[7]]\nfor row in", "no rating"),
        ("7 out of 10 people would agree with it, I think.", "no rating"),
        ("About 80 % is right, 3/4 of it well.", "no rating"),
        ("Rating: [[11]]", "outside"),
        ("Rating: [[-2]]", "outside"),
        ("[[3]] or [[4]]", "differ"),
        ("Rating: [[3]]\nRating: [[4]]\nGoodbye", "differ"),
    ],
)
def test_ratings_that_are_none(text: str, why: str) -> None:
    found = read_rating(text)
    assert found.value is None and why in found.unscored


@pytest.mark.parametrize(
    ("text", "winner", "clear"),
    [
        ("... [[A]]", 0, False),
        ("[[B]]", 1, False),
        ("[[C]]", -1, False),
        ("My final verdict is: [[A>>B]]", 0, True),
        ("[[A>B]]", 0, False),
        ("[[B>>A]]", 1, True),
        ("[[A<<B]]", 1, True),
        ("[[B<A]]", 0, False),
        ("[[A=B]]", -1, False),
        ("[[ A > B ]]", 0, False),
        ("final verdict: [A>B]", 0, False),
        ("My verdict is **B>A**", 1, False),
        ("Verdict: A.", 0, False),
        ("I write [[A]] or [[B]] at the end.\nSo: [[B]]", 1, False),
    ],
)
def test_choices(text: str, winner: int, clear: bool) -> None:
    found = read_choice(text)
    assert (found.winner, found.clear) == (winner, clear)


@pytest.mark.parametrize("text", ["", "A is better", "[[D]]", "[[A>A]]", "[[A]] or [[B]]", "the verdict is A good one"])
def test_choices_that_are_none(text: str) -> None:
    found = read_choice(text)
    assert found.winner is None and found.unscored


@given(st.text(alphabet=st.characters(exclude_categories=["Nd", "Cs"])))
def test_no_number_comes_from_a_text_without_one(text: str) -> None:
    assert read_rating(text).value is None and read_rating(text).unscored


def test_objects() -> None:
    assert read_object('Sure:\n```json\n{"func": "x", "cases": []}\n```', ["func"]) == {"func": "x", "cases": []}
    assert read_object('{"a": True, "b": "True", "c": "\\\'"}') == {"a": True, "b": "True", "c": "'"}
    assert "lacks cases" in read_object('{"func": 1}', ["cases"])
    for text in ("", "no", "[1]", "{", "}{", '{"a": }'):
        assert isinstance(read_object(text), str)


def test_arena_bench_ratings() -> None:
    """Of 483 GPT-4 judgements, seven end in a loop or are cut off before any rating; the rest is read as published."""
    read = [(read_rating(row["judgment"]), row["score"]) for row in rows("arena_hard/arena_bench_v1_judgments")]
    assert sum(found.value is None for found, _ in read) == 7
    assert all(found.value == score for found, score in read if found.value is not None and score is not None)
    assert [found.value for found, score in read if score is None and found.value is not None] == [9]  # "9/10"


@pytest.mark.parametrize("name", ["prometheus_mt_bench_eval", "prometheus_vicuna_eval"])
def test_prometheus_feedback(name: str) -> None:
    """The files hold feedback and score apart; put together as the prompt asks, each score is read, and feedback alone
    gives none but where it names the score itself."""
    for row in rows(f"mt_bench/{name}"):
        for feedback, score in zip(row["gpt4_feedback"], row["gpt4_score"], strict=True):
            assert read_rating(f"Feedback: {feedback} [RESULT] {score}", high=5).value == score
            assert read_rating(f"{feedback}\nScore: {score}", high=5).value == score
            assert read_rating(feedback, high=5).value is None


def test_autoif_answers() -> None:
    for name in ("query_rft_score", "query_score_filter"):
        for row in rows(f"autoif_samples/{name}"):
            said = row["gen"][0].rpartition("Score: ")[2]
            assert read_rating(row["gen"][0], low=0).value == float(said)
    for row in rows("autoif_samples/eval_func_rft"):
        for answer in row["gpt-answer"]:
            found = read_object(answer, ["func", "cases"])
            assert isinstance(found, dict) and "def evaluate" in found["func"] and len(found["cases"]) >= 3


def test_measuring_needs_no_torch() -> None:
    code = "import sys, burnish.judge.measure, burnish.judge.replies; sys.exit(int('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
