"""One pure tensor function per objective.

Comes in: log-probabilities of trained tokens or scores of responses, what belongs to which row, and the units of the
**whole optimiser batch**. Goes out: a scalar whose sum over any split of the batch into packs and micro-batches is the
batch's loss, and detached sums for the metrics. Called by `train`; never touches a model.
"""

from burnish.losses.dpo import dpo_loss
from burnish.losses.reward import ordered_pairs, reward_loss
from burnish.losses.sft import sft_loss

__all__ = ["dpo_loss", "ordered_pairs", "reward_loss", "sft_loss"]
