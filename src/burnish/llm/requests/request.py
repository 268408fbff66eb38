"""What is asked of a language model, and what comes back: the nouns of this room."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from burnish.records import Message, Sampling, content_id, plain


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One question to one model.

    Args:
        model: identity of who answers: a content id for weights, class of endpoint and the server's name for a server.
        sampling: how the reply is drawn; its seed is sent where the server takes one.
        messages: the dialogue. Empty when `text` is given.
        text: raw text to go on with (the completions route); empty for a dialogue.
        schema: JSON schema that the reply must satisfy; None for free text.
        tools: tool definitions as OpenAI's chat route takes them.
        index: sample number; requests that differ in it alone are samples of one another.
        operation: id of the operation that asks. Not part of the key: it is for books, and for engines that answer
            operations without a model.
        record: the operation's input, for such engines. Not part of the key.
    """

    model: str
    sampling: Sampling
    messages: tuple[Message, ...] = ()
    text: str = ""
    schema: Mapping[str, Any] | None = None
    tools: Sequence[Mapping[str, Any]] = ()
    index: int = 0
    operation: str = field(default="", compare=False)
    record: Any = field(default=None, compare=False, repr=False)

    def key(self) -> str:
        """What the reply is stored under: equal for equal questions, whoever asks and however the reply is read."""
        return content_id(
            {
                "model": self.model,
                "sampling": plain(self.sampling),
                "messages": [plain(message) for message in self.messages],
                "text": self.text,
                "schema": self.schema,
                "tools": list(self.tools),
                "index": self.index,
            }
        )


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
        finish: `stop`, `length`, `tool_calls`, `content_filter`, or what else the server says.
        failure: why there is no reply and will be none (a context overflow, a refused request, retries used up), in
            words; empty when there is one. A reply with a failure is kept like any other, and never read as an answer.
        usage: tokens, for the books.
        tool_calls: as OpenAI's chat route returns them.
        token_ids, logprobs: of the drawn tokens, where the server tells.
        served_by: the model's name as the server gave it.
        seconds: from sending to the last byte.
    """

    text: str = ""
    finish: str = "stop"
    failure: str = ""
    usage: Usage = field(default_factory=Usage)
    tool_calls: tuple[Mapping[str, Any], ...] = ()
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    served_by: str = ""
    seconds: float = field(default=0.0, compare=False)


class Asker(Protocol):
    """Answers requests one at a time, many at once: an endpoint, an engine in this process, the oracle.

    `identity` goes into `Request.model`. A failure for good is a `Reply` with `failure`; what may pass (a 429, a cut
    connection) is retried inside.
    """

    identity: str

    async def ask(self, request: Request) -> Reply: ...
