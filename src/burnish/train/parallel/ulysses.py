"""Sequence parallelism as DeepSpeed-Ulysses does it (Jacobs et al., arXiv:2309.14509; Baichuan, spec B6).

    everywhere but in attention   a process has T / S tokens of a pack, all heads
    in attention                  all T tokens, H / S heads: one all-to-all before, one after

Key and value heads that S does not divide are repeated until it does. All processes of a group then compute the same
loss from the states of all tokens, so each of them counts it 1 / S; with every step's true adjoint, gradients summed
over all processes are those of one.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor

from burnish.errors import ModelError, SettingsError
from burnish.models.forward import CORES


def check_model(model: Any, *, sequence: int, world: int) -> None:
    """Refuse a model whose packs cannot be shared by so many processes.

    Raises:
        SettingsError: the number of processes, or of attention heads, is not a multiple of `sequence`.
        ModelError: the model is not computed in packs, or its positions depend on the longest row in sight.
    """
    if world % sequence:
        raise SettingsError(
            f"sequence_parallel is {sequence} and {world} processes train; set it to a divisor of {world}, or start a "
            f"multiple of {sequence} processes"
        )
    config = model.config.get_text_config()
    heads = config.num_attention_heads
    if heads % sequence:
        fit = [n for n in range(1, world + 1) if heads % n == 0 and world % n == 0]
        raise SettingsError(
            f"sequence_parallel is {sequence} and the model has {heads} attention heads "
            f"({getattr(config, 'num_key_value_heads', heads) or heads} of keys and values), which {sequence} "
            f"processes cannot share evenly; with {world} processes set it to {' or '.join(map(str, fit))}"
        )
    core = CORES[model]
    if not core.packed:
        raise ModelError(f"sequence_parallel shares packs, and {core.notice} Set sequence_parallel=1")
    if core.threshold is not None:
        raise ModelError(
            "the rotary frequencies of this model depend on the longest row in sight, and a process sees a part of it; "
            "set sequence_parallel=1"
        )


class Ulysses:
    """`models.attention.Split` over the processes of a group."""

    def __init__(self, group: dist.ProcessGroup) -> None:
        self.group, self.size, self.rank = group, group.size(), group.rank()

    def cut(self, flat: Tensor) -> Tensor:
        each = -(-flat.shape[0] // self.size)
        padded = F.pad(flat, (0, each * self.size - flat.shape[0]))
        return padded[self.rank * each : (self.rank + 1) * each]

    def heads(self, query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if query.shape[1] % self.size:
            raise ModelError(
                f"{self.size} processes share a pack and a model beside the trained one has {query.shape[1]} attention "
                "heads; set sequence_parallel to a divisor of both models' heads"
            )
        times = self.size // math.gcd(key.shape[1], self.size)
        if times > 1:
            key, value = (x.repeat_interleave(times, 1) for x in (key, value))
        return tuple(_ToHeads.apply(x, self.group) for x in (query, key, value))

    def tokens(self, attended: Tensor) -> Tensor:
        short = -attended.shape[1] % self.size
        return _ToTokens.apply(F.pad(attended, (0, 0, 0, 0, 0, short)).transpose(1, 2), self.group).transpose(1, 2)

    def whole(self, states: Tensor) -> Tensor:
        return _Whole.apply(states, self.group)


def _to_heads(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """[1, H, t, D] -> [1, H / S, S t, D]."""
    _, heads, tokens, width = x.shape
    size = group.size()
    mine = x.reshape(size, heads // size, tokens, width).contiguous()
    theirs = torch.empty_like(mine)
    dist.all_to_all_single(theirs, mine, group=group)
    return theirs.transpose(0, 1).reshape(1, heads // size, size * tokens, width)


def _to_tokens(x: Tensor, group: dist.ProcessGroup) -> Tensor:
    """[1, H / S, S t, D] -> [1, H, t, D]: the way back."""
    _, heads, tokens, width = x.shape
    size = group.size()
    mine = x.reshape(heads, size, tokens // size, width).transpose(0, 1).contiguous()
    theirs = torch.empty_like(mine)
    dist.all_to_all_single(theirs, mine, group=group)
    return theirs.reshape(1, size * heads, tokens // size, width)


class _ToHeads(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _to_heads(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _to_tokens(grad, ctx.group), None


class _ToTokens(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        return _to_tokens(x, group)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return _to_heads(grad, ctx.group), None


class _Whole(torch.autograd.Function):
    """All-gather; its adjoint is the sum over the group of each process's own part."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, group: dist.ProcessGroup) -> Tensor:
        ctx.group = group
        out = states.new_empty(group.size() * states.shape[0], *states.shape[1:])
        dist.all_gather(list(out.chunk(group.size())), states.contiguous(), group=group)
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        group = ctx.group
        total = grad.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total, group=group)
        return total.chunk(group.size())[group.rank()], None
