"""Online DPO: the best and the worst of the answers that the current policy has just given."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.errors import DataError
from burnish.losses.dpo import dpo_loss
from burnish.losses.on_policy.advantages import centred
from burnish.losses.pairs import PairSums, ResponseSums


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlinePairs:
    """Pairs of a round of G groups of K responses.

    Attributes:
        group: [P] number of each pair's group, rising.
        chosen, rejected: [P] place of the best and of the worst response in its group.
        spread: [P] reward of the chosen less that of the rejected, > 0.
        narrow: [G] bool: skipped, since the spread is 0 or below what was asked.
        alone: [G] bool: skipped, since fewer than two rewards are known.
    """

    group: Tensor
    chosen: Tensor
    rejected: Tensor
    spread: Tensor
    narrow: Tensor
    alone: Tensor


def best_and_worst(rewards: Tensor, known: Tensor | None = None, *, least_spread: float = 0.0) -> OnlinePairs:
    """The pair (argmax, argmin) of each group whose rewards are far enough apart.

    Qwen2 (arXiv:2407.10671 §4.3; spec llama3_qwen2.md §4.12): several responses of the current policy, the best and the
    worst by the reward model. Number, temperature and gate are unpublished (ASSUMED: 8, 1.0, and a spread that the
    caller states). A missing reward takes its response out; of equal rewards the first counts.

    Args:
        rewards: [G, K].
        known: [G, K] bool, False where a reward is missing; None where all are there.
        least_spread: in units of the reward; a group below it is skipped, and so is always one whose rewards are equal.

    Raises:
        DataError: not [G, K], K = 1, or a known reward that is not finite.
    """
    found = centred(rewards, known)
    highest = torch.where(found.used, rewards, float("-inf"))
    lowest = torch.where(found.used, rewards, float("inf"))
    best, worst = highest.argmax(1), lowest.argmin(1)
    spread = highest.amax(1) - lowest.amin(1)
    wide = (spread > 0) & (spread >= least_spread) & ~found.alone
    group = wide.nonzero()[:, 0]
    return OnlinePairs(
        group=group,
        chosen=best[group],
        rejected=worst[group],
        spread=spread[group],
        narrow=~wide & ~found.alone,
        alone=found.alone,
    )


def paired(sums: ResponseSums, chosen: Tensor, rejected: Tensor) -> PairSums:
    """The sums of pairs from those of responses.

    Args:
        sums: this part's R responses.
        chosen, rejected: [P] numbers of responses of this part.
    """
    return PairSums(
        chosen_ratio=sums.ratio[chosen],
        rejected_ratio=sums.ratio[rejected],
        chosen=sums.logprob[chosen],
        rejected=sums.logprob[rejected],
        chosen_length=sums.length[chosen],
        rejected_length=sums.length[rejected],
        chosen_unmasked=sums.unmasked[chosen],
        rejected_unmasked=sums.unmasked[rejected],
    )


def online_dpo_loss(
    sums: ResponseSums, chosen: Tensor, rejected: Tensor, *, pairs: int, beta: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean DPO loss on pairs of its own responses.

        L = -(1/P) sum_pairs log sigmoid(beta ((l(y+) - l_ref(y+)) - (l(y-) - l_ref(y-))))

    Qwen2's online stage: the reference stays the model of the offline stage (ASSUMED, spec llama3_qwen2.md §4.12), and
    the loss is `dpo_loss` without likelihood terms.

    Args:
        sums: this part's responses (`response_sums`).
        chosen, rejected: [P] numbers of responses of this part; those of `OnlinePairs` plus group * K where a part
            holds all responses of its groups.
        pairs: P, the pairs of the whole optimiser batch.
        beta: nats of reward per nat of log-ratio; 0.1 (ASSUMED).

    Returns:
        As `dpo_loss`.

    Raises:
        DataError: a pair has the same response on both sides.
    """
    if bool((chosen == rejected).any()):
        raise DataError("a pair has the same response as chosen and rejected; drop groups without a spread")
    return dpo_loss(paired(sums, chosen, rejected), pairs=pairs, beta=beta)
