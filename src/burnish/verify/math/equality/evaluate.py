"""An expression at a point: in floating point, and for a constant again with forty digits.

Agreement at several points is how two expressions with different normal forms are found equal (Schwartz 1980, JACM
27(4); Zippel 1979), disagreement how they are found different. A value that overflows, is undefined or cancels to
noise decides nothing.
"""

from __future__ import annotations

import cmath
import math
import random
from collections.abc import Mapping
from functools import cache
from typing import Any

from burnish.verify.math.reading.parse import Node, symbols_of

DIGITS = 40  # of the second evaluation of constants
_LARGE = 1e150


class Undecided(Exception):
    """No value here: overflow, a pole, a function that is not evaluated."""


@cache
def point(name: str, trial: int) -> float:
    """Where a symbol is probed: between 0.4 and 3, a fixed draw for each symbol and trial."""
    return random.Random(f"{name} {trial}").uniform(0.4, 3.0)


def _trig(module: Any) -> dict[str, Any]:
    return {
        "sin": module.sin, "cos": module.cos, "tan": module.tan,
        "cot": lambda x: 1 / module.tan(x), "sec": lambda x: 1 / module.cos(x), "csc": lambda x: 1 / module.sin(x),
        "arcsin": module.asin, "arccos": module.acos, "arctan": module.atan,
        "arccot": lambda x: module.pi / 2 - module.atan(x),
        "arcsec": lambda x: module.acos(1 / x), "arccsc": lambda x: module.asin(1 / x),
        "sinh": module.sinh, "cosh": module.cosh, "tanh": module.tanh, "coth": lambda x: 1 / module.tanh(x),
        "sech": lambda x: 1 / module.cosh(x), "csch": lambda x: 1 / module.sinh(x),
        "arcsinh": module.asinh, "arccosh": module.acosh, "arctanh": module.atanh,
        "ln": module.log, "log10": module.log10, "exp": module.exp,
    }  # fmt: skip


class _Floats:
    """Double precision."""

    number = staticmethod(lambda value: complex(value.numerator / value.denominator))
    module: Any = cmath
    pi, e, i = complex(math.pi), complex(math.e), 1j
    tiny = 1e-9

    def __init__(self) -> None:
        self.functions = _trig(cmath)

    @staticmethod
    def gamma(x: complex) -> complex:
        return complex(math.gamma(x.real))


class _Digits:
    """Forty digits, in a context of its own: mpmath's global precision is not touched."""

    tiny = 1e-30

    def __init__(self) -> None:
        import mpmath

        self.module = mpmath.mp.clone()
        self.module.dps = DIGITS
        self.functions = _trig(self.module)
        self.pi, self.e, self.i = self.module.pi + 0, self.module.e + 0, self.module.mpc(0, 1)

    def number(self, value: Any) -> Any:
        return self.module.mpf(value.numerator) / value.denominator

    def gamma(self, x: Any) -> Any:
        return self.module.gamma(self.module.re(x))


