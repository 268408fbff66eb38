"""Calls against possible answers, gold calls and results; many responses as numbers; the checker's references."""

from __future__ import annotations

import json
from typing import Any

import pytest

from burnish.errors import DataError
from burnish.verify.tools import (
    Call,
    Registry,
    ToolsChecker,
    Wanted,
    call_violations,
    match_call,
    metrics,
    parse_calls,
    render_calls,
    same_call,
    same_result,
    score,
    tool_of,
)
from burnish.verify.tools.matching import alike, normal_text, pair_up
from tests.verify.tools.bfcl import asked, said

SPEC = {
    "name": "book",
    "description": "Book a room.",
    "parameters": {
        "type": "dict",
        "properties": {
            "city": {"type": "string"},
            "nights": {"type": "integer", "default": 1},
            "price": {"type": "float"},
            "wishes": {"type": "array", "items": {"type": "string"}},
            "guest": {"type": "dict", "properties": {"name": {"type": "string"}, "age": {"type": "integer"}}},
            "any": {"type": "any"},
        },
        "required": ["city"],
    },
}
TOOL = tool_of(SPEC)
OTHER = tool_of({**SPEC, "name": "cancel", "description": "Cancel a room."})
ANSWER = {
    "book": {
        "city": ["New York", "NYC"],
        "nights": ["", 2],
        "price": ["", 99.5, 100.0],
        "wishes": ["", ["quiet", "sea view"]],
        "guest": ["", {"name": ["Ann", "Anna"], "age": ["", 30]}],
        "any": ["", 1, "one"],
    }
}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({"city": "new-york"}, ""),
        ({"city": "NYC", "nights": 2, "price": 100}, ""),
        ({"city": "NYC", "wishes": ["Quiet", "sea_view"]}, ""),
        ({"city": "NYC", "wishes": ("quiet", "sea view")}, ""),
        ({"city": "NYC", "guest": {"name": "ANNA"}}, ""),
        ({"city": "NYC", "guest": {"age": 30, "name": "Ann"}}, ""),
        ({"city": "NYC", "any": "One"}, ""),
        ({"city": "NYC", "any": 1.0}, ""),
        ({}, "missing"),
        ({"city": "Boston"}, "value"),
        ({"city": ["NYC"]}, "type"),
        ({"city": 3}, "type"),
        ({"city": "NYC", "nights": 2.0}, "type"),
        ({"city": "NYC", "nights": "2"}, "type"),
        ({"city": "NYC", "nights": True}, "type"),
        ({"city": "NYC", "nights": 1}, "value"),
        ({"city": "NYC", "price": 99}, "value"),
        ({"city": "NYC", "wishes": ["sea view", "quiet"]}, "value"),
        ({"city": "NYC", "wishes": ["quiet"]}, "value"),
        ({"city": "NYC", "wishes": ["quiet", 3]}, "type"),
        ({"city": "NYC", "guest": {"age": 30}}, "value"),
        ({"city": "NYC", "guest": {"name": "Ann", "age": 31}}, "value"),
        ({"city": "NYC", "guest": {"name": "Ann", "zzq": 1}}, "value"),
        ({"city": "NYC", "any": True}, "value"),
        ({"city": "NYC", "any": "two"}, "value"),
        ({"city": "NYC", "zzq": 1}, "unexpected"),
        ({"city": Call(name="where")}, "type"),
    ],
)
def test_possible_answers(arguments: dict[str, Any], kind: str) -> None:
    found = match_call(Call(name="book", arguments=arguments), ANSWER, TOOL)
    assert (found.kind if found else "") == kind, found


ROOMS = tool_of({"name": "rooms", "parameters": {"type": "object", "properties": {
    "list": {"type": "array", "items": {"type": "object"}}, "free": {}, "plain": {"type": "object"},
    "texts": {"type": "array"}, "number": {"type": "number"}}}})  # fmt: skip
