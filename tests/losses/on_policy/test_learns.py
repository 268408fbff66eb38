"""Toy runs: a policy of two tokens over four, eight answers a prompt; the reward must rise and the divergence obey."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from burnish.losses import response_sums
from burnish.losses.on_policy import (
    SampledTokens,
    StepRewards,
    best_and_worst,
    centred,
    clipped_policy_loss,
    full_kl,
    grpo_loss,
    leave_one_out,
    mdloo_loss,
    moved_anchor,
    online_dpo_loss,
    penalised,
    process_advantages,
    reinforce_loss,
    reward_kl_loss,
    sequence_kl,
    standardised,
    top_k_kl,
)
from tests.losses.on_policy.material import drawn

GROUPS, K = 8, 8
R = GROUPS * K
RESPONSE = torch.arange(R).repeat_interleave(2)
START = 0.5 * drawn(1, 5, 4)  # row 0: the first token; row 1 + v: the second token after v
# two 3s are best; a 3 and another one is half as good; 0 first costs
VALUE = torch.tensor([[-1.0, -1, -1, -0.5], [0, 0, 0, 0.5], [0, 0, 0, 0.5], [0.5, 0.5, 0.5, 1]], dtype=torch.float64)


def mean_reward(table: Tensor) -> float:
    first, second = table[0].softmax(-1), table[1:].softmax(-1)
    return (first[:, None] * second * VALUE).sum().item()


def divergence_from(table: Tensor, other: Tensor) -> float:
    """KL of whole answers."""
    kl = full_kl(table, other)
    return (kl[0] + (table[0].softmax(-1) * kl[1:]).sum()).item()


class Round:
    """Answers drawn from a table, and what a loss needs of them."""

    def __init__(self, table: Tensor, generator: torch.Generator) -> None:
        first = torch.multinomial(table[0].softmax(-1), R, replacement=True, generator=generator)
        second = torch.multinomial(table[1 + first].softmax(-1), 1, generator=generator)[:, 0]
        self.rows = torch.stack([torch.zeros_like(first), 1 + first], 1).flatten()
        self.taken = torch.stack([first, second], 1).flatten()
        self.rewards = VALUE[first, second].view(GROUPS, K)
        self.old = self.of(table.detach())

    def of(self, table: Tensor) -> Tensor:
        return table.log_softmax(-1)[self.rows, self.taken]

    def sampled(self, table: Tensor) -> SampledTokens:
        return SampledTokens(logprobs=self.of(table), old=self.old, response=RESPONSE, responses_here=R)

    def kl_in_reward(self, other: Tensor, beta: float) -> Tensor:
        kl = sequence_kl(self.old, self.of(other), RESPONSE, responses_here=R)
        return penalised(self.rewards, kl.view(GROUPS, K), beta=beta)


Loss = Callable[[Round, Tensor, float], Tensor]


def reinforce(r: Round, table: Tensor, beta: float) -> Tensor:
    advantages = centred(r.kl_in_reward(START, beta).view(1, -1)).values.flatten()
    return reinforce_loss(r.sampled(table), advantages, units=R)[0]


def rloo(r: Round, table: Tensor, beta: float) -> Tensor:
    advantages = leave_one_out(r.kl_in_reward(START, beta)).values.flatten()
    return clipped_policy_loss(r.sampled(table), advantages, units=R, level="sequence")[0]


def mdloo(r: Round, table: Tensor, beta: float) -> Tensor:
    advantages = leave_one_out(r.kl_in_reward(START, beta)).values.flatten()
    return mdloo_loss(r.sampled(table), advantages, units=R, gamma=max(beta, 0.1))[0]


def grpo(level: str) -> Loss:
    def loss(r: Round, table: Tensor, beta: float) -> Tensor:
        advantages = standardised(r.rewards).values.flatten()
        return grpo_loss(r.sampled(table), advantages, r.of(START), units=R, beta=beta, level=level)[0]

    return loss


def process(r: Round, table: Tensor, beta: float) -> Tensor:
    """Each token is a step with a reward of its own."""
    steps = StepRewards(rewards=(r.taken == 3).double() - (r.taken == 0).double(), ends=torch.arange(2 * R))
    advantages, _, _ = process_advantages(steps, RESPONSE, torch.arange(GROUPS).repeat_interleave(K))
    return grpo_loss(r.sampled(table), advantages, r.of(START), units=R, beta=beta, per_token=True)[0]


def baichuan(r: Round, table: Tensor, beta: float) -> Tensor:
    kl = top_k_kl(table, START, k=4)[r.rows]
    advantages = standardised(r.rewards).values.flatten()
    return reward_kl_loss(r.sampled(table), advantages, kl, units=R, beta=beta, through_kl=True)[0]


def online_dpo(r: Round, table: Tensor, beta: float) -> Tensor:
    found = best_and_worst(r.rewards, least_spread=0.1)
    plain = torch.zeros(2 * R, dtype=torch.bool)
    sums = response_sums(r.of(table), r.of(START), RESPONSE, plain, responses_here=R)
    chosen, rejected = found.group * K + found.chosen, found.group * K + found.rejected
    return online_dpo_loss(sums, chosen, rejected, pairs=len(found.group), beta=beta)[0]


LOSSES: dict[str, Loss] = {
    "reinforce": reinforce,
    "rloo": rloo,
    "mdloo": mdloo,
    "grpo token": grpo("token"),
    "grpo sequence": grpo("sequence"),
    "grpo sequence mean": grpo("sequence_mean"),
    "process": process,
    "baichuan": baichuan,
}


def trained(loss: Loss, beta: float, *, shuffle: bool = False, seed: int = 2) -> Tensor:
    table = START.clone().requires_grad_()
    generator = torch.Generator().manual_seed(seed)
    for _ in range(25):
        this = Round(table.detach(), generator)
        if shuffle:
            this.rewards = this.rewards.flatten()[torch.randperm(R, generator=generator)].view(GROUPS, K)
        for _ in range(2):  # two updates a round, so that ratios leave 1
            table.grad = None
            loss(this, table, beta).backward()
            with torch.no_grad():
                table -= 2 * table.grad
    return table.detach()


@pytest.mark.parametrize("name", LOSSES)
def test_the_reward_rises_and_a_larger_beta_stays_closer(name: str) -> None:
    free, held = trained(LOSSES[name], 0.02), trained(LOSSES[name], 1.0)
    start = mean_reward(START)
    assert mean_reward(free) > start + 0.4
    assert 0 < divergence_from(held, START) < 0.5 * divergence_from(free, START)


def test_online_dpo_raises_the_reward() -> None:
    assert mean_reward(trained(online_dpo, 0.1)) > mean_reward(START) + 0.4


def test_shuffled_rewards_teach_nothing() -> None:
    for name in ("grpo token", "rloo", "mdloo"):
        change = [mean_reward(trained(LOSSES[name], 0.1, shuffle=True, seed=s)) - mean_reward(START) for s in range(5)]
        assert abs(sum(change) / 5) < 0.15, name


def test_a_reference_reset_each_iteration_lets_the_policy_go_farther() -> None:
    """Iterative GRPO: the same loss, its reference the policy at the start of the iteration."""

    def run(reset: bool) -> float:
        table, generator = START.clone(), torch.Generator().manual_seed(3)
        for _ in range(4):
            reference = table if reset else START
            policy = table.clone().requires_grad_()
            for _ in range(8):
                this = Round(policy.detach(), generator)
                advantages = standardised(this.rewards).values.flatten()
                policy.grad = None
                grpo_loss(this.sampled(policy), advantages, this.of(reference), units=R, beta=1.0)[0].backward()
                with torch.no_grad():
                    policy -= policy.grad
            table = policy.detach()
        return mean_reward(table)

    assert run(reset=True) > run(reset=False) + 0.1 > mean_reward(START) + 0.1


def test_a_moving_anchor_holds_less_than_a_static_one() -> None:
    """WARP's inner loop: REINFORCE with the divergence from the moving average of the policy inside the reward."""

    def run(mu: float) -> tuple[float, float]:
        policy, anchor = START.clone().requires_grad_(), [START.clone()]
        generator = torch.Generator().manual_seed(3)
        for _ in range(40):
            this: Any = Round(policy.detach(), generator)
            advantages = centred(this.kl_in_reward(anchor[0], 0.5).view(1, -1)).values.flatten()
            policy.grad = None
            reinforce_loss(this.sampled(policy), advantages, units=R)[0].backward()
            with torch.no_grad():
                policy -= policy.grad
            anchor = moved_anchor(anchor, [policy], mu=mu)
        return mean_reward(policy.detach()), divergence_from(policy.detach(), START)

    (still, near), (moving, far) = run(0.0), run(0.1)
    assert moving > still + 0.05 > mean_reward(START) + 0.1 and far > near


