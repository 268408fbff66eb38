from burnish.losses.on_policy.advantages import centred, leave_one_out, standardised
from burnish.losses.on_policy.kl import sequence_kl
from burnish.losses.on_policy.mdloo import mdloo_loss
from burnish.losses.on_policy.policy import Clip, clipped_policy_loss, grpo_loss, reinforce_loss
from burnish.losses.on_policy.sampled import SampledTokens
from burnish.losses.on_policy.rewards import penalised
