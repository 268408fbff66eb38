"""Direct preference optimisation with formatting tokens masked, and a negative log-likelihood term on the chosen."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.losses.segments import accumulator, sum_by


def dpo_loss(
    logprobs: Tensor,
    reference: Tensor,
    response: Tensor,
    formatting: Tensor,
    *,
    pairs_here: int,
    pairs: int,
    beta: float,
    nll_weight: float,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean DPO + NLL loss.

        l(y) = sum_t m_t log p(y_t | x, y_<t),   m_t = 0 on formatting tokens, 1 elsewhere
        L = (1/P) sum_pairs [ -log sigmoid(beta ((l(y_w) - l_ref(y_w)) - (l(y_l) - l_ref(y_l)))) + lambda NLL(y_w) ]
        NLL(y) = -(1/|y|) sum_t log p(y_t | x, y_<t)    over all trained tokens, formatting included

    Llama 3 (spec §3.5): the mask applies to chosen and rejected; beta = 0.1, lambda = 0.2. Formatting tokens stay in
    the NLL, the one signal they have left (ASSUMED), which is a token mean within a response, then a mean over pairs
    (ASSUMED, after Pang et al. 2024; the report does not say whether it normalises). At policy = reference
    L = ln 2 + lambda NLL; equal chosen and rejected answers give no DPO gradient.

    Args:
        logprobs: [N] log-probabilities of this part's trained tokens under the policy, nats.
        reference: [N] the same under the frozen reference; carries no gradient.
        response: [N] number of the token's response; pair p holds chosen 2p and rejected 2p + 1.
        formatting: [N] True on terminators and headers; 1 - m_t.
        pairs_here: the pairs of this part.
        pairs: P, the pairs of the whole optimiser batch.

    Returns:
        The loss (scalar, nats), and detached sums over this part's pairs: `dpo`, `nll`, `margin` (beta times the
        difference of log-ratios), `accuracy` (margin > 0), `chosen` and `rejected` (mean log p per trained token).
    """
    kind = accumulator(logprobs.dtype)
    policy = logprobs.to(kind)
    # where, not a product: a masked token gets a gradient of exactly 0, whatever its value
    ratio = torch.where(formatting, torch.zeros((), dtype=kind, device=policy.device), policy - reference.to(policy))
    chosen, rejected = sum_by(ratio, response, 2 * pairs_here).view(pairs_here, 2).unbind(1)
    margin = beta * (chosen - rejected)
    lengths = sum_by(torch.ones_like(policy), response, 2 * pairs_here)
    likelihood = (sum_by(policy, response, 2 * pairs_here) / lengths).view(pairs_here, 2)
    dpo = -logsigmoid(margin).sum()
    nll = -likelihood[:, 0].sum()
    loss = (dpo + nll_weight * nll) / pairs
    sums = {
        "dpo": dpo,
        "nll": nll,
        "margin": margin.sum(),
        "accuracy": (margin > 0).to(kind).sum(),
        "chosen": likelihood[:, 0].sum(),
        "rejected": likelihood[:, 1].sum(),
    }
    return loss, {name: value.detach() for name, value in sums.items()}
