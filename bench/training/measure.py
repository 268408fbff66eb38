"""Speed of two sides in turn, and the peak memory of one in a fresh process."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from bench.training.sides import BATCH
from burnish.train import Example


class Side(Protocol):
    """One competitor: `step` trains on one batch of rows and returns its loss; `before` prepares rows."""

    step: Callable[[list[Example]], float]
    before: Callable[[list[Example]], None]


def alternate(
    sides: dict[str, Any], examples: list[Example], *, blocks: int, batches: int, size: int
) -> dict[str, Any]:
    """Rows a second of each side, medians over blocks, and the losses of the first step.

    Args:
        sides: `ours` and others; what `before` does is timed on our side only, and done for all rows of a block.
        examples: cut into blocks of `batches` times `size` rows, one behind the other.
    """
    rate: dict[str, list[float]] = {name: [] for name in sides}
    first: dict[str, float] = {}
    whole = batches * size
    for block in range(blocks + 1):
        start = (block * whole) % max(1, len(examples) - whole)
        rows = examples[start : start + whole]
        for name, side in sides.items():
            if name != "ours":
                for at in range(0, len(rows), size):
                    side.before(rows[at : at + size])
            began = time.perf_counter()
            if name == "ours":
                side.before(rows)
            for at in range(0, len(rows), size):
                loss = side.step(rows[at : at + size])
                first.setdefault(name, loss)
            if block:  # the first block warms up
                rate[name].append(len(rows) / (time.perf_counter() - began))
    return {"rate": {n: statistics.median(v) for n, v in rate.items()}, "first": first}


def peak(method: str, who: str, folder: Path, script: str) -> float:
    """MiB that two steps need above the loaded model, in a fresh process of `script`."""
    command = [sys.executable, script, "--measure-memory", f"{method},{who}", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return float(done.stdout.split()[-1])


def growth(side: Side, examples: list[Example]) -> float:
    """MiB by which this process's peak grows while it trains on the two longest batches."""
    batches = [examples[i : i + BATCH] for i in range(0, len(examples) - BATCH, BATCH)]
    batches.sort(key=lambda b: -max(e.tokens for e in b))
    # The peak so far includes loading; what training adds to the resident set now is what counts.
    page = os.sysconf("SC_PAGE_SIZE")
    resident = int(Path("/proc/self/statm").read_text().split()[1]) * page
    Path("/proc/self/clear_refs").write_text("5")  # resets the peak to the present size
    for batch in batches[:2]:
        side.before(batch)
        side.step(batch)
    status = Path("/proc/self/status").read_text()
    high = int(status.split("VmHWM:")[1].split()[0]) * 1024
    return (high - resident) / 2**20
