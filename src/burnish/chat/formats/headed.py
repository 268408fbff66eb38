"""What the lab formats share: BOS once, a header that names the role, an answer that is a suffix of the whole."""

from __future__ import annotations

from collections.abc import Sequence

from burnish.chat.pieces import Frame
from burnish.records import ROLES, Message


class Headed:
    """A format whose every message opens with a header. Subclasses write `header` and `frames`."""

    bos: str

    @staticmethod
    def header(role: str) -> str:
        """What opens a message of a role."""
        raise NotImplementedError

    def frames(self, messages: Sequence[Message]) -> list[Frame]:
        """One frame per message."""
        raise NotImplementedError

    def opening(self, index: int, role: str) -> str:
        """The header of message `index` of a dialogue, which begins with BOS."""
        return ("" if index else self.bos) + self.header(role)

    def prompt(self, context: Sequence[Message]) -> tuple[list[Frame], str]:
        """Frames of the context, and the generation header."""
        return self.frames(context), self.opening(len(context), "assistant")

    def answer(self, context: Sequence[Message], response: Sequence[Message]) -> list[Frame]:
        """Frames of the response behind its context."""
        return self.frames([*context, *response])[len(context) :]

    def openings(self) -> tuple[tuple[str, str], ...]:
        """(role, text) of every way a message can open, those with BOS first."""
        places = (0, 1) if self.bos else (1,)
        return tuple((role, self.opening(index, role)) for index in places for role in ROLES)
