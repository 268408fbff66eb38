"""Token-level distillation: the student's distribution at each trained token against the teacher's."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.losses.segments import accumulator


def _settle(cross: Tensor, entropy: Tensor, agree: Tensor, tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Sums over the tokens of a part, from [N] each."""
    total, least = cross.sum(), entropy.detach().sum()
    sums = {
        "cross_entropy": total.detach(),
        "entropy": least,
        "kl": total.detach() - least,
        "agreement": agree.to(cross).sum(),
    }
    return total / tokens, sums


def token_distill_loss(logits: Tensor, teacher: Tensor, *, tokens: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean cross-entropy to the teacher's full distribution.

        L = -(1/T) sum_t sum_v P_T(v | y_<t) log P_S(v | y_<t),     dL/dz_t = (softmax(z_t) - P_T) / T

    Gemma 2 (arXiv:2408.00118 §3.2; spec M2). It is the forward KL plus the teacher's entropy, which is constant: L is
    at least that entropy, with equality iff the distributions are equal. No temperature (ASSUMED: none is published).
    Masked tokens contribute nothing by having no row here. Rows add up, so a large vocabulary may be passed in chunks.

    Args:
        logits: [N, V] the student's, one row for each trained token of this part.
        teacher: [N, V] the teacher's logits at the same tokens over the same vocabulary; carries no gradient.
        tokens: T, the trained tokens of the whole optimiser batch.

    Returns:
        The loss (scalar, nats per token), and detached sums over this part's tokens: `cross_entropy`, `entropy` (the
        teacher's), `kl` (their difference), `agreement` (tokens whose likeliest next token is the same).
    """
    student = logits.to(accumulator(logits.dtype)).log_softmax(-1)
    target = teacher.detach().to(student).log_softmax(-1)
    p = target.exp()
    # a token that the teacher rules out (-inf) has weight 0, and 0 times an infinite logarithm is 0 here
    possible = p > 0
    cross = -(p * torch.where(possible, student, 0.0)).sum(-1)
    entropy = -(p * torch.where(possible, target, 0.0)).sum(-1)
    return _settle(cross, entropy, student.detach().argmax(-1) == target.argmax(-1), tokens)


def top_k_distill_loss(
    logits: Tensor, ids: Tensor, probabilities: Tensor, *, tokens: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean cross-entropy to a teacher of whom the k likeliest tokens are known.

        L = -(1/T) sum_t [ sum_{v in K_t} P_T(v) log P_S(v) + P_T(rest) log P_S(rest) ],
            P(rest) = 1 - sum_{v in K_t} P(v)

    The tail is one event, "any other token" (ASSUMED: Gemma 2 publishes no truncation). Renormalising the k
    probabilities (or dropping the tail's term, which has the same optimum) would teach the student that nothing else
    can follow. As one event, the least loss is at P_S = P_T on each known token and the right mass on the rest, which
    the student spreads as it already does: in the gradient softmax(z) - P_T, P_T on the rest is P_T(rest) P_S(v) /
    P_S(rest). The loss is at least the entropy of the teacher's k + 1 events, and merging events can only lower a KL,
    so `kl` is a lower bound of the full one. At k = V it is `token_distill_loss`.

    Args:
        logits: [N, V] the student's, one row for each trained token of this part.
        ids: [N, k] the teacher's likeliest tokens, in any order, none twice in a row.
        probabilities: [N, k] the teacher's probabilities of them, not renormalised; carry no gradient.
        tokens: T, the trained tokens of the whole optimiser batch.

    Returns:
        As `token_distill_loss`; `entropy` and `kl` are over the k + 1 events.
    """
    wide = logits.to(accumulator(logits.dtype))
    p = probabilities.detach().to(wide)
    norm = wide.logsumexp(-1)
    known = wide.gather(-1, ids) - norm[:, None]
    cross = -(p * torch.where(p > 0, known, 0.0)).sum(-1)
    entropy = -torch.xlogy(p, p).sum(-1)
    if ids.shape[-1] < wide.shape[-1]:
        rest = (1 - p.sum(-1)).clamp_min(0)  # rounding of the k probabilities may leave less than nothing
        # summed over the tail itself: 1 - P_S(known) loses all digits where the tail is small
        tail = wide.scatter(-1, ids, float("-inf")).logsumexp(-1) - norm
        cross = cross - rest * tail
        entropy = entropy - torch.xlogy(rest, rest)
    best = ids.gather(-1, p.argmax(-1, keepdim=True))[:, 0]
    return _settle(cross, entropy, wide.detach().argmax(-1) == best, tokens)
