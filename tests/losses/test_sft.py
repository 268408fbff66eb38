"""SFT: token means and sequence means of the whole optimiser batch, by hand, in LongAlign's form, split any way."""

import itertools
import math

import pytest
import torch

from burnish.losses.sft import sequence_sft_loss, sft_loss

# three rows of 2, 1 and 3 trained tokens with probabilities that are powers of two
ROWS = [[0.5, 0.25], [0.125], [0.5, 0.5, 1.0]]


def logs(row):
    return torch.tensor([math.log(p) for p in row], dtype=torch.float64)


def owners(rows):
    return torch.tensor([number for number, row in enumerate(rows) for _ in row])


def test_three_rows_by_hand():
    loss, sums = sft_loss(torch.cat([logs(r) for r in ROWS]), tokens=6)
    # minus log2 of the probabilities: 1 + 2 + 3 + 1 + 1 + 0 = 8 bits over 6 tokens
    assert math.isclose(loss.item(), 8 * math.log(2) / 6, rel_tol=1e-12)
    assert math.isclose(sums["nll"].item(), 8 * math.log(2), rel_tol=1e-12)


def test_parts_add_up_to_the_token_mean_not_to_the_mean_of_row_means():
    parts = sum(sft_loss(logs(r), tokens=6)[0] for r in ROWS).item()
    assert math.isclose(parts, 8 * math.log(2) / 6, rel_tol=1e-12)
    of_rows = sum(-logs(r).mean().item() for r in ROWS) / 3
    assert abs(of_rows - parts) > 0.1


def test_gradient_is_minus_one_over_the_tokens_of_the_batch():
    logprobs = logs([0.5, 0.25]).requires_grad_()
    sft_loss(logprobs, tokens=6)[0].backward()
    assert torch.equal(logprobs.grad, torch.full((2,), -1 / 6, dtype=torch.float64))


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_half_precision_is_summed_in_float32(kind):
    logprobs = torch.full((4099,), -0.5, dtype=kind)
    loss, sums = sft_loss(logprobs, tokens=4099)
    # 2,049.5 is no number of half precision, nor is the count 4,098 below
    assert loss.dtype == torch.float32 and sums["nll"].item() == 2049.5 and loss.item() == 0.5
    loss, sums = sequence_sft_loss(logprobs, torch.tensor([0] * 4098 + [1]), sequences_here=2, sequences=2)
    assert loss.dtype == torch.float32 and sums["nll"].item() == 2049.5
    assert loss.item() == pytest.approx(0.5, rel=1e-6)


def test_sequence_means_by_hand():
    loss, sums = sequence_sft_loss(torch.cat([logs(r) for r in ROWS]), owners(ROWS), sequences_here=3, sequences=3)
    # bits a token: 3/2, 3 and 2/3
    assert loss.item() == pytest.approx((1.5 + 3 + 2 / 3) * math.log(2) / 3, rel=1e-12)
    assert sums["nll"].item() == pytest.approx(8 * math.log(2), rel=1e-12)
    assert sums["sequence_nll"].item() == pytest.approx((1.5 + 3 + 2 / 3) * math.log(2), rel=1e-12)


def packings(count):
    """Every way to lay sequences into packs (set partitions)."""
    if count == 0:
        yield []
        return
    for smaller in packings(count - 1):
        for place in range(len(smaller)):
            yield [*smaller[:place], [*smaller[place], count - 1], *smaller[place + 1 :]]
        yield [*smaller, [count - 1]]


def test_any_packing_weighted_as_in_longalign_is_the_mean_over_sequences():
    generator = torch.Generator().manual_seed(2)
    rows = [(-3 * torch.rand(n, dtype=torch.float64, generator=generator)).requires_grad_() for n in (1, 4, 2, 7)]
    mean = sum(-row.sum() / len(row) for row in rows) / 4
    wanted = torch.cat(torch.autograd.grad(mean, rows))
    differs = 0
    for packing in packings(4):
        # sum over tokens of CE w K / M in each pack, then the mean over packs: the printed form
        pack_losses = [
            sum(-token * (1 / len(rows[i])) * len(packing) / 4 for i in pack for token in rows[i]) for pack in packing
        ]
        printed = sum(pack_losses) / len(packing)
        ours = 0.0
        for pack in packing:
            part = torch.cat([rows[i] for i in pack])
            owner = torch.tensor([place for place, i in enumerate(pack) for _ in rows[i]])
            ours = ours + sequence_sft_loss(part, owner, sequences_here=len(pack), sequences=4)[0]
        gradient = torch.cat(torch.autograd.grad(ours, rows))
        assert abs((ours - printed).item()) < 1e-12 and abs((ours - mean).item()) < 1e-12
        assert (gradient - wanted).norm() < 1e-12 * wanted.norm()
        plain = sum(torch.cat([-rows[i] for i in pack]).mean() for pack in packing) / len(packing)
        differs += abs((plain - mean).item()) > 1e-3
    # only packs of one sequence each make the plain mean of pack means right
    assert differs == len(list(packings(4))) - 1 == 14


def test_a_sequence_without_tokens_adds_nothing():
    logprobs = logs([0.5, 0.25, 0.125]).requires_grad_()
    for owner in itertools.combinations_with_replacement(range(3), 3):
        loss, _ = sequence_sft_loss(logprobs, torch.tensor(owner), sequences_here=3, sequences=3)
        (gradient,) = torch.autograd.grad(loss, logprobs)
        assert gradient.tolist() == pytest.approx([-1 / 3 / owner.count(o) for o in owner], rel=1e-15)
