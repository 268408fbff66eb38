"""Many requests, many at once, in bounded memory: `ask_all` yields each pair of request and reply as it completes.

    requests (pulled one by one) -> the store has it: ready
                                 -> asked already, not answered yet: waits for that answer
                                 -> sent -> the store -> on the disk: ready

A killed job sends again at most what was in flight; a completed reply is never lost and never asked for twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from typing import Any, TypeVar

from burnish.llm.requests.budget import Budget, Purse
from burnish.llm.requests.prices import Price, price_of
from burnish.llm.requests.request import Asker, Reply, Request, key_of
from burnish.llm.requests.store import Store

Progress = Callable[[int, int, str], None]
Result = TypeVar("Result")

IN_FLIGHT = 64  # at once, of an asker that does not say how many it can take
_DRAIN = 30.0  # seconds to wait for what is in flight when the asking has failed
_TELL_EVERY = 0.5  # seconds between two words of progress


async def ask_all(
    requests: Iterable[Request] | AsyncIterable[Request],
    asker: Asker,
    *,
    store: Store | None = None,
    budget: Budget | Purse | None = None,
    progress: Progress | None = None,
    total: int = 0,
    in_flight: int = 0,
) -> AsyncIterator[tuple[Request, Reply]]:
    """Ask everything, and yield each request with its reply as it completes, in no order.

    Args:
        requests: pulled as there is room for them.
        store: replies in it are not asked for again; without one nothing is kept.
        budget: limits, or a purse that several askers share.
        progress: told how many are done, of how many, and a note with rate, time left, tokens, money.
        total: how many there are, where `requests` does not know; 0 if nobody does.
        in_flight: asked at once at most; an endpoint asks less as long as its pace says so.

    Raises:
        WorkerError: nothing can be asked of the asker.
        BudgetError: a limit is reached. Both are raised after what was in flight has come, and is kept.
    """
    if isinstance(budget, Budget):
        budget = budget.open(store)
    asking = _Asking(requests, asker, store, budget, in_flight or getattr(asker, "most", IN_FLIGHT))
    telling = _Telling(progress, total or (len(requests) if isinstance(requests, Sequence) else 0))
    async with AsyncExitStack() as stack:
        if hasattr(asker, "__aenter__"):
            await stack.enter_async_context(asker)
        try:
            asking.start()
            while await asking.more():
                ready = asking.ready
                while ready:
                    request, reply, reused = ready.popleft()
                    telling.count(request, reply, reused)
                    yield request, reply
                asking.relieve()
            telling.say(final=True)
            if isinstance(asking.error, _Spent) and asking.purse is not None:
                raise asking.purse.error()
            if asking.error is not None:
                raise asking.error
        finally:
            await asking.stop()


class _Asking:
    """The state of one `ask_all`."""

    def __init__(self, requests: Any, asker: Asker, store: Store | None, purse: Purse | None, most: int) -> None:
        self.asker, self.store, self.purse, self.most = asker, store, purse, max(1, most)
        self.source = aiter(requests) if hasattr(requests, "__aiter__") else iter(requests)
        self.is_async = hasattr(requests, "__aiter__")
        self.turn = asyncio.Lock()
        self.at_source: asyncio.Task[Any] | None = None  # the worker that waits for a slow source
        self.ready: deque[tuple[Request, Reply, bool]] = deque()
        self.pending: dict[str, list[Request]] = {}
        self.workers: set[asyncio.Task[None]] = set()
        self.unwritten = self.held = 0  # answered and not on the disk; waiting for the answer to an equal request
        self.exhausted = False
        self.error: BaseException | None = None
        self.failed_at = 0.0
        self.news, self.open, self.charged = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.open.set()
        self.loop = asyncio.get_running_loop()

    def start(self) -> None:
        worker = self.loop.create_task(self._work())
        self.workers.add(worker)
        worker.add_done_callback(self._left)

    def _left(self, worker: asyncio.Task[None]) -> None:
        self.workers.discard(worker)
        if not worker.cancelled() and (error := worker.exception()) is not None:
            self._fail(error)
        self.news.set()

    def _fail(self, error: BaseException) -> None:
        if self.error is None:
            self.error, self.failed_at = error, time.monotonic()
        self.exhausted = True
        if self.at_source is not None:  # the source may have nothing to say until it hears of the error
            self.at_source.cancel()
        self.open.set()
        self.news.set()

    async def more(self) -> bool:
        """Wait until something is ready; False when nothing will be."""
        while not self.ready:
            if self.store is not None and self.unwritten:
                self.store.check()
            if not self.workers and not self.unwritten:
                return False
            self.news.clear()
            try:
                await asyncio.wait_for(self.news.wait(), 1.0)
            except TimeoutError:
                late = self.error is not None and time.monotonic() - self.failed_at > _DRAIN
                if late and not isinstance(self.error, _Spent):
                    for worker in self.workers:
                        worker.cancel()
        return True

    def relieve(self) -> None:
        """What was ready is taken: there is room for more."""
        if not self.open.is_set() and self.unwritten < self.most:
            self.open.set()

    async def stop(self) -> None:
        self.exhausted = True
        for worker in self.workers:
            worker.cancel()
        await asyncio.gather(*self.workers, return_exceptions=True)

    async def _next(self) -> Request | None:
        if self.exhausted:
            return None
        if not self.is_async:
            request = next(self.source, None)
        else:
            async with self.turn:
                self.at_source = asyncio.current_task()
                try:
                    request = None if self.exhausted else await anext(self.source, None)
                finally:
                    self.at_source = None
        if request is None:
            self.exhausted = True
        return request

    async def _work(self) -> None:
        """Take requests one after another; call for help as long as there is more to take."""
        while True:
            if len(self.ready) + self.unwritten + self.held >= 2 * self.most:
                self.open.clear()
            if not self.open.is_set():
                await self.open.wait()
            request = await self._next()
            if request is None:
                return
            canonical = request.canonical()
            key = key_of(canonical)
            if (waiting := self.pending.get(key)) is not None:
                waiting.append(request)
                self.held += 1
                continue
            if self.store is not None and (kept := self.store.get(key)) is not None:
                self.ready.append((request, kept, True))
                self.news.set()
                continue
            self.pending[key] = [request]
            if self.purse is not None and not await self._afford(request):
                return
            if len(self.workers) < self.most and not self.exhausted:
                self.start()
            await self._ask(key, request, canonical)

    async def _afford(self, request: Request) -> bool:
        """Wait until the budget lets one more through; False when it never will."""
        purse = self.purse
        assert purse is not None
        purse.check_price(request.model)
        while not self.exhausted or self.error is None:
            if purse.take(request):
                return True
            if purse.idle():
                break
            self.charged.clear()
            with contextlib.suppress(TimeoutError):  # another asker may share the purse
                await asyncio.wait_for(self.charged.wait(), 0.5)
        self._fail(_Spent())
        return False

    async def _ask(self, key: str, request: Request, canonical: bytes) -> None:
        try:
            reply = await self.asker.ask(request)
        except BaseException:
            if self.purse is not None:
                self.purse.give_back()
                self.charged.set()
            raise
        if self.purse is not None:
            self.purse.charge(request.model, reply)
            self.charged.set()
        self.unwritten += 1
        if self.store is None:
            self._completed([(key, reply, None)])
            return
        # Its place is taken until it is on the disk, so that a kill never costs more than what may be in flight.
        written = self.loop.create_future()
        self.store.add(key, request, canonical, reply, token=(key, reply, written), done=self._written)
        await written

    def _written(self, tokens: list[Any]) -> None:
        """In the store's thread: these replies are on the disk, or the store is broken, which `more` finds out."""
        if self.store is not None and self.store.broken:
            return
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            self.loop.call_soon_threadsafe(self._completed, tokens)

    def _completed(self, tokens: list[tuple[str, Reply, asyncio.Future[None] | None]]) -> None:
        ready = self.ready
        for key, reply, written in tokens:
            if written is not None and not written.done():
                written.set_result(None)
            self.unwritten -= 1
            first, *others = self.pending.pop(key)
            self.held -= len(others)
            ready.append((first, reply, False))
            ready.extend((request, reply, True) for request in others)
        self.news.set()


