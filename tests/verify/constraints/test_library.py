"""Every kind of constraint: its own texts, its arguments, its instruction, and the texts counted by hand."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.verify.constraints import (
    CONSTRAINTS,
    COUNTABLE_KINDS,
    IFEVAL_KINDS,
    check_constraint,
    check_loosely,
    feasible,
    get_constraint,
    loose_variants,
)
from tests.verify.constraints.corpus import corpus

CORPUS = corpus()
OFFICIAL = {
    "keywords": "existence frequency forbidden_words letter_frequency",
    "language": "response_language",
    "length_constraints": "number_words number_sentences number_paragraphs nth_paragraph_first_word",
    "detectable_content": "number_placeholders postscript",
    "detectable_format": "number_bullet_lists constrained_response number_highlighted_sections multiple_sections"
    " json_format title",
    "combination": "two_responses repeat_prompt",
    "change_case": "english_capital english_lowercase capital_word_frequency",
    "startend": "end_checker quotation",
    "punctuation": "no_comma",
}


def test_the_25_types_of_ifeval_are_there():
    wanted = {f"{group}:{name}" for group, names in OFFICIAL.items() for name in names.split()}
    assert len(wanted) == 25 and {kind.id for kind in IFEVAL_KINDS} == wanted
    assert len(COUNTABLE_KINDS) >= 30 and len(CONSTRAINTS) >= 180


@pytest.mark.parametrize("id", sorted(CONSTRAINTS))
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**9))
def test_complying_texts_pass_and_violating_ones_fail(id, seed):
    constraint = CONSTRAINTS[id]
    kwargs = constraint.sample(Random(seed))
    assert kwargs == constraint.sample(Random(seed)) and feasible(id, kwargs) == ""
    good, bad = constraint.comply(kwargs, seed), constraint.violate(kwargs, seed)
    assert check_constraint(id, kwargs, good) is True, (kwargs, good)
    assert check_constraint(id, kwargs, bad) is False, (kwargs, bad)
    assert check_loosely(id, kwargs, good) is True
    assert (good, bad) == (constraint.comply(kwargs, seed), constraint.violate(kwargs, seed))
    for blank in ("", " \n", "\u3000"):
        assert check_constraint(id, kwargs, blank) is False and check_loosely(id, kwargs, blank) is False
    told = constraint.instruction(kwargs, seed)
    shown = [value for value in kwargs.values() if isinstance(value, (int, str)) and value not in ("relation",)]
    assert "{" not in told and told.strip()
    assert all(str(value) in told for value in shown if id.split(":")[-1] != "response_language"), told


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(CONSTRAINTS)), st.text(), st.integers(0, 10**6))
def test_any_text_has_a_verdict(id, text, seed):
    kwargs = CONSTRAINTS[id].sample(Random(seed))
    strict = check_constraint(id, kwargs, text)
    assert strict in (True, False) and (not strict or check_loosely(id, kwargs, text))


@pytest.mark.parametrize("id", sorted({case[0] for case in CORPUS}))
def test_texts_counted_by_hand(id):
    for _, kwargs, text, holds in (case for case in CORPUS if case[0] == id):
        assert check_constraint(id, kwargs, text) is holds, (kwargs, text)


def test_loose_variants():
    text = "Sure:\n*one*\ntwo\nBye"
    assert loose_variants(text) == (
        text, "*one*\ntwo\nBye", "Sure:\n*one*\ntwo", "*one*\ntwo",
        "Sure:\none\ntwo\nBye", "one\ntwo\nBye", "Sure:\none\ntwo", "one\ntwo",
    )  # fmt: skip
    assert loose_variants("one") == ("one", "", "", "", "one", "", "", "")
    assert check_loosely("punctuation:no_comma", {}, "Sure, yes\nno marks") is True
    assert check_loosely("punctuation:no_comma", {}, "no marks\nBye, now") is True
    assert check_loosely("punctuation:no_comma", {}, "a, b\nno marks\nc, d") is True
    assert check_loosely("punctuation:no_comma", {}, "a, b\nno, marks\nc, d") is False
    assert check_loosely("startend:quotation", {}, '**"yes"**') is True
    assert check_loosely("startend:quotation", {}, 'Sure:\n**"yes"**\nBye') is True
    assert check_loosely("detectable_format:title", {}, "x\n<<a>>\ny") is True


def test_unknown_ids_name_the_nearest_one():
    with pytest.raises(DataError, match="did you mean 'keywords:existence'"):
        get_constraint("keyword:existence")
    with pytest.raises(DataError, match="did you mean 'fr:special_character:accents'"):
        check_loosely("fr:special_characters:accent", {}, "x")


@pytest.mark.parametrize("id", sorted(CONSTRAINTS))
def test_wrong_arguments_are_named(id):
    constraint = CONSTRAINTS[id]
    kwargs = constraint.sample(Random(1))
    for bad in (None, [], {**kwargs, "extra": 1}):
        with pytest.raises(DataError, match=id):
            check_constraint(id, bad, "text")
    for name, argument in constraint.kwargs.items():
        if not argument.optional:
            with pytest.raises(DataError, match=name):
                check_constraint(id, {**kwargs, name: None}, "text")
        for wrong in ({int: "3", str: 3, list: [], dict: {}}[argument.kind], {int: True, str: " ", list: [" "],
                      dict: {"a": 1}}[argument.kind]):  # fmt: skip
            with pytest.raises(DataError, match=f"'{name}' of the constraint '{id}'"):
                check_constraint(id, {**kwargs, name: wrong}, "text")
        if argument.kind is int:
            with pytest.raises(DataError, match="whole number"):
                check_constraint(id, {**kwargs, name: argument.least - 1}, "text")
        if argument.choices or argument.length:
            with pytest.raises(DataError, match=name):
                check_constraint(id, {**kwargs, name: "over and above"}, "text")
    # Published copies write null for the arguments that a type does not take.
    nulls = {**dict.fromkeys(("num_words", "keywords", "letter"), None), **kwargs}
    assert check_constraint(id, nulls, constraint.comply(kwargs, 1)) is True


def test_templates_use_their_arguments():
    for constraint in CONSTRAINTS.values():
        kwargs = constraint.sample(Random(7))
        for seed in range(len(constraint.asks)):
            assert constraint.instruction(kwargs, seed)
        assert constraint.rule and constraint.source, constraint.id
    assert "Finnish" in CONSTRAINTS["language:response_language"].instruction({"language": "fi"})
    assert "a, b" in CONSTRAINTS["keywords:existence"].instruction({"keywords": ["a", "b"]})
    assert "été" in CONSTRAINTS["fr:special_character:accents"].instruction({"word_to_accentuate": {"ete": "été"}})
