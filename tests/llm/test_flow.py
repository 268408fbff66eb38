"""Streaming dataflow, on a clock that jumps: order, bounds, overlap, one item's error, a clean end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import RunError, SettingsError, WorkerError
from burnish.llm.flow import Fate, Left, Pace, Stage, run_flow, stream, tally
from burnish.llm.requests import run as run_now


class JumpingLoop(asyncio.SelectorEventLoop):
    """Nobody waits: when nothing is ready, the clock jumps to the next timer. Makes times exact, and tests quick."""

    now = 0.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:
            self.now = max(self.now, self._scheduled[0]._when)
        super()._run_once()


def jump(coroutine: Coroutine[Any, Any, Any]) -> tuple[Any, float]:
    """(result, seconds on the clock)."""
    with asyncio.Runner(loop_factory=JumpingLoop) as runner:
        return runner.run(coroutine), runner.get_loop().time()


def slow(name: str, at_once: int, seed: int, mean: float = 1.0) -> Stage:
    async def work(value: Any) -> Any:
        # The same item takes the same time whatever else happens.
        await asyncio.sleep(Random(f"{seed}/{value}").expovariate(1 / mean))
        return value

    return Stage(name=name, work=work, at_once=at_once)


async def collected(source: Any, stages: list[Stage], **options: Any) -> list[Fate]:
    return [fate async for fate in stream(source, stages, **options)]


def test_two_stages_overlap() -> None:
    """Point 6 in small: two servers of equal, randomised service time, 500 items, the same concurrency."""
    first, second = slow("generate", 16, 1), slow("judge", 16, 2)
    rows, together = jump(collected(range(500), [first, second]))
    _, one = jump(collected(range(500), [first]))
    _, two = jump(collected(range(500), [second]))
    assert [fate.value for fate in rows] == list(range(500))
    assert (one + two) / together >= 1.6


def test_the_order_is_that_of_the_source_whatever_takes_long() -> None:
    stages = [slow("a", 7, 1), slow("b", 3, 2)]
    rows, _ = jump(collected(range(100), stages))
    other, _ = jump(collected(range(100), [slow("a", 2, 5), slow("b", 9, 6)]))
    assert rows == other and [fate.index for fate in rows] == list(range(100))


def test_memory_is_bounded_by_the_window() -> None:
    drawn = given_back = most = 0

    def source() -> Iterator[int]:
        nonlocal drawn, most
        for number in range(300):
            drawn += 1
            most = max(most, drawn - given_back)
            yield number

    async def straggle(value: int) -> int:
        await asyncio.sleep(500 if value == 3 else 1)
        return value

    async def consume() -> None:
        nonlocal given_back
        async for _ in stream(source(), [Stage(name="s", work=straggle, at_once=4)], window=20):
            given_back += 1
            await asyncio.sleep(0.1)

    jump(consume())
    assert given_back == drawn == 300 and most <= 20


def test_one_stage_never_works_on_more_than_it_may() -> None:
    busy: dict[str, int] = {"a": 0, "b": 0}
    most = dict(busy)

    def counted(name: str, at_once: int) -> Stage:
        async def work(value: int) -> int:
            busy[name] += 1
            most[name] = max(most[name], busy[name])
            await asyncio.sleep(Random(value).random())
            busy[name] -= 1
            return value

        return Stage(name=name, work=work, at_once=at_once)

    jump(collected(range(60), [counted("a", 5), counted("b", 2)]))
    assert most == {"a": 5, "b": 2}


def test_an_error_is_the_fate_of_its_item() -> None:
    async def work(value: int) -> Any:
        if value % 3 == 0:
            raise KeyError(f"row {value}")
        return Left(reason="odd") if value % 2 else value

    rows, _ = jump(collected(range(12), [Stage(name="check", work=work), slow("next", 2, 1)]))
    assert len(rows) == 12
    assert rows[3].left == Left(reason="check failed", detail="KeyError: 'row 3'", unscored=True)
    assert rows[1].left == Left(reason="odd") and rows[1].stage == "check" and rows[2].value == 2
    counts = tally(rows)
    assert counts == {"items": 12, "through": 4, "left": {"odd": 4}, "unscored": {"check failed": 4}}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from(["ok", "raise", "leave", "unscored"])), st.integers(1, 5), st.integers(1, 9))
def test_counts_add_up(fates: list[str], at_once: int, window: int) -> None:
    async def work(pair: tuple[int, str]) -> Any:
        await asyncio.sleep(Random(pair[0]).random())
        if pair[1] == "raise":
            raise ValueError(pair[1])
        return pair if pair[1] == "ok" else Left(reason=pair[1], unscored=pair[1] == "unscored")

    stages = [Stage(name="w", work=work, at_once=at_once), slow("then", 2, 3)]
    rows, _ = jump(collected(list(enumerate(fates)), stages, window=window))
    assert [row.item for row in rows] == list(enumerate(fates))
    counts = tally(rows)
    assert counts["items"] == len(fates)
    assert counts["through"] == fates.count("ok")
    assert counts["items"] == counts["through"] + sum(counts["left"].values()) + sum(counts["unscored"].values())


@pytest.mark.parametrize("error", [SettingsError("no such model"), RunError("budget is spent"), WorkerError("dead")])
def test_what_is_wrong_with_the_whole_run_ends_it(error: Exception) -> None:
    seen = []

    async def work(value: int) -> int:
        await asyncio.sleep(value)
        if value == 5:
            raise error
        return value

    async def consume() -> None:
        async for fate in stream(range(1000), [Stage(name="w", work=work, at_once=2)]):
            seen.append(fate.value)

    with pytest.raises(type(error), match=str(error)):
        jump(consume())
    assert seen[:3] == [0, 1, 2] and len(seen) < 10


def test_a_source_that_breaks_ends_the_flow() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise OSError("the file is gone")

    with pytest.raises(OSError, match="gone"):
        jump(collected(source(), [slow("a", 2, 1)]))


def test_cancelling_leaves_no_task_behind() -> None:
    ended = []

    async def work(value: int) -> int:
        try:
            await asyncio.sleep(1000)
        finally:
            ended.append(value)
        return value

    async def cancelled() -> int:
        task = asyncio.create_task(collected(range(50), [Stage(name="w", work=work, at_once=4)]))
        await asyncio.sleep(1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return len(asyncio.all_tasks()) - 1

    async def closed() -> int:
        flow = stream(range(50), [slow("a", 4, 1)])
        await anext(flow)
        await flow.aclose()
        return len(asyncio.all_tasks()) - 1

    assert jump(cancelled())[0] == 0 and sorted(ended) == [0, 1, 2, 3]
    assert jump(closed())[0] == 0


def test_progress_tells_rate_time_left_cost_and_the_unscored_share() -> None:
    said: list[Pace] = []

    async def work(value: int) -> Any:
        await asyncio.sleep(1)
        return value if value % 4 else Left(reason="no", unscored=True)

    stages = [Stage(name="w", work=work, at_once=2)]
    jump(collected(range(40), stages, total=40, report=said.append, cost=lambda: 0.25))
    middle, last = said[9], said[-1]
    assert middle.rate == pytest.approx(2, rel=0.1) and middle.seconds_left == pytest.approx(10, rel=0.15)
    assert (last.done, last.unscored, last.left, last.seconds_left) == (40, 10, 0, 0)
    assert str(last) == "2/s, 0 s left, cost 0.25, 25.0% unscored"


def test_the_synchronous_entry_works_inside_a_loop_too() -> None:
    async def double(value: int) -> int:
        return 2 * value

    told = []

    class Listener:
        def progress(self, done: int, total: int, note: str = "") -> None:
            told.append((done, total))

    def run() -> list[int]:
        rows = run_flow(range(5), [Stage(name="d", work=double)], total=5, work=Listener())  # type: ignore[arg-type]
        return [row.value for row in rows]

    async def notebook() -> list[int]:
        return run()

    assert run() == run_now(notebook()) == [0, 2, 4, 6, 8] and told[-1] == (5, 5)


def test_an_empty_or_asynchronous_source() -> None:
    async def source() -> AsyncIterator[int]:
        for number in range(7):
            await asyncio.sleep(1)
            yield number

    assert jump(collected([], [slow("a", 2, 1)]))[0] == []
    assert [fate.value for fate in jump(collected(source(), [slow("a", 2, 1)], window=1))[0]] == list(range(7))


def test_bad_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="one or more"):
        slow("a", 0, 1)
    with pytest.raises(SettingsError, match="at least one stage"):
        jump(collected([1], []))
