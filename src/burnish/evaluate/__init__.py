"""Scores of models, each with its interval, its n and its unscored count. Without torch.

Comes in: prompts, a client that answers them, checkers by name (all as arguments). Goes out: `Score` rows, and the
graded answers beside them. Called by recipes and by `burnish evaluate`.

    accuracy    the step `score_model`; `grade` alone
    selection   the steps `best_of_accuracy` and `promoted`
    stats       Wilson, bootstrap, paired difference, pass@k
"""

from burnish.evaluate.accuracy import grade, score_model
from burnish.evaluate.selection import best_of_accuracy, promoted
from burnish.evaluate.stats import bootstrap, mean, paired_difference, pass_at_k, wilson

__all__ = [
    "best_of_accuracy",
    "bootstrap",
    "grade",
    "mean",
    "paired_difference",
    "pass_at_k",
    "promoted",
    "score_model",
    "wilson",
]