class _Walker:
    """Evaluates a tree; `decimal_log` says what `log` without a base means (the other reading is tried too)."""

    def __init__(self, kit: Any, symbols: Mapping[str, float], natural: bool) -> None:
        self.kit = kit
        self.symbols = symbols
        self.natural = natural

    def value(self, tree: Node) -> Any:
        kind = tree[0]
        if kind == "num":
            return self.kit.number(tree[1])
        if kind == "sym":
            return self._symbol(tree[1])
        if kind == "fn":
            return self._bounded(self._call(tree[1], [self.value(argument) for argument in tree[2]]))
        if kind == "neg":
            return -self.value(tree[1])
        if kind == "deg":
            return self.value(tree[1]) * self.kit.pi / 180
        if kind == "pct":
            return self.value(tree[1]) / 100
        if kind == "fact":
            return self._factorial(self.value(tree[1]))
        if kind not in ("add", "mul", "div", "pow"):
            raise Undecided
        left, right = self.value(tree[1]), self.value(tree[2])
        if kind == "add":
            return left + right
        if kind == "mul":
            return self._bounded(left * right)
        if kind == "div":
            if abs(right) < self.kit.tiny:
                raise Undecided
            return self._bounded(left / right)
        return self._power(left, right)

    def _bounded(self, value: Any) -> Any:
        size = abs(value)
        if not size < _LARGE:  # also catches what is not a number
            raise Undecided
        return value

    def _symbol(self, name: str) -> Any:
        constant = {"pi": self.kit.pi, "e": self.kit.e, "i": self.kit.i}.get(name)
        if constant is not None:
            return constant
        return self.kit.number(_Exact(self.symbols[name])) if name in self.symbols else self._missing(name)

    def _missing(self, name: str) -> Any:
        raise Undecided

    def _factorial(self, value: Any) -> Any:
        if abs(value.imag) > 1e-12 or not 0 <= value.real <= 100:
            raise Undecided
        return self.kit.gamma(value + 1)

    def _power(self, base: Any, exponent: Any) -> Any:
        if base == 0:
            if exponent.real > 0:
                return base
            raise Undecided
        size = abs(self._log(base)) * abs(exponent)
        if size > 300:
            raise Undecided
        return self._bounded(base**exponent)

    def _log(self, value: Any) -> Any:
        if value == 0:
            raise Undecided
        return self.kit.functions["ln"](value)

    def _root(self, value: Any, index: Any) -> Any:
        if abs(index) < 1e-9:
            raise Undecided
        if value == 0:
            return value
        whole = round(index.real)
        if abs(value.imag) < 1e-12 * abs(value) and value.real < 0 and whole % 2 and abs(index - whole) < 1e-12:
            return -self._power(-value, 1 / index)
        return self._power(value, 1 / index)

    def _call(self, name: str, arguments: list[Any]) -> Any:
        first = arguments[0]
        if name == "root":
            return self._root(first, arguments[1])
        if name == "logb":
            below = self._log(arguments[1])
            if abs(below) < self.kit.tiny:
                raise Undecided
            return self._log(first) / below
        if name == "log":
            return self._log(first) / (1 if self.natural else self._log(self.kit.number(_Exact(10.0))))
        if name in ("ln", "log10"):
            return self._log(first) if name == "ln" else self._log(first) / self._log(self.kit.number(_Exact(10.0)))
        if name == "abs":
            return abs(first) + 0 * first
        if name == "exp":
            return self._power(self.kit.e, first)
        if name in ("floor", "ceil"):
            if abs(first.imag) > 1e-12 or abs(first.real - round(first.real)) < 1e-9:
                raise Undecided
            return self.kit.number(_Exact(float(math.floor(first.real) if name == "floor" else math.ceil(first.real))))
        if name == "binom":
            return self._factorial(first) / self._factorial(arguments[1]) / self._factorial(first - arguments[1])
        function = self.kit.functions.get(name)
        if function is None or len(arguments) != 1 or abs(first) > 1e6:
            raise Undecided
        return function(first)


class _Exact:
    """A float with the two names of a fraction's parts."""

    __slots__ = ("denominator", "numerator")

    def __init__(self, value: float) -> None:
        self.numerator, self.denominator = value.as_integer_ratio()


_FLOATS = _Floats()


def at_point(tree: Node, trial: int, *, natural: bool = True) -> complex:
    """The value of a tree with its symbols at the points of this trial.

    Raises:
        Undecided: there is none.
    """
    symbols = {name: point(name, trial) for name in symbols_of(tree)}
    try:
        return _Walker(_FLOATS, symbols, natural).value(tree)
    except (ArithmeticError, ValueError, TypeError):
        raise Undecided from None


def with_digits(tree: Node, *, natural: bool = True) -> Any:
    """A constant with forty digits. Only for a tree that `at_point` could evaluate: that bounds its size.

    Raises:
        Undecided: there is no value, or mpmath is not installed.
    """
    try:
        return _Walker(_Digits(), {}, natural).value(tree)
    except (ArithmeticError, ValueError, TypeError, ImportError):
        raise Undecided from None
