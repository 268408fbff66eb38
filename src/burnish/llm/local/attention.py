"""Keys and values of a batch in which every K rows continue one prompt, and the attention that reads them.

Three stores per layer. What rows share is held and read once: what all prompts begin with (worked examples, a system
message), what a prompt's K samples share; and apart from these what each sample drew itself:

    common keys   [1, G, C, D]        C tokens that all prompts of the batch begin with (0 when few)
    prompt keys   [G, P, L, D]        G key heads, P prompts, L longest rest of a prompt (padded on the right), D width
    drawn keys    [G, P, W, T, D]     W = slots per prompt (K at first), T room for all tokens that may be drawn

A query row attends to the common keys in one matrix product with all other rows, to its prompt's keys in one with the
prompt's other slots, and to its own drawn keys; one softmax runs over all three. Right padding needs a mask over prompt
keys only, and none at all when prompts have equal length: all rows have drawn the same number of tokens. Rows that
finish leave the computation at once (slots point to rows by an index), and their keys leave when many of them are gone.

The seam is transformers' attention registry: the model's own code makes queries, keys and values, so that norms on
them, biases, rotary forms and head counts are the model's business.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional
from transformers import AttentionInterface
from transformers.cache_utils import Cache

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTENTION = "burnish_decode"
REPACK = 0.7  # the stores are rebuilt when that leaves this share of the slots or less: a copy of all keys must pay off
_HARMLESS = {"position_ids", "cache_position"}  # tensors that models hand on and that change nothing here


class Unservable(Exception):
    """The model asks its attention for something that this form cannot give; another path must serve it."""


@dataclass
class Layer:
    """Keys and values of one layer, shapes as in the module's docstring; how the model asked to attend, when read."""

    common_keys: torch.Tensor | None = None
    common_values: torch.Tensor | None = None
    prompt_keys: torch.Tensor | None = None
    prompt_values: torch.Tensor | None = None
    drawn_keys: torch.Tensor | None = None
    drawn_values: torch.Tensor | None = None
    window: int | None = None
    softcap: float | None = None
    scaling: float = 1.0


