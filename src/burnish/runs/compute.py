"""What the current run computes with. Threads change bits, so a run fixes them at its first start; workers do not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from burnish.errors import SettingsError

DTYPES = ("float32", "bfloat16", "float16", "float64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Compute:
    """Args:
    threads: torch threads of one process; part of a run's identity, since sums depend on how they are split.
    workers: processes that share the work; never part of an identity.
    device: `cpu`, `cuda`, `cuda:1`, ...
    dtype: the dtype weights are computed in, one of `DTYPES`.
    """

    threads: int = 1
    workers: int = 1
    device: str = "cpu"
    dtype: str = "float32"


_current: ContextVar[Compute | None] = ContextVar("burnish_compute", default=None)


def compute() -> Compute:
    """What this run (or, in a worker process, this worker) computes with; plain defaults outside a run."""
    return _current.get() or Compute()


def set_compute(value: Compute) -> None:
    """Set it for good, as a worker process does when it starts."""
    _current.set(value)


@contextmanager
def computing(value: Compute) -> Iterator[Compute]:
    """Set it for a block."""
    token = _current.set(value)
    try:
        yield value
    finally:
        _current.reset(token)


def cores() -> int:
    """Processors this process may use; `BURNISH_CORES` makes it fewer."""
    told = os.environ.get("BURNISH_CORES", "")
    if told.isdigit() and int(told) > 0:
        return int(told)
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def choose_compute(
    *, device: str = "auto", dtype: str = "auto", threads: int | None = None, workers: int | None = None
) -> Compute:
    """Resolve `auto`: CUDA where there is one, float32 on a CPU and bfloat16 on a GPU, one worker a core or one a GPU.

    Raises:
        SettingsError: a device that is not there, an unknown dtype, a count below one.
    """
    import torch

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise SettingsError(f"--device {device}: no CUDA device can be used here; choose --device cpu")
    if not device.startswith(("cuda", "cpu")):
        raise SettingsError(f"--device {device} is not known; choose auto, cpu or cuda")
    on_cpu = device == "cpu"
    if dtype == "auto":
        dtype = "float32" if on_cpu else "bfloat16"
    if dtype not in DTYPES:
        raise SettingsError(f"--dtype {dtype} is not known; choose auto or one of {', '.join(DTYPES)}")
    threads = 1 if threads is None else threads
    workers = (max(1, cores() // threads) if on_cpu else 1) if workers is None else workers
    if threads < 1 or workers < 1:
        raise SettingsError(f"threads ({threads}) and workers ({workers}) must be at least 1")
    return Compute(threads=threads, workers=workers, device=device, dtype=dtype)
