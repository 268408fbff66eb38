"""Requests, or anything that asks, over Ray Data: blocks of items through asynchronous actors.

items -> what the store already answers is done here
      -> blocks -> workers, each with a file of replies on its own disk -> this process, which writes the store
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import BudgetError, BurnishError, SettingsError, WorkerError
from burnish.llm.requests import Asker, Budget, Reply, Request, Store, run
from burnish.llm.scale_out.item import ItemAsker, Missing, keep
from burnish.llm.scale_out.worker import Work, Worker, attempt, packed

_AT_ONCE = 4096  # items looked up in the store before those that are done are handed on
_ADOPT = (
    "insert or replace into asked select * from worker.asked "
    "where passing = 0 and key not in (select key from asked where passing = 0)"
)
INSTALL = "pip install 'burnish[ray]'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Where and how wide. None of it changes a result.

    Args:
        workers: actors, each with its own connections and pace.
        address: of a running cluster (`auto`, `ray://host:10001`); None starts one on this machine and ends it after.
        block: items that go to a worker in one piece: what is given out again when a worker dies.
        in_flight: requests under way in a worker at most; 0: what the asker says.
        cpus, gpus: that Ray reserves for a worker; a GPU each for an engine in the process, none for an endpoint.
        scratch: folder for the workers' files, on a disk of each node; None: the system's temporary folder.
    """

    workers: int = 2
    address: str | None = None
    block: int = 256
    in_flight: int = 0
    cpus: float = 0.5
    gpus: float = 0.0
    scratch: Path | None = None

    def __post_init__(self) -> None:
        if min(self.workers, self.block) < 1 or min(self.in_flight, self.cpus, self.gpus) < 0:
            raise SettingsError("workers and block must be 1 or more; in_flight, cpus and gpus 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one item: a value, or the error that it met. `index` is its place in what was given."""

    index: int
    item: Any
    value: Any = None
    error: str = ""


async def _ask(request: Request, asker: Asker) -> Reply:
    return await asker.ask(request)


def ask_on_ray(
    requests: Sequence[Request],
    asker: Asker,
    *,
    store: Store,
    cluster: Cluster | None = None,
    budget: Budget | None = None,
) -> Iterator[tuple[Request, Reply]]:
    """Each request with its reply, in no order, as `ask_all` gives them; the same rows end in the same store.

    Equal requests are asked once.

    Raises:
        WorkerError: Ray is not installed or not there, or nothing can be asked of the asker.
        BudgetError: see `map_on_ray`.
    """
    twins: dict[str, list[Request]] = {}
    for request in requests:
        twins.setdefault(request.key(), []).append(request)
    groups = list(twins.values())
    for done in map_on_ray([group[0] for group in groups], _ask, asker, store=store, cluster=cluster, budget=budget):
        if done.error:
            raise WorkerError(f"asking failed in a Ray worker: {done.error}")
        yield from ((request, done.value) for request in groups[done.index])


def map_on_ray(
    items: Sequence[Any],
    work: Work,
    asker: Asker,
    *,
    store: Store,
    cluster: Cluster | None = None,
    budget: Budget | None = None,
) -> Iterator[Done]:
    """What `work(item, asker)` makes of each item, in no order; all that it asks is kept in the store.

    An item that the store answers completely is worked on here. `work`, `asker` and items must be picklable. A reply
    is in the store before its item is yielded, and on the worker's own disk before that.

    What is left of the budget is divided among the workers, who stop at their share; what stays undone is given out
    again with what is left then, until nothing is. A limit may be passed by a reply of each worker.

    Raises:
        WorkerError: Ray is not installed or not there, or nothing can be asked of the asker.
        BudgetError: a limit is reached; all that came is kept.
    """
    cluster = cluster or Cluster()
    if budget is not None:
        budget.open(store).check_price(asker.identity)
    with _job(store, cluster) as scratch:
        rest: list[tuple[int, bytes]] = []
        for at in range(0, len(items), _AT_ONCE):
            done, missing = run(_from_store(items[at : at + _AT_ONCE], at, work, asker.identity, store))
            yield from done
            rest += missing
        while rest:
            purse, held, undone = budget.open(store) if budget is not None else None, len(store), set()
            if purse is not None and purse.spent():
                raise purse.error()
            share = purse.share(cluster.workers) if purse is not None else None
            for results in _over_ray(rest, work, asker, scratch, cluster, share):
                run(keep(store, [pair for *_, asked in results for pair in asked]))
                for index, value, error, _ in results:
                    if isinstance(error, BudgetError) and purse is not None:
                        undone.add(index)
                    elif isinstance(error, BurnishError):
                        raise error
                    else:
                        yield Done(index=index, item=items[index], value=value, error=error)
            if undone and purse is not None and len(store) == held:
                raise purse.error()
            rest = [(index, data) for index, data in rest if index in undone]


async def _from_store(
    items: Sequence[Any], first: int, work: Work, identity: str, store: Store
) -> tuple[list[Done], list[tuple[int, bytes]]]:
    """Items that the store answers completely; and (index, packed item with the replies it has) of the others."""
    done, missing = [], []
    for index, item in enumerate(items, first):
        asker = ItemAsker(identity, None, store.get)
        try:
            value, error = await attempt(work, item, asker)
            done.append(Done(index=index, item=item, value=value, error=error))
        except Missing:
            missing.append((index, packed((item, {request.key(): reply for request, reply in asker.asked}))))
    return done, missing


@contextlib.contextmanager
def _job(store: Store, cluster: Cluster) -> Iterator[str]:
    """The scratch folder of a job, the same again after a kill. Its files of this node end in the store.

    Its name is in a note beside the store and is used up with the job: a store that someone deletes is not filled
    again from forgotten scratch.
    """
    note = store.path.with_name(store.path.name + ".ray")
    if not note.exists():
        note.write_text(uuid.uuid4().hex)
    user = os.getuid() if hasattr(os, "getuid") else 0
    root = cluster.scratch or Path(tempfile.gettempdir()) / f"burnish-ray-{user}"
    scratch = Path(root) / note.read_text().strip()
    _adopt(store, scratch)
    try:
        yield str(scratch)
    finally:
        _adopt(store, scratch)
    shutil.rmtree(scratch, ignore_errors=True)
    note.unlink(missing_ok=True)


def _adopt(store: Store, scratch: Path) -> None:
    """Rows of the workers' files that the store does not have."""
    for path in sorted(scratch.glob("*.sqlite")):
        with contextlib.closing(sqlite3.connect(store.path, timeout=60.0)) as base:
            base.execute("attach ? as worker", (str(path),))
            with base:
                base.execute(_ADOPT)


def _over_ray(
    rest: Sequence[tuple[int, bytes]], work: Work, asker: Asker, scratch: str, cluster: Cluster, share: Budget | None
) -> Iterator[list[tuple[int, Any, str | BurnishError, list[tuple[Request, Reply]]]]]:
    """(place, value, error, what it asked) of the items of a block, a block at a time."""
    with _connected(cluster) as ray:
        import pyarrow

        size = max(1, min(cluster.block, -(-len(rest) // cluster.workers)))
        blocks = [
            pyarrow.table({
                "place": pyarrow.array([index for index, _ in rest[at : at + size]], pyarrow.int64()),
                "item": pyarrow.array([data for _, data in rest[at : at + size]], pyarrow.large_binary()),
            })
            for at in range(0, len(rest), size)
        ]  # fmt: skip
        pool = ray.data.ActorPoolStrategy(
            size=cluster.workers,
            # Two blocks at once: while one waits for its last replies, the next is under way.
            max_tasks_in_flight_per_actor=2,
            max_concurrent_calls_per_actor=2,
        )
        data = ray.data.from_arrow(blocks).map_batches(
            Worker,
            fn_constructor_args=(work, asker, scratch, cluster.in_flight, share),
            batch_size=None,
            batch_format="pyarrow",
            num_cpus=cluster.cpus,
            num_gpus=cluster.gpus or None,
            compute=pool,
        )
        try:
            for table in data.iter_batches(batch_size=None, batch_format="pyarrow"):
                rows = zip(table["place"].to_pylist(), table["done"].to_pylist(), strict=True)
                yield [(place, *pickle.loads(done)) for place, done in rows]
        except ray.exceptions.RayError as error:
            raise WorkerError(f"the Ray workers failed: {str(error).strip().splitlines()[0]}") from error


@contextlib.contextmanager
def _connected(cluster: Cluster) -> Iterator[Any]:
    """Ray, connected: to what this process is connected to already, to the address, or to a cluster of its own.

    Raises:
        WorkerError: it is not installed, or the cluster cannot be reached.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise WorkerError(f"Ray is not installed ({error}); run {INSTALL}") from None
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.WARNING)  # else a page for each data set
    mine = not ray.is_initialized()
    if mine:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        own = {
            "num_cpus": max(os.cpu_count() or 1, -(-cluster.workers * cluster.cpus // 1)),
            "include_dashboard": False,
        }
        try:
            ray.init(
                address=cluster.address, log_to_driver=False, logging_level="error", **({} if cluster.address else own)
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise WorkerError(
                f"the Ray cluster at {cluster.address or 'this machine'} cannot be used: {error}"
            ) from error
    try:
        yield ray
    finally:
        if mine:
            ray.shutdown()
