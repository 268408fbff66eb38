"""How judges are measured. Rows in, numbers with intervals out; no model is asked anything here.

estimate      `Estimate`: a value with its 95 % interval, or why there is none
agreement     accuracy, Cohen's and quadratic kappa, Krippendorff's alpha, Pearson, Spearman
calibration   a judge against people, and what the order of the answers does to it
win_rate      plain and length-controlled win rates
style         style-controlled win rates
rewardbench   pairs scored by a reward model or a judge, by section
best_of_n     what the picks of a reward model reach
logistic      the regressions behind controlled win rates
"""

from burnish.judge.measure.agreement import (
    accuracy,
    cohen_kappa,
    krippendorff_alpha,
    pearson,
    quadratic_kappa,
    spearman,
)
from burnish.judge.measure.best_of_n import Picks, best_of_n
from burnish.judge.measure.calibration import Calibration, calibrate_choices, calibrate_scale, mean_of, order_rates
from burnish.judge.measure.estimate import Estimate, bootstrapped, proportion
from burnish.judge.measure.rewardbench import PairScores, judge_pairs, score_pairs
from burnish.judge.measure.style import StyleControlled, style_controlled
from burnish.judge.measure.win_rate import Duel, LengthControlled, length_controlled, standard_error, win_rate

__all__ = [
    "Calibration",
    "Duel",
    "Estimate",
    "LengthControlled",
    "PairScores",
    "Picks",
    "StyleControlled",
    "accuracy",
    "best_of_n",
    "bootstrapped",
    "calibrate_choices",
    "calibrate_scale",
    "cohen_kappa",
    "judge_pairs",
    "krippendorff_alpha",
    "length_controlled",
    "mean_of",
    "order_rates",
    "pearson",
    "proportion",
    "quadratic_kappa",
    "score_pairs",
    "spearman",
    "standard_error",
    "style_controlled",
    "win_rate",
]
