"""The shapes of OpenAI's routes: requests read, replies written. Sizes are in tokens that are counted here.

The oracle has no tokenizer: a token is a word or a sign. Log-probabilities and token ids are made up from the text,
equal for equal tokens; they are there so that a client can be tried, and say nothing about any model.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from burnish.microworld.serving.answers import Asked
from burnish.microworld.serving.reading import dialogue_in
from burnish.records import Message

_TOKEN = re.compile(r"\s*(?:\w+|[^\w\s]|\s+)")
_CALL = re.compile(r"(\w+)\((.*)\)")
VOCABULARY = 50_000


class BadRequest(Exception):
    """A request that is refused: status, message and code of the reply."""

    def __init__(self, status: int, message: str, code: str) -> None:
        super().__init__(message)
        self.status, self.message, self.code = status, message, code


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a route of completions, read and checked."""

    model: str
    asked: tuple[Asked, ...]  # one a choice
    chat: bool
    limit: int | None
    stop: tuple[str, ...]
    logprobs: bool
    token_ids: bool
    stream: bool
    stream_usage: bool
    tools: Sequence[Mapping[str, Any]]
    prompt_tokens: int


@dataclass(frozen=True, slots=True)
class Choice:
    """One finished sample."""

    text: str
    finish: str
    tokens: tuple[str, ...]


def tokens_of(text: str) -> tuple[str, ...]:
    return tuple(_TOKEN.findall(text))


def read_call(body: bytes, *, chat: bool, models: Sequence[str]) -> Call:
    """The request in a body.

    Raises:
        BadRequest: no JSON, no model of that name, no messages, a value of the wrong kind.
    """
    try:
        data = json.loads(body)
        assert isinstance(data, dict)
    except (ValueError, AssertionError):
        raise BadRequest(400, "the body is not a JSON object", "invalid_body") from None
    model = data.get("model", "")
    if model not in models:
        raise BadRequest(404, f"the model {model!r} does not exist; there are {', '.join(models)}", "model_not_found")
    try:
        return _call(data, model, chat)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise BadRequest(400, f"the request has a field of the wrong kind: {error!r}", "invalid_value") from None


def _call(data: Mapping[str, Any], model: str, chat: bool) -> Call:
    dialogues = _dialogues(data, chat)
    form = data.get("response_format") or {}
    named = form.get("json_schema") or {}
    schema = named.get("schema") or ({"type": "object"} if form.get("type") == "json_object" else None)
    stop = data.get("stop") or ()
    n, seed = int(data.get("n") or 1), int(data.get("seed") or 0)
    if not 1 <= n <= 128:
        raise ValueError("n must be between 1 and 128")
    greedy = data.get("temperature") == 0
    asked = tuple(
        Asked(
            messages=messages,
            schema=schema,
            seed=seed,
            index=0 if greedy else index,
        )
        for messages in dialogues
        for index in range(n)
    )
    return Call(
        model=model,
        asked=asked,
        chat=chat,
        limit=data.get("max_completion_tokens") or data.get("max_tokens") or (None if chat else 16),
        stop=(stop,) if isinstance(stop, str) else tuple(stop),
        logprobs=bool(data.get("logprobs")) or (not chat and data.get("logprobs") == 0),
        token_ids=bool(data.get("return_token_ids")),
        stream=bool(data.get("stream")),
        stream_usage=bool((data.get("stream_options") or {}).get("include_usage")),
        tools=data.get("tools") or (),
        prompt_tokens=sum(len(tokens_of(m.content)) for messages in dialogues for m in messages),
    )


def _dialogues(data: Mapping[str, Any], chat: bool) -> list[tuple[Message, ...]]:
    if not chat:
        prompts = data["prompt"]
        return [dialogue_in(str(text)) for text in ([prompts] if isinstance(prompts, str) else prompts)]
    messages = tuple(Message(role=m["role"], content=_content(m.get("content"))) for m in data["messages"])
    if not messages:
        raise ValueError("messages is empty")
    return [messages]


def _content(content: Any) -> str:
    """A text, or the texts of a list of parts."""
    if content is None or isinstance(content, str):
        return content or ""
    return "".join(part.get("text", "") for part in content)


