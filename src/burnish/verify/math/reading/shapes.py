"""The shapes that an answer has: a value, a list, a tuple, an interval, a set, a matrix, an equation, words."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

from burnish.verify.math.reading.parse import Node


@dataclass(frozen=True, slots=True)
class Value:
    """An expression; `name` is what stood before its equals sign, `unit` the words after it.

    `others` are further values that the answer gives for the same thing ("1/√3 ≈ 58 %").
    """

    tree: Node
    unit: tuple[str, ...] = ()
    name: str = ""
    others: tuple[Value, ...] = ()
    grouped: bool = False


@dataclass(frozen=True, slots=True)
class Many:
    """Several answers, of which the order does not count."""

    items: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Sequence:
    """Items in brackets: a point, an interval or a set, by the brackets."""

    left: str
    right: str
    items: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Union:
    """Intervals and sets joined."""

    items: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    rows: tuple[tuple[Node, ...], ...]


@dataclass(frozen=True, slots=True)
class Equation:
    left: Node
    right: Node


@dataclass(frozen=True, slots=True)
class Inequality:
    """`sides` joined by `signs`; a chain has three sides."""

    sides: tuple[Node, ...]
    signs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ratio:
    """3:4, 9:03:36, with the words behind it."""

    parts: tuple[Fraction, ...]
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Either:
    """One answer said in several ways ("-9 ≤ x ≤ 0 : [-9, 0]")."""

    forms: tuple[Form, ...]


@dataclass(frozen=True, slots=True)
class Text:
    """Words, normalised.

    `math` is true when mathematics was in them that could not be read, `phrase` when they are a lower-case phrase that
    is no known answer ("see the figure"), so that nothing follows from a number that stands against it.
    """

    words: str
    math: bool = False
    phrase: bool = False


Form = Value | Many | Sequence | Union | Matrix | Equation | Inequality | Ratio | Either | Text

REAL_LINE = Sequence("(", ")", (Value(("neg", ("inf",))), Value(("inf",))))
