"""Online pairs: the best and the worst of a group, what is skipped, and the loss that they go to."""

import math

import pytest
import torch

from burnish.errors import DataError
from burnish.losses import dpo_loss, pair_sums, response_sums
from burnish.losses.on_policy import best_and_worst, online_dpo_loss, paired
from tests.losses.on_policy.material import RESPONSE, agree, gradient, logprobs

REWARDS = torch.tensor([[1.0, 3.0, -1.0], [2.0, 2.0, 2.0], [0.0, 0.1, 0.05], [5.0, 1.0, 5.0]])


def test_by_hand():
    found = best_and_worst(REWARDS)
    assert (
        found.group.tolist() == [0, 2, 3]
        and found.chosen.tolist() == [1, 1, 0]
        and found.rejected.tolist() == [2, 0, 1]
    )
    assert found.spread.tolist() == pytest.approx([4, 0.1, 4]) and (found.spread > 0).all()
    assert found.narrow.tolist() == [False, True, False, False] and not found.alone.any()


def test_the_gate_skips_narrow_groups_and_counts_them():
    found = best_and_worst(REWARDS, least_spread=0.5)
    assert found.group.tolist() == [0, 3] and found.narrow.tolist() == [False, True, True, False]
    assert len(best_and_worst(torch.zeros(3, 2)).group) == 0  # equal ones are skipped without a gate


def test_a_missing_reward_is_neither_best_nor_worst():
    rewards = REWARDS.clone()
    rewards[0, 1], rewards[3, 1] = math.nan, math.nan
    rewards[1] = math.nan
    known = ~rewards.isnan()
    known[2, :2] = False
    found = best_and_worst(rewards, known)
    assert found.group.tolist() == [0] and (found.chosen.item(), found.rejected.item()) == (0, 2)
    assert found.alone.tolist() == [False, True, True, False] and found.narrow.tolist() == [False, False, False, True]
    with pytest.raises(DataError, match="nan"):
        best_and_worst(rewards)
    with pytest.raises(DataError, match="groups of one"):
        best_and_worst(REWARDS[:, :1])


POLICY, REFERENCE = logprobs(1), logprobs(2)
PLAIN = torch.zeros(10, dtype=torch.bool)
CHOSEN, REJECTED = torch.tensor([2, 3, 2]), torch.tensor([0, 1, 1])


def loss_of(policy, pairs=3):
    sums = response_sums(policy, REFERENCE, RESPONSE, PLAIN, responses_here=4)
    return online_dpo_loss(sums, CHOSEN, REJECTED, pairs=pairs, beta=0.3)


def test_a_loop_agrees_in_value_and_gradient():
    def second(policy):
        ratio = [sum((policy - REFERENCE)[t] for t in range(10) if RESPONSE[t] == r) for r in range(4)]
        margins = [0.3 * (ratio[a] - ratio[b]) for a, b in zip(CHOSEN.tolist(), REJECTED.tolist())]
        return sum(torch.log1p(torch.exp(-m)) for m in margins) / 3

    agree(lambda policy: loss_of(policy)[0], second, POLICY)


def test_it_is_dpo_on_the_pairs_written_out():
    """A response that stands in two pairs is computed once and counts twice."""
    tokens, owner = [], []
    for pair, sides in enumerate(zip(CHOSEN.tolist(), REJECTED.tolist())):
        for side, response in enumerate(sides):
            here = torch.nonzero(response == RESPONSE)[:, 0].tolist()
            tokens += here
            owner += [2 * pair + side] * len(here)
    owner = torch.tensor(owner)

    def written_out(policy):
        sums = pair_sums(policy[tokens], REFERENCE[tokens], owner, PLAIN[:1].expand(len(tokens)), pairs_here=3)
        return dpo_loss(sums, pairs=3, beta=0.3)

    loss, sums = loss_of(POLICY)
    wanted, others = written_out(POLICY)
    assert loss.item() == pytest.approx(wanted.item(), rel=1e-12)
    assert {k: v.item() for k, v in sums.items()} == pytest.approx({k: v.item() for k, v in others.items()})
    one, two = gradient(lambda p: loss_of(p)[0], POLICY), gradient(lambda p: written_out(p)[0], POLICY)
    assert (one - two).norm() < 1e-12 * two.norm()
    same = response_sums(POLICY, REFERENCE, RESPONSE, PLAIN, responses_here=4)
    assert paired(same, CHOSEN, REJECTED).chosen_length.tolist() == [4, 2, 4]


def test_a_pair_of_one_response_is_refused():
    sums = response_sums(POLICY, REFERENCE, RESPONSE, PLAIN, responses_here=4)
    with pytest.raises(DataError, match="same response"):
        online_dpo_loss(sums, torch.tensor([1]), torch.tensor([1]), pairs=1, beta=0.1)
