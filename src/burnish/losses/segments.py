"""Sums over the tokens that share an owner, accumulated in at least float32."""

from __future__ import annotations

import torch
from torch import Tensor


def accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type that sums are kept in: float32 for half precision, the type itself for float32 and float64."""
    return torch.promote_types(dtype, torch.float32)


def sum_by(values: Tensor, owner: Tensor, owners: int) -> Tensor:
    """Sum `values` by owner.

    Args:
        values: [N].
        owner: [N] whole numbers below `owners`.
        owners: how many owners there are, with or without values.

    Returns:
        [owners], in `accumulator(values.dtype)`; 0 for an owner without values.
    """
    sums = torch.zeros(owners, dtype=accumulator(values.dtype), device=values.device)
    return sums.index_add(0, owner, values.to(sums.dtype))
