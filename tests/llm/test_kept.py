"""Operations through the store and the budget: nothing is paid twice, and a limit keeps what was paid for."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.errors import BudgetError, WorkerError
from burnish.llm.operations import Answered, answer_all
from burnish.llm.requests import Budget, Reply, Request, Store, Usage
from burnish.llm.requests.books import forget_failures, forget_unreadable
from burnish.records import Sampling
from tests.llm.requests.conftest import endpoint_of
from tests.llm.requests.server import error, said, serving
from tests.llm.test_operations import COUNT, Letters, Text


@dataclass
class Counting:
    """Counts right, but for texts that a fault is named for."""

    identity: str = "counting"
    faults: dict[str, Any] = field(default_factory=dict)
    budget: Budget | None = None
    sent: list[str] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        text = request.record.text
        self.sent.append(text)
        fault = self.faults.get(text)
        if isinstance(fault, Exception):
            raise fault
        good = json.dumps({"count": len(text), "sure": True})
        used = Usage(prompt=50, completion=50)
        return fault if isinstance(fault, Reply) else Reply(text=fault or good, usage=used)


def run(asker: Any, texts: list[str], folder: Path, operation: Any = COUNT, **settings: Any) -> list[Answered]:
    work = SimpleNamespace(requests=folder / "r1-03-judgements.sqlite", progress=lambda *words: None)
    return answer_all(operation, [Text(text=text) for text in texts], asker=asker, work=work, **settings)


TEXTS = [f"{'x' * (n % 9)}{n}" for n in range(200)]


def test_a_second_run_sends_nothing_and_a_changed_row_sends_one(tmp_path: Path) -> None:
    asker = Counting(faults={"x1": "no idea"})
    first = run(asker, TEXTS, tmp_path)
    assert len(asker.sent) == 202  # one of them three times
    asker.sent.clear()
    assert run(asker, TEXTS, tmp_path) == first and asker.sent == []
    run(asker, [*TEXTS[:-1], "new"], tmp_path)
    assert asker.sent == ["new"]


def test_a_changed_reader_sends_nothing_and_a_changed_question_sends_all(tmp_path: Path) -> None:
    asker = Counting()
    run(asker, TEXTS[:20], tmp_path)
    asker.sent.clear()
    other = replace(COUNT, build=lambda record, form: Letters(count=form.count + 1))
    got = run(asker, TEXTS[:20], tmp_path, other)
    assert asker.sent == [] and got[3].record == Letters(count=len(TEXTS[3]) + 1)
    run(asker, TEXTS[:20], tmp_path, sampling=Sampling(temperature=0.5, max_new_tokens=9))
    assert sorted(asker.sent) == sorted(TEXTS[:20])


def test_equal_questions_are_sent_once(tmp_path: Path) -> None:
    asker = Counting()
    got = run(asker, ["abc"] * 30, tmp_path)
    assert asker.sent == ["abc"] and {g.record for g in got} == {Letters(count=3)}


def test_an_error_for_one_record_is_its_reason_and_is_asked_for_again_next_time(tmp_path: Path) -> None:
    asker = Counting(faults={TEXTS[7]: OSError("cut")})
    got = run(asker, TEXTS[:20], tmp_path)
    assert got[7].unscored == "no reply: OSError: cut" and sum(g.record is None for g in got) == 1
    asker.sent.clear()
    asker.faults.clear()
    assert run(asker, TEXTS[:20], tmp_path)[7].record is not None and asker.sent == [TEXTS[7]]


def test_a_spent_budget_ends_the_asking_and_keeps_what_was_paid_for(tmp_path: Path) -> None:
    asker = Counting(budget=Budget(tokens=5_000))
    with pytest.raises(BudgetError, match="5,000"):
        run(asker, TEXTS, tmp_path, at_once=4)
    paid = len(asker.sent)
    with Store(tmp_path / "r1-03-judgements.sqlite") as store:
        assert len(store) == paid and 45 <= paid <= 54
    richer = Counting(budget=Budget(tokens=50_000))
    got = run(richer, TEXTS, tmp_path)
    assert all(g.record for g in got) and len(richer.sent) == len(TEXTS) - paid


def test_nobody_to_ask_ends_the_asking(tmp_path: Path) -> None:
    with pytest.raises(WorkerError, match="no such model"):
        run(Counting(faults={TEXTS[3]: WorkerError("there is no such model")}), TEXTS, tmp_path)


def test_a_reask_is_told_from_a_first_question_in_the_books(tmp_path: Path) -> None:
    run(Counting(faults={"abc": "no idea"}), ["abc", "d"], tmp_path)
    with Store(tmp_path / "r1-03-judgements.sqlite") as store:
        rows = store._read.execute("select operation, again from asked order by again").fetchall()
    assert rows == [("test/count", 0), ("test/count", 0), ("test/count", 1), ("test/count", 2)]


def test_a_faulty_server_leaves_results_or_reasons(tmp_path: Path) -> None:
    """One in ten attempts fails on the way, and one reply in ten is malformed."""
    draw = Random(3)

    def script(body: dict[str, Any], server: Any) -> Any:
        kind, text = draw.random(), body["messages"][1]["content"].split("\n")[1]
        good = json.dumps({"count": len(text), "sure": True})
        if kind < 0.04:
            return error(429, "slow down", retry_after="0.01")
        if kind < 0.08:
            return error(500, "oops")
        if kind < 0.10:
            return b""
        if kind < 0.20:
            return said(
                draw.choice([good[:-3], "<html>", good.replace("true", "maybe"), "", "[1, 2]", good + good + "{'"])
            )
        return said(good)

    with serving(script) as server:
        got = run(endpoint_of(server), TEXTS, tmp_path, reasks=1)
    assert len(got) == len(TEXTS)
    for text, answered in zip(TEXTS, got, strict=True):
        assert (answered.record is None) == bool(answered.unscored)
        assert answered.record is None or answered.record.count == len(text)
    lost = [answered.unscored for answered in got if answered.record is None]
    assert len(lost) < 20 and all(reason.startswith(("unreadable", "no reply")) for reason in lost)


def test_two_stages_share_the_store_and_one_purse(tmp_path: Path) -> None:
    from burnish.llm.flow import Left, tally
    from burnish.llm.operations import asking, run_asking

    writer = Counting(identity="writer", faults={"x1": "no idea"}, budget=Budget(tokens=100_000))
    judge = Counting(identity="judge")
    work = SimpleNamespace(requests=tmp_path / "r1-01-prompts.sqlite", progress=lambda *words: told.append(words))
    told: list[Any] = []

    def stages(askers: Any) -> list:
        def even(item: str, got: Answered) -> Any:
            return item + "!" if got.record.count % 2 == 0 else Left(reason="odd")

        return [
            asking(COUNT, askers[0], record=lambda item: Text(text=item), then=even, at_once=8),
            asking(COUNT, askers[1], record=lambda item: Text(text=item), then=lambda item, got: got.record.count),
        ]

    def go() -> list:
        return run_asking(TEXTS, stages, askers=[writer, judge], total=len(TEXTS), work=work)

    fates = go()
    counts = tally(fates)
    even = [len(text) for text in TEXTS if len(text) % 2 == 0 and text != "x1"]
    assert [fate.value for fate in fates if fate.left is None] == [length + 1 for length in even]
    assert counts["unscored"] == {"test/count: unreadable": 1} and counts["items"] == len(TEXTS)
    assert counts["left"] == {"odd": len(TEXTS) - 1 - len(even)} and len(judge.sent) == len(even)
    assert told[-1][:2] == (200, 200) and "cost 0, 0.5% unscored" in told[-1][2]
    writer.sent.clear(), judge.sent.clear()
    assert go() == fates and writer.sent == judge.sent == []
    writer.budget = Budget(tokens=25_000)
    with pytest.raises(BudgetError):
        run_asking([f"{n}" for n in range(1000, 1300)], stages, askers=[writer, judge], work=work)


def test_a_server_that_fails_too_many_ends_the_step_and_the_next_start_asks_only_those(tmp_path: Path) -> None:
    down = Reply(failure="no answer after 6 tries: 500 oops", passing=True)
    asker = Counting(faults=dict.fromkeys(TEXTS[:5], down))
    got = run(asker, TEXTS[:25], tmp_path)  # 5 of 25 are no more than a fifth
    assert sum(answered.record is None for answered in got) == 5
    asker = Counting(faults=dict.fromkeys(TEXTS[:6], down))
    with pytest.raises(WorkerError, match=r"6 of 25 questions to counting got no answer.*500 oops.*the same command"):
        run(asker, TEXTS[:25], tmp_path / "2")
    asker.faults.clear(), asker.sent.clear()
    assert all(answered.record for answered in run(asker, TEXTS[:25], tmp_path / "2"))
    assert sorted(asker.sent) == sorted(TEXTS[:6])


def test_failures_for_good_end_a_step_only_when_nothing_came(tmp_path: Path) -> None:
    long = Reply(failure="400 too long")
    some = run(Counting(faults=dict.fromkeys(TEXTS[:19], long)), TEXTS[:20], tmp_path)
    assert sum(answered.record is None for answered in some) == 19
    asker = Counting(faults=dict.fromkeys(TEXTS[:20], long))
    for _ in range(2):  # the same again: they are kept
        with pytest.raises(WorkerError, match=r"all 20 questions.*400 too long.*--forget-failures"):
            run(asker, TEXTS[:20], tmp_path / "2")
    assert len(asker.sent) == 20
    assert forget_failures(tmp_path / "2") == {"r1-03-judgements": 20}
    asker.faults.clear()
    assert all(answered.record for answered in run(asker, TEXTS[:20], tmp_path / "2"))


def test_a_model_that_no_reply_can_be_read_of_is_not_asked_to_the_end(tmp_path: Path) -> None:
    asker = Counting(faults=dict.fromkeys(TEXTS, "I like cheese."))
    with pytest.raises(WorkerError, match=r"none of the first 30 replies.*test/count.*'I like cheese\.'"):
        run(asker, TEXTS, tmp_path, at_once=4)
    assert 90 <= len(asker.sent) <= 102
    asker = Counting(faults={**dict.fromkeys(TEXTS, "I like cheese."), TEXTS[0]: " "})
    del asker.faults[TEXTS[5]]
    got = run(asker, TEXTS, tmp_path / "2", at_once=4)  # one that could be read, and it may go on
    assert sum(answered.record is None for answered in got) == len(TEXTS) - 1

    assert forget_unreadable(tmp_path / "2") == {"r1-03-judgements": 3 * (len(TEXTS) - 1)}
    asker.faults.clear(), asker.sent.clear()
    assert all(answered.record for answered in run(asker, TEXTS, tmp_path / "2"))
    assert len(asker.sent) == len(TEXTS) - 1 and TEXTS[5] not in asker.sent
