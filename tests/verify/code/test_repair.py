"""The repair loop: its states, its bound, its journal, and tests that a reply changes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from burnish.errors import DataError, WorkerError
from burnish.protocols import Executor, Work
from burnish.records import Message, Prompt, Response, Sampling
from burnish.verify.code import Loop, Outcome, State, Suite, repair_rate, run_repair, run_suite
from burnish.verify.code.repair import edited_tests

SUITE = Suite(tests=("assert f(2) == 4", "assert f(3) == 9"), seconds=1.0)
PROMPT = Prompt(messages=(Message(role="user", content="Write f(x), the square of x."),))
SAMPLING = Sampling(temperature=0.0, max_new_tokens=100)
GOOD = "```python\ndef f(x):\n    return x * x\n```"
WRONG = GOOD.replace("x * x", "x + x")
BROKEN = GOOD.replace("return", "retrun")
UNDEFINED = GOOD.replace("x * x", "pow2(x)")


class Scripted:
    """A client with given replies; keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies, self.asked = list(replies), []

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        assert len(prompts) == 1 and n == 1
        if not self.replies:
            raise WorkerError("the client is gone")
        self.asked.append(prompts[0])
        message = Message(role="assistant", content=self.replies.pop(0))
        return [Response(prompt=prompts[0].id, messages=(message,))]


class Kept(dict[str, Any]):
    def put(self, key: str, value: Any) -> None:
        self[key] = value


@pytest.fixture
def loop(executor: Executor) -> Loop:
    return Loop(suite=SUITE, check=lambda code, suite: run_suite(executor, code, suite))


def run(loop: Loop, *replies: str) -> tuple[State, Scripted]:
    client = Scripted(*replies)
    return run_repair(loop, PROMPT, client, sampling=SAMPLING), client


def test_a_right_draft_passes_at_once(loop: Loop) -> None:
    state, client = run(loop, GOOD)
    assert state.stage == "pass" and state.repairs == 0 and len(client.asked) == 1
    assert client.asked[0] == PROMPT and [m.role for m in state.messages] == ["user", "assistant"]


def test_each_kind_of_failure_is_told_and_repaired(loop: Loop) -> None:
    state, client = run(loop, BROKEN, UNDEFINED, WRONG, GOOD)
    assert state.stage == "pass" and state.repairs == 3
    assert [(a.stage, a.kind) for a in state.attempts] == [
        ("static", "syntax"),
        ("static", "name"),
        ("tests", "wrong_answer"),
        ("tests", ""),
    ]
    told = [m.content for m in state.messages if m.role == "user"][1:]
    assert "line 2" in told[0] and "undefined name 'pow2'" in told[1] and "gave 6, expected 9" in told[2]
    assert [m.role for m in state.messages] == ["user", "assistant"] * 4
    assert state.code == "def f(x):\n    return x * x\n"
    assert client.asked[3].messages == state.messages[:-1] and client.asked[3].parents == (PROMPT.id,)


def test_it_is_bounded(loop: Loop) -> None:
    state, client = run(loop, *[WRONG] * 9)
    assert state.stage == "reject" and state.repairs == 3 and len(client.asked) == 4 and "3 repairs" in state.reason
    with pytest.raises(DataError, match="ended"):
        loop.advance(state, GOOD)


def test_what_is_not_the_models_fault_is_no_repair(loop: Loop) -> None:
    state, client = run(loop, GOOD.replace("def", "import nosuchpackage\ndef"), GOOD)
    assert state.stage == "unscored" and len(client.asked) == 1 and "environment" in state.reason


def test_a_reply_without_code_is_told(loop: Loop) -> None:
    state, _ = run(loop, "", GOOD)
    assert state.stage == "pass" and "no code" in state.messages[2].content


def test_a_killed_loop_goes_on_where_it_was(loop: Loop) -> None:
    journal = Kept()
    with pytest.raises(WorkerError):
        run_repair(loop, PROMPT, Scripted(BROKEN, WRONG), sampling=SAMPLING, journal=journal)
    assert len(journal) == 2
    client = Scripted(GOOD)
    state = run_repair(loop, PROMPT, client, sampling=SAMPLING, journal=journal)
    whole, _ = run(loop, BROKEN, WRONG, GOOD)
    assert state == whole and len(client.asked) == 1
    assert run_repair(loop, PROMPT, Scripted(), sampling=SAMPLING, journal=journal) == whole


def test_the_tests_may_be_mended(executor: Executor) -> None:
    bad = Suite(tests=("assert f(2) == 4", "assert f(3) == 8"), seconds=1.0)
    loop = Loop(suite=bad, check=lambda code, suite: run_suite(executor, code, suite), edit_tests=True)
    mended = GOOD + "\nThe second test was wrong.\n```python\n# tests\nassert f(2) == 4\nassert f(3) == 9\n```"
    state, _ = run(loop, GOOD, mended)
    assert state.stage == "pass" and state.tests == ("assert f(2) == 4", "assert f(3) == 9")
    assert "`# tests`" in state.messages[2].content


@pytest.mark.parametrize("tests", ["assert True", "f(3)\nassert 1 == 1", "assert f(2) or True", "x = 3"])
def test_vacuous_tests_are_not_taken(executor: Executor, tests: str) -> None:
    loop = Loop(suite=SUITE, check=lambda code, suite: run_suite(executor, code, suite), edit_tests=True, limit=1)
    state, _ = run(loop, WRONG, WRONG + f"\n```python\n# tests\n{tests}\n```", GOOD)
    assert state.stage == "reject" and not any("1 == 1" in t or "or True" in t for t in state.tests), state


def test_tests_are_read_off_a_reply() -> None:
    assert edited_tests("```\n# Tests\nassert f(1)\nassert (\n  f(2))\n```") == ("assert f(1)", "assert f(2)")
    assert edited_tests("```\n# tests\nassert (\n```") == () and edited_tests(GOOD) == ()


def test_the_rate_counts_scored_dialogues_only() -> None:
    def check(code: str, suite: Suite) -> Outcome:
        raise AssertionError

    def state(stage: str, attempts: int) -> State:
        begun = Loop(suite=SUITE, check=check).begin(PROMPT.messages)
        kept = tuple(object() for _ in range(attempts))
        return State(stage=stage, messages=begun.messages, attempts=kept)  # type: ignore[arg-type]

    states = [state("pass", 1), state("pass", 2), state("reject", 4), state("pass", 1), state("unscored", 2)]
    assert repair_rate(states) == 0.25 and repair_rate([]) is None