FREE = {
    "list": ["", [{"a": [1, 2], "b": ["", 3]}, {"a": [4]}]],
    "free": ["", {"a": [1]}, [{"a": [1]}], ["x", "y"]],
    "plain": ["", {"a": "whole", "b": ["", "other"]}],
    "texts": [],
    "number": ["", 1.5, "a variable"],
}


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        ({}, ""),
        ({"list": [{"a": 2}, {"a": 4}]}, ""),
        ({"list": [{"a": 1, "b": 3}, {"a": 4}]}, ""),
        ({"list": [{"a": 1}]}, "value"),
        ({"list": [{"a": 1}, {"a": 4}, {"a": 4}]}, "value"),
        ({"list": [{"a": 3}, {"a": 4}]}, "value"),
        ({"list": [{"a": 4}, {"a": 1}]}, "value"),
        ({"list": [{"b": 3}, {"a": 4}]}, "value"),
        ({"free": {"a": 1}}, ""),
        ({"free": [{"a": 1}]}, ""),
        ({"free": ["X", "y"]}, ""),
        ({"free": "a"}, "value"),
        ({"free": 3}, "value"),
        ({"free": ["a"]}, "value"),
        ({"free": [["a"]]}, "value"),
        ({"free": {"x": "y"}}, "value"),
        ({"plain": {"a": "Whole"}}, ""),
        ({"plain": {"a": "whole", "b": "other"}}, ""),
        ({"plain": {"a": "w"}}, "value"),
        ({"plain": {"a": "whole", "b": "w"}}, "value"),
        ({"plain": {"b": "other"}}, "value"),
        ({"texts": []}, ""),
        ({"texts": ["x"]}, "value"),
        ({"texts": "x"}, "type"),
        ({"number": "A variable"}, ""),
        ({"number": "b"}, "value"),
        ({"number": 2}, "value"),
        ({"number": True}, "type"),
        ({"number": None}, "type"),
    ],
)
def test_possible_answers_of_dicts_lists_and_none(arguments: dict[str, Any], kind: str) -> None:
    wanted = {"rooms": {**FREE, "texts": FREE["texts"] if "texts" in arguments else [""]}}
    found = match_call(Call(name="rooms", arguments=arguments), wanted, ROOMS)
    assert (found.kind if found else "") == kind, found


@pytest.mark.parametrize("wanted", [None, [], "book", {}, {"book": {}, "cancel": {}}, {"book": ["city"]}])
def test_what_is_no_possible_answer_is_refused(wanted: Any) -> None:
    with pytest.raises(DataError, match="a possible answer is"):
        match_call(Call(name="book", arguments={"city": "x"}), wanted, TOOL)


def test_arguments_without_a_name_are_bound_in_order() -> None:
    assert match_call(Call(name="book", positional=("NYC", 2)), ANSWER, TOOL) is None
    assert (
        match_call(Call(name="book", positional=("NYC",), arguments={"city": "NYC"}), ANSWER, TOOL).kind == "unexpected"
    )
    assert match_call(Call(name="book", positional=tuple("1234567")), ANSWER, TOOL).kind == "unexpected"
    assert match_call(Call(name="cancel", arguments={"city": "NYC"}), ANSWER, TOOL).kind == "name"
    with pytest.raises(DataError, match="a possible answer is"):
        match_call(Call(name="book"), {"book": 1, "x": 2}, TOOL)


def test_texts_as_bfcl_compares_them() -> None:
    assert normal_text("It's 1,000.5_km/h - ^*now*") == 'it"s10005kmhnow'
    assert normal_text("AB") != normal_text("A B!")


@pytest.mark.parametrize(
    ("value", "wanted", "equal"),
    [
        ("A-b", "ab", True),
        (["A", ["B"]], ["a", ("b",)], True),
        ({"x": ["A"]}, {"x": ("a",)}, True),
        (1, 1.0, True),
        (["a"], ["a", "b"], False),
        (["a"], "a", False),
        ("a", ["a"], False),
        ({"x": 1}, {"y": 1}, False),
        ({"x": 1}, {"x": 2}, False),
        ({"x": 1}, ["x"], False),
        (["x"], {"x": 1}, False),
        ({"x": 1, "y": 1}, {"x": 1}, False),
        (True, 1, False),
        (0, False, False),
        (None, "", False),
        (None, False, False),
        ("1", 1, False),
    ],
)
def test_values_alike(value: Any, wanted: Any, equal: bool) -> None:
    assert alike(value, wanted) is equal


