"""Rewards that need a model. So far: a reward model.

Comes in: prompts and responses (or preferences), and reward weights. Goes out: judgements with a score, or unscored
with the reason; the share of pairs a reward model orders as the annotator did. Called by recipes, `evaluate` and the
command line. torch is loaded when something is scored, not when this room is imported.

    reward_model   `RewardModel`, and the step `score_responses`
    pairs          the step `pair_accuracy`
    replies        what a judge's reply says: a rating, a choice, or unscored and why
    measure/       how judges are measured: agreement, calibration, win rates, RewardBench-style pairs
    intervals      Wilson's interval for shares of verdicts
"""

from burnish.judge.intervals import wilson
from burnish.judge.pairs import pair_accuracy
from burnish.judge.replies import Choice, Rating, read_choice, read_object, read_rating
from burnish.judge.reward_model import RewardModel, score_responses

__all__ = [
    "Choice",
    "Rating",
    "RewardModel",
    "pair_accuracy",
    "read_choice",
    "read_object",
    "read_rating",
    "score_responses",
    "wilson",
]
