"""Advantages: by hand, what does not change them, missing rewards, flat groups, steps."""

import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy import (
    StepRewards,
    centred,
    leave_one_out,
    less_reference,
    penalised,
    process_advantages,
    rest_of_response,
    standardised,
)
from tests.losses.on_policy.material import drawn

REWARDS = torch.tensor([[1.0, 2.0, 6.0], [0.0, 0.0, 1.0], [5.0, 5.0, 5.0]], dtype=torch.float64)
KINDS = {"centred": centred, "leave one out": leave_one_out, "standardised": standardised}


def test_three_groups_by_hand():
    assert centred(REWARDS).values.tolist() == [[-2, -1, 3], pytest.approx([-1 / 3, -1 / 3, 2 / 3]), [0, 0, 0]]
    # 1 - (2 + 6)/2, 2 - (1 + 6)/2, 6 - (1 + 2)/2
    assert leave_one_out(REWARDS).values[0].tolist() == pytest.approx([-3, -1.5, 4.5])
    assert leave_one_out(REWARDS).values[1].tolist() == pytest.approx([-0.5, -0.5, 1])
    std = math.sqrt((4 + 1 + 9) / 3)
    assert standardised(REWARDS).values[0].tolist() == pytest.approx([-2 / std, -1 / std, 3 / std])
    sample = math.sqrt((4 + 1 + 9) / 2)
    found = standardised(REWARDS, std="sample", epsilon=0.5).values[0].tolist()
    assert found == pytest.approx([a / (sample + 0.5) for a in (-2, -1, 3)])
    assert centred(REWARDS).variance.tolist() == pytest.approx([14 / 3, 2 / 9, 0])


def test_baichuans_three_binary_rewards():
    found = standardised(torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)).values[0].tolist()
    assert found == pytest.approx([1.414, -0.707, -0.707], abs=5e-4)


@pytest.mark.parametrize("kind", KINDS)
def test_they_add_up_to_0_and_a_shift_or_an_order_changes_nothing(kind):
    rewards, advantages = drawn(1, 5, 8, scale=3.0), KINDS[kind]
    found = advantages(rewards).values
    assert found.sum(1).abs().max() < 1e-13 and found.abs().max() > 0.5
    shifted = advantages(rewards + torch.arange(5)[:, None] * 7.0).values
    torch.testing.assert_close(shifted, found, rtol=0, atol=1e-13)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(2))
    torch.testing.assert_close(advantages(rewards[:, order]).values, found[:, order], rtol=0, atol=1e-13)


