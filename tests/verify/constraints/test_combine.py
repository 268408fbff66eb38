"""Infeasible arguments and contradictory pairs."""

from __future__ import annotations

from itertools import combinations, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError, SettingsError
from burnish.verify.constraints import (
    CONSTRAINTS,
    LANGUAGES,
    Asked,
    check_constraint,
    conflicts,
    feasible,
    sample_constraints,
)


def asked(id: str, **kwargs) -> Asked:
    return Asked(id=id, kwargs=kwargs)


LOWER, UPPER = asked("change_case:english_lowercase"), asked("change_case:english_capital")
COMMA = asked("punctuation:no_comma")
JSON, QUOTED = asked("detectable_format:json_format"), asked("startend:quotation")
TWO, OPTIONS = asked("combination:two_responses"), asked("detectable_format:constrained_response")


def words(relation: str, n: int) -> Asked:
    return asked("length_constraints:number_words", relation=relation, num_words=n)


def capitals(relation: str, n: int) -> Asked:
    return asked("change_case:capital_word_frequency", capital_relation=relation, capital_frequency=n)


def keyword(word: str, relation: str, n: int) -> Asked:
    return asked("keywords:frequency", keyword=word, relation=relation, frequency=n)


def letter(mark: str, relation: str, n: int) -> Asked:
    return asked("keywords:letter_frequency", letter=mark, let_relation=relation, let_frequency=n)


def end(phrase: str) -> Asked:
    return asked("startend:end_checker", end_phrase=phrase)


def repeat(prompt: str) -> Asked:
    return asked("combination:repeat_prompt", prompt_to_repeat=prompt)


def uses(*keywords: str) -> Asked:
    return asked("keywords:existence", keywords=list(keywords))


def avoids(*banned: str) -> Asked:
    return asked("keywords:forbidden_words", forbidden_words=list(banned))


def bullets(n: int) -> Asked:
    return asked("detectable_format:number_bullet_lists", num_bullets=n)


def paragraphs(n: int) -> Asked:
    return asked("length_constraints:number_paragraphs", num_paragraphs=n)


def nth(total: int, which: int) -> Asked:
    arguments = {"num_paragraphs": total, "nth_paragraph": which, "first_word": "a"}
    return asked("length_constraints:nth_paragraph_first_word", **arguments)


def speaks(code: str) -> Asked:
    return asked("language:response_language", language=code)


