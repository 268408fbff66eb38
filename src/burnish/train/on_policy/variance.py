"""Prompts whose answers are always worth the same teach nothing: they are left out, and counted.

ChatGLM-RLHF (arXiv:2404.00934; spec G11) samples k answers to a prompt beforehand and drops it where the variance of
their rewards is below a bound. Here the rounds themselves are that sample.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from burnish.errors import DataError, SettingsError
from burnish.records import Dropped, Prompt, dropped
from burnish.train.on_policy.groups import Rewarded

SILENT = "rewards that hardly differ"

Seen = dict[str, list[float]]  # id of a prompt -> groups of two rewards and more, and the sum of their variances


@dataclass(frozen=True, slots=True, kw_only=True)
class VarianceFilter:
    """Which prompts go.

    Args:
        after: groups that a prompt must have had before it may go; 0 lets none go.
        most: it goes when the variance of its rewards, within a group and in the mean over them, is this or less
            (ASSUMED: population variance; no bound is published).
    """

    after: int = 0
    most: float = 0.0

    def __post_init__(self) -> None:
        if self.after < 0 or not (self.most >= 0 and math.isfinite(self.most)):
            raise SettingsError(
                f"filter_after is {self.after} (a number of groups, 0 is off) and filter_variance {self.most} (0 or "
                "more)"
            )

    def seen(self, before: Mapping[str, list[float]], rewarded: Sequence[Rewarded]) -> Seen:
        """What is known after these groups. A group with fewer than two rewards says nothing."""
        after = {name: list(found) for name, found in before.items()}
        if self.after:
            for one in rewarded:
                if len(values := one.values) > 1:
                    found = after.setdefault(one.group.prompt.id, [0, 0.0])
                    found[0] += 1
                    found[1] += statistics.pvariance(values)
        return after

    def silent(self, seen: Mapping[str, list[float]], prompt: str) -> bool:
        """Whether the prompt of this id is to be left out."""
        times, total = seen.get(prompt, (0, 0.0))
        return bool(self.after) and times >= self.after and total / times <= self.most

    def check(self, seen: Mapping[str, list[float]], prompts: Sequence[Prompt]) -> None:
        """Raises DataError: there is no prompt left."""
        if self.after and all(self.silent(seen, prompt.id) for prompt in prompts):
            raise DataError(
                f"the rewards of each of the {len(prompts)} prompts hardly differ any more; lower filter_variance, "
                "raise filter_after, or give other prompts"
            )

    def dropped(self, seen: Mapping[str, list[float]], prompts: Sequence[Prompt]) -> list[Dropped]:
        """The prompts that went, each with its variance."""
        found = []
        for prompt in prompts:
            if self.silent(seen, prompt.id):
                times, total = seen[prompt.id]
                found.append(dropped(prompt, SILENT, f"variance {total / times:.3g} over {times:.0f} groups"))
        return found

    def count(self, seen: Mapping[str, list[float]]) -> int:
        return sum(self.silent(seen, prompt) for prompt in seen)
