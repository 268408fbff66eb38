"""Bradley-Terry over n-way rows: by hand, against a plain double loop, and its invariances."""

import math

import pytest
import torch

from burnish.losses import ordered_pairs, reward_loss


def pair_loss(difference):
    return math.log1p(math.exp(-difference))


def test_three_rows_by_hand():
    ranks = [[0, 1], [0, 1, 2], [1, 0]]
    scores = torch.tensor([1.0, -1.0, 2.0, 1.0, -1.0, 3.0, 0.0], dtype=torch.float64)
    loss, sums = reward_loss(scores, *ordered_pairs(ranks), rows=3)
    rows = [pair_loss(2), (pair_loss(1) + pair_loss(3) + pair_loss(2)) / 3, pair_loss(-3)]
    assert math.isclose(loss.item(), sum(rows) / 3, rel_tol=1e-12)
    assert sums["accuracy"].item() == pytest.approx(2.0)  # two rows right, one wrong
    assert sums["margin"].item() == pytest.approx(2 + 2 - 3)


def test_equal_scores_cost_ln_2_and_count_as_wrong():
    loss, sums = reward_loss(torch.zeros(3), *ordered_pairs([[0, 1, 2]]), rows=1)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6) and sums["accuracy"].item() == 0


def test_flat_second_implementation_agrees_in_value_and_gradient():
    generator = torch.Generator().manual_seed(5)
    ranks = [torch.randperm(n, generator=generator).tolist() for n in (2, 3, 3, 2, 3)]
    scores = torch.randn(13, dtype=torch.float64, generator=generator).requires_grad_()
    loss, _ = reward_loss(scores, *ordered_pairs(ranks), rows=5)
    (gradient,) = torch.autograd.grad(loss, scores)
    total, start = torch.zeros((), dtype=torch.float64), 0
    for row in ranks:
        mine = scores[start : start + len(row)]
        pairs = [(i, j) for i in range(len(row)) for j in range(len(row)) if row[i] < row[j]]
        total = total + torch.stack([-torch.log(1 / (1 + torch.exp(mine[j] - mine[i]))) for i, j in pairs]).mean() / 5
        start += len(row)
    (flat,) = torch.autograd.grad(total, scores)
    assert abs((loss - total).item()) < 1e-12 and (gradient - flat).norm() < 1e-12 * flat.norm()


def test_order_within_a_row_does_not_matter():
    scores = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    straight = reward_loss(scores, *ordered_pairs([[0, 1, 2]]), rows=1)[0]
    order = [2, 0, 1]
    shuffled = reward_loss(scores[order], *ordered_pairs([order]), rows=1)[0]
    assert straight.item() == pytest.approx(shuffled.item(), rel=1e-14)


def test_margin_moves_the_loss_and_equal_ranks_make_no_pair():
    scores = torch.tensor([2.0, 0.0])
    plain = reward_loss(scores, *ordered_pairs([[0, 1]]), rows=1)[0].item()
    wide = reward_loss(scores, *ordered_pairs([[0, 1]]), rows=1, margin=torch.tensor([1.0]))[0].item()
    assert wide == pytest.approx(pair_loss(1), rel=1e-6) and plain == pytest.approx(pair_loss(2), rel=1e-6)
    better, worse, weight = ordered_pairs([[0, 0], [0, 1, 1]])
    assert better.tolist() == [2, 2] and worse.tolist() == [3, 4] and weight.tolist() == [0.5, 0.5]
