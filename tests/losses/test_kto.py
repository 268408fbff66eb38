"""KTO: by hand, against TRL's form in plain Python, and what carries no gradient."""

import math

import pytest
import torch

from burnish.losses.kto import kto_loss
from burnish.losses.pairs import response_sums

# four answers: desirable, not, desirable, not; a formatting token ends the first two
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3])
FORMATTING = torch.tensor([0, 0, 1, 0, 1, 0, 0, 0]).bool()
POLICY = torch.tensor([-1.0, -2, -3, -4, -1, -2, -1, -1], dtype=torch.float64)
REFERENCE = torch.tensor([-2.0, -4, -9, -1, -9, -1, -1, -3], dtype=torch.float64)
DESIRABLE = torch.tensor([True, False, True, False])
Z0 = torch.tensor(0.5, dtype=torch.float64)


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def loss_of(policy=POLICY, reference=REFERENCE, z0=Z0, **settings):
    sums = response_sums(policy, reference, RESPONSE, FORMATTING, responses_here=4)
    return kto_loss(sums, DESIRABLE, z0, **({"responses": 4, "beta": 0.1} | settings))


def gradient_of(policy=POLICY, **settings):
    policy = policy.clone().requires_grad_()
    return torch.autograd.grad(loss_of(policy, **settings)[0], policy)[0]


def test_four_answers_by_hand():
    # masked log-ratios: 1 + 2, -3, -1 + 0, 2
    loss, sums = loss_of(desirable_weight=1.5, undesirable_weight=2.0)
    costs = [
        1.5 * (1 - sigmoid(0.1 * (3 - 0.5))),
        2.0 * (1 - sigmoid(0.1 * (0.5 + 3))),
        1.5 * (1 - sigmoid(0.1 * (-1 - 0.5))),
        2.0 * (1 - sigmoid(0.1 * (0.5 - 2))),
    ]
    assert loss.item() == pytest.approx(sum(costs) / 4, rel=1e-12)
    assert {k: v.item() for k, v in sums.items()} == pytest.approx(
        {
            "kto": sum(costs),
            "accuracy": 2,
            "desirable": 2,
            "undesirable": 2,
            "desirable_reward": 0.1 * (3 - 1),
            "undesirable_reward": 0.1 * (-3 + 2),
        }
    )


def test_trl_form_in_plain_python_agrees_in_value_and_gradient():
    """TRL: two lists of losses by label, each weighted, put together and averaged over all responses."""
    generator = torch.Generator().manual_seed(2)
    policy, reference = (-3 * torch.rand(8, dtype=torch.float64, generator=generator) for _ in range(2))
    mismatched = [0.9, -0.4, 1.3]
    beta, weights, gradient = 0.7, (1.33, 0.8), [0.0] * 8
    kl = max(sum(mismatched) / 3, 0)
    by_label = {True: [], False: []}
    for number in range(4):
        tokens = [n for n in range(8) if RESPONSE[n] == number and not FORMATTING[n]]
        ratio = sum(policy[n].item() - reference[n].item() for n in tokens)
        good = DESIRABLE[number].item()
        value = sigmoid(beta * (ratio - kl)) if good else sigmoid(beta * (kl - ratio))
        by_label[good].append(1 - value)
        for n in tokens:
            gradient[n] = (-weights[0] if good else weights[1]) * beta * value * (1 - value) / 4
    flat = ([weights[0] * x for x in by_label[True]], [weights[1] * x for x in by_label[False]])
    settings = {
        "reference": reference,
        "z0": torch.tensor(mismatched, dtype=torch.float64).mean(),
        "beta": beta,
        "desirable_weight": weights[0],
        "undesirable_weight": weights[1],
    }
    assert loss_of(policy, **settings)[0].item() == pytest.approx(sum(flat[0] + flat[1]) / 4, rel=1e-12)
    assert gradient_of(policy, **settings).tolist() == pytest.approx(gradient, rel=1e-12, abs=1e-12)


def test_gradcheck():
    policy = POLICY.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda p: loss_of(p, beta=1.0, undesirable_weight=2.0)[0], policy)


