"""Reward modelling: Bradley-Terry over a ranked row's ordered pairs, with a prior or an anchor, and point by point.

    reward_loss            order alone                                  Llama 3, Gemma 2, DeepSeek pair-wise
    penalised_reward_loss  order, and scores pulled to 0                ChatGLM-RLHF (G10)
    anchored_reward_loss   order, and scores pulled to absolute ones    Baichuan (B7)
    pointwise_reward_loss  each response against its own label          DeepSeek point-wise (D4)
    step_reward_loss       each reasoning step against its label        Llama 3 step-wise reward model (§3.13)

Soft labels by preference level and graded heads are in `graded`, attribute regression in `attributes`.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator, sum_by
from burnish.losses.soft_labels import soft_label_loss


def ordered_pairs(ranks: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor, Tensor]:
    """Every pair of responses of which one is ranked above the other.

    Args:
        ranks: for each row, the rank of each of its responses in the order they stand; 0 is best. Equal ranks make no
            pair. Responses are numbered through all rows.

    Returns:
        better [P] and worse [P], numbers of responses; weight [P], one over the number of pairs of the pair's row, so
        that each row weighs 1. A row without a pair weighs nothing.
    """
    better: list[int] = []
    worse: list[int] = []
    weight: list[float] = []
    start = 0
    for row in ranks:
        pairs = [(i, j) for i, a in enumerate(row) for j, b in enumerate(row) if a < b]
        better += [start + i for i, _ in pairs]
        worse += [start + j for _, j in pairs]
        weight += [1 / len(pairs) for _ in pairs]
        start += len(row)
    index = torch.int64  # also where there is no pair
    return (
        torch.tensor(better, dtype=index),
        torch.tensor(worse, dtype=index),
        torch.tensor(weight, dtype=torch.float64),
    )


def response_weights(better: Tensor, worse: Tensor, weight: Tensor, *, responses: int) -> Tensor:
    """What a term over both ends of each pair weighs on each response: the weights of the pairs it stands in.

    1 for both answers of a row of two, 2/3 for each of a ranked row of three, 0 for a response without a pair.

    Args:
        better, worse, weight: [P], from `ordered_pairs`.
        responses: R, the responses of this part.

    Returns:
        [R]; a row's weights add up to 2.
    """
    return sum_by(weight, better, responses) + sum_by(weight, worse, responses)


def reward_loss(
    scores: Tensor,
    better: Tensor,
    worse: Tensor,
    weight: Tensor,
    *,
    rows: int,
    margin: Tensor | None = None,
    scale: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean ranking loss.

        L = (1/B) sum_rows (1/|pairs of row|) sum_pairs -s log sigmoid(r(x, y_w) - r(x, y_l) - m)

    Llama 3 drops the margin m of Llama 2 (spec §3.3). The public code of HelpSteer2 has the same margin form and a
    scaled one, m = 0 and s = the strength 1..3 (spec nemotron §A.2). With edited > chosen > rejected a row has three
    pairs, and their mean is the row's loss (ASSUMED: the report does not say how the pairs are combined). With equal
    scores and s = 1, L = ln 2.

    Args:
        scores: [R] score of each response of this part; higher is better.
        better, worse: [P] numbers of responses, from `ordered_pairs`.
        weight: [P] one over the number of pairs of the pair's row.
        rows: B, the rows of the whole optimiser batch.
        margin: [P] in units of the score, or None for no margin.
        scale: [P] factor of each pair's loss, or None for 1.

    Returns:
        The loss (scalar, nats), and detached sums over this part's rows: `accuracy` (share of the row's pairs scored in
        the right order, a tie counts as wrong) and `margin` (mean score difference of the row's pairs).
    """
    scores = scores.to(accumulator(scores.dtype))
    weight = weight.to(scores)
    difference = scores[better] - scores[worse]
    logits = difference if margin is None else difference - margin.to(scores)
    loss = -((weight if scale is None else weight * scale.to(scores)) * logsigmoid(logits)).sum()
    known = difference.detach()
    sums = {"accuracy": (weight * (known > 0)).sum(), "margin": (weight * known).sum()}
    return loss / rows, sums


