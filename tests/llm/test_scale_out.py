"""Ray and plain runs give the same rows; a worker that is killed loses nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from burnish import microworld
from burnish.errors import BudgetError, SettingsError, WorkerError
from burnish.judge.operations import PAIRWISE
from burnish.judge.operations.records import Comparison
from burnish.llm.operations import Answered, answer, answer_all
from burnish.llm.requests import Budget, Endpoint, Reply, Request, Store, ask_all
from burnish.llm.requests.books import spent_in
from burnish.llm.scale_out import Cluster, ask_on_ray, map_on_ray
from burnish.microworld.judging import scripted_judge
from burnish.microworld.serving import Faults, Latency, oracle_server
from burnish.records import Sampling

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'burnish[ray]'")
SAMPLING = Sampling(temperature=1.0, max_new_tokens=64)
LOCAL = Cluster(workers=2, block=20)


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[None]:
    """One local cluster for all tests; `ask_on_ray` uses what this process is connected to."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="error")
    yield
    ray.shutdown()


def questions(count: int, model: str) -> list[Request]:
    rows = microworld.prompts("train", count, seed=3)
    return [Request(model=model, sampling=SAMPLING, messages=row.messages, operation="answer") for row in rows]


def plain(requests: list[Request], asker: Any, store: Store) -> dict[str, Reply]:
    async def go() -> dict[str, Reply]:
        return {request.key(): reply async for request, reply in ask_all(requests, asker, store=store)}

    return asyncio.run(go())


def rows(path: Path) -> list[tuple[Any, ...]]:
    """A store's rows without times."""
    with sqlite3.connect(path) as base:
        told = "key, operation, model, request, text, finish, failure, prompt_tokens, completion_tokens, served_by"
        return sorted(base.execute(f"select {told} from asked"))


def served(url: str) -> int:
    with urlopen(url + "/faults") as reply:
        return json.load(reply)["requests"]


def test_ray_and_plain_runs_give_the_same_rows(tmp_path: Path) -> None:
    with oracle_server() as url:
        asker = Endpoint.parse(url + "#oracle")
        requests = questions(90, asker.identity)
        requests.append(requests[0])  # an equal request is asked once
        with Store(tmp_path / "plain.sqlite") as store:
            wanted = plain(requests, asker, store)
        before = served(url)
        with Store(tmp_path / "ray.sqlite") as store:
            got = list(ask_on_ray(requests, asker, store=store, cluster=LOCAL))
            assert served(url) - before == 90
            assert len(got) == 91 and {request.key(): reply for request, reply in got} == wanted
            assert list(map(str, sorted(tmp_path.glob("*.ray")))) == []
            again = {request.key(): reply for request, reply in ask_on_ray(requests, asker, store=store)}
            assert again == wanted and served(url) - before == 90  # all of it from the store
    assert rows(tmp_path / "ray.sqlite") == rows(tmp_path / "plain.sqlite")


