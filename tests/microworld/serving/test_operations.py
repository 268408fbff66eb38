"""A judge over the socket says what the oracle says in process, whatever it had to be asked twice."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from burnish import microworld
from burnish.judge.operations import OPERATIONS
from burnish.judge.operations.records import (
    Comparison,
    Criterion,
    OneAnswer,
    OnePrompt,
    ReferencedAnswer,
    RubricAnswer,
    RubricText,
    asked,
    said,
)
from burnish.llm.operations import Operation, answer
from burnish.llm.requests import Endpoint
from burnish.microworld.judging import oracle_answers, scripted_judge
from burnish.microworld.serving import Faults, oracle_server
from burnish.records import Prompt, Sampling

KNOWN = [operation for operation in OPERATIONS if operation.id in oracle_answers(microworld.Oracle())]
RUBRIC = RubricText(
    name="two",
    criteria=(
        Criterion(name="truth", question="Is it true?", levels=((1, "no"), (2, "partly"), (3, "yes"))),
        Criterion(name="form", question="Is it\tin form?", levels=((0, "no"), (1, "yes: quite"))),
    ),
)


def record_of(kind: type, prompt: Prompt, answers: tuple[str, str]) -> Any:
    first, second = (said(prompt, text, index) for index, text in enumerate(answers))
    if kind is Comparison:
        return Comparison(prompt=prompt, first=first, second=second)
    if kind is OneAnswer:
        return OneAnswer(prompt=prompt, response=first)
    if kind is ReferencedAnswer:
        return ReferencedAnswer(prompt=prompt, response=first, reference="The gold answer.")
    if kind is RubricAnswer:
        return RubricAnswer(prompt=prompt, response=first, rubric=RUBRIC)
    assert kind is OnePrompt
    return OnePrompt(prompt=prompt)


def cases(operation: Operation[Any, Any]) -> list[Any]:
    """Records of every family, right and wrong answers in both places."""
    rows, sampling = [], Sampling(temperature=1.0, max_new_tokens=64)
    for number, prompt in enumerate(microworld.prompts("train", 20, seed=4)):
        right, wrong = (
            microworld.Oracle(error=error).answer([prompt], n=1, sampling=sampling)[0].text for error in (0.0, 1.0)
        )
        rows.append(record_of(operation.record, prompt, (right, wrong) if number % 3 else (wrong, right)))
    return rows


async def judged(operation: Operation[Any, Any], rows: list[Any], asker: Any) -> list[Any]:
    return [(got.record, got.unscored) for got in [await answer(operation, row, asker=asker) for row in rows]]


@pytest.mark.parametrize("operation", KNOWN, ids=lambda operation: operation.id)
def test_the_socket_judges_as_the_process_does(operation: Operation[Any, Any]) -> None:
    rows = cases(operation)
    with oracle_server(faults=Faults(malformed=0.15, wrong_schema=0.1, seed=3)) as url:

        async def over() -> list[Any]:
            async with Endpoint.parse(url + "#oracle") as asker:
                return await asyncio.gather(*(answer(operation, row, asker=asker, reasks=8) for row in rows))

        got = asyncio.run(over())
    wanted = asyncio.run(judged(operation, rows, scripted_judge()))
    assert [(one.record, one.unscored) for one in got] == wanted
    assert all(record is not None for record, _ in wanted)


def test_what_the_oracle_cannot_know_stays_unscored() -> None:
    prompt = asked("Who wrote Faust?")
    row = Comparison(prompt=prompt, first=said(prompt, "Goethe."), second=said(prompt, "Schiller.", 1))
    operation = next(operation for operation in KNOWN if operation.record is Comparison)
    with oracle_server() as url:

        async def over() -> Any:
            async with Endpoint.parse(url + "#oracle") as asker:
                return await answer(operation, row, asker=asker, reasks=0)

        got = asyncio.run(over())
    assert got.record is None and got.unscored.startswith("unreadable: ")
