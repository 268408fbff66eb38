"""Kahneman-Tversky optimisation: single responses labelled desirable or not, without pairs."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.losses.pairs import ResponseSums


def kto_loss(
    sums: ResponseSums,
    desirable: Tensor,
    z0: Tensor,
    *,
    responses: int,
    beta: float,
    desirable_weight: float = 1.0,
    undesirable_weight: float = 1.0,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean KTO loss.

        r = l(y) - l_ref(y),    l(y) = sum_t m_t log p(y_t | x, y_<t)
        L = (1/R) sum_y w_y (1 - sigmoid(s_y beta (r - max(z0, 0)))),    s_y = 1 if y is desirable, -1 otherwise
        dL/dr = -(1/R) w_y s_y beta sigmoid(u) sigmoid(-u),    u = beta (r - max(z0, 0))

    Ethayarajh et al. 2024 (arXiv:2402.01306, eq. 7). TRL 1.16's `kto` is this with no token masked: it too divides by
    the responses, not by their weights. At policy = reference and z0 <= 0 a response costs half its weight. Masking
    formatting tokens is Llama 3's DPO carried over (ASSUMED): pass a `formatting` that is False throughout to leave it
    out.

    Args:
        sums: this part's responses.
        desirable: [R] bool.
        z0: scalar, nats: estimate of KL(policy || reference) over the whole optimiser batch, the mean of log p - log
            p_ref of responses set beside the prompts of others. Clamped at 0 here; carries no gradient.
        responses: R, the responses of the whole optimiser batch.
        desirable_weight, undesirable_weight: w_y by label.

    Returns:
        The loss (scalar; no unit), and detached sums over this part's responses: `kto`, `accuracy` (r on its label's
        side of z0), `desirable` and `undesirable` (how many), and over those `desirable_reward` and
        `undesirable_reward` (beta r).
    """
    ratio, good = sums.ratio, desirable.to(sums.ratio)
    bad = 1 - good
    side = (good - bad) * beta * (ratio - z0.detach().to(ratio).clamp(min=0))
    # 1 - sigmoid(u) = sigmoid(-u), which keeps its digits where u is large
    loss = ((desirable_weight * good + undesirable_weight * bad) * torch.sigmoid(-side)).sum()
    reward = beta * ratio.detach()
    found = {
        "kto": loss,
        "accuracy": (side > 0).to(ratio).sum(),
        "desirable": good.sum(),
        "undesirable": bad.sum(),
        "desirable_reward": torch.where(desirable, reward, 0.0).sum(),
        "undesirable_reward": torch.where(desirable, 0.0, reward).sum(),
    }
    return loss / responses, {name: value.detach() for name, value in found.items()}
