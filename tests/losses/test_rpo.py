"""RPO: by hand, against plain arithmetic, its stated properties, and a tabular toy that reaches a = b."""

import math

import pytest
import torch

from burnish.errors import SettingsError
from burnish.losses.dpo import dpo_loss
from burnish.losses.pairs import pair_sums
from burnish.losses.rpo import rpo_loss
from burnish.losses.soft_labels import soft_label_loss

# pair 0: chosen 3 tokens (last one formatting), rejected 2; pair 1: 2 and 2; pair 2: 2 and 2
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5])
FORMATTING = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1]).bool()
POLICY = torch.tensor([-1.0, -2, -3, -4, -1, -2, -1, -1, -5, -2, -2, -2, -2], dtype=torch.float64)
REFERENCE = torch.tensor([-2.0, -3, -9, -1, -9, -1, -9, -3, -9, -1, -9, -2, -9], dtype=torch.float64)
BETTER = torch.tensor([4.0, 1.0, 2.5], dtype=torch.float64)
WORSE = torch.tensor([1.0, 2.0, 2.5], dtype=torch.float64)
DISTANCES = ["backward", "forward", "squared"]
WEIGHT = torch.tensor([0.5, 2.0, 0.25], dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def flat_distance(name, a, b):
    """Distance and its slope in a."""
    if name == "squared":
        return (a - b) ** 2, 2 * (a - b)
    p, q = (sigmoid(b), sigmoid(a)) if name == "backward" else (sigmoid(a), sigmoid(b))
    slope = q - p if name == "backward" else p * (1 - p) * (a - b)
    return p * math.log(p / q) + (1 - p) * math.log((1 - p) / (1 - q)), slope


def sums_of(policy=POLICY, reference=REFERENCE):
    return pair_sums(policy, reference, RESPONSE, FORMATTING, pairs_here=3)


def loss_of(policy=POLICY, reference=REFERENCE, better=BETTER, worse=WORSE, **settings):
    return rpo_loss(sums_of(policy, reference), better, worse, **({"pairs": 3, "beta": 0.5} | settings))


def gradient_of(policy=POLICY, **settings):
    policy = policy.clone().requires_grad_()
    return torch.autograd.grad(loss_of(policy, **settings)[0], policy)[0]


def one(a, b, **settings):
    """Distance and slope of one pair with margin a and target b, beta = 1."""
    margin = torch.tensor([a, 0.0], dtype=torch.float64, requires_grad=True)
    sums = pair_sums(margin, torch.zeros(2), torch.tensor([0, 1]), torch.zeros(2).bool(), pairs_here=1)
    loss = rpo_loss(sums, torch.tensor([b], dtype=torch.float64), torch.zeros(1), pairs=1, beta=1.0, **settings)[0]
    return loss.item(), torch.autograd.grad(loss, margin)[0][0].item()


@pytest.mark.parametrize("distance", DISTANCES)
def test_three_pairs_by_hand(distance):
    # masked log-ratios: chosen 2, -1, -1, rejected -3, 2, 0
    margins, targets = [0.5 * 5, 0.5 * -3, 0.5 * -1], [2.0 * 3, 2.0 * -1, 0.0]
    loss, sums = loss_of(eta=2.0, distance=distance, sft_weight=1e-2)
    rpo = sum(flat_distance(distance, a, b)[0] for a, b in zip(margins, targets))
    assert loss.item() == pytest.approx((rpo + 1e-2 * (6 + 3 + 4)) / 3, rel=1e-12)
    assert sums["rpo"].item() == pytest.approx(rpo, rel=1e-12) and sums["sft"].item() == pytest.approx(13)
    assert sums["target"].item() == pytest.approx(4) and sums["margin"].item() == pytest.approx(0.5)
    assert sums["error"].item() == pytest.approx(3.5 + 0.5 + 0.5) and sums["accuracy"].item() == 1
    mean = loss_of(eta=2.0, distance=distance, sft_weight=1e-2, sft_sum=False)[0]
    assert mean.item() == pytest.approx((rpo + 1e-2 * (2 + 1.5 + 2)) / 3, rel=1e-12)


@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("weight", [None, WEIGHT], ids=["plain", "weighted"])
@pytest.mark.parametrize("distance", DISTANCES)
def test_a_flat_second_implementation_agrees_in_value_and_gradient(distance, weight, normalise):
    generator = torch.Generator().manual_seed(1)
    policy, reference = (-3 * torch.rand(13, dtype=torch.float64, generator=generator) for _ in range(2))
    settings = {"beta": 0.7, "eta": 0.8, "sft_weight": 0.05, "normalise": normalise}
    loss, gradient = 0.0, [0.0] * 13
    for pair in range(3):
        w = 1.0 if weight is None else weight[pair].item()
        sides = [[n for n in range(13) if RESPONSE[n] == 2 * pair + side] for side in (0, 1)]
        kept = [[n for n in side if not FORMATTING[n]] for side in sides]
        over = [len(side) if normalise else 1 for side in kept]
        lr = [sum(policy[n].item() - reference[n].item() for n in side) / k for side, k in zip(kept, over)]
        b = 0.8 * (BETTER[pair].item() - WORSE[pair].item())
        value, slope = flat_distance(distance, 0.7 * (lr[0] - lr[1]), b)
        loss += w * (value - 0.05 * sum(policy[n].item() for n in sides[0])) / 3
        for sign, side, k in zip((1, -1), kept, over):
            for n in side:
                gradient[n] += w * sign * 0.7 * slope / k / 3
        for n in sides[0]:
            gradient[n] -= w * 0.05 / 3
    settings |= {"reference": reference, "distance": distance, "weight": weight}
    assert loss_of(policy, **settings)[0].item() == pytest.approx(loss, rel=1e-12)
    assert gradient_of(policy, **settings).tolist() == pytest.approx(gradient, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradcheck(distance):
    policy = POLICY.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss_of(p, distance=distance, sft_weight=0.1)[0], policy)


PLANE = [(a, b) for a in (-4.0, -0.5, 0.0, 0.3, 2.0, 6.0) for b in (-3.0, -0.5, 0.0, 0.3, 2.0, 5.0)]


def test_the_slope_is_the_difference_of_the_sigmoids():
    for a, b in PLANE:
        assert one(a, b)[1] == pytest.approx(sigmoid(a) - sigmoid(b), abs=1e-12)


def test_forward_and_squared_have_their_own_slopes():
    for a, b in PLANE:
        assert one(a, b, distance="forward")[1] == pytest.approx(sigmoid(a) * sigmoid(-a) * (a - b), abs=1e-12)
        assert one(a, b, distance="squared")[1] == pytest.approx(2 * (a - b), abs=1e-12)


def test_forward_is_backward_with_the_roles_swapped_and_they_differ():
    for a, b in PLANE:
        assert one(a, b, distance="forward")[0] == pytest.approx(one(b, a)[0], abs=1e-12)
    assert one(2.0, -3.0)[0] != pytest.approx(one(2.0, -3.0, distance="forward")[0], rel=0.05)


@pytest.mark.parametrize("distance", DISTANCES)
def test_the_loss_is_zero_where_a_is_b_and_positive_elsewhere(distance):
    for a, b in PLANE:
        loss, slope = one(a, b, distance=distance)
        assert (loss == 0) == (a == b) and loss >= 0
        assert (abs(slope) < 1e-12) == (a == b) and (a == b or (slope > 0) == (a > b))


@pytest.mark.parametrize("distance", DISTANCES)
def test_swapping_chosen_and_rejected_leaves_the_loss_unchanged(distance):
    swapped = pair_sums(POLICY, REFERENCE, RESPONSE ^ 1, FORMATTING, pairs_here=3)
    loss = rpo_loss(swapped, WORSE, BETTER, pairs=3, beta=0.5, distance=distance)[0]
    assert loss.item() == pytest.approx(loss_of(distance=distance)[0].item(), rel=1e-12)


def test_a_reward_gap_without_bound_gives_exactly_dpo():
    def rpo(policy, better):
        return rpo_loss(sums_of(policy), better, WORSE, pairs=3, beta=0.5, sft_weight=1e-5)[0]

    def dpo(policy):
        return dpo_loss(sums_of(policy), pairs=3, beta=0.5, sft_weight=1e-5)[0]

    policy = POLICY.clone().requires_grad_()
    (exact,) = torch.autograd.grad(dpo(policy), policy)
    for reward in (1e4, math.inf):
        loss = rpo(policy, torch.full((3,), reward))
        assert loss.item() == pytest.approx(dpo(policy).item(), rel=1e-15)
        torch.testing.assert_close(torch.autograd.grad(loss, policy)[0], exact, rtol=1e-14, atol=0)
    gaps = [abs(rpo(POLICY, WORSE + gap).item() - dpo(POLICY).item()) for gap in (2.0, 5.0, 10.0, 20.0)]
    assert gaps == sorted(gaps, reverse=True) and gaps[-1] < 1e-6 < gaps[0]


@pytest.mark.parametrize("distance", DISTANCES)
def test_eta_0_pulls_the_margin_to_0(distance):
    gradient = gradient_of(eta=0.0, distance=distance)
    # margins 2.5, -1.5, -0.5: the first falls, the others rise, whatever the rewards
    assert gradient[0] > 0 > gradient[5] and gradient[9] < 0
    assert loss_of(POLICY, POLICY, eta=0.0, distance=distance)[0].item() == 0


def test_the_scale_of_the_rewards_is_eta():
    assert loss_of(eta=0.25)[0].item() == loss_of(better=BETTER / 4, worse=WORSE / 4)[0].item()


def test_the_soft_label_has_the_same_gradient():
    """The entropy of the target is the only difference (spec §A.19): cross-entropy with the label sigmoid(b)."""
    policy = POLICY.clone().requires_grad_()
    cross = soft_label_loss(0.5 * sums_of(policy).gap(normalise=False), (BETTER - WORSE).sigmoid()).sum() / 3
    torch.testing.assert_close(torch.autograd.grad(cross, policy)[0], gradient_of(), rtol=1e-12, atol=1e-15)


def test_a_constant_target_is_cdpo_up_to_its_entropy():
    target = math.log(0.9 / 0.1)
    rpo = loss_of(better=torch.full((3,), target, dtype=torch.float64), worse=torch.zeros(3))[0].item()
    cdpo = dpo_loss(sums_of(), pairs=3, beta=0.5, label_smoothing=0.1)[0].item()
    assert rpo == pytest.approx(cdpo + 0.9 * math.log(0.9) + 0.1 * math.log(0.1), rel=1e-12)


@pytest.mark.parametrize("distance", DISTANCES)
def test_gradient_is_exactly_zero_on_masked_positions(distance):
    policy = POLICY.clone()
    policy[2] = -math.inf
    gradient = gradient_of(policy, distance=distance)
    assert torch.equal(gradient == 0, FORMATTING)
    assert loss_of(policy, distance=distance)[0].item() == loss_of(distance=distance)[0].item()


def test_the_sft_term_touches_the_chosen_only():
    touched = gradient_of(sft_weight=1e-5) - gradient_of()
    exact = -1e-5 / 3 * (RESPONSE % 2 == 0).double()
    torch.testing.assert_close(touched, exact, rtol=1e-9, atol=1e-15)


def test_rewards_carry_no_gradient():
    policy, better = POLICY.clone().requires_grad_(), BETTER.clone().requires_grad_()
    for distance in DISTANCES:
        loss = loss_of(policy, better=better, distance=distance)[0]
        assert torch.autograd.grad(loss, better, allow_unused=True) == (None,)


@pytest.mark.parametrize("distance", DISTANCES)
def test_parts_add_up(distance):
    settings = {"pairs": 3, "beta": 0.5, "distance": distance, "sft_weight": 0.1}
    whole = rpo_loss(sums_of(), BETTER, WORSE, weight=WEIGHT, **settings)
    parts = []
    for pair in range(3):
        here = pair == RESPONSE // 2
        sums = pair_sums(POLICY[here], REFERENCE[here], RESPONSE[here] % 2, FORMATTING[here], pairs_here=1)
        one_pair = slice(pair, pair + 1)
        parts.append(rpo_loss(sums, BETTER[one_pair], WORSE[one_pair], weight=WEIGHT[one_pair], **settings))
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole[0].item(), rel=1e-12)
    for key, value in whole[1].items():
        assert sum(sums[key].item() for _, sums in parts) == pytest.approx(value.item(), rel=1e-12), key


