"""Where the rows of the optimiser's tensors are. `Parts`: all of them in this process, as where one trains alone.

`parallel.shard` knows the other case. What looks at a whole tensor (a mask over it, its largest entries, its sum) asks
here, so that it decides the same whether a process holds all rows or some.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Parts:
    """Every tensor is whole here."""

    def shape(self, name: str, part: Tensor) -> torch.Size:
        """Of the whole tensor `name`, of which `part` is here."""
        return part.shape

    def cut(self, name: str, whole: Tensor) -> Tensor:
        """The rows of a whole tensor that belong here; they share its memory."""
        return whole

    def whole(self, name: str, part: Tensor) -> Tensor:
        """The tensor, of which every process gives the rows that it holds."""
        return part

    def room(self, name: str, part: Tensor) -> int:
        """Entries of the largest part."""
        return part.numel()

    def all(self, name: str, values: Tensor) -> tuple[Tensor, int]:
        """[P, ...] what each of the P holders of a part gives, in the order of the rows, and which of them is here."""
        return values[None], 0
