"""Reward models from ranked answers: an order, an order with margins or soft labels, an order with absolute scores."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.errors import DataError, SettingsError
from burnish.losses import (
    anchored_reward_loss,
    graded_reward_loss,
    level_targets,
    ordered_pairs,
    penalised_reward_loss,
    reward_loss,
    scaled_scores,
)
from burnish.models import build_pack, response_scores
from burnish.records import Preference
from burnish.train.batch import Example, encode_ranking
from burnish.train.objectives.method import Method, Part, column


def scores_of(model: nn.Module, examples: Sequence[Example], *, share_prefix: bool, isolate: bool) -> Tensor:
    """[R] or [R, heads] of the responses of a pack, in at least float32."""
    return response_scores(model, build_pack([e.row for e in examples], share_prefix=share_prefix, causal=not isolate))


@dataclass(slots=True, kw_only=True)
class Ranking(Method):
    """Bradley-Terry. Unit: the rows of the batch, each the mean of its ordered pairs.

    Args:
        margin: subtract the row's margin from the score difference (Llama 2, arXiv:2307.09288 eq. 2); Llama 3 drops it.
        penalty: weight of the squared scores that keeps them near 0 (ChatGLM-RLHF, spec G10).
        isolate: each answer sees the prompt and itself alone (ASSUMED); False reads a row as one causal run.
    """

    margin: bool = False
    penalty: float = 0.0
    share_prefix: bool = True
    isolate: bool = True
    kind = "reward"

    def __post_init__(self) -> None:
        if self.margin and self.penalty:
            raise SettingsError("margin and penalty come from different reports; set one of them")

    def encode(self, chat: Chat, row: Preference) -> Example:
        example = encode_ranking(chat, row)
        if not self.margin:
            return example
        if row.margin is None or row.margin < 0:
            said = "has no margin" if row.margin is None else f"has the margin {row.margin:g}, which is below 0"
            raise DataError(f"row {row.id} {said}; give how much better chosen is, 0 or more, or set margin=false")
        return replace(example, values=(row.margin,))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = scores_of(model, examples, share_prefix=self.share_prefix, isolate=self.isolate).flatten()
        ranks = [e.ranks for e in examples]
        better, worse, weight = (t.to(scores.device) for t in ordered_pairs(ranks))
        if self.penalty:
            return penalised_reward_loss(scores, better, worse, weight, rows=units, penalty=self.penalty)
        margin = None
        if self.margin:
            pairs = [len(ordered_pairs([rank])[0]) for rank in ranks]
            margin = column(examples, scores.device).repeat_interleave(torch.tensor(pairs, device=scores.device))
        return reward_loss(scores, better, worse, weight, rows=units, margin=margin)


@dataclass(slots=True, kw_only=True)
class SoftRanking(Method):
    """Bradley-Terry with a soft label by the row's strength (AFM, spec B.2). Unit: the rows of the batch.

    The report's four graded heads need grades that no file convention carries; `losses.graded_reward_loss` has them.
    """

    share_prefix: bool = True
    kind = "reward"

    def encode(self, chat: Chat, row: Preference) -> Example:
        try:
            (target,) = level_targets([row.strength]).tolist()
        except DataError as error:
            raise DataError(f"row {row.id}: {error}") from error
        return replace(encode_ranking(chat, row), values=(target,))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = scores_of(model, examples, share_prefix=self.share_prefix, isolate=True).flatten()
        ranks = [e.ranks for e in examples]
        better, worse, weight = (t.to(scores.device) for t in ordered_pairs(ranks))
        pairs = torch.tensor([len(ordered_pairs([rank])[0]) for rank in ranks], device=scores.device)
        loss, sums = graded_reward_loss(
            scores, better, worse, weight, rows=units,
            targets=column(examples, scores.device).repeat_interleave(pairs),
            grade_logits=scores.new_zeros(len(scores), 0, 3),
            grades=torch.zeros(len(scores), 0, dtype=torch.int64, device=scores.device),
            grade_weight=0.0,
        )  # fmt: skip
        return loss, {name: sums[name] for name in ("accuracy", "margin")}


@dataclass(slots=True, kw_only=True)
class AnchoredRanking(Method):
    """Bradley-Terry with squared errors to people's absolute scores (Baichuan, spec B7). Unit: the rows of the batch.

    Args:
        alpha: weight of the squared errors; a response without a score has none.
        low, high: ends of the scale that the scores of the rows are on; laid on -1 .. 1.
    """

    alpha: float
    low: float
    high: float
    share_prefix: bool = True
    kind = "reward"

    def encode(self, chat: Chat, row: Preference) -> Example:
        example = encode_ranking(chat, row)
        given = [row.candidates[rank].score for rank in example.ranks]
        values = torch.tensor([math.nan if v is None else v for v in given], dtype=torch.float64)
        try:
            return replace(example, values=tuple(scaled_scores(values, low=self.low, high=self.high).tolist()))
        except DataError as error:
            raise DataError(f"row {row.id}: {error}") from error

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = scores_of(model, examples, share_prefix=self.share_prefix, isolate=True).flatten()
        better, worse, weight = (t.to(scores.device) for t in ordered_pairs([e.ranks for e in examples]))
        absolute = column(examples, scores.device)
        loss, sums = anchored_reward_loss(scores, better, worse, weight, absolute, rows=units, alpha=self.alpha)
        return loss, {name: sums[name] for name in ("accuracy", "margin", "squared_error")}
