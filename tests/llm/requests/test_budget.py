"""Budgets, prices, estimates, and the books of a run."""

from __future__ import annotations

import json
import logging
import sqlite3
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.errors import BudgetError, DataError, RunError, SettingsError
from burnish.llm.requests import Budget, Reply, Request, Store, Usage, ask_all, books, estimate, price_of, run
from tests.llm.requests.conftest import ask, question

MODEL = "openai:gpt-4o-mini-2024-07-18"


class Priced:
    """Every reply costs 10 + 10 tokens; every tenth is refused."""

    identity = MODEL

    def __init__(self) -> None:
        self.asked = 0

    async def ask(self, request: Request) -> Reply:
        self.asked += 1
        if request.messages[0].content.endswith("9"):
            return Reply(failure="status 400: too long", finish="failure", seconds=9.0)
        return Reply(text="x", usage=Usage(prompt=10, completion=10, cached=4), seconds=0.25 + self.asked / 1000)


def rows(count: int, **more: Any) -> list[Request]:
    return [question(str(i), **{"model": MODEL, **more}) for i in range(count)]


@pytest.mark.parametrize("limits", [{"tokens": 1000}, {"step_tokens": 1000}])
def test_the_limit_stops_keeps_and_names_the_setting(
    limits: dict[str, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path, asker = tmp_path / "requests" / "01-a.sqlite", Priced()
    (setting,) = limits
    with caplog.at_level(logging.WARNING), pytest.raises(BudgetError, match=f"budget's {setting} for this"):
        ask(rows(500), asker, path, budget=Budget(**limits))
    assert [f"80 % of the budget's {setting}" in message for message in caplog.messages] == [True]
    with Store(path) as store:
        assert len(store) == asker.asked
    ((tokens,),) = sqlite3.connect(path).execute("select sum(prompt_tokens + completion_tokens) from asked")
    assert 940 <= tokens <= 1000
    with pytest.raises(BudgetError):
        ask(rows(500), asker, path, budget=Budget(**limits))
    assert asker.asked <= len(rows(500)) and tokens + 20 >= 980
    assert len(ask(rows(500), asker, path, budget=Budget(tokens=10**6))) == 500 == asker.asked


def test_a_run_has_one_budget_and_each_step_its_own(tmp_path: Path) -> None:
    folder, asker = tmp_path / "requests", Priced()
    ask(rows(20), asker, folder / "01-a.sqlite", budget=Budget(step_tokens=500, tokens=600))
    ask(rows(10, index=1), asker, folder / "02-b.sqlite", budget=Budget(step_tokens=500, tokens=600))
    with pytest.raises(BudgetError, match="tokens for this run is used up"):
        ask(rows(20, index=2), asker, folder / "03-c.sqlite", budget=Budget(step_tokens=500, tokens=600))


def test_money_is_counted_and_limited(tmp_path: Path) -> None:
    each = price_of(MODEL).of(10, 4, 10)
    assert each == pytest.approx((6 * 0.15 + 4 * 0.075 + 10 * 0.6) / 1e6)
    path = tmp_path / "requests" / "a.sqlite"
    with pytest.raises(BudgetError, match="money"):
        ask(rows(500), Priced(), path, budget=Budget(money=50 * each))
    assert books(tmp_path, by=())[0].money == pytest.approx(50 * each, rel=0.03)
    with pytest.raises(SettingsError, match="no price for openai:mine"):
        ask(rows(5, model="openai:mine"), Priced(), path, budget=Budget(money=1.0))


def test_askers_may_share_a_purse(tmp_path: Path) -> None:
    async def scene() -> None:
        with Store(tmp_path / "requests" / "a.sqlite") as store:
            purse = Budget(tokens=400).open(store)
            first = [pair async for pair in ask_all(rows(10), Priced(), store=store, budget=purse)]
            assert len(first) == 10 and purse.run_tokens == 180
            with pytest.raises(BudgetError):
                async for _ in ask_all(rows(100, index=1), Priced(), store=store, budget=purse):
                    pass
            assert 360 <= purse.run_tokens <= 400 and purse.idle()

    run(scene())


def test_prices_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert price_of("openai:gpt-4.1-mini").completion == 1.6 and price_of("gpt-4o").prompt == 2.5
    assert price_of("openai:qwen") is None and price_of("0123abcd") is None
    table = tmp_path / "prices.json"
    table.write_text(json.dumps({"prices": {"Org/Mine": [1, 2, 3]}}))
    monkeypatch.setenv("BURNISH_PRICES", str(table))
    assert price_of("openai+ids:org/mine").completion == 3 and price_of("gpt-4o") is None
    monkeypatch.setenv("BURNISH_PRICES", str(tmp_path / "none.json"))
    with pytest.raises(DataError, match="no table of prices"):
        price_of("gpt-4o")


@pytest.mark.parametrize("limits", [{"tokens": 0}, {"money": -1.0}, {"step_money": float("nan")}])
def test_a_limit_of_nothing_is_refused(limits: dict[str, float]) -> None:
    with pytest.raises(SettingsError, match=next(iter(limits))):
        Budget(**limits)


def test_an_estimate_asks_nobody_and_leaves_out_what_is_kept(tmp_path: Path) -> None:
    path, asker = tmp_path / "a.sqlite", Priced()
    ask(rows(10), asker, path)
    with Store(path) as store:
        told = estimate([*rows(30), *rows(2)], store)
    assert (told.requests, told.reused, asker.asked) == (20, 12, 10)
    assert told.most_completion_tokens == 160 and told.prompt_tokens == 20 * 5
    assert told.most_money == pytest.approx(price_of(MODEL).of(100, 0, 160))
    assert estimate(rows(3, model="openai:mine")).most_money is None


def test_the_books_tell_each_step_and_operation(tmp_path: Path) -> None:
    folder = tmp_path / "requests"
    ask(rows(100, operation="tag"), Priced(), folder / "01-tags.sqlite")
    ask(rows(50, operation="grade", index=1), Priced(), folder / "01-tags.sqlite")
    ask(rows(10, operation="grade", again=1), Priced(), folder / "r1-02-grades.sqlite")
    lines = {(line.step, line.operation): line for line in books(tmp_path)}
    assert list(lines) == [("01-tags", "grade"), ("01-tags", "tag"), ("r1-02-grades", "grade")]
    tag = lines["01-tags", "tag"]
    assert (tag.requests, tag.failures, tag.again, tag.prompt_tokens, tag.completion_tokens) == (100, 10, 0, 900, 900)
    assert tag.latency[0] == pytest.approx(0.30, abs=0.01) and tag.latency[2] < 1.0
    assert lines["r1-02-grades", "grade"].again == 10
    assert [line.requests for line in books(tmp_path, by=("operation",))] == [60, 100]
    told = CliRunner().invoke(app, ["requests", str(tmp_path), "--by", "step"]).stdout.splitlines()
    assert [line.split()[:3] for line in told[1:]] == [
        ["01-tags", "150", "15"],
        ["r1-02-grades", "10", "1"],
        ["all", "160", "16"],
    ]
    found = json.loads(CliRunner().invoke(app, ["requests", str(tmp_path), "--json"]).stdout)
    assert len(found) == 4 and found[-1]["requests"] == 160
    told = CliRunner().invoke(app, ["requests", str(tmp_path), "--forget-failures"])
    assert "16 failures forgotten" in told.stderr and books(tmp_path, by=())[0].requests == 144
    with pytest.raises(RunError, match="holds no requests"):
        books(tmp_path / "other")
