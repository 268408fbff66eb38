"""Rankings, priors, anchors, labels: by hand, against plain loops, in parts, and what each loss must not move."""

import itertools
import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.reward import (
    anchored_reward_loss,
    ordered_pairs,
    penalised_reward_loss,
    pointwise_reward_loss,
    response_weights,
    reward_loss,
    scaled_scores,
    step_reward_loss,
)

NAN = math.nan
# three rows: two ranked, three ranked, two ranked the other way round
RANKS = [[0, 1], [0, 1, 2], [1, 0]]
SCORES = [1.0, -1.0, 2.0, 1.0, -1.0, 3.0, 0.0]


def pair_loss(difference):
    return math.log1p(math.exp(-difference))


def wide(values):
    return torch.tensor(values, dtype=torch.float64)


def drawn(count, seed=5):
    return torch.randn(count, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)).requires_grad_()


def flat_pairs(scores, ranks, each):
    """The mean over rows of the mean over ordered pairs of `each(winner's number, loser's number)`: a plain loop."""
    total, start = 0.0, 0
    for row in ranks:
        pairs = [(start + i, start + j) for i in range(len(row)) for j in range(len(row)) if row[i] < row[j]]
        if pairs:
            total = total + sum(each(i, j) for i, j in pairs) / len(pairs)
        start += len(row)
    return total / len(ranks)


def agree(loss, flat, scores):
    (gradient,) = torch.autograd.grad(loss, scores)
    (second,) = torch.autograd.grad(flat, scores)
    assert abs((loss - flat).item()) < 1e-12 and (gradient - second).norm() < 1e-12 * second.norm()


def test_three_rows_by_hand():
    loss, sums = reward_loss(wide(SCORES), *ordered_pairs(RANKS), rows=3)
    rows = [pair_loss(2), (pair_loss(1) + pair_loss(3) + pair_loss(2)) / 3, pair_loss(-3)]
    assert math.isclose(loss.item(), sum(rows) / 3, rel_tol=1e-12)
    assert sums["accuracy"].item() == pytest.approx(2.0)  # two rows right, one wrong
    assert sums["margin"].item() == pytest.approx(2 + 2 - 3)


def test_margin_and_scaled_variants_by_hand():
    scores, pairs = wide([2.0, 0.0, 1.0, 0.0, 0.0, 1.0]), ordered_pairs([[0, 1]] * 3)
    strength = wide([3.0, 2.0, 1.0])
    plain, sums = reward_loss(scores, *pairs, rows=3)
    margin, _ = reward_loss(scores, *pairs, rows=3, margin=strength)
    scaled, of_scaled = reward_loss(scores, *pairs, rows=3, scale=strength)
    assert plain.item() == pytest.approx((pair_loss(2) + pair_loss(1) + pair_loss(-1)) / 3, rel=1e-12)
    assert margin.item() == pytest.approx((pair_loss(-1) + pair_loss(-1) + pair_loss(-2)) / 3, rel=1e-12)
    assert scaled.item() == pytest.approx((3 * pair_loss(2) + 2 * pair_loss(1) + pair_loss(-1)) / 3, rel=1e-12)
    assert sums["accuracy"].item() == of_scaled["accuracy"].item() == 2


def test_equal_scores_cost_ln_2_and_count_as_wrong():
    loss, sums = reward_loss(torch.zeros(3), *ordered_pairs([[0, 1, 2]]), rows=1)
    assert loss.item() == pytest.approx(math.log(2), rel=1e-6) and sums["accuracy"].item() == 0


def test_flat_second_implementation_agrees_in_value_and_gradient():
    ranks = [torch.randperm(n, generator=torch.Generator().manual_seed(n)).tolist() for n in (2, 3, 3, 2, 3)]
    scores = drawn(13)
    loss, _ = reward_loss(scores, *ordered_pairs(ranks), rows=5)
    agree(loss, flat_pairs(scores, ranks, lambda i, j: torch.log(1 + torch.exp(scores[j] - scores[i]))), scores)


