"""Preference optimisation against a frozen reference: the DPO family and RPO on pairs, KTO on single answers."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.errors import DataError
from burnish.losses import PairSums, kto_loss, pair_sums, response_sums
from burnish.models import load_causal
from burnish.models.forward import device_of
from burnish.records import Demonstration, Preference, Weights
from burnish.train.batch import Example, encode_demonstration, encode_pair, epoch_order, named
from burnish.train.objectives.method import Method, Part, Place, column, formatting, stopping, trained_logprobs
from burnish.train.objectives.rating import label_of
from burnish.train.ranks import ranks
from burnish.train.reference import reference_logprobs

PairLoss = Callable[..., Part]
KINDS = ("desirable", "undesirable")
LOOK = 64  # plumbing: how many rows are looked at for an answer to another prompt


@dataclass(slots=True, kw_only=True)
class Referenced(Method):
    """A method that compares the policy with a frozen reference.

    Args:
        reference: the reference; the starting policy unless given (ASSUMED, spec §3.5).
        mask_formatting: leave headers and terminators out of the log-ratios (Llama 3, spec §3.5).
    """

    reference: Weights | None = None
    mask_formatting: bool = True
    share_prefix: bool = True
    known: dict[str, Tensor] = field(default_factory=dict)
    stop_before: float = 0.0

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.stop_before = stopping(model, examples, place)
        weights = self.reference or place.base
        own = weights.id == place.base.id

        def frozen() -> nn.Module:
            return model if own else load_causal(weights, dtype=place.dtype, device=place.device)

        self.refer(frozen, examples, place)

    def refer(self, frozen: Callable[[], nn.Module], examples: Sequence[Example], place: Place) -> None:
        """Compute and keep the reference's log-probabilities of these examples."""
        name = (self.reference or place.base).id
        self.known |= reference_logprobs(
            frozen, examples, weights=name, pack_tokens=place.pack_tokens, scratch=place.scratch
        )

    def compared(self, model: nn.Module, examples: Sequence[Example]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of the trained tokens of a pack, [N]: log p, the reference's, the number of the response, what is masked."""
        policy, owner = trained_logprobs(model, examples, share_prefix=self.share_prefix)
        known = torch.cat([self.known[e.id] for e in examples]).to(policy.device)
        return policy, known, owner, (formatting(examples) & self.mask_formatting).to(policy.device)

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        # the probability to stop must not fall (spec §3.5, check)
        after = stopping(model, examples, place)
        told = {"stop_probability_before": self.stop_before, "stop_probability_after": after}
        return {**told, "reference": (self.reference or place.base).id}


@dataclass(slots=True, kw_only=True)
class Contrast(Referenced):
    """DPO and its family: one loss over the pairs of the batch, which are its units.

    Args:
        loss: a function of (sums, pairs=...), such as `functools.partial(dpo_loss, beta=0.1, nll_weight=0.2)`.
    """

    loss: PairLoss

    def encode(self, chat: Chat, row: Preference) -> Example:
        return encode_pair(chat, row)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        sums = pair_sums(*self.compared(model, examples), pairs_here=len(examples))
        return self.settle(sums, examples, units)

    def settle(self, sums: PairSums, examples: Sequence[Example], units: int) -> Part:
        """The loss of these pairs."""
        return self.loss(sums, pairs=units)


@dataclass(slots=True, kw_only=True)
class RewardAware(Contrast):
    """RPO (Nemotron-4, spec A.19): `loss` also sees the given rewards, and draws the implicit ones to their gap.

    Args:
        loss: a function of (sums, chosen rewards, rejected rewards, pairs=...), such as a partial of `rpo_loss`.
    """

    def encode(self, chat: Chat, row: Preference) -> Example:
        best, worst = row.candidates[0], row.candidates[-1]
        without = [f"{candidate.role}_score" for candidate in (best, worst) if candidate.score is None]
        if without:
            raise DataError(f"{named(row)} has no reward for an answer; give the column {' and '.join(without)}")
        return replace(encode_pair(chat, row), values=(float(best.score or 0.0), float(worst.score or 0.0)))

    def settle(self, sums: PairSums, examples: Sequence[Example], units: int) -> Part:
        chosen, rejected = column(examples, sums.chosen.device).view(len(examples), 2).unbind(1)
        return self.loss(sums, chosen, rejected, pairs=units)


@dataclass(slots=True, kw_only=True)
class Kto(Referenced):
    """KTO (arXiv:2402.01306) on answers that are desirable or not. Unit: the rows of the batch.

    The reference point is the batch's mean log-ratio of prompts with the answer to another prompt. Which other row is
    drawn once, from the seed (ASSUMED: the paper pairs within the batch), so its reference is computed once. A prompt
    beside which no such answer fits into the context is left out of that mean.
    """

    beta: float = 0.1
    desirable_weight: float = 1.0
    undesirable_weight: float = 1.0
    strangers: dict[str, Example] = field(default_factory=dict)
    pack_tokens: int = 4096
    z0: Tensor | None = None

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        return replace(encode_demonstration(chat, row), values=(label_of(row),))

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.pack_tokens = place.pack_tokens
        order = [examples[i] for i in epoch_order(examples, seed=place.seed, epoch=-1)]
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or sys.maxsize
        for at, one in enumerate(order):
            for other in (order[(at + step) % len(order)] for step in range(1, min(len(order), LOOK))):
                tokens = len(one.row.prompt) + len(other.row.responses[0])
                if other.row.prompt != one.row.prompt and tokens <= context:
                    row = replace(one.row, responses=other.row.responses)
                    self.strangers[one.id] = replace(other, id=f"{one.id} beside {other.id}", row=row, tokens=tokens)
                    break
        if not self.strangers:
            raise DataError(
                "KTO's reference point needs answers to other prompts, and none was found that fits beside a row's "
                "prompt; give rows with several prompts"
            )
        # One call, since what is kept in the scratch folder is one file.
        Referenced.before(self, model, [*examples, *self.strangers.values()], place)

    def begin(self, model: nn.Module, batch: Sequence[Example], step: int) -> None:
        total, together = torch.zeros((), dtype=torch.float64, device=device_of(model)), ranks()
        with torch.no_grad():
            others = [self.strangers[e.id] for e in batch if e.id in self.strangers]
            for part, weight in together.packs(others, budget=self.pack_tokens):
                sums = response_sums(*self.compared(model, part), responses_here=len(part))
                total = total + weight * sums.ratio.double().sum()
        self.z0 = together.total(total) / max(1, len(others))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        sums = response_sums(*self.compared(model, examples), responses_here=len(examples))
        desirable = column(examples, sums.ratio.device) > 0.5
        weights = {"desirable_weight": self.desirable_weight, "undesirable_weight": self.undesirable_weight}
        loss, found = kto_loss(sums, desirable, self.z0, responses=units, beta=self.beta, **weights)
        return loss, {**found, "z0": self.z0.to(loss) * len(examples)}

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """Means over the rows; the rewards of each kind over the rows of that kind."""
        told = {name: value / units for name, value in sums.items() if name not in KINDS}
        rewards = {f"{kind}_reward": sums[f"{kind}_reward"] / max(1.0, sums[kind]) for kind in KINDS}
        return {**told, **rewards}
