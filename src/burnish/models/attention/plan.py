"""From a pack to the attention calls that compute it: which tokens form a call, and who sees whom.

Two forms. Short units of about one length are stacked into one call, padded to the longest of them; a unit's
branches share one mask. A unit that is long, or in which most pairs of tokens do not see each other, is cut into
calls of its own: the prompt, then its responses over gathered keys. No mask is ever as large as pack times pack.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from burnish.models.pack import Pack, Unit

# Measured on one CPU thread (bench/packed.py); none of them changes results beyond rounding.
STACK_LIMIT = 1024  # longest unit that is stacked with others under one mask
WASTE_LENGTH, WASTE = 192, 3.0  # from this length on, a unit is cut when its mask has this many times too many cells
# Lengths of one stacked call, up to ratio x shortest + slack. On a CPU a call costs less than the padding that would
# save it, so only equal lengths are stacked, as views; elsewhere launches cost more (ASSUMED, to be measured).
BUCKET_CPU, BUCKET_OTHER = (1.0, 0), (1.25, 16)
MASK_CELLS = 1 << 22  # cells of one mask
QUERY_CHUNK = 512  # queries of one call inside a long unit


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One attention call over the flat tokens [start, stop).

    Args:
        start, stop: the flat range of the queries.
        batch, queries, keys: the shape of the call: [batch, heads, queries | keys, head size].
        slots: [stop - start] place of each query in the stacked call; None where the range is a plain view.
        fill: [batch * queries] the query (relative to start) in each place; padding repeats the first.
        gather: [batch * keys] flat index (relative to origin) of each key; None when keys are the queries.
        origin: flat start of the range that `gather` reads; extent its length.
        mask: additive, [batch or 1, 1, queries, keys]; None for plain causal.
    """

    start: int
    stop: int
    batch: int
    queries: int
    keys: int
    slots: torch.Tensor | None = None
    fill: torch.Tensor | None = None
    gather: torch.Tensor | None = None
    origin: int = 0
    extent: int = 0
    mask: torch.Tensor | None = None


def _visible(
    queries: tuple[torch.Tensor, torch.Tensor], keys: tuple[torch.Tensor, torch.Tensor], window: int | None
) -> torch.Tensor:
    """Who sees whom, [B, Q, K]. Each side is (branch [B, S], position [B, S]); branch 0 is the prompt, -1 padding."""
    branch_q, position_q = (x[:, :, None] for x in queries)
    branch_k, position_k = (x[:, None, :] for x in keys)
    sees = ((branch_k == branch_q) | (branch_k == 0)) & (position_k <= position_q)
    if window is not None:
        sees &= position_q - position_k < window
    return sees