def test_as_many_calls_as_possible_are_paired() -> None:
    """A greedy walk would give the first call to the first wish, and leave the second without one."""
    either, one = {"book": {"city": ["a", "b"]}}, {"book": {"city": ["a"]}}
    calls = [Call(name="book", arguments={"city": "a"}), Call(name="book", arguments={"city": "b"})]
    for wanted in ([either, one], [one, either]):
        for given in (calls, calls[::-1]):
            found, wrong = pair_up(given, wanted, lambda call, answer: match_call(call, answer, TOOL))
            assert wrong is None and None not in found
    found, wrong = pair_up(calls[:1] * 2, [either, one, one], lambda call, answer: match_call(call, answer, TOOL))
    assert wrong.kind == "count" and sum(place is not None for place in found) == 2


def test_exact_match_knows_defaults_and_order() -> None:
    gold = Call(name="book", arguments={"city": "NYC", "nights": 1})
    for arguments in ({"city": "NYC"}, {"nights": 1, "city": "NYC"}):
        assert same_call(Call(name="book", arguments=arguments), gold, TOOL) is None
        assert same_call(gold, Call(name="book", arguments=arguments), TOOL) is None
    wrong = {
        "value": {"city": "nyc"},
        "unexpected": {"city": "NYC", "price": 1.0},
        "missing": {"nights": 1},
    }
    for kind, arguments in wrong.items():
        assert same_call(Call(name="book", arguments=arguments), gold, TOOL).kind == kind
    for nights in (1.0, True, "1"):
        assert same_call(Call(name="book", arguments={"city": "NYC", "nights": nights}), gold, TOOL).kind == "value"
    nested = Call(name="book", arguments={"city": Call(name="where", arguments={"who": "Ann"})})
    assert same_call(nested, nested, TOOL) is None
    assert same_call(nested, gold, TOOL).kind == "value"
    assert same_call(gold, nested, TOOL).kind == "value"
    other = Call(name="book", arguments={"city": Call(name="where", arguments={"who": "Bob"})})
    assert same_call(other, nested, TOOL).kind == "value"
    priced = Call(name="book", arguments={"city": "x", "price": 2})
    assert same_call(Call(name="book", arguments={"city": "x", "price": 2.0}), priced, TOOL) is None


def test_results_are_compared_where_calls_differ() -> None:
    def add(a: float, b: float = 0.0) -> float:
        """Add."""
        if a > 100:
            raise ValueError("too much")
        return a + b

    registry = Registry(add)
    gold = Call(name="add", arguments={"a": 1, "b": 2})
    assert same_result(Call(name="add", arguments={"a": 3}), gold, registry) is None
    assert (
        same_result(Call(name="add", arguments={"a": Call(name="add", arguments={"a": 1}), "b": 2}), gold, registry)
        is None
    )
    assert same_result(Call(name="add", arguments={"a": 4}), gold, registry).detail == "gives 4.0, not 3.0"
    assert same_result(Call(name="add", arguments={"a": 101}), gold, registry).detail == "ValueError: too much"
    third = Call(name="add", arguments={"a": 0.1, "b": 0.2})  # 0.30000000000000004
    assert same_result(third, Call(name="add", arguments={"a": 0.3}), registry) is None
    assert same_result(Call(name="add", arguments={"a": 0.3001}), third, registry).kind == "execution"
    with pytest.raises(DataError, match="the gold call of add fails"):
        same_result(gold, Call(name="add", arguments={"a": 101}), registry)


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [(1.0, 1, True), (1.0, True, False), (True, 1, False), (1.0, "1.0", False), ("a", "A", False), ([1.0], [1], True),
     (1.0, None, False), (2, 1.0, False), ("x", 1.0, False)],
)  # fmt: skip
def test_results_equal(one: Any, other: Any, equal: bool) -> None:
    def first() -> Any:
        """One."""
        return one

    def second() -> Any:
        """Other."""
        return other

    found = same_result(Call(name="first"), Call(name="second"), Registry(first, second))
    assert (found is None) is equal


