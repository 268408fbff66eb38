"""Scores of models, each with its interval, its n and its unscored count. Without torch.

Comes in: prompts, a client that answers them, checkers by name (all as arguments). Goes out: `Score` rows, and the
graded answers beside them. Called by recipes and by `burnish evaluate`.

    accuracy    the step `score_model`; `grade` alone
    selection   the steps `best_of_accuracy` and `promoted`
    stages      the steps `tax` and `reward_gain`; `best_start` and `weigh_stage`, which run several
    stats       Wilson, bootstrap, paired difference, pass@k
"""

from burnish.evaluate.accuracy import check_responses, grade, score_model
from burnish.evaluate.selection import best_of_accuracy, promoted
from burnish.evaluate.stages import best_start, reward_gain, tax, weigh_stage
from burnish.evaluate.stats import bootstrap, mean, paired_difference, pass_at_k, wilson

__all__ = [
    "best_of_accuracy",
    "best_start",
    "bootstrap",
    "check_responses",
    "grade",
    "mean",
    "paired_difference",
    "pass_at_k",
    "promoted",
    "reward_gain",
    "score_model",
    "tax",
    "weigh_stage",
    "wilson",
]
