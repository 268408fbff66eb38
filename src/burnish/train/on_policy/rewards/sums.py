"""Weighted sums of rewards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from burnish.losses.on_policy import combined
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
        given = {n: part.rewards(prompts, responses, work=work) for n, (_, part) in zip(names, self.parts, strict=True)}
        weights = {name: c for name, (c, _) in zip(names, self.parts, strict=True)}
        told = {name: [reward.value for reward in one] for name, one in given.items()}
        values = {name: torch.tensor([v or 0.0 for v in one], dtype=torch.float64) for name, one in told.items()}
        known = {name: torch.tensor([v is not None for v in one], dtype=torch.bool) for name, one in told.items()}
        total, there = combined(values, weights, known=known, standardise=self.standardise)
        rows = []
        for place, (value, is_there) in enumerate(zip(total.tolist(), there.tolist(), strict=True)):
            parts = {name: one[place] for name, one in told.items()}
            gone = [name for name, c in weights.items() if c and parts[name] is None]
            why = "; ".join(f"{name}: {given[name][place].why or 'unscored'}" for name in gone)
            rows.append(Reward(value=value if is_there else None, why=why, parts=parts))
        return rows


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return told
