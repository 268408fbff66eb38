"""Reward-aware preference optimisation: the margin of the policy is fitted to the gap of given rewards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from torch import Tensor

from burnish.errors import SettingsError
from burnish.losses.pairs import PairSums, share_of_batch
from burnish.losses.soft_labels import soft_label_kl

Distance = Literal["backward", "forward", "squared"]

DISTANCES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "backward": soft_label_kl,
    "forward": lambda a, b: soft_label_kl(b, a),
    "squared": lambda a, b: (a - b).square(),
}


def rpo_loss(
    sums: PairSums,
    chosen_reward: Tensor,
    rejected_reward: Tensor,
    *,
    pairs: int,
    beta: float,
    eta: float = 1.0,
    distance: Distance = "backward",
    sft_weight: float = 0.0,
    sft_sum: bool = True,
    normalise: bool = False,
    weight: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean RPO loss.

        a = beta ((l(y_w) - l_ref(y_w)) - (l(y_l) - l_ref(y_l))),    b = eta (r(x, y_w) - r(x, y_l))
        L = (1/P) sum_pairs w [ D(a, b) + mu SFT(y_w) ]
        backward: KL(Bern(sigmoid b) || Bern(sigmoid a)),    dD/da = sigmoid(a) - sigmoid(b)
        forward:  KL(Bern(sigmoid a) || Bern(sigmoid b)),    dD/da = sigmoid(a) sigmoid(-a) (a - b)
        squared:  (a - b)^2,                                 dD/da = 2 (a - b)

    Nemotron-4 (spec nemotron_afm.md §A.19): backward, the one whose sum the rewards weight (`rpo_bwd_kl` of its code;
    some write-ups swap the arguments); eta = 1, beta in [1e-3, 1], mu = 1e-5 on the summed SFT term of `dpo_loss`.
    D >= 0, and 0 iff a = b; swapping chosen and rejected leaves D unchanged; b -> infinity gives DPO in the backward
    form; eta = 0 pulls a to 0. Where a pair has no rewards the code takes 1 and 0. b depends on the units of the reward
    model, so standardising rewards or changing eta changes the optimum.

    Args:
        sums: this part's pairs.
        chosen_reward, rejected_reward: [P] given rewards; carry no gradient.
        pairs: P, the pairs of the whole optimiser batch.
        eta: scale of the rewards, per unit of reward.
        sft_weight, sft_sum, normalise, weight: mu and the rest, as in `dpo_loss`.

    Returns:
        The loss (scalar, nats), and detached sums over this part's pairs: `rpo` (D), `target` (b), `error` (|a - b|),
        `sft` if mu is not 0, `nll`, `margin` (a), `accuracy` (a > 0), `chosen` and `rejected` as in `dpo_loss`.

    Raises:
        SettingsError: `distance` is none of the three.
    """
    if distance not in DISTANCES:
        raise SettingsError(f"distance is {distance!r}; choose one of {', '.join(DISTANCES)}")
    margin = beta * sums.gap(normalise=normalise)
    target = eta * (chosen_reward.detach().to(margin) - rejected_reward.detach().to(margin))
    loss = DISTANCES[distance](margin, target)
    terms = {"rpo": loss, "target": target, "error": (margin - target).abs()}
    if sft_weight:
        terms["sft"] = sums.nll(summed=sft_sum)
        loss = loss + sft_weight * terms["sft"]
    return share_of_batch(sums, loss, margin, terms, pairs=pairs, weight=weight)
