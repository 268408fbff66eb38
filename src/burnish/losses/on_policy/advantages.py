"""Advantages of groups of responses to one prompt, without a critic.

                     R_ij: reward of answer j of prompt i, over the answers that have one (n of them)
    centred          R - mean R
    standardised     (R - mean R) / (std R + eps)                    GRPO
    leave-one-out    R - mean of the others = n/(n-1) (R - mean R)   RLOO, MDLOO
    process          sum of the standardised step rewards at or after a token

A reward that is missing is not 0: its answer leaves the group, and so does a lone answer. One group [1, N] of all
answers of a batch makes `centred` the batch-mean baseline of REINFORCE.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator, sum_by

Std = Literal["population", "sample"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advantages:
    """What a round of G groups of K responses learns from.

    Attributes:
        values: [G, K] in units of the reward, or none where standardised; exactly 0 where not used or flat.
        used: [G, K] bool: the response has a reward, and so has another one of its group.
        alone: [G] bool: fewer than two rewards are known, so that there is nothing to compare.
        flat: [G] bool: at least two rewards, all equal (within `tolerance`): no response is better than another.
        variance: [G] population variance of the known rewards; NaN where `alone`.
    """

    values: Tensor
    used: Tensor
    alone: Tensor
    flat: Tensor
    variance: Tensor


def _grouped(rewards: Tensor, known: Tensor | None, tolerance: float) -> Advantages:
    """Rewards less their group's mean, and what is known of the groups.

    Raises:
        DataError: not groups, groups of one, a mask of another shape, or a known reward that is not a finite number.
    """
    if rewards.ndim != 2:
        raise DataError(f"rewards have the shape {list(rewards.shape)}; give [groups, responses of a group]")
    if rewards.shape[1] < 2:
        raise DataError("groups of one response have nothing to compare it with; sample at least 2 for each prompt")
    wide = rewards.detach().to(accumulator(rewards.dtype))
    known = torch.ones_like(wide, dtype=torch.bool) if known is None else known
    if known.shape != wide.shape:
        raise DataError(f"known has the shape {list(known.shape)}, the rewards {list(wide.shape)}; they must be equal")
    if (broken := known & ~wide.isfinite()).any():
        group, place = broken.nonzero()[0].tolist()
        raise DataError(
            f"the reward of response {place} of group {group} is {wide[group, place].item()}; "
            "mark it as missing in `known`, or give a finite number"
        )
    count = known.sum(1)
    alone = count < 2
    used = known & ~alone[:, None]
    wide = torch.where(used, wide, 0.0)
    # the divisor is at least 1 so that an empty group makes no NaN; it is marked as alone
    mean = wide.sum(1) / count.clamp(min=1)
    highest = torch.where(used, wide, float("-inf")).amax(1)
    lowest = torch.where(used, wide, float("inf")).amin(1)
    flat = ~alone & (highest - lowest <= tolerance)
    gap = torch.where(used, wide - mean[:, None], 0.0)
    variance = torch.where(alone, float("nan"), gap.square().sum(1) / count.clamp(min=1))
    # equal rewards whose mean is rounded would leave a rest, and a division by the std would blow it up
    gap = torch.where(flat[:, None], 0.0, gap)
    return Advantages(values=gap, used=used, alone=alone, flat=flat, variance=variance)


def centred(rewards: Tensor, known: Tensor | None = None, *, tolerance: float = 0.0) -> Advantages:
    """Rewards less the mean of their group.

        A_ij = R_ij - (1/n_i) sum_k R_ik

    The baseline of REINFORCE where a batch is one group (ASSUMED, WARP's is not published; spec
    yi_glm_gemma_deepseek_baichuan.md M6). Dr. GRPO (arXiv:2503.20783) uses it within groups.

    Args:
        rewards: [G, K].
        known: [G, K] bool, False where a reward is missing; None where all are there.
        tolerance: a group whose highest and lowest reward differ by no more is flat.

    Raises:
        DataError: not [G, K], K = 1, or a known reward that is not finite.
    """
    return _grouped(rewards, known, tolerance)


def leave_one_out(rewards: Tensor, known: Tensor | None = None, *, tolerance: float = 0.0) -> Advantages:
    """Rewards less the mean of the others of their group.

        A_ij = R_ij - (1/(n_i - 1)) sum_{k != j} R_ik = n_i/(n_i - 1) (R_ij - mean_i R)

    RLOO (Ahmadian et al. 2024, arXiv:2402.14740) and MDLOO (AFM; spec nemotron_afm.md §B.12, §D.1). They add up to 0
    in a group, and a constant added to its rewards changes nothing.

    Args and raises as for `centred`.
    """
    found = _grouped(rewards, known, tolerance)
    count = found.used.to(found.values).sum(1, keepdim=True)
    return replace(found, values=found.values * count / (count - 1).clamp(min=1))


def standardised(
    rewards: Tensor,
    known: Tensor | None = None,
    *,
    std: Std = "population",
    epsilon: float = 0.0,
    tolerance: float = 0.0,
) -> Advantages:
    """Rewards less the mean of their group, over its standard deviation.

        A_ij = (R_ij - mean_i R) / (std_i R + eps),    0 in a flat group

    GRPO (DeepSeekMath, arXiv:2402.03300 §4.1; DeepSeek-V2, arXiv:2405.04434; spec D5). The reports do not say which
    standard deviation: the population's is ASSUMED (Baichuan's three binary rewards give 1.414, -0.707, -0.707 with
    it; TRL 1.16 takes the sample's and eps = 1e-4). With eps = 0 (ASSUMED) the advantages do not change with the scale
    of the rewards; a flat group needs no eps, since it is told apart by its rewards.

    Args:
        rewards, known, tolerance: as for `centred`.
        std: `population` divides by n, `sample` by n - 1.
        epsilon: in units of the reward.

    Raises:
        DataError: as for `centred`.
        SettingsError: `std` is neither, or epsilon is negative.
    """
    found = _grouped(rewards, known, tolerance)
    count = found.used.sum(1)
    spread = _spread(found.values.square().sum(1), count, std, epsilon)
    values = torch.where(found.values == 0, 0.0, found.values / spread[:, None])
    return replace(found, values=values)


def _spread(squares: Tensor, count: Tensor, std: Std, epsilon: float) -> Tensor:
    """The standard deviation and eps, from sums of squares and how many there are."""
    if std not in ("population", "sample"):
        raise SettingsError(f"std is {std!r}; choose 'population' or 'sample'")
    if not epsilon >= 0:
        raise SettingsError(f"epsilon is {epsilon}; it is added to a standard deviation; give 0 or more")
    return (squares / (count - int(std == "sample")).clamp(min=1)).sqrt() + epsilon


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRewards:
    """The rewards of the reasoning steps of some responses.

    Attributes:
        rewards: [S].
        ends: [S] number of the last token of each step among the N tokens.
        known: [S] bool, or None for all. A response with a step whose reward is missing leaves its group whole, since
            a sum without a term is another number.
    """

    rewards: Tensor
    ends: Tensor
    known: Tensor | None = None


def process_advantages(
    steps: StepRewards, response: Tensor, group: Tensor, *, std: Std = "population", epsilon: float = 0.0
) -> tuple[Tensor, Tensor, Tensor]:
    """Advantages of tokens from rewards of steps.

        r~ = (r - mean) / (std + eps) over all steps of all responses of a group
        A_it = sum of r~ over the steps of response i that end at or after token t

    GRPO with process supervision (DeepSeekMath §4.1.3; spec D5). One step that ends with the response is the outcome
    form. Tokens after the last step have 0.

    Args:
        steps: of all responses of whole groups.
        response: [N] number of each token's response; a response's tokens stand next to each other in order.
        group: [R] number of each response's group.
        std, epsilon: as for `standardised`.

    Returns:
        [N] advantages; [R] bool, which responses are used: all steps known, at least one, and at least two such
        responses in the group; [G] bool, groups whose known step rewards are all equal (their advantages are 0).

    Raises:
        DataError: a known reward that is not finite, or sizes that do not fit.
        SettingsError: as for `standardised`.
    """
    wide = steps.rewards.detach().to(accumulator(steps.rewards.dtype))
    known = torch.ones_like(wide, dtype=torch.bool) if steps.known is None else steps.known
    if wide.shape != steps.ends.shape or known.shape != wide.shape:
        raise DataError(f"{len(steps.ends)} ends of steps for {len(wide)} rewards; give one each")
    if (broken := known & ~wide.isfinite()).any():
        place = int(broken.nonzero()[0])
        raise DataError(f"the reward of step {place} is {wide[place].item()}; mark it as missing, or give a finite one")
    owner, responses, groups = response[steps.ends], len(group), int(group.max()) + 1
    missing = sum_by((~known).to(wide), owner, responses)
    whole = (missing == 0) & (sum_by(known.to(wide), owner, responses) > 0)
    used = whole & (sum_by(whole.to(wide), group, groups) >= 2)[group]
    here, place = used[owner], group[owner]
    wide = torch.where(here, wide, 0.0)
    count = sum_by(here.to(wide), place, groups)
    gap = torch.where(here, wide - (sum_by(wide, place, groups) / count.clamp(min=1))[place], 0.0)
    highest = torch.full_like(count, float("-inf")).scatter_reduce(0, place[here], wide[here], "amax")
    lowest = torch.full_like(count, float("inf")).scatter_reduce(0, place[here], wide[here], "amin")
    flat = (count > 0) & (highest == lowest)
    spread = _spread(sum_by(gap.square(), place, groups), count, std, epsilon)
    normal = torch.where((gap == 0) | flat[place], 0.0, gap / spread[place])
    at_ends = sum_by(normal, steps.ends, len(response))
    return rest_of_response(at_ends, response, responses_here=responses), used, flat


def rest_of_response(values: Tensor, response: Tensor, *, responses_here: int) -> Tensor:
    """For each token, the sum of its response's values from it to the end.

        out_t = sum_{t' >= t} v_t'

    Args:
        values: [N].
        response: [N] number of the token's response; a response's tokens stand next to each other in order.

    Returns:
        [N], in at least float32.
    """
    wide = values.to(accumulator(values.dtype))
    if len(wide) == 0:
        return wide
    count = sum_by(torch.ones_like(response), response, responses_here).long()
    first = torch.full_like(count, len(wide)).scatter_reduce(0, response, torch.arange(len(wide)).to(response), "amin")
    place = torch.arange(len(wide), device=response.device) - first[response]
    # one row a response: a running sum over the flat tokens would carry the rounding of all others along
    rows = wide.new_zeros(responses_here, int(count.max())).index_put((response, place), wide)
    return rows.flip(1).cumsum(1).flip(1)[response, place]
