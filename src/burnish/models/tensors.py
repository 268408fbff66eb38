"""Safetensors folders one tensor at a time: no call here holds more than one shard.

`stream_tensors` and `read_tensor` read, `TensorWriter` writes shards with their index; `tensor_files` says which file
holds which tensor.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

from burnish.errors import ModelError

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
SHARD_BYTES = 5 * 10**9
_PICKLED = ("pytorch_model.bin", "pytorch_model.bin.index.json", "tf_model.h5", "flax_model.msgpack")


def _header(path: Path) -> tuple[dict[str, Any], int]:
    """The JSON header of a safetensors file (names -> dtype, shape, data_offsets) and where its data begins."""
    try:
        with open(path, "rb") as file:
            size = int.from_bytes(file.read(8), "little")
            if size > 100_000_000:
                raise ValueError("header too long")
            header = json.loads(file.read(size))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} is not a readable safetensors file ({error}); copy or download it again") from error
    header.pop("__metadata__", None)
    return header, 8 + size


def tensor_files(folder: str | Path) -> dict[str, Path]:
    """Which file holds which tensor, names sorted.

    Raises:
        ModelError: no such folder, no safetensors in it, pickled weights only, or an index that names missing files.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ModelError(f"there is no model folder {folder}; give a folder in Hugging Face layout")
    if (folder / INDEX).exists():
        try:
            table = json.loads((folder / INDEX).read_text("utf-8"))["weight_map"]
        except (ValueError, KeyError) as error:
            raise ModelError(f"{folder / INDEX} is not a weight index ({error}); write the model again") from error
        absent = sorted({name for name in table.values() if not (folder / name).exists()})
        if absent:
            raise ModelError(f"{folder} lacks {absent[0]}, which its index names; copy or download it again")
        return {name: folder / table[name] for name in sorted(table)}
    if (folder / SINGLE).exists():
        return dict.fromkeys(sorted(_header(folder / SINGLE)[0]), folder / SINGLE)
    pickled = [name for name in _PICKLED if (folder / name).exists()]
    if pickled:
        raise ModelError(
            f"{folder} holds {pickled[0]} but no safetensors; pickled weights are not loaded, convert them first"
        )
    raise ModelError(f"{folder} holds no {SINGLE}; give a folder in Hugging Face layout")


def stream_tensors(folder: str | Path) -> Iterator[tuple[str, torch.Tensor]]:
    """(name, tensor) in order of names, each read when it is asked for."""
    from safetensors import safe_open

    files, opened, path = tensor_files(folder), None, None
    for name, wanted in files.items():
        if wanted != path:
            opened, path = safe_open(wanted, framework="pt"), wanted
        yield name, opened.get_tensor(name).clone()  # aligned, and independent of the file


def read_tensor(folder: str | Path, name: str) -> torch.Tensor:
    """One tensor by name.

    Raises:
        ModelError: the folder has no tensor of that name.
    """
    from safetensors import safe_open

    files = tensor_files(folder)
    if name not in files:
        raise ModelError(f"{folder} has no tensor {name!r}")
    with safe_open(files[name], framework="pt") as opened:
        return opened.get_tensor(name).clone()


class TensorWriter:
    """Writes tensors into a folder as they come; shards close at `shard_bytes`, the index is written at the end.

    Use it as a context manager; without an error `__exit__` closes, with one the half-written shards are removed.
    """

    def __init__(self, folder: str | Path, *, shard_bytes: int = SHARD_BYTES) -> None:
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ModelError(f"{folder} cannot be written: {error.strerror or error}") from error
        self.shard_bytes = shard_bytes
        self._held: dict[str, torch.Tensor] = {}
        self._bytes = self._total = 0
        self._shards: list[tuple[Path, list[str]]] = []

    def __enter__(self) -> TensorWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._discard()

    def _discard(self) -> None:
        for path, _ in self._shards:
            path.unlink(missing_ok=True)

    def add(self, name: str, tensor: torch.Tensor) -> None:
        """Take one tensor; it is copied, so that a view of a larger one may be given.

        Raises:
            ModelError: the name came before.
        """
        if name in self._held or any(name in names for _, names in self._shards):
            raise ModelError(f"the tensor {name!r} was written twice")
        size = tensor.numel() * tensor.element_size()
        if self._held and self._bytes + size > self.shard_bytes:
            self._flush()
        self._held[name] = tensor.detach().to("cpu", copy=True).contiguous()
        self._bytes += size
        self._total += size

    def _flush(self) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self.folder / f"shard-{len(self._shards) + 1:05d}.safetensors.part"
        self._shards.append((path, list(self._held)))
        try:
            save_file(self._held, path, metadata={"format": "pt"})
        except (OSError, SafetensorError) as error:
            self._discard()
            raise ModelError(f"{path} cannot be written: {getattr(error, 'strerror', None) or error}") from error
        self._held, self._bytes = {}, 0

    def close(self) -> None:
        """Write what is held, give the shards their final names, and write the index when there is more than one."""
        self._flush()
        count, table = len(self._shards), {}
        for number, (path, names) in enumerate(self._shards, start=1):
            final = SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
            path.rename(self.folder / final)
            table |= dict.fromkeys(names, final)
        if count > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": dict(sorted(table.items()))}
            (self.folder / INDEX).write_text(json.dumps(index, indent=2) + "\n", "utf-8")
