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
import torch.nn.functional as F

from burnish.models import kernels
from burnish.models.pack import Pack

LARGEST_HEAD = 256  # of the flash kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Runs:
    """The runs of a pack, in flat order.

    Args:
        query_ends, key_ends: [S + 1] cumulative lengths, int32, from 0.
        longest_query, longest_key: the largest of each.
        gather: [K] flat index of each key; None where keys are the queries.
        order, place_ends: [K] places of the keys by the flat index they read, and [T + 1] where each index's begin and
            end; None where keys are the queries.
    """

    query_ends: torch.Tensor
    key_ends: torch.Tensor
    longest_query: int
    longest_key: int
    gather: torch.Tensor | None = None
    order: torch.Tensor | None = None
    place_ends: torch.Tensor | None = None


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

    def ends(sizes: list[int]) -> torch.Tensor:
        return torch.tensor([0, *sizes]).cumsum(0).to(torch.int32).to(device)

    reads: dict[str, torch.Tensor] = {}
    if queries != keys:
        index = torch.cat(gather)
        counts = torch.bincount(index, minlength=pack.tokens)
        reads = {"gather": index, "order": index.argsort(stable=True), "place_ends": F.pad(counts.cumsum(0), (1, 0))}
    pack.plans[key] = Runs(
        query_ends=ends(queries),
        key_ends=ends(keys),
        longest_query=max(queries),
        longest_key=max(keys),
        **{name: tensor.to(device) for name, tensor in reads.items()},
    )
    return pack.plans[key]


class _Gather(torch.autograd.Function):
    """Keys or values [T, G, D] to the places that read them; the backward sums each token's places in one fixed order.

    Every token is read, by itself if by nothing else. Sums of half precision run in float32.
    """

    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, runs: Runs) -> torch.Tensor:
        ctx.runs = runs
        return flat.index_select(0, runs.gather)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        runs = ctx.runs
        if kernels.serves(grad):
            return kernels.sum_places(grad, runs.order, runs.place_ends), None
        wide = torch.promote_types(grad.dtype, torch.float32)
        whole = grad.new_zeros(len(runs.place_ends) - 1, *grad.shape[1:], dtype=wide)
        return whole.index_add_(0, runs.gather, grad.to(wide)).to(grad.dtype), None


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
    if query.shape[1] != key.shape[1] and "enable_gqa" in inspect.signature(attention).parameters:
        options["enable_gqa"] = True  # earlier kernels take grouped heads unasked
    sides = (-1 if window is None else window - 1, 0)
    ends = (runs.query_ends, runs.key_ends, runs.longest_query, runs.longest_key)
    return attention(query, key, value, *ends, scale=scale, window_size=sides, **options)[None]
