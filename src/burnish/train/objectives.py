"""The three objectives over fixed rows: what each needs of a row, what it measures beforehand, and its loss on a pack.

A method is a loss plus a collation; the loop in `supervised` is the same for all.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from burnish.losses import dpo_loss, ordered_pairs, reward_loss, sft_loss
from burnish.models import build_pack, load_causal, response_scores, token_logprobs
from burnish.records import Weights
from burnish.train.batch import Example, encode_demonstration, encode_pair, encode_ranking
from burnish.train.prepare_chat import check_stop_trained, stop_probability
from burnish.train.reference import reference_logprobs


class Method(Protocol):
    """One training method, as the loop sees it."""

    kind: str
    encode: Callable[..., Example]
    isolate: bool

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Measure with the starting weights; runs again after a kill, before the checkpoint is read."""

    def units(self, examples: Sequence[Example]) -> int:
        """Units of an optimiser batch: what its loss is a mean over."""

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss of one pack of a batch of `units` units, and detached sums."""

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """What a step reports beside its loss."""

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        """Examine the trained model; may refuse it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a method works: the starting weights, the settings of the pass, and a folder that outlives a kill."""

    base: Weights
    stop_ids: tuple[int, ...]
    pack_tokens: int
    seed: int
    dtype: str
    device: str
    scratch: Path | None


def stopping(model: nn.Module, examples: Sequence[Example], place: Place) -> float:
    """`stop_probability` with the settings of the pass."""
    return stop_probability(model, examples, stop_ids=place.stop_ids, seed=place.seed, pack_tokens=place.pack_tokens)


def selection(examples: Sequence[Example]) -> Tensor:
    """[N] bool over all response tokens of a pack, in its order (row, response, token): the trained ones."""
    return torch.from_numpy(np.concatenate([e.trained for e in examples]))


@dataclass(slots=True, kw_only=True)
class Imitation:
    """SFT. Unit: the trained tokens of the batch."""

    kind: str = "causal"
    encode: Callable[..., Example] = encode_demonstration
    share_prefix: bool = True
    isolate: bool = True
    stop_before: float = 0.0

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.stop_before = stopping(model, examples, place)

    def units(self, examples: Sequence[Example]) -> int:
        return sum(e.trained_tokens for e in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> tuple[Tensor, dict[str, Tensor]]:
        pack = build_pack([e.row for e in examples], share_prefix=self.share_prefix)
        return sft_loss(token_logprobs(model, pack, select=selection(examples)), tokens=units)

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {}

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        after = stopping(model, examples, place)
        check_stop_trained(before=self.stop_before, after=after, base=place.base)
        return {"stop_probability_before": self.stop_before, "stop_probability_after": after}


@dataclass(slots=True, kw_only=True)
class Ranking:
    """Reward modelling. Unit: the rows of the batch, each the mean of its ordered pairs."""

    kind: str = "reward"
    encode: Callable[..., Example] = encode_ranking
    share_prefix: bool = True
    isolate: bool = True

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        return None

    def units(self, examples: Sequence[Example]) -> int:
        return len(examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> tuple[Tensor, dict[str, Tensor]]:
        pack = build_pack([e.row for e in examples], share_prefix=self.share_prefix, causal=not self.isolate)
        scores = response_scores(model, pack)
        better, worse, weight = (t.to(scores.device) for t in ordered_pairs([e.ranks for e in examples]))
        return reward_loss(scores.flatten(), better, worse, weight, rows=units)

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {"accuracy": sums["accuracy"] / units, "margin": sums["margin"] / units}

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        return {}


@dataclass(slots=True, kw_only=True)
class Contrast:
    """DPO + NLL. Unit: the pairs of the batch."""

    beta: float
    nll_weight: float
    reference: Weights | None = None
    kind: str = "causal"
    encode: Callable[..., Example] = encode_pair
    share_prefix: bool = True
    isolate: bool = True
    known: dict[str, Tensor] = field(default_factory=dict)
    stop_before: float = 0.0

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.stop_before = stopping(model, examples, place)
        weights = self.reference or place.base
        own = weights.id == place.base.id

        def frozen() -> nn.Module:
            return model if own else load_causal(weights, dtype=place.dtype, device=place.device)

        self.known = reference_logprobs(
            frozen, examples, weights=weights.id, pack_tokens=place.pack_tokens, scratch=place.scratch
        )

    def units(self, examples: Sequence[Example]) -> int:
        return len(examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> tuple[Tensor, dict[str, Tensor]]:
        pack = build_pack([e.row for e in examples], share_prefix=self.share_prefix)
        chosen = selection(examples)
        policy = token_logprobs(model, pack, select=chosen)
        formatting = torch.from_numpy(np.concatenate([e.formatting for e in examples]))[chosen]
        return dpo_loss(
            policy,
            torch.cat([self.known[e.id] for e in examples]).to(policy.device),
            pack.token_response[chosen].to(policy.device),
            formatting.to(policy.device),
            pairs_here=len(examples),
            pairs=units,
            beta=self.beta,
            nll_weight=self.nll_weight,
        )

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {name: value / units for name, value in sums.items()}

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        # the probability to stop must not fall (spec §3.5, check)
        after = stopping(model, examples, place)
        return {"stop_probability_before": self.stop_before, "stop_probability_after": after}
