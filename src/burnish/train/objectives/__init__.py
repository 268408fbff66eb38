"""The objectives over fixed rows: what each needs of a row, what it measures beforehand, and its loss on a pack.

A method is a loss plus a collation; the loop in `supervised` is the same for all.
"""

from burnish.train.objectives.contrast import Contrast, Kto, RewardAware
from burnish.train.objectives.distillation import Distillation
from burnish.train.objectives.imitation import Imitation
from burnish.train.objectives.method import HEAD_SPREAD, Method, Place
from burnish.train.objectives.pretraining import Pretraining
from burnish.train.objectives.ranking import AnchoredRanking, Ranking, SoftRanking
from burnish.train.objectives.rating import Attributes, Pointwise, Steps

__all__ = [
    "HEAD_SPREAD",
    "AnchoredRanking",
    "Attributes",
    "Contrast",
    "Distillation",
    "Imitation",
    "Kto",
    "Method",
    "Place",
    "Pointwise",
    "Pretraining",
    "Ranking",
    "RewardAware",
    "SoftRanking",
    "Steps",
]
