"""Rows of tokens laid out flat, so that each token is computed once.

    row      prompt p0 p1 p2, responses a0 a1 | b0 b1 b2
    flat     p0 p1 p2 a0 a1 b0 b1 b2          one hidden state a token
    position  0  1  2  3  4  3  4  5          logical: a response starts at |prompt|
    sees     p*: the prompt so far; a*: prompt and a so far; b*: prompt and b so far, never a

Units (a row, or one response of it when nothing is shared) lie in the flat order by length, so that equal lengths
are neighbours and attention reads them as views. That order is internal: whatever leaves this room is in the
order row, response, token.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch


@dataclass(frozen=True, slots=True)
class Row:
    """Token ids of a prompt and of the responses that share it. The prompt holds one token at least (a BOS will do)."""

    prompt: tuple[int, ...]
    responses: tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """A run of flat tokens that attends to itself only: `prompt` tokens, then branches that each see the prompt.

    `branches` is empty for a plain causal run of `prompt` tokens.
    """

    start: int
    prompt: int
    branches: tuple[int, ...] = ()

    @property
    def length(self) -> int:
        """Tokens of the unit."""
        return self.prompt + sum(self.branches)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pack:
    """What one forward computes, and where to read it.

    Args:
        rows: the rows as given.
        share_prefix: whether responses of a row share its prompt's hidden states.
        causal: whether a row is one plain causal run (responses see those before them).
        ids: [T] token ids in flat order.
        positions: [T] logical positions.
        units: the runs of the flat order, shortest first.
        read: [N] flat index of the hidden state that predicts each response token.
        targets: [N] the response tokens, in the order row, response, token.
        last: [R] flat index of each response's last token (of its prompt when the response is empty).
        token_row: [N] row of each response token. token_response: [N] its response, counted over the pack.
        token_offset: [N] its place in the response.
        response_row: [R] row of each response.
        plans: attention plans made so far, by window, dtype and device; no part of the value.
    """

    rows: tuple[Row, ...]
    share_prefix: bool
    causal: bool
    ids: torch.Tensor
    positions: torch.Tensor
    units: tuple[Unit, ...]
    read: torch.Tensor
    targets: torch.Tensor
    last: torch.Tensor
    token_row: torch.Tensor
    token_response: torch.Tensor
    token_offset: torch.Tensor
    response_row: torch.Tensor
    plans: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)

    @property
    def tokens(self) -> int:
        """T, the tokens a forward computes."""
        return self.ids.shape[0]


def packed_tokens(row: Row, *, share_prefix: bool = True, causal: bool = False) -> int:
    """Tokens that a row adds to a pack: what a token budget counts."""
    answers = sum(map(len, row.responses))
    copies = 1 if share_prefix or causal else len(row.responses)
    return len(row.prompt) * copies + answers


@dataclass(slots=True)
class _Draft:
    """One unit before it has a place: its ids, and for each of its responses (number, first offset, length)."""

    ids: list[int]
    prompt: int
    branches: tuple[int, ...]
    parts: list[tuple[int, int, int]]


def _drafts(number: int, row: Row, first: int, share: bool, causal: bool) -> list[_Draft]:
    if not row.prompt or not row.responses:
        raise ValueError(f"row {number} of the pack needs at least one prompt token and one response")
    size, lengths = len(row.prompt), [len(response) for response in row.responses]
    if not share and not causal:
        return [
            _Draft([*row.prompt, *ids], size + len(ids), (), [(first + k, size, len(ids))])
            for k, ids in enumerate(row.responses)
        ]
    flat = [*row.prompt, *(token for ids in row.responses for token in ids)]
    starts = np.cumsum([size, *lengths[:-1]]).tolist()
    parts = [(first + k, starts[k], lengths[k]) for k in range(len(lengths))]
    if causal or len(lengths) == 1:  # one response after its prompt is a plain causal run
        return [_Draft(flat, len(flat), (), parts)]
    return [_Draft(flat, size, tuple(lengths), parts)]


def build_pack(rows: Sequence[Row], *, share_prefix: bool = True, causal: bool = False) -> Pack:
    """Lay rows out flat.

    Args:
        rows: at least one; each with a prompt and one response or more (a response may be empty).
        share_prefix: compute each row's prompt once for all its responses; False repeats it before each.
        causal: a row is one plain causal run, prompt and responses one after another, in which a response sees those
            before it (the `isolate=False` reading of n-way reward rows, §3.3); `share_prefix` has no meaning then.

    Raises:
        ValueError: no row, or a row without prompt tokens or responses.
    """
    if not rows:
        raise ValueError("a pack needs at least one row")
    drafts, lengths, owner = [], [], []
    for number, row in enumerate(rows):
        drafts += _drafts(number, row, len(lengths), share_prefix, causal)
        lengths += [len(response) for response in row.responses]
        owner += [number] * len(row.responses)
    drafts.sort(key=lambda draft: (len(draft.ids), draft.prompt, draft.branches))
    count = len(lengths)
    # Flat index of each response's first token, of its last, and of the token before its first.
    begin, last, before = np.empty(count, np.int64), np.empty(count, np.int64), np.empty(count, np.int64)
    units, ids, positions, start = [], [], [], 0
    for draft in drafts:
        units.append(Unit(start=start, prompt=draft.prompt, branches=draft.branches))
        ids += draft.ids
        positions += range(draft.prompt)
        for length in draft.branches:
            positions += range(draft.prompt, draft.prompt + length)
        for response, offset, length in draft.parts:
            begin[response] = start + offset
            before[response] = start + (draft.prompt if draft.branches else offset) - 1
            last[response] = start + offset + length - 1 if length else before[response]
        start += len(draft.ids)
    sizes = np.asarray(lengths, np.int64)
    response = np.repeat(np.arange(count), sizes)
    offset = np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    read = np.where(offset == 0, before[response], begin[response] + offset - 1)
    flat_ids, response_row = np.asarray(ids, np.int64), np.asarray(owner, np.int64)
    return Pack(
        rows=tuple(rows),
        share_prefix=share_prefix,
        causal=causal,
        ids=torch.from_numpy(flat_ids),
        positions=torch.as_tensor(positions, dtype=torch.int64),
        units=tuple(units),
        read=torch.from_numpy(read),
        targets=torch.from_numpy(flat_ids[begin[response] + offset]),
        last=torch.from_numpy(last),
        token_row=torch.from_numpy(response_row[response]),
        token_response=torch.from_numpy(response),
        token_offset=torch.from_numpy(offset),
        response_row=torch.from_numpy(response_row),
    )
