"""How dialogues are written: one module per published format, and `own` for the template a tokenizer brings along.

A format has a `name`, turns messages into frames (`prompt`, `answer`), names its `control` and `stops` tokens, and
describes its `structure` for reading back. To add one: write the module, list it in `FORMATS`, and put the same
format as Jinja beside it, so that other programs render it too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from burnish.chat.formats.chatml import ChatML
from burnish.chat.formats.llama3 import Llama3
from burnish.chat.formats.own import Own
from burnish.chat.pieces import Frame
from burnish.chat.reading import Structure
from burnish.records import Message

FORMATS = {"llama3": Llama3, "chatml": ChatML}
_BOS_LINE = "{{- bos_token }}\n"


class Format(Protocol):
    """What the codec asks of a format."""

    name: str
    calls_by_successor: bool
    control: tuple[str, ...]
    stops: tuple[str, ...]

    @property
    def structure(self) -> Structure: ...

    def prompt(self, context: Sequence[Message]) -> tuple[list[Frame], str]: ...

    def answer(self, context: Sequence[Message], response: Sequence[Message]) -> list[Frame]: ...


def jinja(name: str, *, bos: bool) -> str:
    """The Jinja template of a lab format, which renders what the format writes; with BOS or without."""
    text = (Path(__file__).parent / f"{name}.jinja").read_text("utf-8")
    return _BOS_LINE + text if bos else text


def recognise(template: str) -> str:
    """The name of the lab format that a folder's template is, as `jinja` writes it; empty for any other."""
    return next((n for n in FORMATS if template.removeprefix(_BOS_LINE).strip() == jinja(n, bos=False).strip()), "")


__all__ = ["FORMATS", "ChatML", "Format", "Llama3", "Own", "jinja", "recognise"]
