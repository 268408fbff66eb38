"""The methods on fresh answers: what a round measures before its updates, and the loss of a pack.

fresh         what all of them share: the reference, the policy at the start of the round
reference     a reference that follows the policy, and an adapted weight of the divergence
policy        GRPO, RLOO, MDLOO
reward_kl     Baichuan's GRPO, the divergence inside the rewards of tokens
pairs         online DPO
distillation  a teacher's distribution on the student's own answers
"""

from burnish.train.on_policy.objectives.distillation import OnlineDistillation
from burnish.train.on_policy.objectives.fresh import Fresh
from burnish.train.on_policy.objectives.pairs import OnlineDpo
from burnish.train.on_policy.objectives.policy import Grpo, Mdloo, Rloo
from burnish.train.on_policy.objectives.reference import Adapting, Following
from burnish.train.on_policy.objectives.reward_kl import RewardKl

__all__ = ["Adapting", "Following", "Fresh", "Grpo", "Mdloo", "OnlineDistillation", "OnlineDpo", "RewardKl", "Rloo"]
