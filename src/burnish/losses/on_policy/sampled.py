"""The tokens of a part's sampled responses, and how a value of each token becomes the part's share of the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from burnish.errors import DataError, SettingsError
from burnish.losses.segments import accumulator, sum_by

Over = Literal["responses", "tokens"]

LIMIT = 20.0  # ASSUMED, nats: a ratio of e^20 says all that a ratio can say; the reports only say "clamp"


def bounded_exp(exponent: Tensor) -> Tensor:
    """exp(x) up to x = 20, its tangent e^20 (x - 19) beyond, element by element.

    The ratio of two sequences is the exponential of a sum and overflows on long ones (spec D5). A plain clamp would
    end the gradient where it matters most, or turn its sign in exp(x) - x - 1; the tangent keeps it, without infinity.
    """
    return exponent.clamp(max=LIMIT).exp() * (1 + torch.relu(exponent - LIMIT))


@dataclass(frozen=True, slots=True, kw_only=True)
class SampledTokens:
    """The trained tokens of the responses of a part, whole responses, each one's tokens next to each other in order.

    Tokens that the policy did not write (a tool's output) have no row here.

    Attributes:
        logprobs: [N] log-probabilities under the policy that is trained, nats.
        old: [N] the same under the policy that sampled them; carries no gradient.
        response: [N] number of the token's response, below `responses_here`.
        responses_here: R, the responses of this part.
        used: [R] bool, or None for all: a response without a reward is left out of every term and every sum, and
            must not be counted in the units of the batch.
    """

    logprobs: Tensor
    old: Tensor
    response: Tensor
    responses_here: int
    used: Tensor | None = None

    def counts(self) -> Tensor:
        """[R] trained tokens of each response."""
        ones = torch.ones_like(self.logprobs, dtype=accumulator(self.logprobs.dtype))
        return sum_by(ones, self.response, self.responses_here)

    def used_responses(self) -> Tensor:
        """[R] bool."""
        if self.used is None:
            return torch.ones(self.responses_here, dtype=torch.bool, device=self.logprobs.device)
        return self.used

    def less(self, other: Tensor) -> Tensor:
        """[N] log p - log p_other, nats, in at least float32; 0 without a gradient where a response is not used."""
        wide = self.logprobs.to(accumulator(self.logprobs.dtype))
        gap = wide - other.detach().to(wide)
        # where, not a product: a response without a reward gets a gradient of exactly 0, whatever its values
        return gap if self.used is None else torch.where(self.used[self.response], gap, 0.0)

    def by_response(self, tokens: Tensor) -> Tensor:
        """[R] sums of [N] values."""
        return sum_by(tokens, self.response, self.responses_here)

    def of_tokens(self, values: Tensor, name: str) -> Tensor:
        """[N] the value of each token's response; carries no gradient.

        Raises:
            DataError: there is not one value for each response.
        """
        return self.of_responses(values, name)[self.response]

    def of_responses(self, values: Tensor, name: str) -> Tensor:
        """[R] the same values, checked, in the type of the sums and without a gradient; 0 where not used.

        Raises:
            DataError: there is not one value for each response.
        """
        if values.shape != (self.responses_here,):
            raise DataError(
                f"{name} has the shape {list(values.shape)} for {self.responses_here} responses; give one for each"
            )
        wide = values.detach().to(accumulator(self.logprobs.dtype))
        return wide if self.used is None else torch.where(self.used, wide, 0.0)

    def total(self, tokens: Tensor, *, over: Over) -> Tensor:
        """What this part adds to the batch's mean before it is divided by the batch's units.

            responses:  sum_i (1/|o_i|) sum_t v_it        tokens:  sum_i sum_t v_it

        Args:
            tokens: [N] v; 0 where a response is not used.
            over: the unit; `tokens` weighs long responses more. A response without a trained token adds nothing.

        Raises:
            SettingsError: `over` is neither.
        """
        if over == "tokens":
            return tokens.sum()
        if over != "responses":
            raise SettingsError(f"over is {over!r}; choose 'responses' or 'tokens'")
        return (tokens / self.counts()[self.response]).sum()
