"""Drawing a round's prompts: shares by what is wrong, unused ones first, no order by ability."""

from __future__ import annotations

from collections import Counter

from burnish.curate import draw_prompts, take_prompts, union
from burnish.records import Message, Prompt


def pool(count: int, *abilities: str) -> list[Prompt]:
    return [
        Prompt(messages=(Message(role="user", content=f"{ability} {i}"),), ability=ability)
        for ability in abilities
        for i in range(count)
    ]


def test_more_of_the_abilities_that_lag() -> None:
    rows = draw_prompts(pool(100, "a", "b"), count=50, grades={"a": 1.0, "b": 0.0}, seed=0).rows
    assert Counter(row.ability for row in rows) == {"a": 10, "b": 40}  # weights 0.25 and 1


def test_equal_shares_without_grades_and_a_small_pool_is_used_up() -> None:
    prompts = [*pool(100, "a"), *pool(5, "b")]
    rows = draw_prompts(prompts, count=50, grades={}, seed=0).rows
    assert Counter(row.ability for row in rows) == {"a": 45, "b": 5}
    assert len(draw_prompts(prompts, count=500, grades={}, seed=0).rows) == 105


def test_unused_prompts_come_first_and_none_twice() -> None:
    prompts = pool(30, "a", "b")
    first = draw_prompts(prompts, count=40, grades={}, seed=1).rows
    second = draw_prompts(prompts, first, count=20, grades={}, seed=1).rows
    assert not {row.id for row in first} & {row.id for row in second}
    assert len({row.id for row in first}) == 40


def test_the_draw_depends_on_seed_and_prompts_alone() -> None:
    prompts = pool(30, "a", "b")
    one = [row.id for row in draw_prompts(prompts, count=20, grades={}, seed=1).rows]
    assert one == [row.id for row in draw_prompts(prompts[::-1], count=20, grades={}, seed=1).rows]
    assert one != [row.id for row in draw_prompts(prompts, count=20, grades={}, seed=2).rows]


def test_abilities_are_mixed_even_when_one_has_far_more_prompts() -> None:
    rows = draw_prompts([*pool(2000, "a"), *pool(60, "b")], count=100, grades={}, seed=0).rows
    early = Counter(row.ability for row in rows[:50])
    assert 10 <= early["b"] <= 40


def test_duplicates_are_dropped_with_a_reason() -> None:
    prompts = pool(3, "a")
    for function in (take_prompts, union):
        outcome = function([*prompts, prompts[0]])
        assert outcome.counts() == {"taken": 4, "kept": 3, "dropped": {"duplicate": 1}, "unscored": {}}
