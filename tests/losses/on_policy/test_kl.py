"""Divergences: estimators by hand and in the mean, whole distributions, the reference's likeliest tokens."""

import math

import pytest
import torch

from burnish.errors import SettingsError
from burnish.losses.on_policy import adapted_beta, full_kl, kl_estimate, kl_on_ids, sequence_kl, top_k_kl
from tests.losses.on_policy.material import RESPONSE, drawn, gradient, logprobs

KINDS = ("k1", "k2", "k3")


def test_three_tokens_by_hand():
    mine, other = torch.tensor([-1.0, -2.0, -3.0]).double(), torch.tensor([-1.0, -2.5, -1.0]).double()
    found = {kind: kl_estimate(mine, other, estimator=kind).tolist() for kind in KINDS}
    assert found["k1"] == [0, 0.5, -2] and found["k2"] == [0, 0.125, 2]
    assert found["k3"] == pytest.approx([0, math.exp(-0.5) - 1 + 0.5, math.exp(2) - 1 - 2])


def test_k1_and_k3_are_unbiased_under_the_policy_and_k2_is_not():
    p, q = drawn(1, 6).log_softmax(-1), drawn(2, 6).log_softmax(-1)
    exact = (p.exp() * (p - q)).sum().item()
    mean = {kind: (p.exp() * kl_estimate(p, q, estimator=kind)).sum().item() for kind in KINDS}
    assert mean["k1"] == pytest.approx(exact, rel=1e-12) and mean["k3"] == pytest.approx(exact, rel=1e-12)
    assert abs(mean["k2"] - exact) > 0.02
    # sampled from another policy k3 is biased
    old = drawn(3, 6).log_softmax(-1)
    assert abs((old.exp() * kl_estimate(p, q)).sum().item() - exact) > 0.05


def test_the_gradients_that_the_docstring_states():
    """In the mean over tokens drawn from pi: k1 nothing, k2 that of the KL, k3 that of KL(ref || pi)."""
    at, q = drawn(1, 6), drawn(2, 6).log_softmax(-1)

    def mean(kind):
        def loss(logits):
            p = logits.log_softmax(-1)
            return (p.detach().exp() * kl_estimate(p, q, estimator=kind)).sum()

        return gradient(loss, at)

    reverse = gradient(lambda logits: full_kl(logits, q), at)
    forward = gradient(lambda logits: (q.exp() * (q - logits.log_softmax(-1))).sum(), at)
    assert mean("k1").abs().max() < 1e-15
    assert (mean("k2") - reverse).norm() < 1e-12 * reverse.norm()
    assert (mean("k3") - forward).norm() < 1e-12 * forward.norm() and (forward - reverse).norm() > 0.05


def test_k3_is_never_negative_keeps_its_digits_and_stays_finite():
    gap = torch.tensor([-1e4, -100.0, -25.0, -3.0, -1.0, -1e-4, 0.0, 1e-4, 3.0, 100.0, 1e4])
    for dtype in (torch.float32, torch.float64):
        mine = gap.to(dtype).requires_grad_()
        found = kl_estimate(mine, torch.zeros_like(mine))
        slope = torch.autograd.grad(found.sum(), mine)[0]
        assert found.isfinite().all() and slope.isfinite().all()
        assert (found >= 0).all() and (found[gap != 0] > 0).all() and found[gap == 0] == 0
        # the pull is back towards the reference on both sides, however far
        assert (slope[gap < 0] < 0).all() and (slope[gap > 0] > 0).all()
    assert found[5].item() == pytest.approx(5e-9, rel=1e-4) and found[7].item() == pytest.approx(5e-9, rel=1e-4)
    near = kl_estimate(torch.tensor([-1e-3]), torch.zeros(1))
    assert near.item() == pytest.approx(math.expm1(1e-3) - 1e-3, rel=1e-3)  # float32: 1 + x - 1 - x has no digit left


def test_sums_over_sequences_are_log_ratios_of_sequences():
    mine, other = logprobs(1), logprobs(2)
    found = sequence_kl(mine, other, RESPONSE, responses_here=4)
    wanted = [sum((mine - other)[r == RESPONSE].tolist()) for r in range(4)]
    assert found.tolist() == pytest.approx(wanted, rel=1e-12)
    k3 = sequence_kl(mine, other, RESPONSE, responses_here=4, estimator="k3")
    assert k3.sum().item() == pytest.approx(sum(math.exp(-d) - 1 + d for d in (mine - other).tolist()), rel=1e-12)


