"""Scores against hand counts; unscored is never wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish.evaluate import (
    best_of_accuracy,
    bootstrap,
    paired_difference,
    pass_at_k,
    promoted,
    score_model,
    wilson,
)
from burnish.protocols import Verdict
from burnish.records import (
    Demonstration,
    Judgement,
    Message,
    Prompt,
    Response,
    Sampling,
    Score,
    read_parquet,
)

GREEDY = Sampling(temperature=0.0, max_new_tokens=8)


def said(text: str, role: str = "assistant") -> tuple[Message, ...]:
    return (Message(role=role, content=text),)


def question(text: str, gold: str, ability: str = "sums", checker: str = "exact") -> Prompt:
    return Prompt(messages=said(text, "user"), reference=gold, ability=ability, checker=checker)


@dataclass(frozen=True)
class Exact:
    """Right when the answer is the reference; cannot tell about `?`."""

    name: str = "exact"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        if response.text == "?":
            return Verdict(correct=None, reason="no number")
        return Verdict(correct=response.text == prompt.reference)


@dataclass(frozen=True)
class Scripted:
    """Answers by question; a question without answers gets none."""

    answers: dict[str, tuple[str, ...]]
    name: str = "scripted"

    def answer(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Any = None) -> list[Response]:
        return [
            Response(prompt=p.id, messages=said(text), model="m", index=i, parents=(p.id,))
            for p in prompts
            for i, text in enumerate(self.answers.get(p.messages[0].content, ())[:n])
        ]

    def refuse(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[Prompt, str, str]]:
        return [(p, "prompt longer than the context", "9 tokens") for p in prompts if p.messages[0].content == "long"]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


PROMPTS = [
    question("a", "1"),
    question("b", "2"),
    question("c", "3"),
    question("d", "4", "order"),
    question("e", "5", "order"),
    question("long", "6", "order"),
    question("f", "7", "order", "missing"),
    question("g", "8", "", ""),
]
ANSWERS = {"a": ("1",), "b": ("9",), "c": ("?",), "d": ("4",), "e": ("5",), "f": ("7",), "g": ("8",)}
CHECKERS = {"exact": Exact()}


def test_scores_by_ability_with_unscored_beside_them(tmp_path: Path) -> None:
    outcome = score_model(PROMPTS, client=Scripted(ANSWERS), checkers=CHECKERS, sampling=GREEDY, work=Bench(tmp_path))
    scores = {row.task: (row.value, row.n, row.unscored) for row in outcome.rows}
    assert scores == {"all": (3 / 4, 4, 4), "sums": (1 / 2, 2, 1), "order": (1.0, 2, 2)}
    assert all(row.metric == "accuracy" and row.model == "m" for row in outcome.rows)
    assert (outcome.rows[0].low, outcome.rows[0].high) == wilson(3, 4)
    assert outcome.metrics["accuracy"] == 3 / 4 and outcome.metrics["by_ability"] == {"sums": 1 / 2, "order": 1.0}
    assert outcome.counts() == {
        "taken": 8, "kept": 4, "dropped": {}, "unscored": {"no verdict": 3, "prompt longer than the context": 1}
    }  # fmt: skip
    details = {drop.parents[0]: drop.detail for drop in outcome.dropped}
    assert details == {
        PROMPTS[2].id: "no number",
        PROMPTS[5].id: "9 tokens",
        PROMPTS[6].id: "there is no checker 'missing' here",
        PROMPTS[7].id: "the prompt names no checker",
    }
    responses = read_parquet(tmp_path / "responses.parquet", Response)
    verdicts = read_parquet(tmp_path / "verdicts.parquet", Judgement)
    assert [v.responses for v in verdicts] == [(r.id,) for r in responses] and len(responses) == 7
    assert [v.score for v in verdicts] == [1.0, 0.0, None, 1.0, 1.0, None, None]
    assert [bool(v.unscored) for v in verdicts] == [v.score is None for v in verdicts]


def test_several_answers_a_prompt_count_as_one_prompt() -> None:
    answers = {"a": ("1", "1", "0", "?"), "b": ("0", "0", "0", "0"), "c": ("3", "3", "3", "3")}
    outcome = score_model(PROMPTS[:3], client=Scripted(answers), checkers=CHECKERS, sampling=GREEDY, n=4)
    whole = outcome.rows[0]
    assert whole.value == pytest.approx((2 / 3 + 0 + 1) / 3) and (whole.n, whole.unscored) == (3, 1)
    assert outcome.metrics["pass@4"] == 1 / 2  # a has an answer without a verdict, so it leaves this mean
    assert (whole.low, whole.high) == bootstrap([2 / 3, 0.0, 1.0])


def test_nothing_scored_is_no_number() -> None:
    outcome = score_model(PROMPTS[5:], client=Scripted({}), checkers=CHECKERS, sampling=GREEDY)
    whole = outcome.rows[0]
    assert (whole.value, whole.low, whole.high, whole.n, whole.unscored) == (None, None, None, 0, 3)
    assert outcome.metrics["accuracy"] is None and outcome.counts()["kept"] == 0
    empty = score_model([], client=Scripted({}), checkers=CHECKERS, sampling=GREEDY)
    assert empty.rows[0].value is None and empty.counts()["taken"] == 0


def test_best_of_k_beside_the_mean_of_k() -> None:
    drawn = {"a": ("1", "0", "0", "0"), "b": ("2", "2", "0", "?"), "c": ("0", "0", "0", "0"), "d": ("?", "4", "4", "4")}
    samples = Scripted(drawn).answer(PROMPTS[:4], n=4, sampling=GREEDY)
    picks = [samples[0], samples[6], samples[8], samples[12]]  # right, wrong, wrong, without a verdict
    best = [
        Demonstration(prompt=r.prompt, context=(), response=r.messages, model="m", parents=(r.id,) if i % 2 else ())
        for i, r in enumerate(picks)
    ]
    stray = Demonstration(prompt=PROMPTS[0].id, context=(), response=said("never drawn"))
    outcome = best_of_accuracy(PROMPTS, samples, [*best, stray], checkers=CHECKERS)
    values = {row.task: row.value for row in outcome.rows}
    expected = {"best of K": 1 / 3, "mean of K": (1 / 4 + 2 / 3) / 3, "pass@K": 2 / 3}
    assert values == pytest.approx(expected)
    assert outcome.metrics["gain"] == pytest.approx(1 / 3 - (1 / 4 + 2 / 3) / 3)
    assert outcome.counts()["unscored"] == {"its response is not among the samples": 1, "no verdict": 1}
    assert outcome.counts()["kept"] == 3


def test_promotion_is_written_down() -> None:
    rows = [
        Score(model="m", task="all", metric="accuracy", value=0.5),
        Score(model="m", task="x", metric="accuracy", value=1.0),
    ]
    outcome = promoted(rows, name="dpo", second="sft")
    assert outcome.rows == rows and outcome.metrics == {"promoted": "dpo", "second": "sft", "accuracy": 0.5}


def test_wilson_against_published_values() -> None:
    """Newcombe 1998, Statistics in Medicine 17, Table I: score intervals without continuity correction."""
    table = ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718))
    for successes, n, low, high in table:
        found = wilson(successes, n)
        assert found == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert wilson(0, 0) == (None, None) and wilson(7, 7)[1] == 1.0
    with pytest.raises(ValueError):
        wilson(3, 2)


def test_pass_at_k_by_hand() -> None:
    assert pass_at_k(4, 2, 1) == 0.5
    assert pass_at_k(4, 2, 2) == pytest.approx(1 - 1 / 6)  # one of six pairs holds no right answer
    assert pass_at_k(4, 2, 3) == 1.0 and pass_at_k(5, 0, 5) == 0.0
    for wrong in ((4, 5, 1), (4, 1, 5), (4, 1, 0)):
        with pytest.raises(ValueError):
            pass_at_k(*wrong)


def test_bootstrap_covers_and_repeats() -> None:
    values = [float(i % 10 < 3) for i in range(400)]
    low, high = bootstrap(values)
    normal = 1.96 * (0.3 * 0.7 / 400) ** 0.5
    assert low == pytest.approx(0.3 - normal, abs=0.01) and high == pytest.approx(0.3 + normal, abs=0.01)
    assert bootstrap(values) == (low, high) != bootstrap(values, seed=1)
    assert bootstrap([]) == (None, None) and bootstrap([0.5]) == (0.5, 0.5)


def test_paired_difference_by_hand() -> None:
    middle, low, high = paired_difference([0.0, 0.0, 1.0, 1.0], [1.0, 0.0, 1.0, 1.0])
    assert middle == 0.25
    assert high - middle == pytest.approx(1.959964 * (0.25 / 4) ** 0.5, abs=1e-6)  # variance 3/4 / 3
    assert low == pytest.approx(2 * middle - high)
    assert paired_difference([], []) == (None, None, None) and paired_difference([1.0], [3.0]) == (2.0, None, None)
    with pytest.raises(ValueError):
        paired_difference([1.0], [])


def test_the_room_and_the_judge_import_without_torch() -> None:
    code = "import json, sys, burnish.evaluate, burnish.judge; print(json.dumps('torch' in sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False