def test_order_within_a_row_does_not_matter():
    scores = wide([0.3, -0.7, 1.1])
    straight = reward_loss(scores, *ordered_pairs([[0, 1, 2]]), rows=1)[0]
    order = [2, 0, 1]
    shuffled = reward_loss(scores[order], *ordered_pairs([order]), rows=1)[0]
    assert straight.item() == pytest.approx(shuffled.item(), rel=1e-14)


def test_equal_ranks_make_no_pair_and_rows_without_pairs_weigh_nothing():
    better, worse, weight = ordered_pairs([[0, 0], [0, 1, 1]])
    assert better.tolist() == [2, 2] and worse.tolist() == [3, 4] and weight.tolist() == [0.5, 0.5]
    scores = drawn(2)
    loss, _ = reward_loss(scores, *ordered_pairs([[0, 0]]), rows=1)
    loss.backward()
    assert loss.item() == 0 and scores.grad.tolist() == [0, 0]


def test_a_row_of_pairs_weighs_two_however_many_answers_it_has():
    weights = response_weights(*ordered_pairs([[0, 1], [2, 0, 1], [0, 0]]), responses=7)
    assert weights.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 2 / 3, 0, 0], rel=1e-15)


def test_penalty_by_hand_and_against_a_loop():
    loss, sums = penalised_reward_loss(wide(SCORES), *ordered_pairs(RANKS), rows=3, penalty=0.5)
    bt = reward_loss(wide(SCORES), *ordered_pairs(RANKS), rows=3)[0].item()
    # squares over the pairs: 1 + 1; (4 + 1) and (4 + 1) and (1 + 1) over three; 9 + 0
    squares = 2 + (5 + 5 + 2) / 3 + 9
    assert loss.item() == pytest.approx(bt + 0.5 * squares / 3, rel=1e-12)
    assert sums["ranking"].item() == pytest.approx(3 * bt) and sums["square"].item() == pytest.approx(squares / 2)
    # mean scores over the pairs' ends: 0, (3 + 1 + 0) / 3 / 2, 3 / 2
    assert sums["score"].item() == pytest.approx(0 + 2 / 3 + 1.5)
    scores = drawn(7)
    loss, _ = penalised_reward_loss(scores, *ordered_pairs(RANKS), rows=3, penalty=0.3)
    flat = flat_pairs(
        scores,
        RANKS,
        lambda i, j: torch.log(1 + torch.exp(scores[j] - scores[i])) + 0.3 * (scores[i] ** 2 + scores[j] ** 2),
    )
    agree(loss, flat, scores)


def test_penalty_gradient_by_finite_difference_and_lambda_0_is_bradley_terry():
    pairs, scores = ordered_pairs(RANKS), drawn(7)

    def value(s, penalty=0.4):
        return penalised_reward_loss(s, *pairs, rows=3, penalty=penalty)[0]

    (gradient,) = torch.autograd.grad(value(scores), scores)
    for place in range(7):
        step = torch.zeros(7, dtype=torch.float64)
        step[place] = 1e-6
        slope = (value(scores + step) - value(scores - step)).item() / 2e-6
        assert slope == pytest.approx(gradient[place].item(), abs=1e-8)
    plain = reward_loss(scores, *pairs, rows=3)[0]
    assert torch.equal(value(scores, 0.0), plain)
    assert torch.equal(torch.autograd.grad(value(scores, 0.0), scores)[0], torch.autograd.grad(plain, scores)[0])


def test_only_the_penalty_sees_a_constant_and_pulls_the_mean_score_to_0():
    pairs, scores = ordered_pairs(RANKS), (drawn(7).detach() + 3).requires_grad_()
    for penalty, still in ((0.0, True), (0.1, False)):
        here, there = (
            penalised_reward_loss(s, *pairs, rows=3, penalty=penalty)[0].item() for s in (scores, scores + 1)
        )
        assert (abs(here - there) < 1e-12) == still
    means = {}
    for penalty in (0.0, 0.1):
        moved = scores.detach().clone().requires_grad_()
        optimiser = torch.optim.SGD([moved], lr=1.0)
        for _ in range(400):
            optimiser.zero_grad()
            penalised_reward_loss(moved, *pairs, rows=3, penalty=penalty)[0].backward()
            optimiser.step()
        means[penalty] = moved.detach().mean().item()
    assert means[0.0] == pytest.approx(scores.mean().item()) and abs(means[0.0]) > 2 and abs(means[0.1]) < 1e-6


