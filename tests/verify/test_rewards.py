"""Rewards as functions, from threads, asyncio and processes; and files of rows, resumed and with workers."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import pickle
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import DataError, SettingsError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response, walk_answered
from burnish.runs.work import StepWork
from burnish.verify import CHECKERS, rewards
from burnish.verify.rewards import Line, Reward, check, reward, verify_rows, with_executor

ANSWERS = [f"The answer is {n}." for n in range(200)]
GOLD = [str(n - n % 3 % 2) for n in range(200)]  # wrong where n % 3 == 1
WANTED = [0.0 if n % 3 == 1 else 1.0 for n in range(200)]


def test_every_checker_is_a_function() -> None:
    for name in CHECKERS:
        assert reward(name) == Reward(checker=CHECKERS[name])
        if name.isidentifier():
            assert getattr(rewards, name) == reward(name)
    assert rewards.math("The answer is 72.", "72").correct is True
    assert rewards.math("It is 71.", "72").correct is False
    assert rewards.math("72", "seventy").correct is False
    assert rewards.math("72", "\\foo{").correct is None
    asked = json.dumps([{"id": "no_comma", "kwargs": {}}])
    assert rewards.constraints("No commas here", asked).correct is True
    assert reward("math").scores(["72", "71", "72"], ["72", "72", "\\foo{"]) == [1.0, 0.0, None]
    with pytest.raises(SettingsError, match="did you mean 'math'"):
        reward("maths")
    with pytest.raises(AttributeError, match="no attribute 'zzq'"):
        _ = rewards.zzq


def _scores(place: int) -> float | None:
    return reward("math").scores([ANSWERS[place]], [GOLD[place]])[0]


def test_rewards_from_threads_asyncio_and_processes() -> None:
    function = pickle.loads(pickle.dumps(reward("math")))
    assert function.scores(ANSWERS, GOLD) == WANTED
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda n: function(ANSWERS[n], GOLD[n]).correct, range(200)))
    assert [float(correct) for correct in found] == WANTED

    async def gather() -> list[Verdict]:
        return await asyncio.gather(*(asyncio.to_thread(function, ANSWERS[n], GOLD[n]) for n in range(200)))

    assert [float(verdict.correct) for verdict in asyncio.run(gather())] == WANTED
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert list(pool.map(_scores, range(200), chunksize=50)) == WANTED
        assert list(pool.map(function, ANSWERS[:4], GOLD[:4])) == [function(*one) for one in zip(ANSWERS, GOLD)][:4]


def test_rewards_from_ray() -> None:
    ray = pytest.importorskip("ray", reason="Ray is not installed; pip install burnish[ray]")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        remote = ray.remote(reward("math").__class__.__call__)
        found = ray.get([remote.remote(reward("math"), ANSWERS[n], GOLD[n]) for n in range(20)])
        assert [float(verdict.correct) for verdict in found] == WANTED[:20]
    finally:
        ray.shutdown()


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """Right when the answer is its reference; counts what it is asked, and breaks where it is told to."""

    name: str = "counting"
    seen: list[str] = field(default_factory=list)
    stop: str = ""
    executor: Any = None

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        if response.text == self.stop:
            raise KeyboardInterrupt
        if response.text == "fault":
            raise ZeroDivisionError("oh")
        if response.text == "data":
            raise DataError("the reference is odd")
        if response.text == "setting":
            raise SettingsError("there is no sandbox")
        self.seen.append(response.text)
        return Verdict(correct=response.text == prompt.reference, reason="compared")


def test_a_fault_never_becomes_a_score() -> None:
    function = Reward(checker=Counting())
    assert function("fault") == Verdict(correct=None, reason="the checker counting failed: ZeroDivisionError: oh")
    assert function("data") == Verdict(correct=None, reason="the reference is odd")
    with pytest.raises(SettingsError, match="no sandbox"):
        function("setting")


def test_an_executor_is_given_to_those_that_have_one() -> None:
    assert with_executor(Counting(), "here").executor == "here"  # type: ignore[arg-type, union-attr]
    assert with_executor(CHECKERS["math"], "here") is CHECKERS["math"]  # type: ignore[arg-type]
    assert check(with_executor(Counting(), "x"), *_pair("a", "a")).correct is True  # type: ignore[arg-type]


def _pair(answer: str, reference: str) -> tuple[Prompt, Response]:
    from burnish.records import Message

    prompt = Prompt(messages=(Message(role="user", content="q"),), reference=reference)
    return prompt, Response(prompt=prompt.id, messages=(Message(role="assistant", content=answer),))


def written(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


ROWS: list[Any] = [
    {"prompt": "2+2?", "response": "4", "reference": 4, "ability": "add", "checker": "math", "mine": [1]},
    {"prompt": "2+3?", "completions": ["5", "6"], "reference": "5", "ability": "add", "checker": "math"},
    {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "hello, you"}],
     "checker": "constraints", "reference": [{"id": "no_comma", "kwargs": {}}, {"id": "lowercase", "kwargs": {}}]},
    {"prompt": "x", "response": "y", "ability": "none"},
    {"prompt": "x", "response": "y", "checker": "zzq"},
    {"prompt": "x", "response": "y", "checker": "constraints", "reference": [{"id": "zzq"}]},
    "{broken",
    {"other": 1},
    {"prompt": "\ud83d", "response": "y"},
]  # fmt: skip


def test_rows_of_all_forms_with_their_own_checkers(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS)
    found = verify_rows(list(walk_answered(path)))
    assert [row["verdict"] for row in found.rows] == [True, True, False, False, None, None, None, None, None, None]
    assert [row["reward"] for row in found.rows] == [1, 1, 0, 0, None, None, None, None, None, None]
    assert found.bad == 3
    assert found.rows[0]["mine"] == [1]
    assert [row.get("answer") for row in found.rows[:4]] == [None, "1", "2", None]
    assert found.rows[3]["parts"] == [{"id": "no_comma", "verdict": False}, {"id": "lowercase", "verdict": True}]
    assert found.rows[4]["reason"].startswith("the row names no checker")
    assert found.rows[5]["reason"].startswith("there is no checker 'zzq'")
    assert "zzq" in found.rows[6]["reason"]
    assert found.rows[7]["reason"].startswith(f"unreadable row: {path}:7: the line is not valid JSON")
    assert found.rows[7]["text"] == "{broken"
    assert found.rows[8]["other"] == 1 and f"{path}:8" in found.rows[8]["reason"]
    table = {(line.by, line.name): line for line in found.table}
    assert table[("all", "")] == Line(by="all", name="", n=7, correct=2, wrong=2, unscored=3)
    assert table[("checker", "math")] == Line(by="checker", name="math", n=3, correct=2, wrong=1, unscored=0)
    assert table[("ability", "add")].n == 3
    assert table[("constraint", "lowercase")] == Line(
        by="constraint", name="lowercase", n=1, correct=1, wrong=0, unscored=0
    )
    assert found.table[0].by == "all"


def test_one_checker_for_all_rows(tmp_path: Path) -> None:
    path = written(tmp_path / "rows.jsonl", ROWS[:4])
    assert [row["verdict"] for row in verify_rows(list(walk_answered(path)), "math").rows][:3] == [True, True, False]
    with pytest.raises(SettingsError, match="there is no checker 'mth'"):
        verify_rows([], "mth")
    clash = written(tmp_path / "clash.jsonl", [{**ROWS[0], "reason": "mine"}])
    rows = list(walk_answered(clash))
    with pytest.raises(DataError, match="has a column 'reason' already"):
        verify_rows(rows)
    named = verify_rows(rows, prefix="math_").rows[0]
    assert named["reason"] == "mine" and named["math_verdict"] is True


def test_an_interrupted_file_goes_on_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "rows.jsonl", [{"prompt": f"{n}?", "response": str(n)} for n in range(50)])
    rows = list(walk_answered(path))
    first, second = Counting(stop="30"), Counting()
    work = StepWork(tmp_path / "work", "one")
    with pytest.raises(KeyboardInterrupt):
        verify_rows(rows, "counting", checkers={"counting": first}, work=work)
    work.close()
    again = StepWork(tmp_path / "work", "one")
    found = verify_rows(rows, "counting", checkers={"counting": second}, work=again)
    assert len(first.seen) == 30 and second.seen == [str(n) for n in range(30, 50)]
    fresh = Counting()
    assert verify_rows(rows, "counting", checkers={"counting": fresh}).rows == found.rows and len(fresh.seen) == 50
    again.close()


def test_workers_give_the_same_verdicts_and_progress_is_told(tmp_path: Path) -> None:
    path = written(
        tmp_path / "rows.jsonl",
        [{"prompt": f"{n}?", "response": ANSWERS[n], "reference": GOLD[n]} for n in range(200)],
    )
    rows = list(walk_answered(path))
    told: list[tuple[int, int, str]] = []
    work = StepWork(tmp_path / "work", "one", lambda *one: told.append(one))
    two = verify_rows(rows, "math", workers=2, work=work)
    work.close()
    assert two.rows == verify_rows(rows, "math").rows
    assert [row["reward"] for row in two.rows] == WANTED
    assert told[0][:2] == (0, 200) and told[-1][:2] == (200, 200) and "a second" in told[-1][2]


def test_what_is_no_text_is_taken_as_files_have_it() -> None:
    """Numbers, objects and lists as JSON; messages as in a data set of dialogues."""
    said = [{"role": "user", "content": "?"}, {"role": "assistant", "content": "72"}]
    assert rewards.math("72", 72).correct is True
    assert rewards.math(72, "72").correct is True
    assert rewards.math("72", 71.0).correct is False
    assert rewards.math("1e-5", 1e-5).correct is True
    assert rewards.math("72", ["71", "72"]).correct is True
    assert rewards.math("4", {"answer": "B", "options": {"A": "3", "B": "4"}}).correct is True
    assert rewards.math(said, "72").correct is True
    assert rewards.math(said[1], "72").correct is True
    parts = [{"role": "assistant", "content": [{"type": "text", "text": "72"}]}]
    assert rewards.math(parts, "72", said[:1]).correct is True
    assert reward("math").scores([said], ["72"]) == [1.0]
    asked = {"id": "no_comma", "kwargs": {}}
    assert rewards.constraints("No commas here", [asked]).correct is True
    for response, reference, words in (
        (None, "72", "the response must be a text.*None"),
        ([], "72", "the response is an empty list"),
        (said[:1], "72", "no message by the assistant"),
        ([{"role": "oracle", "content": "72"}], "72", "role 'oracle'"),
        ([{"role": "assistant", "content": None}], "72", "must be a text, found None"),
        ("72", None, "the reference is None"),
        ("72", {72}, "the reference is no JSON"),
    ):
        verdict = rewards.math(response, reference)
        assert verdict.correct is None
        assert re.search(words, verdict.reason), verdict.reason


def test_lists_of_unlike_length_are_refused() -> None:
    scores = reward("math").scores
    with pytest.raises(DataError, match="1 responses, 2 references; give one of each"):
        scores(["1"], ["1", "2"])
    with pytest.raises(DataError, match="1 responses, 1 references, 2 prompts"):
        scores(["1"], ["1"], ["a", "b"])
    with pytest.raises(DataError, match="responses must be a list"):
        scores("72", ["72"])


def test_the_form_for_trl() -> None:
    function = reward("math").trl(column="answer")
    assert function.__name__ == "math"
    assert pickle.loads(pickle.dumps(function)) == function
    completions = ["72", [{"role": "assistant", "content": "71"}], "72"]
    found = function(completions=completions, prompts=["a", "b", "c"], answer=["72", 72, "\\foo{"], completion_ids=[])
    assert found == [1.0, 0.0, None]
    with pytest.raises(DataError, match=r"no column 'answer' \(there is reference\)"):
        function(completions=["1"], reference=["1"])


def test_the_names_are_listed() -> None:
    assert {name for name in CHECKERS if name.isidentifier()} <= set(dir(rewards))
    assert {"reward", "Reward", "verify_rows"} <= set(dir(rewards))


def test_a_reference_may_be_data() -> None:
    asked = [{"id": "no_comma", "kwargs": {}}]
    assert rewards.constraints("a", asked).correct is True and rewards.constraints("a, b", asked).correct is False
    assert rewards.math("The answer is 72.", 72).correct is True
    assert rewards.math("The answer is 72.", None).correct is None
    assert reward("constraints").scores(["a", "a, b"], [asked, asked]) == [1.0, 0.0]
