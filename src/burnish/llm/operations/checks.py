"""What is wrong with the caller's own code, told before anything is sent, and told from what is wrong with a reply.

asker      somebody who can be asked
record     its fields hold what they are declared to hold
own code   `build`, `record`, `then`: an error that is no ValueError is a fault of the code
"""

from __future__ import annotations

import sysconfig
import traceback
import types
import typing
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, SettingsError

_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("purelib", "platlib", "stdlib"))
_SHOWN = 200  # characters of a value in an error
_FIX = {
    "Response": "Response(prompt=prompt.id, messages=(Message(role='assistant', content=TEXT),)) makes one of a text",
    "Prompt": "Prompt(messages=(Message(role='user', content=TEXT),)) makes one of a text",
    "Message": "Message(role='user', content=TEXT) makes one of a text",
}


def brief(value: Any) -> str:
    """A value in an error, on one line."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text):,} characters)"


def check_asker(asker: Any, where: str = "") -> None:
    """Refuse what cannot be asked.

    Raises:
        SettingsError: it lacks `identity` or `ask`.
    """
    if hasattr(asker, "ask") and hasattr(asker, "identity"):
        return
    said = f"{where}: " if where else ""
    if isinstance(asker, (str, Path)):
        raise SettingsError(
            f"{said}the asker is the text {str(asker)!r}; for a server, give "
            "burnish.llm.requests.Endpoint.parse('http://host:8000/v1#model')"
        )
    raise SettingsError(
        f"{said}the asker is a {type(asker).__name__}, which lacks `identity` or `ask(request)`; give an Endpoint, a "
        "Scripted, or an object that has both"
    )


class Checked:
    """Parent of records that check their fields when they are made.

    Raises:
        SettingsError: a field holds something of another type.
    """

    __slots__ = ()

    def __post_init__(self) -> None:
        check_fields(self)


def check_fields(record: Any) -> None:
    """Refuse a record with a field of another type than it is declared with.

    Classes, unions of them and tuples of them are checked; other annotations are passed over.

    Raises:
        SettingsError: it names the record, the field, and what was given.
    """
    for name, kind, known in _kinds(type(record)):
        value = getattr(record, name)
        if not _fits(value, known):
            wanted = told_type(kind)
            fix = next((f"; {text}" for key, text in _FIX.items() if key in wanted and "tuple" not in wanted), "")
            raise SettingsError(
                f"{type(record).__name__} takes {wanted} as {name}, and was given a {type(value).__name__}: "
                f"{brief(value)}{fix}"
            )


@cache
def _kinds(record: type) -> tuple[tuple[str, Any, Any], ...]:
    """(field, annotation, what `_fits` takes) of the fields that can be checked."""
    try:
        hints = typing.get_type_hints(record)
    except (NameError, TypeError):  # declared inside a function, or under TYPE_CHECKING
        return ()
    found = ((f.name, hints[f.name], _known(hints[f.name])) for f in fields(record) if f.name in hints)
    return tuple((name, kind, known) for name, kind, known in found if known is not None)


def _known(kind: Any) -> Any:
    """Classes, or ("each", classes) for a tuple of any length; None for what is not checked."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        parts = [_known(part) for part in inner]
        if any(part is None or part[0] == "each" for part in parts):
            return None
        return tuple(cls for part in parts for cls in part)
    if origin is tuple:
        each = _known(inner[0]) if len(inner) == 2 and inner[1] is Ellipsis else None
        return (tuple,) if each is None or each[0] == "each" else ("each", each)
    plain = origin if isinstance(origin, type) else kind
    if not isinstance(plain, type) or plain is Any or getattr(plain, "_is_protocol", False):
        return None
    return (int, float) if plain is float else (plain,)


def _fits(value: Any, known: Any) -> bool:
    if known[0] == "each":
        return isinstance(value, tuple) and all(_fits(item, known[1]) for item in value)
    if isinstance(value, bool) and bool not in known:
        return object in known
    return isinstance(value, known)


def told_type(kind: Any) -> str:
    """An annotation in short: `Response`, `str`, `tuple[str, ...]`."""
    if kind is type(None):
        return "None"
    if isinstance(kind, type) and not typing.get_args(kind):
        return kind.__name__
    inner = ", ".join("..." if part is Ellipsis else told_type(part) for part in typing.get_args(kind))
    origin = typing.get_origin(kind)
    if origin in (typing.Union, types.UnionType):
        return inner.replace(", ", " | ")
    return f"{getattr(origin, '__name__', str(kind))}[{inner}]" if inner else str(kind).replace("typing.", "")


@contextmanager
def own_code(what: str, item: Any, said: str | None = None) -> Iterator[None]:
    """Around a function of the caller's: what it raises, but for a ValueError, ends the whole asking.

    It would befall every item, and what looks like 1,000 bad replies costs as much as 1,000 good ones.

    Args:
        what: the function, for the error.
        item: what it was called with.
        said: the reply that it was to read, if any.

    Raises:
        SettingsError: with the error as its cause, and with the reply, which a store has kept.
    """
    try:
        yield
    except (ValueError, BurnishError):
        raise
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)[::-1]
        at = next((frame for frame in frames if not frame.filename.startswith(_LIBRARIES)), frames[0])
        reply = "" if said is None else f"; the reply, which is not at fault, was {brief(said)}"
        raise SettingsError(
            f"{what} failed with {type(error).__name__}: {error} ({Path(at.filename).name}, line {at.lineno}), for "
            f"{brief(item)}{reply}. Mend the function; it may raise a ValueError for what cannot be used"
        ) from error
