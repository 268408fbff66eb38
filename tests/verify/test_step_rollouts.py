"""Step labels equal brute force on a toy solver; a killed labelling goes on from its journal."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from burnish.errors import DataError, WorkerError
from burnish.protocols import Verdict, Work
from burnish.records import Message, Prompt, Response, Sampling
from burnish.verify import MathChecker
from burnish.verify.step_rollouts import StepLabel, label_steps, line_steps

PROMPT = Prompt(messages=(Message(role="user", content="Add 1, 2, 3, 4."),), checker="math", reference="#### 10")
SAMPLING = Sampling(temperature=1.0, max_new_tokens=50)


class Adder:
    """Goes on adding from the last number of the prefix, and slips with a chance that depends on the draw."""

    def __init__(self, slip: float, fail_after: int = 10**9) -> None:
        self.slip, self.calls, self.left = slip, 0, fail_after

    def draw(self, prefix: str, index: int) -> str:
        steps = prefix.splitlines()
        total = int(steps[-1].rpartition("=")[2])
        rng = random.Random(f"{prefix}:{index}")
        for number in range(len(steps) + 2, 5):
            total += number + (rng.random() < self.slip)
        return f"#### {total}"

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        self.calls += 1
        if self.calls > self.left:
            raise WorkerError("the client is gone")
        (prompt,) = prompts
        assert prompt.messages[-1].role == "user" and prompt.parents == (PROMPT.id,)
        prefix = prompt.messages[-2].content
        return [
            Response(
                prompt=prompt.id, messages=(Message(role="assistant", content=self.draw(prefix, index)),), index=index
            )
            for index in range(n)
        ]


class Kept(dict[str, Any]):
    def put(self, key: str, value: Any) -> None:
        self[key] = value


RIGHT = "1 + 2 = 3\n3 + 3 = 6\n6 + 4 = 10\n#### 10"
WRONG = "1 + 2 = 3\n3 + 3 = 7\n7 + 4 = 11\n#### 11"


def label(solution: str, client: Any, *, n: int = 8, journal: Any = None, checker: Any = None) -> Any:
    return label_steps(
        PROMPT,
        solution,
        line_steps(solution),
        client=client,
        checker=checker or MathChecker(),
        sampling=SAMPLING,
        n=n,
        journal=journal,
    )


@pytest.mark.parametrize("solution", [RIGHT, WRONG])
@pytest.mark.parametrize("n", [1, 8, 30])
def test_labels_equal_brute_force(solution: str, n: int) -> None:
    client = Adder(0.4)
    found = label(solution, client, n=n)
    for place, step in enumerate(found.labels[:-1]):
        prefix = "\n".join(solution.splitlines()[: place + 1])
        assert solution[: step.end] == prefix
        right = [client.draw(prefix, i) == "#### 10" for i in range(n)]
        assert step.verdicts == tuple(right)
        assert step.soft == sum(right) / n and step.hard == float(any(right))
    assert found.labels[-1].soft == float(solution == RIGHT)
    assert found.score == min(step.soft for step in found.labels)


def test_the_wrong_step_is_where_the_labels_fall() -> None:
    found = label(WRONG, Adder(0.0))
    assert [step.hard for step in found.labels] == [1.0, 0.0, 0.0, 0.0]
    assert [step.label for step in found.steps(soft=False)] == [1.0, 0.0, 0.0, 0.0]
    assert [step.hard for step in label(RIGHT, Adder(0.0)).labels] == [1.0] * 4
    assert found.steps(soft=True)[0].end == len("1 + 2 = 3")


def test_a_killed_labelling_goes_on() -> None:
    journal = Kept()
    with pytest.raises(WorkerError):
        label(RIGHT, Adder(0.4, fail_after=2), journal=journal)
    assert len(journal) == 2
    client = Adder(0.4)
    assert label(RIGHT, client, journal=journal) == label(RIGHT, Adder(0.4)) and client.calls == 1
    # The same text is another question when it is the whole solution.
    half = RIGHT[: line_steps(RIGHT)[1]]
    assert label(half, Adder(0.4), journal=journal).labels[-1].soft == 0.0


def test_what_cannot_be_told_is_no_label() -> None:
    class Silent:
        name = "silent"

        def check(self, prompt: Prompt, response: Response) -> Verdict:
            return Verdict(correct=None, reason="cannot tell")

    found = label(RIGHT, Adder(0.0), checker=Silent())
    assert all(step.hard is None and step.soft is None for step in found.labels) and found.score is None
    half = StepLabel(end=1, verdicts=(True, None, False))
    assert half.soft == 0.5 and half.hard == 1.0 and half.told == 2


def test_steps_are_lines() -> None:
    assert line_steps("a\n\n b \nc") == (1, 5, 8) and line_steps("") == ()
    for ends in ((), (0, 3), (3, 2), (2, 2), (1, 99)):
        with pytest.raises(DataError, match="rising places"):
            label_steps(PROMPT, "abc", ends, client=Adder(0), checker=MathChecker(), sampling=SAMPLING)
    with pytest.raises(DataError, match="at least one"):
        label(RIGHT, Adder(0.0), n=0)


def test_a_client_that_gives_too_few_is_an_error() -> None:
    class Short(Adder):
        def answer(self, prompts: Sequence[Prompt], **named: Any) -> list[Response]:
            return super().answer(prompts, **named)[1:]

    with pytest.raises(WorkerError, match="7 completions"):
        label(RIGHT, Short(0.0))
