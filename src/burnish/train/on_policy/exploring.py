"""How rounds on fresh answers are played: how many, how many prompts and answers, and what they may cost."""

from __future__ import annotations

import math
from dataclasses import dataclass

from burnish.errors import SettingsError
from burnish.train.on_policy.objectives import Fresh
from burnish.train.on_policy.rewards import SECONDS, check_seconds
from burnish.train.on_policy.variance import VarianceFilter


@dataclass(frozen=True, slots=True, kw_only=True)
class Exploring:
    """Settings of the rounds.

    Args:
        rounds: how many; 0 is as many as go through the prompts `epochs` times (of the loop) without refills.
        prompts: groups that a round learns from, at most.
        samples: K, answers a prompt.
        updates: optimiser steps of a round; its groups are split among them.
        refills: times that a round draws further prompts for groups that had to go.
        temperature, top_p, max_new_tokens: how answers are drawn.
        most_gap: mean difference in nats between the sampler's log-probabilities and the trainer's at which to stop.
        same_engine: take the trainer's own log-probabilities of what was drawn for the sampler's; one more pass.
        reward_seconds: how long a reward may take before it is missing (`rewards.limits`).
        filter_after, filter_variance: which prompts are asked no more (`variance.VarianceFilter`).
    """

    prompts: int
    samples: int
    temperature: float
    max_new_tokens: int
    rounds: int = 0
    updates: int = 1
    refills: int = 1
    top_p: float = 1.0
    most_gap: float = 0.05
    same_engine: bool = False
    reward_seconds: float = SECONDS
    filter_after: int = 0
    filter_variance: float = 0.0

    @property
    def variance(self) -> VarianceFilter:
        return VarianceFilter(after=self.filter_after, most=self.filter_variance)

    def __post_init__(self) -> None:
        for name in ("samples", "prompts", "updates", "max_new_tokens"):
            if getattr(self, name) < 1:
                raise SettingsError(f"{name} is {getattr(self, name)}; it must be at least 1")
        if self.updates > self.prompts:
            raise SettingsError(f"updates is {self.updates}, more than the {self.prompts} groups of a round; lower it")
        if not (self.temperature > 0 and math.isfinite(self.temperature) and 0 < self.top_p <= 1):
            raise SettingsError(
                f"temperature is {self.temperature} and top_p {self.top_p}; answers of a group are drawn, so above 0"
            )
        if min(self.rounds, self.refills) < 0 or not self.most_gap > 0:
            raise SettingsError("rounds and refills must be 0 or more, and most_gap above 0")
        _ = self.variance  # refuses what is out of range
        check_seconds(self.reward_seconds)

    def check(self, method: Fresh) -> None:
        """Raises SettingsError for groups of one, where answers are compared within their group."""
        if method.rewarded and self.samples < 2:
            raise SettingsError(f"samples is {self.samples}; answers are compared within a group, which takes two")