def test_the_batch_mean_and_the_others_of_a_group_estimate_the_same_gradient() -> None:
    """Of E[r - beta log(pi/pi_anchor)], against enumeration. With an offset in the rewards both have less noise."""
    table, anchor, beta = START.clone(), 0.5 * drawn(5, 5, 4), 0.3

    def objective(t: Tensor) -> Tensor:
        log_p = t.log_softmax(-1)
        kl = full_kl(t, anchor)
        first, second = log_p[0].exp(), log_p[1:].exp()
        return (first[:, None] * second * VALUE).sum() - beta * (kl[0] + (first * kl[1:]).sum())

    leaf = table.clone().requires_grad_()
    exact = torch.autograd.grad(objective(leaf), leaf)[0].flatten()
    generator, slopes = torch.Generator().manual_seed(6), {"mean": [], "others": [], "none": []}
    for _ in range(200):
        this = Round(table, generator)
        rewards = this.kl_in_reward(anchor, beta) + 1  # as a reward model's scores are: not around 0
        for name, advantages in (
            ("mean", centred(rewards.view(1, -1)).values.flatten() * R / (R - 1)),
            ("others", leave_one_out(rewards).values.flatten()),
            ("none", rewards.flatten()),
        ):
            leaf = table.clone().requires_grad_()
            loss, _ = reinforce_loss(this.sampled(leaf), advantages, units=R)
            slopes[name].append(-torch.autograd.grad(loss, leaf)[0].flatten())
    spread = {}
    for name, found in slopes.items():
        each = torch.stack(found)
        error = each.std(0) / len(found) ** 0.5
        # 20 entries: 3.5 standard errors in the place of 3, so that chance alone fails one time in 100
        assert ((each.mean(0) - exact).abs() < 3.5 * error + 1e-12).all(), name
        spread[name] = each.var(0).sum().item()
    assert spread["others"] < 0.7 * spread["none"] and spread["mean"] < 0.7 * spread["none"]
