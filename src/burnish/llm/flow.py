"""Streaming dataflow: many items through several stages at once, without a barrier between them.

    source -> [queue -> stage 1] -> [queue -> stage 2] -> ... -> in the order of the source

Each stage works on `at_once` items; queues are bounded, and so is the number of items between the source and the
consumer (`window`), so that memory is. One item's error is that item's fate, with its reason; results do not depend on
the order in which stages finish.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.errors import BudgetError, RunError, SettingsError, WorkerError
from burnish.llm.requests import run
from burnish.protocols import Work

# What is wrong with the whole run and not with an item: a setting, a template, a full disk, a spent budget, a server
# that can answer nothing.
FATAL = (SettingsError, RunError, WorkerError, BudgetError)
WINDOW = 8  # items under way for each that can be worked on: stragglers hold up the order, not the work
EVERY = 0.5  # seconds between two reports of progress
RECENT = 60.0  # seconds over which the rate is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One kind of work.

    Args:
        name: for reports and reasons.
        work: value -> the next value, or `Left` when the item goes no further.
        at_once: how many items it works on.
    """

    name: str
    work: Callable[[Any], Awaitable[Any]]
    at_once: int = 16

    def __post_init__(self) -> None:
        if self.at_once < 1:
            raise SettingsError(f"stage {self.name!r} works on {self.at_once} items at once; it must be one or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """What a stage returns for an item that goes no further: judged and found wanting, or `unscored`."""

    reason: str
    detail: str = ""
    unscored: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What became of one item.

    Args:
        index: its place in the source.
        item: what the source gave.
        value: what the last stage made of it; None when it left.
        left: why it went no further, None when it came through.
        stage: the stage at which it left.
    """

    index: int
    item: Any
    value: Any = None
    left: Left | None = None
    stage: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How far a flow is. `rate` is items a second of late, `seconds_left` None while it cannot be told."""

    done: int
    total: int | None
    left: int
    unscored: int
    rate: float
    seconds_left: float | None
    cost: float | None

    def __str__(self) -> str:
        parts = [f"{self.rate:.3g}/s"]
        if self.seconds_left is not None:
            minutes, seconds = divmod(round(self.seconds_left), 60)
            parts.append(f"{minutes} min {seconds:02d} s left" if minutes else f"{seconds} s left")
        if self.cost is not None:
            parts.append(f"cost {self.cost:.4g}")
        parts.append(f"{self.unscored / max(1, self.done):.1%} unscored")
        return ", ".join(parts)


@dataclass(slots=True)
class _Meter:
    """Counts, and reports now and then."""

    total: int | None
    report: Callable[[Pace], None] | None
    cost: Callable[[], float] | None
    clock: Callable[[], float]
    done: int = 0
    left: int = 0
    unscored: int = 0
    marks: deque[tuple[float, int]] = field(default_factory=deque)

    def count(self, fate: Fate) -> None:
        self.done += 1
        self.left += fate.left is not None and not fate.left.unscored
        self.unscored += fate.left is not None and fate.left.unscored
        now = self.clock()
        if now - self.marks[-1][0] >= EVERY:
            self.say(now)

    def start(self) -> None:
        self.marks.append((self.clock(), 0))

    def say(self, now: float) -> None:
        while len(self.marks) > 1 and now - self.marks[0][0] > RECENT:
            self.marks.popleft()
        since, before = self.marks[0]
        rate = (self.done - before) / (now - since) if now > since else 0.0
        self.marks.append((now, self.done))
        if self.report is None:
            return
        rest = None if self.total is None or not rate else max(0, self.total - self.done) / rate
        cost = None if self.cost is None else self.cost()
        self.report(
            Pace(done=self.done, total=self.total, left=self.left, unscored=self.unscored, rate=rate,
                 seconds_left=rest, cost=cost)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _End:
    """The last word of the source: how many items it gave, or what stopped it or a stage."""

    count: int = 0
    error: BaseException | None = None


class _Pipes:
    """Queues and tasks of one flow."""

    def __init__(self, stages: Sequence[Stage], window: int) -> None:
        self.stages = stages
        self.queues: list[asyncio.Queue[Fate]] = [asyncio.Queue(stage.at_once) for stage in stages]
        self.out: asyncio.Queue[Fate | _End] = asyncio.Queue()  # holds `window` items at most
        self.room = asyncio.Semaphore(window)
        self.tasks: list[asyncio.Task[None]] = []

    def start(self, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        self.tasks.append(asyncio.create_task(self._guarded(self._feed(source))))
        for number, stage in enumerate(self.stages):
            for _ in range(stage.at_once):
                self.tasks.append(asyncio.create_task(self._guarded(self._work(number))))

    async def stop(self) -> None:
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self.out.put_nowait(_End(error=error))

    async def _feed(self, source: Iterable[Any] | AsyncIterable[Any]) -> None:
        count = 0
        async for item in _each(source, self.room):
            await self.queues[0].put(Fate(index=count, item=item, value=item))
            count += 1
        self.out.put_nowait(_End(count=count))

    async def _work(self, number: int) -> None:
        stage = self.stages[number]
        following = self.queues[number + 1] if number + 1 < len(self.stages) else None
        while True:
            fate = await self.queues[number].get()
            try:
                value = await stage.work(fate.value)
            except FATAL:
                raise
            except Exception as error:
                detail = f"{type(error).__name__}: {error}"[:500]
                value = Left(reason=f"{stage.name} failed", detail=detail, unscored=True)
            if isinstance(value, Left):
                self.out.put_nowait(Fate(index=fate.index, item=fate.item, left=value, stage=stage.name))
                continue
            fate = Fate(index=fate.index, item=fate.item, value=value)
            if following is None:
                self.out.put_nowait(fate)
            else:
                await following.put(fate)


async def _each(source: Iterable[Any] | AsyncIterable[Any], room: asyncio.Semaphore) -> AsyncIterator[Any]:
    """The items, each drawn only when there is room for it."""
    if isinstance(source, AsyncIterable):
        iterator = aiter(source)
        while True:
            await room.acquire()
            try:
                item = await anext(iterator)
            except StopAsyncIteration:
                return
            yield item
    else:
        plain = iter(source)
        while True:
            await room.acquire()
            try:
                item = next(plain)
            except StopIteration:
                return
            yield item


async def stream(
    source: Iterable[Any] | AsyncIterable[Any],
    stages: Sequence[Stage],
    *,
    window: int | None = None,
    total: int | None = None,
    report: Callable[[Pace], None] | None = None,
    cost: Callable[[], float] | None = None,
) -> AsyncIterator[Fate]:
    """The fate of each item, in the order of the source.

    Args:
        source: drawn from only as there is room; its own error ends the flow.
        stages: in their order; at least one.
        window: items between source and consumer; default `WINDOW` for each item that can be worked on.
        total: how many items there will be, for the time left.
        report: told the pace at most twice a second, and at the end.
        cost: money spent so far.

    Raises:
        SettingsError, RunError, WorkerError: what is wrong with the whole run; no other error of a stage ends it.
    """
    if not stages:
        raise SettingsError("a flow needs at least one stage")
    width = sum(stage.at_once for stage in stages)
    pipes = _Pipes(stages, max(1, window if window is not None else WINDOW * width))
    meter = _Meter(total, report, cost, asyncio.get_running_loop().time)
    meter.start()
    waiting: dict[int, Fate] = {}
    count, given = None, 0
    pipes.start(source)
    try:
        while count is None or given < count:
            got = await pipes.out.get()
            if isinstance(got, _End):
                if got.error is not None:
                    raise got.error
                count = got.count
                continue
            meter.count(got)
            waiting[got.index] = got
            while given in waiting:
                yield waiting.pop(given)
                given += 1
                pipes.room.release()
        meter.say(asyncio.get_running_loop().time())
    finally:
        await pipes.stop()


def run_flow(
    source: Iterable[Any] | AsyncIterable[Any],
    stages: Sequence[Stage],
    *,
    window: int | None = None,
    total: int | None = None,
    cost: Callable[[], float] | None = None,
    work: Work | None = None,
) -> list[Fate]:
    """`stream` for a step function: all fates, in order; `work` is told the progress."""

    def report(pace: Pace) -> None:
        if work is not None:
            work.progress(pace.done, pace.total or pace.done, str(pace))

    async def collect() -> list[Fate]:
        flow = stream(source, stages, window=window, total=total, report=report, cost=cost)
        return [fate async for fate in flow]

    return run(collect())


def tally(fates: Sequence[Fate]) -> Mapping[str, Any]:
    """Counts that add up: items = through + left by reason + unscored by reason."""
    gone = [fate.left for fate in fates if fate.left is not None]
    return {
        "items": len(fates),
        "through": len(fates) - len(gone),
        "left": dict(Counter(left.reason for left in gone if not left.unscored)),
        "unscored": dict(Counter(left.reason for left in gone if left.unscored)),
    }
