"""Reward models from ranked answers: an order, an order with margins or soft labels, an order with absolute scores."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.errors import DataError, SettingsError
from burnish.losses import (
    LEVEL_TARGETS,
    UNGRADED,
    anchored_reward_loss,
    graded_reward_loss,
    level_sums,
    level_targets,
    optimum_margin,
    ordered_pairs,
    penalised_reward_loss,
    reward_loss,
    scaled_scores,
)
from burnish.models import add_grades, build_pack, grade_logits, head_scores, response_scores, response_states
from burnish.records import GRADES, STRENGTHS, Preference
from burnish.train.batch import Example, encode_ranking, named, packs
from burnish.train.objectives.method import HEAD_SPREAD, Method, Part, Place, column

CLASSES = 3  # of each of GRADES


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
            raise DataError(f"{named(row)} {said}; give how much better chosen is, 0 or more, or set margin=false")
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
    """Bradley-Terry with a soft label by the row's strength, and graded heads (AFM, spec B.2). Unit: the rows.

    Where a row of the training has grades (`records.GRADES`), the model gets four graded heads beside its score, which
    regularise it; a grade that is missing has no gradient. Without any grade the score is trained alone.

    Args:
        grade_weight: lambda, the weight of the grading loss.
    """

    grade_weight: float = 0.1
    graded: bool = False
    share_prefix: bool = True
    kind = "reward"

    def __post_init__(self) -> None:
        if self.grade_weight < 0:
            raise SettingsError(f"grade_weight is {self.grade_weight}; it must be 0 (no graded heads) or more")

    def encode(self, chat: Chat, row: Preference) -> Example:
        try:
            level_targets([row.strength])
        except DataError as error:
            raise DataError(f"{named(row)}: {error}") from error
        example = encode_ranking(chat, row)
        grades = [grade for rank in example.ranks for grade in _grades(row, rank)]
        return replace(example, values=(float(row.strength or 0), *grades))

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        self.graded = self.grade_weight > 0 and any(not math.isnan(v) for e in examples for v in e.values[1:])
        if self.graded and getattr(model, "grades", None) is None:
            add_grades(model, list(GRADES), classes=CLASSES, seed=place.seed, spread=HEAD_SPREAD)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        states = response_states(model, build_pack([e.row for e in examples], share_prefix=self.share_prefix))
        scores = head_scores(model, states).flatten()
        better, worse, weight, strengths = self._pairs(examples, scores.device)
        given = torch.tensor([v for e in examples for v in e.values[1:]], dtype=torch.float64, device=scores.device)
        grades = given.nan_to_num(UNGRADED).long().view(len(scores), len(GRADES))
        loss, sums = graded_reward_loss(
            scores, better, worse, weight, rows=units,
            targets=level_targets(strengths.tolist()),
            grade_logits=grade_logits(model, states) if self.graded else scores.new_zeros(len(scores), 0, CLASSES),
            grades=grades if self.graded else grades[:, :0],
            grade_weight=self.grade_weight if self.graded else 0.0,
        )  # fmt: skip
        names = ("accuracy", "margin", "grading", "grade_accuracy", "graded") if self.graded else ("accuracy", "margin")
        return loss, {name: sums[name] for name in names}

    def _pairs(self, examples: Sequence[Example], device: torch.device) -> tuple[Tensor, ...]:
        """`ordered_pairs` of the examples, and the strength of each pair: its row's."""
        ranks = [e.ranks for e in examples]
        strengths = torch.tensor([int(e.values[0]) for e in examples])
        each = strengths.repeat_interleave(torch.tensor([len(ordered_pairs([rank])[0]) for rank in ranks]))
        return tuple(t.to(device) for t in (*ordered_pairs(ranks), each))

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """Means over the rows; of the grades, the share that is hit."""
        told = {name: sums[name] / units for name in ("accuracy", "margin", "grading") if name in sums}
        return told | ({"grade_accuracy": sums["grade_accuracy"] / max(1.0, sums["graded"])} if self.graded else {})

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        """By level, on the rows trained on: pairs, share in the right order, mean margin and the one to reach."""
        total: dict[str, float] = {}
        for part in packs(examples, budget=place.pack_tokens):
            scores = scores_of(model, part, share_prefix=True, isolate=True).flatten()
            better, worse, _, strengths = self._pairs(part, scores.device)
            for name, value in level_sums(scores, better, worse, strengths).items():
                total[name] = total.get(name, 0.0) + value.item()
        levels = {}
        for level, target in LEVEL_TARGETS.items():
            if count := total[f"pairs_level_{level}"]:
                share, margin = (total[f"{name}_level_{level}"] / count for name in ("right", "margin"))
                told = {"pairs": int(count), "accuracy": share, "margin": margin}
                levels[STRENGTHS[level]] = {**told, "optimum": optimum_margin(target)}
        return {"levels": levels}


def _grades(row: Preference, rank: int) -> list[float]:
    """The class of each of `GRADES` for one answer; NaN where there is none.

    Raises:
        DataError: a grade that is no class, or a question that is not asked.
    """
    given = {grade.name: grade.value for grade in row.candidates[rank].grades}
    for name, value in given.items():
        if name not in GRADES or value not in range(CLASSES):
            raise DataError(
                f"{named(row)}: the grade {name} = {value:g} of its {row.candidates[rank].role} answer is none; give "
                f"0, 1 or 2 for {', '.join(GRADES)}"
            )
    return [given.get(name, math.nan) for name in GRADES]


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
            raise DataError(f"{named(row)}: {error}") from error

    def warnings(self, examples: Sequence[Example]) -> list[str]:
        """Say so where people's scores put the rejected answer above the chosen one: the two terms then disagree."""
        better, worse, _ = ordered_pairs([e.ranks for e in examples])
        absolute = column(examples, torch.device("cpu"))
        against, pairs = int((absolute[better] < absolute[worse]).sum()), len(better)
        told = f"{against} of {pairs} pairs have a lower score on the answer that is ranked higher; look at these rows"
        return [told] if against else []

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = scores_of(model, examples, share_prefix=self.share_prefix, isolate=True).flatten()
        better, worse, weight = (t.to(scores.device) for t in ordered_pairs([e.ranks for e in examples]))
        absolute = column(examples, scores.device)
        loss, sums = anchored_reward_loss(scores, better, worse, weight, absolute, rows=units, alpha=self.alpha)
        return loss, {name: sums[name] for name in ("accuracy", "margin", "squared_error")}
