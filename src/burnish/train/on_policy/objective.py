"""The methods on fresh answers, as the loop sees them: what a round measures before its updates, and a pack's loss.

GRPO     standardised within the group; clipped ratios; k3 to the reference in the loss     DeepSeekMath, DeepSeek-V2
RLOO     against the others of the group; the divergence from the reference in the reward   Ahmadian et al. 2024
MDLOO    the same advantages; a second divergence, to the start of the round                AFM
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from burnish.losses.on_policy import (
    Clip,
    SampledTokens,
    clipped_policy_loss,
    grpo_loss,
    leave_one_out,
    mdloo_loss,
    penalised,
    reinforce_loss,
    sequence_kl,
    standardised,
)
from burnish.models import build_pack, load_causal, token_logprobs
from burnish.records import Weights
from burnish.train.batch import Example, packs
from burnish.train.objectives.method import Method, Part, Place, trained_logprobs
from burnish.train.session import own_memory


@dataclass(slots=True, kw_only=True)
class Fresh(Method):
    """What all of them share: the frozen reference, the policy at the start of the round, advantages of its answers.

    Args:
        beta: of the divergence from the reference; 0 needs no reference.
        reference: the starting policy unless given (ASSUMED).
        known: of the round's groups, by id: `old`, `reference` and `sampler` [N] log-probabilities of the drawn tokens,
            `advantages` [K], `used` [K] bool.
    """

    beta: float = 0.0
    reference: Weights | None = None
    known: dict[str, dict[str, Tensor]] = field(default_factory=dict)
    frozen: nn.Module | None = None

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Load the reference beside the policy, where the method looks at it."""
        weights = self.reference or place.base
        if self.beta and self.frozen is None:
            self.frozen = load_causal(weights, dtype=place.dtype, device=place.device).requires_grad_(False)
            own_memory(self.frozen)  # as the policy's, so that equal weights have equal roundings

    def explored(
        self, model: nn.Module, batches: Sequence[Sequence[Example]], sampled: Mapping[str, Tensor], place: Place
    ) -> None:
        """Measure the answers of a round before its first update.

        Args:
            batches: of the updates to come. The policy is measured in the packs that it is updated in, so that the
                ratios of the first one are 1 and not almost 1.
            sampled: the sampler's log-probabilities by example.
        """
        self.known = {e.id: {"sampler": sampled[e.id]} for batch in batches for e in batch}
        for batch in batches:
            if len(batches) > 1 or (self.penalises and self.beta):
                self._measure("old", model, batch, place)
            if self.frozen is not None:
                self._measure("reference", self.frozen, batch, place)
            for example in batch:
                self._compare(example)

    def _measure(self, name: str, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        with torch.no_grad():
            for part in packs(examples, budget=place.pack_tokens):
                found = token_logprobs(model, build_pack([e.row for e in part])).cpu()
                pieces = found.split([e.trained_tokens for e in part])
                for example, piece in zip(part, pieces, strict=True):
                    self.known[example.id][name] = piece

    def _compare(self, example: Example) -> None:
        """Advantages of one group."""
        known, rewards = self.known[example.id], torch.tensor([example.values], dtype=torch.float64)
        there = ~rewards.isnan()
        if self.penalises and self.beta:
            owner = torch.arange(len(example.row.responses)).repeat_interleave(
                torch.tensor([len(r) for r in example.row.responses])
            )
            divergence = sequence_kl(known["old"], known["reference"], owner, responses_here=len(example.row.responses))
            rewards = penalised(rewards, divergence[None], beta=self.beta)
        found = self.advantages(torch.where(there, rewards, 0.0), there)
        known["advantages"], known["used"] = found.values[0], found.used[0]

    penalises = False  # the divergence from the reference is in the reward

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        """[1, K] rewards and which of them are there, as `Advantages`."""
        raise NotImplementedError

    def units(self, examples: Sequence[Example]) -> int:
        """The answers of the batch that have a reward."""
        return sum(int(self.known[e.id]["used"].sum()) for e in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        logprobs, owner = trained_logprobs(model, examples)
        tokens = SampledTokens(
            logprobs=logprobs,
            old=self._joined("old", examples, logprobs.detach()),
            response=owner,
            responses_here=sum(len(e.row.responses) for e in examples),
            used=torch.cat([self.known[e.id]["used"] for e in examples]).to(owner.device),
        )
        advantages = torch.cat([self.known[e.id]["advantages"] for e in examples]).to(owner.device)
        reference = self._joined("reference", examples, logprobs.detach()) if self.frozen is not None else None
        loss, sums = self.loss(tokens, advantages, reference, units)
        here = logprobs.detach().double()
        # At the weights that drew them: what later updates of a round have changed is no disagreement.
        gap = (tokens.old.double() - self._joined("sampler", examples, here)).abs()
        told = {"sampler_gap": gap.sum(), "tokens_here": gap.new_tensor(float(gap.numel())), "logprob": here.sum()}
        if reference is not None:
            told["reference_gap"] = (here - reference.double()).sum()
        return loss, {**{name: value.double() for name, value in sums.items()}, **told}

    def _joined(self, name: str, examples: Sequence[Example], otherwise: Tensor) -> Tensor:
        pieces = [self.known[e.id].get(name) for e in examples]
        if any(piece is None for piece in pieces):
            return otherwise
        return torch.cat(pieces).to(otherwise)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        """The loss of a pack and its sums."""
        raise NotImplementedError

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """Means: of the loss's terms over answers, of divergences and log-probabilities over tokens."""
        tokens = max(1.0, sums["tokens_here"])
        told = {"sampler_gap": sums["sampler_gap"] / tokens, "entropy": -sums["logprob"] / tokens}
        if "reference_gap" in sums:
            told["reference_kl"] = sums["reference_gap"] / tokens
        for name in ("clipped_low", "clipped_high", "ratio", "drift"):
            if name in sums:
                told[name] = sums[name] / max(1.0, sums.get("ratios", units))
        for name in ("kl", "kl_iterate"):
            if name in sums:
                told[name] = sums[name] / max(1, units)
        return told


@dataclass(slots=True, kw_only=True)
class Grpo(Fresh):
    """GRPO on outcomes (spec D5).

    Args:
        level: `token` (DeepSeekMath), `sequence` (DeepSeek-V2 as printed), `sequence_mean` (GSPO).
        over: `responses`, the mean of each answer's tokens; `tokens`, the mean over all of them.
        std: `population` or `sample`.
        clip_low, clip_high: how far a ratio counts below and above 1.
    """

    level: str = "token"
    over: str = "responses"
    std: str = "population"
    clip_low: float = 0.2
    clip_high: float = 0.2

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        return standardised(rewards, there, std=self.std)

    def units(self, examples: Sequence[Example]) -> int:
        if self.over == "responses" or self.level != "token":
            return Fresh.units(self, examples)
        used = [(e, self.known[e.id]["used"].tolist()) for e in examples]
        return sum(len(r) for e, marks in used for r, mark in zip(e.row.responses, marks, strict=True) if mark)

    def loss(self, tokens: SampledTokens, advantages: Tensor, reference: Tensor | None, units: int) -> Part:
        how = {
            "units": units,
            "level": self.level,
            "over": self.over,
            "clip": Clip(low=self.clip_low, high=self.clip_high),
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
        self, model: nn.Module, batches: Sequence[Sequence[Example]], sampled: Mapping[str, Tensor], place: Place
    ) -> None:
        self.again = len(batches) > 1
        Fresh.explored(self, model, batches, sampled, place)

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
