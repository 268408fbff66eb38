"""Putting a question again with what was wrong with the reply; and back, from such a request to the first one."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from burnish.llm.requests.request import Request
from burnish.records import Message

SHOWN_BACK = 4_000  # characters of an unreadable reply that the model sees again
_NOTE = re.compile(r"(That reply|Reply number \d+) could not be used: ")


def again(first: Request, said: str, problem: str, number: int) -> Request:
    """The first question, the last reply to it, and what is wrong with that."""
    # Said otherwise each time: an equal question would only bring back the kept reply.
    which = "That reply" if number == 1 else f"Reply number {number}"
    note = f"{which} could not be used: {problem}. Answer the question again, in the form that was asked for."
    if not said.strip():
        # Some servers refuse an empty assistant message, and two user messages in a row.
        last = first.messages[-1]
        return replace(
            first, messages=(*first.messages[:-1], replace(last, content=f"{last.content}\n\n{note}")), again=number
        )
    back = (
        Message(role="assistant", content=shortened(said, SHOWN_BACK)),
        Message(role="user", content=note),
    )
    return replace(first, messages=(*first.messages, *back), again=number)


def first_of(asked: dict[str, Any]) -> dict[str, Any]:
    """The canonical form of the first question, from that of one made by `again`."""
    *before, last = asked["messages"]
    if _NOTE.match(last["content"]) and before and before[-1]["role"] == "assistant":
        return {**asked, "messages": before[:-1]}
    found = list(_NOTE.finditer(last["content"]))
    cut = last["content"][: found[-1].start()].removesuffix("\n\n") if found else last["content"]
    return {**asked, "messages": [*before, {**last, "content": cut}]}


def shortened(text: str, limit: int) -> str:
    """A text with its middle left out where it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"
