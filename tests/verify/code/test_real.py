"""HumanEval, MBPP and the published completions: reference code passes, completions score as published."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest

from burnish.protocols import Executor
from burnish.verify.code import Suite, candidate_of, humaneval_suite, mbpp_suite, run_suite

Rows = Callable[[str], list[dict[str, Any]]]
# file -> how many of the rows that are here pass; the published scores are of all rows.
HUMANEVAL = {
    "T0.0_N1_humaneval_wizardcoder33b_v1.1.jsonl": 74,
    "T0.0_N1_humaneval_wizardcoder33b_v1.1_vllm.jsonl": 74,
    "T0.0_N1_reproduce.results.59.8.jsonl": 55,
}
MBPP = {"T0.0_N1_MBPP_wizardcoder33b_v1.1.jsonl": 121, "T0.0_N1_MBPP_wizardcoder33b_v1.1_vllm.jsonl": 120}


@pytest.fixture(scope="module")
def humaneval(rows: Rows) -> dict[str, tuple[dict[str, Any], Suite]]:
    return {row["task_id"]: (row, humaneval_suite(row)) for row in rows("human_eval/HumanEval")}


@pytest.fixture(scope="module")
def mbpp(rows: Rows) -> dict[str, tuple[dict[str, Any], Suite]]:
    return {f"Mbpp/{row['task_id']}": (row, mbpp_suite(row)) for row in rows("mbpp/mbpp")}


def test_humaneval_reference(executor: Executor, humaneval: Any) -> None:
    failed = [
        (task, outcome)
        for task, (row, suite) in humaneval.items()
        if not (outcome := run_suite(executor, row["prompt"] + row["canonical_solution"], suite)).passed
    ]
    assert len(humaneval) == 82 and failed == []


def test_humaneval_without_a_body_fails(executor: Executor, humaneval: Any) -> None:
    for task, (row, suite) in humaneval.items():
        outcome = run_suite(executor, row["prompt"].rstrip() + "\n    pass\n", suite)
        assert outcome.passed is False, (task, outcome)


def test_some_of_mbpp_reference(executor: Executor, mbpp: Any) -> None:
    chosen = random.Random(5).sample(sorted(mbpp), 100) + [f"Mbpp/{n}" for n in (367, 486, 601, 912)]
    for task in chosen:
        row, suite = mbpp[task]
        outcome = run_suite(executor, row["code"].replace("\r\n", "\n"), suite)
        assert outcome.passed is True, (task, outcome)


@pytest.mark.slow
def test_mbpp_reference(executor: Executor, mbpp: Any) -> None:
    passed = [
        run_suite(executor, row["code"].replace("\r\n", "\n"), suite).passed is True for row, suite in mbpp.values()
    ]
    assert len(passed) == 492 and all(passed)


def score(executor: Executor, rows: list[dict[str, Any]], suites: Any, file: str) -> int:
    total = 0
    for row in rows:
        if row["file"] == file:
            suite = suites[row["task_id"]][1]
            total += run_suite(executor, candidate_of(row["completion"], suite), suite).passed is True
    return total


@pytest.mark.parametrize("file", HUMANEVAL)
def test_humaneval_completions(executor: Executor, rows: Rows, humaneval: Any, file: str) -> None:
    assert score(executor, rows("human_eval/wizardcoder_completions"), humaneval, file) == HUMANEVAL[file]


@pytest.mark.slow
@pytest.mark.parametrize("file", MBPP)
def test_mbpp_completions(executor: Executor, rows: Rows, mbpp: Any, file: str) -> None:
    assert score(executor, rows("mbpp/wizardcoder_completions"), mbpp, file) == MBPP[file]


def test_fenced_and_repeated_forms_score_the_same(executor: Executor, rows: Rows, humaneval: Any) -> None:
    """A completion in a chat reply, with prose and with the prompt repeated, is the same candidate."""
    for row in rows("human_eval/wizardcoder_completions")[:24]:
        problem, suite = humaneval[row["task_id"]]
        plain = run_suite(executor, candidate_of(row["completion"], suite), suite).passed
        for reply in (
            f"Sure! Here is the code:\n\n```python\n{row['completion']}\n```\n\nIt runs in O(n).",
            f"```\n{row['completion']}\n```",
            f"First the idea.\n```python\n{row['completion']}",
        ):
            assert run_suite(executor, candidate_of(reply, suite), suite).passed is plain, (row["task_id"], reply)
        whole = problem["prompt"] + problem["canonical_solution"]
        for reply in (whole, f"```py\n{whole}```", problem["canonical_solution"]):
            assert run_suite(executor, candidate_of(reply, suite), suite).passed is True, (row["task_id"], reply)