@dataclass
class KeyValues:
    """All that the attention of one batch needs; see the module's docstring.

    Args:
        lengths: tokens of each prompt after the common ones, [P], each at least 1.
        samples: rows per prompt at first (K).
        budget: tokens a row may draw (T).
        common: tokens that all prompts begin with (C).
    """

    lengths: torch.Tensor
    samples: int
    budget: int
    common: int = 0
    layers: dict[int, Layer] = field(default_factory=dict)
    reading: slice | str | None = None  # the prompts being read, or "common"; None while drawing
    step: int = 0  # tokens drawn before this one
    width: int = 0  # W
    slot_row: torch.Tensor | None = None  # [P * W] the row in each slot (any row in a dead one); None: the same order
    row_slot: torch.Tensor | None = None  # [R] the slot of each row
    masks: dict[int | None, tuple[int, torch.Tensor] | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.width = self.samples
        self.longest = int(self.lengths.max())
        self.uneven = bool((self.lengths != self.longest).any())

    @property
    def prompts(self) -> int:
        return len(self.lengths)

    # Reading prompts

    def store_prompts(self, index: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep the keys and values of one layer for what is being read; [p, G, l, D]."""
        layer = self.layers.setdefault(index, Layer())
        if self.reading == "common":
            layer.common_keys, layer.common_values = keys, values
            return
        if layer.prompt_keys is None:
            shape = (keys.shape[1], self.prompts, self.longest)
            layer.prompt_keys = keys.new_zeros(*shape, keys.shape[3])
            layer.prompt_values = values.new_zeros(*shape, values.shape[3])
        layer.prompt_keys[:, self.reading, : keys.shape[2]] = keys.transpose(0, 1)
        layer.prompt_values[:, self.reading, : values.shape[2]] = values.transpose(0, 1)

    # Drawing

    def store_drawn(self, index: int, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Keep one token's keys and values of every row; [R, G, D]."""
        layer = self.layers[index]
        if layer.drawn_keys is None:
            # All the room at once: on a CPU, memory that is never written to costs nothing.
            shape = (keys.shape[1], self.prompts, self.width, self.budget)
            layer.drawn_keys = keys.new_empty(*shape, keys.shape[2])
            layer.drawn_values = values.new_empty(*shape, values.shape[2])
        layer.drawn_keys[:, :, :, self.step] = self.to_slots(keys).permute(2, 0, 1, 3)
        layer.drawn_values[:, :, :, self.step] = self.to_slots(values).permute(2, 0, 1, 3)

    def to_slots(self, rows: torch.Tensor) -> torch.Tensor:
        """[R, ...] -> [P, W, ...]."""
        if self.slot_row is not None:
            rows = rows.index_select(0, self.slot_row)
        return rows.view(self.prompts, self.width, *rows.shape[1:])

    def to_rows(self, slots: torch.Tensor) -> torch.Tensor:
        """[P, W, ...] -> [R, ...]."""
        rows = slots.reshape(self.prompts * self.width, *slots.shape[2:])
        return rows if self.row_slot is None else rows.index_select(0, self.row_slot)

    def keep(self, alive: torch.Tensor) -> None:
        """Let rows go: `alive` is a mask over the present rows, [R]. Order is kept."""
        slots = self.row_slot if self.row_slot is not None else torch.arange(len(alive), device=alive.device)
        self._place(slots[alive], self.prompts, self.width)
        if len(self.row_slot) <= REPACK * self.prompts * self.width:
            self._repack()

    def _place(self, row_slot: torch.Tensor, prompts: int, width: int) -> None:
        slot_row = torch.zeros(prompts * width, dtype=torch.long, device=row_slot.device)
        slot_row[row_slot] = torch.arange(len(row_slot), device=row_slot.device)
        self.row_slot, self.slot_row = row_slot, slot_row

    def _repack(self) -> None:
        """Drop prompts without a live row, and slots that no prompt needs."""
        prompt, slot = self.row_slot // self.width, self.row_slot % self.width
        kept, inverse, counts = torch.unique_consecutive(prompt, return_inverse=True, return_counts=True)
        width = int(counts.max())
        if len(kept) * width > REPACK * self.prompts * self.width:
            return
        place = torch.arange(len(prompt), device=prompt.device) - (counts.cumsum(0) - counts)[inverse]
        source = torch.zeros(len(kept), width, dtype=torch.long, device=prompt.device)
        source[inverse, place] = slot  # [P', W'] old slot within the old prompt
        for layer in self.layers.values():
            layer.prompt_keys = layer.prompt_keys.index_select(1, kept)
            layer.prompt_values = layer.prompt_values.index_select(1, kept)
            if layer.drawn_keys is not None:
                layer.drawn_keys = self._pick(layer.drawn_keys, kept, source)
                layer.drawn_values = self._pick(layer.drawn_values, kept, source)
        self.lengths, self.width = self.lengths[kept], width
        self.masks.clear()
        if len(prompt) == len(kept) * width:
            self.row_slot = self.slot_row = None
        else:
            self._place(inverse * width + place, len(kept), width)

    def _pick(self, drawn: torch.Tensor, kept: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        """[G, P, W, T, D] -> [G, P', W', T, D], each kept prompt with its slots `source` [P', W']."""
        heads, prompts, width, budget, size = drawn.shape
        head = torch.arange(heads, device=kept.device)[:, None, None] * prompts * width
        number, used = (head + kept[:, None] * width + source).flatten(), self.step + 1
        fresh = drawn.new_empty(heads, *source.shape, budget, size)
        fresh[:, :, :, :used] = (
            drawn.view(-1, budget, size)[:, :used].index_select(0, number).view(heads, *source.shape, used, size)
        )
        return fresh

    def begin_step(self, step: int) -> None:
        """Tell which token comes next; window masks depend on it."""
        self.step = step
        for window in [w for w in self.masks if w is not None]:
            del self.masks[window]

    def prompt_mask(self, window: int | None, dtype: torch.dtype) -> tuple[int, torch.Tensor] | None:
        """What hides common and prompt tokens (one axis, C + L) from the token drawn next.

        Returns:
            (first, mask [P, 1, C + L - first]), -infinity where a token is hidden; all before `first` is seen. None
            when nothing is hidden.
        """
        if window is not None and self.common + self.longest + self.budget <= window:
            window = None
        if window not in self.masks:
            positions = torch.arange(self.common + self.longest, device=self.lengths.device)
            ends = self.common + self.lengths[:, None]
            hidden = positions >= ends
            if window is not None:
                hidden = hidden | (positions <= ends + self.step - window)
            first = 0 if window is not None else self.common
            mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
            self.masks[window] = (first, mask[:, None, first:]) if window is not None or self.uneven else None
        return self.masks[window]


class GroupedCache(Cache):
    """What a transformers model takes for its cache: it hands keys and values on to `KeyValues`."""

    def __init__(self, state: KeyValues) -> None:
        super().__init__(layers=[])
        self.state = state

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.state.reading is None:
            self.state.store_drawn(layer_idx, key_states[:, :, 0], value_states[:, :, 0])
        else:
            self.state.store_prompts(layer_idx, key_states, value_states)
        return key_states, value_states

    def get_seq_length(self, layer_idx: int = 0) -> int:
        state = self.state
        if state.reading is not None:
            return 0 if state.reading == "common" else state.common
        return state.common + state.longest + state.step

    def get_query_offset(self, layer_idx: int = 0) -> int:
        return self.get_seq_length(layer_idx)

    def get_mask_sizes(self, query_length: int, layer_idx: int = 0) -> tuple[int, int]:
        return self.get_seq_length(layer_idx) + query_length, 0


_CURRENT: ContextVar[KeyValues | None] = ContextVar("burnish_decode_state", default=None)


@contextmanager
def attending(state: KeyValues) -> Iterator[None]:
    """Within it, models whose attention is `ATTENTION` read and write `state`."""
    token = _CURRENT.set(state)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def attend(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    sliding_window: int | None = None,
    **others: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one layer. query [R, H, q, D]; answers [R, q, H, D].

    Raises:
        Unservable: a mask, sinks, a bias or dropout, or a call outside `attending`.
    """
    state = _CURRENT.get()
    index = getattr(module, "layer_idx", None)
    strange = [n for n, v in others.items() if isinstance(v, torch.Tensor) and n not in _HARMLESS]
    if state is None or attention_mask is not None or dropout or strange or index not in state.layers:
        raise Unservable(f"attention with {strange or 'a mask, dropout or shared layers'}")
    layer = state.layers[index]
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer.window, layer.softcap, layer.scaling = sliding_window, softcap, scaling
    if state.reading is None:
        return attend_drawn(state, layer, query[:, :, 0])[:, None], None
    if state.reading != "common" and state.common:
        key = torch.cat([layer.common_keys.expand(len(key), -1, -1, -1), key], dim=2)
        value = torch.cat([layer.common_values.expand(len(value), -1, -1, -1), value], dim=2)
    return _read(query, key, value, scaling, softcap, sliding_window), None


def _read(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    scaling: float,
    softcap: float | None,
    window: int | None,
) -> torch.Tensor:
    """Causal attention of the last q of k tokens, [p, H, q, D] over [p, G, k, D]; answers [p, q, H, D].

    Padding on the right is never seen by a real query.
    """
    length, total = query.shape[2], key.shape[2]
    slides = window is not None and total > window
    if softcap is None and not slides and length == total:
        out = functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2)
    position = torch.arange(total, device=query.device)
    seen = position <= position[total - length :, None]
    if slides:
        seen &= position > position[total - length :, None] - window
    if softcap is None:
        out = functional.scaled_dot_product_attention(query, key, value, attn_mask=seen, scale=scaling, enable_gqa=True)
        return out.transpose(1, 2)
    groups = query.shape[1] // key.shape[1]
    scores = (query * scaling).unflatten(1, (key.shape[1], groups)) @ key[:, :, None].transpose(3, 4)
    weights = _softmax(_cap(scores, softcap).masked_fill_(~seen, float("-inf")), value.dtype)
    return (weights @ value[:, :, None]).flatten(1, 2).transpose(1, 2)


def attend_drawn(state: KeyValues, layer: Layer, query: torch.Tensor) -> torch.Tensor:
    """Attention of one new token of each row, whose keys and values are stored; [R, H, D], answers the same shape."""
    step, window = state.step, layer.window
    heads, prompts, width, room, _ = layer.drawn_keys.shape
    groups, ends = query.shape[1] // heads, (state.common, state.common + state.longest)
    first = 0 if window is None else max(0, step + 1 - window)
    apart = (heads * prompts * width, groups, -1)  # own keys: a small product for each slot
    slots = state.to_slots(query).unflatten(2, (heads, groups)).permute(2, 0, 1, 3, 4)  # [G, P, W, g, D]
    rows = slots.contiguous().view(heads * prompts, width * groups, -1)
    own = rows.view(apart)
    drawn = layer.drawn_keys.view(heads * prompts * width, room, -1)[:, first : step + 1]
    shape = (heads, prompts, width * groups, -1)
    parts = [
        _scaled(rows, layer.prompt_keys.flatten(0, 1), layer.scaling).view(shape),
        _scaled(own, drawn, layer.scaling).view(shape),
    ]
    if state.common:
        everyone = rows.view(heads, prompts * width * groups, -1)
        parts.insert(0, _scaled(everyone, layer.common_keys[0], layer.scaling).view(shape))
    scores = _cap(torch.cat(parts, dim=-1), layer.softcap)
    mask = state.prompt_mask(window, scores.dtype)
    if mask is not None:
        scores[..., mask[0] : ends[1]] += mask[1]
    weights = _softmax(scores, layer.prompt_values.dtype)  # [G, P, W * g, C + L + t]
    drawn = layer.drawn_values.view(heads * prompts * width, room, -1)[:, first : step + 1]
    out = torch.bmm(weights[..., ends[1] :].reshape(apart), drawn).view(heads * prompts, width * groups, -1)
    out = out.baddbmm_(weights[..., ends[0] : ends[1]].flatten(0, 1), layer.prompt_values.flatten(0, 1))
    if state.common:
        out = out.view(heads, prompts * width * groups, -1)
        out = out.baddbmm_(weights[..., : ends[0]].flatten(1, 2), layer.common_values[0])
    out = out.view(heads, prompts, width, groups, -1).permute(1, 2, 0, 3, 4)
    return state.to_rows(out.reshape(prompts, width, heads * groups, -1))


def _scaled(query: torch.Tensor, keys: torch.Tensor, scaling: float) -> torch.Tensor:
    """scaling * q k^T; [b, q, D] and [b, k, D]."""
    return torch.baddbmm(query.new_empty(1, 1, 1), query, keys.transpose(1, 2), beta=0, alpha=scaling)


def _cap(scores: torch.Tensor, softcap: float | None) -> torch.Tensor:
    return scores if softcap is None else torch.tanh(scores / softcap) * softcap


def _softmax(scores: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Softmax over the keys, computed in float32 or wider."""
    return torch.softmax(scores, dim=-1, dtype=torch.promote_types(scores.dtype, torch.float32)).to(dtype)


AttentionInterface.register(ATTENTION, attend)
