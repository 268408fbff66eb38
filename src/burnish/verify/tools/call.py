"""The nouns of tool use: a tool, a call, what a text was read as, and why a call could not be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

REASONS = {
    "size": "the text is longer, or nested deeper, than a call may be",
    "json": "what should be JSON is not",
    "python": "what should be Python is not",
    "literal": "an argument is no literal: a name, an operation, a function that is no call",
    "shape": "it is JSON or Python, and no call",
    "name": "the name of the function is missing or is no name",
    "cut": "the text ends inside the call",
}


class Unreadable(Exception):
    """A call that cannot be read; `reason` is one of `REASONS`. Raised inside this room, never out of it."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call of a tool.

    Args:
        arguments: by name; a value is JSON data, a tuple, or a `Call` whose result it is (a nested call).
        positional: arguments without a name, which only Python syntax has; `matching.bound` names them.
        id: the caller's own, of OpenAI's form; it is no part of what is compared.
    """

    name: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    positional: tuple[Any, ...] = ()
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFailure:
    """A call that cannot be read: the reason (`REASONS`), more about it, and the text, cut to 200 characters."""

    reason: str
    detail: str
    text: str

    def __str__(self) -> str:
        return f"unreadable call ({self.reason}): {self.detail or REASONS[self.reason]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """What a text was read as.

    Args:
        calls: in their order.
        failures: what looks like a call and cannot be read; with one of them the calls are not the whole.
        said: the text around the calls.
        syntax: which of `syntaxes.SYNTAXES` it was read by; empty when there is no call.
    """

    calls: tuple[Call, ...] = ()
    failures: tuple[CallFailure, ...] = ()
    said: str = ""
    syntax: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A function that a model may call. `parameters` is a JSON schema of type object."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def openai(self) -> dict[str, Any]:
        """The form of OpenAI's `tools` list."""
        parameters = dict(self.parameters)
        return {
            "type": "function",
            "function": {"name": self.name, "description": self.description, "parameters": parameters},
        }
