"""Apple's MDLOO: leave-one-out advantages, and mirror descent in the place of clipping."""

from __future__ import annotations

import torch
from torch import Tensor

from burnish.errors import SettingsError
from burnish.losses.on_policy.sampled import SampledTokens, bounded_exp


def mdloo_loss(
    sampled: SampledTokens, advantages: Tensor, *, units: int, gamma: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's MDLOO loss.

        R(x, y) = r(x, y) - beta log(pi_k(y|x) / pi_ref(y|x)),    A_i = R_i - (1/(K-1)) sum_{j != i} R_j
        rho_i = pi(y_i|x) / pi_k(y_i|x), a whole response the action
        L = (1/N) sum_i [ -rho_i A_i + gamma (rho_i log rho_i - rho_i + 1) ]
        dL = -(1/N) sum_i rho_i (A_i - gamma log rho_i) grad log pi(y_i|x)

    Apple Foundation Models (arXiv:2407.21075, MDLOO; spec nemotron_afm.md §B.12; the update is that of mirror-descent
    policy optimisation, arXiv:2005.09814, and unverified for AFM). Two divergences: beta, inside the reward, towards
    the frozen reference (`penalised`, then `leave_one_out`, once a round at pi_k); gamma, here, towards pi_k, the
    policy at the start of the round, in the place of PPO's clipping. Their sampled form rho log rho has the mean
    KL(pi || pi_k); rho - 1 has the mean 0 and is taken off so that the gradient is exactly the one above and each term
    is >= 0. On the first update of a round rho = 1, and the gradient is RLOO's.

    The exact round is pi_{k+1} ~ pi_k exp(A_k / gamma), its fixed point pi_ref exp(r / beta) whatever gamma, and the
    rounds converge iff gamma > beta / 2. A sample holds the answers that it contains: one that a round misses is held
    by nothing, so the closer gamma is to beta / 2, the more samples it takes. ASSUMED (undisclosed): 4 to 8 responses,
    beta 0.01 to 0.1, gamma >= beta.

    Args:
        sampled: this part's tokens; `old` is the policy at the start of the round.
        advantages: [R]; carry no gradient.
        units: N, the used responses of the whole optimiser batch.
        gamma: units of reward per nat, > 0.

    Returns:
        The loss (scalar, units of reward), and detached sums over this part's used responses: `policy` (-rho A),
        `kl_iterate` (rho log rho - rho + 1, nats), `ratio`, `ratio_squared` (their squared mean over this mean is the
        share of the sample that still counts) and `responses`.

    Raises:
        DataError: there is not one advantage for each response.
        SettingsError: gamma is not positive.
    """
    if not gamma > 0:
        raise SettingsError(f"gamma is {gamma}; without a positive one nothing keeps the policy near its start")
    used = sampled.used_responses()
    gap = sampled.by_response(sampled.less(sampled.old))
    ratio = bounded_exp(gap)
    policy = -ratio * sampled.of_responses(advantages, "advantages")
    divergence = torch.where(used, ratio * (gap - 1) + 1, 0.0)
    told = torch.where(used, ratio.detach(), 0.0)
    sums = {
        "policy": policy,
        "kl_iterate": divergence,
        "ratio": told,
        "ratio_squared": told.square(),
        "responses": used.to(told),
    }
    loss = (policy + gamma * divergence).sum()
    return loss / units, {name: value.detach().sum() for name, value in sums.items()}
