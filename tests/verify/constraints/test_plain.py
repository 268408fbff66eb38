import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.records import Message, Prompt, Response
from burnish.verify import CONSTRAINTS as ALL
from burnish.verify import check_constraint, get_checker
from burnish.verify.constraints.library.plain import PLAIN

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
CONSTRAINTS = {kind.id: kind for kind in PLAIN}
WORD = st.sampled_from(["apple", "river", "quiet night", "C3PO", "l'eau", "über", "the end", "2.5 km"])
ARGUMENTS = {
    "relation": st.sampled_from(["at least", "at most", "less than", "exactly"]),
    "n": st.integers(2, 12),
    "keyword": WORD,
    "words": st.lists(WORD, min_size=1, max_size=3),
    "phrase": WORD,
}


def test_there_are_twelve():
    assert len(CONSTRAINTS) == 12 and all(ALL[id] is kind for id, kind in CONSTRAINTS.items())


@pytest.mark.parametrize("id", sorted(CONSTRAINTS))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_complying_texts_pass_and_violating_ones_fail(id, data):
    constraint = CONSTRAINTS[id]
    kwargs = {name: data.draw(ARGUMENTS[name]) for name in constraint.kwargs}
    seed = data.draw(st.integers(0, 10**6))
    good, bad = constraint.comply(kwargs, seed), constraint.violate(kwargs, seed)
    assert check_constraint(id, kwargs, good) is True, good
    assert check_constraint(id, kwargs, bad) is False, bad
    assert (good, bad) == (constraint.comply(kwargs, seed), constraint.violate(kwargs, seed))
    assert check_constraint(id, kwargs, " \n") is False
    text = constraint.instruction(kwargs)
    assert "{" not in text and all(str(v) in text for v in kwargs.values() if not isinstance(v, list))


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CONSTRAINTS)), st.text(), st.data())
def test_any_text_has_a_verdict(id, text, data):
    kwargs = {name: data.draw(ARGUMENTS[name]) for name in CONSTRAINTS[id].kwargs}
    assert check_constraint(id, kwargs, text) in (True, False)


@pytest.mark.parametrize(
    ("id", "kwargs", "text", "holds"),
    [
        ("word_count", {"relation": "exactly", "n": 4}, "It's 5 o'clock", False),
        ("word_count", {"relation": "exactly", "n": 2}, "two words", True),
        ("sentence_count", {"relation": "exactly", "n": 2}, "It costs 2.50 here. Dr. Who agrees!", True),
        ("sentence_count", {"relation": "exactly", "n": 3}, "One?! Two... Three", True),
        ("paragraph_count", {"relation": "exactly", "n": 2}, "a\nb\n\n\nc\n", True),
        ("bullet_count", {"relation": "exactly", "n": 3}, "- a\n* b\n  • c\n**bold**\n-5", True),
        ("keyword_count", {"keyword": "cat", "relation": "exactly", "n": 1}, "Cat in a category", True),
        ("forbidden_words", {"words": ["no"]}, "nothing known", True),
        ("forbidden_words", {"words": ["no"]}, "Oh no!", False),
        ("ends_with", {"phrase": "the end."}, "This is The End.\n", True),
        ("starts_with", {"phrase": "Well"}, "  well, then", True),
        ("lowercase", {}, "all small 1", True),
        ("lowercase", {}, "123", False),
        ("uppercase", {}, "ALL BIG 1!", True),
        ("no_comma", {}, "一，二", False),
        ("quoted", {}, '"in quotes"', True),
        ("quoted", {}, '"', False),
    ],
)
def test_counts(id, kwargs, text, holds):
    assert check_constraint(id, kwargs, text) is holds


def test_unknown_id_and_bad_arguments_fail_closed():
    with pytest.raises(DataError, match="did you mean 'word_count'"):
        check_constraint("words_count", {}, "x")
    for kwargs in ({}, {"n": 3}, {"relation": "over", "n": 3}, {"relation": "exactly", "n": "3"}, [],
                   {"relation": "exactly", "n": -1}, {"relation": "exactly", "n": True},
                   {"relation": "exactly", "n": 1, "more": 2}):  # fmt: skip
        with pytest.raises(DataError):
            check_constraint("word_count", kwargs, "x")
    with pytest.raises(DataError):
        check_constraint("forbidden_words", {"words": []}, "x")


def verdict(reference: str, text: str):
    prompt = Prompt(messages=(Message(role="user", content="?"),), checker="constraints", reference=reference)
    response = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
    return get_checker("constraints").check(prompt, response)


def test_checker():
    both = json.dumps([{"id": "lowercase"}, {"id": "word_count", "kwargs": {"relation": "at most", "n": 3}}])
    assert verdict(both, "a b c").correct is True
    assert verdict(both, "A b c d").reason == "violates lowercase, word_count"
    for reference in ("", "{}", "[]", "[1]", '[{"kwargs": {}}]', "null", "[" * 100_000):
        assert verdict(reference, "x").correct is None, reference[:20]
    unknown = verdict('[{"id": "lower_case"}]', "x")
    assert unknown.correct is None and "did you mean 'lowercase'" in unknown.reason


# Kinds that count as IFEval's own verifier does; the published strict verdicts of four models on real prompts.
SAME = {
    "punctuation:no_comma": lambda k: ("no_comma", {}),
    "startend:quotation": lambda k: ("quoted", {}),
    "startend:end_checker": lambda k: ("ends_with", {"phrase": k["end_phrase"]}),
    "length_constraints:number_words": lambda k: ("word_count", {"relation": k["relation"], "n": k["num_words"]}),
    "length_constraints:number_sentences": lambda k: (
        "sentence_count",
        {"relation": k["relation"], "n": k["num_sentences"]},
    ),
    "keywords:forbidden_words": lambda k: ("forbidden_words", {"words": k["forbidden_words"]}),
    "keywords:frequency": lambda k: (
        "keyword_count",
        {"keyword": k["keyword"].strip(), "relation": k["relation"], "n": k["frequency"]},
    ),
    "change_case:english_lowercase": lambda k: ("lowercase", {}),
    "change_case:english_capital": lambda k: ("uppercase", {}),
    "detectable_format:number_bullet_lists": lambda k: ("bullet_count", {"relation": "exactly", "n": k["num_bullets"]}),
}


def test_agrees_with_published_ifeval_verdicts():
    folder = DATA / "ifeval"
    if not folder.exists():
        pytest.skip(f"{folder} is absent; point BURNISH_DATA at a folder that holds ifeval/")
    with gzip.open(folder / "input_data.jsonl.gz", "rt") as lines:
        kwargs_of = {row["key"]: row["kwargs"] for row in map(json.loads, lines)}
    tally: dict[str, list[bool]] = {}
    with gzip.open(folder / "responses_with_verdicts.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            for id, kwargs, strict in zip(
                row["instruction_id_list"], kwargs_of.get(row["key"], []), row["strict"], strict=False
            ):
                if id in SAME and row["response"]:
                    ours = check_constraint(*SAME[id](kwargs), row["response"])
                    tally.setdefault(id, []).append(ours is bool(strict))
    shares = {id: (sum(hits) / len(hits), len(hits)) for id, hits in sorted(tally.items())}
    assert set(shares) == set(SAME) and sum(n for _, n in shares.values()) > 500
    assert all(share >= 0.9 for share, _ in shares.values()), shares
