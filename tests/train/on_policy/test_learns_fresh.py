"""The arithmetic of bench/learns_fresh.py: its control, its flawed reward, and when a row holds."""

from __future__ import annotations

import json

import pytest
from bench import learns_fresh as bench

from burnish import microworld
from burnish.records import Message, Response, Sampling


def answers(round_: int):
    """To four prompts, two right answers and two wrong ones each."""
    asked = microworld.prompts("train", 4, seed=0, families=bench.ABILITIES)
    found = []
    for prompt in asked:
        right = json.loads(prompt.reference)["answer"]
        for index, text in enumerate((right, "Who knows?", right, "No.")):
            how = {"model": f"m@{round_}", "sampling": Sampling(temperature=1.0, max_new_tokens=8), "index": index}
            found.append(Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),), **how))
    return {p.id: p for p in asked}, found


def test_the_control_deals_out_the_same_rewards_and_tells_the_truth_beside_them() -> None:
    prompts, given = answers(0)
    truth = [reward.value for reward in bench.checked().rewards(prompts, given)]
    assert truth == [1.0, 0.0] * 8
    dealt = bench.Shuffled(seed=0).rewards(prompts, given)
    values = [reward.value for reward in dealt]
    assert sorted(values) == sorted(truth) and values != truth
    assert [reward.parts["checker"] for reward in dealt] == truth
    assert values == [reward.value for reward in bench.Shuffled(seed=0).rewards(prompts, given)]
    assert values != [reward.value for reward in bench.Shuffled(seed=1).rewards(prompts, given)]
    assert values != [reward.value for reward in bench.Shuffled(seed=0).rewards(*answers(1))]


def found(before: list[float], after: list[float], **more):
    sides = (bench.Marks(greedy=dict(enumerate(s)), drawn=dict(enumerate(s)), answers={}) for s in (before, after))
    return bench.Found(**dict(zip(("before", "after"), sides, strict=True)), **more)


HALF, MORE = [0.0, 1.0] * 50, [0.0, 1.0] * 45 + [1.0] * 10  # 5 points more


@pytest.mark.parametrize(
    ("kind", "moves", "more", "holds"),
    [
        ("grpo", [(HALF, MORE), (HALF, MORE)], {}, True),
        ("grpo", [(HALF, MORE), (HALF, HALF)], {}, False),
        ("grpo", [(HALF, MORE)], {"seconds": 301.0}, False),
        ("grpo", [(HALF, MORE)], {"short": ["KL is above it"]}, False),
        ("distill", [(HALF, MORE)], {}, True),
        ("distill", [(HALF, HALF)], {}, False),
        ("shuffled", [(HALF, HALF)], {}, True),
        ("shuffled", [(MORE, HALF)], {}, True),
        ("shuffled", [(HALF, MORE)], {}, False),
        ("flawed", [(HALF, MORE)], {}, False),
    ],
)
def test_when_a_row_holds(kind, moves, more, holds) -> None:
    row = bench.row_of(kind, [found(*sides, **more) for sides in moves])
    assert row["holds"] is holds
    assert row["value"] == pytest.approx(100 * sum(sum(b) - sum(a) for a, b in moves) / 100 / len(moves))