# absolute scores: both of row 0, one of row 1, one of row 2
ABSOLUTE = [0.5, -1.0, NAN, 0.0, NAN, 1.0, NAN]


def test_anchor_by_hand_and_gradient_by_hand():
    scores = wide(SCORES).requires_grad_()
    pairs = ordered_pairs(RANKS)
    loss, sums = anchored_reward_loss(scores, *pairs, wide(ABSOLUTE), rows=3, alpha=0.1)
    bt = reward_loss(scores, *pairs, rows=3)[0]
    # row 0: 0.25 + 0; row 1: the middle answer, in two of three pairs, is off by 1; row 2: off by 2
    assert loss.item() == pytest.approx(bt.item() + 0.1 * (0.25 + 2 / 3 + 4) / 3, rel=1e-12)
    assert sums["squared_error"].item() == pytest.approx(0.25 + 0 + 1 + 4) and sums["scored"].item() == 4
    difference = torch.autograd.grad(loss, scores)[0] - torch.autograd.grad(bt, scores)[0]
    by_hand = [0.1 * 2 * 0.5 / 3, 0.0, 0.0, 0.1 * 2 * (2 / 3) / 3, 0.0, 0.1 * 2 * 2 / 3, 0.0]
    assert difference.tolist() == pytest.approx(by_hand, rel=1e-12, abs=1e-16)


def test_anchor_agrees_with_a_loop():
    scores, pairs = drawn(7), ordered_pairs(RANKS)
    loss, _ = anchored_reward_loss(scores, *pairs, wide(ABSOLUTE), rows=3, alpha=0.7)

    def square(i):
        return 0.0 if math.isnan(ABSOLUTE[i]) else (scores[i] - ABSOLUTE[i]) ** 2

    def each(i, j):
        return torch.log(1 + torch.exp(scores[j] - scores[i])) + 0.7 * (square(i) + square(j))

    agree(loss, flat_pairs(scores, RANKS, each), scores)


def test_anchor_at_alpha_0_or_without_scores_is_bradley_terry():
    scores, pairs = drawn(7), ordered_pairs(RANKS)
    plain = reward_loss(scores, *pairs, rows=3)[0]
    nothing = wide([NAN] * 7)
    for absolute, alpha in ((wide(ABSOLUTE), 0.0), (nothing, 0.1)):
        loss, _ = anchored_reward_loss(scores, *pairs, absolute, rows=3, alpha=alpha)
        assert torch.equal(loss, plain)
        gradients = [torch.autograd.grad(x, scores, retain_graph=True)[0] for x in (loss, plain)]
        assert torch.equal(*gradients)


def test_a_constant_changes_the_anchored_loss_iff_alpha_is_above_0():
    scores, pairs = drawn(7), ordered_pairs(RANKS)
    for alpha, still in ((0.0, True), (0.1, False)):
        here, there = (
            anchored_reward_loss(s, *pairs, wide(ABSOLUTE), rows=3, alpha=alpha)[0].item() for s in (scores, scores + 1)
        )
        assert (abs(here - there) < 1e-12) == still


