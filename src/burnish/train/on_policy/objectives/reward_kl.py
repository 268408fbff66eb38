"""Baichuan's GRPO: the divergence inside the rewards of tokens, and a penalty for leaving the start elsewhere."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.losses.on_policy import Clip, kept_close_loss, reward_kl_loss, standardised, top_k_kl
from burnish.models import build_pack, load_causal, token_logits
from burnish.records import Demonstration, Weights
from burnish.train.batch import Example, encode_all, encode_demonstration, epoch_order, trained_each
from burnish.train.objectives.method import Part, Place, selection
from burnish.train.on_policy.objectives.fresh import Fresh
from burnish.train.ranks import ranks
from burnish.train.session import own_memory


@dataclass(slots=True, kw_only=True)
class RewardKl(Fresh):
    """GRPO with the divergence over the reference's likeliest tokens in the rewards (Baichuan, arXiv:2410.14940; B8).

    The divergence of a token is that of the policy at the time of the update, with whole rows of logits of both models
    (ASSUMED: on the first update of a round it is the policy that drew). Its unit is that of the advantages.

    Args:
        top_k: of the reference's likeliest tokens.
        through_kl: whether the divergence has a gradient of its own; see `reward_kl_loss`. The report does not say.
        over: as for `Grpo`; advantages have the population's standard deviation (ASSUMED).
        clip: how far a ratio counts on either side of 1.
        keep: supervised rows on which the policy stays near the original model.
        keep_weight: gamma.
        keep_rows: rows of `keep` beside each batch.
    """

    top_k: int
    through_kl: bool
    over: str = "responses"
    clip: float = 0.2
    keep: Sequence[Demonstration] = ()
    keep_weight: float = 0.0
    keep_rows: int = 0
    beside: list[Example] = field(default_factory=list)
    kept_tokens: int = 0
    seed: int = 0
    original: nn.Module | None = None

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Load the reference; the original model is the same unless the reference moves."""
        self.seed = place.seed
        Fresh.before(self, model, examples, place)
        if self.keep_weight:
            self.original = self.frozen if self.moving is None else None
            if self.original is None:
                self.original = load_causal(self.start(place), dtype=place.dtype, device=place.device)
                self.original.requires_grad_(False)
                own_memory(self.original)

    def start(self, place: Place) -> Weights:
        """The original model."""
        return self.reference or place.base

    def opened(self, chat: Chat, *, most: int, refuse_above: float) -> list[str]:
        if not self.keep_weight:
            return []
        how = {"max_length": most, "refuse_above": refuse_above}
        self.beside, lost = encode_all(encode_demonstration, chat, self.keep, **how)
        if not lost:
            return []
        return [f"{len(lost)} of {len(self.keep)} rows to stay close on were dropped; the first: {lost[0].reason}"]

    def joined(self, batches: Sequence[list[Example]], number: int) -> list[list[Example]]:
        """With the next rows to stay close on beside each batch; passes are shuffled by the seed."""
        if not self.beside:
            return list(batches)
        found = []
        for place, batch in enumerate(batches):
            first = (number * len(batches) + place) * self.keep_rows
            rows = [self._kept(index) for index in range(first, first + self.keep_rows)]
            found.append([*batch, *rows] if batch else [])
        return found

    def _kept(self, index: int) -> Example:
        turn, place = divmod(index, len(self.beside))
        return self.beside[epoch_order(self.beside, seed=self.seed, epoch=turn)[place]]

    def begin(self, model: nn.Module, batch: Sequence[Example], step: int) -> None:
        self.kept_tokens = sum(e.trained_tokens for e in batch if e.id not in self.known)

    def advantages(self, rewards: Tensor, there: Tensor) -> Any:
        return standardised(rewards, there)

    def units(self, examples: Sequence[Example]) -> int:
        drawn = [e for e in examples if e.id in self.known]
        if self.over == "responses":
            return Fresh.units(self, drawn)
        used = [(e, self.known[e.id]["used"].tolist()) for e in drawn]
        return sum(count for e, marks in used for count, mark in zip(trained_each(e), marks, strict=True) if mark)

    def _measure(self, name: str, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """From rows of logits, as the update computes them, so that the first ratios are 1."""
        if name == "reference":
            return  # measured in the update
        together, pieces = ranks(), {}
        with torch.no_grad():
            for part, weight in together.packs(examples, budget=place.pack_tokens):
                pack, chosen = build_pack([e.row for e in part]), selection(part)
                found = taken(token_logits(model, pack, select=chosen), pack.targets[chosen]).cpu()
                if weight:
                    each = found.split([e.trained_tokens for e in part])
                    pieces |= {e.id: piece for e, piece in zip(part, each, strict=True)}
        for number, piece in together.union(pieces).items():
            self.known[number][name] = piece

    def apart(self, batch: Sequence[Example]) -> list[Sequence[Example]]:
        """Answers, in the packs that they were measured in, and the rows to stay close on."""
        drawn, kept = [e for e in batch if e.id in self.known], [e for e in batch if e.id not in self.known]
        return [some for some in (drawn, kept) if some]

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        if examples[0].id in self.known:
            return self._drawn(model, examples, units)
        with torch.no_grad():
            reference = logits_of(self.original, examples)
        divergence = top_k_kl(logits_of(model, examples), reference, k=self.top_k)
        loss, sums = kept_close_loss(divergence, tokens=self.kept_tokens, gamma=self.keep_weight)
        return loss, {"kept": sums["kl"].double()}

    def _drawn(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        pack, chosen = build_pack([e.row for e in examples]), selection(examples)
        logits, targets = token_logits(model, pack, select=chosen), pack.targets[chosen]
        owner = pack.token_response[chosen].to(logits.device)
        logprobs = taken(logits, targets)
        divergence = torch.zeros_like(logprobs)
        if self.beta:
            with torch.no_grad():
                theirs = token_logits(self.frozen, pack, select=chosen)
            divergence = top_k_kl(logits, theirs, k=self.top_k)
        tokens = self._sampled(logprobs, owner, examples)
        how = {"units": units, "beta": self.beta, "through_kl": self.through_kl, "over": self.over}
        clip = Clip(low=self.clip, high=self.clip)
        advantages = self._advantages(examples, owner.device)
        loss, sums = reward_kl_loss(tokens, advantages, divergence, clip=clip, **how)
        reference = taken(theirs, targets) if self.beta else None
        told = {**sums, **self._told(tokens, reference, examples)}
        return loss, {name: value.double() for name, value in told.items()}

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """With `kept_kl`, nats a token of the rows to stay close on."""
        told = Fresh.metrics(self, sums, units)
        return {**told, "kept_kl": sums["kept"] / self.kept_tokens} if "kept" in sums else told


def logits_of(model: nn.Module, examples: Sequence[Example]) -> Tensor:
    """[N, V] at the trained tokens of a pack."""
    return token_logits(model, build_pack([e.row for e in examples]), select=selection(examples))


def taken(logits: Tensor, targets: Tensor) -> Tensor:
    """[N] log-probabilities of the tokens that stand there, in at least float32."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.log_softmax(-1).gather(-1, targets.to(wide.device)[:, None])[:, 0]
