"""The Bernoulli kernel: by hand, against plain arithmetic, its special cases, and where naive forms overflow."""

import math

import pytest
import torch

from burnish.losses.soft_labels import soft_label_kl, soft_label_loss

LEVELS = {0.95: (2.944, 0.1985), 0.85: (1.735, 0.4227), 0.75: (1.099, 0.5623), 0.65: (0.619, 0.6474)}
GRID = [-30.0, -5.0, -1.0, -0.25, 0.0, 0.5, 2.0, 7.0, 30.0]


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def double(values, grad=False):
    return torch.tensor(values, dtype=torch.float64, requires_grad=grad)


def entropy(p):
    return -p * math.log(p) - (1 - p) * math.log(1 - p)


def slope(values):
    """The values and, per element, their gradient: every loss here is elementwise."""

    def of(loss, *inputs):
        return torch.autograd.grad(loss(*inputs).sum(), inputs[0])[0]

    return of(*values)


def test_three_rows_by_hand():
    loss = soft_label_loss(double([0.0, math.log(3), -math.log(3)]), double([0.3, 1.0, 0.75]))
    # sigmoid: 1/2, 3/4, 1/4
    hand = [math.log(2), math.log(4 / 3), 0.75 * math.log(4) + 0.25 * math.log(4 / 3)]
    assert loss.tolist() == pytest.approx(hand, rel=1e-12)


@pytest.mark.parametrize("p", [0.0, 0.2, 0.65, 0.95, 1.0])
def test_value_and_gradient_agree_with_plain_arithmetic(p):
    logit = double(GRID, grad=True)
    flat = [-p * math.log(sigmoid(z)) - (1 - p) * math.log(1 - sigmoid(z)) for z in GRID[1:-1]]
    assert soft_label_loss(logit, p)[1:-1].tolist() == pytest.approx(flat, rel=1e-11, abs=1e-12)
    assert slope((lambda z: soft_label_loss(z, p), logit)).tolist() == pytest.approx(
        [sigmoid(z) - p for z in GRID], rel=1e-12, abs=1e-12
    )


def test_gradcheck():
    logit, p = double([-3.0, 0.1, 4.0], grad=True), double([0.2, 0.85, 1.0])
    assert torch.autograd.gradcheck(lambda z: soft_label_loss(z, p), logit)
    assert torch.autograd.gradcheck(soft_label_kl, (logit, double([2.0, -1.0, 3.0], grad=True)))


def test_the_label_carries_no_gradient():
    logit, p = double([0.5], grad=True), double([0.7], grad=True)
    loss = soft_label_loss(logit, p).sum()
    assert torch.autograd.grad(loss, p, allow_unused=True) == (None,)


def test_p_1_is_bradley_terry_and_p_1_less_eps_is_cdpo():
    logit = double(GRID[1:-1])
    bradley_terry = [math.log1p(math.exp(-z)) for z in GRID[1:-1]]
    conservative = [0.9 * math.log1p(math.exp(-z)) + 0.1 * math.log1p(math.exp(z)) for z in GRID[1:-1]]
    assert soft_label_loss(logit, 1.0).tolist() == pytest.approx(bradley_terry, rel=1e-12)
    assert soft_label_loss(logit, 1 - 0.1).tolist() == pytest.approx(conservative, rel=1e-12)


@pytest.mark.parametrize("p", LEVELS)
def test_graded_ranking_has_its_optimum_at_the_level(p):
    margin, least = LEVELS[p]
    optimum = double([math.log(p / (1 - p))], grad=True)
    assert optimum.item() == pytest.approx(margin, abs=1e-3)
    assert soft_label_loss(optimum, p).item() == pytest.approx(least, abs=5e-5) == pytest.approx(entropy(p), abs=5e-5)
    assert abs(slope((lambda z: soft_label_loss(z, p), optimum)).item()) < 1e-12
    # a margin beyond the optimum is pushed back, one below it is pushed on
    beyond, below = double([margin + 1], grad=True), double([margin - 1], grad=True)
    assert slope((lambda z: soft_label_loss(z, p), beyond)) > 0 > slope((lambda z: soft_label_loss(z, p), below))


