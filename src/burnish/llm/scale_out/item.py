"""The asker of one item: it remembers what the item asked, so that it can be kept elsewhere too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from burnish.llm.requests import Asker, Reply, Request, Store
from burnish.llm.requests.request import key_of


class Missing(BaseException):
    """A reply that is not in the store, where nothing may be asked.

    No `Exception`: what works on an item may catch those, and this is none of its errors.
    """


class ItemAsker:
    """An `Asker` for one item.

    Args:
        identity: of who answers.
        asker: who is asked for what is not known; None where nobody may be.
        known: key -> a reply that is there already, None where there is none.
    """

    def __init__(self, identity: str, asker: Asker | None, known: Callable[[str], Reply | None]) -> None:
        self.identity, self.asker, self.known = identity, asker, known
        self.asked: list[tuple[Request, Reply]] = []

    async def ask(self, request: Request) -> Reply:
        """The reply to a request.

        Raises:
            Missing: it is not known, and there is nobody to ask.
        """
        key = request.key()
        reply = self.known(key)
        if reply is None:
            if self.asker is None:
                raise Missing(key)
            reply = await self.asker.ask(request)
        self.asked.append((request, reply))
        return reply


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


def _written(futures: list[asyncio.Future[None]]) -> None:
    """In the store's thread."""
    for future in futures:
        future.get_loop().call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
