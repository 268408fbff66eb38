"""Training on fresh answers: sample, reward, compare within groups, update, again.

rewards     what an answer is worth: checker, judge, model, function, rules, sums, routes; missing is not 0
exploring   how many rounds, prompts and answers
rollout     K answers to each prompt from the model that is being trained, with the ids that were drawn
rollouts    the same from a server, and in several turns with tools
groups      which answers are learned from, and why others are not
variance    which prompts are asked no more
samples     some answers of some rounds, for people to read
objectives  GRPO, RLOO, WARP, MDLOO, online DPO, distillation from a teacher
loop        the rounds
process     rewards of reasoning steps
methods     each by name; settings says what may be set, with sources
"""

from burnish.train.on_policy.exploring import Exploring
from burnish.train.on_policy.loop import fit_fresh
from burnish.train.on_policy.methods import FRESH, check_keep, planned_fresh, train_fresh
from burnish.train.on_policy.objectives import Fresh, Grpo, Mdloo, OnlineDistillation, OnlineDpo, RewardKl, Rloo
from burnish.train.on_policy.process import StepModelReward, scores_steps
from burnish.train.on_policy.rewards import (
    CheckerReward,
    FunctionReward,
    JudgeReward,
    Reward,
    Rewarder,
    RoutedReward,
    RuleReward,
    WeightedReward,
)
from burnish.train.on_policy.rollouts import Served, Tools

__all__ = [
    "FRESH",
    "CheckerReward",
    "Exploring",
    "Fresh",
    "FunctionReward",
    "Grpo",
    "JudgeReward",
    "Mdloo",
    "OnlineDistillation",
    "OnlineDpo",
    "Reward",
    "RewardKl",
    "Rewarder",
    "Rloo",
    "RoutedReward",
    "RuleReward",
    "Served",
    "StepModelReward",
    "Tools",
    "WeightedReward",
    "check_keep",
    "fit_fresh",
    "planned_fresh",
    "scores_steps",
    "train_fresh",
]
