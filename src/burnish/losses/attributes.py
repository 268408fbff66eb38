"""Attribute-regression reward model: squared error to graded attributes, and one score from them (HelpSteer2, §A.2).

response -> linear head -> [helpfulness, correctness, coherence, complexity, verbosity] -> weighted sum -> reward
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator

ATTRIBUTES = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")
# The released head is nine wide, because it is shared with Open-Assistant labels; its first four are untrained.
RELEASED_HEAD = ("quality", "toxicity", "humor", "creativity", *ATTRIBUTES)
LOWEST, HIGHEST = 0.0, 4.0  # the scale of each attribute

# Weights of the reward in the order of ATTRIBUTES: model card and evaluation code of Nemotron-4-340B-Reward (the report
# does not print them; tuned on RewardBench, so RewardBench is not held out for them), and of the Llama-3-70B variant.
NEMOTRON_WEIGHTS = (0.30, 0.74, 0.46, 0.47, -0.33)
LLAMA3_70B_WEIGHTS = (0.65, 0.80, 0.45, 0.55, -0.40)

MISSING = -100.0  # as in the released data; NaN is read as missing too


def labelled(labels: Tensor) -> Tensor:
    """[R, K] bool: where there is a label."""
    return ~(labels.isnan() | (labels == MISSING))


def count_labels(labels: Tensor) -> int:
    """The labels of a batch: what its regression loss is a mean over."""
    return int(labelled(labels).sum())


def attribute_loss(predicted: Tensor, labels: Tensor, *, labels_of_batch: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean squared error over the labels there are.

        L = sum_i,k m_ik (yhat_ik - y_ik)^2 / sum_i,k m_ik,    m_ik = 0 where the label is missing

    HelpSteer2 (arXiv:2406.08673; spec §A.2). The divisor counts the labels of the whole optimiser batch, so each label
    weighs the same in any split. A missing label gets a gradient of exactly 0. The released head is nine wide
    (`RELEASED_HEAD`); give it nine columns of labels, four of them missing.

    Args:
        predicted: [R, K] the head's attributes for each response of this part.
        labels: [R, K] people's, 0 .. 4; `MISSING` (-100) or NaN where there is none.
        labels_of_batch: `count_labels` over the whole optimiser batch.

    Returns:
        The loss (scalar, squared points), and detached sums over this part: `squared_error` and `labelled`.

    Raises:
        DataError: the batch has no label at all.
    """
    if labels_of_batch < 1:
        raise DataError(
            "no response of this batch has a label for any attribute, so there is nothing to regress on; "
            "drop such rows or give them labels"
        )
    wide = predicted.to(accumulator(predicted.dtype))
    known = labelled(labels)
    # where before the subtraction: nothing reaches the gradient of a missing label, not even from an infinite value
    error = torch.where(known, wide, 0.0) - torch.where(known, labels.to(wide), 0.0)
    square = error.square().sum()
    return square / labels_of_batch, {"squared_error": square.detach(), "labelled": known.to(wide).sum()}


def aggregate(attributes: Tensor, weights: Sequence[float] | None) -> Tensor:
    """The reward: the weighted sum of the attributes, r = sum_k w_k a_k, raw and unclamped.

    Args:
        attributes: [..., K].
        weights: K numbers in the order of the attributes, such as `NEMOTRON_WEIGHTS`; None weighs each 1/K, which is
            the public library's default.

    Returns:
        [...], in at least float32.

    Raises:
        SettingsError: there are not K weights.
    """
    wide = attributes.to(accumulator(attributes.dtype))
    count = wide.shape[-1]
    weights = [1 / count] * count if weights is None else weights
    if len(weights) != count:
        raise SettingsError(
            f"{len(weights)} weights were given for {count} attributes; give one each, in the attributes' order"
        )
    return wide @ torch.tensor(weights, dtype=wide.dtype, device=wide.device)


def annotations(attributes: Tensor) -> Tensor:
    """Whole grades 0 .. 4 for use as an annotator (spec §A.2): clamped, then rounded.

    Halves go to the even grade (ASSUMED: the public code rounds and does not say how).
    """
    return attributes.clamp(LOWEST, HIGHEST).round()


def attribute_fit(predicted: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """How well each attribute is predicted, over the labels there are.

    Args:
        predicted, labels: [R, K], as for `attribute_loss`.

    Returns:
        Mean squared error [K] and Pearson correlation [K]; NaN where an attribute has no label, or (for the
        correlation) where predictions or labels do not vary.
    """
    wide = predicted.detach().to(accumulator(predicted.dtype))
    known = labelled(labels)
    count = known.to(wide).sum(0)
    mine, theirs = torch.where(known, wide, 0.0), torch.where(known, labels.to(wide), 0.0)
    error = (mine - theirs).square().sum(0) / count
    mine, theirs = (torch.where(known, x - x.sum(0) / count, 0.0) for x in (mine, theirs))
    pearson = (mine * theirs).sum(0) / (mine.square().sum(0) * theirs.square().sum(0)).sqrt()
    return error, pearson
