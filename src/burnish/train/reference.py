"""The frozen reference of DPO: its log-probabilities, computed once before the first update and kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from burnish.models import build_pack, token_logprobs
from burnish.records import content_id
from burnish.train.batch import Example
from burnish.train.checkpoint import read_tensors, write_tensors
from burnish.train.ranks import ranks


def reference_logprobs(
    model: Callable[[], nn.Module],
    examples: Sequence[Example],
    *,
    weights: str,
    pack_tokens: int,
    scratch: Path | None,
) -> dict[str, Tensor]:
    """Log-probabilities of each example's trained tokens under the reference.

    Args:
        model: gives the reference model; called only when its numbers are not kept already.
        weights: content id of the reference; with the token ids it is the key of what is kept.
        pack_tokens: token budget of a pack.
        scratch: a folder that outlives a kill, or None to keep nothing.

    Returns:
        Example id -> [trained tokens of the example] float tensor on the CPU, in the order response, token.
    """
    distinct = list({e.id: e for e in examples}.values())
    key = content_id([weights, pack_tokens, [[e.id, e.row.prompt, e.row.responses] for e in distinct]])
    path = scratch / "reference.safetensors" if scratch else None
    sizes = [e.trained_tokens for e in distinct]
    together = ranks()
    kept = together.first(lambda: _kept(path, key))
    if kept is not None:
        return dict(zip([e.id for e in distinct], kept.split(sizes), strict=True))
    found: dict[str, Tensor] = {}
    frozen = model()
    with torch.no_grad():
        for part, weight in together.packs(distinct, budget=pack_tokens):
            selected = torch.from_numpy(np.concatenate([e.trained for e in part]))
            logprobs = token_logprobs(frozen, build_pack([e.row for e in part]), select=selected).cpu()
            pieces = logprobs.split([e.trained_tokens for e in part])
            if weight:
                found |= {e.id: piece for e, piece in zip(part, pieces, strict=True)}
    found = together.union(found)
    if path is not None and together.rank == 0:
        write_tensors(path, {"logprobs": torch.cat([found[e.id] for e in distinct])}, {"key": key})
    return found


def _kept(path: Path | None, key: str) -> Tensor | None:
    """The log-probabilities that are kept under this key, end to end."""
    if path is None or not path.exists():
        return None
    tensors, note = read_tensors(path)
    return tensors["logprobs"] if note["key"] == key else None
