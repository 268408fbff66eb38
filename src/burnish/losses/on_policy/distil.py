"""Distillation on the student's own samples: forward, reverse and in-between divergences (GKD)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy.kl import weighted_gap
from burnish.losses.on_policy.sampled import Over
from burnish.losses.segments import accumulator, sum_by


def divergence(student: Tensor, teacher: Tensor, *, beta: float) -> Tensor:
    """The generalised Jensen-Shannon divergence of two distributions, with its end points as what they stand for.

        0 < beta < 1:  M = beta p_T + (1 - beta) p_S,    D = beta KL(p_T || M) + (1 - beta) KL(p_S || M)
        beta = 0:      D = KL(p_T || p_S), the forward one
        beta = 1:      D = KL(p_S || p_T), the reverse one

    GKD (Agarwal et al., arXiv:2306.13649 eq. 1; spec yi_glm_gemma_deepseek_baichuan.md M3). D itself vanishes as beta
    nears 0 or 1; it is D/beta and D/(1 - beta) that tend to the two divergences, so the end points are not limits of
    the values in between, and a loss with beta = 0.01 is about a hundredth of one with beta = 0. D >= 0, and 0 iff
    equal; symmetric at 1/2; at most the entropy of (beta, 1 - beta) in between.

    Args:
        student, teacher: [..., E] log-probabilities over the same events; each row sums to 1. A teacher's carry no
            gradient if they are detached.
        beta: 0 .. 1.

    Returns:
        [...] nats. Infinite at the end points where one rules out what the other holds possible, finite in between.

    Raises:
        DataError: their shapes differ.
        SettingsError: beta is out of range.
    """
    if student.shape != teacher.shape:
        raise DataError(
            f"the student has {list(student.shape)} and the teacher {list(teacher.shape)} probabilities; both must be "
            "over the same tokens of one vocabulary"
        )
    if not 0 <= beta <= 1:
        raise SettingsError(f"beta is {beta}; give 0 (forward KL), 1 (reverse KL) or a number in between")
    if beta == 0:
        return weighted_gap(teacher, student).sum(-1)
    if beta == 1:
        return weighted_gap(student, teacher).sum(-1)
    # an event that both rule out has no place in the mixture: taken out before it can make a NaN of its gradient
    possible = (student > float("-inf")) | (teacher > float("-inf"))
    mine, theirs = torch.where(possible, student, 0.0), torch.where(possible, teacher, 0.0)
    mixture = torch.logaddexp(mine + math.log1p(-beta), theirs + math.log(beta))
    both = beta * weighted_gap(theirs, mixture) + (1 - beta) * weighted_gap(mine, mixture)
    return torch.where(possible, both, 0.0).sum(-1)


def events(logits: Tensor, ids: Tensor, probabilities: Tensor, *, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """Log-probabilities of k known tokens and of "any other token", for the student and for the teacher.

    For a teacher of whom the k likeliest tokens are kept (ASSUMED: as `top_k_distill_loss`, the tail is one event and
    nothing is renormalised). Merging events can only lower a divergence, so what comes of these bounds the full one
    from below. At k = V there is no tail, and they are all tokens in the order of `ids`.

    Args:
        logits: [N, V] the student's.
        ids: [N, k] the teacher's likeliest tokens, none twice in a row.
        probabilities: [N, k] the teacher's probabilities of them at this temperature; carry no gradient.
        temperature: divides the student's logits.

    Returns:
        [N, k + 1] (or [N, V]) the student's, and the teacher's.
    """
    wide = logits.to(accumulator(logits.dtype)) / temperature
    norm, p = wide.logsumexp(-1, keepdim=True), probabilities.detach().to(wide)
    student, teacher = wide.gather(-1, ids) - norm, p.log()
    if ids.shape[-1] == wide.shape[-1]:
        return student, teacher
    # summed over the tail itself: 1 - P(known) loses all digits where the tail is small
    tail = wide.scatter(-1, ids, float("-inf")).logsumexp(-1, keepdim=True) - norm
    rest = (1 - p.sum(-1, keepdim=True)).clamp_min(0).log()
    return torch.cat([student, tail], -1), torch.cat([teacher, rest], -1)


def gkd_loss(
    student: Tensor,
    teacher: Tensor,
    response: Tensor,
    *,
    responses_here: int,
    units: int,
    beta: float,
    over: Over = "responses",
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean divergence of student and teacher.

        L = (1/R) sum_i (1/|y_i|) sum_t D_beta(p_T(. | y_<t, x), p_S(. | y_<t, x))

    GKD (arXiv:2306.13649 §3; spec M3). On the student's own samples, and with no gradient through the sampling, it is
    the on-policy term; on given answers (a teacher's, or ground truth) the other one; `draws.on_policy_turn` says which
    a batch is. Gemma 2 publishes neither D nor lambda; the paper found reverse KL best for instruction tuning, beta =
    0.9 for summaries and 0.1 for translation. ASSUMED: lambda 0.5, beta 0.5, temperature 0.9 (public libraries').
    With a reward, GKD adds this loss times alpha to a policy loss times 1 - alpha.

    Args:
        student, teacher: [N, E] log-probabilities at this part's trained tokens (`log_probabilities`, or `events` for a
            teacher known on k tokens).
        response: [N] number of the token's response.
        units: R, the responses of the whole optimiser batch; its trained tokens T where `over` is `tokens`, the mean
            over all tokens.
        beta: as for `divergence`.

    Returns:
        The loss (scalar, nats per token), and detached sums over this part's tokens: `divergence`, `forward`
        (KL(p_T || p_S)), `reverse` (KL(p_S || p_T)), `agreement` (the same likeliest event) and `tokens`.

    Raises:
        DataError: student and teacher do not have the same events.
        SettingsError: beta or `over` is out of range.
    """
    each = divergence(student, teacher.detach(), beta=beta)
    if over not in ("responses", "tokens"):
        raise SettingsError(f"over is {over!r}; choose 'responses' or 'tokens'")
    counts = sum_by(torch.ones_like(each), response, responses_here)
    loss = each.sum() if over == "tokens" else (each / counts[response]).sum()
    mine, theirs = student.detach(), teacher.detach()
    sums = {
        "divergence": each.detach().sum(),
        "forward": weighted_gap(theirs, mine).sum(),
        "reverse": weighted_gap(mine, theirs).sum(),
        "agreement": (mine.argmax(-1) == theirs.argmax(-1)).to(each).sum(),
        "tokens": counts.sum(),
    }
    return loss / units, sums


def log_probabilities(logits: Tensor, *, temperature: float = 1.0) -> Tensor:
    """log softmax(z / temperature) over the last axis, in at least float32.

    Raises:
        SettingsError: the temperature is not positive.
    """
    if not temperature > 0:
        raise SettingsError(f"temperature is {temperature}; it must be positive")
    return (logits.to(accumulator(logits.dtype)) / temperature).log_softmax(-1)
