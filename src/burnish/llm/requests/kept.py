"""An asker whose replies are on the disk before they are handed on: what a flow of operations asks through.

`ask_all` does the same for a list of requests; this is for work that asks as it goes, item by item.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from burnish.llm.requests.asking import IN_FLIGHT
from burnish.llm.requests.budget import Purse
from burnish.llm.requests.request import Asker, Reply, Request, key_of
from burnish.llm.requests.store import Store


class Kept:
    """An `Asker` over another one and a store.

    What the store has is not asked again; equal requests under way are asked once. Use it in one event loop.

    Args:
        asker: who answers; entered and left with this one.
        store: where replies go, and are looked for first. It stays open.
        purse: what may be spent.
        in_flight: requests under way at most, until they are on the disk: so many a kill may cost; 0: what the asker
            says.
    """

    def __init__(self, asker: Asker, store: Store, *, purse: Purse | None = None, in_flight: int = 0) -> None:
        self.asker, self.store, self.purse = asker, store, purse
        self.identity = asker.identity
        self.most = in_flight or getattr(asker, "most", IN_FLIGHT)
        self.others: Sequence[Store] = ()  # stores that are looked into too, and never written
        self._gate = asyncio.Semaphore(self.most)
        self._pending: dict[str, asyncio.Task[Reply]] = {}
        self._charged = asyncio.Event()

    async def ask(self, request: Request) -> Reply:
        """The reply, from the store or from the asker; on the disk either way.

        Raises:
            WorkerError: nothing can be asked of the asker.
            BudgetError: a limit is reached; every reply that came is kept.
            RunError: the disk refuses.
        """
        canonical = request.canonical()
        return await self.reply(key_of(canonical), request, canonical)

    async def reply(self, key: str, request: Request, canonical: bytes) -> Reply:
        """The same for a request whose key and canonical form are known."""
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.ensure_future(self._find(key, request, canonical))
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        return await asyncio.shield(task)  # one that stops waiting does not stop the others

    async def _find(self, key: str, request: Request, canonical: bytes) -> Reply:
        for store in (self.store, *self.others):
            if (kept := store.get(key)) is not None:
                return kept
        async with self._gate:
            await self._afford(request)
            try:
                reply = await self.asker.ask(request)
            except BaseException:
                if self.purse is not None:
                    self.purse.give_back()
                    self._charged.set()
                raise
            if self.purse is not None:
                self.purse.charge(request.model, reply)
                self._charged.set()
            written = asyncio.get_running_loop().create_future()
            self.store.add(key, request, canonical, reply, token=written, done=_written)
            await written
        self.store.check()
        return reply

    async def _afford(self, request: Request) -> None:
        """Wait until the budget lets one more through.

        Raises:
            BudgetError: it never will.
        """
        if self.purse is None:
            return
        self.purse.check_price(request.model)
        while not self.purse.take(request):
            if self.purse.idle():
                raise self.purse.error()
            self._charged.clear()
            with contextlib.suppress(TimeoutError):  # another asker may share the purse
                await asyncio.wait_for(self._charged.wait(), 0.5)

    async def __aenter__(self) -> Kept:
        if hasattr(self.asker, "__aenter__"):
            await self.asker.__aenter__()
        return self

    async def __aexit__(self, *exception: Any) -> None:
        if hasattr(self.asker, "__aexit__"):
            await self.asker.__aexit__(*exception)


def _written(futures: list[asyncio.Future[None]]) -> None:
    """In the store's thread."""
    for future in futures:
        future.get_loop().call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


async def keep(store: Store, asked: Sequence[tuple[Request, Reply]]) -> None:
    """Write pairs that were asked elsewhere, and return when they are on the disk; what is there stays."""
    loop, waiting = asyncio.get_running_loop(), []
    for request, reply in asked:
        canonical = request.canonical()
        key = key_of(canonical)
        if store.get(key) is None:
            future = loop.create_future()
            store.add(key, request, canonical, reply, token=future, done=_written)
            waiting.append(future)
    if waiting:
        await asyncio.gather(*waiting)
    store.check()
