"""SFT: the token mean of the whole optimiser batch, by hand and split any way."""

import math

import torch

from burnish.losses import sft_loss

# three rows of 2, 1 and 3 trained tokens with probabilities that are powers of two
ROWS = [[0.5, 0.25], [0.125], [0.5, 0.5, 1.0]]


def logs(row):
    return torch.tensor([math.log(p) for p in row], dtype=torch.float64)


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


def test_half_precision_is_summed_in_float32():
    logprobs = torch.full((4096,), -0.5, dtype=torch.bfloat16)
    loss, sums = sft_loss(logprobs, tokens=4096)
    assert loss.dtype == torch.float32 and sums["nll"].item() == 2048.0 and loss.item() == 0.5
