"""Repeated n-grams counted by hand, near copies, and loops (spec Y5)."""

from __future__ import annotations

import pytest

from burnish.errors import DataError
from burnish.records import Message, Prompt, Response
from burnish.verify.repetition import (
    RepetitionChecker,
    across_turns,
    loops,
    near_copy,
    ngrams,
    repetition_ratio,
    turn_repetition,
    within_turn,
)


def says(*texts: str) -> list[Message]:
    return [
        m for text in texts for m in (Message(role="user", content="go on"), Message(role="assistant", content=text))
    ]


def test_overlaps_by_hand():
    assert ngrams("A b, c d e", 4) == [("a", "b", "c", "d"), ("b", "c", "d", "e")] and ngrams("a b c", 4) == []
    # a b c d a b c d: grams abcd bcda cdab dabc abcd; one of five stood before.
    assert within_turn("a b c d a b c d") == 1 / 5
    assert within_turn("a b c d e f") == 0 and within_turn("a a a a a a") == 2 / 3 and within_turn("") == 0
    # x a b c d y: xabc abcd bcdy; one of three stands in the earlier turn.
    assert across_turns("x a b c d y", ["a b c d e", "q"]) == 1 / 3
    assert across_turns("a b", ["a b"]) == 0 and across_turns("a b c d", []) == 0
    assert within_turn("哈哈哈哈哈") == 1 / 2 and ngrams("海a b山", 4) == [("海", "a", "b", "山")]


def test_near_copies():
    turns = ["The train leaves at noon from the old station.", "yes", "Something else that has no link to it at all."]
    assert near_copy("The train leaves at noon from the old station, sir.", turns) == 0
    assert near_copy("Yes!", turns) == 1 and near_copy("no", turns) is None and near_copy("", turns) is None
    assert near_copy("The train leaves. At noon it rains from here to the old bridge.", turns) is None
    five = ["a b c d e f g h"]  # five grams; four of five shared is 0.8
    assert near_copy("a b c d e f g x", five) == 0 and near_copy("a b c d e f x y", five) is None


def test_turns_of_a_dialogue():
    clean = says("The sea is wide and blue today.", "We went home by train after lunch.")
    assert [t.flagged for t in turn_repetition(clean)] == [False, False]
    found = turn_repetition(says("a b c d e f g h i j", "a b c d x y z q r s", "a b c d e f g h i j"))
    assert [(t.turn, t.within, t.copy_of) for t in found] == [(0, 0, None), (1, 0, None), (2, 0, 0)]
    assert [t.across for t in found] == [0, 1 / 7, 1.0] and [t.flagged for t in found] == [False, False, True]
    # One of five n-grams is 0.2: not above it. Two of six is.
    assert not turn_repetition(says("a b c d a b c d"))[0].flagged
    assert turn_repetition(says("a b c d a b c d a"))[0].flagged
    assert turn_repetition(says("a b c d a b c d"), above=0.1)[0].flagged
    with pytest.raises(DataError, match="n is 0"):
        turn_repetition(clean, n=0)


def test_loops():
    unit = "and so it goes on and on "
    assert loops("Once upon a time " + unit * 4) and not loops("Once upon a time " + unit * 2)
    assert loops("j" * 40) and not loops("j" * 39) and not loops("well " + "ha" * 4)
    assert loops("哈" * 50) and not loops("") and not loops("The sea is wide and blue today. " * 1)
    long = "".join(map(str, range(200)))  # 490 characters, longer than the longest unit
    assert loops(("x" * 399 + "y") * 5) and not loops(long * 5)
    assert not loops(unit * 4 + "The end of it all is here.")


def answer(text: str, finish: str = "length") -> Response:
    return Response(prompt="p", messages=(Message(role="assistant", content=text),), finish=finish)


def test_repetition_ratio():
    looper = "I do not know. " * 50
    assert repetition_ratio([answer(looper)] * 3) == 1.0
    assert repetition_ratio([answer("The sea is wide.", "stop"), answer("A text that is cut off at its")]) == 0.0
    assert repetition_ratio([answer(looper), answer(looper, "stop"), answer("x"), answer("y")]) == 0.25
    with pytest.raises(DataError, match="at least one"):
        repetition_ratio([])


def test_rows():
    prompt = Prompt(messages=(*says("The sea is wide and blue today."), Message(role="user", content="More")))
    check = RepetitionChecker().check
    assert check(prompt, answer("Ships sail by in the wind.", "stop")).correct is True
    copied = check(prompt, answer("The sea is wide and blue today!", "stop"))
    assert (
        copied.correct is False and "nearly copies assistant turn 1" in copied.reason and "1.00 across" in copied.reason
    )
    assert check(prompt, answer("I do not know. " * 50)).reason == "loops to the length limit"
    assert check(prompt, answer(" ")).correct is None
    assert RepetitionChecker(above=0.1).check(prompt, answer("a b c d a b c d", "stop")).correct is False


def test_a_loop_is_a_loop_whether_or_not_the_answer_was_cut():
    prompt, check = Prompt(messages=(Message(role="user", content="?"),)), RepetitionChecker().check
    for text in ("0" * 500, "x" * 100, "It is " + "ha" * 50, "so 🍷 " + "🍷 " * 300, "-" * 200):
        assert check(prompt, answer(text, "stop")).reason == "ends in a loop", text[:9]
        assert check(prompt, answer(text, "stop")).correct is False
    for text in ("The sea is wide.\n" + "-" * 60, "Name: " + "_" * 80, "It is " + "1" * 30):
        assert check(prompt, answer(text, "stop")).correct is True, text
    assert check(prompt, answer("-" * 60)).reason == "loops to the length limit"
