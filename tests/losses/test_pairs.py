"""Sums of responses and pairs: by hand, against a loop, and what a masked token must not do."""

import math

import pytest
import torch

from burnish.losses.pairs import PairSums, pair_sums, response_sums, share_of_batch

# pair 0: chosen 3 tokens (last one formatting), rejected 2; pair 1: 2 and 2; pair 2: 2 and 1, that one formatting
RESPONSE = torch.tensor([0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5])
FORMATTING = torch.tensor([0, 0, 1, 0, 1, 0, 1, 0, 0, 0, 1, 1]).bool()
POLICY = torch.tensor([-1.0, -2, -3, -4, -1, -2, -1, -1, -5, -2, -2, -7], dtype=torch.float64)
REFERENCE = torch.tensor([-2.0, -4, -9, -1, -9, -1, -9, -3, -1, -1, -9, -3], dtype=torch.float64)


def sums_of(policy=POLICY, reference=REFERENCE):
    return pair_sums(policy, reference, RESPONSE, FORMATTING, pairs_here=3)


def test_three_pairs_by_hand():
    sums = sums_of()
    assert sums.chosen_ratio.tolist() == [1 + 2, -1, -1] and sums.rejected_ratio.tolist() == [-3, 2 - 4, 0]
    assert sums.chosen.tolist() == [-6, -3, -4] and sums.rejected.tolist() == [-5, -6, -7]
    assert sums.chosen_length.tolist() == [3, 2, 2] and sums.rejected_length.tolist() == [2, 2, 1]
    assert sums.chosen_unmasked.tolist() == [2, 1, 1] and sums.rejected_unmasked.tolist() == [1, 2, 0]
    assert sums.gap(normalise=False).tolist() == [6, 1, -1]
    assert sums.gap(normalise=True).tolist() == [3 / 2 + 3, -1 + 1, -1]
    assert sums.nll(summed=True).tolist() == [6, 3, 4] and sums.nll(summed=False).tolist() == [2, 1.5, 2]


@pytest.mark.parametrize("side", [0, 1])
def test_an_answer_of_formatting_tokens_only_has_a_log_ratio_of_0_normalised_or_not(side):
    formatting = torch.tensor([side == 0, side == 1])
    sums = pair_sums(POLICY[:2], REFERENCE[:2], torch.tensor([0, 1]), formatting, pairs_here=1)
    alone = [-2.0, 1.0][side]  # the log-ratio of the other answer, with its sign
    assert sums.gap(normalise=True).item() == sums.gap(normalise=False).item() == alone


def test_a_loop_in_plain_python_agrees():
    generator = torch.Generator().manual_seed(3)
    response = torch.randint(0, 7, (60,), generator=generator)
    formatting = torch.rand(60, generator=generator) < 0.3
    policy, reference = (-4 * torch.rand(60, generator=generator, dtype=torch.float64) for _ in range(2))
    sums = response_sums(policy, reference, response, formatting, responses_here=8)  # the last has no token
    for number in range(8):
        tokens = [n for n in range(60) if response[n] == number]
        kept = [n for n in tokens if not formatting[n]]
        ratio = sum(policy[n].item() - reference[n].item() for n in kept)
        assert sums.ratio[number].item() == pytest.approx(ratio, abs=1e-12)
        assert sums.logprob[number].item() == pytest.approx(sum(policy[n].item() for n in tokens), abs=1e-12)
        assert (sums.length[number].item(), sums.unmasked[number].item()) == (len(tokens), len(kept))


def test_the_order_of_the_tokens_does_not_matter():
    order = torch.randperm(12, generator=torch.Generator().manual_seed(0))
    mixed = pair_sums(POLICY[order], REFERENCE[order], RESPONSE[order], FORMATTING[order], pairs_here=3)
    assert torch.equal(mixed.gap(normalise=True), sums_of().gap(normalise=True))


