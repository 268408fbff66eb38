"""Judges that score answers one by one (`protocols.Judge`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from burnish.errors import SettingsError
from burnish.judge.asking import Asking, How, judge_each, prompts_of
from burnish.judge.operations import ABSOLUTE, CODE_QUALITY, CRITIQUE, GOLDEN, QUALITY, RUBRIC, deciding
from burnish.judge.operations.records import OneAnswer, ReferencedAnswer, RubricAnswer, RubricText
from burnish.llm.operations import Operation, check_asker
from burnish.llm.requests import Asker
from burnish.protocols import Work
from burnish.records import Judgement, Prompt, Response

NO_REFERENCE = "the prompt has no golden answer"


def gold_text(prompt: Prompt) -> str:
    """The golden answer of a prompt in words: its reference, or the `answer` in it where that is a JSON object."""
    try:
        held = json.loads(prompt.reference)
    except ValueError:
        return prompt.reference
    if isinstance(held, dict) and isinstance(held.get("answer"), str):
        return held["answer"]
    return prompt.reference


def _score(result: Any) -> float:
    return result.score


@dataclass(frozen=True, slots=True, kw_only=True)
class Rubric(Asking):
    """Scores by a rubric: the weighted mean over its criteria, each on its own scale.

    Args:
        asker: who is asked.
        rubric: criteria with their levels, as data.
        reference: show the judge the prompt's golden answer, where it has one.
    """

    asker: Asker
    rubric: RubricText
    reference: bool = False
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"rubric {self.rubric.name}: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        records = [
            RubricAnswer(prompt=prompt, response=response, rubric=self.rubric,
                         reference=gold_text(prompt) if self.reference else "")
            for prompt, response in zip(prompts_of(prompts, responses), responses, strict=True)
        ]  # fmt: skip
        return judge_each(responses, records, _asking(self, RUBRIC, work), name=self.name, score=_score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden(Asking):
    """Scores 1 to 10 against the prompt's golden answer (Baichuan B22, mode 3); without one, unscored."""

    asker: Asker
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"golden answer: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        records = _referenced(prompts, responses)
        return judge_each(responses, records, _asking(self, GOLDEN, work), name=self.name, score=_score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Critique(Asking):
    """Writes a critique against the golden answer and scores inside one of four bands (GLM-4 G6).

    Args:
        asker: who is asked.
        bound: None for the score, 1 to 10; a number splits it hard: above it is 1, else 0.
    """

    asker: Asker
    bound: float | None = None
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"critique: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        def score(result: Any) -> float:
            return result.score if self.bound is None else float(result.score > self.bound)

        records = _referenced(prompts, responses)
        return judge_each(responses, records, _asking(self, CRITIQUE, work), name=self.name, score=score)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality(Asking):
    """Adds up yes-or-no points: three for a text, two for code (Llama 3 §3.10). With `code`, the code's two."""

    asker: Asker
    code: bool = False
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"{'code quality' if self.code else 'quality'}: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        operation = CODE_QUALITY if self.code else QUALITY
        return judge_each(responses, _plain(prompts, responses), _asking(self, operation, work), name=self.name,
                          score=_score)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Absolute(Asking):
    """Scores answers to open tasks 1 to 10 (Baichuan B22, mode 1)."""

    asker: Asker
    how: How = field(default_factory=How)

    @property
    def name(self) -> str:
        return f"absolute: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        return judge_each(responses, _plain(prompts, responses), _asking(self, ABSOLUTE, work), name=self.name,
                          score=_score)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """1 for yes, 0 for no: one of the questions that are decided about an answer, with or without a golden one.

    Args:
        asker: who is asked.
        question: the name of the operation: `solution`, `correctness`, `passes`, `informativeness`, `trick`, ...
    """

    asker: Asker
    question: str
    how: How = field(default_factory=How)

    def __post_init__(self) -> None:
        check_asker(self.asker, "Decision")
        if deciding(self.question).record not in (OneAnswer, ReferencedAnswer):
            raise SettingsError(f"{self.question!r} is not asked about one answer; ask the operation by itself")

    @property
    def name(self) -> str:
        return f"{self.question}: {self.asker.identity}"

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        operation = deciding(self.question)
        made = _plain if operation.record is OneAnswer else _referenced
        records: Sequence[Any] = made(prompts, responses)
        return judge_each(responses, records, _asking(self, operation, work), name=self.name,
                          score=lambda result: float(result.yes))  # fmt: skip


def _asking(judge: Any, operation: Operation[Any, Any], work: Work | None) -> Callable[[list[Any]], list[Any]]:
    return lambda records: judge.how.ask(operation, records, judge.asker, work)


def _plain(prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[OneAnswer]:
    pairs = zip(prompts_of(prompts, responses), responses, strict=True)
    return [OneAnswer(prompt=prompt, response=response) for prompt, response in pairs]


def _referenced(prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[ReferencedAnswer | str]:
    return [
        ReferencedAnswer(prompt=prompt, response=response, reference=gold_text(prompt))
        if gold_text(prompt)
        else NO_REFERENCE
        for prompt, response in zip(prompts_of(prompts, responses), responses, strict=True)
    ]
