"""How a process joins the others, leads them or follows them, and what ends all of them.

    torchrun -> every process: join -> the first one plays the command as if it were alone
                                       the others wait, and enter each training that it enters

Only the first process reads data, holds the run folder's lock, asks for rewards, and writes anything but its part of a
checkpoint. A process that is lost breaks the connections of the others, which end; the same command goes on.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from burnish.errors import BurnishError, SettingsError
from burnish.models.attention import set_split
from burnish.runs.compute import set_compute
from burnish.runs.workers import fix_threads
from burnish.train.parallel.several import Several
from burnish.train.ranks import set_ranks

PATIENCE = timedelta(hours=6)  # plumbing: how long a process waits for another, such as for one that asks for rewards
GRACE = 5.0  # plumbing: seconds in which the first process may say what is wrong, before another one does
TOLD = "burnish/told"
LOST = ("gloo", "Connection closed", "Connection reset", "NCCL", "Broken pipe")


@dataclass
class FollowerWork:
    """`protocols.Work` as far as a follower needs it: where its part of a checkpoint goes. It writes no artifact."""

    scratch: Path
    folder: Path = field(default_factory=Path)

    def progress(self, done: int, total: int, note: str = "") -> None:
        """Nothing: the first process tells."""


@contextmanager
def joined(store: dist.Store, *, rank: int, world: int) -> Iterator[Several]:
    """Within it, this process is one of `world` that meet at the store."""
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PATIENCE)
    ranks = Several()
    set_ranks(ranks)
    try:
        yield ranks
    finally:
        set_ranks(None)
        set_split(None)
        dist.destroy_process_group()


def follow(ranks: Several) -> None:
    """Enter what the first process enters, until it says that there is nothing more."""
    while (job := ranks.tell()) is not None:
        set_compute(job.compute)
        fix_threads(job.compute.threads)
        work = None if job.scratch is None else FollowerWork(Path(job.scratch))
        job.function(*job.inputs, **job.how, work=work)


def together(main: Callable[[], None]) -> None:
    """Play `main` in the first of the processes that torchrun (or srun, or Ray) has started, and follow it elsewhere.

    Reads RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as torchrun sets them. Does not return.
    """
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    code = 1
    try:
        _choose_device()
        store, _, _ = next(iter(dist.rendezvous("env://", rank, world, timeout=PATIENCE)))
        with joined(store, rank=rank, world=world) as ranks:
            code = _lead(main, ranks, store) if rank == 0 else _follow(ranks, store)
            if code:
                _leave(code)  # the others may be in the middle of something; nothing is taken down in order
    except SettingsError as error:
        if rank == 0:
            print(f"burnish: error: {error}", file=sys.stderr)
        code = 2
    except BaseException as error:
        if not isinstance(error, (KeyboardInterrupt, SystemExit)):
            sys.excepthook(type(error), error, error.__traceback__)
        _leave(1)
    sys.exit(code)


def _leave(code: int) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _choose_device() -> None:
    """A GPU for each process of a machine, where there are GPUs."""
    count, here = torch.cuda.device_count(), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if not count:
        return
    on_cpu = "--device=cpu" in sys.argv or ("--device", "cpu") in pairwise(sys.argv)
    if here > count and not on_cpu:
        raise SettingsError(
            f"{here} processes on a machine with {count} GPUs; start {count}, or train with --device cpu"
        )
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")) % count)


def _lead(main: Callable[[], None], ranks: Several, store: dist.Store) -> int:
    code: Any = 0
    try:
        main()
    except SystemExit as stop:
        code = stop.code or 0
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        print(
            f"burnish: error: a process beside the first of {ranks.world} has ended; what it said stands above, if it "
            "said anything. The same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        code = 2
    if code:
        store.set(TOLD, "1")
        return code if isinstance(code, int) else 1
    ranks.tell(None)
    return 0


def _follow(ranks: Several, store: dist.Store) -> int:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process decides what Ctrl-C means
    try:
        follow(ranks)
    except BurnishError as error:  # most likely the first process met it too, and says so
        until = time.monotonic() + GRACE
        while time.monotonic() < until:
            if store.check([TOLD]):
                return 2
            time.sleep(0.1)
        print(f"burnish: error: process {ranks.rank} of {ranks.world}: {error}", file=sys.stderr)
        return 2
    except RuntimeError as error:
        if not _is_loss(error):
            raise
        return 2
    return 0


def _is_loss(error: RuntimeError) -> bool:
    """Whether it comes from a connection to a process that is gone."""
    return isinstance(error, dist.DistError) or any(word in str(error) for word in LOST)


def _end_with(parent: int) -> None:
    """End this process when the one that started it is gone: a launcher that was killed ends nobody by itself."""
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
