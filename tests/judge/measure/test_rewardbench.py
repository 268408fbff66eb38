"""The RewardBench-style scorer: its rules, its weights, its symmetries."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import SettingsError
from burnish.judge.intervals import wilson
from burnish.judge.measure.rewardbench import (
    CHOSEN_LONGER,
    CHOSEN_SHORTER,
    SECTION_OF,
    SECTIONS,
    Result,
    judge_pairs,
    score_pairs,
    summarise,
)
from burnish.records import Candidate, Message, Preference


def pair(number: int, subset: str, good: str = "good", bad: str = "bad", turns: int = 1) -> Preference:
    context = tuple(Message(role=("user", "assistant")[i % 2], content=f"q{number}") for i in range(turns))
    said = [
        Candidate(role=r, messages=(Message(role="assistant", content=t),))
        for r, t in zip(("chosen", "rejected"), (good, bad), strict=True)
    ]
    return Preference(prompt=str(number), context=context, candidates=tuple(said), capability=subset)


PAIRS = [pair(i, subset) for i, subset in enumerate(s for s in SECTION_OF for _ in range(4))]


def scorer(good: float | str, bad: float | str):
    return lambda texts: [good if answer[0].content == "good" else bad for _, answer in texts]


def picks(word: str):
    return lambda context, first, second: 0 if first[0].content == word else 1


def test_sections_have_the_published_sizes() -> None:
    sizes = {name: sum(subsets.values()) for name, subsets in SECTIONS.items()}
    assert sizes == {"Chat": 358, "Chat Hard": 456, "Safety": 740, "Reasoning": 1968}
    assert len(SECTION_OF) == 23


def test_an_oracle_its_negation_a_constant_and_a_mute() -> None:
    for score, value, ties in ((scorer(1, 0), 1, 0), (scorer(0, 1), 0, 0), (scorer(2, 2), 0, len(PAIRS))):
        found = score_pairs(PAIRS, score, draws=20)
        assert (found.overall.value, found.ties, found.missing) == (value, ties, ())
        assert set(found.sections) == set(SECTIONS) and len(found.subsets) == 23
    assert judge_pairs(PAIRS, [picks("good")], draws=20).overall.value == 1
    assert judge_pairs(PAIRS, [picks("bad")], draws=20).overall.value == 0
    mute = judge_pairs(PAIRS, [lambda *_: None], draws=20)
    assert mute.overall.value == 0.5 and mute.of_scored.value is None
    assert mute.overall.unscored == len(PAIRS) and sum(mute.reasons.values()) == len(PAIRS)


def test_order_is_drawn_by_pair_and_seed() -> None:
    first = judge_pairs(PAIRS, [lambda *_: 0], draws=20)
    assert 0.3 < first.overall.value < 0.7
    assert judge_pairs(PAIRS[::-1], [lambda *_: 0], draws=20).overall.value == pytest.approx(first.overall.value)
    assert judge_pairs(PAIRS, [lambda *_: 0], seed=1, draws=20).overall.value != first.overall.value


def test_panels_and_long_dialogues() -> None:
    with pytest.raises(SettingsError, match="odd"):
        judge_pairs(PAIRS, [picks("good"), picks("bad")])
    assert judge_pairs(PAIRS, [picks("good"), picks("bad"), picks("good")], draws=20).overall.value == 1
    split = judge_pairs(PAIRS, [picks("good"), picks("bad"), lambda *_: None], draws=20)
    assert split.overall.value == 0.5 and split.overall.unscored == len(PAIRS)
    long = judge_pairs([pair(0, "hep-go", turns=3), pair(1, "hep-go", turns=5)], [picks("good")], draws=20)
    assert long.overall.value == 0.75 and long.reasons == {"more than 4 messages": 1}


def test_section_by_hand() -> None:
    """Reasoning: maths 1/2 with weight 984, one language 1 with weight 164: (984 / 2 + 164) / 1148."""
    rows = [Result(subset="math-prm", value=v) for v in (1.0, 0.0)] + [Result(subset="hep-go", value=1.0)] * 3
    rows += [Result(subset="donotanswer", value=0.0)] * 2
    found = summarise(rows)
    assert found.sections["Reasoning"].value == pytest.approx(656 / 1148)
    assert found.overall.value == pytest.approx((656 / 1148 + 0) / 2)
    assert found.missing == ("Chat", "Chat Hard")
    assert found.of_scored.value == pytest.approx(4 / 7)
    # Three of three right say little: Wilson's interval, not one of no width.
    assert (found.subsets["hep-go"].low, found.subsets["hep-go"].high) == wilson(3, 3)


def test_other_subsets_are_sections_of_their_own() -> None:
    rows = [Result(subset="mine", value=1.0)] * 3 + [Result(subset="donotanswer", value=0.0)]
    found = summarise(rows)
    assert found.overall.value == 0.75 and found.sections["mine"].value == 1 and found.missing == ()


def test_a_pair_without_a_score_is_left_out_and_counted() -> None:
    found = score_pairs(PAIRS[:4], lambda texts: ["too long: 9 tokens", 0.0] + [1.0, 0.0] * 3, draws=20)
    assert (found.overall.value, found.overall.n, found.overall.unscored) == (1, 3, 1)
    assert found.reasons == {"too long": 1}
    none = score_pairs(PAIRS[:4], lambda texts: ["too long"] * 8, draws=20)
    assert none.overall.value is None and none.overall.why
    assert score_pairs([], lambda texts: [], draws=20).overall.value is None


def test_length_is_reported() -> None:
    """A scorer that likes long answers is right where the chosen one is longer, and wrong where it is shorter."""
    pairs = [pair(0, "a", "long answer", "short"), pair(1, "a", "short", "long answer"), pair(2, "a", "same", "also")]
    found = score_pairs(pairs, lambda texts: [float(len(answer[0].content)) for _, answer in texts], draws=20)
    assert (found.by_length[CHOSEN_LONGER].value, found.by_length[CHOSEN_SHORTER].value) == (1, 0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(sorted(SECTION_OF)), st.integers(-3, 3)), min_size=1, max_size=40))
def test_swapping_the_labels_gives_the_rest_without_ties(rows: list[tuple[str, int]]) -> None:
    rows = [(subset, margin or 1) for subset, margin in rows]
    one = summarise([Result(subset=s, value=float(m > 0)) for s, m in rows], draws=5)
    other = summarise([Result(subset=s, value=float(-m > 0)) for s, m in rows], draws=5)
    assert one.overall.value == pytest.approx(1 - other.overall.value)


def test_a_file_whose_pairs_are_all_right_has_an_interval_with_a_width() -> None:
    alone = summarise([Result(subset="pairs", value=1.0)] * 30)
    assert (alone.overall.low, alone.overall.high) == (alone.of_scored.low, 1.0) == wilson(30, 30)
    assert alone.overall.low == pytest.approx(0.8865, abs=1e-4)
    # Two sections of 10 and 40 pairs weigh one half each: worth 1 / (0.25 / 10 + 0.25 / 40) = 32 pairs.
    rows = [Result(subset="donotanswer", value=1.0)] * 10 + [Result(subset="hep-go", value=1.0)] * 40
    both = summarise(rows)
    assert (both.overall.low, both.overall.high) == pytest.approx(wilson(32, 32))
    # One section all right, the other all wrong: one half, and a wide interval about it.
    split = summarise([*rows[:10], *[Result(subset="hep-go", value=0.0)] * 40]).overall
    assert split.value == 0.5 and (split.low, split.high) == pytest.approx(wilson(16, 32))
