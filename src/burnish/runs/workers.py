"""A few processes on this machine that share a list of calls. They die with their parent.

Workers come from a fork server that has imported the heavy libraries but never computed, so that starting one is
cheap and no thread is copied in the middle of its work. Results come back as they complete and never depend on how
many workers there are: every call computes with the run's own number of threads.
"""

from __future__ import annotations

import atexit
import multiprocessing
import multiprocessing.connection
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import forkserver, resource_tracker
from typing import Any

from burnish.errors import WorkerError
from burnish.runs.compute import Compute, compute, set_compute

HEAVY = ("torch", "transformers.models.llama.modeling_llama", "pyarrow.parquet")

_pools: dict[tuple[Compute, tuple[str, ...]], ProcessPoolExecutor] = {}


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    multiprocessing.connection.wait([parent.sentinel])
    os._exit(1)


@contextmanager
def _unheard() -> Iterator[None]:
    """Processes started inside never hear Ctrl-C, from their first instruction on; here it waits for the end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []
    handler = signal.signal(signal.SIGINT, lambda number, frame: came.append(number))
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # inherited, also through the fork server
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        signal.signal(signal.SIGINT, handler)
        if came:
            signal.raise_signal(signal.SIGINT)


def _begin(value: Compute, torch: bool) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides; a worker and its children die with it
    threading.Thread(target=_die_with_parent, daemon=True).start()
    set_compute(value)
    if torch:
        fix_threads(value.threads)


def fix_threads(threads: int) -> None:
    """Make torch compute with this many threads; sums, and so bits, depend on it."""
    import torch

    torch.set_num_threads(threads)


def _pool(value: Compute, preload: tuple[str, ...]) -> ProcessPoolExecutor:
    key = (value, preload)
    if key not in _pools:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(preload))
        resource_tracker.ensure_running()  # it starts deaf, and clears the mask of whoever starts it: so not inside
        with _unheard():
            forkserver.ensure_running()
        inside = replace(value, workers=1)
        begin = (inside, "torch" in preload)
        _pools[key] = ProcessPoolExecutor(value.workers, mp_context=context, initializer=_begin, initargs=begin)
    return _pools[key]


def stop_workers() -> None:
    """End all workers now, whatever they do."""
    for pool in _pools.values():
        running = list((pool._processes or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in running:
            process.kill()
    _pools.clear()


atexit.register(stop_workers)


def parallel(
    function: Callable[..., Any],
    calls: Sequence[tuple[Any, ...]],
    *,
    workers: int | None = None,
    threads: int | None = None,
    every: Callable[[], None] | None = None,
    preload: tuple[str, ...] = HEAVY,
) -> Iterator[tuple[int, Any]]:
    """Call a module-level function with each tuple of arguments.

    Args:
        function: picklable, as are its arguments and results.
        calls: one tuple of arguments a call.
        workers: how many processes; one computes in this process, in order.
        threads: torch threads of each; both default to what the run computes with.
        every: called about twice a second while waiting for workers.
        preload: modules that workers are born with; without torch among them they start in a fraction of the time.

    Yields:
        (index into `calls`, result), as they complete.

    Raises:
        WorkerError: a worker process died (killed, or out of memory).
    """
    here = compute()
    workers = min(here.workers if workers is None else workers, max(1, len(calls)))
    threads = here.threads if threads is None else threads
    if workers <= 1:
        for index, arguments in enumerate(calls):
            yield index, function(*arguments)
        return
    pool = _pool(replace(here, workers=max(workers, here.workers), threads=threads), preload)
    waiting: dict[Future[Any], int] = {}
    try:
        with _unheard():  # a worker whose start is cut in two would find its queues gone, and say so
            for index, arguments in enumerate(calls):
                waiting[pool.submit(function, *arguments)] = index
        while waiting:
            finished, _ = wait(waiting, timeout=0.5 if every else None, return_when=FIRST_COMPLETED)
            for done in finished:
                yield waiting.pop(done), done.result()
            if every:
                every()
    except BrokenProcessPool as error:
        stop_workers()
        raise WorkerError(
            "a worker process died (killed from outside, or out of memory); nothing that was finished is lost: "
            "run the same command again, with fewer workers if memory is short; a script of your own needs its calls "
            'under `if __name__ == "__main__":`, as with every process pool'
        ) from error
    finally:
        for future in waiting:
            future.cancel()
