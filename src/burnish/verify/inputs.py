"""What a reward function is given, as texts: messages, and references that are no text."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.errors import DataError
from burnish.records import Message
from burnish.records.dialogues import ROLE

Said = str | int | float | Message | Mapping[str, Any] | Sequence[Message | Mapping[str, Any]]


def messages_of(said: Said, role: str, what: str) -> tuple[Message, ...]:
    """A text (or a number, as JSON writes it), a message or a list of messages as messages.

    Args:
        said: what was said.
        role: who speaks where `said` is a text.
        what: its name in the error (`response`, `prompt`).

    Raises:
        DataError: it is none of them.
    """
    if isinstance(said, str):
        return (Message(role=role, content=said),)
    if isinstance(said, int | float):
        return (Message(role=role, content=json.dumps(said)),)
    items = said if isinstance(said, list | tuple) else [said]
    if not items:
        raise DataError(f"the {what} is an empty list; give a text or at least one message")
    return tuple(_message(item, what) for item in items)


def _message(item: Any, what: str) -> Message:
    if isinstance(item, Message):
        return item
    if not isinstance(item, Mapping):
        raise DataError(
            f"the {what} must be a text, a message with role and content, or a list of messages; found "
            f"{'None' if item is None else type(item).__name__}"
        )
    said, content = item.get("role"), item.get("content")
    role = ROLE.get(str(said).lower())
    if role is None:
        raise DataError(f"a message of the {what} has the role {said!r}; known are {', '.join(ROLE)}")
    if not content and item.get("tool_calls"):
        return Message(role=role, content=json.dumps(item["tool_calls"], ensure_ascii=False), end="message")
    if isinstance(content, list) and all(isinstance(part, Mapping) and part.get("type") == "text" for part in content):
        content = "".join(str(part.get("text", "")) for part in content)
    if not isinstance(content, str):
        found = "None" if content is None else type(content).__name__
        raise DataError(f"the content of a message of the {what} must be a text, found {found}")
    return Message(role=role, content=content)


def reference_of(value: Any) -> str:
    """A reference as text: numbers, lists and objects as JSON, as a column of a file is.

    Raises:
        DataError: it is None, or nothing that JSON can hold.
    """
    if isinstance(value, str):
        return value
    if value is None:
        raise DataError("the reference is None; give a text, a number, a list or an object")
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError) as error:
        raise DataError(f"the reference is no JSON ({error}); give a text, a number, a list or an object") from error
