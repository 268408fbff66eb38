"""What makes a dialogue well-formed, before any format sees it."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.errors import ChatError
from burnish.records import ROLES, Message


def _name(index: int, message: Message) -> str:
    return f"message {index + 1} ({message.role})"


def _check_one(index: int, message: Message) -> None:
    if message.role not in ROLES:
        raise ChatError(
            f"message {index + 1} has the unknown role {message.role!r}; use one of {', '.join(ROLES)} "
            "(what a tool returned is 'ipython')"
        )
    if message.end not in ("turn", "message"):
        raise ChatError(f"{_name(index, message)} ends with {message.end!r}; use 'turn' or 'message'")
    if message.end == "message" and message.role != "assistant":
        raise ChatError(f"{_name(index, message)} ends with 'message', which only an assistant's tool call may")
    try:
        message.content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise ChatError(
            f"{_name(index, message)} holds a lone surrogate at character {error.start}; repair the text's encoding"
        ) from error


def check_dialogue(messages: Sequence[Message], *, calls_by_successor: bool) -> None:
    """Raise `ChatError` unless every tool call is answered and every tool result was asked for (spec §3.2).

    Args:
        calls_by_successor: the format has no token of its own for "message over, turn goes on"; a call is known by
            the tool result after it, so a result after a *turn* could not be read back and is refused.
    """
    for index, message in enumerate(messages):
        _check_one(index, message)
        after = messages[index + 1] if index + 1 < len(messages) else None
        if message.end == "message" and (after is None or after.role != "ipython"):
            raise ChatError(
                f"{_name(index, message)} ends with 'message' (a tool call), but no ipython message follows; "
                "append the tool's result, or end it with 'turn'"
            )
        if message.role != "ipython":
            continue
        before = messages[index - 1] if index else None
        if before is None or before.role not in ("assistant", "ipython"):
            raise ChatError(f"{_name(index, message)} does not follow an assistant's call; put the call before it")
        if calls_by_successor and before.role == "assistant" and before.end != "message":
            raise ChatError(
                f"{_name(index - 1, before)} ends with 'turn' but a tool's result follows; end the call with 'message' "
                "(this format knows a call by the result after it)"
            )


def check_response(response: Sequence[Message]) -> None:
    """Raise `ChatError` unless a response is what one assistant turn can hold: calls, results, and an answer."""
    if not response:
        return
    for index, message in enumerate(response):
        if message.role not in ("assistant", "ipython"):
            raise ChatError(
                f"{_name(index, message)} of the response is not the assistant's turn; put it into the context"
            )
    if response[0].role != "assistant" or response[-1].role != "assistant":
        raise ChatError("a response begins and ends with an assistant message; move the tool's result into the context")
