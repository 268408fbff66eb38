"""MDLOO: by hand, its gradient, and where its rounds lead on a bandit of six arms."""

import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy import SampledTokens, leave_one_out, mdloo_loss, penalised, reinforce_loss
from tests.losses.on_policy.material import ADVANTAGES, LENGTHS, RESPONSE, agree, gradient, logprobs, part, sampled

POLICY, OLD = logprobs(1), logprobs(2)
REFERENCE = torch.tensor([0.30, 0.25, 0.15, 0.15, 0.10, 0.05], dtype=torch.float64).log()
REWARD = torch.tensor([0.0, 0.5, -0.4, 0.3, 0.8, 0.6], dtype=torch.float64)


def test_three_responses_by_hand():
    ln2 = math.log(2)
    old = torch.full((4,), -1.0, dtype=torch.float64)
    policy = old + torch.tensor([-ln2, 0.0, ln2 / 2, ln2 / 2]).double()  # the last two are one response
    three = SampledTokens(logprobs=policy, old=old, response=torch.tensor([0, 1, 2, 2]), responses_here=3)
    loss, sums = mdloo_loss(three, torch.tensor([1.0, -1.0, 3.0]).double(), units=3, gamma=0.5)
    policy_part = -0.5 + 1 - 6
    divergence = (0.5 * -ln2 - 0.5 + 1) + 0 + (2 * ln2 - 2 + 1)
    assert sums["policy"].item() == pytest.approx(policy_part)
    assert sums["kl_iterate"].item() == pytest.approx(divergence)
    assert loss.item() == pytest.approx((policy_part + 0.5 * divergence) / 3)
    assert sums["ratio"].item() == pytest.approx(3.5) and sums["ratio_squared"].item() == pytest.approx(5.25)


def test_a_loop_agrees_and_its_gradient_is_the_stated_one():
    def second(policy):
        total = torch.zeros((), dtype=torch.float64)
        for r in range(4):
            gap = sum((policy - OLD)[t] for t in range(10) if RESPONSE[t] == r)
            ratio = torch.exp(gap)
            total = total - ratio * ADVANTAGES[r] + 0.7 * (ratio * gap - ratio + 1)
        return total / 4

    def ours(policy):
        return mdloo_loss(sampled(policy, OLD.to(policy)), ADVANTAGES, units=4, gamma=0.7)[0]

    agree(ours, second, POLICY)
    gaps = torch.stack([(POLICY - OLD)[r == RESPONSE].sum() for r in range(4)])
    stated = -gaps.exp() * (ADVANTAGES - 0.7 * gaps) / 4
    torch.testing.assert_close(gradient(ours, POLICY), stated[RESPONSE], rtol=1e-12, atol=1e-15)
    leaf = POLICY.clone().requires_grad_()
    assert torch.autograd.gradcheck(ours, leaf)


def test_the_first_pass_is_rloo():
    first = gradient(lambda p: mdloo_loss(sampled(p, POLICY), ADVANTAGES, units=4, gamma=0.3)[0], POLICY)
    rloo = gradient(lambda p: reinforce_loss(sampled(p, POLICY), ADVANTAGES, units=4)[0], POLICY)
    assert (first - rloo).abs().max() < 1e-15
    # equal rewards where the policy is its reference: nothing moves
    rewards = penalised(torch.full((1, 4), 0.3), torch.zeros(1, 4), beta=0.1)
    advantages = leave_one_out(rewards).values[0]
    still = gradient(lambda p: mdloo_loss(sampled(p, POLICY), advantages, units=4, gamma=0.3)[0], POLICY)
    assert still.abs().max() == 0


def test_parts_add_up_and_responses_without_reward_are_left_out():
    whole, sums = mdloo_loss(sampled(POLICY, OLD), ADVANTAGES, units=4, gamma=0.7)
    parts = [mdloo_loss(part(POLICY, OLD, r)[0], ADVANTAGES[r], units=4, gamma=0.7) for r in ([2, 0], [1, 3])]
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-12)
    for key, value in sums.items():
        assert sum(found[key].item() for _, found in parts) == pytest.approx(value.item(), rel=1e-12)
    broken = POLICY.clone()
    broken[RESPONSE == 2] = -math.inf
    used = torch.tensor([True, True, False, True])
    left, _ = mdloo_loss(sampled(broken, OLD, used=used), ADVANTAGES, units=3, gamma=0.7)
    wanted, _ = mdloo_loss(part(POLICY, OLD, [0, 1, 3])[0], ADVANTAGES[[0, 1, 3]], units=3, gamma=0.7)
    assert left.item() == pytest.approx(wanted.item(), rel=1e-12)


def test_long_answers_stay_finite_and_are_pulled_back():
    old = torch.full((10_000,), -1.0)
    for gap in (0.02, -0.02):

        def loss(policy):
            long = SampledTokens(logprobs=policy, old=old, response=torch.zeros(10_000).long(), responses_here=1)
            return mdloo_loss(long, torch.zeros(1), units=1, gamma=0.1)[0]

        slope = gradient(loss, old + gap)
        assert loss(old + gap).isfinite() and slope.isfinite().all()
        # e^-200 is 0 in float32: from below nothing pulls, since such a sample says nothing any more
        assert (slope > 0).all() if gap > 0 else (slope == 0).all()