def test_full_kl_by_hand_and_against_a_loop():
    p, q = torch.tensor([0.5, 0.25, 0.25]).log(), torch.tensor([0.25, 0.25, 0.5]).log()
    assert full_kl(p, q).item() == pytest.approx(0.5 * math.log(2) - 0.25 * math.log(2), rel=1e-6)
    mine, other = drawn(1, 4, 7), drawn(2, 4, 7)
    for row in range(4):
        a, b = ([math.exp(z) for z in x[row].tolist()] for x in (mine, other))
        loop = sum(x / sum(a) * math.log(x / sum(a) * sum(b) / y) for x, y in zip(a, b, strict=True))
        assert full_kl(mine, other)[row].item() == pytest.approx(loop, rel=1e-12)
    assert full_kl(mine, mine + 3).abs().max() < 1e-14 and (full_kl(mine, other) > 0.01).all()
    leaf = mine.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: full_kl(z, other), leaf)


def test_ruled_out_tokens():
    mine, other = drawn(1, 4, 7), drawn(2, 4, 7)
    mine[:, 2] = other[:, 2] = -math.inf
    mine[:, 3] = -math.inf
    leaf = mine.clone().requires_grad_()
    found = full_kl(leaf, other)
    slope = torch.autograd.grad(found.sum(), leaf)[0]
    assert found.isfinite().all() and slope.isfinite().all() and (slope[:, 2:4] == 0).all()
    other[:, 4] = -math.inf
    assert (full_kl(mine, other) == math.inf).all()
    # a probability that rounds to 0 beside a ruled out token is 0, not 0 times infinity
    far = torch.tensor([[0.0, -200.0]])
    assert full_kl(far, torch.tensor([[0.0, -math.inf]])).item() == 0


def test_top_k_is_the_full_one_at_the_whole_vocabulary_and_0_for_equal_models():
    mine, other = drawn(1, 5, 40), drawn(2, 5, 40)
    for k in (40, 500):
        torch.testing.assert_close(top_k_kl(mine, other, k=k), full_kl(mine, other), rtol=1e-12, atol=1e-14)
        one, two = (gradient(lambda z, f=f: f(z).sum(), mine) for f in
                    (lambda z, k=k: top_k_kl(z, other, k=k), lambda z: full_kl(z, other)))  # fmt: skip
        assert (one - two).norm() < 1e-12 * two.norm()
    for k in (1, 2, 10, 39):
        found = top_k_kl(mine, other, k=k)
        assert (found >= -1e-15).all() and top_k_kl(mine, mine + 2, k=k).abs().max() < 1e-14
        assert found.abs().max() == 0 if k == 1 else found.min() > 0


def test_top_k_by_hand_is_over_the_references_tokens_renormalised():
    mine = torch.tensor([[0.1, 0.2, 0.3, 0.4]]).log()
    reference = torch.tensor([[0.4, 0.3, 0.2, 0.1]]).log()
    # tokens 0 and 1: 1/3, 2/3 against 4/7, 3/7
    wanted = 1 / 3 * math.log(7 / 12) + 2 / 3 * math.log(14 / 9)
    assert top_k_kl(mine, reference, k=2).item() == pytest.approx(wanted, rel=1e-6)
    # kept as two log-probabilities the reference is the same
    kept = kl_on_ids(mine, torch.tensor([[0, 1]]), reference[:, :2] - 1)
    assert kept.item() == pytest.approx(wanted, rel=1e-6)
    # what is outside of them has no gradient
    slope = gradient(lambda z: top_k_kl(z, reference.double(), k=2).sum(), mine.double())
    assert (slope[0, 2:] == 0).all() and (slope[0, :2] != 0).all() and slope.sum().abs() < 1e-15
    # and mass moved out of them is not seen: the blind spot that the docstring names
    moved = torch.tensor([[0.004, 0.003, 0.5, 0.493]]).log()
    assert top_k_kl(moved, reference, k=2).abs().item() < 1e-6
    with pytest.raises(SettingsError, match="k is 0"):
        top_k_kl(mine, reference, k=0)


def test_half_precision_is_summed_in_float32():
    mine, other = drawn(1, 5, 4096).bfloat16(), drawn(2, 5, 4096).bfloat16()
    found = full_kl(mine, other)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found.double(), full_kl(mine.double(), other.double()), rtol=1e-5, atol=0)
    with pytest.raises(SettingsError, match="k4"):
        kl_estimate(mine[:, 0], other[:, 0], estimator="k4")


def test_an_adapted_beta_rises_above_its_target_and_falls_below():
    how = {"target": 6.0, "horizon": 10_000.0, "responses": 100}
    assert adapted_beta(0.1, 6.0, **how) == 0.1
    assert adapted_beta(0.1, 6.6, **how) == pytest.approx(0.1 * (1 + 0.1 * 0.01))
    assert adapted_beta(0.1, 1e9, **how) == pytest.approx(0.1 * 1.002)
    assert adapted_beta(0.1, 0.0, **how) == pytest.approx(0.1 * 0.998)
    with pytest.raises(SettingsError, match="target"):
        adapted_beta(0.1, 1.0, target=0.0, horizon=1.0, responses=1)
