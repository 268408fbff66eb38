"""Several processes for a test: forked from one that has imported torch, meeting at a file of the test's own."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import signal
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from burnish.runs.workers import HEAVY

SECONDS = 300


Call = tuple[Callable[..., Any], tuple[Any, ...]]


def _process(rank: int, world: int, meet: str, calls: Sequence[Call], first: Sequence[Call], out: Any) -> None:
    import torch
    import torch.distributed as dist

    from burnish.train.parallel.entry import follow, joined

    torch.set_num_threads(1)
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    try:
        for function, arguments in first:
            function(rank, *arguments)
        with joined(dist.FileStore(meet, world), rank=rank, world=world) as ranks:
            if rank:
                follow(ranks)
            else:
                out.send(("done", [function(*arguments) for function, arguments in calls]))
                ranks.tell(None)
    except BaseException as error:
        out.send(("failed", (type(error), str(error), traceback.format_exc())))
        os._exit(1)


class Failed(Exception):
    """What a process met: its number, the class of the error, and its words."""

    def __init__(self, rank: int, kind: type, said: str, trace: str) -> None:
        super().__init__(f"process {rank}: {kind.__name__}: {said}\n{trace}")
        self.rank, self.kind, self.said = rank, kind, said


def together(world: int, *calls: Call, place: Path, first: Sequence[Call] = ()) -> list[Any]:
    """Make the calls in the first of `world` processes, which the others follow; what they return.

    Args:
        first: calls that every process makes beforehand, with its number before the arguments.

    Raises:
        Failed: of the first process if it met an error, else of another one.
        ProcessLookupError: one was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(HEAVY))
    place.mkdir(parents=True, exist_ok=True)
    meet = place / f"meet-{len(list(place.glob('meet-*')))}"
    pipes = [context.Pipe(duplex=False) for _ in range(world)]
    processes = [
        context.Process(target=_process, args=(rank, world, str(meet), calls, first, pipes[rank][1]))
        for rank in range(world)
    ]
    for process in processes:
        process.start()
    for _, mine in pipes:
        mine.close()
    try:
        until = time.monotonic() + SECONDS
        found = [_heard(pipe, until) for pipe, _ in pipes]
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
        codes = [process.exitcode for process in processes]
    finally:
        for process in processes:
            process.kill()
    if -signal.SIGKILL in codes:
        raise ProcessLookupError(codes)
    for rank, (what, value) in enumerate(found):
        if what == "failed":
            raise Failed(rank, *value)
    assert codes == [0] * world, f"a process did not end within {SECONDS} s"
    return found[0][1]


def _heard(pipe: multiprocessing.connection.Connection, until: float) -> tuple[str, Any]:
    try:
        return pipe.recv() if pipe.poll(max(0.0, until - time.monotonic())) else ("silent", None)
    except EOFError:
        return ("ended", None)
