"""The endpoint client against a server that fails in all ways at once: nothing is lost, and the counts add up."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from burnish import microworld
from burnish.llm.requests import Endpoint, Limits, Reply, Request, Store, ask_all
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
