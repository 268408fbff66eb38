"""Changed completions of real models, as chat replies: each gets a verdict in time, whatever it is."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest

from burnish.protocols import Executor
from burnish.verify.code import KINDS, candidate_of, humaneval_suite, mbpp_suite, run_suite
from burnish.verify.code.outcome import UNSCORED

Rows = Callable[[str], list[dict[str, Any]]]
SECONDS = 0.5
PIECES = (
    'while True: pass\n', 'import os, sys\n', 'sys.exit(0)\n', 'os._exit(0)\n', '```', '```python\n', '\n\n',
    '    ', '\t', 'return ', 'yield ', 'raise ', 'assert ', 'lambda: ', 'global x\n', 'del ', 'print(', ')',
    '(', ']', '[', ':', "'", '"""', '\\', '\x00', '\ud800', 'é', '10**9', '-1', '0', 'None', 'True', 'not ',
    'self', "exec('1')\n", 'async ', 'for i in iter(int, 1): ', "__import__('os').abort()\n", 'await ',
    'class A:\n', '@A\n', 'def ', '\r', '\x0c', '#', '# -*- coding: utf-7 -*-\n',
)  # fmt: skip
SWAPS = (
    ('<', '>='), ('>', '<'), ('==', '!='), ('+', '-'), ('-', '+'), ('*', '**'), ('and', 'or'), ('0', '1'),
    ('1', '2'), ('range', 'len'), ('return', 'yield'), ('return', 'print'), ('if ', 'while '), ('True', '0'),
    ('in ', 'not in '),
)  # fmt: skip


def changed(text: str, rng: random.Random) -> str:
    """A text with one to four small damages."""
    for _ in range(rng.choice((1, 1, 2, 4))):
        lines = text.splitlines(keepends=True) or [""]
        at, place = rng.randrange(len(lines)), rng.randrange(len(text) + 1)
        damage = rng.randrange(12)
        if damage == 0:
            del lines[at]
        elif damage == 1:
            lines.insert(at, rng.choice(PIECES))
        elif damage == 2:
            lines.insert(at, lines[rng.randrange(len(lines))])
        elif damage == 3:
            lines[at] = " " * rng.randrange(9) + lines[at].lstrip(" ")
        elif damage == 4:
            lines = [text[:place]]
        elif damage == 5:
            lines = [text[:place], rng.choice(PIECES), text[place:]]
        elif damage == 6:
            lines = [text[:place], text[place + rng.randrange(5) :]]
        elif damage >= 8:
            old, new = rng.choice(SWAPS)
            parts = text.split(old)
            cut = rng.randrange(1, len(parts)) if len(parts) > 1 else 1
            lines = [old.join(parts[:cut]), new if len(parts) > 1 else "", old.join(parts[cut:])]
        else:
            other = rng.choice("<>=+-*/%()[]{}:,.01")
            lines = [text[:place], other, text[place + 1 :]]
        text = "".join(lines)
    return rng.choice(("{}", "```python\n{}\n```", "Here:\n```\n{}", "{}\nDone.")).replace("{}", text)


def problems(rows: Rows) -> list[tuple[str, Any]]:
    humaneval = {row["task_id"]: humaneval_suite(row) for row in rows("human_eval/HumanEval")}
    mbpp = {f"Mbpp/{row['task_id']}": mbpp_suite(row) for row in rows("mbpp/mbpp")}
    found = [(r["completion"], humaneval[r["task_id"]]) for r in rows("human_eval/wizardcoder_completions")]
    return found + [(r["completion"], mbpp[r["task_id"]]) for r in rows("mbpp/wizardcoder_completions")]


def fuzz(executor: Executor, rows: Rows, count: int, *, threads: int) -> Counter[str]:
    given = problems(rows)

    def one(seed: int) -> str:
        rng = random.Random(seed)
        completion, suite = given[rng.randrange(len(given))]
        suite = replace(suite, seconds=SECONDS)
        reply = changed(completion, rng)
        begun = time.monotonic()
        outcome = run_suite(executor, candidate_of(reply, suite), suite)
        took = time.monotonic() - begun
        assert took < SECONDS * 2 + 8, (seed, took, outcome)
        assert outcome.passed is not None or outcome.message, (seed, outcome)  # unscored, and it says why
        assert outcome.kind in ("", UNSCORED, *KINDS), (seed, outcome)
        return outcome.kind

    with ThreadPoolExecutor(threads) as pool:
        return Counter(pool.map(one, range(count)))


def test_changed_completions(executor: Executor, rows: Rows) -> None:
    kinds = fuzz(executor, rows, 300, threads=2)
    assert kinds[""] > 20 and kinds["syntax"] > 20 and kinds["wrong_answer"] > 5, kinds


@pytest.mark.slow
def test_ten_thousand_changed_completions(executor: Executor, rows: Rows) -> None:
    kinds = fuzz(executor, rows, 10_000, threads=2)
    assert len(kinds) >= 8, kinds
