"""Training on fresh answers: sample, reward, compare within groups, update, again.

rewards     what an answer is worth: checker, judge, reward model, function, weighted sum; missing is not 0
rollout     K answers to each prompt from the model that is being trained, with the ids that were drawn
groups      which answers are learned from, and why others are not
objective   GRPO, RLOO, MDLOO
loop        the rounds
methods     each by name, with its settings
"""

from burnish.train.on_policy.loop import Exploring, fit_fresh
from burnish.train.on_policy.methods import FRESH, planned_fresh, train_fresh
from burnish.train.on_policy.objective import Fresh, Grpo, Mdloo, Rloo
from burnish.train.on_policy.rewards import (
    CheckerReward,
    FunctionReward,
    JudgeReward,
    Reward,
    Rewarder,
    WeightedReward,
)

__all__ = [
    "FRESH",
    "CheckerReward",
    "Exploring",
    "Fresh",
    "FunctionReward",
    "Grpo",
    "JudgeReward",
    "Mdloo",
    "Reward",
    "Rewarder",
    "Rloo",
    "WeightedReward",
    "fit_fresh",
    "planned_fresh",
    "train_fresh",
]