class _Spent(Exception):
    """The purse said no; the error with the final numbers is made when all is in."""


class _Telling:
    """Progress in words, twice a second at most."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total = progress, total
        self.done = self.reused = self.failed = self.tokens = 0
        self.money = 0.0
        self.prices: dict[str, Price | None] = {}
        self.began = self.said = time.monotonic()

    def count(self, request: Request, reply: Reply, reused: bool) -> None:
        self.done += 1
        self.failed += bool(reply.failure)
        if reused:
            self.reused += 1
        else:
            usage = reply.usage
            self.tokens += usage.prompt + usage.completion
            if request.model not in self.prices:
                self.prices[request.model] = price_of(request.model)
            if (price := self.prices[request.model]) is not None:
                self.money += price.of(usage.prompt, usage.cached, usage.completion)
        if self.progress is not None and not self.done & 15:
            self.say()

    def say(self, *, final: bool = False) -> None:
        now = time.monotonic()
        if self.progress is None or (now - self.said < _TELL_EVERY and not final):
            return
        self.said = now
        rate = (self.done - self.reused) / max(now - self.began, 1e-9)
        parts = [f"{rate:.3g}/s"]
        if self.total > self.done and rate:
            left = int((self.total - self.done) / rate)
            parts.append(f"{left // 3600}:{left // 60 % 60:02d}:{left % 60:02d} left")
        parts.append(f"{self.tokens:,} tokens")
        parts += [f"${self.money:,.2f}"] * bool(self.money)
        parts += [f"{self.reused:,} reused"] * bool(self.reused)
        parts += [f"{self.failed:,} failed"] * bool(self.failed)
        self.progress(self.done, max(self.total, self.done), ", ".join(parts))


def run(work: Awaitable[Result]) -> Result:
    """Run a coroutine to its end from ordinary code, also where an event loop runs already (a notebook)."""

    async def whole() -> Result:
        return await work

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(whole())
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, whole()).result()
