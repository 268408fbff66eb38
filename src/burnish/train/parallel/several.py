"""One process among several that train one model: its share of the work, and what it tells the others.

    world = data groups x processes that share a pack; neighbours share one

A batch is dealt to the data groups by tokens, and each packs its share. Everyone knows the whole batch, so what a loss
is divided by needs no message; gradients are summed by FSDP2, and losses and other sums once a batch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from burnish.errors import BurnishError, SettingsError
from burnish.models.attention import set_split
from burnish.protocols import Work
from burnish.runs import compute
from burnish.runs.compute import Compute
from burnish.runs.storage import write_json
from burnish.train.batch import Example, packs
from burnish.train.checkpoint import Progress
from burnish.train.parallel.shard import ShardedOptimiser, copied, gathered, shard, whole
from burnish.train.parallel.shards import (
    POINTER,
    Held,
    clear,
    newest,
    read_rows,
    read_shards,
    shard_path,
    whole_of,
    write_shard,
)
from burnish.train.parallel.ulysses import Ulysses, check_model
from burnish.train.ranks import Alone, Value

# Kinds of state that lie as the parameters do: the optimiser's, those of online merging, and a reference that moves.
PARTED = ("weight", "exp_avg", "exp_avg_sq", "ema", "pull", "before", "reference")
CPU = torch.device("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What the other processes are to enter, on its way to them."""

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    how: Mapping[str, Any]
    scratch: str | None
    compute: Compute


