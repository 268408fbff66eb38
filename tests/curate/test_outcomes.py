"""Reward data from outcomes: right over wrong, in proportion; rows by their ability."""

from functools import partial

import pytest

from burnish.curate import group_of, labelled, mix_rows, only, outcome_pairs, proportioned, take_prompts
from burnish.errors import DataError
from burnish.records import Candidate, Demonstration, Judgement, Message, Preference, Prompt, Response


def asked(text: str, ability: str = "math", checker: str = "") -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), ability=ability, checker=checker)


def answers(prompt: Prompt, *texts: str) -> list[Response]:
    said = [(Message(role="assistant", content=text),) for text in texts]
    return [Response(prompt=prompt.id, messages=m, index=i, model="m") for i, m in enumerate(said)]


def judged(responses: list[Response], scores: list[float | None]) -> list[Judgement]:
    return [
        Judgement(prompt=r.prompt, responses=(r.id,), judge="checker", score=s)
        for r, s in zip(responses, scores, strict=True)
        if s is not None
    ]


def test_no_pair_has_equal_outcomes_and_an_answer_stands_in_one_pair() -> None:
    prompt, other = asked("a"), asked("b")
    rows = answers(prompt, "1", "2", "3", "4", "5")
    alike = answers(other, "6", "7")
    verdicts = judged([*rows, *alike], [1.0, 0.0, 0.0, 1.0, 0.0, 1.0, 1.0])
    found = outcome_pairs([prompt, other], [*rows, *alike], verdicts, round=1, seed=0)
    worth = {v.responses[0]: v.score for v in verdicts}
    used = [c.response for pair in found.rows for c in pair.candidates]
    assert len(found.rows) == 2 and len(set(used)) == 4
    for pair in found.rows:
        assert [worth[c.response] for c in pair.candidates] == [1.0, 0.0] and pair.prompt == prompt.id
        assert [c.role for c in pair.candidates] == ["chosen", "rejected"] and pair.capability == "math"
    counts = found.counts()
    assert counts["taken"] == 7 and counts["kept"] == 4 and counts["dropped"] == {"no answer of the other outcome": 3}


def test_equal_answers_count_once_and_unscored_ones_never() -> None:
    prompt = asked("a")
    rows = answers(prompt, "1", "1", "2", "3")
    found = outcome_pairs([prompt], rows, judged(rows, [1.0, 1.0, None, 0.0]), round=1, seed=0)
    assert len(found.rows) == 1
    assert found.counts()["dropped"] == {"said before": 1} and found.counts()["unscored"] == {"not checked": 1}


def test_who_meets_whom_depends_on_the_seed_and_the_prompt_alone() -> None:
    prompt = asked("a")
    rows = answers(prompt, *map(str, range(20)))
    verdicts = judged(rows, [float(i % 2) for i in range(20)])
    pairs = [
        {tuple(c.response for c in p.candidates) for p in outcome_pairs([prompt], r, verdicts, round=1, seed=s).rows}
        for r, s in ((rows, 0), (rows[::-1], 0), (rows, 1))
    ]
    assert pairs[0] == pairs[1] != pairs[2]


def test_a_score_that_is_no_outcome_is_refused() -> None:
    prompt = asked("a")
    rows = answers(prompt, "1", "2")
    with pytest.raises(DataError, match=r"gives 0\.5; an outcome is 1"):
        outcome_pairs([prompt], rows, judged(rows, [0.5, 1.0]), round=1, seed=0)
    with pytest.raises(DataError, match="not among the prompts"):
        outcome_pairs([asked("b")], rows, judged(rows, [0.0, 1.0]), round=1, seed=0)


def pairs_of(ability: str, count: int) -> list[Preference]:
    said = [(Message(role="assistant", content=text),) for text in ("good", "bad")]
    ranked = tuple(Candidate(role=r, messages=m) for r, m in zip(("chosen", "rejected"), said, strict=True))
    return [
        Preference(prompt=f"{ability} {i}", context=(), candidates=ranked, capability=ability) for i in range(count)
    ]


def test_no_ability_has_more_than_so_many_times_the_rarest() -> None:
    found = proportioned([*pairs_of("math", 50), *pairs_of("code", 7)], most=2.0, seed=0)
    assert found.metrics == {"ability code": 7, "ability math": 14}
    assert found.counts()["dropped"] == {"over the proportion": 36}
    assert proportioned([], most=2.0, seed=0).rows == []


def test_a_pair_as_two_labelled_answers() -> None:
    found = labelled([*pairs_of("math", 2), Preference(prompt="p", context=(), candidates=())])
    assert [row.score for row in found.rows] == [1.0, 0.0] * 2
    assert found.counts()["kept"] == 2 and found.counts()["dropped"] == {"fewer than two answers": 1}


def test_rows_by_ability_and_the_checker_of_a_prompt_that_declares_none() -> None:
    rows = take_prompts([asked("a", ""), asked("b", "", "math"), asked("c", "code", "math")], by_checker=True).rows
    assert [row.ability for row in rows] == ["", "math", "code"]
    assert [row.ability for row in only(rows, abilities=("math", "code")).rows] == ["math", "code"]
    assert [row.ability for row in only(rows, abilities=("math", "code"), inverse=True).rows] == [""]
    assert len(only(pairs_of("safety", 3), abilities=("safety",)).rows) == 3


def test_a_mix_of_groups_of_abilities_has_their_shares() -> None:
    """The shares of DeepSeek-V2 at a hundred rows: 20 safety; of the rest 31.2 % language, 46.6 % math, 22.2 % code."""
    from burnish.recipes.deepseek_v2 import GROUPS

    names = ["math", "arithmetic", "code", "safety", "facts", "tools", "letters"]
    rows = [
        Demonstration(prompt=f"{name} {i}", context=(), response=(), ability=name) for name in names for i in range(60)
    ]
    shares = {"safety": 0.2, "language": 0.8 * 0.312, "math": 0.8 * 0.466, "code": 0.8 * 0.222}
    group = partial(group_of, groups=GROUPS, rest="language")
    mixed = mix_rows(rows, count=100, seed=0, shares=shares, source_of=group).rows
    found = {name: sum(group(row) == name for row in mixed) for name in shares}
    assert found == {"safety": 20, "language": 25, "math": 37, "code": 18}
