"""Regular expressions of strangers, on texts of strangers: those that may take exponential time are refused."""

from __future__ import annotations

import re
from functools import lru_cache
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from burnish.errors import DataError

MAX_MATCHED = 2_000  # ASSUMED: characters of a text that a pattern is tried on
_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)


@lru_cache(maxsize=1024)
def bounded(pattern: str) -> re.Pattern[str]:
    """The compiled pattern.

    Raises:
        DataError: it is no regular expression, or repeats without end something that has several lengths.
    """
    try:
        compiled, tree = re.compile(pattern), sre_parser.parse(pattern)
    except (re.error, TypeError, RecursionError, OverflowError) as error:
        raise DataError(f"the pattern {pattern!r} is no regular expression: {error}") from None
    if _wild(tree):
        raise DataError(f"the pattern {pattern!r} repeats a repetition or a choice, which may never end; rewrite it")
    return compiled


def _wild(tree: Any, inside: bool = False) -> bool:
    """Whether something repeated without end (`inside`) repeats again or chooses."""
    for kind, value in tree:
        parts, below = _parts(kind, value), inside
        if kind in _REPEATS:
            if inside and value[0] != value[1]:
                return True
            below = inside or value[1] == sre.MAXREPEAT or value[1] > 100
        if (kind is sre.BRANCH and inside) or any(_wild(part, below) for part in parts):
            return True
    return False


def _parts(kind: Any, value: Any) -> list[Any]:
    if kind in _REPEATS:
        return [value[2]]
    if kind is sre.BRANCH:
        return list(value[1])
    if kind is sre.SUBPATTERN:
        return [value[3]]
    if kind is sre.ATOMIC_GROUP:
        return [value]
    if kind is sre.GROUPREF_EXISTS:
        return [part for part in value[1:] if part is not None]
    return [value[1]] if kind in (sre.ASSERT, sre.ASSERT_NOT) else []
