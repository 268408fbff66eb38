"""What a kind of constraint is: how it is asked for, checked, drawn and written, and what it demands of a text."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import inf
from random import Random
from typing import Any

from burnish.errors import DataError
from burnish.verify.language import profiles

Kwargs = Mapping[str, Any]

# The relation words of IFEval and M-IFEval and of this project's own types, in five languages.
RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "at least": operator.ge, "al menos": operator.ge, "au moins": operator.ge, "以上": operator.ge, "至少": operator.ge,
    "less than": operator.lt, "menos de": operator.lt, "moins de": operator.lt, "未満": operator.lt,
    "少于": operator.lt,
    "at most": operator.le, "como máximo": operator.le, "au plus": operator.le, "以下": operator.le,
    "至多": operator.le,
    "exactly": operator.eq, "exactamente": operator.eq, "exactement": operator.eq, "ちょうど": operator.eq,
    "恰好": operator.eq,
}  # fmt: skip
PLAIN_RELATIONS = ("at least", "at most", "less than", "exactly")


def interval(relation: str, n: int) -> tuple[float, float]:
    """The counts, both ends included, that stand in this relation to n; empty when low > high."""
    compare = RELATIONS[relation]
    if compare is operator.ge:
        return n, inf
    return (n, n) if compare is operator.eq else (0, n if compare is operator.le else n - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Argument:
    """One argument of a constraint: its type, its least value (int), what it may be (str), whether it may be left out.

    `length` is the number of characters that a str must have, 0 for any.
    """

    kind: type
    least: int = 0
    choices: tuple[str, ...] = ()
    optional: bool = False
    length: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Demands:
    """What a constraint asks of a text, in terms in which two of them can contradict each other (`combine.py`).

    Args:
        counts: quantity -> the counts that are allowed, both ends included.
        says: phrases that must stand in the text, whatever their case; `exact`: in just this case.
        never: words that must not; `without`: a regular expression that must not match.
        case: `upper`, `lower` or empty.
        language: the code of the only language, or empty.
        form: what the whole text is: `json`, `quoted`, `options`, or empty.
        start, end: what it must begin and end with.
        divider: the mark that divides its parts, when nothing else may use it.
        only: the one kind of letters that may stand in it.
    """

    counts: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    says: tuple[str, ...] = ()
    exact: tuple[str, ...] = ()
    never: tuple[str, ...] = ()
    without: str = ""
    case: str = ""
    language: str = ""
    form: str = ""
    start: str = ""
    end: str = ""
    divider: str = ""
    only: str = ""


def nothing(kwargs: Kwargs) -> Demands:
    """A constraint that contradicts no other."""
    return Demands()


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One kind of constraint.

    Args:
        id: its name in references, as its source writes it.
        asks: ways to ask for it, with the kwargs as format fields.
        kwargs: its arguments by name.
        check: (text, kwargs) -> whether the text complies; the text is not blank.
        comply, violate: (kwargs, seed) -> a text that does and one that does not.
        sample: (random numbers) -> kwargs that can be met.
        demands: (kwargs) -> what it asks for, to find contradictions.
        possible: (kwargs) -> empty, or why no text can comply.
        language: of the instruction.
        rule, source: one line for people: how it is counted, and where that is said.
    """

    id: str
    asks: tuple[str, ...]
    kwargs: Mapping[str, Argument]
    check: Callable[[str, Kwargs], bool]
    comply: Callable[[Kwargs, int], str]
    violate: Callable[[Kwargs, int], str]
    sample: Callable[[Random], dict[str, Any]]
    demands: Callable[[Kwargs], Demands] = nothing
    possible: Callable[[Kwargs], str] = lambda kwargs: ""
    language: str = "en"
    rule: str = ""
    source: str = ""

    def instruction(self, kwargs: Kwargs, seed: int = 0) -> str:
        """The sentence that asks for it; the seed chooses among the ways to say it."""
        shown = {name: _shown(value) for name, value in kwargs.items()}
        if kwargs.get("language") in profiles():
            shown["name"] = profiles()[kwargs["language"]].name
        return self.asks[seed % len(self.asks)].format(**shown)


def _shown(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(map(str, value.values()))
    return ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def given(kwargs: Kwargs) -> dict[str, Any]:
    """The arguments that are set: published copies of IFEval write null for those that a type does not take."""
    return {name: value for name, value in kwargs.items() if value is not None}


def validate(constraint: Constraint, kwargs: Any) -> dict[str, Any]:
    """The arguments that are set, once they are what the constraint takes.

    Raises:
        DataError: an argument is missing, unknown, of the wrong type or out of range; the message names it.
    """
    wants = ", ".join(constraint.kwargs) or "none"
    if not isinstance(kwargs, Mapping):
        raise DataError(f"the constraint {constraint.id!r} takes the arguments {wants}; found: {kwargs!r}")
    kwargs = given(kwargs)
    needed = {name for name, argument in constraint.kwargs.items() if not argument.optional}
    if not needed <= set(kwargs) <= set(constraint.kwargs):
        found = ", ".join(sorted(map(str, kwargs))) or "none"
        raise DataError(f"the constraint {constraint.id!r} takes the arguments {wants}; found: {found}")
    for name, value in kwargs.items():
        if wrong := _wrong(constraint.kwargs[name], value):
            raise DataError(f"{name!r} of the constraint {constraint.id!r} must be {wrong}, not {value!r}")
    return kwargs


def _wrong(argument: Argument, value: Any) -> str:
    """Empty, or what the value should have been."""
    if argument.kind is int:
        good = isinstance(value, int) and not isinstance(value, bool) and value >= argument.least
        return "" if good else f"a whole number from {argument.least}"
    if argument.kind is list:
        good = isinstance(value, (list, tuple)) and value and all(isinstance(one, str) and one.strip() for one in value)
        return "" if good else "a list of words"
    if argument.kind is dict:
        good = isinstance(value, Mapping) and value
        good = good and all(isinstance(one, str) and one.strip() for pair in value.items() for one in pair)
        return "" if good else "a map from words to words"
    if not isinstance(value, str) or not value.strip():
        return "a text that is not blank"
    if argument.length and len(value.strip()) != argument.length:
        return f"a text of {argument.length} character{'s' * (argument.length > 1)}"
    if argument.choices and value not in argument.choices:
        return f"one of {', '.join(argument.choices)}"
    return ""
