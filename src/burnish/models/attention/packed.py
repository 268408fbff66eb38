"""Packed attention behind transformers' own seam: the attention and mask registries.

The mask function hands each layer a `PackedMask` (the pack and the layer's window) in place of a mask tensor, the
attention function computes the pack's calls with it. Whatever the pair cannot compute exactly raises `Unserved`,
and the model falls back to plain batches. Without a pack in sight both behave as transformers' `sdpa`, with the
soft-cap that `sdpa` itself refuses, so a switched model still generates and trains as any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

from burnish.models.attention.plan import Block, plan
from burnish.models.attention.split import Split, splitting
from burnish.models.attention.varlen import attend_runs, runs_of, serves
from burnish.models.pack import Pack

NAME = "burnish_packed"

_PACK: ContextVar[Pack | None] = ContextVar("burnish_pack", default=None)

# Arguments of attention functions that do not change what is computed here.
_HARMLESS = frozenset(
    {
        "cache_position",
        "deterministic",
        "layer_idx",
        "logits_to_keep",
        "output_attentions",
        "output_hidden_states",
        "output_router_logits",
        "position_embeddings",
        "position_ids",
        "return_dict",
        "use_cache",
    }
)


class Unserved(Exception):
    """The packed core cannot compute this architecture exactly; always caught in this room."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedMask:
    """What a layer gets instead of a mask tensor."""

    pack: Pack
    window: int | None
    split: Split | None = None


@contextmanager
def packing(pack: Pack) -> Iterator[None]:
    """Within it, a model with packed attention takes its input as this pack."""
    token = _PACK.set(pack)
    try:
        yield
    finally:
        _PACK.reset(token)


