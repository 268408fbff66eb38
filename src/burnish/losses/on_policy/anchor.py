"""WARP's anchor: the reference that follows the policy as a moving average of its weights."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator

MU = 0.01  # WARP's runs (arXiv:2406.16768; spec M7); the text of one figure says 0.1 (spec §6.5)


@torch.no_grad()
def moved_anchor(anchor: Sequence[Tensor], policy: Sequence[Tensor], *, mu: float = MU) -> list[Tensor]:
    """The anchor after one policy step.

        theta_ema <- (1 - mu) theta_ema + mu theta

    WARP (Algorithm 1; spec yi_glm_gemma_deepseek_baichuan.md M7): the reward of `reinforce_loss` holds
    -beta log(pi_theta / pi_ema), by `sequence_kl` and `penalised`, with this moving anchor in the place of a frozen
    reference. Both start at the initial weights of the iteration. mu = 0 is a static anchor, bit for bit; mu = 1 is the
    policy. `train.optim.average.Average` keeps the same average with decay = 1 - mu, in place.

    Args:
        anchor, policy: tensors of the same shapes. An anchor in half precision would stand still at mu = 0.01.
        mu: 0 .. 1.

    Returns:
        New tensors, in at least float32.

    Raises:
        DataError: the tensors do not fit.
        SettingsError: mu is out of range.
    """
    if not 0 <= mu <= 1:
        raise SettingsError(f"mu is {mu}; it is the share of the policy that enters the anchor at each step, 0 to 1")
    if [a.shape for a in anchor] != [p.shape for p in policy]:
        raise DataError("the anchor and the policy do not have the same tensors; start both from the same weights")
    wide = [a.detach().to(accumulator(a.dtype)) for a in anchor]
    # lerp is exact at both ends; a (1 - mu) + p mu would move the last digits of an anchor that should stand still
    return [torch.lerp(a, p.detach().to(a), mu) for a, p in zip(wide, policy, strict=True)]
