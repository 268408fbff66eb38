"""The values that pass through this room: a frame per message, the pieces it is made of, and the encoded dialogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.records import Message

HEADER, CONTENT, TERMINATOR = "header", "content", "terminator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """How a format writes one message: `header + lead + content + closing + trailing`, each possibly empty.

    Args:
        header: up to where an assistant begins to speak (the generation prefix); begins with BOS on a first message.
        lead: structure that the assistant itself has to emit before the content (Llama 3's python tag, the empty
            thinking block some templates write).
        content: the content as the format writes it (some templates trim it).
        closing: up to and with the stop token.
        trailing: what the format puts after the stop token; nobody samples it.
        prompted: the generation prompt is exactly how this message begins, so that it can be a target.
    """

    header: str
    lead: str = ""
    content: str
    closing: str
    trailing: str = ""
    prompted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A run of characters with one meaning.

    Args:
        said: an assistant emits it (content, closing, lead), so it is trained where the message is a target. False in a
            message whose switch is off.
        cut: no token may reach across the beginning of this piece.
    """

    text: str
    role: str
    kind: str
    said: bool = False
    cut: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """A dialogue as tokens; all tuples are [T].

    Args:
        ids: token ids.
        roles: the role whose message the token belongs to (`burnish.records.ROLES`).
        kinds: `header`, `content` or `terminator`.
        trained: True on what the assistant emits in the messages that are targets, stop tokens included.
        formatting: True on structure (headers and terminators): what DPO masks (Llama 3, spec §3.5).
        prompt_length: `ids[:prompt_length]` is `encode_prompt(context)`.
    """

    ids: tuple[int, ...]
    roles: tuple[str, ...]
    kinds: tuple[str, ...]
    trained: tuple[bool, ...]
    formatting: tuple[bool, ...]
    prompt_length: int

    @property
    def prompt(self) -> tuple[int, ...]:
        """The ids that the response answers, generation header included."""
        return self.ids[: self.prompt_length]

    @property
    def completion(self) -> tuple[int, ...]:
        """The ids of the response."""
        return self.ids[self.prompt_length :]


def pieces_of(frame: Frame, message: Message, *, prompted_away: bool = False) -> list[Piece]:
    """The pieces of one message; `prompted_away` leaves out the header (it stands at the end of the prompt).

    What an assistant says (lead and content) is cut off from the header before and the structure after it, wherever
    the message stands, because that is how it was sampled: a later turn then sees the very ids of the earlier one.
    """
    role, speaks = message.role, message.role == "assistant"
    said = speaks and message.train
    parts = [
        Piece(text="" if prompted_away else frame.header, role=role, kind=HEADER),
        Piece(text=frame.lead, role=role, kind=HEADER, said=said, cut=speaks),
        Piece(text=frame.content, role=role, kind=CONTENT, said=said, cut=speaks and not frame.lead),
        Piece(text=frame.closing, role=role, kind=TERMINATOR, said=said, cut=speaks),
        Piece(text=frame.trailing, role=role, kind=TERMINATOR, cut=speaks),
    ]
    return [part for part in parts if part.text]


def pieces_of_all(frames: Sequence[Frame], messages: Sequence[Message]) -> list[Piece]:
    """The pieces of whole messages, in order."""
    return [p for frame, message in zip(frames, messages, strict=True) for p in pieces_of(frame, message)]
