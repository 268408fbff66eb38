"""What an answer is worth. Comes in: prompts and answers. Goes out: one `Reward` an answer.

A reward that nobody gave is *missing*: it has a reason, it is counted, and it is never 0.

reward     the noun, and who gives it
limits     how long it may take
verdicts   checkers, judges, reward models
function   a Python function of one's own
rules      plain rules, without a model or a gold answer
sums       weighted sums
routes     one reward for each kind of task
"""

from burnish.train.on_policy.rewards.function import FunctionReward
from burnish.train.on_policy.rewards.limits import SECONDS, Timed, check_seconds, timed
from burnish.train.on_policy.rewards.reward import NO_STEP, Reward, Rewarder, line_ends, of_steps
from burnish.train.on_policy.rewards.routes import RoutedReward
from burnish.train.on_policy.rewards.rules import RuleReward
from burnish.train.on_policy.rewards.sums import WeightedReward, distinct
from burnish.train.on_policy.rewards.verdicts import CheckerReward, JudgeReward

__all__ = [
    "NO_STEP",
    "SECONDS",
    "CheckerReward",
    "FunctionReward",
    "JudgeReward",
    "Reward",
    "Rewarder",
    "RoutedReward",
    "RuleReward",
    "Timed",
    "WeightedReward",
    "check_seconds",
    "distinct",
    "line_ends",
    "of_steps",
    "timed",
]
