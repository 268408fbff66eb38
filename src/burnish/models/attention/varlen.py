"""A whole pack in one attention call, on GPUs whose flash kernel takes runs of different lengths.

    flat     p0 p1 p2 a0 a1 b0 b1 b2       three runs of queries: p*, a*, b*
    keys     p0 p1 p2 | p0 p1 p2 a0 a1 | p0 p1 p2 b0 b1 b2      each run's last query sees its last key

Queries stay where they are; keys of a shared prompt are gathered once a run. Nothing is padded and no mask is made.
Half precision only, without cap or dropout; everything else takes the calls of `plan`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from burnish.models.pack import Pack

LARGEST_HEAD = 256  # of the flash kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs of a pack, in flat order.

    Args:
        query_ends, key_ends: [S + 1] cumulative lengths, int32, from 0.
        longest_query, longest_key: the largest of each.
        gather: [K] flat index of each key; None where keys are the queries.
        copies: for the backward of `gather`: pairs (flat index, place in the keys) of equal length. Within a pair no
            flat index occurs twice, and all pairs together hold every place once.
    """

    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest_query: int
    longest_key: int
    gather: torch.Tensor | None = None
    copies: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()


def _copies(gather: torch.Tensor) -> tuple[tuple[torch.Tensor, torch.Tensor], ...]:
    """The first occurrence of each flat index, then the second of those that have one, and so on."""
    order = gather.argsort(stable=True)
    value = gather[order]
    new = torch.ones_like(value, dtype=torch.bool)
    new[1:] = value[1:] != value[:-1]
    place = torch.arange(len(value))
    turn = place - torch.where(new, place, 0).cummax(0).values
    return tuple((value[turn == t], order[turn == t]) for t in range(int(turn.max()) + 1))


def runs_of(pack: Pack, device: torch.device) -> Runs:
    """The runs of a pack; kept on it."""
    key = ("runs", device)
    if key in pack.plans:
        return pack.plans[key]
    queries, keys, gather = [], [], []
    for unit in pack.units:
        prompt = torch.arange(unit.start, unit.start + unit.prompt)
        at = unit.start + unit.prompt
        if unit.prompt:
            queries.append(unit.prompt)
            keys.append(unit.prompt)
            gather.append(prompt)
        for size in unit.branches:
            if size:
                queries.append(size)
                keys.append(unit.prompt + size)
                gather += [prompt, torch.arange(at, at + size)]
            at += size
    shared = queries != keys
    index = torch.cat(gather)

    def ends(sizes: list[int]) -> torch.Tensor:
        return torch.tensor([0, *sizes]).cumsum(0).to(torch.int32).to(device)

    pack.plans[key] = Runs(
        query_ends=ends(queries),
        key_ends=ends(keys),
        longest_query=max(queries),
        longest_key=max(keys),
        gather=index.to(device) if shared else None,
        copies=tuple((to.to(device), at.to(device)) for to, at in _copies(index)) if shared else (),
    )
    return pack.plans[key]


class _Gather(torch.autograd.Function):
    """Keys or values [T, G, D] to the places that read them; the backward sums in float32, in one fixed order."""

    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, runs: Runs) -> torch.Tensor:
        ctx.runs, ctx.tokens = runs, flat.shape[0]
        return flat.index_select(0, runs.gather)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        wide = torch.promote_types(grad.dtype, torch.float32)
        whole = grad.new_zeros(ctx.tokens, *grad.shape[1:], dtype=wide)
        for flat, place in ctx.runs.copies:
            whole.index_add_(0, flat, grad.index_select(0, place).to(wide))
        return whole.to(grad.dtype), None


def kernel() -> Callable[..., torch.Tensor] | None:
    """PyTorch's attention over runs; None where this PyTorch has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None


def serves(query: torch.Tensor, value: torch.Tensor, cap: float | None, dropout: float) -> bool:
    """Whether the kernel computes this call: query [1, H, T, D], value [1, G, T, D']."""
    if query.device.type != "cuda" or cap is not None or dropout:
        return False
    fits = query.shape[3] == value.shape[3] <= LARGEST_HEAD
    half = query.dtype in (torch.float16, torch.bfloat16)
    return fits and half and torch.cuda.get_device_capability(query.device) >= (8, 0) and kernel() is not None


def attend_runs(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    runs: Runs,
    scale: float,
    window: int | None,
) -> torch.Tensor:
    """[1, H, T, D] over [1, G, T, D]: [1, T, H, D]. A query sees `window` positions, itself among them; None: all."""
    attention = kernel()
    query, key, value = (x[0].transpose(0, 1) for x in (query, key, value))
    if runs.gather is not None:
        key, value = _Gather.apply(key, runs), _Gather.apply(value, runs)
    options: dict[str, Any] = {}
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in inspect.signature(attention).parameters:
            options["enable_gqa"] = True
        else:
            groups = query.shape[1] // key.shape[1]
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    sides = (-1 if window is None else window - 1, 0)
    ends = (runs.query_ends, runs.key_ends, runs.longest_query, runs.longest_key)
    return attention(query, key, value, *ends, scale=scale, window_size=sides, **options)[None]
