"""Weighted sums of rewards."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from burnish.protocols import Work
from burnish.records import Prompt, Response
from burnish.train.on_policy.rewards.limits import timed
from burnish.train.on_policy.rewards.reward import Reward, Rewarder


@dataclass(frozen=True, kw_only=True)
class WeightedReward:
    """c_1 r_1 + c_2 r_2 + ... (DeepSeek-V2 §4.2, spec D7); missing where one of them is.

    Args:
        parts: (c, rewarder) each; one of weight 0 is told and not counted, nor is it missed.
        standardise: each r has mean 0 and standard deviation 1 over the answers of a call before it is weighted
            (ASSUMED; the coefficients are not published).
    """

    parts: tuple[tuple[float, Rewarder], ...]
    standardise: bool = False
    name: str = "reward"

    def within(self, seconds: float) -> WeightedReward:
        return replace(self, parts=tuple((c, timed(part, seconds)) for c, part in self.parts))

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        names = distinct([part.name for _, part in self.parts])
        given = [part.rewards(prompts, responses, work=work) for _, part in self.parts]
        scaled = [standardised(one) if self.standardise else [r.value for r in one] for one in given]
        rows = []
        for place in range(len(responses)):
            parts = {name: one[place].value for name, one in zip(names, given, strict=True)}
            gone = [n for n, (c, _) in zip(names, self.parts, strict=True) if c and parts[n] is None]
            if gone:
                whys = {name: one[place].why or "unscored" for name, one in zip(names, given, strict=True)}
                rows.append(Reward(value=None, why="; ".join(f"{n}: {whys[n]}" for n in gone), parts=parts))
                continue
            total = math.fsum(c * one[place] for (c, _), one in zip(self.parts, scaled, strict=True) if c)
            rows.append(Reward(value=total, parts=parts))
        return rows


def standardised(rewards: Sequence[Reward]) -> list[float | None]:
    """Values with mean 0 and standard deviation 1 over those that are there; all 0 where they are equal."""
    values = [reward.value for reward in rewards if reward.value is not None]
    mean = statistics.fmean(values) if values else 0.0
    spread = statistics.pstdev(values) if len(values) > 1 else 0.0
    return [None if r.value is None else (r.value - mean) / spread if spread else 0.0 for r in rewards]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return told
