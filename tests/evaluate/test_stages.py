"""A stage seen from both ends: the tax on other abilities, and what its rewards gained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from burnish.evaluate import reward_gain, tax
from burnish.protocols import Verdict
from burnish.records import Message, Prompt, Response, Sampling, Score
from burnish.train.on_policy import FunctionReward, Reward, RuleReward, WeightedReward

HOW = Sampling(temperature=1.0, max_new_tokens=8)


def scores(**values: float | None) -> list[Score]:
    return [Score(model="m", task=name, metric="accuracy", value=value, n=10) for name, value in values.items()]


def test_the_tax_is_the_mean_change_of_what_both_measured() -> None:
    before, after = scores(all=0.5, math=0.6, code=0.4, facts=0.9), scores(all=0.9, math=0.55, code=0.41, facts=0.1)
    found = tax(before, after, abilities=("math", "code", "poems"), tolerance=0.03)
    assert found.metrics["change"] == pytest.approx(-0.02) and found.metrics["within"]
    assert found.metrics["by_ability"] == pytest.approx({"math": -0.05, "code": 0.01})
    assert not tax(before, after, abilities=("math",), tolerance=0.03).metrics["within"]


def test_what_nobody_measured_is_no_zero() -> None:
    found = tax(scores(math=None), scores(math=0.5), abilities=("math",), tolerance=0.03)
    assert found.metrics["change"] is None and found.metrics["within"] is None and found.rows == []


@dataclass(frozen=True)
class Says:
    """Answers every prompt with its own text and something after it."""

    more: str
    name: str = "says"

    def answer(self, prompts: Sequence[Prompt], *, n: int, sampling: Any, work: Any = None) -> list[Response]:
        said = [(p, (Message(role="assistant", content=p.messages[-1].content + self.more),)) for p in prompts]
        return [Response(prompt=p.id, messages=m, model=self.name, index=i) for p, m in said for i in range(n)]


@dataclass(frozen=True)
class Length:
    """The characters of an answer; none for one of more than six."""

    name: str = "length"

    def rewards(self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Any = None) -> Any:
        values = [float(len(r.text)) if len(r.text) <= 6 else None for r in responses]
        return [Reward(value=value, why="" if value is not None else "too long") for value in values]


@dataclass(frozen=True)
class Bare:
    """Right without a mark at the end."""

    name: str = "bare"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        return Verdict(correct=not response.text.endswith("!"))


def prompts(*texts: str) -> list[Prompt]:
    return [Prompt(messages=(Message(role="user", content=text),)) for text in texts]


def test_the_gain_is_paired_and_a_missing_reward_leaves_the_pair_out() -> None:
    sides = {"before": Says(""), "after": Says("!!"), "sampling": HOW, "n": 2}
    found = reward_gain(prompts("a", "bb", "ccc", "ddddd"), rewarder=Length(), **sides).metrics["length"]
    assert (found["before"], found["after"], found["gain"], found["n"]) == (2.0, 4.0, 2.0, 3)
    assert found["low"] == found["high"] == 2.0 and found["missing"] == 2


def test_the_truth_stands_beside_the_reward_by_ability() -> None:
    """Longer answers earn more, and no answer that ends in a mark is right."""
    asked = [
        Prompt(messages=(Message(role="user", content=text),), ability=ability, checker="bare", reference="x")
        for text, ability in (("a", "math"), ("bb", "code"), ("c", ""))
    ]
    sides = {"before": Says(""), "after": Says("!"), "sampling": HOW, "checkers": {"bare": Bare()}}
    found = reward_gain(asked, rewarder=Length(), **sides).metrics
    assert found["length"]["gain"] == 1.0 and found["right"]["gain"] == -1.0 and found["right"]["n"] == 3
    assert found["right math"]["before"] == 1.0 and found["right code"]["after"] == 0.0
    assert set(found) == {"length", "right", "right math", "right code"}


def test_the_parts_of_a_sum_are_told_one_by_one_and_unscaled() -> None:
    whole = WeightedReward(parts=((1.0, Length()), (1.0, RuleReward(banned=("!",)))), standardise=True)
    found = reward_gain(prompts("a", "bb"), before=Says(""), after=Says("!"), rewarder=whole, sampling=HOW)
    assert found.metrics["length"]["gain"] == 1.0
    assert found.metrics["rules"]["before"] == 1.0 and found.metrics["rules"]["after"] < 1.0
    assert {row.task for row in found.rows} == {"length before", "length after", "rules before", "rules after"}
    assert {row.metric for row in found.rows} == {"reward"}


def test_a_sum_of_one_coefficient_ranks_as_its_part_alone(tmp_path: Any) -> None:
    """D7: linearity; a part of weight 0 does not matter, even where it is missing."""
    file = tmp_path / "r.py"
    file.write_text(
        "def worth(completions):\n    return [None if 'z' in text else len(text) for text in completions]\n"
    )
    part, asked = FunctionReward.of(f"{file}:worth"), prompts("a", "bb", "ccz")
    said = Says("").answer(asked, n=1, sampling=HOW)
    known = {p.id: p for p in asked}
    alone = [r.value for r in part.rewards(known, said)]
    rules = RuleReward()
    summed = WeightedReward(parts=((2.0, part), (0.0, rules))).rewards(known, said)
    assert [r.value for r in summed] == [2.0, 4.0, None]
    assert [r.value for r in WeightedReward(parts=((0.0, part), (1.0, rules))).rewards(known, said)] == [1.0] * 3
    assert alone == [1.0, 2.0, None]
