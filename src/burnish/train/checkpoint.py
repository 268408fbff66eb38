"""Training under way: one safetensors file, replaced atomically, and metrics cut back to it.

A checkpoint is read only to go on after a kill. Writing one changes nothing in the training, so when it is written
(a clock may decide) does not move a bit of the result.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from burnish.errors import ModelError
from burnish.records import Weights

SECONDS = 20.0  # plumbing: how much work a kill may cost when no number of steps is asked for


def write_tensors(path: Path, tensors: Mapping[str, Tensor], note: Mapping[str, Any]) -> None:
    """Write tensors and a JSON note as one safetensors file that is there whole or not at all."""
    from safetensors.torch import save_file

    draft = path.with_name(path.name + ".draft")
    ready = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(ready, draft, metadata={"note": json.dumps(dict(note))})
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())
    os.replace(draft, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote, on the CPU."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["note"])  # noqa: SIM118


class Progress:
    """Metrics and checkpoints of one training run in a folder that outlives a kill (or nowhere, when there is none)."""

    def __init__(self, scratch: Path | None, *, checkpoint_steps: int | None, base: Weights) -> None:
        """Args:
        scratch: where it is kept; None keeps metrics in memory and writes no checkpoint.
        checkpoint_steps: optimiser steps between checkpoints; None writes one about every `SECONDS`.
        base: where the training starts; a checkpoint of another start is not gone on with.
        """
        self.scratch = scratch
        self.base = base
        self.every = checkpoint_steps
        self.lines: list[str] = []
        self.last = time.monotonic()

    @property
    def path(self) -> Path | None:
        return self.scratch / "training.safetensors" if self.scratch else None

    def resume(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The last checkpoint, and the metrics cut back to it; None at a first start.

        Raises:
            ModelError: it belongs to a training of another base.
        """
        found = self.read()
        if found is None:
            return None
        tensors, note = found
        if note["base"] != self.base.id:
            raise ModelError(
                f"{self.path} belongs to a training that started from the weights {note['base']}, and {self.base.path} "
                f"holds {self.base.id}; give the old base, or remove {self.scratch} to start again"
            )
        self.lines = note["metrics"]
        return tensors, note

    def read(self) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """The tensors and the note of the last checkpoint; None where there is none."""
        return read_tensors(self.path) if self.path is not None and self.path.exists() else None

    def record(self, metrics: Mapping[str, Any]) -> None:
        """Add the metrics of one optimiser step."""
        self.lines.append(json.dumps(metrics))

    def due(self, step: int) -> bool:
        """Whether a checkpoint is to be written after this many steps."""
        if self.scratch is None:
            return False
        return step % self.every == 0 if self.every else time.monotonic() - self.last >= SECONDS

    def save(self, step: int, state: Mapping[str, Tensor], totals: Mapping[str, Any]) -> None:
        """Write a checkpoint: `step` updates are done."""
        if self.path is not None:
            note = {"step": step, "base": self.base.id, "totals": dict(totals), "metrics": self.lines}
            write_tensors(self.path, state, note)
        self.last = time.monotonic()

    def publish(self, folder: Path | None) -> None:
        """Leave `metrics.jsonl` in the artifact: one JSON object per optimiser step, no durations."""
        if folder is not None:
            (folder / "metrics.jsonl").write_text("".join(line + "\n" for line in self.lines), encoding="utf-8")


def finite(model: torch.nn.Module) -> str:
    """The name of the first parameter that holds, in this process, a value that is not finite; empty when all are."""
    held = ((name, p.to_local() if hasattr(p, "to_local") else p) for name, p in model.named_parameters())
    return next((name for name, tensor in held if not torch.isfinite(tensor).all()), "")
