"""Divergence of the policy from another model: from sampled tokens, from whole distributions, and over sequences."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from burnish.errors import SettingsError
from burnish.losses.on_policy.sampled import bounded_exp
from burnish.losses.segments import accumulator, sum_by

Estimator = Literal["k1", "k2", "k3"]
TOP = 500  # Baichuan: the reference's likeliest tokens (arXiv:2410.14940; spec B8)


def kl_estimate(logprobs: Tensor, other: Tensor, *, estimator: Estimator = "k3") -> Tensor:
    """An estimate of KL(pi || pi_other) from each sampled token.

        d = log pi(y) - log pi_other(y)
        k1 = d            unbiased for y ~ pi; of either sign
        k2 = d^2 / 2      biased, >= 0; its gradient is unbiased for that of the KL
        k3 = e^-d - 1 + d unbiased for y ~ pi, >= 0, and 0 iff d = 0

    Schulman 2020 ("Approximating KL divergence"); k3 is GRPO's (DeepSeekMath eq. 4; spec D5). Unbiased only where y was
    sampled from pi itself: exact on the first update of a round. As a term of a loss they differ from their values: the
    gradient of k1 has the mean 0, and that of k3 is (1 - e^-d) grad log pi, in the mean the gradient of
    KL(pi_other || pi). k1 belongs into the reward.

    Args:
        logprobs: [...] log pi of the sampled tokens, nats; of whole sequences where these are sums.
        other: [...] log pi_other of the same; carries no gradient.

    Returns:
        [...] nats, in at least float32; finite for every finite d (`bounded_exp`).

    Raises:
        SettingsError: `estimator` is none of the three.
    """
    wide = logprobs.to(accumulator(logprobs.dtype))
    return estimate_from(wide - other.detach().to(wide), estimator=estimator)


def estimate_from(gap: Tensor, *, estimator: Estimator) -> Tensor:
    """The estimate from d = log pi - log pi_other; see `kl_estimate`."""
    if estimator == "k1":
        return gap
    if estimator == "k2":
        return gap.square() / 2
    if estimator == "k3":
        # expm1 keeps the digits of a small d; beyond the limit of `bounded_exp` a 1 is nothing
        return torch.where(gap > -1, torch.expm1(-gap.clamp(min=-1)), bounded_exp(-gap) - 1) + gap
    raise SettingsError(f"estimator is {estimator!r}; choose one of k1, k2, k3")


def sequence_kl(
    logprobs: Tensor, other: Tensor, response: Tensor, *, responses_here: int, estimator: Estimator = "k1"
) -> Tensor:
    """The estimate of each response: the sum over its tokens.

    k1 sums to log pi(y|x) - log pi_other(y|x), which is what the reward of RLOO, WARP and MDLOO holds (`penalised`).

    Args:
        logprobs, other, estimator: [N], as for `kl_estimate`.
        response: [N] number of the token's response.

    Returns:
        [responses_here] nats.
    """
    return sum_by(kl_estimate(logprobs, other, estimator=estimator), response, responses_here)


def weighted_gap(log_p: Tensor, log_q: Tensor) -> Tensor:
    """p (log p - log q), element by element; 0 where p = 0, whatever q, and infinite where only q is 0.

    Value and gradient are free of 0 times infinity: an event whose p is 0, or rounds to 0, is taken out before the
    subtraction.
    """
    possible = log_p.exp() > 0
    log_p, log_q = torch.where(possible, log_p, 0.0), torch.where(possible, log_q, 0.0)
    return torch.where(possible, log_p.exp() * (log_p - log_q), 0.0)


def full_kl(logits: Tensor, other: Tensor) -> Tensor:
    """KL(pi || pi_other) at each token, summed over the vocabulary.

        KL = sum_v pi(v) (log pi(v) - log pi_other(v)) >= 0, and 0 iff equal

    Args:
        logits: [..., V] the policy's.
        other: [..., V] the other model's; carries no gradient. A token that only it rules out (-inf) makes the KL
            infinite.

    Returns:
        [...] nats, in at least float32.
    """
    mine = logits.to(accumulator(logits.dtype)).log_softmax(-1)
    return weighted_gap(mine, other.detach().to(mine).log_softmax(-1)).sum(-1)


def top_k_kl(logits: Tensor, reference: Tensor, *, k: int = TOP) -> Tensor:
    """KL(pi || pi_ref) at each token over the k likeliest tokens of the reference, both models renormalised on them.

        K = the k largest logits of the reference,    p~(v) = p(v) / sum_{u in K} p(u)
        KL = sum_{v in K} pi~(v) (log pi~(v) - log pi~_ref(v)) >= 0

    Baichuan (arXiv:2410.14940, reinforcement learning; spec B8): no sampling noise, and never negative, unlike the
    estimate from one token. It is blind to mass that the policy moves out of K: 0 does not mean equal. At k = V it is
    `full_kl`.

    Args:
        logits: [..., V] the policy's.
        reference: [..., V] the reference's; carries no gradient.
        k: tokens; more than V are V.

    Returns:
        [...] nats, in at least float32. `kl_on_ids` is the same for a reference of which only these tokens were kept.

    Raises:
        SettingsError: k is below 1.
    """
    if k < 1:
        raise SettingsError(f"k is {k}; the divergence needs at least one token of the reference, and two to see any")
    kept, ids = reference.detach().topk(min(k, reference.shape[-1]), dim=-1)
    return kl_on_ids(logits, ids, kept)


def kl_on_ids(logits: Tensor, ids: Tensor, kept: Tensor) -> Tensor:
    """KL(pi || pi_ref) at each token over some tokens of the reference, both models renormalised on them.

    What a round keeps of its reference instead of whole rows of logits; see `top_k_kl`.

    Args:
        logits: [..., V] the policy's.
        ids: [..., k] tokens, none twice in a row.
        kept: [..., k] the reference's logits of them (or log-probabilities: a constant makes no difference); carries
            no gradient.

    Returns:
        [...] nats, in at least float32.
    """
    # softmax over the chosen logits is the renormalised distribution
    return full_kl(logits.gather(-1, ids), kept)


def adapted_beta(beta: float, kl: float, *, target: float, horizon: float, responses: int, limit: float = 0.2) -> float:
    """The coefficient of the next update, raised where the divergence is above its target and lowered where below.

        beta <- beta (1 + clip(kl / target - 1, -limit, limit) responses / horizon)

    Ziegler et al. 2019 (arXiv:1909.08593 §2.2), limit 0.2.

    Args:
        kl, target: nats of a response.
        horizon: responses in which a divergence far off its target changes beta by the share `limit`.
        responses: of this update.

    Raises:
        SettingsError: target or horizon is not positive.
    """
    if not (target > 0 and horizon > 0):
        raise SettingsError(f"target is {target} and horizon {horizon}; an adapted beta needs positive ones")
    return beta * (1 + min(max(kl / target - 1, -limit), limit) * responses / horizon)
