"""The wire format: a request as the body of OpenAI's chat and completions routes, and a body as a reply.

Servers differ in what they take. `Features` starts from the newest form, steps down when a server refuses a field by
name, and remembers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from burnish.llm.requests.request import Reply, Request, Usage, dump, prompt_tokens, tokens_in

# How to ask for a schema, best first: OpenAI and vLLM, vLLM since 0.12, older vLLM, anyone, not at all.
SCHEMA_FORMS = ("json_schema", "structured_outputs", "guided_json", "json_object", "none")
_NAMES = {
    "json_schema": ("response_format", "json_schema"),
    "structured_outputs": ("structured_outputs",),
    "guided_json": ("guided_json", "guided"),
    "json_object": ("response_format", "json_object"),
}
_OPTIONAL = (
    "seed",
    "return_token_ids",
    "return_tokens_as_token_ids",
    "logprobs",
)  # never what changes the drawing, such as top_p


_TOKEN_ID = re.compile(r"token_id:\d+")  # how vLLM names tokens under return_tokens_as_token_ids


class Malformed(Exception):
    """A body that is no reply; the message says what it is."""


@dataclass(slots=True)
class Features:
    """What a server takes, as far as it has told.

    Args:
        logprobs: ask for the log-probabilities of the drawn tokens.
        token_ids: ask for their ids (vLLM's `return_token_ids`).
    """

    logprobs: bool = False
    token_ids: bool = False
    schema_form: int = 0
    limit: str = "max_tokens"
    dropped: set[str] = field(default_factory=set)
    version: int = 0

    def step_down(self, request: Request, refusal: str, was: int) -> bool:
        """Learn from a refusal in words; True when the request may be sent again in another form.

        `was` is the `version` the refused request was written in: another request may have learnt the same meanwhile.
        """
        if was == self.version:
            self.version += self._learn(request, refusal.lower())
        return was != self.version

    def _learn(self, request: Request, said: str) -> bool:
        form = SCHEMA_FORMS[self.schema_form]
        if self.limit == "max_tokens" and "max_completion_tokens" in said:
            self.limit = "max_completion_tokens"
        elif request.schema is not None and any(name in said for name in _NAMES.get(form, ())):
            self.schema_form += 1
        else:
            names = (name for name in _OPTIONAL if name not in self.dropped and re.search(rf"\b{name}\b", said))
            if (name := next(names, None)) is None:
                return False
            self.dropped.add(name)
        return True


def encode(request: Request, model: str, features: Features) -> tuple[str, bytes]:
    """(route, body) of a request to the model of this name."""
    drawn = request.sampling
    body: dict[str, Any] = {"model": model, "temperature": drawn.temperature, features.limit: drawn.max_new_tokens}
    if drawn.top_p != 1.0:
        body["top_p"] = drawn.top_p
    if "seed" not in features.dropped:
        body["seed"] = (drawn.seed * 1_000_003 + request.index) & 0x7FFFFFFF
    if request.tools:
        body["tools"] = list(request.tools)
    if features.token_ids and "return_token_ids" not in features.dropped:
        body["return_token_ids"] = True
    if request.schema is not None:
        _ask_for_schema(body, request.schema, SCHEMA_FORMS[features.schema_form])
    wanted = features.logprobs and "logprobs" not in features.dropped
    if request.text or request.ids:
        body["prompt"] = list(request.ids) or request.text
        if request.ids:
            body |= _plainly(request, features)
        if wanted:
            body["logprobs"] = 1
        return "/completions", dump(body)
    body["messages"] = [_message(m.role, m.content) for m in request.messages]
    if wanted:
        body["logprobs"] = True
    return "/chat/completions", dump(body)


def _plainly(request: Request, features: Features) -> dict[str, Any]:
    """What keeps a server from drawing otherwise: some take a model's generation_config.json for defaults."""
    body: dict[str, Any] = {"top_p": request.sampling.top_p, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0}
    if request.stop_ids:
        body["stop_token_ids"] = list(request.stop_ids)
    if features.token_ids and "return_tokens_as_token_ids" not in features.dropped:
        body["return_tokens_as_token_ids"] = True  # of older vLLM
    return body


def _message(role: str, content: str) -> dict[str, str]:
    if role == "ipython":
        return {"role": "tool", "content": content, "tool_call_id": "call"}
    return {"role": role, "content": content}


def _ask_for_schema(body: dict[str, Any], schema: Mapping[str, Any], form: str) -> None:
    if form == "json_schema":
        named = {"name": "reply", "strict": True, "schema": schema}
        body["response_format"] = {"type": "json_schema", "json_schema": named}
    elif form == "structured_outputs":
        body["structured_outputs"] = {"json": schema}
    elif form == "guided_json":
        body["guided_json"] = schema
    elif form == "json_object":
        body["response_format"] = {"type": "json_object"}


def load(data: bytes | bytearray) -> Any:
    """JSON of a body, mended where it is no clean UTF-8.

    Raises:
        Malformed: it is no JSON; the message says what it looks like.
    """
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        pass
    text = bytes(data).decode("utf-8-sig", "replace")
    try:
        return _mended(json.loads(text, strict=False))
    except (ValueError, RecursionError) as error:
        raise Malformed(looks_like(text)) from error


def _mended(value: Any) -> Any:
    """The value without half surrogate pairs, which no file and no database takes."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_mended(item) for item in value]
    if isinstance(value, dict):
        return {_mended(key): _mended(item) for key, item in value.items()}
    return value


def looks_like(text: str) -> str:
    """What a body that is no JSON looks like, in a line."""
    start = text.lstrip()[:4000]
    if re.match(r"<(!doctype|html|head|\?xml)", start, re.I):
        title = re.search(r"<title[^>]*>(.*?)</title>", start, re.I | re.S)
        said = f" titled {' '.join(title[1].split())[:80]!r}" if title else ""
        return f"an HTML page{said}, not JSON"
    if not start:
        return "an empty body"
    return f"no JSON but {start[:80]!r}"


def decode(data: bytes | bytearray, request: Request, seconds: float) -> Reply:
    """A body with status 200 as a reply.

    Raises:
        Malformed: it is no reply; the message says what it is.
    """
    found = load(data)
    try:
        choice = found["choices"][0]
        if request.text or request.ids:
            return _reply(found, choice, choice["text"], seconds, request)
        message = choice["message"]
        content = message.get("content")
        if isinstance(content, list):
            content = "".join(part.get("text", "") for part in content)
        return _reply(found, choice, content, seconds, request)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        told = error_message(found)
        raise Malformed(f"an error with status 200: {told}" if told else "JSON without a choice") from error


def _reply(found: Any, choice: Any, content: Any, seconds: float, request: Request) -> Reply:
    message = choice.get("message") or {}
    finish = choice.get("finish_reason") or "stop"
    if not content and message.get("refusal"):
        content, finish = message["refusal"], "refusal"
    text = content or ""
    if not isinstance(text, str):
        raise TypeError("content is no text")
    extra: dict[str, Any] = {}
    if message.get("tool_calls"):
        extra["tool_calls"] = tuple(message["tool_calls"])
    if reasoning := message.get("reasoning_content") or message.get("reasoning"):
        extra["reasoning"] = str(reasoning)
    if told := choice.get("logprobs"):
        drawn = told.get("content")
        extra["logprobs"] = tuple(t["logprob"] for t in drawn) if drawn else tuple(told.get("token_logprobs") or ())
        names = [t["token"] for t in drawn] if drawn else told.get("tokens") or []
        if names and all(isinstance(name, str) and _TOKEN_ID.fullmatch(name) for name in names):
            extra["token_ids"] = tuple(int(name.removeprefix("token_id:")) for name in names)
    if choice.get("token_ids"):
        extra["token_ids"] = tuple(choice["token_ids"])
    return Reply(
        text=text,
        finish=finish,
        usage=_usage(found.get("usage"), request, text),
        served_by=found.get("model") or "",
        seconds=seconds,
        **extra,
    )


def _usage(told: Any, request: Request, text: str) -> Usage:
    if told and told.get("prompt_tokens") is not None:
        details = told.get("prompt_tokens_details")
        cached = (details.get("cached_tokens") or 0) if details else 0
        return Usage(prompt=told["prompt_tokens"], completion=told.get("completion_tokens") or 0, cached=cached)
    return Usage(prompt=prompt_tokens(request), completion=tokens_in(text), estimated=True)


def error_message(found: Any) -> str:
    """What a server says went wrong, in the several places where servers say it; empty when it says nothing."""
    if not isinstance(found, dict):
        return ""
    for name in ("error", "detail", "message"):
        told = found.get(name)
        if isinstance(told, dict):
            told = told.get("message") or told.get("detail")
        if told:
            return told if isinstance(told, str) else dump(told).decode()[:500]
    return ""