def test_a_sigmoid_label_less_its_entropy_is_the_divergence():
    a, b = (t.flatten() for t in torch.meshgrid(double(GRID[1:-1]), double(GRID[1:-1]), indexing="ij"))
    less = torch.tensor([entropy(sigmoid(x)) for x in b.tolist()], dtype=torch.float64)
    torch.testing.assert_close(soft_label_loss(a, b.sigmoid()) - less, soft_label_kl(a, b), rtol=0, atol=1e-12)


def test_the_divergence_agrees_with_plain_arithmetic():
    for a in GRID[1:-1]:
        for b in GRID[1:-1]:
            p, q = sigmoid(b), sigmoid(a)
            flat = p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q))
            assert soft_label_kl(double(a), double(b)).item() == pytest.approx(flat, abs=1e-12)


def test_the_gradient_of_the_divergence_is_the_difference_of_the_sigmoids():
    a, b = (t.flatten() for t in torch.meshgrid(double(GRID), double(GRID), indexing="ij"))
    a.requires_grad_()
    exact = [sigmoid(x) - sigmoid(y) for x, y in zip(a.tolist(), b.tolist())]
    assert slope((soft_label_kl, a, b)).tolist() == pytest.approx(exact, abs=1e-12)


def test_the_divergence_is_zero_where_the_logits_are_equal_and_positive_elsewhere():
    a, b = (t.flatten() for t in torch.meshgrid(double(GRID), double(GRID), indexing="ij"))
    loss = soft_label_kl(a, b)
    assert torch.equal(loss == 0, a == b) and bool((loss >= 0).all())
    assert soft_label_kl(double([2.0]), double([2.001])) > 0 and soft_label_kl(double([2.001]), double([2.0])) > 0


def test_negating_both_logits_leaves_the_divergence_unchanged():
    a, b = double([-3.0, 0.2, 5.0, 1.0]), double([1.0, -0.7, 2.0, 9.0])
    assert torch.equal(soft_label_kl(-a, -b), soft_label_kl(a, b))


@pytest.mark.parametrize("p", [0.0, 0.25, 1.0])
def test_far_out_in_float32_value_and_gradient_are_exact(p):
    logit = torch.tensor([1e4, -1e4], requires_grad=True)
    loss = soft_label_loss(logit, p)
    assert loss.tolist() == [(1 - p) * 1e4, p * 1e4]
    assert torch.autograd.grad(loss.sum(), logit)[0].tolist() == [1 - p, -p]


def test_the_divergence_is_finite_far_out_in_float32():
    a = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    b = torch.tensor([-1e4, 1e4, 1e4, -1e4])
    loss = soft_label_kl(a, b)
    assert loss.tolist() == [1e4, 1e4, 0, 0]
    assert torch.autograd.grad(loss.sum(), a)[0].tolist() == [1, -1, 0, 0]


def test_a_hard_label_does_not_turn_an_infinite_margin_into_nan():
    logit = double([math.inf, -math.inf], grad=True)
    loss = soft_label_loss(logit, double([1.0, 0.0]))
    assert loss.tolist() == [0, 0] and torch.autograd.grad(loss.sum(), logit)[0].tolist() == [0, 0]


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(kind):
    logit, target = torch.tensor([0.3, 9.0], dtype=kind), torch.tensor([-0.2, 8.0], dtype=kind)
    for loss, exact in (
        (soft_label_loss(logit, 0.85), soft_label_loss(logit.double(), 0.85)),
        (soft_label_kl(logit, target), soft_label_kl(logit.double(), target.double())),
    ):
        assert loss.dtype == torch.float32
        torch.testing.assert_close(loss.double(), exact, rtol=1e-5, atol=1e-9)