def test_bad_input_is_refused():
    with pytest.raises(SettingsError, match="gamma is 0"):
        mdloo_loss(sampled(POLICY, OLD), ADVANTAGES, units=4, gamma=0.0)
    with pytest.raises(DataError, match="for 4 responses"):
        mdloo_loss(sampled(POLICY, OLD), ADVANTAGES[:2], units=4, gamma=1.0)
    assert sum(LENGTHS) == 10


# --- a bandit of six arms

BETA = 0.3
OPTIMUM = (REFERENCE + REWARD / BETA).log_softmax(-1)


def arms(log_p, drawn, old):
    return SampledTokens(
        logprobs=log_p[drawn], old=old[drawn], response=torch.arange(len(drawn)), responses_here=len(drawn)
    )


def solved(loss, start):
    logits = start.clone().requires_grad_()
    search = torch.optim.LBFGS([logits], max_iter=25, tolerance_grad=1e-9, tolerance_change=1e-14,
                               line_search_fn="strong_wolfe")  # fmt: skip

    def closure():
        search.zero_grad()
        value = loss(logits.log_softmax(-1))
        value.backward()
        return value

    search.step(closure)
    return logits.detach().log_softmax(-1)


def exact_round(log_p, gamma):
    """The exact inner solve, from the formulas of the report alone."""
    value = REWARD - BETA * (log_p - REFERENCE)
    return (log_p + (value - (log_p.exp() * value).sum()) / gamma).log_softmax(-1)


def test_the_least_loss_of_a_round_is_the_exact_inner_solve():
    counts = torch.tensor([20, 14, 10, 10, 6, 4])
    old = (counts / 64.0).double().log()
    drawn = torch.repeat_interleave(torch.arange(6), counts)
    value = REWARD - BETA * (old - REFERENCE)
    advantages = (value - (old.exp() * value).sum())[drawn]
    for gamma in (0.2, 0.5):
        found = solved(
            lambda log_p, g=gamma: mdloo_loss(arms(log_p, drawn, old), advantages, units=64, gamma=g)[0], old
        )
        assert (found.exp() - exact_round(old, gamma).exp()).abs().max() < 1e-6


@pytest.mark.parametrize(("gamma", "rounds"), [(0.16, 40), (0.2, 15), (0.3, 6), (0.6, 12), (0.9, 20)])
def test_rounds_reach_the_tilted_reference_for_every_gamma_above_half_beta(gamma, rounds):
    """4,000 answers a round in the proportions of the policy, each arm at least once; the round's loss is minimised."""
    policy = REFERENCE.clone()
    for _ in range(rounds):
        counts = (4000 * policy.exp()).round().clamp(min=1).long()
        old = (counts / counts.sum()).double().log()
        drawn = torch.repeat_interleave(torch.arange(6), counts)
        rewards = penalised(REWARD[drawn], (old - REFERENCE)[drawn], beta=BETA)
        advantages = leave_one_out(rewards[None]).values[0]

        def loss(log_p, old=old, drawn=drawn, advantages=advantages):
            return mdloo_loss(arms(log_p, drawn, old), advantages, units=len(drawn), gamma=gamma)[0]

        policy = solved(loss, old)
    assert (policy.exp() - OPTIMUM.exp()).abs().max() < 0.01
    assert (REFERENCE.exp() - OPTIMUM.exp()).abs().max() > 0.1  # where it started


@pytest.mark.parametrize("gamma", [0.25, 0.3, 0.6])
def test_sampled_rounds_with_leave_one_out_reach_it_too(gamma):
    """At the optimum the rewards of all arms are equal, so that the noise of sampling is gone: to 0.002."""
    generator = torch.Generator().manual_seed(7)
    policy = REFERENCE.clone()
    for _ in range(20):
        old, drawn = policy, torch.multinomial(policy.exp(), 1024, replacement=True, generator=generator)
        rewards = penalised(REWARD[drawn], (old - REFERENCE)[drawn], beta=BETA)
        advantages = leave_one_out(rewards[None]).values[0]

        def loss(log_p, old=old, drawn=drawn, advantages=advantages):
            return mdloo_loss(arms(log_p, drawn, old), advantages, units=1024, gamma=gamma)[0]

        policy = solved(loss, old)
    assert (policy.exp() - OPTIMUM.exp()).abs().max() < 0.002


@pytest.mark.parametrize("gamma", [0.14, 0.16, 0.3, 1.0])
def test_exact_rounds_converge_iff_gamma_is_above_half_beta(gamma):
    policy = REFERENCE.clone()
    for _ in range(200):
        policy = exact_round(policy, gamma)
    off = (policy.exp() - OPTIMUM.exp()).abs().max()
    assert off < 1e-6 if gamma > BETA / 2 else off > 0.1
