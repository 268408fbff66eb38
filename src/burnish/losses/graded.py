"""Reward model with soft labels by preference level and four graded heads (Apple foundation models; spec §B.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from burnish.errors import DataError
from burnish.losses.reward import response_weights
from burnish.losses.segments import accumulator
from burnish.losses.soft_labels import soft_label_loss

# Probability that the preferred response is the better one, by `records.STRENGTHS` (AFM,
# arXiv:2407.21075; spec §B.2): significantly, better, slightly, negligibly better. There is no tie.
LEVEL_TARGETS: Mapping[int, float] = {4: 0.95, 3: 0.85, 2: 0.75, 1: 0.65}

# A head for each question of `records.GRADES`, in that order, with three classes.
UNGRADED = -1


def level_targets(strengths: Sequence[int | None], targets: Mapping[int, float] = LEVEL_TARGETS) -> Tensor:
    """The soft label of each pair's level.

    Raises:
        DataError: a level without a target, such as a tie.
    """
    for number, strength in enumerate(strengths):
        if strength not in targets:
            raise DataError(
                f"pair {number} has preference level {strength}, which has no soft label; levels are "
                f"{', '.join(map(str, sorted(targets)))}: drop ties and pairs without a level before training"
            )
    return torch.tensor([targets[strength] for strength in strengths], dtype=torch.float64)


def optimum_margin(target: float) -> float:
    """The score difference at which a pair's ranking loss is least: logit(p); infinite at p = 1."""
    return math.inf if target == 1 else math.log(target / (1 - target))


def graded_reward_loss(
    scores: Tensor,
    better: Tensor,
    worse: Tensor,
    weight: Tensor,
    *,
    rows: int,
    targets: Tensor,
    grade_logits: Tensor,
    grades: Tensor,
    grade_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean ranking loss with soft labels, and of its grading loss.

        D = r(x, y_c) - r(x, y_r)
        L = (1/B) sum_rows [ -p log sigmoid(D) - (1 - p) log sigmoid(-D)
                             + lambda sum_g (CE(u_g(x, y_c), z_c,g) + CE(u_g(x, y_r), z_r,g)) ]

    AFM (arXiv:2407.21075; spec §B.2): p by level in `LEVEL_TARGETS`, a head for each of `records.GRADES`. dL/dD =
    sigmoid(D) - p: a difference beyond logit(p) is pushed back, which a margin never does; p = 1 is Bradley-Terry.
    lambda is ASSUMED wherever it is set (undisclosed; 0.1 proposed). A missing grade adds nothing and gets a gradient
    of exactly 0; the grading sum is not divided by how many grades there are, as printed. Rows of three (ASSUMED, the
    report has pairs): the row's level holds for each of its pairs, and both terms are the mean over its pairs.

    Args:
        scores: [R] score of each response of this part; higher is better.
        better, worse, weight: [P] from `ordered_pairs`.
        rows: B, the rows of the whole optimiser batch.
        targets: [P] p of each pair, from `level_targets`.
        grade_logits: [R, G, 3] of the graded heads (AFM: G = 4).
        grades: [R, G] whole numbers 0..2, the class; `UNGRADED` where there is none.
        grade_weight: lambda.

    Returns:
        The loss (scalar, nats), and detached sums over this part's rows: `ranking` and `grading` (the two terms, the
        second without lambda), `accuracy` (share of the row's pairs in the right order, a tie counts as wrong),
        `margin` (mean D); over all grades given: `grade_accuracy` (how many are hit) and `graded` (how many there are).
    """
    scores = scores.to(accumulator(scores.dtype))
    weight = weight.to(scores)
    difference = scores[better] - scores[worse]
    ranking = (weight * soft_label_loss(difference, targets.to(scores))).sum()
    known = grades != UNGRADED
    # where before the softmax: an ungraded cell gets a gradient of exactly 0, whatever its logits
    logits = torch.where(known[..., None], grade_logits.to(accumulator(grade_logits.dtype)), 0.0)
    each = cross_entropy(logits.flatten(0, 1), grades.flatten(), ignore_index=UNGRADED, reduction="none")
    share = response_weights(better, worse, weight, responses=len(scores))
    grading = (share * each.view(grades.shape).sum(1)).sum()
    right = known & (logits.detach().argmax(-1) == grades)
    sums = {
        "ranking": ranking.detach(),
        "grading": grading.detach(),
        "accuracy": (weight * (difference.detach() > 0)).sum(),
        "margin": (weight * difference.detach()).sum(),
        "grade_accuracy": right.to(scores).sum(),
        "graded": known.to(scores).sum(),
    }
    return (ranking + grade_weight * grading) / rows, sums


def level_sums(scores: Tensor, better: Tensor, worse: Tensor, strengths: Tensor) -> dict[str, Tensor]:
    """How many pairs of each level there are, and how many are scored in the right order (a tie is wrong).

    Args:
        scores: [R]. better, worse: [P]. strengths: [P] the levels 1..4 of `records.STRENGTHS`.

    Returns:
        Detached sums `right_level_1` .. `right_level_4`, `pairs_level_1` .. `pairs_level_4`, and `margin_level_1` ..
        `margin_level_4`, the score differences, whose mean is to be compared with `optimum_margin`.
    """
    difference = (scores[better] - scores[worse]).detach().to(accumulator(scores.dtype))
    sums = {}
    for level in sorted(LEVEL_TARGETS):
        here = (strengths == level).to(difference)
        sums |= {f"right_level_{level}": (here * (difference > 0)).sum(), f"pairs_level_{level}": here.sum()}
        sums[f"margin_level_{level}"] = (here * difference).sum()
    return sums
