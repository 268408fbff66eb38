"""Attribute regression: by hand, against a plain loop, what is missing, and one reward from five grades."""

import itertools
import math
import statistics

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.attributes import (
    ATTRIBUTES,
    LLAMA3_70B_WEIGHTS,
    MISSING,
    NEMOTRON_WEIGHTS,
    RELEASED_HEAD,
    aggregate,
    annotations,
    attribute_fit,
    attribute_loss,
    count_labels,
)

NAN = math.nan
PREDICTED = [[3.0, 2.0, 4.0, 1.0, 1.5], [0.0, 1.0, 2.0, 3.0, 4.0], [2.5, 2.5, 2.5, 2.5, 2.5]]
LABELS = [[4.0, 2.0, 3.0, 1.0, 1.0], [MISSING, 1.0, MISSING, NAN, 2.0], [2.0, MISSING, NAN, MISSING, MISSING]]
THERE = torch.tensor([[1, 1, 1, 1, 1], [0, 1, 0, 0, 1], [1, 0, 0, 0, 0]]).bool()


def wide(values):
    return torch.tensor(values, dtype=torch.float64)


def test_three_rows_by_hand():
    assert count_labels(wide(LABELS)) == 8
    loss, sums = attribute_loss(wide(PREDICTED), wide(LABELS), labels_of_batch=8)
    assert loss.item() == pytest.approx((1 + 0 + 1 + 0 + 0.25 + 0 + 4 + 0.25) / 8, rel=1e-12)
    assert sums["squared_error"].item() == pytest.approx(6.5) and sums["labelled"].item() == 8


def test_missing_labels_get_a_gradient_of_exactly_zero_whatever_is_predicted():
    for value in (1.0, math.inf, NAN):
        predicted = torch.where(THERE, wide(PREDICTED), value).requires_grad_()
        loss, _ = attribute_loss(predicted, wide(LABELS), labels_of_batch=8)
        loss.backward()
        assert loss.item() == pytest.approx(6.5 / 8, rel=1e-12)
        assert (predicted.grad[~THERE] == 0).all()
        by_hand = 2 * (wide(PREDICTED) - wide(LABELS))[THERE] / 8
        assert torch.allclose(predicted.grad[THERE], by_hand, rtol=1e-12, atol=0)


def test_a_batch_without_labels_raises_and_a_part_without_labels_does_not():
    nothing = torch.full((2, 5), MISSING)
    with pytest.raises(DataError, match="no response of this batch has a label"):
        attribute_loss(torch.zeros(2, 5), nothing, labels_of_batch=count_labels(nothing))
    predicted = torch.zeros(2, 5, requires_grad=True)
    loss, sums = attribute_loss(predicted, nothing, labels_of_batch=8)
    loss.backward()
    assert loss.item() == 0 and sums["labelled"].item() == 0 and (predicted.grad == 0).all()


def test_flat_second_implementation_agrees_and_parts_add_up():
    generator = torch.Generator().manual_seed(4)
    predicted = torch.randn(6, 9, dtype=torch.float64, generator=generator).requires_grad_()
    labels = torch.randint(0, 5, (6, 9), generator=generator).to(torch.float64)
    labels[torch.rand(6, 9, generator=generator) < 0.4] = MISSING
    labels[:, :4] = MISSING  # the untrained columns of the released head
    count = count_labels(labels)
    loss, _ = attribute_loss(predicted, labels, labels_of_batch=count)
    flat, known = torch.zeros((), dtype=torch.float64), 0
    for row, column in itertools.product(range(6), range(9)):
        if labels[row, column].item() != -100:
            flat, known = flat + (predicted[row, column] - labels[row, column].item()) ** 2, known + 1
    flat = flat / known
    (mine,) = torch.autograd.grad(loss, predicted, retain_graph=True)
    (second,) = torch.autograd.grad(flat, predicted)
    assert known == count and 0 < count < 30
    assert abs((loss - flat).item()) < 1e-12 and (mine - second).norm() < 1e-12 * second.norm()
    assert (mine[:, :4] == 0).all() and len(RELEASED_HEAD) == 9 and RELEASED_HEAD[4:] == ATTRIBUTES
    parts = [attribute_loss(predicted[at], labels[at], labels_of_batch=count)[0] for at in (slice(0, 1), slice(1, 6))]
    assert sum(parts).item() == pytest.approx(loss.item(), rel=1e-12)
    # the mean of the parts' own means is another number
    own = [attribute_loss(predicted[at], labels[at], labels_of_batch=count_labels(labels[at]))[0].item()
           for at in (slice(0, 1), slice(1, 6))]  # fmt: skip
    assert abs(sum(own) / 2 - loss.item()) > 1e-3