@pytest.mark.parametrize("value", [-3.0, -1e30, -math.inf, math.nan])
def test_a_masked_token_gets_a_gradient_of_exactly_zero_whatever_its_value(value):
    policy = POLICY.clone()
    policy[FORMATTING] = value
    policy.requires_grad_()
    gap = sums_of(policy).gap(normalise=False)
    assert gap.tolist() == [6, 1, -1]
    gap.sum().backward()
    side = 1.0 - 2 * (RESPONSE % 2).double()
    assert torch.equal(policy.grad, torch.where(FORMATTING, 0.0, side))


def test_an_infinite_masked_reference_does_not_enter_either():
    reference = torch.where(FORMATTING, -math.inf, REFERENCE)
    assert sums_of(reference=reference).gap(normalise=False).tolist() == [6, 1, -1]


def test_the_reference_carries_no_gradient():
    policy, reference = POLICY.clone().requires_grad_(), REFERENCE.clone().requires_grad_()
    sums = sums_of(policy, reference)
    assert torch.autograd.grad(sums.gap(normalise=False).sum(), reference, allow_unused=True) == (None,)


def test_gradcheck():
    policy = POLICY.clone().requires_grad_()

    def all_of(p):
        sums = sums_of(p)
        return sums.gap(normalise=True), sums.gap(normalise=False), sums.nll(summed=True), sums.nll(summed=False)

    assert torch.autograd.gradcheck(all_of, policy)


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_float32(kind):
    # 4000 tokens of about -1/8: in half precision the sum would stop growing long before -500
    tokens = 4000
    policy = torch.full((2 * tokens,), -0.123, dtype=kind)
    reference = torch.full((2 * tokens,), -0.25, dtype=kind)
    response = torch.arange(2).repeat_interleave(tokens)
    sums = pair_sums(policy, reference, response, torch.zeros(2 * tokens).bool(), pairs_here=1)
    for name in PairSums.__dataclass_fields__:
        assert getattr(sums, name).dtype == torch.float32
    exact = tokens * (policy[0].item() + 0.25)
    assert sums.chosen_ratio.item() == pytest.approx(exact, rel=1e-5)
    assert sums.chosen.item() == pytest.approx(tokens * policy[0].item(), rel=1e-5)
    assert sums.rejected_length.item() == tokens


def test_float64_stays_float64():
    assert sums_of().gap(normalise=True).dtype == torch.float64


def test_share_of_batch_by_hand():
    sums = sums_of()
    loss, margin = (torch.tensor(v, dtype=torch.float64) for v in ([1.0, 2.0, 4.0], [0.5, 0.0, -0.5]))
    share, found = share_of_batch(sums, loss, margin, {"mine": loss}, pairs=8)
    assert share.item() == 7 / 8
    # a margin of 0 is not a right order; token means: chosen -2, -3/2, -2, rejected -5/2, -3, -7
    assert {k: v.item() for k, v in found.items()} == pytest.approx(
        {"mine": 7, "nll": 5.5, "margin": 0, "accuracy": 1, "chosen": -5.5, "rejected": -12.5}
    )
    weight = torch.tensor([0.5, 0.25, 2.0])
    share, found = share_of_batch(sums, loss, margin, {"mine": loss}, pairs=8, weight=weight)
    assert share.item() == (0.5 + 0.5 + 8) / 8
    assert found["mine"].item() == 9 and found["margin"].item() == -0.75 and found["accuracy"].item() == 0.5
    assert found["chosen"].item() == -(1 + 0.375 + 4) and found["rejected"].item() == -(1.25 + 0.75 + 14)


def test_metrics_are_detached_and_the_weight_carries_no_gradient():
    policy, weight = POLICY.clone().requires_grad_(), torch.ones(3, requires_grad=True)
    sums = sums_of(policy)
    margin = sums.gap(normalise=False)
    loss, found = share_of_batch(sums, margin, margin, {"mine": margin}, pairs=3, weight=weight)
    assert loss.requires_grad and not any(value.requires_grad for value in found.values())
    assert torch.autograd.grad(loss, weight, allow_unused=True) == (None,)