def test_an_anchor_mends_the_gaps_that_order_alone_gets_wrong():
    """Perfect, bad, bad: people agree more often on which bad answer is worse than on the perfect one's being best."""
    wins = [(0, 1)] * 14 + [(1, 0)] * 6 + [(1, 2)] * 16 + [(2, 1)] * 4
    ranks = [[0, 1]] * 40
    absolute, gaps = wide([1.0, -0.9, -1.0]), {}
    for alpha in (0.0, 0.1):
        tabular = torch.zeros(3, dtype=torch.float64, requires_grad=True)
        optimiser = torch.optim.SGD([tabular], lr=2.0)
        for _ in range(500):
            optimiser.zero_grad()
            index = torch.tensor(wins).flatten()
            loss, _ = anchored_reward_loss(tabular[index], *ordered_pairs(ranks), absolute[index], rows=40, alpha=alpha)
            loss.backward()
            optimiser.step()
        perfect, bad, worse = tabular.tolist()
        gaps[alpha] = (perfect - bad, bad - worse)
    assert gaps[0.0] == pytest.approx((math.log(14 / 6), math.log(16 / 4)), rel=1e-3)
    assert gaps[0.0][0] < gaps[0.0][1] and gaps[0.1][0] > gaps[0.1][1] > 0


def test_absolute_scores_are_laid_on_minus_1_to_1():
    scaled = scaled_scores(wide([0.0, 4.0, 1.0, NAN]), low=0, high=4)
    assert scaled[:3].tolist() == [-1, 1, -0.5] and scaled[3].isnan()
    with pytest.raises(DataError, match="absolute score 5 is outside the scale from 0 to 4"):
        scaled_scores(wide([1.0, 5.0]), low=0, high=4)
    with pytest.raises(SettingsError, match="empty"):
        scaled_scores(wide([1.0]), low=4, high=4)


@pytest.mark.parametrize(("function", "unit"), [(pointwise_reward_loss, "responses"), (step_reward_loss, "steps")])
def test_labels_by_hand(function, unit):
    scores = wide([2.0, -1.0, 0.5, 7.0]).requires_grad_()
    labels = wide([1.0, 1.0, 0.25, NAN])
    loss, sums = function(scores, labels, **{unit: 3})
    soft = 0.25 * pair_loss(0.5) + 0.75 * pair_loss(-0.5)
    assert loss.item() == pytest.approx((pair_loss(2) + pair_loss(-1) + soft) / 3, rel=1e-12)
    loss.backward()
    sigmoid = [1 / (1 + math.exp(-s)) for s in (2.0, -1.0, 0.5)]
    by_hand = [(sigmoid[0] - 1) / 3, (sigmoid[1] - 1) / 3, (sigmoid[2] - 0.25) / 3, 0.0]
    assert scores.grad.tolist() == pytest.approx(by_hand, rel=1e-12) and scores.grad[3].item() == 0
    assert sums["labelled"].item() == 3 and sums["accuracy"].item() == 1  # only the first is on its label's side
    assert sums["brier"].item() == pytest.approx(
        (sigmoid[0] - 1) ** 2 + (sigmoid[1] - 1) ** 2 + (sigmoid[2] - 0.25) ** 2
    )


def test_an_unlabelled_step_reaches_nothing_whatever_its_value():
    for value in (math.inf, -math.inf, NAN):
        logits = wide([0.3, value]).requires_grad_()
        loss, _ = step_reward_loss(logits, wide([0.0, NAN]), steps=1)
        loss.backward()
        assert loss.item() == pytest.approx(pair_loss(-0.3), rel=1e-12) and logits.grad[1].item() == 0


def test_a_soft_step_label_is_met_at_its_share_and_costs_its_entropy():
    shares = [1 / 8, 4 / 8, 7 / 8]  # of N = 8 completions
    logits = wide([math.log(s / (1 - s)) for s in shares]).requires_grad_()
    loss, _ = step_reward_loss(logits, wide(shares), steps=3)
    loss.backward()
    entropy = -sum(s * math.log(s) + (1 - s) * math.log(1 - s) for s in shares) / 3
    assert loss.item() == pytest.approx(entropy, rel=1e-12) and logits.grad.abs().max() < 1e-15
    for shift in (-0.1, 0.1):
        assert step_reward_loss(logits + shift, wide(shares), steps=3)[0].item() > entropy + 1e-4


