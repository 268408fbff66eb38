"""One forward of a pack, in two ways: through the packed core, or in plain padded batches."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from burnish.errors import ModelError
from burnish.models.attention import packing, splitting
from burnish.models.head import Head
from burnish.models.pack import Pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PLAIN_TOKENS = 8192  # padded tokens of one plain batch


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """How a model is computed.

    Args:
        packed: through the packed core, else plain padded batches.
        head: the form of its language head; None where the probe knows no form (then full logits), or has no such head.
        notice: why it falls back, in words; empty when it does not.
        threshold: positions from which rotary frequencies depend on the longest row; None where they never do.
    """

    packed: bool
    head: Head | None
    notice: str = ""
    threshold: int | None = None


CORES: weakref.WeakKeyDictionary[Any, Core] = weakref.WeakKeyDictionary()


def body(model: PreTrainedModel) -> torch.nn.Module:
    """The part of a model that ends with the last hidden states.

    Raises:
        ModelError: the architecture names no such part.
    """
    for name in (model.base_model_prefix, "model", "transformer"):
        if hasattr(model, name):
            return getattr(model, name)
    raise ModelError(f"{type(model).__name__} does not part its body from its head; choose another architecture")


def device_of(model: PreTrainedModel) -> torch.device:
    return model.get_input_embeddings().weight.device


def packed_forward(model: PreTrainedModel, pack: Pack, *, logits: bool = False) -> torch.Tensor:
    """Last hidden states [T, H] of a pack (or its logits [T, V]) through packed attention."""
    device, split = device_of(model), splitting()
    ids, positions = (flat if split is None else split.cut(flat) for flat in (pack.ids, pack.positions))
    ids = ids.to(device)[None]
    inputs = {"input_ids": ids, "position_ids": positions.to(device)[None]}
    # A mask of ones keeps transformers from reading packed sequences into the positions.
    inputs |= {"attention_mask": torch.ones_like(ids), "use_cache": False}
    with packing(pack):
        out = model(**inputs).logits if logits else body(model)(**inputs).last_hidden_state
    return out[0] if split is None else split.whole(out[0])[: pack.tokens]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sequence:
    """One plain sequence: its ids and, for each of its responses, (number in the pack, first place, length)."""

    ids: list[int]
    parts: tuple[tuple[int, int, int], ...]


def _sequences(pack: Pack) -> list[_Sequence]:
    out, number = [], 0
    for row in pack.rows:
        if pack.causal:
            ids, parts = list(row.prompt), []
            for response in row.responses:
                parts.append((number, len(ids), len(response)))
                ids += response
                number += 1
            out.append(_Sequence(ids=ids, parts=tuple(parts)))
            continue
        for response in row.responses:
            parts = ((number, len(row.prompt), len(response)),)
            out.append(_Sequence(ids=[*row.prompt, *response], parts=parts))
            number += 1
    return out


def _plain_batches(pack: Pack) -> Iterator[list[_Sequence]]:
    batch: list[_Sequence] = []
    for sequence in sorted(_sequences(pack), key=lambda s: len(s.ids)):
        if batch and (len(batch) + 1) * len(sequence.ids) > PLAIN_TOKENS:
            yield batch
            batch = []
        batch.append(sequence)
    if batch:
        yield batch


def plain_forward(model: PreTrainedModel, batch: Sequence[_Sequence], *, logits: bool = False) -> torch.Tensor:
    """Last hidden states [B, S, H] (or logits) of a right-padded batch: padding comes after, nothing causal sees it."""
    device, longest = device_of(model), max(len(s.ids) for s in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.int64)
    mask = torch.zeros_like(ids)
    for number, sequence in enumerate(batch):
        ids[number, : len(sequence.ids)] = torch.tensor(sequence.ids)
        mask[number, : len(sequence.ids)] = 1
    inputs = {"input_ids": ids.to(device), "attention_mask": mask.to(device)}
    if logits:
        return model(**inputs, use_cache=False).logits
    return body(model)(**inputs, use_cache=False)[0]


def read_plain(
    model: PreTrainedModel, pack: Pack, tokens: bool, *, logits: bool = False, shift: int = 0
) -> tuple[torch.Tensor, torch.Tensor]:
    """States that predict the response tokens (`tokens`) or that end the responses, and their places in the pack.

    `shift` 1 reads the states on the response tokens themselves in place of those that predict them.
    """
    first = torch.zeros(len(pack.response_row) + 1, dtype=torch.int64)
    first[1:] = torch.bincount(pack.token_response, minlength=len(pack.response_row)).cumsum(0)
    states, places = [], []
    for batch in _plain_batches(pack):
        out, rows, columns = plain_forward(model, batch, logits=logits), [], []
        for number, sequence in enumerate(batch):
            for response, begin, length in sequence.parts:
                if tokens:
                    columns += range(begin - 1 + shift, begin + length - 1 + shift)
                    places += range(int(first[response]), int(first[response]) + length)
                    rows += [number] * length
                else:
                    columns.append(begin + length - 1)
                    places.append(response)
                    rows.append(number)
        states.append(out[torch.tensor(rows, device=out.device), torch.tensor(columns, device=out.device)])
    return torch.cat(states), torch.tensor(places, dtype=torch.int64)
