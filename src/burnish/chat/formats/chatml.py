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

from burnish.chat.formats.headed import Headed
from burnish.chat.pieces import Frame
from burnish.chat.reading import Structure
from burnish.chat.tokens import Source
from burnish.errors import ChatError
from burnish.records import Message

START, END = "<|im_start|>", "<|im_end|>"
PAD = "<|im_pad|>"  # ASSUMED: only for a base that has no pad token of its own


class ChatML(Headed):
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
        self.bos = source.named.get("bos_token", "") if source.adds_bos else ""
        self.control = (START, END)
        self.stops = (END,)

    @staticmethod
    def header(role: str) -> str:
        return f"{START}{'tool' if role == 'ipython' else role}\n"

    def frames(self, messages: Sequence[Message]) -> list[Frame]:
        """One frame per message."""
        return [
            Frame(
                header=self.opening(index, message.role),
                content=message.content,
                closing=END,
                trailing="\n",
            )
            for index, message in enumerate(messages)
        ]

    @property
    def structure(self) -> Structure:
        """What `decode` reads."""
        return Structure(openings=self.openings(), closings=(("", "turn", END + "\n"),), calls_by_successor=True)