def _additive(sees: torch.Tensor, dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    mask = torch.zeros(sees.shape, dtype=dtype).masked_fill_(~sees, float("-inf"))
    return mask[:, None].to(device)


def _labels(units: list[Unit], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Branch and logical position of each place of the stacked units, [B, length] each; padding is branch -1."""
    branch = torch.full((len(units), length), -1)
    position = torch.zeros((len(units), length), dtype=torch.int64)
    for number, unit in enumerate(units):
        branch[number, : unit.prompt] = 0
        position[number, : unit.prompt] = torch.arange(unit.prompt)
        at = unit.prompt
        for which, size in enumerate(unit.branches, start=1):
            branch[number, at : at + size] = which
            position[number, at : at + size] = torch.arange(unit.prompt, unit.prompt + size)
            at += size
    return branch, position


def _padding(sizes: list[int], length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Slots of the flat tokens in [B, length] and the token of each slot (padding repeats token 0)."""
    slots = torch.cat([torch.arange(size) + number * length for number, size in enumerate(sizes)])
    fill = torch.zeros(len(sizes) * length, dtype=torch.int64)
    fill[slots] = torch.arange(slots.shape[0])
    return slots, fill


@dataclass(frozen=True, slots=True, kw_only=True)
class _Target:
    window: int | None
    dtype: torch.dtype
    device: torch.device

    def mask(self, sees: torch.Tensor) -> torch.Tensor:
        return _additive(sees, self.dtype, self.device)


def _stacked(units: list[Unit], to: _Target) -> Block:
    sizes = [unit.length for unit in units]
    length, start, stop = sizes[-1], units[0].start, units[-1].start + sizes[-1]
    plain = not any(unit.branches for unit in units) and (to.window is None or to.window >= length)
    mask = None
    if not plain:
        alike = all((unit.prompt, unit.branches) == (units[0].prompt, units[0].branches) for unit in units)
        labels = _labels(units[:1] if alike else units, length)
        sees = _visible(labels, labels, to.window)
        sees |= torch.eye(length, dtype=torch.bool)  # padding sees itself: no empty softmax
        mask = to.mask(sees)
    slots = fill = None
    if sizes[0] != length:
        slots, fill = (x.to(to.device) for x in _padding(sizes, length))
    return Block(
        start=start, stop=stop, batch=len(units), queries=length, keys=length, slots=slots, fill=fill, mask=mask
    )


def _run(unit: Unit, branch: int, to: _Target) -> Iterator[Block]:
    """The prompt (branch 0) or one branch of a long unit, in chunks of queries over the keys they can see."""
    first = unit.start if branch == 0 else unit.start + unit.prompt + sum(unit.branches[: branch - 1])
    size = unit.prompt if branch == 0 else unit.branches[branch - 1]
    if branch == 0 and (to.window is None or to.window >= size):
        if size:
            yield Block(start=first, stop=first + size, batch=1, queries=size, keys=size)
        return
    ahead = 0 if branch == 0 else unit.prompt  # logical position of the run's first token
    for begin in range(0, size, QUERY_CHUNK):
        end = min(size, begin + QUERY_CHUNK)
        oldest = 0 if to.window is None else max(0, ahead + begin - to.window + 1)
        position_k = torch.arange(oldest, ahead + end)
        gather = torch.where(position_k < ahead, position_k, position_k - ahead + first - unit.start)
        position_q = torch.arange(ahead + begin, ahead + end)
        labels_q = (torch.zeros_like(position_q)[None], position_q[None])
        labels_k = (torch.zeros_like(position_k)[None], position_k[None])
        yield Block(
            start=first + begin,
            stop=first + end,
            batch=1,
            queries=end - begin,
            keys=len(position_k),
            gather=gather.to(to.device),
            origin=unit.start,
            extent=unit.length,
            mask=to.mask(_visible(labels_q, labels_k, to.window)),
        )


def _branches(unit: Unit, to: _Target) -> Block:
    """All branches of a unit in one call; each reads the prompt's keys and its own."""
    longest, count = max(unit.branches), len(unit.branches)
    slots, fill = _padding(list(unit.branches), longest)
    own = fill.view(count, longest) + unit.prompt
    prompt = torch.arange(unit.prompt).expand(count, -1)
    sizes = torch.tensor(unit.branches)[:, None]
    place = torch.arange(longest).expand(count, -1)
    inside = place < sizes
    labels_q = (torch.where(inside, 1, -1), place + unit.prompt)
    labels_k = (torch.cat([torch.zeros_like(prompt), labels_q[0]], 1), torch.cat([prompt, labels_q[1]], 1))
    return Block(
        start=unit.start + unit.prompt,
        stop=unit.start + unit.length,
        batch=count,
        queries=longest,
        keys=unit.prompt + longest,
        slots=slots.to(to.device),
        fill=fill.to(to.device),
        gather=torch.cat([prompt, own], 1).flatten().to(to.device),
        origin=unit.start,
        extent=unit.length,
        mask=to.mask(_visible(labels_q, labels_k, to.window)),
    )


def _cells(unit: Unit) -> int:
    """Pairs that a unit's own calls compute."""
    return unit.prompt**2 + sum(size * (size + unit.prompt) for size in unit.branches)


def _is_long(unit: Unit) -> bool:
    if unit.length > STACK_LIMIT:
        return True
    return bool(unit.branches) and unit.length >= WASTE_LENGTH and unit.length**2 > WASTE * _cells(unit)


def _long(unit: Unit, to: _Target) -> Iterator[Block]:
    yield from _run(unit, 0, to)
    if not unit.branches:
        return
    longest = max(unit.branches)
    if longest and len(unit.branches) * longest * (unit.prompt + longest) <= MASK_CELLS:
        yield _branches(unit, to)
        return
    for branch in range(1, len(unit.branches) + 1):
        yield from _run(unit, branch, to)


def _buckets(units: list[Unit], device: torch.device) -> Iterator[list[Unit]]:
    ratio, slack = BUCKET_CPU if device.type == "cpu" else BUCKET_OTHER
    bucket: list[Unit] = []
    for unit in units:
        fits = bucket and unit.length <= ratio * bucket[0].length + slack
        if bucket and not (fits and (len(bucket) + 1) * unit.length**2 <= MASK_CELLS):
            yield bucket
            bucket = []
        bucket.append(unit)
    if bucket:
        yield bucket


def plan(pack: Pack, window: int | None, dtype: torch.dtype, device: torch.device) -> tuple[Block, ...]:
    """The attention calls of a pack for layers that see `window` positions (None: all), in flat order; kept on it.

    Windows count logical positions: a query at position p sees positions p - window < k <= p.
    """
    if window is not None and window >= max(unit.length for unit in pack.units):
        window = None  # no row is long enough to notice
    key = (window, dtype, device)
    if key not in pack.plans:
        to = _Target(window=window, dtype=dtype, device=device)
        blocks: list[Block] = []
        short: list[Unit] = []
        for unit in pack.units:
            if _is_long(unit):
                blocks += [_stacked(bucket, to) for bucket in _buckets(short, device)]
                short = []
                blocks += _long(unit, to)
            else:
                short.append(unit)
        blocks += [_stacked(bucket, to) for bucket in _buckets(short, device)]
        pack.plans[key] = tuple(blocks)
    return pack.plans[key]