class _Stack(torch.autograd.Function):
    """Flat tokens into padded places: a gather whose backward is a gather too (each token has one place)."""

    @staticmethod
    def forward(ctx: Any, flat: torch.Tensor, fill: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(slots)
        return flat.index_select(2, fill)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        return grad.index_select(2, ctx.saved_tensors[0]), None, None


class _Unstack(torch.autograd.Function):
    """Padded places [places, H, D] back to flat tokens; padding gets no gradient."""

    @staticmethod
    def forward(ctx: Any, stacked: torch.Tensor, slots: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(slots)
        ctx.places = stacked.shape[0]
        return stacked.index_select(0, slots)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:
        whole = grad.new_zeros(ctx.places, *grad.shape[1:])
        return whole.index_copy_(0, ctx.saved_tensors[0], grad), None


def _batched(flat: torch.Tensor, batch: int) -> torch.Tensor:
    """[1, H, batch * S, D] as [batch, H, S, D], without a copy."""
    _, heads, tokens, size = flat.shape
    return flat.view(heads, batch, tokens // batch, size).transpose(0, 1)


def attend(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    *,
    mask: torch.Tensor | None,
    scale: float,
    cap: float | None,
    dropout: float,
) -> torch.Tensor:
    """softmax(cap(q k^T scale) + mask) v over [B, H, Q, D] and [B, G, K, D] with G dividing H; `mask` None is causal.

    The cap is cap * tanh(x / cap) (Gemma 2, arXiv:2408.00118 §2).
    """
    groups = query.shape[1] // key.shape[1]
    if cap is None:
        if groups > 1 and query.device.type != "cpu":  # elsewhere the fused kernels take no grouped heads with a mask
            key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
            groups = 1
        return F.scaled_dot_product_attention(
            query, key, value, attn_mask=mask, dropout_p=dropout, is_causal=mask is None, scale=scale,
            enable_gqa=groups > 1,
        )  # fmt: skip
    batch, heads, queries, size = query.shape
    keys = key.shape[2]
    grouped = query.reshape(batch, heads // groups, groups * queries, size)
    scores = torch.matmul(grouped, key.transpose(2, 3)).mul(scale / cap).tanh().mul(cap)
    scores = scores.view(batch, heads // groups, groups, queries, keys)
    if mask is None:
        mask = torch.full((queries, keys), float("-inf"), dtype=scores.dtype, device=scores.device)
        mask = mask.triu(1 + keys - queries)
    else:
        mask = mask[:, :, None]
    wide = torch.promote_types(scores.dtype, torch.float32)
    weights = F.dropout((scores + mask).softmax(-1, dtype=wide).to(value.dtype), dropout)
    return torch.matmul(weights.view(batch, -1, groups * queries, keys), value).view(batch, heads, queries, -1)


def _block(block: Block, query: torch.Tensor, keys: tuple[torch.Tensor, ...], options: dict[str, Any]) -> torch.Tensor:
    """One call: query [1, H, n, D] of the block's range, keys and values of the same range or of its origin's."""
    if block.slots is not None:
        query = _Stack.apply(query, block.fill, block.slots)
    if block.gather is not None:
        keys = tuple(x.index_select(2, block.gather) for x in keys)
    elif block.slots is not None:
        keys = tuple(_Stack.apply(x, block.fill, block.slots) for x in keys)
    key, value = (_batched(x, block.batch) for x in keys)
    out = attend(_batched(query, block.batch), key, value, mask=block.mask, **options)
    out = out.transpose(1, 2).reshape(block.batch * block.queries, out.shape[1], out.shape[3])
    return out if block.slots is None else _Unstack.apply(out, block.slots)


def packed_attention(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: PackedMask, **options: Any
) -> torch.Tensor:
    """Attention of a whole pack: [1, H, T, D] and [1, G, T, D] in, [1, T, H, D] out. Options as for `attend`."""
    if serves(query, value, options["cap"], options["dropout"]):
        runs = runs_of(mask.pack, query.device)
        return attend_runs(query, key, value, runs=runs, scale=options["scale"], window=mask.window)
    blocks = plan(mask.pack, mask.window, query.dtype, query.device)
    if len(blocks) == 1:
        return _block(blocks[0], query, (key, value), options)[None]
    queries = query.split([block.stop - block.start for block in blocks], dim=2)
    # Split keys once by the ranges that are read: a unit's blocks share its range.
    ranges = sorted({(b.start, b.stop) if b.gather is None else (b.origin, b.origin + b.extent) for b in blocks})
    whole = all(b.gather is None for b in blocks)
    if whole:
        sizes = [stop - start for start, stop in ranges]
        by_range = dict(zip(ranges, zip(key.split(sizes, 2), value.split(sizes, 2), strict=True), strict=True))
    else:
        by_range = {r: (key[:, :, r[0] : r[1]], value[:, :, r[0] : r[1]]) for r in ranges}
    outs = []
    for block, part in zip(blocks, queries, strict=True):
        span = (block.start, block.stop) if block.gather is None else (block.origin, block.origin + block.extent)
        outs.append(_block(block, part, by_range[span], options))
    return torch.cat(outs)[None]


def _attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: Any,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """The function in transformers' attention registry."""
    cap, dropout = kwargs.pop("softcap", None), kwargs.pop("dropout", 0.0)
    scaling = kwargs.pop("scaling", None)
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    if not isinstance(attention_mask, PackedMask):
        return _unpacked(module, query, key, value, attention_mask, cap=cap, dropout=dropout, scale=scale, **kwargs)
    window = kwargs.pop("sliding_window", None)
    causal = kwargs.pop("is_causal", None)
    strange = [name for name, given in kwargs.items() if given is not None and name not in _HARMLESS]
    if strange:
        raise Unserved(f"its attention takes {strange[0]!r}")
    if causal is False or getattr(module, "is_causal", True) is False:
        raise Unserved("its attention is not causal")
    if window is not None and window != attention_mask.window:
        raise Unserved(f"a layer says window {window} where its mask says {attention_mask.window}")
    options = {"scale": scale, "cap": cap, "dropout": dropout}
    if (split := attention_mask.split) is None:
        return packed_attention(query, key, value, attention_mask, **options), None
    parts = (x[:, :, : attention_mask.pack.tokens] for x in split.heads(query, key, value))
    return split.tokens(packed_attention(*parts, attention_mask, **options)), None


def _unpacked(
    module: torch.nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: Any, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    cap, scale = kwargs.pop("cap"), kwargs.pop("scale")
    if cap is None:
        return sdpa_attention_forward(module, query, key, value, mask, scaling=scale, **kwargs)
    if mask is not None and mask.dtype == torch.bool:
        # The lowest number, not -inf: a padding query may see nothing, and NaN would spread from it.
        lowest = torch.finfo(query.dtype).min
        mask = torch.zeros(mask.shape, dtype=query.dtype, device=mask.device).masked_fill_(~mask, lowest)
    out = attend(query, key, value, mask=mask, scale=scale, cap=cap, dropout=kwargs["dropout"])
    return out.transpose(1, 2).contiguous(), None


def _check_mask(kwargs: dict[str, Any], window: int | None) -> None:
    """The architecture's own mask rule must be causal, or causal with a window, on sample points."""
    if kwargs.get("use_vmap") or not kwargs.get("allow_is_causal_skip", True):
        raise Unserved("it adds a mask of its own")
    length = 64 + 2 * window if window is not None else 4096
    reach = window if window is not None else length
    query = torch.arange(length).repeat_interleave(5)
    key = query + torch.tensor([0, 1, -1, -reach, 1 - reach]).repeat(length)
    inside = (key >= 0) & (key < length)
    query, key = query[inside], key[inside]
    rule = kwargs["mask_function"](torch.zeros_like(query), torch.zeros_like(query), query, key)
    wanted = key <= query
    if window is not None:
        wanted &= query - key < window
    if not torch.equal(torch.as_tensor(rule).expand_as(wanted), wanted):
        raise Unserved("its mask is neither causal nor a sliding window")


def _mask(*args: Any, **kwargs: Any) -> Any:
    """The function in transformers' mask registry."""
    pack = _PACK.get()
    if pack is None:
        from transformers.masking_utils import sdpa_mask

        return sdpa_mask(*args, **kwargs)
    window = kwargs.get("local_size")
    if ("mask", window) not in pack.plans:  # once a pack, not once a layer or a recomputation
        _check_mask(kwargs, window)
        pack.plans["mask", window] = True
    return PackedMask(pack=pack, window=window, split=splitting())


def register() -> None:
    """Make `burnish_packed` known to transformers; repeating it changes nothing."""
    from transformers import AttentionInterface, AttentionMaskInterface

    AttentionInterface.register(NAME, _attention)
    AttentionMaskInterface.register(NAME, _mask)