CONTRADICT = [
    (LOWER, UPPER), (LOWER, capitals("at least", 1)), (UPPER, capitals("less than", 1)), (LOWER, speaks("de")),
    (UPPER, asked("es:change_case:spanish_capital")), (LOWER, OPTIONS), (UPPER, OPTIONS),
    (LOWER, asked("detectable_format:multiple_sections", section_spliter="Part", num_sections=1)),
    (words("less than", 5), words("at least", 5)), (words("less than", 5), uses("one two three four five")),
    (words("less than", 5), keyword("a b", "at least", 3)), (words("less than", 5), bullets(5)),
    (uses("cats"), keyword("cat", "less than", 1)), (uses("cats"), letter("s", "less than", 1)),
    (keyword("cats", "at least", 3), letter("s", "less than", 3)), (keyword("cat", "at least", 2), avoids("Cat")),
    (keyword("cat", "at least", 2), keyword("cat", "less than", 2)), (uses("a cat"), avoids("cat")),
    (COMMA, uses("a, b")), (COMMA, letter(",", "at least", 1)), (COMMA, end("Yes, I am.")), (COMMA, repeat("Do, go.")),
    (repeat("Do it."), QUOTED), (repeat("Do it."), JSON), (repeat("Do it."), repeat("Go on.")),
    (JSON, end("Bye")), (JSON, bullets(2)), (JSON, paragraphs(2)), (JSON, OPTIONS), (JSON, QUOTED),
    (TWO, paragraphs(2)), (end("Bye"), end("Ciao")), (speaks("hi"), speaks("en")), (speaks("hi"), uses("cat")),
    (OPTIONS, bullets(2)), (OPTIONS, words("at least", 20)),
    (paragraphs(2), nth(2, 1)),
    (asked("ja:letters:hiragana_only"), asked("ja:letters:katakana_only")),
    (asked("ja:letters:hiragana_only"), asked("ja:letters:kanji", relation="以上", kanji_limit=1)),
    (asked("ja:letters:no_hiragana"), asked("ja:startend:sentence_unified_end", ending="です")),
    (asked("ja:letters:kansuuji"), asked("ja:detectable_format:number_numbered_lists", num_items=2)),
    (asked("ja:detectable_format:nominal_ending", count=1), asked("ja:startend:sentence_unified_end", ending="です")),
    (asked("ja:letters:hiragana_only"), asked("ja:keywords:existence", keywords=["海"])),
    (asked("fr:special_character:no_accents"), asked("fr:keywords:existence", keywords=["été"])),
    (asked("fr:detectable_content:no_digits"),
     asked("fr:detectable_format:multiple_sections", section_spliter="Partie", num_sections=2)),
    (asked("linguistic:lipogram", letter="e"), uses("tree")), (asked("inverse:no_lists"), bullets(1)),
    (asked("inverse:no_characters", characters="?!"), end("Why?")),
    (asked("linguistic:alliteration", letter="b"), uses("cat")), (asked("content:short_words", n=4), uses("longer")),
    (asked("format:tagged", tag="a"), end("Bye")),
    (asked("numerical:word_range", low=5, high=9), words("less than", 5)),
    (words("less than", 3), asked("content:distinct_words", relation="at least", n=3)),
    (asked("content:keyword_in_sentence", keyword="cat", nth=4),
     asked("length_constraints:number_sentences", relation="less than", num_sentences=4)),
    (asked("starts_with", phrase="Well"), QUOTED), (asked("lowercase"), asked("uppercase")),
]  # fmt: skip
AGREE = [
    (LOWER, COMMA), (LOWER, capitals("less than", 3)), (UPPER, capitals("at least", 3)), (LOWER, speaks("en")),
    (words("less than", 6), words("at least", 5)), (words("less than", 6), uses("one two three four five")),
    (words("less than", 6), bullets(5)), (uses("cat"), keyword("cats", "less than", 1)),
    (uses("rename"), avoids("name")),
    (uses("Cat"), LOWER), (end("Bye."), LOWER), (repeat("Do it."), COMMA), (repeat('"Do" it.'), QUOTED),
    (end("Bye."), QUOTED), (end("Bye."), end("ye.")), (repeat("Do it."), repeat("do it")), (JSON, uses("cat")),
    (JSON, COMMA), (JSON, words("less than", 300)), (TWO, end("Bye")), (paragraphs(2), bullets(3)),
    (speaks("fr"), uses("cat")), (speaks("hi"), asked("punctuation:no_comma")), (OPTIONS, COMMA),
    (keyword("cats", "at least", 3), letter("s", "less than", 4)), (letter(",", "less than", 1), COMMA),
    (asked("ja:letters:no_katakana"), asked("ja:letters:hiragana_only")), (asked("inverse:no_lists"), bullets(0)),
    (asked("content:keyword_in_sentence", keyword="cat", nth=3),
     asked("length_constraints:number_sentences", relation="less than", num_sentences=4)),
    (asked("linguistic:alliteration", letter="b"), uses("bat")), (asked("content:short_words", n=6), uses("longer")),
]  # fmt: skip


# Reasons of pairs that a trick can meet (a bare string is JSON and quoted) and nobody would ask for: forms of the whole
# answer. For all others a text that meets both would prove the rule wrong.
AS_MEANT = ("the whole answer as", "JSON as a whole", "one of the given options", "lines of items", "parts divided by",
            "is in another script")  # fmt: skip


@pytest.mark.parametrize(("one", "other"), CONTRADICT, ids=lambda a: a.id)
def test_contradictions(one, other):
    reason = conflicts(one, other)
    assert reason and bool(conflicts(other, one))
    if any(word in reason for word in AS_MEANT):
        return
    for seed in range(40):  # neither side's own texts satisfy both
        for kind in (one, other):
            text = CONSTRAINTS[kind.id].comply(kind.kwargs, seed)
            assert not all(check_constraint(a.id, a.kwargs, text) for a in (one, other)), text