def test_valid_calls_by_schema() -> None:
    tools = {"book": TOOL}
    assert call_violations(Call(name="book", arguments={"city": "x"}), tools) == []
    assert call_violations(Call(name="zzq"), tools) == ["there is no tool 'zzq'"]
    assert call_violations(Call(name="book", arguments={"city": 1, "b": 2}), tools) == [
        "book: value.city must be of type string, and is integer",
        "book: value.b must not be there",
    ]


def test_metrics_by_hand() -> None:
    tools = [TOOL, OTHER]
    right = Call(name="book", arguments={"city": "NYC"})
    wrong = Call(name="book", arguments={"city": "Boston"})
    bad = Call(name="cancel", arguments={"town": "x"})

    def one(text: str, wanted: Wanted, kind: str) -> Any:
        return score([parse_calls(text)], wanted, tools, kind=kind)

    want = Wanted(possible=(ANSWER,))
    rows = [
        one(render_calls([right], "hermes"), want, "single"),
        one(render_calls([wrong], "hermes"), want, "single"),
        one(render_calls([right, bad], "hermes"), want, "single"),
        one("<tool_call>{</tool_call>", want, "single"),
        one("No.", Wanted(), "irrelevance"),
        one(render_calls([bad], "hermes"), Wanted(), "irrelevance"),
    ]
    assert [row.correct for row in rows] == [True, False, False, False, True, False]
    assert [row.selected for row in rows[:4]] == [True, True, False, False]
    found = metrics(rows)
    assert found.accuracy == {"irrelevance": (1, 2), "single": (1, 4)}
    assert found.precision == 2 / 5  # made: 1 + 1 + 2 + 0 + 1
    assert found.recall == 2 / 4
    assert found.valid == 3 / 5
    assert found.unreadable == 1
    assert found.restraint == (1, 2)
    assert found.selection == {2: (2, 4)}
    empty = metrics([])
    assert (empty.precision, empty.recall, empty.valid, empty.restraint) == (None, None, None, (0, 0))


def test_the_checker_reads_four_kinds_of_reference() -> None:
    call = render_calls([Call(name="book", arguments={"city": "NYC"})], "llama3")
    check = ToolsChecker().check
    for more, text, correct in (
        ({"answers": [ANSWER]}, call, True),
        ({"answers": [ANSWER]}, "[book(city='Rome')]", False),
        ({"calls": [{"name": "book", "arguments": {"city": "NYC"}}]}, call, True),
        ({"calls": ["book('NYC', nights=1)"]}, call, True),
        ({"calls": ["book('NYC', nights=2)"]}, call, False),
        ({"turns": [["book('NYC')"]]}, call, True),
        ({"any_call": True}, call, True),
        ({"any_call": True}, "[book()]", False),
        ({"any_call": True}, "No.", False),
        ({}, call, False),
        ({}, "No.", True),
        ({"answers": []}, "No.", True),
    ):
        verdict = check(asked(json.dumps({"tools": [SPEC], **more})), said(text))
        assert verdict.correct is correct, (more, text, verdict)
        assert verdict.reason


@pytest.mark.parametrize(
    ("reference", "wrong"),
    [
        ("", "no JSON"),
        ("[]", 'it must be {"tools"'),
        ('{"tools": [3]}', "a tool needs a name"),
        ({"answers": [{"book": 3}]}, "is no {function"),
        ({"answers": [{"zzq": {}}]}, "wants 'zzq', which is not among its tools"),
        ({"answers": {"book": {}}}, "answers is no list"),
        ({"calls": ["book("]}, "cannot be read"),
        ({"calls": ["zzq()"]}, "there is no tool 'zzq'; the nearest is 'book'"),
        ({"calls": [3]}, "neither"),
        ({"calls": ["book('x')"], "any_call": True}, "it has calls and any_call"),
    ],
)
def test_a_reference_that_is_none_is_unscored(reference: Any, wrong: str) -> None:
    text = reference if isinstance(reference, str) else json.dumps({"tools": [SPEC], **reference})
    verdict = ToolsChecker().check(asked(text), said("No."))
    assert verdict.correct is None and wrong in verdict.reason, verdict
