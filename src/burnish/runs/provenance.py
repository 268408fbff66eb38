"""What code and which versions made a step. Recorded and shown as drift; never a reason to run again."""

from __future__ import annotations

import hashlib
import importlib.metadata
import inspect
import platform
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

WATCHED = ("burnish", "torch", "transformers", "tokenizers", "safetensors", "pyarrow", "numpy")


@cache
def versions() -> dict[str, str]:
    """Versions of what bits depend on."""
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in WATCHED:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


@cache
def code_hash(function: Callable[..., Any]) -> str:
    """Hash of the source file that holds a step function."""
    path = inspect.getsourcefile(inspect.unwrap(function))
    return hashlib.blake2b(Path(path).read_bytes(), digest_size=8).hexdigest() if path else ""