def test_half_precision_gives_a_float32_loss_of_full_accuracy():
    half = [t.bfloat16() for t in (POLICY, REFERENCE, BETTER, WORSE)]
    loss, sums = loss_of(*half)
    assert loss.dtype == torch.float32 and all(value.dtype == torch.float32 for value in sums.values())
    assert loss.item() == pytest.approx(loss_of(*(t.double() for t in half))[0].item(), rel=1e-5)


def test_an_unknown_distance_is_refused():
    with pytest.raises(SettingsError, match="backward, forward, squared"):
        loss_of(distance="rpo_bwd_kl")


@pytest.mark.parametrize("distance", DISTANCES)
def test_a_tabular_policy_reaches_a_equal_to_b_for_each_pair(distance):
    generator = torch.Generator().manual_seed(0)
    reference = torch.randn(4, 3, dtype=torch.float64, generator=generator).log_softmax(-1)
    logits = reference.clone().requires_grad_()
    rewards = torch.randn(4, 3, dtype=torch.float64, generator=generator)
    pairs = [(row, i, j) for row in range(4) for i in range(3) for j in range(i)]
    rows, better, worse = torch.tensor(pairs).unbind(1)
    tokens = torch.stack([better, worse], 1).flatten()
    twice = rows.repeat_interleave(2)
    response = torch.arange(2 * len(pairs))

    def measured():
        policy = logits.log_softmax(-1)[twice, tokens]
        mask = torch.zeros(len(response)).bool()
        sums = pair_sums(policy, reference[twice, tokens], response, mask, pairs_here=len(pairs))
        return rpo_loss(
            sums, rewards[rows, better], rewards[rows, worse], pairs=len(pairs), beta=0.5, distance=distance
        )

    optimiser = torch.optim.LBFGS(
        [logits], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = measured()[0]
        loss.backward()
        return loss

    assert measured()[1]["error"].item() / len(pairs) > 0.5
    optimiser.step(closure)
    assert measured()[1]["error"].item() / len(pairs) < 1e-5
