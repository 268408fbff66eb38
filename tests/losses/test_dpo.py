"""DPO with masked formatting tokens and NLL: by hand, against a flat second implementation, and what must be zero."""

import math

import pytest
import torch

from burnish.losses import dpo_loss

# pair 0: chosen 3 tokens (last one formatting), rejected 2; pair 1: 2 and 2; pair 2: equal answers
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
FORMATTING = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).bool()
POLICY = torch.tensor([-1.0, -2, -3, -4, -1, -2, -1, -1, -5, -2, -2, -2, -2], dtype=torch.float64)
REFERENCE = torch.tensor([-2.0, -3, -9, -1, -9, -1, -9, -3, -9, -1, -9, -1, -9], dtype=torch.float64)


def loss_of(policy, reference, nll_weight=0.2, pairs=3, beta=0.1):
    return dpo_loss(
        policy, reference, RESPONSE, FORMATTING, pairs_here=3, pairs=pairs, beta=beta, nll_weight=nll_weight
    )


def test_three_pairs_by_hand():
    loss, sums = loss_of(POLICY, REFERENCE)
    # masked log-ratios: chosen (1 + 1, -1, -1), rejected (-3, 2, -1); token means of chosen: -2, -1.5, -2
    margins = [0.1 * (2 + 3), 0.1 * (-1 - 2), 0.0]
    dpo = sum(math.log1p(math.exp(-m)) for m in margins)
    nll = 2 + 1.5 + 2
    assert loss.item() == pytest.approx((dpo + 0.2 * nll) / 3, rel=1e-12)
    assert sums["margin"].item() == pytest.approx(sum(margins)) and sums["accuracy"].item() == 1
    assert sums["chosen"].item() == pytest.approx(-nll) and sums["rejected"].item() == pytest.approx(-2.5 - 3 - 2)


def test_policy_equal_to_reference_gives_ln_2_and_a_fifth_of_the_nll():
    loss, sums = loss_of(POLICY, POLICY)
    assert loss.item() == pytest.approx(math.log(2) + 0.2 * (2 + 1.5 + 2) / 3, rel=1e-12)
    assert sums["margin"].item() == 0


def test_dpo_gradient_is_exactly_zero_on_masked_positions_only():
    policy = POLICY.clone().requires_grad_()
    loss_of(policy, REFERENCE, nll_weight=0.0)[0].backward()
    assert torch.equal(policy.grad == 0, FORMATTING)


def test_formatting_tokens_of_the_chosen_stay_in_the_nll():
    policy = POLICY.clone().requires_grad_()
    loss_of(policy, REFERENCE, nll_weight=0.2, beta=0.0)[0].backward()
    chosen = RESPONSE % 2 == 0
    assert torch.equal(policy.grad != 0, chosen)
    # one over the pairs, one over the response's length, times the weight
    assert policy.grad[2].item() == pytest.approx(-0.2 / 3 / 3) and policy.grad[6].item() == pytest.approx(-0.2 / 3 / 2)


def test_a_masked_value_without_bound_does_not_reach_the_dpo_term():
    policy = POLICY.clone()
    policy[8] = -math.inf  # a formatting token of a rejected answer
    clean, dirty = loss_of(POLICY, REFERENCE)[1]["dpo"], loss_of(policy, REFERENCE)[1]["dpo"]
    assert clean.item() == dirty.item()


def test_equal_answers_cancel():
    policy = POLICY.clone().requires_grad_()
    loss_of(policy, REFERENCE, nll_weight=0.0)[0].backward()
    # a model that gives both answers the same log-probabilities gets the sum of the two gradients: nothing
    assert torch.equal(policy.grad[9:11] + policy.grad[11:13], torch.zeros(2, dtype=torch.float64))


def test_parts_add_up():
    whole = loss_of(POLICY, REFERENCE)[0].item()
    parts = 0.0
    for pair in range(3):
        here = pair == (RESPONSE // 2)
        parts += dpo_loss(
            POLICY[here],
            REFERENCE[here],
            RESPONSE[here] - 2 * pair,
            FORMATTING[here],
            pairs_here=1,
            pairs=3,
            beta=0.1,
            nll_weight=0.2,
        )[0].item()
    assert parts == pytest.approx(whole, rel=1e-12)


def test_flat_second_implementation_agrees_in_value_and_gradient():
    generator = torch.Generator().manual_seed(1)
    policy = (-3 * torch.rand(13, dtype=torch.float64, generator=generator)).requires_grad_()
    reference = -3 * torch.rand(13, dtype=torch.float64, generator=generator)
    loss, _ = loss_of(policy, reference)
    (gradient,) = torch.autograd.grad(loss, policy)
    flat = torch.zeros((), dtype=torch.float64)
    for pair in range(3):
        tokens = [[n for n in range(13) if RESPONSE[n] == 2 * pair + side] for side in (0, 1)]
        better, worse = (sum(policy[n] - reference[n] for n in side if not FORMATTING[n]) for side in tokens)
        nll = -sum(policy[n] for n in tokens[0]) / len(tokens[0])
        flat = flat + (-torch.log(1 / (1 + torch.exp(-0.1 * (better - worse)))) + 0.2 * nll) / 3
    (second,) = torch.autograd.grad(flat, policy)
    assert abs((loss - flat).item()) < 1e-12 and (gradient - second).norm() < 1e-12 * second.norm()