def test_a_killed_worker_loses_nothing(tmp_path: Path) -> None:
    class Deadly:
        """An endpoint whose first worker to answer 15 requests is killed, with 8 or fewer in flight."""

        most = 8

        def __init__(self, endpoint: Endpoint, marker: str) -> None:
            self.endpoint, self.marker, self.identity, self.answered = endpoint, marker, endpoint.identity, 0

        async def ask(self, request: Request) -> Reply:
            reply = await self.endpoint.ask(request)
            self.answered += 1
            if self.answered == 15:
                try:
                    os.close(os.open(self.marker, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return reply
                os.kill(os.getpid(), signal.SIGKILL)
            return reply

    with oracle_server(latency=Latency(mean=0.02)) as url:
        asker = Deadly(Endpoint.parse(url + "#oracle"), str(tmp_path / "killed"))
        requests = questions(120, asker.identity)
        with Store(tmp_path / "ray.sqlite") as store:
            got = {r.key(): reply for r, reply in ask_on_ray(requests, asker, store=store, cluster=LOCAL)}
        assert (tmp_path / "killed").exists()
        assert served(url) <= 120 + 8  # what was in flight at the kill, and nothing that had been answered
        with Store(tmp_path / "plain.sqlite") as store:
            assert got == plain(requests, asker.endpoint, store)
    assert rows(tmp_path / "ray.sqlite") == rows(tmp_path / "plain.sqlite")


def test_items_that_ask_more_than_once_and_items_with_errors(tmp_path: Path) -> None:
    async def twice(item: Request, asker: Any) -> list[str]:
        first = await asker.ask(item)
        if "7" in first.text:
            raise ValueError("I do not like sevens")
        second = await asker.ask(Request(model=item.model, sampling=SAMPLING, messages=item.messages, index=1))
        return [first.text, second.text]

    with oracle_server() as url:
        asker = Endpoint.parse(url + "#oracle")
        items = questions(30, asker.identity)
        with Store(tmp_path / "s.sqlite") as store:
            done = {d.index: d for d in map_on_ray(items, twice, asker, store=store, cluster=LOCAL)}
            assert sorted(done) == list(range(30))
            failed = [d for d in done.values() if d.error]
            assert failed and all(d.error == "ValueError: I do not like sevens" for d in failed)
            assert served(url) == 2 * 30 - len(failed) == len(store)
            again = {d.index: d for d in map_on_ray(items, twice, asker, store=store, cluster=LOCAL)}
            assert again == done and served(url) == 2 * 30 - len(failed)


def test_typed_operations_over_ray_are_what_they_are_in_process(tmp_path: Path) -> None:
    async def compared(record: Comparison, asker: Any) -> Answered[Any]:
        return await answer(PAIRWISE, record, asker=asker)

    records = []
    for prompt in microworld.prompts("train", 20, seed=5):
        pair = [microworld.Oracle(error=e).answer([prompt], n=1, sampling=SAMPLING)[0] for e in (0.0, 1.0)]
        records.append(Comparison(prompt=prompt, first=pair[0], second=pair[1]))
    with oracle_server(faults=Faults(malformed=0.15, seed=2)) as url, Store(tmp_path / "s.sqlite") as store:
        asker = Endpoint.parse(url + "#oracle")
        got = {d.index: d.value for d in map_on_ray(records, compared, asker, store=store, cluster=LOCAL)}
        assert len(store) == sum(len(one.requests) for one in got.values()) > 20
    truth = answer_all(PAIRWISE, records, asker=scripted_judge())
    assert [(got[n].record, got[n].unscored) for n in range(20)] == [(one.record, "") for one in truth]


def test_a_budget_stops_all_workers_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    with oracle_server() as url, Store(tmp_path / "s.sqlite") as store:
        asker = Endpoint.parse(url + "#oracle")
        requests, small = questions(60, asker.identity), Cluster(workers=2, block=10, in_flight=4)
        one = next(reply for _, reply in ask_on_ray(requests[:1], asker, store=store, cluster=small)).usage
        limit = 20 * (one.prompt + one.completion)
        with pytest.raises(BudgetError, match=r"raise --budget-tokens .* and run the same command again"):
            list(ask_on_ray(requests, asker, store=store, cluster=small, budget=Budget(tokens=limit)))
        assert 8 < len(store) < 60 and served(url) == len(store)
        assert spent_in(store.path)[0] < 1.5 * limit
        enough = Budget(tokens=200 * limit)
        assert len(list(ask_on_ray(requests, asker, store=store, cluster=small, budget=enough))) == 60
        assert served(url) == 60 == len(store)


def test_an_error_of_the_whole_run_ends_it_with_its_words(tmp_path: Path) -> None:
    with oracle_server(faults=Faults()) as url, Store(tmp_path / "s.sqlite") as store:
        asker = Endpoint.parse(url + "#nobody")
        with pytest.raises(WorkerError, match="has no model 'nobody'; it has oracle"):
            list(ask_on_ray(questions(3, asker.identity), asker, store=store, cluster=LOCAL))
    with pytest.raises(SettingsError):
        Cluster(workers=0)


def test_a_dead_job_s_files_end_in_the_store(tmp_path: Path) -> None:
    with oracle_server() as url:
        asker = Endpoint.parse(url + "#oracle")
        requests = questions(10, asker.identity)
        scratch = Cluster(workers=2, scratch=tmp_path / "scratch")
        with Store(tmp_path / "scratch" / "job1" / "worker.sqlite") as left:  # as a killed driver leaves it
            plain(requests, asker, left)
        (tmp_path / "s.sqlite.ray").write_text("job1")
        with Store(tmp_path / "s.sqlite") as store:
            assert len(list(ask_on_ray(requests, asker, store=store, cluster=scratch))) == 10
            assert served(url) == 10 == len(store)
        assert not (tmp_path / "scratch" / "job1").exists() and not (tmp_path / "s.sqlite.ray").exists()