def test_labels_agree_with_a_loop_in_value_and_gradient():
    scores = drawn(20)
    labels = torch.rand(20, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    labels[::5] = NAN
    loss, _ = pointwise_reward_loss(scores, labels, responses=16)
    flat = sum(
        (-y * torch.log(1 / (1 + torch.exp(-s))) - (1 - y) * torch.log(1 - 1 / (1 + torch.exp(-s)))) / 16
        for s, y in zip(scores, labels.tolist(), strict=True)
        if not math.isnan(y)
    )
    agree(loss, flat, scores)


def calibration_error(probabilities, labels, bins=10):
    """Expected calibration error, bin by bin."""
    total = 0.0
    for number in range(bins):
        here = [n for n, p in enumerate(probabilities) if min(int(p * bins), bins - 1) == number]
        if here:
            total += abs(sum(labels[n] - probabilities[n] for n in here))
    return total / len(labels)


def test_the_pointwise_head_is_calibrated_on_separable_toy_data():
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(400, 3, dtype=torch.float64, generator=generator)
    labels = (features[:, 0] - features[:, 1] > 0).to(torch.float64)
    head = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([head], lr=5.0)
    for _ in range(600):
        optimiser.zero_grad()
        pointwise_reward_loss(features[:300] @ head, labels[:300], responses=300)[0].backward()
        optimiser.step()
    held, truth = features[300:] @ head.detach(), labels[300:].tolist()
    assert sum((s > 0) == (y > 0) for s, y in zip(held.tolist(), truth, strict=True)) >= 97
    assert calibration_error(held.sigmoid().tolist(), truth) < 0.05
    # the measure can fail: a head that is never sure is not calibrated here
    assert calibration_error((0.1 * held / held.abs().max()).sigmoid().tolist(), truth) > 0.3


def parts_of(ranks):
    """For each row: its ranks, and the slice of its responses."""
    starts = list(itertools.accumulate(map(len, ranks), initial=0))
    return [([row], slice(start, start + len(row))) for row, start in zip(ranks, starts, strict=False)]


def test_parts_add_up():
    scores, absolute = wide(SCORES), wide(ABSOLUTE)
    cases = [
        (lambda s, a, p, n: reward_loss(s, *p, rows=n), 3),
        (lambda s, a, p, n: penalised_reward_loss(s, *p, rows=n, penalty=0.3), 3),
        (lambda s, a, p, n: anchored_reward_loss(s, *p, a, rows=n, alpha=0.3), 3),
        (lambda s, a, p, n: pointwise_reward_loss(s, (a + 1) / 2, responses=n), 4),
        (lambda s, a, p, n: step_reward_loss(s, (a + 1) / 2, steps=n), 4),
    ]
    for function, units in cases:
        whole, sums = function(scores, absolute, ordered_pairs(RANKS), units)
        parts = [function(scores[at], absolute[at], ordered_pairs(row), units) for row, at in parts_of(RANKS)]
        assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-12)
        for name, value in sums.items():
            assert sum(part[name].item() for _, part in parts) == pytest.approx(value.item(), rel=1e-12), name


def test_half_precision_is_summed_in_float32():
    # 3,000 pairs: in half precision the sum would stop growing or lose its last digits
    scores = torch.tensor([1.0, 0.0] * 3000, dtype=torch.bfloat16)
    pairs = ordered_pairs([[0, 1]] * 3000)
    labels = torch.tensor([1.0, NAN] * 3000)
    anchored, sums = anchored_reward_loss(scores, *pairs, labels, rows=3000, alpha=0.5)
    penalised, _ = penalised_reward_loss(scores, *pairs, rows=3000, penalty=0.5)
    pointwise, counts = pointwise_reward_loss(scores, labels, responses=3000)
    assert anchored.dtype == penalised.dtype == pointwise.dtype == torch.float32
    assert anchored.item() == pytest.approx(pair_loss(1), rel=1e-5)
    assert penalised.item() == pytest.approx(pair_loss(1) + 0.5, rel=1e-5)
    assert pointwise.item() == pytest.approx(pair_loss(1), rel=1e-5)
    assert sums["scored"].item() == counts["labelled"].item() == 3000
