"""Responses from an asker of requests: what makes a server, or vLLM in this process, a `protocols.Client`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from burnish.llm.requests.asking import ask_all, run
from burnish.llm.requests.budget import Budget
from burnish.llm.requests.request import Asker, Reply, Request, dump
from burnish.llm.requests.store import Store
from burnish.protocols import Work
from burnish.records import Message, Prompt, Response, Sampling

Unanswered = dict[str, tuple[str, str]]  # id of a prompt -> reason, detail


def plan(identity: str, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[tuple[Prompt, Request]]:
    """What is asked for `n` answers to each prompt: prompts as given, then sample index."""
    return [
        (prompt, Request(model=identity, sampling=sampling, messages=prompt.messages, index=index))
        for prompt in prompts
        for index in range(n)
    ]


def answers(
    asker: Asker,
    asked: Sequence[tuple[Prompt, Request]],
    *,
    work: Work | None = None,
    budget: Budget | None = None,
) -> tuple[list[Response], Unanswered]:
    """A response to each request of a `plan` that got an answer, in its order; and why the others did not.

    With `work`, every reply is kept in the step's request store and is not paid for again.

    Raises:
        WorkerError, BudgetError: see `ask_all`.
    """
    replies = run(_gather(asker, [request for _, request in asked], work, budget))
    rows, unanswered = [], {}
    for prompt, request in asked:
        reply = replies[request.key()]
        if why := _no_answer(reply):
            unanswered[prompt.id] = why
            continue
        rows.append(_response(prompt, request, reply))
    return rows, unanswered


async def _gather(
    asker: Asker, requests: Sequence[Request], work: Work | None, budget: Budget | None
) -> Mapping[str, Reply]:
    store = Store(work.requests) if work is not None else None
    progress = work.progress if work is not None else None
    found = {}
    try:
        async for request, reply in ask_all(requests, asker, store=store, budget=budget, progress=progress):
            found[request.key()] = reply
    finally:
        if store is not None:
            store.close()
    return found


def _no_answer(reply: Reply) -> tuple[str, str] | None:
    """(reason, detail) of a reply that is no answer."""
    if reply.failure:
        return "request failed", reply.failure
    if reply.finish in ("content_filter", "refusal"):
        return "refused by the server", reply.text[:200]
    return None


def _response(prompt: Prompt, request: Request, reply: Reply) -> Response:
    text, end = reply.text, "turn"
    if reply.tool_calls and not text:
        text, end = dump(reply.tool_calls).decode(), "message"
    return Response(
        prompt=prompt.id,
        messages=(Message(role="assistant", content=text, end=end),),
        token_ids=reply.token_ids,
        logprobs=reply.logprobs,
        model=request.model,
        sampling=request.sampling,
        index=request.index,
        finish="length" if reply.finish == "length" else "stop",
        parents=(prompt.id,),
    )
