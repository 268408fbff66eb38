"""The noun: what one answer is worth, or why nobody can say; and who says it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from burnish.protocols import Work
from burnish.records import Prompt, Response, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What one answer is worth.

    Args:
        value: None where it is missing.
        why: the reason why it is missing.
        parts: the rewards that it was made from, by name, before weights; None where one is missing.
        steps: the rewards of its reasoning steps, by the characters of its text that they end on; all or none.
    """

    value: float | None
    why: str = ""
    parts: Mapping[str, float | None] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


NO_STEP = "the answer has no step"


def line_ends(text: str) -> list[int]:
    """Where an answer's steps end, in characters: its lines that are not blank, without the space after them."""
    ends, place = [], 0
    for line in text.split("\n"):
        if line.strip():
            ends.append(place + len(line.rstrip()))
        place += len(line) + 1
    return ends


def of_steps(values: Sequence[float | None], text: str) -> Reward:
    """The reward of an answer from those of its steps: their mean (ASSUMED; process advantages read the steps alone).

    Args:
        values: one a step of `line_ends`; where one is missing, so is the reward.
    """
    if not values:
        return Reward(value=None, why=NO_STEP)
    if any(value is None for value in values):
        number = [value is None for value in values].index(True) + 1
        return Reward(value=None, why=f"step {number} of the answer has no reward")
    steps = tuple(Step(end=end, label=value) for end, value in zip(line_ends(text), values, strict=True))
    return Reward(value=statistics.fmean(v for v in values if v is not None), steps=steps)


class Rewarder(Protocol):
    """Gives each answer its reward. `name` stands in metrics."""

    name: str

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        """One a response; `prompts` by id."""
        ...


def missing(why: str, count: int) -> list[Reward]:
    """No reward, `count` times, for one reason."""
    return [Reward(value=None, why=why)] * count
