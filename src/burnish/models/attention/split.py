"""The tokens of a pack shared by several processes: the seam, which `train.parallel` fills.

tokens   a process embeds, normalises and projects its own run of the flat tokens
heads    for attention it has all tokens of some heads in the place of some tokens of all heads
whole    at the end each process gets the states of all tokens
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import Protocol

import torch


class Split(Protocol):
    """How the T flat tokens of a pack lie in S processes, t = ceil(T / S) in each; the last ones may be padding."""

    def cut(self, flat: torch.Tensor) -> torch.Tensor:
        """[T] whole, the same in each process, to [t]: its own."""
        ...

    def heads(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """[1, H, t, D] each to [1, H / S, S t, D]: some heads of all tokens."""
        ...

    def tokens(self, attended: torch.Tensor) -> torch.Tensor:
        """[1, T, H / S, D] back to [1, t, H, D]: all heads of its own tokens."""
        ...

    def whole(self, states: torch.Tensor) -> torch.Tensor:
        """[t, width] to [S t, width], in each process; its gradient is summed over the processes."""
        ...


_split: ContextVar[Split | None] = ContextVar("burnish_split", default=None)


def splitting() -> Split | None:
    """How packs are split here; None where one process computes all of a pack."""
    return _split.get()


def set_split(split: Split | None) -> None:
    """Set it for good."""
    _split.set(split)
