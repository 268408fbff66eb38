"""Supervised fine-tuning: negative log-likelihood of the trained tokens, a token or a sequence the unit."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.losses.segments import accumulator, sum_by


def sft_loss(logprobs: Tensor, *, tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean negative log-likelihood.

        L = -(1/T) sum_t log p(y_t | x, y_<t)

    T counts the trained tokens of the whole optimiser batch, so each token weighs the same and the sum over the parts
    of any split is the batch's loss. Prompt tokens are masked (Llama 3, spec §3.4) by not being in `logprobs`.

    Args:
        logprobs: [N] log-probabilities of this part's trained tokens, nats.
        tokens: T, the trained tokens of the whole optimiser batch.

    Returns:
        The loss (scalar, nats per token), and detached sums: `nll` over this part's tokens.
    """
    nll = -logprobs.to(accumulator(logprobs.dtype)).sum()
    return nll / tokens, {"nll": nll.detach()}


def sequence_sft_loss(
    logprobs: Tensor, owner: Tensor, *, sequences_here: int, sequences: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean over sequences of their token means.

        L = (1/M) sum_i (1/N_i) sum_t -log p(y_it | x_i, y_i,<t)

    LongAlign (arXiv:2401.18058, loss weighting; spec G3): a sequence weighs the same however long its answer is. The
    paper writes it over K packs, each token's loss times w K / M with w = 1/N_i, and the mean over packs; K cancels, so
    the value and the gradient are those of this function for every packing. A plain mean of pack means is another loss.

    Args:
        logprobs: [N] log-probabilities of this part's trained tokens, nats.
        owner: [N] number of the token's sequence in this part, below `sequences_here`. A sequence lies whole in one
            part, so that N_i can be counted here.
        sequences_here: the sequences of this part. One without trained tokens adds nothing.
        sequences: M, the sequences of the whole optimiser batch.

    Returns:
        The loss (scalar, nats per token), and detached sums over this part: `nll` over its tokens, `sequence_nll` over
        the token means of its sequences.
    """
    wide = logprobs.to(accumulator(logprobs.dtype))
    counts = sum_by(torch.ones_like(wide), owner, sequences_here)
    # each token over its own count: a sequence without tokens divides nothing by zero
    loss = -(wide / counts[owner]).sum()
    return loss / sequences, {"nll": -wide.detach().sum(), "sequence_nll": loss.detach()}
