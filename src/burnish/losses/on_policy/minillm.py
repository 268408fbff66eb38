"""MiniLLM: the reverse divergence of whole sequences, by policy gradient with an exact part (arXiv:2306.08543)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from burnish.errors import SettingsError
from burnish.losses.on_policy.advantages import rest_of_response
from burnish.losses.on_policy.kl import weighted_gap
from burnish.losses.on_policy.sampled import bounded_exp
from burnish.losses.segments import accumulator

MIX = 0.2  # ASSUMED (spec M4: unverified): the teacher's share in the sampling


def mixed_log_probabilities(student: Tensor, teacher: Tensor, *, alpha: float = MIX) -> Tensor:
    """What teacher-mixed sampling draws from: log(alpha p + (1 - alpha) q).

    Args:
        student, teacher: [..., V] log-probabilities log q and log p.
        alpha: the teacher's share; 0 is the student itself, and 1 the teacher, bit for bit.

    Raises:
        SettingsError: alpha is not in 0 .. 1.
    """
    if not 0 <= alpha <= 1:
        raise SettingsError(f"alpha is {alpha}; it is the share of the teacher in the sampling, 0 to 1")
    if alpha in (0, 1):
        return teacher if alpha else student
    possible = (student > float("-inf")) | (teacher > float("-inf"))
    mine, theirs = torch.where(possible, student, 0.0), torch.where(possible, teacher, 0.0)
    mixture = torch.logaddexp(mine + math.log1p(-alpha), theirs + math.log(alpha))
    return torch.where(possible, mixture, float("-inf"))


def minillm_loss(
    student: Tensor,
    teacher: Tensor,
    ids: Tensor,
    response: Tensor,
    *,
    responses_here: int,
    units: int,
    sampler: Tensor | None = None,
    length_normalised: bool = True,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's reverse divergence KL(q || p) of sequences.

        r_t = log p(y_t) - log q(y_t),    w_t = q(y_t) / p~(y_t)
        R_{t+1} = sum_{t' > t} r_t', or their mean if `length_normalised`; 0 after the last token
        L = (1/N) sum_i sum_t w_t [ KL(q_t || p_t) - R_{t+1} log q(y_t) ],   no gradient through w and R

    Gu et al. (spec yi_glm_gemma_deepseek_baichuan.md M4, formulas unverified): the single step, exact over the
    vocabulary, and the long run by policy gradient. With samples of the student itself (`sampler` None: w = 1) and
    without length normalisation the gradient is in the mean that of KL(q || p) over whole sequences, since what a token
    does to its own r is in the first term. Where the teacher had a share in the sampling, w is the weight of this token
    alone in the place of the product over the prefix (the paper's approximation). The third stabiliser is an `sft_loss`
    on pre-training text, which the caller adds or leaves out. ASSUMED: the mean divides by the number of its terms
    (printed with one less, which is 0 before the last token), and each sequence of the batch weighs 1.

    Args:
        student, teacher: [N, V] log-probabilities at this part's trained tokens; the teacher's carry no gradient. Where
            the teacher rules out what the student holds possible, the loss is infinite.
        ids: [N] the token that was drawn.
        response: [N] number of the token's response; a response's tokens stand next to each other in order.
        units: N, the responses of the whole optimiser batch.
        sampler: [N] log p~ of the drawn tokens (`mixed_log_probabilities` at the time), nats.

    Returns:
        The loss (scalar, nats), and detached sums over this part: `reverse` (KL(q_t || p_t) of its tokens), `reward`
        (r_t), `weight` (w_t) and `tokens`.
    """
    wide = student.to(accumulator(student.dtype))
    given = teacher.detach().to(wide)
    exact = weighted_gap(wide, given).sum(-1)
    taken = wide.gather(-1, ids[:, None])[:, 0]
    reward = given.gather(-1, ids[:, None])[:, 0] - taken.detach()
    weight = torch.ones_like(reward) if sampler is None else bounded_exp(taken.detach() - sampler.detach().to(wide))
    ahead = rest_of_response(reward, response, responses_here=responses_here) - reward
    here = torch.ones_like(reward)
    left = rest_of_response(here, response, responses_here=responses_here) - here
    ahead = torch.where(left > 0, ahead, 0.0)
    if length_normalised:
        ahead = ahead / left.clamp(min=1)
    loss = (weight * (exact - ahead * taken)).sum()
    sums = {"reverse": exact.detach().sum(), "reward": reward.sum(), "weight": weight.sum(), "tokens": here.sum()}
    return loss / units, sums
