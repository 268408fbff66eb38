"""Policy gradients without a critic: REINFORCE, RLOO, clipped steps, GRPO in its forms, and Baichuan's.

method                  advantages                                       loss
REINFORCE with KL, WARP `centred` of `penalised` rewards, one group      `reinforce_loss`
RLOO                    `leave_one_out` of `penalised` rewards           `reinforce_loss`; several updates a round:
                                                                         `clipped_policy_loss(level="sequence")`
clipped, no critic      any                                              `clipped_policy_loss`
GRPO, DeepSeekMath      `standardised`                                   `grpo_loss(level="token")`
  with process rewards  `process_advantages`                             `grpo_loss(level="token", per_token=True)`
  iterative             `standardised`                                   `grpo_loss`, reference = start of iteration
GRPO as DeepSeek-V2 prints it   `standardised`                           `grpo_loss(level="sequence")`
GRPO, Baichuan          `standardised`                                   `reward_kl_loss` and `kept_close_loss`
MDLOO                   `leave_one_out` of `penalised` rewards           `mdloo.mdloo_loss`
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy.advantages import rest_of_response
from burnish.losses.on_policy.kl import estimate_from
from burnish.losses.on_policy.sampled import Over, SampledTokens, bounded_exp
from burnish.losses.segments import accumulator

Level = Literal["token", "sequence", "sequence_mean"]

CLIP = 0.2  # ASSUMED: DeepSeek prints no value (spec D5); Schulman et al. 2017


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """How far a ratio may carry an advantage.

    Attributes:
        low, high: the ratio counts down to 1 - low and up to 1 + high.
        cap: the largest ratio that a negative advantage may count with, above 1 + high; None sets no bound. Without it
            one token that the policy has learnt to like can outweigh a batch (dual clip: Ye et al. 2020,
            arXiv:1912.09729).
    """

    low: float = CLIP
    high: float = CLIP
    cap: float | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError for bounds that bound nothing."""
        if not (0 <= self.low <= 1 and self.high >= 0):
            raise SettingsError(f"clip is {self.low} and {self.high}; give 0 to 1 below the ratio and 0 or more above")
        if self.cap is not None and not self.cap > 1 + self.high:
            raise SettingsError(f"cap is {self.cap}; it must be above 1 + high = {1 + self.high}")


