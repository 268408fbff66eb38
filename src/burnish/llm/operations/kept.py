"""An asker whose replies are kept: what operations ask, one by one and again, goes through one `ask_all`.

ask(request) -> queue -> ask_all (store, budget) -> the reply of that request
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from burnish.llm.flow import FATAL
from burnish.llm.operations.operation import Answered
from burnish.llm.operations.watch import Watch
from burnish.llm.requests import Asker, Budget, Purse, Reply, Request, Store, ask_all
from burnish.llm.requests.books import place_of

DRAIN = 30.0  # seconds to wait for what is in flight when an error ends the asking


@dataclass(frozen=True, slots=True)
class _Steady:
    """The asker itself, but that an error it raises for one request is that request's failure, which may pass."""

    asker: Asker

    @property
    def identity(self) -> str:
        return self.asker.identity

    async def ask(self, request: Request) -> Reply:
        try:
            return await self.asker.ask(request)
        except FATAL:
            raise
        except Exception as error:
            return Reply(failure=f"{type(error).__name__}: {error}"[:500], passing=True)


class Kept:
    """Use it with `async with`; asks while it is entered, and only then.

    Args:
        asker: who is asked when the store has no reply.
        store: replies on disk; None keeps nothing.
        purse: what may be spent.
        at_once: questions in flight; the asker's own limit holds as well.
    """

    def __init__(self, asker: Asker, *, store: Store | None, purse: Purse | None, at_once: int) -> None:
        self.asker, self.store, self.purse = asker, store, purse
        self.at_once = min(at_once, getattr(asker, "most", at_once))
        self.watch = Watch(asker.identity, *([str(place_of(store.path))] if store is not None else []))
        self._queue: asyncio.Queue[Request | None] = asyncio.Queue()
        # `ask_all` hands back the request that it took, so that its identity in memory tells equal ones apart.
        self._waiting: dict[int, tuple[Request, asyncio.Future[Reply]]] = {}
        self._error: Exception | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def identity(self) -> str:
        return self.asker.identity

    async def __aenter__(self) -> Kept:
        if hasattr(self.asker, "__aenter__"):
            await self.asker.__aenter__()
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *exception: Any) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
        self._queue.put_nowait(None)
        if self._task is not None:
            if exception[0] is not None and self._error is None:
                await self._leave(self._task, isinstance(exception[1], Exception))
            await asyncio.gather(self._task, return_exceptions=True)
        if hasattr(self.asker, "__aexit__"):
            await self.asker.__aexit__(*exception)

    async def _leave(self, task: asyncio.Task[None], orderly: bool) -> None:
        """After an error: what is on its way is paid for, so it is waited for and kept, if there is where."""
        if orderly and self.store is not None:
            await asyncio.wait([task], timeout=DRAIN)
        task.cancel()

    async def ask(self, request: Request) -> Reply:
        """The kept reply, or a fresh one once it is on the disk.

        Raises:
            WorkerError, BudgetError, SettingsError, RunError: see `ask_all`; the first one is every later one.
        """
        if self._error is not None:
            raise self._error
        answer = asyncio.get_running_loop().create_future()
        self._waiting[id(request)] = (request, answer)
        self._queue.put_nowait(request)
        try:
            return await answer
        finally:
            self._waiting.pop(id(request), None)

    def hear(self, got: Answered[Any]) -> None:
        """Take note of what an operation made of the replies.

        Raises:
            WorkerError: nothing so far could be read.
        """
        self.watch.hear(got)

    async def _source(self) -> AsyncIterator[Request]:
        while (request := await self._queue.get()) is not None:
            yield request

    async def _run(self) -> None:
        asked = ask_all(
            self._source(), _Steady(self.asker), store=self.store, budget=self.purse, in_flight=self.at_once
        )
        try:
            async for request, reply in asked:
                self.watch.note(request, reply)
                _, answer = self._waiting.get(id(request), (request, None))
                if answer is not None and not answer.done():
                    answer.set_result(reply)
        except Exception as error:
            self._error = error
            for _, answer in list(self._waiting.values()):
                if not answer.done():
                    answer.set_exception(error)


def purse_of(asker: Asker, store: Store | None) -> Purse:
    """The asker's budget, opened; one without limits where it has none, which counts all the same."""
    return (getattr(asker, "budget", None) or Budget()).open(store)
