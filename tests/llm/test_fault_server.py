"""The endpoint client, and typed operations through it, against a server that fails in all ways at once.

Nothing is lost, the counts add up, and no reply that cannot be read becomes a verdict.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from burnish import microworld
from burnish.judge.operations import CRITIQUE, PAIRWISE
from burnish.judge.operations.records import Comparison, ReferencedAnswer, said
from burnish.llm.operations import Answered, Operation, answer
from burnish.llm.operations.kept import Kept
from burnish.llm.requests import Endpoint, Limits, Reply, Request, Store, ask_all
from burnish.microworld.judging import scripted_judge
from burnish.microworld.serving import Faults, oracle_server
from burnish.records import Sampling

SAMPLING = Sampling(temperature=1.0, max_new_tokens=64)
SCHEMA = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
QUICK = Limits(silence=0.6, backoff=0.02, tries=6)
TENTH = {"rate_limited": 0.02, "server_error": 0.02, "hang": 0.01, "cut": 0.03, "not_json": 0.02}


def questions(count: int, model: str) -> list[Request]:
    rows = microworld.prompts("train", count, seed=9)
    return [Request(model=model, sampling=SAMPLING, messages=row.messages, schema=SCHEMA) for row in rows]


def asked(url: str, count: int, limits: Limits, path: Path) -> tuple[list[tuple[Request, Reply]], Any]:
    """All pairs, and the server's books."""
    asker = Endpoint.parse(url + "#oracle", limits=limits)

    async def go() -> list[tuple[Request, Reply]]:
        with Store(path) as store:
            return [pair async for pair in ask_all(questions(count, asker.identity), asker, store=store)]

    pairs = asyncio.run(go())
    with urlopen(url + "/faults") as told:
        return pairs, json.load(told)


def read(text: str) -> str | None:
    """The answer in a reply, None where it is no JSON of the schema: never a guess."""
    try:
        found = json.loads(text)
        return found["answer"] if isinstance(found["answer"], str) else None
    except (ValueError, TypeError, KeyError):
        return None


def test_a_tenth_of_faults_and_a_tenth_of_bad_json_end_as_answers_or_kept_failures(tmp_path: Path) -> None:
    count = 500
    with oracle_server(faults=Faults(**TENTH, malformed=0.1, seed=1)) as url:
        pairs, books = asked(url, count, QUICK, tmp_path / "s.sqlite")
    assert len({request.key() for request, _ in pairs}) == count == len(pairs)
    outcomes = Counter(books["outcomes"])
    # Every request that reached the server is one attempt of a reply, and every attempt reached it.
    assert sum(reply.attempts for _, reply in pairs) == books["requests"] == sum(outcomes.values())
    fates = Counter("failure" if r.failure else "answer" if read(r.text) is not None else "unread" for _, r in pairs)
    assert sum(fates.values()) == count and fates["failure"] == 0
    assert fates["answer"] == outcomes["answered"] and fates["unread"] == outcomes["malformed"]
    assert all(outcomes[kind] > 0 for kind in TENTH) and 20 < fates["unread"] < 90
    checkers = microworld.checkers()
    prompts = {row.messages: row for row in microworld.prompts("train", count, seed=9)}
    for request, reply in pairs:  # what was read is what the oracle said, whatever it went through
        if (text := read(reply.text)) is not None:
            row = prompts[request.messages]
            assert checkers[row.checker].check_text(row, text).correct


