"""A small batch of sampled responses, and how two losses are compared."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from burnish.losses.on_policy import SampledTokens

LENGTHS = (3, 1, 4, 2)
RESPONSE = torch.repeat_interleave(torch.arange(4), torch.tensor(LENGTHS))
ADVANTAGES = torch.tensor([1.5, -1.0, -0.5, 0.25], dtype=torch.float64)


def drawn(seed: int, *shape: int, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def logprobs(seed: int, scale: float = 0.6) -> Tensor:
    """[10] log-probabilities whose ratios leave every interval on both sides."""
    return -1.5 + drawn(seed, len(RESPONSE), scale=scale)


def sampled(policy: Tensor, old: Tensor, **more) -> SampledTokens:
    return SampledTokens(logprobs=policy, old=old, response=RESPONSE, responses_here=4, **more)


def part(policy: Tensor, old: Tensor, responses: list[int]) -> tuple[SampledTokens, Tensor]:
    """Some of the responses as a part of their own, and the numbers of their tokens."""
    tokens = torch.cat([torch.nonzero(r == RESPONSE)[:, 0] for r in responses])
    owner = torch.repeat_interleave(torch.arange(len(responses)), torch.tensor([LENGTHS[r] for r in responses]))
    return SampledTokens(
        logprobs=policy[tokens], old=old[tokens], response=owner, responses_here=len(responses)
    ), tokens


def gradient(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    leaf = at.detach().clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def agree(one: Callable[[Tensor], Tensor], other: Callable[[Tensor], Tensor], at: Tensor) -> None:
    """Value and gradient: to 1e-6 in float64, and the first in float32 to 1e-4 of the second in float64."""
    value, exact = one(at).item(), other(at).item()
    mine, theirs = gradient(one, at), gradient(other, at)
    assert abs(value - exact) <= 1e-6 * abs(exact) + 1e-12
    assert theirs.norm() > 0 and (mine - theirs).norm() <= 1e-6 * theirs.norm()
    half = one(at.float())
    assert half.dtype == torch.float32 and abs(half.item() - exact) <= 1e-4 * max(abs(exact), 1e-2)
    assert (gradient(one, at.float()).double() - theirs).norm() <= 1e-4 * theirs.norm()