def test_a_reference_point_below_0_counts_as_0_and_carries_no_gradient():
    assert loss_of(z0=torch.tensor(-3.0))[0].item() == loss_of(z0=torch.tensor(0.0))[0].item()
    assert loss_of(z0=torch.tensor(3.0))[0].item() != loss_of(z0=torch.tensor(0.0))[0].item()
    z0, policy = Z0.clone().requires_grad_(), POLICY.clone().requires_grad_()
    assert torch.autograd.grad(loss_of(policy, z0=z0)[0], z0, allow_unused=True) == (None,)


def test_at_the_reference_an_answer_costs_half_its_weight():
    at = {"reference": POLICY, "z0": torch.tensor(0.0)}
    loss, sums = loss_of(desirable_weight=3.0, undesirable_weight=1.0, **at)
    assert loss.item() == pytest.approx((3 + 1 + 3 + 1) / 2 / 4, rel=1e-12)
    assert sums["accuracy"].item() == 0


def test_desirable_answers_rise_and_undesirable_ones_fall_and_a_weight_of_0_leaves_them_alone():
    gradient = gradient_of()
    good = DESIRABLE[RESPONSE]
    assert torch.equal(gradient < 0, good & ~FORMATTING) and torch.equal(gradient > 0, ~good & ~FORMATTING)
    assert torch.equal(gradient_of(undesirable_weight=0.0) != 0, good & ~FORMATTING)
    assert torch.equal(gradient_of(desirable_weight=0.0) != 0, ~good & ~FORMATTING)


def test_gradient_is_exactly_zero_on_masked_positions_whatever_their_value():
    policy = POLICY.clone()
    policy[FORMATTING] = -math.inf
    assert torch.equal(gradient_of(policy), gradient_of()) and torch.equal(gradient_of(policy) == 0, FORMATTING)
    assert loss_of(policy)[0].item() == loss_of()[0].item()


def test_far_from_the_reference_point_the_cost_keeps_its_digits():
    policy = REFERENCE.clone()
    policy[7] = -403.0  # an undesirable answer, log-ratio -400
    sums = response_sums(policy[7:], REFERENCE[7:], torch.tensor([0]), torch.zeros(1).bool(), responses_here=1)
    loss = kto_loss(sums, torch.tensor([False]), torch.tensor(0.0), responses=1, beta=0.1)[0]
    # 1 - sigmoid(40) in the naive order is 0
    assert loss.item() == pytest.approx(math.exp(-40), rel=1e-9, abs=0)


@pytest.mark.parametrize("split", [[[0], [1], [2], [3]], [[3, 0], [1, 2]], [[0, 2], [1, 3]]])
def test_parts_add_up_in_loss_and_sums_also_where_a_part_lacks_a_label(split):
    settings = {"responses": 4, "beta": 0.1, "desirable_weight": 1.5}
    whole = loss_of(desirable_weight=1.5)
    parts = []
    for numbers in split:
        tokens = torch.cat([torch.nonzero(number == RESPONSE).flatten() for number in numbers])
        renumbered = torch.cat([torch.full((int((n == RESPONSE).sum()),), i) for i, n in enumerate(numbers)])
        here = (POLICY[tokens], REFERENCE[tokens], renumbered, FORMATTING[tokens])
        sums = response_sums(*here, responses_here=len(numbers))
        parts.append(kto_loss(sums, DESIRABLE[numbers], Z0, **settings))
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole[0].item(), rel=1e-12)
    for key, value in whole[1].items():
        assert sum(sums[key].item() for _, sums in parts) == pytest.approx(value.item(), rel=1e-12), key


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_gives_a_float32_loss_of_full_accuracy(kind):
    policy, reference, z0 = ((t * 0.7).to(kind) for t in (POLICY, REFERENCE, Z0))
    loss, sums = loss_of(policy, reference, z0)
    assert loss.dtype == torch.float32 and all(value.dtype == torch.float32 for value in sums.values())
    exact = loss_of(policy.double(), reference.double(), z0.double())[0].item()
    assert loss.item() == pytest.approx(exact, rel=1e-5)


def test_sums_are_detached():
    loss, sums = loss_of(POLICY.clone().requires_grad_())
    assert loss.requires_grad and not any(value.requires_grad for value in sums.values())
