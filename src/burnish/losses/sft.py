"""Supervised fine-tuning: negative log-likelihood of the trained tokens."""

from __future__ import annotations

from torch import Tensor

from burnish.losses.segments import accumulator


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
