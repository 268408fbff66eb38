"""Rewards that need a model. So far: a reward model.

Comes in: prompts and responses (or preferences), and reward weights. Goes out: judgements with a score, or unscored
with the reason; the share of pairs a reward model orders as the annotator did. Called by recipes, `evaluate` and the
command line. torch is loaded when something is scored, not when this room is imported.

    reward_model   `RewardModel`, and the step `score_responses`
    pairs          the step `pair_accuracy`
    intervals      Wilson's interval for shares of verdicts
"""

from burnish.judge.intervals import wilson
from burnish.judge.pairs import pair_accuracy
from burnish.judge.reward_model import RewardModel, score_responses

__all__ = ["RewardModel", "pair_accuracy", "score_responses", "wilson"]
