"""Token ids back to messages: a small parser over special ids and the text between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from burnish.records import Message

Symbol = int | str  # a special token's id, or one character


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """What a format writes around contents, as text (special tokens by their names).

    Args:
        openings: (role, text) from the end of the message before to where that role's content begins.
        leads: (end, text) that an assistant says before its content, in messages with that end ("" means any).
        closings: (role, end, text) after a content; role "" means any, and text holds at least one special token.
        calls_by_successor: an assistant message is a call when a tool's result follows it.
        whole: why a whole dialogue cannot be read back, empty when it can; a completion always can.
    """

    openings: tuple[tuple[str, str], ...]
    leads: tuple[tuple[str, str], ...] = ()
    closings: tuple[tuple[str, str, str], ...]
    calls_by_successor: bool
    whole: str = ""


def flatten(units: Sequence[int | str]) -> tuple[Symbol, ...]:
    """Units as single symbols."""
    return tuple(s for unit in units for s in ((unit,) if isinstance(unit, int) else unit))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reader:
    """A structure in symbols, longest patterns first, and the names of special ids."""

    openings: tuple[tuple[str, tuple[Symbol, ...]], ...]
    leads: tuple[tuple[str, tuple[Symbol, ...]], ...]
    closings: tuple[tuple[str, str, tuple[Symbol, ...]], ...]
    names: dict[int, str]
    calls_by_successor: bool
    whole: str

    def read(self, symbols: tuple[Symbol, ...], *, completion: bool) -> tuple[Message, ...]:
        """Messages of a whole dialogue (it begins with an opening) or of a completion (it begins amid a message)."""
        if not symbols:
            return ()
        whole = not completion and not self.whole and self._opening(symbols, 0) is not None
        messages: list[Message] = []
        position, role = 0, "assistant"
        while True:
            opening = self._opening(symbols, position) if whole or messages else ("assistant", 0)
            if opening is None:  # sampled structure that is none: it stays visible, as what the assistant said
                role = "assistant"
            else:
                role, length = opening
                position += length
            if opening is not None and position == len(symbols):
                break  # a generation header: nothing was said yet
            message, position = self._message(symbols, position, role)
            messages.append(message)
            if position >= len(symbols):
                break
        return tuple(self._calls(messages))

    def _opening(self, symbols: tuple[Symbol, ...], position: int) -> tuple[str, int] | None:
        for role, pattern in self.openings:
            if symbols[position : position + len(pattern)] == pattern:
                return role, len(pattern)
        return None

    def _message(self, symbols: tuple[Symbol, ...], position: int, role: str) -> tuple[Message, int]:
        for place in range(position, len(symbols)):
            if isinstance(symbols[place], str):
                continue
            for owner, end, pattern in self.closings:
                before = next(i for i, s in enumerate(pattern) if isinstance(s, int))
                start = place - before
                if owner not in ("", role) or start < position or symbols[start : place + 1] != pattern[: before + 1]:
                    continue
                rest = pattern[before + 1 :]
                found = symbols[place + 1 : place + 1 + len(rest)]
                after = place + 1 + (len(found) if found == rest[: len(found)] else 0)
                return self._said(symbols[position:start], role, end), after
        return self._said(symbols[position:], role, "turn"), len(symbols)

    def _said(self, content: tuple[Symbol, ...], role: str, end: str) -> Message:
        for when, lead in self.leads if role == "assistant" else ():
            if when in ("", end) and content[: len(lead)] == lead:
                content = content[len(lead) :]
                break
        text = "".join(s if isinstance(s, str) else self.names[s] for s in content)
        return Message(role=role, content=text, end=end if role == "assistant" else "turn")

    def _calls(self, messages: Sequence[Message]) -> list[Message]:
        if not self.calls_by_successor:
            return list(messages)
        marked = []
        for index, message in enumerate(messages):
            after = messages[index + 1].role if index + 1 < len(messages) else ""
            if message.role == "assistant" and after == "ipython":
                message = Message(role=message.role, content=message.content, end="message")
            marked.append(message)
        return marked
