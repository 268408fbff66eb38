"""How judges are measured. Rows in, numbers with intervals out; no model is asked anything.

estimate           `Estimate`: a value with its 95 % interval, or why there is none
agreement          accuracy, Cohen's and quadratic kappa, Krippendorff's alpha, Pearson, Spearman
"""

from burnish.judge.measure.agreement import (
    accuracy,
    cohen_kappa,
    krippendorff_alpha,
    pearson,
    quadratic_kappa,
    spearman,
)
from burnish.judge.measure.estimate import Estimate, bootstrapped, proportion

__all__ = [
    "Estimate",
    "accuracy",
    "bootstrapped",
    "cohen_kappa",
    "krippendorff_alpha",
    "pearson",
    "proportion",
    "quadratic_kappa",
    "spearman",
]
