"""JSON as language models write it: in prose, in code fences, with single quotes or a comma too many.

What is read is what is written: nothing is closed, completed or corrected. A value that ends with the text is *cut
off*, and is refused together with everything in it.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 32  # levels of nesting; a reply form has two or three
MAX_DIGITS = 40  # digits of a number
_START = re.compile(r"\{\s*(?=[\"'}])")  # a brace of a formula or a set of names opens no object
_SPACE = re.compile(r"\s*")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?(?=[\s,\]}]|$)")
_WORD = re.compile(r"[A-Za-z]+")
_WORDS = {"true": True, "false": False, "null": None, "True": True, "False": False, "None": None}
_PLAIN = {'"': re.compile(r'[^"\\]*'), "'": re.compile(r"[^'\\]*")}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "/": "/", "\\": "\\", '"': '"', "'": "'"}
_HEX = re.compile(r"[0-9a-fA-F]{4}")
_HALF = re.compile("[\ud800-\udfff]")
_BRACE = re.compile(r'"(?:[^"\\]|\\.)*"|[{}]', re.S)


class Malformed(ValueError):
    """Not JSON, and not near enough; `cut` when the text ended too early."""

    def __init__(self, message: str, *, cut: bool = False) -> None:
        super().__init__(message)
        self.cut = cut


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """One object in a text: its value, or the reason why it cannot be read."""

    value: dict[str, Any] | None
    error: str = ""


def objects(text: str) -> list[Found]:
    """The outermost objects of a text in their order. Takes time linear in the text.

    Raises:
        Malformed: the text ends inside an object (`cut`); what stands inside it is not offered in its place.
    """
    found: list[Found] = []
    at = 0
    while start := _START.search(text, at):
        try:
            value, at = _object(text, start.start(), 0)
            found.append(Found(value=value))
        except Malformed as error:
            if error.cut:
                raise
            found.append(Found(value=None, error=str(error)))
            at = _skip(text, start.start())
    return found


def _skip(text: str, at: int) -> int:
    """The place behind a broken object: what stands inside it must not be taken for the whole."""
    depth = 0
    for brace in _BRACE.finditer(text, at):
        depth += {"{": 1, "}": -1}.get(brace.group(), 0)
        if not depth and brace.group() == "}":
            return brace.end()
    raise Malformed("the object is never closed", cut=True)


def _space(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _peek(text: str, at: int) -> str:
    if at >= len(text):
        raise Malformed("the text ends inside an object", cut=True)
    return text[at]


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    if depth > MAX_DEPTH:
        raise Malformed(f"more than {MAX_DEPTH} levels of nesting")
    mark = _peek(text, at)
    if mark == "{":
        return _object(text, at, depth)
    if mark == "[":
        return _list(text, at, depth)
    if mark in "\"'":
        return _string(text, at)
    if number := _NUMBER.match(text, at):
        return _number(number), number.end()
    word = _WORD.match(text, at)
    if word and word.group() in _WORDS:
        return _WORDS[word.group()], word.end()
    raise Malformed(f"no JSON value at {text[at : at + 20]!r}", cut=bool(word) and word.end() == len(text))


def _number(match: re.Match[str]) -> int | float:
    text = match.group()
    if len(text) > MAX_DIGITS:
        raise Malformed(f"a number of {len(text)} digits")
    if not match.group(1) and not match.group(2):
        return int(text)
    value = float(text)
    if not math.isfinite(value):
        raise Malformed(f"the number {text} is out of range")
    return value


def _string(text: str, at: int) -> tuple[str, int]:
    quote, parts = text[at], []
    at += 1
    while True:
        run = _PLAIN[quote].match(text, at)
        if run:
            parts.append(run.group())
            at = run.end()
        if _peek(text, at) == quote:
            return _paired("".join(parts)), at + 1
        escape = _peek(text, at + 1)
        if escape == "u":
            code = _HEX.match(text, at + 2)
            if not code:
                raise Malformed("a \\u without four hexadecimal digits", cut=at + 6 > len(text))
            parts.append(chr(int(code.group(), 16)))
            at += 6
        else:
            # Formulas come with single backslashes (\frac, \( ... \)); an unknown escape stands for itself.
            parts.append(_ESCAPES.get(escape, "\\" + escape))
            at += 2


def _paired(text: str) -> str:
    """Two escapes that are halves of one character become that character."""
    if not _HALF.search(text):
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def _list(text: str, at: int, depth: int) -> tuple[list[Any], int]:
    values: list[Any] = []
    at = _space(text, at + 1)
    while _peek(text, at) != "]":
        value, at = _value(text, at, depth + 1)
        values.append(value)
        at = _comma(text, at, "]")
    return values, at + 1


def _object(text: str, at: int, depth: int) -> tuple[dict[str, Any], int]:
    values: dict[str, Any] = {}
    at = _space(text, at + 1)
    while _peek(text, at) != "}":
        if text[at] not in "\"'":
            raise Malformed(f"a field's name in quotes is missing at {text[at : at + 20]!r}")
        name, at = _string(text, at)
        at = _space(text, at)
        if _peek(text, at) != ":":
            raise Malformed(f"a colon is missing after {name[:40]!r}")
        value, at = _value(text, _space(text, at + 1), depth + 1)
        if name in values:
            raise Malformed(f"the field {name[:40]!r} comes twice")
        values[name] = value
        at = _comma(text, at, "}")
    return values, at + 1


def _comma(text: str, at: int, close: str) -> int:
    """The place of the next value, or of the closing mark; a comma before that mark is let pass."""
    at = _space(text, at)
    if _peek(text, at) == close:
        return at
    if text[at] != ",":
        raise Malformed(f"a comma or {close} is missing at {text[at : at + 20]!r}")
    return _space(text, at + 1)
