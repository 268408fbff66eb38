"""One pure tensor function per objective.

Comes in: log-probabilities of trained tokens or scores of responses, what belongs to which row, and the units of the
**whole optimiser batch**. Goes out: a scalar whose sum over any split of the batch into packs and micro-batches is the
batch's loss, and detached sums for the metrics. Called by `train`; never touches a model. Objectives over fresh samples
are in `on_policy`.
"""

from burnish.losses.attributes import (
    LLAMA3_70B_WEIGHTS,
    NEMOTRON_WEIGHTS,
    aggregate,
    attribute_fit,
    attribute_loss,
    count_labels,
)
from burnish.losses.distill import token_distill_loss, top_k_distill_loss
from burnish.losses.dpo import critique_dpo_loss, dpo_loss, ipo_loss
from burnish.losses.graded import LEVEL_TARGETS, UNGRADED, graded_reward_loss, level_sums, level_targets, optimum_margin
from burnish.losses.kto import kto_loss
from burnish.losses.pairs import PairSums, ResponseSums, pair_sums, response_sums
from burnish.losses.reward import (
    anchored_reward_loss,
    ordered_pairs,
    penalised_reward_loss,
    pointwise_reward_loss,
    reward_loss,
    scaled_scores,
    step_reward_loss,
)
from burnish.losses.rpo import DISTANCES, rpo_loss
from burnish.losses.sft import sequence_sft_loss, sft_loss

__all__ = [
    "DISTANCES",
    "LEVEL_TARGETS",
    "LLAMA3_70B_WEIGHTS",
    "NEMOTRON_WEIGHTS",
    "UNGRADED",
    "PairSums",
    "ResponseSums",
    "aggregate",
    "anchored_reward_loss",
    "attribute_fit",
    "attribute_loss",
    "count_labels",
    "critique_dpo_loss",
    "dpo_loss",
    "graded_reward_loss",
    "ipo_loss",
    "kto_loss",
    "level_sums",
    "level_targets",
    "optimum_margin",
    "ordered_pairs",
    "pair_sums",
    "penalised_reward_loss",
    "pointwise_reward_loss",
    "response_sums",
    "reward_loss",
    "rpo_loss",
    "scaled_scores",
    "sequence_sft_loss",
    "sft_loss",
    "step_reward_loss",
    "token_distill_loss",
    "top_k_distill_loss",
]
