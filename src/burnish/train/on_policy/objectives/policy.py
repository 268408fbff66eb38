"""Policy gradients on fresh answers.

GRPO     standardised within the group; clipped ratios; k3 to the reference in the loss     DeepSeekMath, DeepSeek-V2
RLOO     against the others of the group; the divergence from the reference in the reward   Ahmadian et al. 2024
WARP     the same, against a reference that follows the policy as a moving average          WARP
MDLOO    the same advantages; a second divergence, to the start of the round                AFM
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.losses.on_policy import (
    Clip,
    SampledTokens,
    StepRewards,
    clipped_policy_loss,
    grpo_loss,
    leave_one_out,
    mdloo_loss,
    process_advantages,
    reinforce_loss,
    standardised,
)
from burnish.train.batch import Example, trained_each
from burnish.train.objectives.method import Part, Place
from burnish.train.on_policy.groups import Rewarded
from burnish.train.on_policy.objectives.fresh import Fresh
from burnish.train.on_policy.process import token_ends


@dataclass(slots=True, kw_only=True)
class Grpo(Fresh):
    """GRPO on outcomes, or on reasoning steps (spec D5).

    Args:
        level: `token` (DeepSeekMath), `sequence` (DeepSeek-V2 as printed), `sequence_mean` (GSPO).
        over: `responses`, the mean of each answer's tokens; `tokens`, the mean over all of them.
        std: `population` or `sample`.
        clip_low, clip_high: how far a ratio counts below and above 1.
        by_steps: process supervision (DeepSeekMath §4.1.3): a token's advantage is the sum of the standardised rewards
            of the steps that end at it or after it.
        steps: of the groups to be measured, by id: which token each step ends on, counted over the group, and rewards.
    """

    level: str = "token"
    over: str = "responses"
    std: str = "population"
    clip_low: float = 0.2
    clip_high: float = 0.2
    by_steps: bool = False
    steps: dict[str, StepRewards] = field(default_factory=dict)

    def noted(self, example: Example, one: Rewarded, chat: Chat) -> None:
        """Find the tokens that the steps of a group's answers end on."""
        if not self.by_steps:
            return
        ends, rewards, known, start = [], [], [], 0
        for number, (response, reward) in enumerate(zip(one.group.responses, one.rewards, strict=True)):
            at = token_ends(chat, response.token_ids, response.text, [step.end for step in reward.steps])
            before = one.group.before(number)
            ends += [start + int(before[place]) for place in (at or [0] * len(reward.steps))]
            rewards += [step.label for step in reward.steps]
            known += [at is not None] * len(reward.steps)
            start += int(before[-1])
        self.steps[example.id] = StepRewards(
            rewards=torch.tensor(rewards, dtype=torch.float64), ends=torch.tensor(ends), known=torch.tensor(known)
        )

    def _compare(self, example: Example) -> None:
        if not self.by_steps:
            Fresh._compare(self, example)
            return
        lengths = torch.tensor(trained_each(example))
        owner = torch.arange(len(lengths)).repeat_interleave(lengths)
        group = torch.zeros(len(lengths), dtype=torch.long)
        tokens, used, _ = process_advantages(self.steps.pop(example.id), owner, group, std=self.std)
        self.known[example.id] |= {"advantages": tokens, "used": used}

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        return standardised(rewards, there, std=self.std)

    def units(self, examples: Sequence[Example]) -> int:
        if self.over == "responses" or self.level != "token":
            return Fresh.units(self, examples)
        used = [(e, self.known[e.id]["used"].tolist()) for e in examples]
        return sum(count for e, marks in used for count, mark in zip(trained_each(e), marks, strict=True) if mark)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        how = {
            "units": units,
            "level": self.level,
            "over": self.over,
            "clip": Clip(low=self.clip_low, high=self.clip_high),
            "per_token": self.by_steps,
        }
        if reference is None:
            return clipped_policy_loss(tokens, advantages, **how)
        return grpo_loss(tokens, advantages, reference, beta=self.beta, **how)


@dataclass(slots=True, kw_only=True)
class Rloo(Fresh):
    """RLOO: REINFORCE against the mean of the group's other answers; with several updates a round, clipped ratios of
    whole answers (Ahmadian et al. 2024, arXiv:2402.14740).

    Args:
        clip: how far a ratio counts on either side of 1, from the second update of a round on.
    """

    clip: float = 0.2
    again: bool = False
    penalises = True

    def explored(
        self,
        model: nn.Module,
        batches: Sequence[Sequence[Example]],
        sampled: Mapping[str, Tensor],
        place: Place,
        *,
        number: int = 0,
    ) -> None:
        self.again = len(batches) > 1
        Fresh.explored(self, model, batches, sampled, place, number=number)

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        return leave_one_out(rewards, there)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        if not self.again:
            return reinforce_loss(tokens, advantages, units=units)
        clip = Clip(low=self.clip, high=self.clip)
        return clipped_policy_loss(tokens, advantages, units=units, level="sequence", clip=clip)


@dataclass(slots=True, kw_only=True)
class Mdloo(Fresh):
    """MDLOO (AFM, spec nemotron_afm.md §B.12).

    Args:
        gamma: of the divergence from the policy at the start of the round.
    """

    gamma: float = 0.1
    penalises = True

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        return leave_one_out(rewards, there)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        return mdloo_loss(tokens, advantages, units=units, gamma=self.gamma)