def penalised_reward_loss(
    scores: Tensor, better: Tensor, worse: Tensor, weight: Tensor, *, rows: int, penalty: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean ranking loss with a zero-mean Gaussian prior on the scores.

        L = (1/B) sum_rows (1/|pairs of row|) sum_pairs [ -log sigmoid(r_w - r_l) + lambda (r_w^2 + r_l^2) ]

    ChatGLM-RLHF (arXiv:2404.00934; spec G10). lambda is ASSUMED wherever it is set: the source gives the form in words
    and no number. So is the mean over the pairs of a row of three (the source has rows of two). lambda = 0 is
    `reward_loss`; adding a constant to all scores leaves the first term and changes the second, which is what keeps
    the mean score near 0.

    Args:
        scores, better, worse, weight, rows: as for `reward_loss`.
        penalty: lambda, nats per squared unit of the score.

    Returns:
        The loss (scalar, nats), and the sums of `reward_loss` with `ranking` (its loss, without the penalty), `score`
        and `square` (mean score and mean squared score of the row's pairs).
    """
    wide = scores.to(accumulator(scores.dtype))
    ranking, sums = reward_loss(wide, better, worse, weight, rows=rows)
    share = response_weights(better, worse, weight.to(wide), responses=len(wide))
    square = (share * wide.square()).sum()
    known = wide.detach()
    sums |= {"ranking": ranking.detach() * rows, "score": (share * known).sum() / 2, "square": square.detach() / 2}
    return ranking + penalty * square / rows, sums


def scaled_scores(values: Tensor, *, low: float, high: float) -> Tensor:
    """Absolute scores of a scale from `low` to `high`, laid on -1 .. 1 (ASSUMED, spec B7); NaN (no score) stays NaN.

    Raises:
        SettingsError: the scale is empty.
        DataError: a score lies outside the scale.
    """
    if not low < high:
        raise SettingsError(f"a scale from {low} to {high} is empty; low must be below high")
    outside = values[(values < low) | (values > high)]
    if outside.numel():
        raise DataError(
            f"the absolute score {outside[0].item():g} is outside the scale from {low:g} to {high:g}; mend the row or "
            "give the scale it was scored on"
        )
    return 2 * (values - low) / (high - low) - 1


def anchored_reward_loss(
    scores: Tensor, better: Tensor, worse: Tensor, weight: Tensor, absolute: Tensor, *, rows: int, alpha: float
) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean ranking loss with squared errors to people's absolute scores.

        L = (1/B) sum_rows (1/|pairs of row|) sum_pairs
                [ -log sigmoid(r_w - r_l) + alpha ((r_w - a_w)^2 + (r_l - a_l)^2) ]

    Baichuan Alignment (arXiv:2410.14940, reward model; spec B7): order alone may put a perfect answer closer to a bad
    one than two bad ones are to each other. A response without an absolute score has no squared term and gets no
    gradient from it, so sources without scores have alpha = 0. ASSUMED: alpha (not published; 0.1 proposed), absolute
    scores on -1 .. 1 (`scaled_scores`), a scored answer whose partner has no score keeps its own term, and the mean
    over the pairs of a row of three. alpha = 0 is `reward_loss`; adding a constant to all scores changes L iff
    alpha > 0 and something has a score.

    Args:
        scores, better, worse, weight, rows: as for `reward_loss`.
        absolute: [R] absolute score of each response in units of `scores`; NaN where there is none.
        alpha: nats per squared unit of the score.

    Returns:
        The loss (scalar, nats), and the sums of `reward_loss` with `ranking` (its loss, without the anchor),
        `squared_error` over the scored responses of this part, each once, and `scored`, how many they are.
    """
    wide = scores.to(accumulator(scores.dtype))
    ranking, sums = reward_loss(wide, better, worse, weight, rows=rows)
    absolute = absolute.to(wide)
    known = ~absolute.isnan()
    # where before the subtraction: nothing reaches the gradient of a response without a score
    error = torch.where(known, wide, 0.0) - torch.where(known, absolute, 0.0)
    share = response_weights(better, worse, weight.to(wide), responses=len(wide))
    anchor = (share * error.square()).sum()
    sums |= {
        "ranking": ranking.detach() * rows,
        "squared_error": error.detach().square().sum(),
        "scored": known.to(wide).sum(),
    }
    return ranking + alpha * anchor / rows, sums


def _binary(logits: Tensor, labels: Tensor, units: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Binary cross-entropy of labelled logits over `units`; a NaN label has no term and gets no gradient."""
    logits = logits.to(accumulator(logits.dtype))
    labels = labels.to(logits)
    known = ~labels.isnan()
    # where before the logarithm: an unlabelled logit gets a gradient of exactly 0, whatever its value
    logits, labels = torch.where(known, logits, 0.0), torch.where(known, labels, 0.5)
    loss = torch.where(known, soft_label_loss(logits, labels), 0.0).sum()
    said, right = logits.detach(), known & ((logits.detach() > 0) == (labels > 0.5))
    squares = torch.where(known, (said.sigmoid() - labels).square(), 0.0)
    counts = {"accuracy": right.to(logits).sum(), "brier": squares.sum(), "labelled": known.to(logits).sum()}
    return loss / units, {"cross_entropy": loss.detach(), **counts}


def pointwise_reward_loss(scores: Tensor, labels: Tensor, *, responses: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean binary cross-entropy of responses that are good or bad by themselves.

        L = (1/N) sum_i [ -y_i log sigmoid(r_i) - (1 - y_i) log sigmoid(-r_i) ],   dL/dr_i = (sigmoid(r_i) - y_i) / N

    DeepSeek-V2 (arXiv:2405.04434 §4.2; spec D4) trains its reward models point-wise or pair-wise and prints neither
    loss: binary cross-entropy is ASSUMED, so that sigmoid(r) is the probability of a good response. Pair-wise is
    `reward_loss`.

    Args:
        scores: [R] score of each response of this part, a logit.
        labels: [R] 0 (bad) .. 1 (good); NaN where a response has no label.
        responses: N, the labelled responses of the whole optimiser batch.

    Returns:
        The loss (scalar, nats), and detached sums over this part's labelled responses: `cross_entropy`, `accuracy`
        (score above 0 where the label is above 1/2, else not), `brier` (squared error of sigmoid(r)), `labelled`.
    """
    return _binary(scores, labels, responses)


def step_reward_loss(logits: Tensor, labels: Tensor, *, steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """This part's share of the batch's mean binary cross-entropy of reasoning steps.

        L = (1/S) sum_s [ -y_s log sigmoid(z_s) - (1 - y_s) log sigmoid(-z_s) ],   dL/dz_s = (sigmoid(z_s) - y_s) / S

    The step-wise reward model of Llama 3 (spec §3.13.3), labelled as in Math-Shepherd (arXiv:2312.08935 §3): hard
    labels say whether any of the completions from step s reached the answer, soft labels which share of them did; a
    soft label's least loss is its entropy, at sigmoid(z) = y. ASSUMED: each labelled step of the batch weighs the same,
    so a long solution weighs more than a short one, as in Math-Shepherd's sum over steps; z is read where its caller
    reads it (the last token of the step), and no other position gets a gradient.

    Args:
        logits: [N] value of the process head at the end of each step of this part.
        labels: [N] 0 .. 1; NaN where a step has no label.
        steps: S, the labelled steps of the whole optimiser batch.

    Returns:
        The loss (scalar, nats), and the sums of `pointwise_reward_loss` over this part's labelled steps.
    """
    return _binary(logits, labels, steps)
