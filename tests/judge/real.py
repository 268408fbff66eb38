"""Real judge data, where it is at hand."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def rows(name: str) -> list[dict[str, Any]]:
    """Rows of `name`.jsonl.gz; skips the test where the file is absent."""
    with gzip.open(place(f"{name}.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def place(name: str) -> Path:
    """The path of a data file; skips the test where it is absent."""
    path = DATA / name
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds it")
    return path
