"""Groups of answers with their rewards: which are learned from, which are not and why, and as rows for a pack."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from burnish.errors import WorkerError
from burnish.models import Row
from burnish.train.batch import Example
from burnish.train.on_policy.rewards import Reward
from burnish.train.on_policy.rollout import Group

FLAT = "all answers are worth the same"
MISSING = "fewer than two rewards"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rewarded:
    """A group with a reward for each answer."""

    group: Group
    rewards: tuple[Reward, ...]

    @property
    def values(self) -> list[float]:
        """The rewards that are there."""
        return [reward.value for reward in self.rewards if reward.value is not None]

    def _of_steps(self) -> list[float]:
        """The rewards of all steps of the answers that have one."""
        for response, reward in zip(self.group.responses, self.rewards, strict=True):
            if reward.value is not None and not reward.steps:
                raise WorkerError(
                    f"process=true needs a reward for each step of an answer, and answer {response.index + 1} of "
                    f"prompt {response.prompt} has one for the whole; give a model of train reward-steps, or a "
                    "function that returns a list for each answer"
                )
        return [step.label for reward in self.rewards for step in reward.steps if step.label is not None]

    def left_out(self, least_spread: float = 0.0, *, by_steps: bool = False) -> str:
        """Why nothing can be learned from it; empty when something can.

        Args:
            least_spread: of the best and the worst reward; below it a group is flat, and so are equal rewards always.
            by_steps: whether the rewards of steps are compared, and not those of answers.

        Raises:
            WorkerError: steps are compared, and an answer has a reward for the whole only.
        """
        values = self.values
        if len(values) < 2:
            return MISSING
        if by_steps:
            values = self._of_steps()
        spread = max(values) - min(values)
        return FLAT if spread == 0 or spread < least_spread else ""


@dataclass(slots=True)
class Books:
    """What became of the groups and answers of a round."""

    drawn: int = 0
    answers: int = 0
    left: Counter[str] = field(default_factory=Counter)
    missing: Counter[str] = field(default_factory=Counter)
    lost: Counter[str] = field(default_factory=Counter)
    rewards: list[float] = field(default_factory=list)
    parts: dict[str, list[float]] = field(default_factory=dict)
    lengths: list[int] = field(default_factory=list)
    calls: int | None = None
    cut_short: int = 0

    def take(
        self, rewarded: Sequence[Rewarded], *, least_spread: float = 0.0, by_steps: bool = False
    ) -> list[Rewarded]:
        """Count these groups; those of them that can be learned from."""
        kept = []
        for one in rewarded:
            self.drawn += 1
            self.answers += len(one.rewards)
            self.lost.update(one.group.lost)
            self.lengths += [len(response.logprobs) for response in one.group.responses]
            if one.group.drawn:
                told = [message.role for response in one.group.responses for message in response.messages]
                self.calls = (self.calls or 0) + told.count("ipython")
            self.cut_short += sum(response.finish == "length" for response in one.group.responses)
            self.rewards += one.values
            self.missing.update(reward.why or "unscored" for reward in one.rewards if reward.value is None)
            for reward in one.rewards:
                for name, value in reward.parts.items():
                    if value is not None:
                        self.parts.setdefault(name, []).append(value)
            if why := one.left_out(least_spread, by_steps=by_steps):
                self.left[why] += 1
            else:
                kept.append(one)
        return kept

    def nothing(self) -> str:
        """Why a round has no reward at all, in words."""
        why, count = (self.missing + self.lost).most_common(1)[0]
        return f"none of {self.answers + self.lost.total()} answers has a reward ({count} times: {why})"

    def told(self) -> dict[str, float]:
        """The round in numbers: all answers that were drawn, not those alone that are learned from."""
        mean = statistics.fmean
        numbers = {
            "reward": mean(self.rewards) if self.rewards else float("nan"),
            "rewards_std": statistics.pstdev(self.rewards) if self.rewards else float("nan"),
            "answer_tokens": mean(self.lengths) if self.lengths else 0.0,
            "cut_short": self.cut_short / max(1, self.answers),
            "groups": float(self.drawn),
            "groups_flat": float(self.left[FLAT]),
            "groups_missing": float(self.left[MISSING]),
            "rewards_missing": float(sum(self.missing.values())),
            "answers_lost": float(sum(self.lost.values())),
        }
        if self.calls is not None:
            numbers["tool_calls"] = self.calls / max(1, self.answers)
        return numbers | {f"reward_{name}": mean(values) for name, values in self.parts.items()}


@dataclass(slots=True, kw_only=True)
class Shown:
    """What became of a round in which nothing is rewarded."""

    groups: Sequence[Group] = ()

    def told(self) -> dict[str, float]:
        """The round in numbers; `on_policy` is 0 where the answers were given and not drawn."""
        drawn = [response for group in self.groups for response in group.responses]
        if not drawn:
            return {"on_policy": 0.0}
        return {
            "on_policy": 1.0,
            "answer_tokens": statistics.fmean(len(response.logprobs) for response in drawn),
            "cut_short": sum(response.finish == "length" for response in drawn) / len(drawn),
        }


def example_of(one: Rewarded) -> Example:
    """A group as a row of a pack: the prompt once, every drawn token of every answer trained, and no other.

    Its `values` are the rewards, NaN where one is missing. The ids are those that were drawn; nothing is tokenised
    again.
    """
    responses = tuple(response.token_ids for response in one.group.responses)
    tokens = sum(map(len, responses))
    drawn = [mark for answer in one.group.drawn for mark in answer]
    return Example(
        id=f"{one.group.place} {one.group.prompt.id}",
        row=Row(prompt=one.group.ids, responses=responses),
        trained=np.array(drawn, dtype=bool) if drawn else np.ones(tokens, dtype=bool),
        formatting=np.zeros(tokens, dtype=bool),
        ranks=tuple(range(len(responses))),
        values=tuple(float("nan") if reward.value is None else reward.value for reward in one.rewards),
        tokens=len(one.group.ids) + tokens,
    )
