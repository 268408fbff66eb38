"""One thing, and yes or no."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from pydantic import Field

from burnish.errors import SettingsError
from burnish.judge.operations.comparing import TEMPLATES, WHY
from burnish.judge.operations.records import (
    ConstrainedAnswer,
    Constraints,
    Decided,
    OneAnswer,
    OnePrompt,
    ReferencedAnswer,
    TaggedPrompt,
    TwoPrograms,
    asked,
    said,
)
from burnish.llm.operations import Form, Operation, Truth, Words

_SUM = asked("What is 7 + 8? Show the steps.")
_RIGHT = said(_SUM, "7 + 8 = 15.")


class YesForm(Form):
    why: Words = Field(description=WHY)
    yes: Truth = Field(description="true for yes, false for no.")


def _decided(record: Any, form: YesForm) -> Decided:
    return Decided(yes=form.yes, why=form.why)


@dataclass(frozen=True, slots=True)
class _Question:
    """What differs between the yes-or-no operations."""

    name: str
    purpose: str
    source: str
    example: Any
    yes: bool
    why: str
    shows_reference: bool = False


_TRICK = asked("Which weighs more, a pound of lead or a pound of feathers?")
_QUESTIONS = (
    _Question("correctness", "Does an answer agree with the passage its question was made from?",
              "Llama 3 §3.16",
              ReferencedAnswer(prompt=asked("When was the bridge opened?"), response=said(_SUM, "In 1890."),
                               reference="The bridge was opened to traffic in March 1890."),
              True, "The passage says 1890.", True),
    _Question("informativeness", "Does an answer commit itself to something that could be checked?",
              "Llama 3 §3.16", OneAnswer(prompt=_SUM, response=said(_SUM, "I am not sure.")), False,
              "It states nothing."),
    _Question("solution", "Is every step of a solution valid, and does it reach its result?",
              "Llama 3 §3.13", OneAnswer(prompt=_SUM, response=_RIGHT), True, "The one step holds."),
    _Question("reasonable_path", "Is a chain of reasoning sound, given that its result is right?",
              "Qwen2 §4.6", ReferencedAnswer(prompt=_SUM, response=said(_SUM, "7 is 8, so 8 + 8 - 1 = 15."),
                                             reference="15"), False, "It starts from a falsehood.", True),
    _Question("faithfulness", "Does a program, rebuilt from a description, do what the original does?",
              "Llama 3 §3.11 (c)",
              TwoPrograms(original="def f(x):\n    return x * x", rebuilt="def square(n):\n    return n ** 2"), True,
              "Both square a number."),
    _Question("tag", "Does a tag describe an intention of a prompt?", "InsTag, llama3_qwen2 §5.1",
              TaggedPrompt(prompt=_SUM, tag="addition"), True, "The prompt asks for a sum."),
    _Question("complete_intent", "Does a prompt state its goal, its inputs and the output it wants?", "Qwen2 §4.3",
              OnePrompt(prompt=asked("Sort it.")), False, "There is nothing to sort."),
    _Question("solvable", "Is a synthesised problem coherent, and does it have an answer?", "AFM B.3",
              OnePrompt(prompt=asked("A train is 3 hours late. How old is the driver?")), False,
              "Nothing in it bears on age."),
    _Question("passes", "Does code solve the task it was written for?", "Genetic-Instruct, Nemotron A.16",
              OneAnswer(prompt=asked("Write a Python function that doubles a number."),
                        response=said(_SUM, "def double(x):\n    return x * x")), False, "It squares."),
    _Question("constraint_met", "Does an answer meet one demand?", "Llama 3 §3.17, Baichuan B25",
              ConstrainedAnswer(prompt=_SUM, response=_RIGHT, constraint="Use no more than ten words."), True,
              "It has five words."),
    _Question("contradiction", "Do demands contradict each other?", "Baichuan B24, B25",
              Constraints(constraints=("Answer in one word.", "Explain in three sentences.")), True,
              "One word cannot hold three sentences."),
    _Question("leakage", "Does a prompt give away its own answer?", "Baichuan B1",
              ReferencedAnswer(prompt=asked("What is 7 + 8? (Think of fifteen.)"), response=said(_SUM, ""),
                               reference="15"), True, "It names fifteen.", True),
    _Question("trick", "Does an answer see the trick in a question?", "Baichuan B33",
              OneAnswer(prompt=_TRICK, response=said(_TRICK, "Neither: both weigh a pound.")), True,
              "It names the equality."),
    _Question("consistency", "Is the last answer consistent with what the assistant said before?",
              "GLM-4 G1, multi-turn consistency", OneAnswer(prompt=_SUM, response=_RIGHT), True,
              "Nothing was said before."),
)  # fmt: skip

DECIDING: tuple[Operation[Any, Decided], ...] = tuple(
    Operation(
        id=f"judge/{q.name}", purpose=q.purpose, source=q.source, template=TEMPLATES / f"{q.name}.jinja",
        record=type(q.example), form=YesForm, build=_decided, example=q.example,
        example_reply={"why": q.why, "yes": q.yes}, shows_reference=q.shows_reference,
    )
    for q in _QUESTIONS
)  # fmt: skip


def deciding(name: str) -> Operation[Any, Decided]:
    """The yes-or-no operation of that name, such as `correctness`.

    Raises:
        SettingsError: there is none.
    """
    for operation in DECIDING:
        if operation.id == f"judge/{name}":
            return operation
    raise SettingsError(f"no operation decides {name!r}; there are {', '.join(q.name for q in _QUESTIONS)}")