def finished(call: Call, text: str) -> Choice:
    """The sample as far as stop strings and the limit let it go."""
    ends = [text.find(stop) for stop in call.stop if stop and stop in text]
    text = text[: min(ends)] if ends else text
    tokens = tokens_of(text)
    if call.limit is not None and len(tokens) > call.limit:
        return Choice("".join(tokens[: call.limit]), "length", tokens[: call.limit])
    return Choice(text, "stop", tokens)


def usage(call: Call, choices: Sequence[Choice]) -> dict[str, int]:
    completion = sum(len(choice.tokens) for choice in choices)
    prompt = call.prompt_tokens
    return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


def reply(call: Call, choices: Sequence[Choice], ident: str) -> dict[str, Any]:
    """The whole reply, of the chat route or the completions route."""
    kind = "chat.completion" if call.chat else "text_completion"
    rows = [_choice(call, choice, index) for index, choice in enumerate(choices)]
    return {
        "id": ident, "object": kind, "created": 0, "model": call.model, "choices": rows, "usage": usage(call, choices),
    }  # fmt: skip


def chunks(call: Call, choices: Sequence[Choice], ident: str) -> Iterator[dict[str, Any]]:
    """The reply as the events of a stream, a token each."""
    known = {"id": ident, "created": 0, "model": call.model}
    known["object"] = "chat.completion.chunk" if call.chat else "text_completion"
    for index, choice in enumerate(choices):
        for token in choice.tokens:
            part = {"delta": {"role": "assistant", "content": token}} if call.chat else {"text": token}
            told = _logprobs(call, (token,)) if call.logprobs else None
            yield {**known, "choices": [{"index": index, **part, "logprobs": told, "finish_reason": None}]}
        part = {"delta": {}} if call.chat else {"text": ""}
        yield {**known, "choices": [{"index": index, **part, "logprobs": None, "finish_reason": choice.finish}]}
    if call.stream_usage:
        yield {**known, "choices": [], "usage": usage(call, choices)}


def _choice(call: Call, choice: Choice, index: int) -> dict[str, Any]:
    row: dict[str, Any] = {"index": index, "finish_reason": choice.finish}
    row["logprobs"] = _logprobs(call, choice.tokens) if call.logprobs else None
    if call.token_ids:
        row["token_ids"] = [_made_up(token)[0] for token in choice.tokens]
    if not call.chat:
        return {**row, "text": choice.text}
    row["message"] = {"role": "assistant", "content": choice.text}
    made = _tool_call(call, choice.text) if call.tools else None
    if made:
        row |= {"finish_reason": "tool_calls", "message": {"role": "assistant", "content": None, "tool_calls": [made]}}
    return row


def _tool_call(call: Call, text: str) -> dict[str, Any] | None:
    """A call such as `lookup(Ann Lee, phone)` as OpenAI writes it, the arguments named as the tool's parameters."""
    found = _CALL.fullmatch(text.strip())
    tools = {tool["function"]["name"]: tool["function"] for tool in call.tools}
    if not found or found[1] not in tools:
        return None
    names = list((tools[found[1]].get("parameters") or {}).get("properties") or {})
    given = [part.strip() for part in found[2].split(",")]
    arguments = json.dumps(dict(zip(names, given)), ensure_ascii=False)
    ident = f"call_{hashlib.blake2b(text.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"
    return {"id": ident, "type": "function", "function": {"name": found[1], "arguments": arguments}}


def _made_up(token: str) -> tuple[int, float]:
    """(id, log-probability) of a token: invented, and the same each time."""
    number = int.from_bytes(hashlib.blake2b(token.encode("utf-8", "replace"), digest_size=8).digest(), "big")
    return number % VOCABULARY, -round(0.001 + (number >> 32) % 2000 / 1000, 3)


def _logprobs(call: Call, tokens: Sequence[str]) -> dict[str, Any]:
    if call.chat:
        rows = [
            {"token": t, "logprob": _made_up(t)[1], "bytes": list(t.encode("utf-8", "replace")), "top_logprobs": []}
            for t in tokens
        ]
        return {"content": rows}
    places = list(accumulate(map(len, tokens), initial=0))[: len(tokens)]
    told = [_made_up(token)[1] for token in tokens]
    return {"tokens": list(tokens), "token_logprobs": told, "text_offset": places, "top_logprobs": None}
