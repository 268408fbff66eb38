"""Reward modelling: Bradley-Terry over the ordered pairs of a ranked row."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.losses.segments import accumulator


def ordered_pairs(ranks: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair of responses of which one is ranked above the other.

    Args:
        ranks: for each row, the rank of each of its responses in the order they stand; 0 is best. Equal ranks make no
            pair. Responses are numbered through all rows.

    Returns:
        better [P] and worse [P], numbers of responses; weight [P], one over the number of pairs of the pair's row, so
        that each row weighs 1. A row without a pair weighs nothing.
    """
    better: list[int] = []
    worse: list[int] = []
    weight: list[float] = []
    start = 0
    for row in ranks:
        pairs = [(i, j) for i, a in enumerate(row) for j, b in enumerate(row) if a < b]
        better += [start + i for i, _ in pairs]
        worse += [start + j for _, j in pairs]
        weight += [1 / len(pairs) for _ in pairs]
        start += len(row)
    return torch.tensor(better), torch.tensor(worse), torch.tensor(weight, dtype=torch.float64)


def reward_loss(
    scores: Tensor, better: Tensor, worse: Tensor, weight: Tensor, *, rows: int, margin: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean ranking loss.

        L = (1/B) sum_rows (1/|pairs of row|) sum_pairs -log sigmoid(r(x, y_w) - r(x, y_l) - m)

    Llama 3 drops the margin m of Llama 2 (spec §3.3). With edited > chosen > rejected a row has three pairs, and their
    mean is the row's loss (ASSUMED: the report does not say how the pairs are combined). With equal scores L = ln 2.

    Args:
        scores: [R] score of each response of this part; higher is better.
        better, worse: [P] numbers of responses, from `ordered_pairs`.
        weight: [P] one over the number of pairs of the pair's row.
        rows: B, the rows of the whole optimiser batch.
        margin: [P] in units of the score, or None for no margin.

    Returns:
        The loss (scalar, nats), and detached sums over this part's rows: `accuracy` (share of the row's pairs scored in
        the right order, a tie counts as wrong) and `margin` (mean score difference of the row's pairs).
    """
    scores = scores.to(accumulator(scores.dtype))
    weight = weight.to(scores)
    difference = scores[better] - scores[worse]
    logits = difference if margin is None else difference - margin.to(scores)
    loss = -(weight * logsigmoid(logits)).sum()
    known = difference.detach()
    sums = {"accuracy": (weight * (known > 0)).sum(), "margin": (weight * known).sum()}
    return loss / rows, sums
