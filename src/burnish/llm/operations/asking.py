"""Asking one operation: send, read, ask again with the error, give up with the reason.

Reading happens here, behind the store: a store hands back the bytes it has, so a changed form or reader sends nothing
again unless it refuses what it took before.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import TypeVar

from burnish.llm.operations.checks import check_asker
from burnish.llm.operations.operation import Answered, Operation
from burnish.llm.operations.reading import Unreadable
from burnish.llm.requests import Asker, Reply, Request, Usage
from burnish.records import Message, Sampling

Record = TypeVar("Record")
Result = TypeVar("Result")
REFUSED = ("content_filter", "refusal")
REASKS = 2  # ASSUMED
SHOWN_BACK = 4_000  # characters of an unreadable reply that the model sees again
KEPT = 20_000  # characters of a reply that a transcript keeps


async def answer(
    operation: Operation[Record, Result],
    record: Record,
    *,
    asker: Asker,
    sampling: Sampling | None = None,
    index: int = 0,
    reasks: int = REASKS,
) -> Answered[Result]:
    """One question, asked at most `1 + reasks` times.

    A failure for good and a refusal by the server's own filter end the asking at once. An asker that raises is not
    caught here: a flow keeps the item with the error as its reason.

    Raises:
        SettingsError: there is nobody to ask; the record, the template or `build` has a fault.
    """
    check_asker(asker)
    first = request = operation.request(record, model=asker.identity, sampling=sampling, index=index)
    keys: list[str] = []
    replies: list[Reply] = []
    problem = ""
    result = None
    for _ in range(1 + max(0, reasks)):
        reply = await asker.ask(request)
        keys.append(request.key())
        replies.append(reply)
        if reply.failure:
            problem = f"no reply: {reply.failure}"
            break
        if reply.finish in REFUSED:
            problem = f"refused: the server ended the reply with {reply.finish!r}"
            break
        try:
            result = operation.read(record, reply.text)
            break
        except Unreadable as error:
            cut = f" (cut off at {request.sampling.max_new_tokens} tokens)" if reply.finish == "length" else ""
            problem = f"unreadable: {error}{cut}"
            request = _again(first, reply.text, f"{error}{cut}", len(keys))
    return Answered(
        operation=operation.id, record=result, unscored="" if result is not None else problem,
        transcript=_transcript(replies), requests=tuple(keys), usage=_sum(reply.usage for reply in replies),
    )  # fmt: skip


def _again(first: Request, said: str, problem: str, again: int) -> Request:
    """The first question, the last reply to it, and what is wrong with that."""
    # Said otherwise each time: an equal question would only bring back the kept reply.
    which = "That reply" if again == 1 else f"Reply number {again}"
    note = f"{which} could not be used: {problem}. Answer the question again, in the form that was asked for."
    if not said.strip():
        # Some servers refuse an empty assistant message, and two user messages in a row.
        last = first.messages[-1]
        return replace(
            first, messages=(*first.messages[:-1], replace(last, content=f"{last.content}\n\n{note}")), again=again
        )
    back = (
        Message(role="assistant", content=_shortened(said, SHOWN_BACK)),
        Message(role="user", content=note),
    )
    return replace(first, messages=(*first.messages, *back), again=again)


def _shortened(text: str, limit: int) -> str:
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters left out ...]\n{text[-half:]}"


def _transcript(replies: Iterable[Reply]) -> str:
    # Half a surrogate pair, which JSON escapes can bring, cannot be written to a file.
    texts = [_shortened(reply.text, KEPT).encode("utf-8", "replace").decode("utf-8") for reply in replies]
    said = [text or f"({reply.failure or 'empty reply'})" for text, reply in zip(texts, replies, strict=True)]
    return said[0] if len(said) == 1 else "\n".join(f"[{n}] {text}" for n, text in enumerate(said, 1))


def _sum(usages: Iterable[Usage]) -> Usage:
    listed = list(usages)
    return Usage(
        prompt=sum(u.prompt for u in listed), completion=sum(u.completion for u in listed),
        cached=sum(u.cached for u in listed), estimated=any(u.estimated for u in listed),
    )  # fmt: skip
