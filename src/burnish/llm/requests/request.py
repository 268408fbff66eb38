"""What is asked of a language model, and what comes back: the nouns of this room."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, Protocol

import orjson

from burnish.errors import SettingsError
from burnish.records import ROLES, Message, Sampling

CHARACTERS_A_TOKEN = 4  # ASSUMED where nobody counts
_ROLES = {**{role: role for role in ROLES}, "tool": "ipython", "developer": "system"}  # OpenAI's names for them


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one model.

    Args:
        model: identity of who answers: a content id for weights, class of endpoint and the server's name for a server.
        sampling: how the reply is drawn; its seed is sent where the server takes one.
        messages: the dialogue, of `Message` or of OpenAI's objects with role and content. Empty when `text` is given.
        text: raw text to go on with (the completions route); empty for a dialogue.
        ids: the same as token ids, which no server tokenises again. The reply is then drawn as `sampling` says and in
            no other way, whatever the server has as its defaults.
        stop_ids: with `ids`: the tokens that end the reply.
        schema: JSON schema that the reply must satisfy; None for free text.
        tools: tool definitions as OpenAI's chat route takes them.
        index: sample number; requests that differ in it alone are samples of one another.
        operation: id of the operation that asks. Not part of the key: it is for books, and for engines that answer
            operations without a model.
        record: the operation's input, for such engines. Not part of the key.
        again: 0 for a first question, 1 and up when it is put again with what was wrong. Not part of the key: the
            words differ anyway; it is for books.

    Raises:
        SettingsError: there is nothing to ask, a message is none or has an unknown role, the sampling is out of range.
    """

    model: str
    sampling: Sampling
    messages: Sequence[Message] = ()
    text: str = ""
    ids: tuple[int, ...] = ()
    stop_ids: tuple[int, ...] = ()
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    index: int = 0
    operation: str = field(default="", compare=False)
    record: Any = field(default=None, compare=False, repr=False)
    again: int = field(default=0, compare=False)

    def __post_init__(self) -> None:
        if type(self.messages) is not tuple or not all(type(m) is Message and m.role in ROLES for m in self.messages):
            object.__setattr__(self, "messages", _messages(self.messages))
        drawn = self.sampling
        if not (self.messages or self.text or self.ids):
            raise SettingsError("a request needs messages, or a text to go on with; it has neither")
        if not isinstance(drawn, Sampling):
            raise SettingsError(f"the sampling of a request is a {type(drawn).__name__}; it must be a Sampling(...)")
        if not 0 <= drawn.temperature < math.inf:
            raise SettingsError(f"the temperature is {drawn.temperature}; it must be 0 (greedy) or more")
        if drawn.max_new_tokens < 1:
            raise SettingsError(f"max_new_tokens is {drawn.max_new_tokens}; it must be 1 or more")
        if not 0 < drawn.top_p <= 1:
            raise SettingsError(f"top_p is {drawn.top_p}; it must be above 0, and 1 at most (1 leaves nothing out)")

    def canonical(self) -> bytes:
        """What is asked, whoever asks, as JSON: the store keeps it, and `key` is its hash.

        The order of a schema's properties counts: servers write in that order.
        """
        drawn = self.sampling
        asked = {
            "index": self.index,
            "messages": [{"content": m.content, "end": m.end, "role": m.role} for m in self.messages],
            "model": self.model,
            "sampling": {
                "max_new_tokens": drawn.max_new_tokens,
                "seed": drawn.seed,
                "temperature": float(drawn.temperature),
                "top_p": float(drawn.top_p),
            },
            "schema": self.schema,
            "text": self.text,
            "tools": list(self.tools),
        }
        if self.ids:  # which came later: keys of other requests stay
            asked |= {"ids": list(self.ids), "stop_ids": list(self.stop_ids)}
        return dump(asked)

    def key(self) -> str:
        """What the reply is stored under: equal for equal questions, whoever asks and however the reply is read."""
        return key_of(self.canonical())


def _messages(given: Any) -> tuple[Message, ...]:
    """Messages as they are, and those of OpenAI's habit as ours."""
    if isinstance(given, (str, Mapping, Message)):
        raise SettingsError(f"the messages of a request are a {type(given).__name__}; they must be several, in a tuple")
    return tuple(_message(one, place) for place, one in enumerate(given, 1))


def _message(given: Any, place: int) -> Message:
    said = f"message {place} of a request"
    if isinstance(given, Mapping):
        more = sorted(set(given) - {"role", "content"})
        if more or not isinstance(given.get("content"), str):
            what = f"holds {', '.join(more)} besides" if more else f"has the content {str(given.get('content'))[:60]!r}"
            raise SettingsError(f"{said} {what}; an object needs a role and a text as content, and nothing else")
        given = Message(role=_ROLES.get(str(given.get("role")), str(given.get("role"))), content=given["content"])
    if not isinstance(given, Message):
        raise SettingsError(f"{said} is a {type(given).__name__}; it must be Message(role='user', content=TEXT)")
    if given.role not in ROLES:
        close = get_close_matches(given.role, [*_ROLES], 1)
        meant = f"did you mean {close[0]}?" if close else f"it must be one of {', '.join(ROLES)}"
        raise SettingsError(f"{said} has the role {given.role!r}; {meant}")
    return given


def key_of(canonical: bytes) -> str:
    """The key of a request in its canonical form: 16 hexadecimal digits of BLAKE2b."""
    return hashlib.blake2b(canonical, digest_size=8).hexdigest()


def dump(body: Any) -> bytes:
    """JSON; half surrogate pairs, which UTF-8 cannot carry, go as escapes, and a mapping as an object."""
    try:
        return orjson.dumps(body)
    except TypeError:
        return json.dumps(body, separators=(",", ":"), default=dict).encode()


def prompt_tokens(request: Request) -> int:
    """Tokens of what is sent, by its length."""
    return len(request.ids) + tokens_in(request.text) + sum(tokens_in(m.content) + 4 for m in request.messages)


def tokens_in(text: str) -> int:
    """Tokens of a text, by its length."""
    return -(-len(text) // CHARACTERS_A_TOKEN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens of one reply; `estimated` where the server did not say and they were counted here."""

    prompt: int = 0
    completion: int = 0
    cached: int = 0
    estimated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What came back.

    Args:
        text: what was said; empty when only tools were called.
        finish: `stop`, `length`, `tool_calls`, `content_filter`, `refusal`, or what else the server says.
        failure: why there is no reply and will be none (a context overflow, a refused request, retries used up), in
            words; empty when there is one. A reply with a failure is kept like any other, and never read as an answer.
        usage: tokens, for the books.
        tool_calls: as OpenAI's chat route returns them.
        token_ids, logprobs: of the drawn tokens, where the server tells.
        reasoning: what a reasoning model thought first, where the server tells it apart.
        served_by: the model's name as the server gave it.
        seconds: from sending to the last byte.
        attempts: how often it was sent.
        passing: the failure lay with the server and may pass: when its step runs again, so is the request.
    """

    text: str = ""
    finish: str = "stop"
    failure: str = ""
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    reasoning: str = ""
    served_by: str = ""
    seconds: float = field(default=0.0, compare=False)
    attempts: int = field(default=1, compare=False)
    passing: bool = field(default=False, compare=False)


class Asker(Protocol):
    """Answers requests one at a time, many at once: an endpoint, an engine in this process, the oracle.

    `identity` goes into `Request.model`. A failure for good is a `Reply` with `failure`; what may pass (a 429, a cut
    connection) is retried inside. A `WorkerError` says that no request can be answered and ends the whole asking.
    """

    identity: str

    async def ask(self, request: Request) -> Reply: ...
