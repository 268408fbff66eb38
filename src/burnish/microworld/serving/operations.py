"""Reads a judging operation back from its words: which one it is, and the record that its template was given.

The system prompt of an operation does not depend on the record, so it tells which operation asks. What is judged stands
between fences, each with its label.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from burnish.judge.operations import OPERATIONS
from burnish.judge.operations.records import (
    Comparison,
    Criterion,
    OneAnswer,
    OnePrompt,
    ReferencedAnswer,
    RubricAnswer,
    RubricText,
    said,
)
from burnish.llm.operations.template import fences_in
from burnish.microworld.serving.reading import read_prompt
from burnish.records import Message, Prompt, Response

_SPEAKER = re.compile(r"^(System|User|Assistant|Tool): ", re.M)
_ROLES = {"System": "system", "User": "user", "Assistant": "assistant", "Tool": "ipython"}
_CRITERION = re.compile(r'^Criterion "(.+?)": (.*)\n((?:  -?\d+: .*\n?)+)', re.M)
_LEVEL = re.compile(r"^  (-?\d+): (.*)$", re.M)


@lru_cache(maxsize=1)
def _operations() -> dict[str, tuple[str, type]]:
    """System prompt -> (id, type of the record)."""
    found = {}
    for operation in OPERATIONS:
        first = operation.messages(operation.example)[0]
        if first.role == "system":
            found[first.content] = (operation.id, operation.record)
    return found


def operation_in(messages: Sequence[Message]) -> str | None:
    """The id of the judging operation that asks, or None."""
    asks = _operations().get(messages[0].content.strip()) if messages and messages[0].role == "system" else None
    return asks[0] if asks else None


def read_record(operation: str, messages: Sequence[Message]) -> Any | None:
    """The record that the operation was given, as far as it shows; None where it is not of this world.

    Where it was asked again, the first question counts.
    """
    text = next((message.content for message in messages if message.role == "user"), "")
    shown = fences_in(text)
    prompt = read_prompt(_dialogue(shown.get("conversation", "")))
    kind = next(kind for id, kind in _operations().values() if id == operation)
    if prompt is None or kind not in _RECORDS:
        return None
    try:
        return _RECORDS[kind](prompt, shown, text)
    except KeyError:
        return None


def _dialogue(text: str) -> tuple[Message, ...]:
    """Messages as a template shows them: a single one bare, several each with its speaker's name."""
    parts = _SPEAKER.split(text)
    if len(parts) < 5 or parts[0]:  # one speaker's name may be a part of a single message
        return (Message(role="user", content=text),)
    spoken = zip(parts[1::2], parts[2::2], strict=True)
    return tuple(Message(role=_ROLES[name], content=content.rstrip("\n")) for name, content in spoken)


def _response(prompt: Prompt, text: str) -> Response:
    messages = _dialogue(text)
    return said(prompt, messages[-1].content)


def _rubric(prompt: Prompt, shown: Mapping[str, str], text: str) -> RubricAnswer:
    outside = text.rpartition(" end of answer ")[2]  # an answer may hold what looks like a criterion
    criteria = tuple(
        Criterion(name=name, question=question, levels=tuple((int(n), told) for n, told in _LEVEL.findall(levels)))
        for name, question, levels in _CRITERION.findall(outside)
    )
    return RubricAnswer(
        prompt=prompt,
        response=_response(prompt, shown["answer"]),
        rubric=RubricText(name="read", criteria=criteria),
        reference=shown.get("reference", ""),
    )


_RECORDS: Mapping[type, Callable[[Prompt, Mapping[str, str], str], Any]] = {
    Comparison: lambda prompt, shown, text: Comparison(
        prompt=prompt, first=_response(prompt, shown["answer A"]), second=_response(prompt, shown["answer B"])
    ),
    OneAnswer: lambda prompt, shown, text: OneAnswer(prompt=prompt, response=_response(prompt, shown["answer"])),
    ReferencedAnswer: lambda prompt, shown, text: ReferencedAnswer(
        prompt=prompt, response=_response(prompt, shown["answer"]), reference=shown["reference"]
    ),
    OnePrompt: lambda prompt, shown, text: OnePrompt(prompt=prompt),
    RubricAnswer: _rubric,
}
