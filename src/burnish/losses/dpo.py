"""Direct preference optimisation and its kin over pairs: DPO with likelihood terms, cDPO, Critique-DPO, IPO."""

from __future__ import annotations

from torch import Tensor

from burnish.losses.pairs import PairSums, share_of_batch
from burnish.losses.soft_labels import soft_label_loss


def dpo_loss(
    sums: PairSums,
    *,
    pairs: int,
    beta: float,
    nll_weight: float = 0.0,
    sft_weight: float = 0.0,
    sft_sum: bool = True,
    label_smoothing: float = 0.0,
    normalise: bool = False,
    weight: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean DPO loss with likelihood terms on the chosen.

        a = beta ((l(y_w) - l_ref(y_w)) - (l(y_l) - l_ref(y_l))),    l(y) = sum_t m_t log p(y_t | x, y_<t)
        L = (1/P) sum_pairs w [ -(1 - eps) log sigmoid(a) - eps log sigmoid(-a) + lambda NLL(y_w) + mu SFT(y_w) ]
        NLL(y) = -(1/|y|) log p(y | x),    SFT(y) = -log p(y | x), over all trained tokens, formatting included

    Llama 3 (spec llama3_qwen2.md §3.5): m masks chosen and rejected; beta = 0.1, lambda = 0.2. Formatting tokens stay
    in the NLL, the one signal they have left (ASSUMED); it is a token mean within a response, then a mean over pairs
    (ASSUMED, after Pang et al. 2024; the report does not say whether it normalises). Nemotron-4 (spec nemotron_afm.md
    §A.18): l and SFT are sums, or token means by flag; beta in [3e-4, 3e-3], mu in [1e-5, 1e-3], small because SFT is a
    sum. cDPO (§D.1): eps > 0. At policy = reference the preference part is ln 2 and no margin is > 0; equal chosen and
    rejected answers give no DPO gradient.

    Args:
        sums: this part's pairs.
        pairs: P, the pairs of the whole optimiser batch.
        nll_weight, sft_weight: lambda and mu. A term of weight 0 is left out, so that an infinite value cannot enter.
        sft_sum: SFT is the sum over tokens; otherwise their mean, which makes it the NLL.
        label_smoothing: eps, the share of labels taken to be wrong.
        normalise: l is the mean over unmasked tokens instead of the sum.
        weight: [P] w, or None for 1. With w = 1/k on the k pairs of a prompt and the prompts of the batch for `pairs`,
            each prompt weighs 1. Where every prompt has k pairs that is w = 1 with all pairs of these prompts, the
            batch of Self-Contrast (yi_glm_gemma_deepseek_baichuan.md G12; `batch_of=prompts`).

    Returns:
        The loss (scalar, nats), and detached sums over this part's pairs: `dpo` (the preference part), `sft` if mu is
        not 0, `nll`, `margin` (a), `accuracy` (a > 0), `chosen` and `rejected` (mean log p per trained token).
    """
    margin = beta * sums.gap(normalise=normalise)
    preference = soft_label_loss(margin, 1 - label_smoothing)
    loss, terms = preference, {"dpo": preference}
    if nll_weight:
        loss = loss + nll_weight * sums.nll(summed=False)
    if sft_weight:
        terms["sft"] = sums.nll(summed=sft_sum)
        loss = loss + sft_weight * terms["sft"]
    return share_of_batch(sums, loss, margin, terms, pairs=pairs, weight=weight)


def critique_dpo_loss(
    sums: PairSums, *, pairs: int, beta: float, dpo_weight: float, ce_weight: float, ce_sum: bool = False
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean Critique-DPO loss.

        L = (1/P) sum_pairs [ lambda_dpo L_DPO + lambda_ce CE(y_w) ]

    ChatGLM-Math (spec yi_glm_gemma_deepseek_baichuan.md G8): the text calls lambda the coefficient of the
    cross-entropy, the formula puts it on DPO. The formula is (lambda, 1), the text (1, lambda); lambda in
    {0.5, 1, 1.5}, beta in {0.5, 1, 2}. CE is the token mean over all trained tokens of the chosen, then a mean over
    pairs (ASSUMED; the sum over tokens by flag). (1, 0) is plain DPO.

    Args:
        sums: this part's pairs.
        pairs: P, the pairs of the whole optimiser batch.
        dpo_weight, ce_weight: lambda_dpo and lambda_ce.
        ce_sum: CE is the sum over tokens instead of their mean.

    Returns:
        The loss (scalar, nats), and the detached sums of `dpo_loss`, with `ce` for `sft`.
    """
    margin = beta * sums.gap(normalise=False)
    preference, cross_entropy = soft_label_loss(margin, 1.0), sums.nll(summed=ce_sum)
    loss = dpo_weight * preference
    if ce_weight:
        loss = loss + ce_weight * cross_entropy
    return share_of_batch(sums, loss, margin, {"dpo": preference, "ce": cross_entropy}, pairs=pairs)


def ipo_loss(
    sums: PairSums, *, pairs: int, beta: float, normalise: bool, nll_weight: float = 0.0, weight: Tensor | None = None
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean IPO loss.

        h = (l(y_w) - l_ref(y_w)) - (l(y_l) - l_ref(y_l))
        L = (1/P) sum_pairs w [ (h - 1/(2 beta))^2 + lambda NLL(y_w) ]

    Azar et al. 2023 (arXiv:2310.12036, eq. 17, beta for their tau; spec nemotron_afm.md §A.19). As printed, l sums over
    tokens: `normalise=False`. TRL 1.16's `ipo` takes token means, after its authors asked the paper's:
    `normalise=True`. The two differ in what beta means, so there is no default. At policy = reference
    L = 1/(4 beta^2); the loss is 0 where h = 1/(2 beta), so that, unlike DPO, a margin beyond it is pushed back.

    Args:
        sums, pairs, nll_weight, weight: as in `dpo_loss`.
        beta: the strength of the pull towards the reference, > 0.

    Returns:
        The loss (scalar), and detached sums over this part's pairs: `ipo` (the squared distance) and those of
        `dpo_loss`, where `margin` is beta h, which is 1/2 at the optimum.
    """
    gap = sums.gap(normalise=normalise)
    distance = (gap - 1 / (2 * beta)).square()
    loss = distance + nll_weight * sums.nll(summed=False) if nll_weight else distance
    return share_of_batch(sums, loss, beta * gap, {"ipo": distance}, pairs=pairs, weight=weight)