def test_failures_are_kept_with_their_reasons_and_asked_again_by_the_next_run(tmp_path: Path) -> None:
    limits = Limits(silence=0.6, backoff=0.01, tries=2)
    faults = Faults(server_error=0.3, cut=0.2, not_json=0.2, seed=2)
    with oracle_server(faults=faults) as url:
        pairs, books = asked(url, 120, limits, tmp_path / "s.sqlite")
        failed = [reply for _, reply in pairs if reply.failure]
        assert len(pairs) == 120 and 30 < len(failed) < 100
        assert all(reply.failure.startswith("no answer after 2 tries: ") and reply.passing for reply in failed)
        assert sum(reply.attempts for _, reply in pairs) == books["requests"]
        assert not any(reply.text for reply in failed)
        with Store(tmp_path / "s.sqlite") as store:
            assert len(store) == 120
        before = books["requests"]
        pairs, books = asked(url, 120, Limits(silence=0.6, backoff=0.01, tries=40), tmp_path / "s.sqlite")
        assert not any(reply.failure for _, reply in pairs)
        fresh = [reply for _, reply in pairs if reply.attempts > 2]
        assert books["requests"] - before >= len(failed) >= len(fresh)


def comparisons(count: int) -> list[tuple[Operation[Any, Any], Any]]:
    """Operations with their records: a right and a spoiled answer, compared or marked."""
    rows: list[tuple[Operation[Any, Any], Any]] = []
    right, wrong = microworld.Oracle(), microworld.Oracle(error=1.0)
    for number, prompt in enumerate(microworld.prompts("train", count, seed=11)):
        first, second = (oracle.answer([prompt], n=1, sampling=SAMPLING)[0] for oracle in (right, wrong))
        if number % 2:
            rows.append((PAIRWISE, Comparison(prompt=prompt, first=first, second=second)))
        else:
            marked = said(prompt, (first if number % 4 else second).text)
            rows.append((CRITIQUE, ReferencedAnswer(prompt=prompt, response=marked, reference="See the first step.")))
    return rows


@pytest.mark.parametrize("count", [300, pytest.param(5000, marks=pytest.mark.slow)])
def test_every_operation_ends_as_a_validated_record_or_unscored_with_its_reason(tmp_path: Path, count: int) -> None:
    rows = comparisons(count)
    faults = Faults(**TENTH, malformed=0.1, wrong_schema=0.02, seed=4)

    async def judged(asker: Any, reasks: int) -> list[Answered[Any]]:
        room = asyncio.Semaphore(64)

        async def one(operation: Operation[Any, Any], record: Any) -> Answered[Any]:
            async with room:
                return await answer(operation, record, asker=asker, reasks=reasks)

        return await asyncio.gather(*(one(*row) for row in rows))

    async def over(url: str, store: Store) -> list[Answered[Any]]:
        async with Kept(Endpoint.parse(url + "#oracle", limits=QUICK), store=store, purse=None, at_once=64) as asker:
            return await judged(asker, 1)

    with oracle_server(faults=faults) as url, Store(tmp_path / "s.sqlite") as store:
        got = asyncio.run(over(url, store))
        with urlopen(url + "/faults") as told:
            books = json.load(told)
        again = asyncio.run(over(url, store))  # all of it from the store
        with urlopen(url + "/faults") as told:
            assert json.load(told)["requests"] == books["requests"]
    assert again == got
    truth = asyncio.run(judged(scripted_judge(), 0))
    scored = [(mine, true) for mine, true in zip(got, truth, strict=True) if mine.record is not None]
    unscored = [mine for mine in got if mine.record is None]
    assert len(scored) + len(unscored) == count and len(scored) > 0.9 * count
    assert all(mine.record == true.record for mine, true in scored)  # nothing but what the oracle said
    assert all(mine.unscored.startswith(("unreadable: ", "no reply: ")) and mine.transcript for mine in unscored)
    with sqlite3.connect(tmp_path / "s.sqlite") as base:
        attempts, kept = base.execute("select sum(attempts), count(*) from asked").fetchone()
    assert attempts == books["requests"] == sum(books["outcomes"].values())
    assert kept == sum(len(mine.requests) for mine in got)
    bad = books["outcomes"]["malformed"] + books["outcomes"]["wrong_schema"]
    unread = kept - len(scored) - sum(mine.unscored.startswith("no reply") for mine in unscored)
    assert 0 < unread <= bad  # a brace too many, say, is no parse failure