def test_the_reward_by_hand_and_its_weights():
    reward = aggregate(wide(PREDICTED), NEMOTRON_WEIGHTS)
    first = 0.30 * 3 + 0.74 * 2 + 0.46 * 4 + 0.47 * 1 - 0.33 * 1.5
    assert reward[0].item() == pytest.approx(first, rel=1e-12) and reward.shape == (3,)
    assert aggregate(wide(PREDICTED[0]), LLAMA3_70B_WEIGHTS).item() == pytest.approx(
        0.65 * 3 + 0.80 * 2 + 0.45 * 4 + 0.55 * 1 - 0.40 * 1.5, rel=1e-12
    )
    assert aggregate(wide(PREDICTED), None).tolist() == pytest.approx([2.3, 2.0, 2.5], rel=1e-12)
    with pytest.raises(SettingsError, match="5 weights were given for 9"):
        aggregate(torch.zeros(1, 9), NEMOTRON_WEIGHTS)


def test_permuting_attributes_with_their_weights_leaves_the_reward_and_without_them_does_not():
    reward = aggregate(wide(PREDICTED[0]), NEMOTRON_WEIGHTS).item()
    alone = set()
    for order in itertools.permutations(range(5)):
        shuffled = wide(PREDICTED[0])[list(order)]
        together = aggregate(shuffled, [NEMOTRON_WEIGHTS[k] for k in order]).item()
        assert together == pytest.approx(reward, rel=1e-14)
        alone.add(round(aggregate(shuffled, NEMOTRON_WEIGHTS).item(), 9))
    assert len(alone) > 60


@pytest.mark.parametrize("weights", [NEMOTRON_WEIGHTS, LLAMA3_70B_WEIGHTS])
def test_raising_verbosity_alone_lowers_the_reward_and_raising_any_other_lifts_it(weights):
    base = wide([2.0] * 5)
    for column, name in enumerate(ATTRIBUTES):
        raised = base.clone()
        raised[column] += 1
        rises = aggregate(raised, weights).item() > aggregate(base, weights).item()
        assert rises == (name != "verbosity")


def test_annotations_are_whole_grades_from_0_to_4():
    said = annotations(wide([-1.0, 0.49, 0.5, 1.5, 2.51, 3.6, 9.0]))
    assert said.tolist() == [0, 0, 0, 2, 3, 4, 4]


def test_fit_per_attribute_against_plain_statistics():
    generator = torch.Generator().manual_seed(6)
    predicted = torch.randn(40, 5, dtype=torch.float64, generator=generator)
    labels = predicted * wide([1.0, -1.0, 0.5, 0.0, 1.0]) + torch.randn(40, 5, dtype=torch.float64, generator=generator)
    labels[torch.rand(40, 5, generator=generator) < 0.3] = MISSING
    labels[:, 4] = NAN
    error, pearson = attribute_fit(predicted, labels)
    for column in range(4):
        both = [
            (p, y)
            for p, y in zip(predicted[:, column].tolist(), labels[:, column].tolist(), strict=True)
            if y != MISSING
        ]
        assert 10 < len(both) < 40
        assert error[column].item() == pytest.approx(statistics.fmean((p - y) ** 2 for p, y in both), rel=1e-12)
        mine, theirs = zip(*both, strict=True)
        assert pearson[column].item() == pytest.approx(statistics.correlation(mine, theirs), rel=1e-12)
    assert error[4].isnan() and pearson[4].isnan()


def test_half_precision_is_summed_in_float32():
    predicted = torch.full((4096, 5), 1.5, dtype=torch.bfloat16)
    loss, sums = attribute_loss(predicted, torch.ones(4096, 5), labels_of_batch=5 * 4096)
    assert loss.dtype == torch.float32 and loss.item() == 0.25 and sums["squared_error"].item() == 5120
    assert aggregate(predicted[:1], NEMOTRON_WEIGHTS).dtype == torch.float32
