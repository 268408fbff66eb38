"""CSR, ISR, PSR (baichuan B40), IFEval's accuracies, and the checker of rows."""

from __future__ import annotations

import json
from itertools import product

import pytest

from burnish.errors import DataError
from burnish.records import Message, Prompt, Response
from burnish.verify.constraints import (
    Asked,
    ConstraintsChecker,
    accuracies,
    check_constraint,
    constraint_metrics,
    item_scores,
    read_asked,
)


def psr(primary: list[bool], secondary: list[bool]) -> float:
    marks = [True] * len(primary) + [False] * len(secondary)
    return item_scores([*primary, *secondary], marks).psr


def test_psr_by_hand():
    assert psr([False], [True] * 9) == 0
    assert psr([True, False], []) == 0 and psr([True, True], []) == 1
    assert psr([True], [True, True, True, False, False]) == 0  # 0.5 + 0.5 x 0.6 is 0.8, which fails
    assert psr([True], [True, True, False]) == 1  # 0.83
    assert psr([True], [False]) == 0 and psr([True], [True]) == 1
    assert psr([], [True] * 4 + [False]) == 0  # 0.8 fails
    assert psr([], [True] * 5 + [False]) == 1  # 0.83
    assert psr([True, True], [True, False]) == 0  # 0.75


def test_isr_is_never_above_the_others():
    for n in range(1, 6):
        for held in product((True, False), repeat=n):
            for primary in product((True, False), repeat=n):
                got = item_scores(held, primary)
                assert got.isr <= got.psr and got.isr <= got.csr and got.csr == sum(held) / n
                if all(held):
                    assert (got.csr, got.isr, got.psr) == (1, 1, 1)
    assert item_scores([True, False]).csr == 0.5
    for wrong in (([], []), ([True], [True, False])):
        with pytest.raises(DataError, match="item_scores needs"):
            item_scores(*wrong)


COMMA, LOWER = Asked(id="no_comma", kwargs={}), Asked(id="lowercase", kwargs={}, primary=True)
ROWS = [([COMMA, LOWER], "a b"), ([COMMA, LOWER], "A b"), ([COMMA], "Sure, yes:\nno"), ([COMMA], "a, b"),
        ([Asked(id="no_commas", kwargs={})], "a")]  # fmt: skip


def test_means_leave_the_unscored_out():
    got = constraint_metrics(ROWS)
    assert (got.scored, got.unscored) == (4, 1)
    assert (got.csr, got.isr, got.psr) == (1.5 / 4, 1 / 4, 1 / 4)
    assert constraint_metrics(ROWS, loose=True).isr == 2 / 4
    four = accuracies(ROWS)
    assert (four.prompts, four.instructions, four.unscored) == (4, 6, 1)
    assert (four.prompt_strict, four.prompt_loose) == (1 / 4, 2 / 4)
    assert (four.instruction_strict, four.instruction_loose) == (3 / 6, 4 / 6)
    for measure in (constraint_metrics, accuracies):
        with pytest.raises(DataError, match="none of the 1 rows"):
            measure(ROWS[-1:])
    with pytest.raises(DataError):
        accuracies([])


def verdict(reference: str, text: str, *, loose: bool = False):
    prompt = Prompt(messages=(Message(role="user", content="?"),), checker="constraints", reference=reference)
    response = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
    return ConstraintsChecker(loose=loose).check(prompt, response)


def test_rows():
    both = json.dumps([{"id": "lowercase"}, {"id": "word_count", "kwargs": {"relation": "at most", "n": 3}}])
    assert verdict(both, "a b c").correct is True
    assert verdict(both, "A b c d").reason == "violates lowercase, word_count"
    official = json.dumps({"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{"num_words": None}]})
    assert verdict(official, "a b").correct is True and verdict(official, "a, b").correct is False
    assert verdict(official, "Well, so:\nyes").correct is False
    assert verdict(official, "Well, so:\nyes", loose=True).correct is True
    assert read_asked('[{"id": "x", "primary": true}]') == [Asked(id="x", kwargs={}, primary=True)]


def test_rows_that_cannot_be_scored_never_pass():
    for reference in ("", "{}", "[]", "[1]", '[{"kwargs": {}}]', "null", "[" * 100_000, "3",
                      '{"instruction_id_list": ["no_comma"], "kwargs": []}'):  # fmt: skip
        assert verdict(reference, "x").correct is None, reference[:20]
    unknown = verdict('[{"id": "no_comma"}, {"id": "lower_case"}]', "x")
    assert unknown.correct is None and "did you mean 'lowercase'" in unknown.reason
    wrong = verdict('[{"id": "word_count", "kwargs": {"n": 3}}]', "x")
    assert wrong.correct is None and "'word_count' takes the arguments relation, n; found: n" in wrong.reason
    with pytest.raises(DataError, match="did you mean"):
        check_constraint("lower_case", {}, "x")
