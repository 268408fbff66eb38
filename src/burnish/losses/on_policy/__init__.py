"""Objectives over fresh samples: advantages, divergences, policy steps without a critic, distillation, online pairs.

Comes in: log-probabilities of sampled tokens under the policy, the sampler and the reference; rewards of groups; logits
of student and teacher. Goes out: advantages, or shares of the batch's loss as in `burnish.losses`. The table in
`policy` says which advantage and which loss make which method.
"""

from burnish.losses.on_policy.advantages import (
    Advantages,
    StepRewards,
    centred,
    leave_one_out,
    process_advantages,
    rest_of_response,
    standardised,
)
from burnish.losses.on_policy.anchor import moved_anchor
from burnish.losses.on_policy.distil import divergence, events, gkd_loss, log_probabilities
from burnish.losses.on_policy.draws import on_policy_turn, replay_rows
from burnish.losses.on_policy.kl import adapted_beta, full_kl, kl_estimate, kl_on_ids, sequence_kl, top_k_kl
from burnish.losses.on_policy.mdloo import mdloo_loss
from burnish.losses.on_policy.minillm import minillm_loss, mixed_log_probabilities
from burnish.losses.on_policy.online_pairs import OnlinePairs, best_and_worst, online_dpo_loss, paired
from burnish.losses.on_policy.policy import (
    Clip,
    clipped_policy_loss,
    grpo_loss,
    kept_close_loss,
    reinforce_loss,
    reward_kl_loss,
)
from burnish.losses.on_policy.rewards import combined, less_reference, penalised
from burnish.losses.on_policy.sampled import SampledTokens

__all__ = [
    "Advantages",
    "Clip",
    "OnlinePairs",
    "SampledTokens",
    "StepRewards",
    "adapted_beta",
    "best_and_worst",
    "centred",
    "clipped_policy_loss",
    "combined",
    "divergence",
    "events",
    "full_kl",
    "gkd_loss",
    "grpo_loss",
    "kept_close_loss",
    "kl_estimate",
    "kl_on_ids",
    "leave_one_out",
    "less_reference",
    "log_probabilities",
    "mdloo_loss",
    "minillm_loss",
    "mixed_log_probabilities",
    "moved_anchor",
    "on_policy_turn",
    "online_dpo_loss",
    "paired",
    "penalised",
    "process_advantages",
    "reinforce_loss",
    "replay_rows",
    "rest_of_response",
    "reward_kl_loss",
    "sequence_kl",
    "standardised",
    "top_k_kl",
]