@pytest.mark.parametrize(("one", "other"), AGREE, ids=lambda a: a.id)
def test_no_contradiction(one, other):
    assert (conflicts(one, other), conflicts(other, one)) == ("", "")


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(CONSTRAINTS)), st.sampled_from(sorted(CONSTRAINTS)), st.integers(0, 10**6))
def test_conflicts_are_symmetric_and_never_ruled_out_by_a_witness(one, other, seed):
    rng = Random(seed)
    pair = [Asked(id=id, kwargs=CONSTRAINTS[id].sample(rng)) for id in (one, other)]
    reason = conflicts(*pair)
    assert bool(reason) is bool(conflicts(*reversed(pair)))
    texts = [CONSTRAINTS[a.id].comply(a.kwargs, seed + k) for a in pair for k in range(5)]
    witness = [t for t in texts if all(check_constraint(a.id, a.kwargs, t) for a in pair)]
    assert not reason or not witness or any(word in reason for word in AS_MEANT), (reason, witness[:1])


INFEASIBLE = [
    words("less than", 1), words("less than", 0), keyword("cat", "less than", 0), paragraphs(0),
    nth(2, 3),
    asked("ja:length_constraints:number_letters", relation="未満", num_letters=1),
    asked("numerical:word_range", low=9, high=5), asked("numerical:line_count", relation="less than", n=1),
    asked("linguistic:alliteration", letter="!"), asked("linguistic:acrostic", word="a-b"),
    asked("es:length_constraints:number_words", relation="como máximo", num_words=0),
    asked("fr:special_character:accents", word_to_accentuate={"a": "à", "b": "a"}),
    asked("word_count", relation="at most", n=0), asked("inverse:no_characters", characters="a b"),
]  # fmt: skip


@pytest.mark.parametrize("one", INFEASIBLE, ids=lambda a: a.id)
def test_infeasible(one):
    assert one.id in feasible(one.id, one.kwargs)


def test_feasible_at_the_edge():
    for one in (words("less than", 2), keyword("cat", "less than", 1), paragraphs(1), bullets(0)):
        assert feasible(one.id, one.kwargs) == ""
    with pytest.raises(DataError, match="did you mean"):
        feasible("keyword:existence", {})
    with pytest.raises(DataError, match="did you mean"):
        conflicts(LOWER, asked("no_commas"))


@pytest.mark.parametrize(("language", "n"), list(product(LANGUAGES, (1, 3, 5))))
def test_drawn_constraints_are_compatible(language, n):
    for seed in range(6):
        drawn = sample_constraints(n, seed, language)
        assert drawn == sample_constraints(n, seed, language) and len({one.id for one in drawn}) == n
        assert all(CONSTRAINTS[one.id].language == language and one.instruction() for one in drawn)
        assert not any(feasible(one.id, one.kwargs) for one in drawn)
        assert not any(conflicts(one, other) for one, other in combinations(drawn, 2))
    assert len({tuple(one.id for one in sample_constraints(n, seed, language)) for seed in range(8)}) > 4


def test_the_sampler_draws_every_kind_and_says_no():
    drawn = {one.id for seed in range(150) for one in sample_constraints(3, seed)}
    english = {id for id, kind in CONSTRAINTS.items() if kind.language == "en"}
    plain = {one.id for seed in range(60) for one in sample_constraints(3, seed, plain=True)} - drawn
    assert {id for id in english if ":" in id} - drawn <= {"detectable_format:json_format"} and plain
    with pytest.raises(SettingsError, match="not in 'de'"):
        sample_constraints(1, 0, "de")
    with pytest.raises(SettingsError, match="ask for fewer"):
        sample_constraints(30, 0, "fr")
    with pytest.raises(SettingsError, match="ask for fewer"):
        sample_constraints(1000, 0)
