"""ChatML, as Qwen2 and many others use it.

    <|im_start|>user
    2+2?<|im_end|>
    <|im_start|>assistant
    4<|im_end|>

ASSUMED: ChatML has one terminator, so a tool call (`end="message"`) is known by the message of role `tool` that
follows it; a call that no result follows, or a result after a finished turn, is refused before encoding, and every
other dialogue reads back as it was. The newline after `<|im_end|>` is structure that nobody samples: it stands in
the ids, as in Qwen2's template, and is never trained.
"""

from __future__ import annotations

from collections.abc import Sequence

from burnish.chat.pieces import Frame
from burnish.chat.reading import Structure
from burnish.chat.tokens import Source
from burnish.errors import ChatError
from burnish.records import ROLES, Message

START, END = "<|im_start|>", "<|im_end|>"
PAD = "<|im_pad|>"  # ASSUMED: only for a base that has no pad token of its own


class ChatML:
    """The format on a given tokenizer; it begins with BOS where the tokenizer puts one before plain text."""

    name = "chatml"
    calls_by_successor = True

    def __init__(self, source: Source) -> None:
        missing = [token for token in (START, END) if token not in source.added]
        if missing:
            raise ChatError(
                f"{source.folder} lacks the token {missing[0]} of the chatml format; "
                "let the run add it to the base model with --chat chatml"
            )
        self._bos = source.named.get("bos_token", "") if source.adds_bos else ""
        self.control = (START, END)
        self.stops = (END,)

    @staticmethod
    def _header(role: str) -> str:
        return f"{START}{'tool' if role == 'ipython' else role}\n"

    def frames(self, messages: Sequence[Message]) -> list[Frame]:
        """One frame per message."""
        return [
            Frame(
                header=(self._bos if index == 0 else "") + self._header(message.role),
                content=message.content,
                closing=END,
                trailing="\n",
            )
            for index, message in enumerate(messages)
        ]

    def prompt(self, context: Sequence[Message]) -> tuple[list[Frame], str]:
        """Frames of the context, and the generation header."""
        return self.frames(context), ("" if context else self._bos) + self._header("assistant")

    def answer(self, context: Sequence[Message], response: Sequence[Message]) -> list[Frame]:
        """Frames of the response behind its context."""
        return self.frames([*context, *response])[len(context) :]

    @property
    def structure(self) -> Structure:
        """What `decode` reads."""
        headers = [(role, self._header(role)) for role in ROLES]
        first = [(role, self._bos + header) for role, header in headers] if self._bos else []
        return Structure(openings=(*first, *headers), closings=(("", "turn", END + "\n"),), calls_by_successor=True)