def test_only_standardised_ones_do_not_change_with_the_scale_and_all_turn_with_its_sign():
    rewards = drawn(1, 5, 8)
    for kind, advantages in KINDS.items():
        one, ten, minus = (advantages(scale * rewards).values for scale in (1, 10, -1))
        wanted = one if kind == "standardised" else 10 * one
        torch.testing.assert_close(ten, wanted, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(minus, -one, rtol=1e-12, atol=1e-13)


def test_leave_one_out_is_k_over_k_less_1_times_centred():
    rewards = drawn(3, 4, 6)
    torch.testing.assert_close(leave_one_out(rewards).values, 6 / 5 * centred(rewards).values, rtol=1e-14, atol=0)
    # and each is the reward less the mean of the others
    for g in range(4):
        for k in range(6):
            others = (rewards[g].sum() - rewards[g, k]) / 5
            assert leave_one_out(rewards).values[g, k].item() == pytest.approx((rewards[g, k] - others).item())


@pytest.mark.parametrize("kind", KINDS)
def test_a_missing_reward_leaves_the_group_and_is_not_0(kind):
    advantages = KINDS[kind]
    rewards = torch.tensor([[1.0, math.nan, 2.0, 6.0]], dtype=torch.float64)
    known = torch.tensor([[True, False, True, True]])
    found = advantages(rewards, known)
    assert found.values[0, [0, 2, 3]].tolist() == pytest.approx(advantages(REWARDS[:1]).values[0].tolist())
    assert found.used.tolist() == known.tolist() and found.values[0, 1] == 0
    as_zero = advantages(rewards.nan_to_num(0.0)).values[0, [0, 2, 3]]
    assert (as_zero - found.values[0, [0, 2, 3]]).abs().min() > 0.1


def test_groups_left_with_less_than_two_rewards_are_told_and_not_used():
    known = torch.tensor([[True, False, False], [False, False, False], [True, True, False]])
    rewards = REWARDS.clone()
    rewards[~known] = math.nan
    for advantages in KINDS.values():
        found = advantages(rewards, known)
        assert found.alone.tolist() == [True, True, False] and found.flat.tolist() == [False, False, True]
        assert found.used.tolist() == [[False] * 3, [False] * 3, [True, True, False]]
        assert torch.equal(found.values, torch.zeros(3, 3, dtype=torch.float64))
        assert found.variance.isnan().tolist() == [True, True, False]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_equal_rewards_are_told_and_give_exactly_0(kind, dtype):
    # a third is rounded, and so is the mean of seven of them: without care that rest over its own std is about 1
    rewards = torch.full((2, 7), 1 / 3, dtype=dtype)
    rewards[1, 0] += 1
    found = KINDS[kind](rewards)
    assert found.flat.tolist() == [True, False] and torch.equal(found.values[0], torch.zeros(7).to(found.values))
    assert found.values.isfinite().all() and found.values[1, 0] > 0.8


def test_a_tolerance_makes_nearly_equal_rewards_flat():
    rewards = torch.tensor([[1.0, 1.0 + 1e-9], [1.0, 1.1]], dtype=torch.float64)
    assert standardised(rewards).flat.tolist() == [False, False]
    found = standardised(rewards, tolerance=1e-6)
    assert found.flat.tolist() == [True, False] and found.values.tolist() == [[0, 0], pytest.approx([-1, 1])]


def test_one_group_of_all_is_the_batch_mean_baseline():
    rewards = drawn(5, 3, 4)
    found = centred(rewards.view(1, -1)).values.view(3, 4)
    torch.testing.assert_close(found, rewards - rewards.mean(), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("rewards", "known", "told"),
    [
        (torch.zeros(4), None, "groups, responses"),
        (torch.zeros(4, 1), None, "groups of one"),
        (torch.zeros(2, 3), torch.ones(3, 2, dtype=torch.bool), "must be equal"),
        (torch.tensor([[0.0, 1.0], [math.nan, 0.0]]), None, "response 0 of group 1 is nan"),
        (torch.tensor([[0.0, math.inf]]), None, "response 1 of group 0 is inf"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_bad_rewards_are_refused(kind, rewards, known, told):
    with pytest.raises(DataError, match=told):
        KINDS[kind](rewards, known)


def test_bad_settings_are_refused():
    with pytest.raises(SettingsError, match="std"):
        standardised(REWARDS, std="biased")
    with pytest.raises(SettingsError, match="epsilon"):
        standardised(REWARDS, epsilon=-1e-4)


def test_penalised_and_less_reference_by_hand():
    rewards, kl = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([0.5, -0.5, 2.0], requires_grad=True)
    found = penalised(rewards, kl, beta=0.1)
    assert found.tolist() == pytest.approx([0.95, 2.05, 2.8]) and not found.requires_grad
    assert less_reference(REWARDS, torch.tensor([1.0, 2.0, 5.0])).tolist() == [[0, 1, 5], [-2, -2, -1], [0, 0, 0]]
    with pytest.raises(DataError, match="one each"):
        less_reference(REWARDS, torch.zeros(2))


# --- steps

# two responses of a group: 5 tokens with steps that end at 1, 3, 4, and 3 tokens with one step that ends at 1 (of 0..2)
RESPONSE = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1])
ENDS = torch.tensor([1, 3, 4, 6])


def test_steps_by_hand():
    steps = StepRewards(rewards=torch.tensor([1.0, 0.0, 2.0, 5.0], dtype=torch.float64), ends=ENDS)
    found, used, flat = process_advantages(steps, RESPONSE, torch.tensor([0, 0]))
    std = math.sqrt((1 + 4 + 0 + 9) / 4)  # the mean is 2
    first = [a / std for a in (-1 - 2 + 0, -1 - 2 + 0, -2 + 0, -2 + 0, 0.0)]
    assert found.tolist() == pytest.approx([*first, 3 / std, 3 / std, 0])
    assert used.tolist() == [True, True] and flat.tolist() == [False]


def test_one_step_at_the_end_is_the_outcome():
    rewards = drawn(6, 2, 3)
    response = torch.repeat_interleave(torch.arange(6), torch.tensor([2, 1, 3, 4, 1, 2]))
    ends = torch.tensor([1, 2, 5, 9, 10, 12])
    for std, epsilon in (("population", 0.0), ("sample", 1e-4)):
        found, _, _ = process_advantages(
            StepRewards(rewards=rewards.flatten(), ends=ends),
            response,
            torch.tensor([0, 0, 0, 1, 1, 1]),
            std=std,
            epsilon=epsilon,
        )
        outcome = standardised(rewards, std=std, epsilon=epsilon).values.flatten()[response]
        torch.testing.assert_close(found, outcome, rtol=1e-12, atol=1e-14)


def test_a_response_with_a_missing_step_leaves_its_group():
    rewards = torch.tensor([1.0, math.nan, 2.0, 5.0, 7.0], dtype=torch.float64)
    response, ends = torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 2]), torch.tensor([1, 3, 4, 6, 8])
    known = ~rewards.isnan()
    steps = StepRewards(rewards=rewards, ends=ends, known=known)
    found, used, _ = process_advantages(steps, response, torch.tensor([0, 0, 0]))
    assert used.tolist() == [False, True, True]
    assert found.tolist() == pytest.approx([0, 0, 0, 0, 0, -1, -1, 0, 1])
    # in a group of two the other one is then alone
    found, used, _ = process_advantages(steps, response, torch.tensor([0, 0, 1]))
    assert used.tolist() == [False, False, False] and found.abs().max() == 0


def test_equal_steps_are_told_and_give_exactly_0():
    steps = StepRewards(rewards=torch.full((4,), 1 / 3), ends=ENDS)
    found, used, flat = process_advantages(steps, RESPONSE, torch.tensor([0, 0]))
    assert flat.tolist() == [True] and used.all() and torch.equal(found, torch.zeros(8))


def test_bad_steps_are_refused():
    group = torch.tensor([0, 0])
    with pytest.raises(DataError, match="step 2 is nan"):
        process_advantages(StepRewards(rewards=torch.tensor([0.0, 1, math.nan, 1]), ends=ENDS), RESPONSE, group)
    with pytest.raises(DataError, match="one each"):
        process_advantages(StepRewards(rewards=torch.zeros(3), ends=ENDS), RESPONSE, group)


def test_the_rest_of_a_response():
    values = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0])
    found = rest_of_response(values, RESPONSE, responses_here=3)  # the third has no token
    assert found.tolist() == [31, 30, 28, 24, 16, 224, 192, 128]
    # another response's values leave no rounding behind
    values = torch.tensor([1e8, -1e8, 1e8, 0.0, 0.0, 1e-3, 1e-3, 1e-3])
    assert rest_of_response(values, RESPONSE, responses_here=2)[5:].tolist() == pytest.approx([3e-3, 2e-3, 1e-3])
    assert len(rest_of_response(values[:0], RESPONSE[:0], responses_here=0)) == 0
