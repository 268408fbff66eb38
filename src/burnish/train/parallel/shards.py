"""Checkpoints in parts: one safetensors file a process, a JSON file that names the set, read by any number.

    scratch/training.json                                     step, totals, metrics, the folder, how many parts it has
    scratch/shards-00000040/rank-00000-of-00002.safetensors   some rows of each tensor; where they belong is in the note

A set of another number of parts is read by rows, so the values are the same and each process gets those it holds now.
Nothing here needs the processes to speak to each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.errors import ModelError
from burnish.runs.storage import read_json, remove
from burnish.train.checkpoint import Progress, read_tensors, write_tensors

POINTER = "training.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """Rows [first, last) of a tensor whose whole shape this is."""

    shape: tuple[int, ...]
    first: int
    last: int


def whole_of(tensor: Tensor) -> Held:
    """All of it; a number counts as one row."""
    return Held(shape=tuple(tensor.shape), first=0, last=tensor.shape[0] if tensor.ndim else 1)


Rows = Callable[[str, tuple[int, ...]], tuple[int, int]]


def shard_path(folder: Path, rank: int, world: int) -> Path:
    return folder / f"rank-{rank:05d}-of-{world:05d}.safetensors"


def write_shard(path: Path, state: Mapping[str, Tensor], places: Mapping[str, Held]) -> None:
    """Write one process's part.

    Args:
        state: its rows of each tensor.
        places: for each, which rows of which whole these are.
    """
    table = {name: {"shape": list(held.shape), "start": held.first} for name, held in places.items()}
    write_tensors(path, state, {"tensors": table})


def read_shards(folder: Path, world: int, *, rows: Rows | None = None) -> dict[str, Tensor]:
    """Tensors of a set of `world` parts, on the CPU.

    Args:
        rows: (name, whole shape) to the rows wanted, (first, one past the last); None reads all.

    Raises:
        ModelError: a part is missing, or rows are in none of them.
    """
    from safetensors import safe_open

    parts = []
    for rank in range(world):
        path = shard_path(folder, rank, world)
        if not path.exists():
            raise ModelError(
                f"the training checkpoint lacks {path}; every process must see the run folder on one shared disk. "
                "Bring the file back, or remove the step's folder under .work to start again"
            )
        file = safe_open(path, framework="pt")
        parts.append((file, json.loads(file.metadata()["note"])["tensors"]))
    found: dict[str, Tensor] = {}
    for name in sorted({name for _, table in parts for name in table}):
        holders = [(file, table[name]) for file, table in parts if name in table]
        shape = tuple(holders[0][1]["shape"])
        if not shape:
            found[name] = holders[0][0].get_tensor(name)
            continue
        first, last = (0, shape[0]) if rows is None else rows(name, shape)
        found[name] = _read_rows(name, holders, first, last)
    return found


def _read_rows(name: str, holders: list[tuple[Any, dict[str, Any]]], first: int, last: int) -> Tensor:
    """Rows [first, last) of a tensor from the parts that hold some of it."""
    pieces, at = [], first
    for file, place in sorted(holders, key=lambda one: one[1]["start"]):
        held, start = file.get_slice(name), place["start"]
        end = min(last, start + held.get_shape()[0])
        if start <= at < end:
            pieces.append(held[at - start : end - start])
            at = end
    if at < last:
        raise ModelError(f"the training checkpoint has no row {at} of {name}; remove the step's folder to start again")
    return torch.cat(pieces) if pieces else holders[0][0].get_slice(name)[0:0]


def newest(scratch: Path) -> dict[str, Any] | None:
    """The note of the newest checkpoint of a folder, whichever number of processes wrote it; None where there is none.

    `parts` is 0 in that of one process, whose tensors are in `training.safetensors`.
    """
    from safetensors import safe_open

    notes = []
    if (scratch / POINTER).exists():
        notes.append(read_json(scratch / POINTER))
    whole = scratch / "training.safetensors"
    if whole.exists():
        with safe_open(whole, framework="pt") as file:
            notes.append({**json.loads(file.metadata()["note"]), "parts": 0})
    return max(notes, key=lambda note: note["step"], default=None)


def clear(scratch: Path, *, keep: str = "") -> None:
    """Remove the parts of older checkpoints, and where none is kept what names them."""
    if not keep:
        (scratch / POINTER).unlink(missing_ok=True)
    for folder in scratch.glob("shards-*"):
        if folder.name != keep:
            remove(folder)


class WholeProgress(Progress):
    """The checkpoints of one process, which can go on from those of several."""

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        if self.scratch is None or not (self.scratch / POINTER).exists():
            return super().read()
        note = newest(self.scratch)
        if not note["parts"]:
            return super().read()
        return read_shards(self.scratch / note["folder"], note["parts"]), note

    def save(self, step: int, state: Mapping[str, Tensor], totals: Mapping[str, Any]) -> None:
        super().save(step, state, totals)
        if self.scratch is not None and (self.scratch / POINTER).exists():
            clear(self.scratch)


def read_rows(path: Path, rows: Rows) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The rows wanted of a checkpoint that one process wrote, and its note."""
    tensors, note = read_tensors(path)
    cut = {}
    for name, tensor in tensors.items():
        first, last = rows(name, tuple(tensor.shape)) if tensor.ndim else (0, 0)
        cut[name] = tensor[first:last].clone() if tensor.ndim else tensor
    return cut, note