def reinforce_loss(
    sampled: SampledTokens, advantages: Tensor, *, units: int, over: Over | Literal["sums"] = "sums"
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's policy-gradient loss.

        L = -(1/R) sum_i A_i sum_t log pi(y_it | x, y_i,<t),    dL = -(1/R) sum_i A_i grad log pi(y_i | x)

    REINFORCE with KL as in WARP (arXiv:2406.16768 §3; spec yi_glm_gemma_deepseek_baichuan.md M6: Gemma's own algorithm
    is not published), with the KL inside the reward (`penalised`). With `leave_one_out` advantages it is RLOO (Ahmadian
    et al. 2024, arXiv:2402.14740). Exact for the policy that sampled; for later updates of the same round use a loss
    with ratios. The value is no measure of progress.

    Args:
        sampled: this part's tokens; `old` is not read.
        advantages: [R] of the responses; carry no gradient.
        units: R, the used responses of the whole optimiser batch; its trained tokens if `over` is `tokens`.
        over: `sums` as above, the gradient of the expected reward. `responses` takes token means and `tokens` the mean
            over all tokens, which weigh the answers of a prompt by their lengths.

    Returns:
        The loss (scalar, units of the advantage times nats), and detached sums over this part's used responses:
        `policy` (the loss before it is divided by the units), `logprob`, `advantage`, `responses`.

    Raises:
        DataError: there is not one advantage for each response.
    """
    logprobs = sampled.less(torch.zeros_like(sampled.logprobs))
    weighed = -sampled.of_tokens(advantages, "advantages") * logprobs
    loss = weighed.sum() if over == "sums" else sampled.total(weighed, over=over)
    used = sampled.used_responses()
    sums = {
        "policy": loss,
        "logprob": logprobs.sum(),
        "advantage": sampled.of_responses(advantages, "advantages").sum(),
        "responses": used.to(logprobs).sum(),
    }
    return loss / units, {name: value.detach() for name, value in sums.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Terms:
    """One row for each ratio: a token, or a response. `gap` is log pi - log pi_old, `advantages` without gradient."""

    gap: Tensor
    advantages: Tensor
    used: Tensor
    per_response: bool


def _terms(sampled: SampledTokens, advantages: Tensor, level: Level, per_token: bool) -> _Terms:
    gap, used = sampled.less(sampled.old), sampled.used_responses()
    if level not in ("token", "sequence", "sequence_mean"):
        raise SettingsError(f"level is {level!r}; choose one of token, sequence, sequence_mean")
    if level == "token":
        if per_token and advantages.shape != gap.shape:
            raise DataError(f"{list(advantages.shape)} advantages for {len(gap)} tokens; give one for each")
        each = advantages.detach().to(gap) if per_token else sampled.of_tokens(advantages, "advantages")
        return _Terms(gap=gap, advantages=each, used=used[sampled.response], per_response=False)
    if per_token:
        raise SettingsError(f"level={level!r} has one ratio for a response; advantages of tokens need level='token'")
    total = sampled.by_response(gap)
    if level == "sequence_mean":
        total = total / sampled.counts().clamp(min=1)
    return _Terms(gap=total, advantages=sampled.of_responses(advantages, "advantages"), used=used, per_response=True)


def _clipped(terms: _Terms, clip: Clip) -> tuple[Tensor, dict[str, Tensor]]:
    """-min(rho A, clip(rho) A) of each ratio, 0 where its response is not used, and what became of the ratios."""
    gap, advantages = terms.gap, terms.advantages
    ratio = bounded_exp(gap)
    counted = ratio if clip.cap is None else ratio.clamp(max=clip.cap)
    # at ratio = 1 both sides are equal and each gets half of the gradient: together all of it
    loss = -torch.minimum(counted * advantages, ratio.clamp(1 - clip.low, 1 + clip.high) * advantages)
    used, told = terms.used, ratio.detach()
    low, high = (told < 1 - clip.low) & (advantages < 0), (told > 1 + clip.high) & (advantages > 0)
    sums = {
        "ratio": torch.where(used, told, 0.0).sum(),
        "clipped_low": (used & low).to(told).sum(),
        "clipped_high": (used & high).to(told).sum(),
        "drift": torch.where(used, estimate_from(-gap.detach(), estimator="k3"), 0.0).sum(),
        "ratios": used.to(told).sum(),
    }
    return torch.where(used, loss, 0.0), sums


def clipped_policy_loss(
    sampled: SampledTokens,
    advantages: Tensor,
    *,
    units: int,
    level: Level = "token",
    over: Over = "responses",
    clip: Clip | None = None,
    per_token: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's clipped policy loss, PPO's without its critic.

        token:          L = -(1/R) sum_i (1/|o_i|) sum_t min(rho_it A_i, clip(rho_it, 1 - low, 1 + high) A_i),
                        rho_it = pi(y_it | ..) / pi_old(y_it | ..)
        sequence:       L = -(1/R) sum_i min(rho_i A_i, clip(rho_i, 1 - low, 1 + high) A_i),   rho_i = prod_t rho_it
        sequence_mean:  the same with rho_i = (prod_t rho_it)^(1/|o_i|)

    Schulman et al. 2017 (arXiv:1707.06347); the token level is GRPO's (DeepSeekMath), `sequence` is DeepSeek-V2's print
    and RLOO's for several updates, `sequence_mean` is GSPO (arXiv:2507.18071). Where the ratio has left the interval on
    the side that its advantage pulls to, a token has no gradient; on the other side it keeps it, so a negative
    advantage always pushes a ratio above 1 + high back down. At pi = pi_old the gradient is that of the policy.

    Args:
        sampled: this part's tokens.
        advantages: [R] of the responses, or [N] of the tokens with `per_token`; carry no gradient.
        units: R, the used responses of the whole optimiser batch; its trained tokens T where `over` is `tokens` (or
            R times the longest length allowed, which is Dr. GRPO's constant).
        level: what has a ratio.
        over: `responses` takes the mean over the tokens of a response, then over responses; `tokens` the mean over all
            tokens (DAPO, arXiv:2503.14476). At the two sequence levels a response weighs 1.
        clip: None is `Clip()`.

    Returns:
        The loss (scalar, units of the advantage), and detached sums over this part: `policy` (the loss before it is
        divided by the units), and over its ratios `ratio`, `clipped_low` (below, with a negative advantage),
        `clipped_high` (above, with a positive one), `drift` (rho - 1 - log rho, an estimate of KL(pi_old || pi), nats)
        and `ratios`, how many they are.

    Raises:
        DataError: the advantages do not fit.
        SettingsError: `level` or `over` is unknown, or advantages of tokens at a sequence level.
    """
    terms = _terms(sampled, advantages, level, per_token)
    loss, sums = _clipped(terms, clip or Clip())
    total = loss.sum() if terms.per_response else sampled.total(loss, over=over)
    return total / units, {"policy": total.detach(), **sums}


def grpo_loss(
    sampled: SampledTokens,
    advantages: Tensor,
    reference: Tensor,
    *,
    units: int,
    beta: float,
    level: Level = "token",
    over: Over = "responses",
    clip: Clip | None = None,
    per_token: bool = False,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's GRPO loss: the clipped policy loss and the divergence from the reference.

        token:     L = (1/R) sum_i (1/|o_i|) sum_t [ -min(rho_it A_i, clip(rho_it) A_i) + beta D_it ]
        sequence:  L = (1/R) sum_i [ -min(rho_i A_i, clip(rho_i) A_i) + beta D_i ]
        D = exp(s) - s - 1,    s = log pi_ref - log pi, of a token or summed over the response

    Token level: DeepSeekMath (arXiv:2402.03300 eq. 3), beta = 0.04, groups of 64, one update a round. Sequence level:
    as DeepSeek-V2 (arXiv:2405.04434 eq. 32 to 34) prints it; it publishes no value (spec D5, §6.4). D is `k3` of
    `kl_estimate`; unbiased on the first update only. `sequence_mean` (GSPO) has the ratio of the response and D as the
    mean over its tokens. Outcome rewards: `standardised` advantages of responses. Process rewards:
    `process_advantages`, with `per_token`. Iterative: the reference is the policy at the start of each iteration
    (DeepSeekMath §4.1.4), and so 0 is what D is at each start. A group whose answers are equally good has advantage 0
    and keeps its pull to the reference.

    Args:
        sampled, advantages, units, level, over, clip, per_token: as for `clipped_policy_loss`.
        reference: [N] log-probabilities under the reference, nats; carries no gradient.
        beta: units of the advantage per nat. At 0 the divergence is told but has no part in the gradient.

    Returns:
        The loss (scalar), and the sums of `clipped_policy_loss`, with `kl`: D weighed as in the loss, before it is
        divided by the units.

    Raises:
        As `clipped_policy_loss`.
    """
    loss, sums = clipped_policy_loss(
        sampled, advantages, units=units, level=level, over=over, clip=clip, per_token=per_token
    )
    gap = sampled.less(reference)
    if level == "sequence":
        kl = estimate_from(sampled.by_response(gap), estimator="k3").sum()
    else:
        kl = sampled.total(estimate_from(gap, estimator="k3"), over="responses" if level == "sequence_mean" else over)
    if beta:
        loss = loss + beta * kl / units
    return loss, {**sums, "kl": kl.detach()}


def reward_kl_loss(
    sampled: SampledTokens,
    advantages: Tensor,
    kl: Tensor,
    *,
    units: int,
    beta: float,
    through_kl: bool,
    over: Over = "responses",
    clip: Clip | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's clipped loss with the divergence inside the rewards of tokens.

        A_it = A_i - beta sum_{t' >= t} KL_it',    KL_it = KL(pi || pi_ref) over the reference's likeliest tokens
        L = -(1/R) sum_i (1/|o_i|) sum_t min(rho_it A_it, clip(rho_it) A_it)
            [ + beta (1/R) sum_i (1/|o_i|) sum_t KL_it ]

    Baichuan (arXiv:2410.14940, reinforcement learning; spec yi_glm_gemma_deepseek_baichuan.md B8, §6.4): GRPO with 3
    samples a prompt and the KL kept in the token-level reward, as `top_k_kl` (500) instead of the sampled estimator.
    ASSUMED: the outcome is standardised in its group first, so beta is per nat of a standardised advantage; a token
    answers for the divergence at and after it; no baseline for that part.

    The trap: a divergence summed over the vocabulary does not depend on the token that was drawn. Inside the reward it
    teaches only to avoid prefixes after which the models differ, and not to differ less: with answers of one token its
    gradient is 0 in the mean, whatever beta. The gradient of the printed objective E[r - beta KL] has the second term
    too. `through_kl` adds it; the report does not say, so there is no default.

    Args:
        sampled, units, over, clip: as for `clipped_policy_loss`.
        advantages: [R] of the outcomes.
        kl: [N] divergence at each token, nats, with its gradient if `through_kl`.
        beta: units of the advantage per nat.
        through_kl: the term in brackets.

    Returns:
        The loss (scalar), and the sums of `clipped_policy_loss`, with `kl`: as the term in brackets weighs it, before
        beta and the units.

    Raises:
        DataError: the divergences or advantages do not fit.
    """
    if kl.shape != sampled.logprobs.shape:
        raise DataError(f"{list(kl.shape)} divergences for {len(sampled.logprobs)} tokens; give one for each")
    wide = torch.where(sampled.used_responses()[sampled.response], kl.to(accumulator(kl.dtype)), 0.0)
    rest = rest_of_response(wide.detach(), sampled.response, responses_here=sampled.responses_here)
    each = sampled.of_tokens(advantages, "advantages") - beta * rest
    loss, sums = clipped_policy_loss(sampled, each, units=units, over=over, clip=clip, per_token=True)
    total = sampled.total(wide, over=over)
    if through_kl:
        loss = loss + beta * total / units
    return loss, {**sums, "kl": total.detach()}


def kept_close_loss(kl: Tensor, *, tokens: int, gamma: float) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's penalty for leaving the original model on the prompts of supervised training.

        L = gamma (1/T) sum_t KL(pi || pi_original)_t

    Baichuan (B8): in the place of the usual cross-entropy on demonstrations, which would pull a merged model back to
    the plain supervised one. DEVIATION: the report adds gamma KL to an objective that is maximised, which would reward
    divergence (spec §6.5); here it is subtracted from the objective. ASSUMED: the direction and the 500 tokens of
    `top_k_kl`, as in its reward, and the mean over tokens.

    Args:
        kl: [M] divergence at each token of this part's supervised rows, nats.
        tokens: T, such tokens of the whole optimiser batch.
        gamma: 0 or more.

    Returns:
        The loss (scalar), and the detached sum `kl`.

    Raises:
        SettingsError: gamma is negative.
    """
    if not gamma >= 0:
        raise SettingsError(f"gamma is {gamma}; below 0 it would reward leaving the original model")
    total = kl.to(accumulator(kl.dtype)).sum()
    return gamma * total / tokens, {"kl": total.detach()}
