"""An asker over a store: what is there is not asked, equal requests are asked once, a spent budget keeps all."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import BudgetError, WorkerError
from burnish.llm.requests import Budget, Kept, Reply, Request, Store, Usage
from burnish.records import Message, Sampling


class Slow:
    """Answers after a moment, and counts."""

    identity = "slow"

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.now = self.most_now = self.entered = 0
        self.error: Exception | None = None

    async def ask(self, request: Request) -> Reply:
        self.now += 1
        self.most_now = max(self.now, self.most_now)
        await asyncio.sleep(0.01)
        self.now -= 1
        self.asked[request.messages[0].content] += 1
        if self.error is not None:
            raise self.error
        return Reply(text=request.messages[0].content.upper(), usage=Usage(prompt=10, completion=10))

    async def __aenter__(self) -> Slow:
        self.entered += 1
        return self

    async def __aexit__(self, *exception: Any) -> None:
        self.entered -= 1


def request(text: str, **fields: Any) -> Request:
    said = (Message(role="user", content=text),)
    return Request(model="slow", sampling=Sampling(temperature=0.0, max_new_tokens=10), messages=said, **fields)


def test_what_the_store_has_is_not_asked_and_equal_requests_are_asked_once(tmp_path: Path) -> None:
    asker = Slow()

    async def go(store: Store) -> list[Reply]:
        async with Kept(asker, store, in_flight=3) as kept:
            assert asker.entered == 1
            return await asyncio.gather(*(kept.ask(request(text, operation="op")) for text in "abcdeaab"))

    for _ in range(2):
        with Store(tmp_path / "s.sqlite") as store:
            replies = asyncio.run(go(store))
            assert [reply.text for reply in replies] == list("ABCDEAAB")
            assert len(store) == 5
    assert asker.asked == Counter("abcde") and asker.most_now == 3 and asker.entered == 0


def test_one_that_stops_waiting_does_not_stop_the_others(tmp_path: Path) -> None:
    async def go(store: Store) -> Reply:
        kept = Kept(Slow(), store)
        first, second = (asyncio.ensure_future(kept.ask(request("a"))) for _ in range(2))
        await asyncio.sleep(0)
        first.cancel()
        return await second

    with Store(tmp_path / "s.sqlite") as store:
        assert asyncio.run(go(store)).text == "A"


def test_a_spent_budget_ends_the_asking_and_keeps_what_came(tmp_path: Path) -> None:
    asker = Slow()

    async def go(store: Store, budget: Budget) -> list[Any]:
        kept = Kept(asker, store, purse=budget.open(store), in_flight=4)
        return await asyncio.gather(*(kept.ask(request(str(n))) for n in range(20)), return_exceptions=True)

    with Store(tmp_path / "s.sqlite") as store:
        got = asyncio.run(go(store, Budget(tokens=200)))
        kinds = Counter(type(one) for one in got)
        assert kinds == {Reply: 10, BudgetError: 10} and len(store) == 10
        got = asyncio.run(go(store, Budget(tokens=400)))
        assert all(isinstance(one, Reply) for one in got) and len(store) == 20
    assert set(asker.asked.values()) == {1}


def test_an_asker_that_gives_up_is_heard_and_frees_what_it_reserved(tmp_path: Path) -> None:
    asker = Slow()

    async def go(store: Store) -> None:
        purse = Budget(tokens=1000).open(store)
        kept = Kept(asker, store, purse=purse)
        asker.error = WorkerError("no such model")
        with pytest.raises(WorkerError, match="no such model"):
            await kept.ask(request("a"))
        assert purse.idle()
        asker.error = None
        assert (await kept.ask(request("a"))).text == "A"

    with Store(tmp_path / "s.sqlite") as store:
        asyncio.run(go(store))
