"""An asker whose replies are on the disk before they are handed on, for many items at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from burnish.llm.requests import Asker, Reply, Request, Store
from burnish.llm.requests.request import key_of


class Missing(BaseException):
    """A reply that is not in the store, where nothing may be asked.

    No `Exception`: what works on an item may catch those, and this is none of its errors.
    """


class Keeper:
    """Asks, and keeps what came: what a store has is not asked again, and equal requests under way are asked once.

    Use it in one event loop.

    Args:
        asker: who answers.
        store: where replies go, and are looked for first.
        in_flight: requests under way at most.
    """

    def __init__(self, asker: Asker, store: Store, in_flight: int) -> None:
        self.asker, self.store = asker, store
        self.others: Sequence[Store] = ()  # stores of other workers: looked into, never written
        self._gate = asyncio.Semaphore(in_flight)
        self._pending: dict[str, asyncio.Task[Reply]] = {}

    async def reply(self, key: str, request: Request, canonical: bytes) -> Reply:
        """The reply, from a store or from the asker; on the disk either way."""
        task = self._pending.get(key)
        if task is None:
            task = self._pending[key] = asyncio.ensure_future(self._find(key, request, canonical))
            task.add_done_callback(lambda _: self._pending.pop(key, None))
        return await asyncio.shield(task)

    async def _find(self, key: str, request: Request, canonical: bytes) -> Reply:
        for store in (self.store, *self.others):
            if (kept := store.get(key)) is not None:
                return kept
        async with self._gate:  # until it is on the disk: a kill costs no more than `in_flight` replies
            reply = await self.asker.ask(request)
            written = asyncio.get_running_loop().create_future()
            self.store.add(key, request, canonical, reply, token=written, done=_written)
            await written
        self.store.check()
        return reply


def _written(futures: list[asyncio.Future[None]]) -> None:
    """In the store's thread."""
    for future in futures:
        future.get_loop().call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class ItemAsker:
    """The `Asker` of one item: it remembers what the item asked, so that it can be kept elsewhere too.

    Args:
        identity: of who answers.
        keeper: asks and keeps; None where only `known` may answer.
        known: key -> a reply that is there already, None where there is none.
    """

    def __init__(self, identity: str, keeper: Keeper | None, known: Callable[[str], Reply | None]) -> None:
        self.identity, self.keeper, self.known = identity, keeper, known
        self.asked: list[tuple[Request, Reply]] = []

    async def ask(self, request: Request) -> Reply:
        """The reply to a request.

        Raises:
            Missing: it is not known, and there is nobody to ask.
        """
        canonical = request.canonical()
        key = key_of(canonical)
        reply = self.known(key)
        if reply is None:
            if self.keeper is None:
                raise Missing(key)
            reply = await self.keeper.reply(key, request, canonical)
        self.asked.append((request, reply))
        return reply


async def keep(store: Store, asked: Iterable[tuple[Request, Reply]]) -> None:
    """Write pairs that another machine asked, and return when they are on the disk; what is there stays."""
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
