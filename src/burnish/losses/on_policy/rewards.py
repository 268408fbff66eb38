"""What becomes a reward: the divergence inside it, an offset out of it, several rewards as one."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator


def penalised(rewards: Tensor, kl: Tensor, *, beta: float) -> Tensor:
    """Rewards with the divergence from the reference inside.

        R(x, y) = r(x, y) - beta log(pi(y|x) / pi_ref(y|x))

    WARP and Gemma (arXiv:2406.16768 §3; spec M6, M7), MDLOO (nemotron_afm.md §B.12), RLOO. Its expectation over the
    policy is r - beta KL(pi || pi_ref).

    Args:
        rewards: [...] r.
        kl: [...] of the same shape: log(pi/pi_ref) summed over the tokens of each response (`sequence_kl`), nats.
        beta: units of reward per nat.

    Returns:
        [...] R, without a gradient.
    """
    wide = rewards.detach().to(accumulator(rewards.dtype))
    return wide - beta * kl.detach().to(wide)


def less_reference(rewards: Tensor, reference: Tensor) -> Tensor:
    """Rewards less that of one answer of the reference model to the same prompt, sampled beforehand.

        R(x, y) = r(x, y) - r(x, y_ref)

    ChatGLM-RLHF (arXiv:2404.00934; spec G11): takes the offset of each task out of the reward, so that it starts near
    0. The lab does not normalise rewards or advantages.

    Args:
        rewards: [G, K].
        reference: [G] reward of the reference's answer.

    Raises:
        DataError: there is not one for each group.
    """
    if reference.shape != rewards.shape[:1]:
        raise DataError(
            f"{list(reference.shape)} rewards of reference answers for {len(rewards)} groups; give one each"
        )
    wide = rewards.detach().to(accumulator(rewards.dtype))
    return wide - reference.detach().to(wide)[:, None]


def combined(
    parts: Mapping[str, Tensor],
    weights: Mapping[str, float],
    *,
    known: Mapping[str, Tensor] | None = None,
    standardise: bool = True,
) -> tuple[Tensor, Tensor]:
    """Several rewards of each response as one.

        r = sum_p c_p (r_p - mean r_p) / std r_p, over the responses of the batch whose part p is known

    DeepSeek-V2 (arXiv:2405.04434 §4.2; spec yi_glm_gemma_deepseek_baichuan.md D7): helpful, safety and rule rewards;
    the coefficients are unpublished. ASSUMED: each part standardised over the batch first (population), so that 1, 1, 1
    weighs models of different scales alike; a part that does not vary adds 0. Without `standardise`, the plain sum.

    Args:
        parts: [G, K] of each reward.
        weights: c of each reward; one of weight 0 is not looked at.
        known: [G, K] bool of each reward that has missing ones. A response without one of its parts has no reward: a
            sum without a term would say that the term is 0.

    Returns:
        [G, K] r, 0 where missing, and [G, K] bool, where it is known.

    Raises:
        SettingsError: rewards and weights do not have the same names, or no weight differs from 0.
        DataError: a known part is not finite, or the parts differ in shape.
    """
    if set(parts) != set(weights):
        odd = ", ".join(sorted(set(parts) ^ set(weights)))
        raise SettingsError(f"{odd}: each reward needs a weight and each weight a reward; a weight of 0 leaves one out")
    if not any(weights.values()):
        raise SettingsError("no reward has a weight other than 0; give at least one")
    shape = next(iter(parts.values())).shape
    total, there = None, None
    for name, part in parts.items():
        if not weights[name]:
            continue
        wide = part.detach().to(accumulator(part.dtype))
        here = (known or {}).get(name, torch.ones(shape, dtype=torch.bool, device=wide.device))
        if wide.shape != shape or here.shape != shape:
            raise DataError(f"reward {name} has the shape {list(wide.shape)}, others {list(shape)}; give equal ones")
        if (here & ~wide.isfinite()).any():
            raise DataError(f"reward {name} holds a value that is not finite; mark it as missing in `known`")
        wide = torch.where(here, wide, 0.0)
        if standardise:
            count = here.sum().clamp(min=1)
            gap = torch.where(here, wide - wide.sum() / count, 0.0)
            varies = bool((wide[here] != wide[here][:1]).any())
            wide = gap / (gap.square().sum() / count).sqrt() if varies else torch.zeros_like(gap)
        total = weights[name] * wide if total is None else total + weights[name] * wide
        there = here if there is None else there & here
    assert total is not None and there is not None
    return torch.where(there, total, 0.0), there
