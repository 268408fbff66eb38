"""The store: what is paid for is kept, and asked for again only when the question is another."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bench.kill_requests import job, trial

from burnish.errors import RunError
from burnish.llm.requests import Reply, Request, Store, Usage, ask_all, run
from burnish.llm.requests.store import damaged
from burnish.records import Message, Sampling
from tests.llm.requests.conftest import ask, endpoint_of, question
from tests.llm.requests.server import Server, said, serving


class Echo:
    """Answers in this process; counts what it is asked, and how many at once."""

    identity = "echo"

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds, self.asked, self.now, self.highest = seconds, 0, 0, 0

    async def ask(self, request: Request) -> Reply:
        self.asked += 1
        self.now += 1
        self.highest = max(self.highest, self.now)
        await asyncio.sleep(self.seconds)
        self.now -= 1
        return Reply(text=f"re: {request.messages[-1].content}", usage=Usage(prompt=3, completion=2))


def rows(count: int, operation: str, system: str = "Be terse.", **more: Any) -> list[Request]:
    def row(number: int) -> Request:
        told = (Message(role="system", content=f"{operation}: {system}"), Message(role="user", content=f"row {number}"))
        return question("", messages=told, operation=operation, **more)

    return [row(number) for number in range(count)]


def test_only_what_changed_is_sent_again(tmp_path: Path) -> None:
    """One row of 10,000 sends one; a parser none; system prompt, schema, temperature or model all of that operation."""
    path, echo = tmp_path / "requests" / "01-tags.sqlite", Echo()

    def sent(*operations: list[Request]) -> int:
        before = echo.asked
        pairs = ask([request for operation in operations for request in operation], echo, path)
        assert len(pairs) == sum(map(len, operations))
        assert all(reply.text == f"re: {request.messages[-1].content}" for request, reply in pairs)
        return echo.asked - before

    tags, grades = rows(10_000, "tag"), rows(500, "grade")
    assert sent(tags, grades) == 10_500
    assert sent(tags, grades) == 0  # reading the replies another way asks nobody
    changed = replace(tags[77], messages=(*tags[77].messages[:1], Message(role="user", content="row 77, corrected")))
    assert sent([*tags[:77], changed, *tags[78:]], grades) == 1
    assert sent(tags, rows(500, "grade", system="Be kind.")) == 500
    assert sent(tags, rows(500, "grade", schema={"type": "object"})) == 500
    assert sent(tags, rows(500, "grade", drawn={"temperature": 0.5})) == 500
    assert sent(tags, rows(500, "grade", model="openai:other")) == 500
    assert sent([replace(request, operation="renamed", record=object(), again=2) for request in tags]) == 0


def test_equal_requests_are_sent_once_and_all_answered(tmp_path: Path) -> None:
    echo = Echo(0.01)
    pairs = ask([question("same") for _ in range(5_000)] + [question("same", index=1)], echo, tmp_path / "a.sqlite")
    assert len(pairs) == 5_001 and echo.asked == 2


def test_memory_is_bounded_when_the_reader_is_slow(tmp_path: Path) -> None:
    pulled = 0

    def endless() -> Any:
        nonlocal pulled
        while True:
            pulled += 1
            yield question(str(pulled))

    async def scene() -> None:
        with Store(tmp_path / "a.sqlite") as store:
            taken, answers = 0, ask_all(endless(), Echo(), store=store, in_flight=8)
            async for _ in answers:
                taken += 1
                await asyncio.sleep(0.002)
                assert pulled - taken <= 40, (pulled, taken)
                if taken == 200:
                    break
            await answers.aclose()

    run(scene())


def test_requests_may_come_from_a_stream() -> None:
    async def stream() -> Any:
        for number in range(50):
            await asyncio.sleep(0)
            yield question(str(number))

    async def scene() -> None:
        echo = Echo(0.001)
        assert len([pair async for pair in ask_all(stream(), echo, in_flight=8)]) == 50
        assert 1 < echo.highest <= 8

    run(scene())


def test_a_reply_comes_back_whole_and_its_request_can_be_checked(tmp_path: Path) -> None:
    path = tmp_path / "a.sqlite"
    request = question("wörld \x00 \ud83d", schema={"b": 1, "a": [None, 1e-7]}, operation="op", again=1)
    reply = Reply(
        text="täxt",
        finish="tool_calls",
        usage=Usage(prompt=1, completion=2, cached=1, estimated=True),
        tool_calls=({"id": "1", "function": {"name": "add", "arguments": "{}"}},),
        token_ids=(5, 6),
        logprobs=(-0.125, -1e-9),
        reasoning="hm",
        served_by="toy-1",
        seconds=0.5,
        attempts=3,
    )
    with Store(path) as store:
        store.put(request.key(), request, request.canonical(), reply)
        kept = store.get(request.key())
        assert kept == reply and (kept.seconds, kept.attempts) == (0.5, 3)
        assert store.get(question("other").key()) is None
    assert damaged(path) == []
    with sqlite3.connect(path) as base:
        base.execute("update asked set request = replace(request, 'op', 'po') || ' '")
    assert damaged(path) == [request.key()]


def test_what_is_not_the_question_is_not_in_the_key() -> None:
    plain = question()
    assert plain.key() == question(operation="x", record=1, again=3).key()
    told = Message(role="user", content="hello", train=False)
    assert plain.key() == question(messages=(told,)).key()
    others = [
        question("other"),
        question(index=1),
        question(model="m"),
        question(schema={}),
        question(tools=[{"a": 1}]),
        question(drawn={"seed": 1}),
        question(drawn={"temperature": 0.9}),
        question(drawn={"top_p": 0.9}),
        question(drawn={"max_new_tokens": 9}),
        question(schema={"a": 1, "b": 2}),
        question(schema={"b": 2, "a": 1}),
        Request(model=plain.model, sampling=plain.sampling, text="hello"),
    ]
    assert len({request.key() for request in [plain, *others]}) == 13
    whole = Sampling(temperature=1, max_new_tokens=8)
    assert replace(plain, sampling=whole).key() == plain.key(), "1 and 1.0 are the same temperature"


def test_no_store_in_the_way_is_told(tmp_path: Path) -> None:
    (tmp_path / "a.sqlite").write_text("something else, and long enough to be no database" * 50)
    with pytest.raises(RunError, match="no request store"):
        Store(tmp_path / "a.sqlite")


def test_a_disk_that_refuses_ends_the_asking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("burnish.llm.requests.store._INSERT", "insert into nowhere values (1)")
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        ask([question(str(i)) for i in range(100)], Echo(), tmp_path / "a.sqlite")


def test_an_error_in_the_asker_comes_after_what_was_in_flight_is_kept(tmp_path: Path) -> None:
    class Breaks(Echo):
        async def ask(self, request: Request) -> Reply:
            if request.messages[0].content == "5":
                raise ZeroDivisionError
            return await super().ask(request)

    with pytest.raises(ZeroDivisionError):
        ask([question(str(i)) for i in range(100)], Breaks(0.05), tmp_path / "a.sqlite", in_flight=10)
    with Store(tmp_path / "a.sqlite") as store:
        assert 5 <= len(store) <= 19


def test_progress_tells_rate_tokens_and_reuse(tmp_path: Path) -> None:
    told: list[tuple[int, int, str]] = []
    requests = [question(str(i)) for i in range(40)]
    for _ in range(2):
        ask(requests, Echo(), tmp_path / "a.sqlite", progress=lambda *words: told.append(words))
    assert told[0][:2] == (40, 40) and "200 tokens" in told[0][2]
    assert told[-1][:2] == (40, 40) and "40 reused" in told[-1][2]


def slow(body: dict[str, Any], server: Server) -> Any:
    async def answer() -> Any:
        await asyncio.sleep(random.uniform(0.0, 0.02))
        return said(f"re: {body['messages'][0]['content']}")

    return answer()


def test_kill_9_loses_and_repeats_nothing_that_was_paid_for(tmp_path: Path) -> None:
    """Five kills of 300 requests; bench/kill_requests.py does 200 of 2,000."""
    with serving(slow) as server:
        for number in range(5):
            assert trial(server, tmp_path / str(number), count=300, rng=random.Random(number)) == []


def test_a_job_ends_with_the_same_rows_as_one_in_this_process(tmp_path: Path) -> None:
    with serving(slow) as server:
        began = time.monotonic()
        found = job(server.url, tmp_path / "a.sqlite", 100)
        assert found == {str(i): f"re: {i}" for i in range(100)} and time.monotonic() - began < 20
        assert len(ask([question("x")], endpoint_of(server), tmp_path / "a.sqlite")) == 1
