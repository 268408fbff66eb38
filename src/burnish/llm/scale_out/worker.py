"""What a Ray actor does with a block of items: works on all of them at once, and keeps each reply on its own disk.

A worker's replies go into a file of its own under `scratch`, on the node's own disk (SQLite's log does not work over
a network). When a worker dies, Ray gives its block to another one; that one finds the dead worker's file beside its
own, and asks for nothing that was answered.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, RunError
from burnish.llm.operations.kept import Kept
from burnish.llm.requests import Asker, Budget, Reply, Store
from burnish.llm.requests.asking import IN_FLIGHT
from burnish.llm.scale_out.item import ItemAsker

Work = Callable[[Any, Asker], Awaitable[Any]]


class Worker:
    """One actor. Its arguments come over Ray's own serialisation.

    Args:
        work: item and asker -> result; every request it makes through the asker is kept.
        asker: who answers; opened once, in this worker.
        scratch: folder on this node's disk for the worker's file.
        in_flight: requests of this worker under way at most; 0: what the asker says.
        share: what this worker may spend; None is no limit.
    """

    def __init__(self, work: Work, asker: Asker, scratch: str, in_flight: int, share: Budget | None) -> None:
        self.work, self.asker, self.share = work, asker, share
        self.folder = own_folder(scratch)
        self.path = self.folder / f"{uuid.uuid4().hex}.sqlite"
        self.in_flight = in_flight or getattr(asker, "most", IN_FLIGHT)
        self.kept: Kept | None = None
        self.opening = asyncio.Lock()
        self.others: dict[Path, Store] = {}

    async def __call__(self, block: Any) -> AsyncIterator[Any]:
        """A table of (place, item) in, a table of (place, done) out; see `packed`."""
        import pyarrow

        kept = await self._ready()
        tasks = [asyncio.ensure_future(self._one(kept, data)) for data in block.column("item").to_pylist()]
        try:
            done = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        yield pyarrow.table({"place": block.column("place"), "done": pyarrow.array(done, pyarrow.large_binary())})

    async def _ready(self) -> Kept:
        """The asker with its file, made in the loop it lives in; other workers' files are looked for at each block."""
        async with self.opening:  # two blocks may come at once
            if self.kept is None:
                purse = self.share.open() if self.share is not None else None
                kept = Kept(self.asker, store=Store(self.path), purse=purse, at_once=self.in_flight)
                self.kept = await kept.__aenter__()
        for path in self.folder.glob("*.sqlite"):
            if path != self.path and path not in self.others:
                self.others[path] = Store(path)
        return self.kept

    async def _one(self, kept: Kept, data: bytes) -> bytes:
        item, known = pickle.loads(data)
        asker = ItemAsker(self.asker.identity, kept, partial(self._found, known))
        value: Any = None
        error: str | BurnishError
        try:
            value, error = await attempt(self.work, item, asker)
        except BurnishError as fatal:  # as data: Ray would try the block again, and wrap the words
            error = fatal
        return packed((value, error, asker.asked))

    def _found(self, known: dict[str, Reply], key: str) -> Reply | None:
        """A reply that the item has brought along, or that another worker of this node has left."""
        if (reply := known.get(key)) is not None:
            return reply
        found = (store.get(key) for store in self.others.values())
        return next((reply for reply in found if reply is not None), None)


async def attempt(work: Work, item: Any, asker: ItemAsker) -> tuple[Any, str]:
    """(result, "") or (None, why there is none): an item's error is its own fate.

    Raises:
        BurnishError: what is wrong with the whole run, such as a server without that model.
    """
    try:
        return await work(item, asker), ""
    except BurnishError:
        raise
    except Exception as error:
        return None, f"{type(error).__name__}: {error}"


def packed(value: Any) -> bytes:
    """Bytes for the way between processes of one job; nothing of it is ever stored."""
    from ray import cloudpickle

    return cloudpickle.dumps(value)


def own_folder(path: str) -> Path:
    """The folder, made for this user alone.

    Raises:
        RunError: it is someone else's.
    """
    folder = Path(path)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if hasattr(os, "getuid") and folder.stat().st_uid != os.getuid():
        raise RunError(f"{folder} belongs to someone else; choose another scratch folder")
    return folder
