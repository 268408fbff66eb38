"""The Bernoulli cross-entropy of a logit with a soft label: one kernel behind DPO, cDPO, graded ranking and RPO."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.losses.segments import accumulator


def soft_label_loss(logit: Tensor, p: Tensor | float) -> Tensor:
    """Cross-entropy of Bernoulli(sigmoid(z)) with the label p, element by element.

        l(z, p) = -p log sigmoid(z) - (1 - p) log sigmoid(-z),    dl/dz = sigmoid(z) - p

    Nemotron-4 and AFM (spec nemotron_afm.md §D.1): p = 1 is DPO and Bradley-Terry, p = 1 - eps cDPO, p = 0.95, 0.85,
    0.75, 0.65 the graded ranking of §B.2, p = sigmoid(b) backward RPO up to the entropy of the label. The minimum over
    z is that entropy, at z = logit(p). Value and gradient are finite for every finite z, and at p = 1 for z = +inf.

    Args:
        logit: [...] z.
        p: the label, a number or a tensor that broadcasts against `logit`; 0 <= p <= 1; carries no gradient.

    Returns:
        [...] nats, in `accumulator(logit.dtype)`.
    """
    logit = logit.to(accumulator(logit.dtype))
    label = torch.as_tensor(p, dtype=logit.dtype, device=logit.device).detach()
    return -_weighted(label, logsigmoid(logit)) - _weighted(1 - label, logsigmoid(-logit))


def soft_label_kl(logit: Tensor, target: Tensor) -> Tensor:
    """Divergence of Bernoulli(sigmoid(a)) from Bernoulli(sigmoid(b)), element by element.

        p = sigmoid(b)
        KL(b || a) = p (log sigmoid(b) - log sigmoid(a)) + (1 - p) (log sigmoid(-b) - log sigmoid(-a))
        dKL/da = sigmoid(a) - sigmoid(b),    dKL/db = sigmoid(b) sigmoid(-b) (b - a)

    Stable form of spec nemotron_afm.md §A.19, with sigmoid(-b) for 1 - p so that nothing cancels at large b. KL >= 0
    up to rounding, and exactly 0 where a == b. Both arguments carry gradients: detach the side that is given.

    Args:
        logit: [...] a.
        target: [...] b, the logit of the label that weights the sum.

    Returns:
        [...] nats, in `accumulator(logit.dtype)`.
    """
    logit = logit.to(accumulator(logit.dtype))
    target = target.to(logit)
    better = _weighted(torch.sigmoid(target), logsigmoid(target) - logsigmoid(logit))
    worse = _weighted(torch.sigmoid(-target), logsigmoid(-target) - logsigmoid(-logit))
    return better + worse


def _weighted(share: Tensor, value: Tensor) -> Tensor:
    # 0 times infinity is 0 here: a label without weight says nothing of a logit without bound
    return share * torch.where(share != 0, value, torch.zeros_like(value))
