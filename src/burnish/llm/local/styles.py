"""How a prompt is put to a model, and how its tokens are read: as a chat, or as text to be completed.

A style turns messages into ids, says when an answer has ended, and turns drawn ids back into messages. `chat` is the
model's own dialogue format. `completion` is for base models, which know none:

    System: ...              one labelled line a message: Question (user), Answer (assistant),
    Question: ...            Call (assistant, the turn goes on), Result (ipython)
    Answer:                  the model goes on here, to its EOS, a blank line or a new "Question:" line

`few-shot` is the same with worked examples before it, a blank line between them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from burnish.chat import Chat, Tokens
from burnish.records import Demonstration, Message, Prompt

STYLES = ("chat", "completion", "few-shot")
_LABELS = {"system": "System", "user": "Question", "ipython": "Result"}
_END = re.compile(r"\n[ \t\r]*\n|(?:^|\n)Question:")
_ENDING_CHARACTERS = "\n:"  # the last characters of what `_END` finds


class Style(Protocol):
    """What the sampler asks of a style."""

    stop_ids: tuple[int, ...]
    watched: frozenset[int]  # tokens after which `ended` must be asked

    def encode(self, prompt: Prompt) -> tuple[int, ...]: ...

    def ended(self, ids: Sequence[int]) -> bool: ...

    def messages(self, ids: Sequence[int]) -> tuple[Message, ...]: ...


@dataclass(frozen=True)
class ChatStyle:
    """The model's own dialogue format; only stop tokens end an answer."""

    chat: Chat
    watched: frozenset[int] = frozenset()

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return self.chat.stop_ids

    @property
    def identity(self) -> str:
        return self.chat.identity

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        return self.chat.encode_prompt(prompt.messages)

    def ended(self, ids: Sequence[int]) -> bool:
        return False

    def messages(self, ids: Sequence[int]) -> tuple[Message, ...]:
        return self.chat.decode(ids, completion=True)


@dataclass(frozen=True)
class CompletionStyle:
    """Labelled lines, after worked examples if there are any. Needs a tokenizer, and no chat template."""

    tokens: Tokens
    examples: tuple[Demonstration, ...] = ()
    stop_ids: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        told = self.tokens.source.generation.get("eos_token_id")
        stops = [*(told if isinstance(told, list) else [told]), self.tokens.named("eos_token")]
        object.__setattr__(self, "stop_ids", tuple(dict.fromkeys(s for s in stops if isinstance(s, int))))

    @property
    def identity(self) -> str:
        return "completion"

    @cached_property
    def watched(self) -> frozenset[int]:
        ends = _ENDING_CHARACTERS
        return frozenset(i for i in range(self.tokens.vocabulary) if any(c in self.tokens.text([i]) for c in ends))

    @cached_property
    def _before(self) -> str:
        return "".join(render((*e.context, *e.response)) + "\n" for e in self.examples)

    def encode(self, prompt: Prompt) -> tuple[int, ...]:
        return self.tokens.encode_text(f"{self._before}{render(prompt.messages)}Answer:")

    def ended(self, ids: Sequence[int]) -> bool:
        return _END.search(self.tokens.text(ids).lstrip()) is not None

    def messages(self, ids: Sequence[int]) -> tuple[Message, ...]:
        text = self.tokens.text([i for i in ids if i not in self.stop_ids]).lstrip()
        found = _END.search(text)
        return (Message(role="assistant", content=(text[: found.start()] if found else text).strip()),)


def render(messages: Sequence[Message]) -> str:
    """One labelled line a message, each with its line end."""
    lines = []
    for message in messages:
        label = _LABELS.get(message.role) or ("Call" if message.end == "message" else "Answer")
        lines.append(f"{label}: {message.content}\n")
    return "".join(lines)