class Several(Alone):
    """One of the processes of a group that all run the same loop."""

    def __init__(self) -> None:
        self.rank, self.world = dist.get_rank(), dist.get_world_size()
        self.sequence = 1
        self.model: nn.Module | None = None
        self.places: dict[str, Held] = {}
        self.groups: dict[int, dist.ProcessGroup] = {}

    def call(self, function: Callable[..., Any], *inputs: Any, work: Work | None, **how: Any) -> None:
        """In the first process; the others are in the function because of it.

        Raises:
            SettingsError: a device that only one of them can have.
        """
        if ":" in compute().device:
            raise SettingsError(
                f"--device {compute().device} names one device and {self.world} processes train; give --device cuda, "
                "and each takes one"
            )
        self.model = None
        set_split(None)
        if self.rank == 0:
            scratch = None if work is None else str(work.scratch)
            self.tell(Job(function=function, inputs=inputs, how=how, scratch=scratch, compute=compute()))

    def tell(self, job: Job | None = None) -> Job | None:
        """The next job from the first process to the others; None: there is none."""
        return self.first(lambda: job)

    def take(self, model: nn.Module, *, recompute: int, sequence: int) -> None:
        if sequence > 1:
            check_model(model, sequence=sequence, world=self.world)
        shard(model, group=max(1, recompute))
        self.model, self.sequence = model, sequence
        if sequence > 1:
            set_split(Ulysses(self._neighbours(sequence)))

    def _neighbours(self, size: int) -> dist.ProcessGroup:
        if size not in self.groups:  # every process makes every group, in the same order
            made = [dist.new_group(list(range(at, at + size))) for at in range(0, self.world, size)]
            self.groups[size] = made[self.rank // size]
        return self.groups[size]

    def optimiser(self, model: nn.Module, **how: Any) -> ShardedOptimiser:
        made = ShardedOptimiser(model, **how)
        self.places, self.parts = made.places(), made.parts()
        return made

    def progress(self, scratch: Path | None, **how: Any) -> Progress:
        return SharedProgress(self, scratch, **how)

    def packs(self, examples: Sequence[Example], *, budget: int) -> Iterator[tuple[list[Example], float]]:
        """Every process gives as many, as all of them take part in each: those with too few compute one for nothing."""
        shares = [list(packs(share, budget=budget)) for share in dealt(examples, self.world // self.sequence)]
        mine = shares[self.rank // self.sequence]
        for part in mine:
            yield part, 1.0 / self.sequence
        for _ in range(max(map(len, shares)) - len(mine)):
            yield [min(examples, key=lambda e: e.tokens)], 0.0

    def meet(self) -> None:
        """Go on when all of them are here."""
        dist.all_reduce(torch.zeros(1))

    def total(self, values: Tensor) -> Tensor:
        dist.all_reduce(values)
        return values

    def union(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor for part in self._from_all(found) for name, tensor in part.items()}

    def _from_all(self, value: Value) -> list[Value]:
        found: list[Any] = [None] * self.world
        dist.all_gather_object(found, value)
        return found

    def first(self, make: Callable[[], Value]) -> Value:
        """An error that a user can mend is raised in all of them."""
        box: list[Any] = [None]
        if self.rank == 0:
            try:
                box = [(make(), None)]
            except BurnishError as error:
                box = [(None, error)]
        dist.broadcast_object_list(box, src=0, device=CPU)
        value, error = box[0]
        if error is not None:
            raise error
        return value

    def each(self, items: Sequence[Any], work: Callable[[Sequence[Any], int], list[Any]]) -> list[Any]:
        """A run of the items for each process, by place."""
        bounds = [len(items) * rank // self.world for rank in range(self.world + 1)]
        begin, end = bounds[self.rank], bounds[self.rank + 1]
        with torch.no_grad(), gathered(self.model):
            found = work(items[begin:end], begin) if end > begin else []
        return [one for part in self._from_all(found) for one in part]

    def gathered(self, model: nn.Module) -> AbstractContextManager[None]:
        return gathered(model)

    def plain(self, model: nn.Module, blank: Callable[[], nn.Module]) -> nn.Module | None:
        made = blank() if self.rank == 0 else None
        copied(model, made)
        return made

    def whole(self, model: nn.Module) -> bool:
        whole(model, keep=self.rank == 0)
        set_split(None)
        return self.rank == 0


def dealt(examples: Sequence[Example], count: int) -> list[list[Example]]:
    """The examples in `count` shares of about as many tokens: the longest first, each to the share with the fewest."""
    shares: list[list[Example]] = [[] for _ in range(count)]
    sizes = [0] * count
    for example in sorted(examples, key=lambda e: -e.tokens):
        place = sizes.index(min(sizes))
        shares[place].append(example)
        sizes[place] += example.tokens
    return shares


class SharedProgress(Progress):
    """Checkpoints of several processes: each writes what it holds, the first one what names the set."""

    def __init__(self, ranks: Several, scratch: Path | None, **how: Any) -> None:
        super().__init__(scratch, **how)
        self.ranks = ranks

    def due(self, step: int) -> bool:
        if self.every or self.scratch is None:
            return super().due(step)
        return self.ranks.first(lambda: super(SharedProgress, self).due(step))  # one clock decides

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self.scratch is None:
            return None
        note = self.ranks.first(lambda: newest(self.scratch))
        if note is None:
            return None
        if not note["parts"]:
            return read_rows(self.path, self._rows)
        return read_shards(self.scratch / note["folder"], note["parts"], rows=self._rows), note

    def _rows(self, name: str, shape: tuple[int, ...]) -> tuple[int, int]:
        """The rows of a tensor of the optimiser's state that this process holds: those of its parameter."""
        held = self._held(name)
        if held is None or held.shape != shape:
            return 0, shape[0]  # the method's, or another model's, which the optimiser says
        return held.first, held.last

    def _held(self, key: str) -> Held | None:
        """What of the tensor is here, if it is one that the optimiser holds in parts."""
        kind, _, name = key.partition("/")
        return self.ranks.places.get(name) if kind in PARTED else None

    def save(self, step: int, state: Mapping[str, Tensor], totals: Mapping[str, Any]) -> None:
        """Every process takes part. The set counts from when it is named; until then the one before does."""
        if self.scratch is not None:
            name = f"shards-{step:08d}"
            path = shard_path(self.scratch / name, self.ranks.rank, self.ranks.world)
            path.parent.mkdir(parents=True, exist_ok=True)
            # What is whole and the same everywhere, such as a method's own state, is written once.
            mine = {k: t for k, t in state.items() if self.ranks.rank == 0 or self._held(k) is not None}
            write_shard(path, mine, {key: self._held(key) or whole_of(tensor) for key, tensor in mine.items()})
            self.ranks.meet()
            if self.ranks.rank == 0:
                note = {"step": step, "base": self.base.id, "totals": dict(totals), "metrics": self.lines}
                write_json(self.scratch / POINTER, {**note, "folder": name, "parts": self.ranks.world})
                self.path.unlink(missing_ok=True)
                clear(self.scratch, keep=name)
            self.ranks.meet()
        self.last = time.monotonic()
