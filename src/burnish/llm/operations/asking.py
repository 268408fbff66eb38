"""Asking one operation: send, read, ask again with the error, give up with the reason.

Reading happens here, behind the store: a store hands back the bytes it has, so a changed form or reader sends nothing
again unless it refuses what it took before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from burnish.llm.operations.checks import check_asker
from burnish.llm.operations.kept import Kept
from burnish.llm.operations.operation import Answered, Operation
from burnish.llm.operations.reading import Unreadable
from burnish.llm.requests import Asker, Reply, Usage
from burnish.llm.requests.again import again, shortened
from burnish.records import Sampling

Record = TypeVar("Record")
Result = TypeVar("Result")
REFUSED = ("content_filter", "refusal")
REASKS = 2  # ASSUMED
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
        WorkerError: in a flow, none of the first answers could be read (see `Watch`).
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
            request = again(first, reply.text, f"{error}{cut}", len(keys))
    got = Answered(
        operation=operation.id, record=result, unscored="" if result is not None else problem,
        transcript=_transcript(replies), requests=tuple(keys), usage=_sum(reply.usage for reply in replies),
    )  # fmt: skip
    if isinstance(asker, Kept):
        asker.hear(got)
    return got


def _transcript(replies: Iterable[Reply]) -> str:
    # Half a surrogate pair, which JSON escapes can bring, cannot be written to a file.
    texts = [shortened(reply.text, KEPT).encode("utf-8", "replace").decode("utf-8") for reply in replies]
    said = [text or f"({reply.failure or 'empty reply'})" for text, reply in zip(texts, replies, strict=True)]
    return said[0] if len(said) == 1 else "\n".join(f"[{n}] {text}" for n, text in enumerate(said, 1))


def _sum(usages: Iterable[Usage]) -> Usage:
    listed = list(usages)
    return Usage(
        prompt=sum(u.prompt for u in listed), completion=sum(u.completion for u in listed),
        cached=sum(u.cached for u in listed), estimated=any(u.estimated for u in listed),
    )  # fmt: skip
