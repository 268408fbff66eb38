"""Sums over the tokens of responses and pairs: what every objective over whole answers needs of a part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from burnish.losses.segments import accumulator, sum_by


@dataclass(frozen=True, slots=True, kw_only=True)
class ResponseSums:
    """[R] sums of the responses of a part, in `accumulator` of the log-probabilities' type.

    Attributes:
        ratio: sum_t m_t (log p(y_t) - log p_ref(y_t)), nats; m_t = 0 on formatting tokens, 1 elsewhere.
        logprob: sum_t log p(y_t) over all trained tokens, nats.
        length: trained tokens.
        unmasked: trained tokens with m_t = 1.
    """

    ratio: Tensor
    logprob: Tensor
    length: Tensor
    unmasked: Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class PairSums:
    """[P] sums of the pairs of a part; attributes as in `ResponseSums`, for the chosen and the rejected response."""

    chosen_ratio: Tensor
    rejected_ratio: Tensor
    chosen: Tensor
    rejected: Tensor
    chosen_length: Tensor
    rejected_length: Tensor
    chosen_unmasked: Tensor
    rejected_unmasked: Tensor

    def gap(self, *, normalise: bool) -> Tensor:
        """[P] log-ratio of the chosen less that of the rejected, nats; of their token means if `normalise`.

        The mean is over the tokens that are summed: the unmasked ones. A response of formatting tokens only has a
        log-ratio of 0 either way.
        """
        if not normalise:
            return self.chosen_ratio - self.rejected_ratio
        chosen = self.chosen_ratio / self.chosen_unmasked.clamp(min=1)
        return chosen - self.rejected_ratio / self.rejected_unmasked.clamp(min=1)

    def nll(self, *, summed: bool) -> Tensor:
        """[P] negative log-likelihood of the chosen over all its trained tokens: nats, or nats per token."""
        return -self.chosen if summed else -self.chosen / self.chosen_length


def response_sums(
    logprobs: Tensor, reference: Tensor, response: Tensor, formatting: Tensor, *, responses_here: int
) -> ResponseSums:
    """Sum the tokens of each response.

    Args:
        logprobs: [N] log-probabilities of this part's trained tokens under the policy, nats.
        reference: [N] the same under the frozen reference; carries no gradient.
        response: [N] number of the token's response.
        formatting: [N] True on terminators and headers; 1 - m_t.
        responses_here: the responses of this part.

    Returns:
        The sums, in the order of the responses' numbers.
    """
    policy = logprobs.to(accumulator(logprobs.dtype))
    # where, not a product: a masked token gets a gradient of exactly 0, whatever its value
    ratio = torch.where(formatting, torch.zeros_like(policy), policy - reference.detach().to(policy))
    return ResponseSums(
        ratio=sum_by(ratio, response, responses_here),
        logprob=sum_by(policy, response, responses_here),
        length=sum_by(torch.ones_like(policy), response, responses_here),
        unmasked=sum_by((~formatting).to(policy), response, responses_here),
    )


def pair_sums(
    logprobs: Tensor, reference: Tensor, response: Tensor, formatting: Tensor, *, pairs_here: int
) -> PairSums:
    """Sum the tokens of each pair: `response_sums` where pair p holds chosen 2p and rejected 2p + 1.

    Args:
        logprobs, reference, response, formatting: [N] as in `response_sums`.
        pairs_here: the pairs of this part.
    """
    sums = response_sums(logprobs, reference, response, formatting, responses_here=2 * pairs_here)
    return PairSums(
        chosen_ratio=sums.ratio[0::2],
        rejected_ratio=sums.ratio[1::2],
        chosen=sums.logprob[0::2],
        rejected=sums.logprob[1::2],
        chosen_length=sums.length[0::2],
        rejected_length=sums.length[1::2],
        chosen_unmasked=sums.unmasked[0::2],
        rejected_unmasked=sums.unmasked[1::2],
    )


def share_of_batch(
    sums: PairSums,
    loss: Tensor,
    margin: Tensor,
    terms: Mapping[str, Tensor],
    *,
    pairs: int,
    weight: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """What every objective over pairs returns.

        share = (1/P) sum_pairs w loss

    Args:
        loss, margin: [P] loss and margin of this part's pairs.
        terms: [P] each, the parts of the loss by name.
        pairs: P, what the batch's loss is a mean over.
        weight: [P] w, or None for 1; carries no gradient.

    Returns:
        The share (scalar), and detached sums over this part's pairs, weighted as the loss is: `terms`, `nll` (token
        mean of the chosen), `margin`, `accuracy` (margin > 0), `chosen` and `rejected` (mean log p per trained token).
    """
    chosen, rejected = sums.chosen / sums.chosen_length, sums.rejected / sums.rejected_length
    known = {"nll": -chosen, "margin": margin, "accuracy": (margin > 0).to(margin), "chosen": chosen}
    # detached first, so that no metric keeps the graph
    values = {name: value.detach() for name, value in {**terms, **known, "rejected": rejected}.items()}
    if weight is not None:
        weight = weight.detach().to(loss)
        loss, values = weight * loss, {name: weight * value for name, value in values.items()}
    return loss.sum() / pairs, {name: value.sum() for name, value in values.items()}
