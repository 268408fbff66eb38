"""Settings of recipes and steps: overrides from the command line, and the source that stands beside each value."""

from __future__ import annotations

import difflib
import inspect
import io
import json
import re
import tokenize
import types
import typing
from collections.abc import Iterable
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any, TypeVar

from burnish.errors import SettingsError

Settings = TypeVar("Settings")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a number comes from. `kind` is `source`, `ASSUMED`, `DEVIATION` or `plumbing`; `text` is the comment."""

    kind: str
    text: str


def nearest(word: str, known: Iterable[str]) -> str:
    """`; did you mean 'x'?` when something known is close, else the list of what there is."""
    known = list(known)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"


def _read(text: str, kind: Any, name: str) -> Any:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        if text.lower() in ("none", "null"):
            return None
        kind = next(a for a in typing.get_args(kind) if a is not type(None))
    origin = typing.get_origin(kind) or kind
    if origin is typing.Literal:
        if text not in typing.get_args(kind):
            raise SettingsError(f"--set {name}={text}: {name} is one of {', '.join(typing.get_args(kind))}")
        return text
    try:
        if origin is bool:
            return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[text.lower()]
        if origin in (int, float, str):
            return origin(text)
        if origin is tuple:
            inner = typing.get_args(kind)[0]
            parts = json.loads(text) if text.startswith("[") else [p for p in text.split(",") if p]
            _check_length(parts, typing.get_args(kind), name, text)
            return tuple(_read(str(part), inner, name) for part in parts)
        return origin(json.loads(text))
    except SettingsError:
        raise
    except (ValueError, KeyError, TypeError) as error:
        wanted = getattr(kind, "__name__", str(kind))
        raise SettingsError(f"--set {name}={text}: {name} takes a value of type {wanted}") from error


def _check_length(parts: list[Any], kinds: tuple[Any, ...], name: str, text: str) -> None:
    if Ellipsis not in kinds and len(parts) != len(kinds):
        raise SettingsError(f"--set {name}={text}: {name} takes {len(kinds)} values, and {len(parts)} are given")


def override(settings: Settings, pairs: Iterable[str]) -> Settings:
    """A copy of a frozen settings dataclass with `key=value` pairs applied.

    Raises:
        SettingsError: a pair is no pair, a key is unknown (the nearest is named), or a value has the wrong type.
    """
    hints = typing.get_type_hints(type(settings))
    changes = {}
    for pair in pairs:
        name, sign, text = pair.partition("=")
        if not sign:
            raise SettingsError(f"--set {pair}: write it as key=value")
        if name not in hints:
            raise SettingsError(f"--set {pair}: there is no setting {name!r}; {nearest(name, hints)}")
        changes[name] = _read(text, hints[name], name)
    return replace(settings, **changes)


@cache
def sources(cls: type) -> dict[str, Source]:
    """The comment at the end of each field's line, as its source: report section or table, ASSUMED, DEVIATION.

    A field that a subclass does not write has the source of its parent.
    """
    found: dict[str, Source] = {}
    for parent in reversed(cls.__mro__):
        if is_dataclass(parent):
            found |= _own_sources(parent)
    return found


def _own_sources(cls: type) -> dict[str, Source]:
    text = inspect.getsource(cls)
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ").strip()
    found = {}
    for number, line in enumerate(text.splitlines(), 1):
        match = re.match(r"\s+(\w+)\s*:", line)
        if match and match[1] in {f.name for f in fields(cls)}:
            comment = comments.get(number, "")
            kind = next((tag for tag in ("ASSUMED", "DEVIATION", "plumbing") if comment.startswith(tag)), "source")
            found[match[1]] = Source(kind if comment else "plumbing", comment)
    return found
