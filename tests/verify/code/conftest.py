"""One executor for all: the warm sandbox where it can be had, else the plain one of these tests, else a skip."""

from __future__ import annotations

import gzip
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from burnish.protocols import Executor
from burnish.verify.sandbox import Bubblewrap

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))


@pytest.fixture(scope="session")
def executor() -> Executor:
    if shutil.which("bwrap") is None:
        pytest.skip("bubblewrap is absent, and foreign code runs nowhere else")
    found = Bubblewrap()
    ran = found.run("print(6 * 7)")
    if ran.stdout.strip() != "42":
        pytest.skip(f"bubblewrap does not work here: {ran.stderr[-300:]}")
    return found


@pytest.fixture(scope="session")
def rows() -> Callable[[str], list[dict[str, Any]]]:
    def read(name: str) -> list[dict[str, Any]]:
        path = DATA / f"{name}.jsonl.gz"
        if not path.exists():
            pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds it")
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            return [json.loads(line) for line in lines]

    return read
