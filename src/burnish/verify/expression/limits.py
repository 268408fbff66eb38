"""What an expression may cost, and the operations whose result could be larger than their arguments.

Every operation that Python would run in C over data of the program's making is charged before it runs, so that the
number of steps bounds the time and `size` bounds the memory.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from typing import Any

from burnish.errors import DataError

REASONS = ("syntax", "forbidden", "steps", "size", "runtime")


class ExpressionError(DataError):
    """A program that gave no value. `reason` is one of `REASONS`, `detail` says more."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class Meter:
    """Counts steps down and refuses values that grow too large.

    Args:
        steps: how many steps are left; a node costs one, an operation over n items n more.
        size: the most items in a container, characters in a string, bits in an integer.
    """

    def __init__(self, steps: int, size: int) -> None:
        self.left = steps
        self.size = size

    def spend(self, n: int = 1) -> None:
        self.left -= n
        if self.left < 0:
            raise ExpressionError("steps", "the program took too many steps")

    def fit(self, n: int) -> None:
        if n > self.size:
            raise ExpressionError("size", f"a value of size {n} is over the limit of {self.size}")

    def checked(self, value: Any) -> Any:
        """The value, after its own size (not that of its items) was found within the limit."""
        kind = type(value)
        if kind is int:
            self.fit(value.bit_length())
        elif kind in (str, list, tuple, dict):
            self.fit(len(value))
        elif kind is complex:
            raise ExpressionError("runtime", "the result is a complex number")
        return value

    def weigh(self, *values: Any) -> None:
        """Charge for a walk through all that the values hold: what comparing, hashing or printing them costs.

        The walk ends at the limits, so a value that holds itself, or holds another a million times, is refused.
        """
        seen = 0
        queue = list(values)
        while queue:
            value = queue.pop()
            kind = type(value)
            seen += 1
            if kind is str:
                seen += len(value) // 64
            elif kind in (list, tuple):
                self.fit(len(value) + len(queue))
                queue.extend(value)
            elif kind is dict:
                self.fit(2 * len(value) + len(queue))
                queue.extend(value.keys())
                queue.extend(value.values())
            elif kind is range:
                self.fit(_length(value))
            elif kind not in (int, float, bool, type(None)):
                raise ExpressionError("runtime", "a function cannot be compared, printed or returned")
            self.fit(seen)
        self.spend(seen - len(values))

    def items(self, value: Any) -> list[Any]:
        """The items of anything that can be iterated, charged one step each."""
        if type(value) not in (list, tuple, str, dict, range):
            raise ExpressionError("runtime", f"a value of type {type(value).__name__} cannot be iterated")
        length = _length(value)
        self.fit(length)
        self.spend(length)
        return list(value)

    def joined(self, parts: Iterable[str], between: int = 0) -> None:
        self.fit(sum(len(part) + between for part in parts))


def _length(value: Any) -> int:
    try:
        return len(value)
    except OverflowError:
        raise ExpressionError("size", "a range is too long") from None


def _number(value: Any) -> bool:
    return type(value) in (int, float, bool)


def _sequence(value: Any) -> bool:
    return type(value) in (str, list, tuple)


def multiply(meter: Meter, left: Any, right: Any) -> Any:
    if _sequence(right):
        left, right = right, left
    if _sequence(left):
        if type(right) not in (int, bool):
            raise ExpressionError("runtime", "a sequence can be multiplied by an integer only")
        meter.fit(len(left) * max(int(right), 0))
        meter.spend(len(left) * max(int(right), 0) // 64)
    elif type(left) is int and type(right) is int:
        meter.fit(left.bit_length() + right.bit_length() - 1)
    return left * right


def power(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in (int, bool) and type(right) in (int, bool) and abs(left) > 1 and right > 1:
        meter.fit((abs(left).bit_length() - 1) * right)
    return left**right


def power_modulo(meter: Meter, left: Any, right: Any, modulus: Any) -> Any:
    if not all(type(value) in (int, bool) for value in (left, right, modulus)):
        raise ExpressionError("runtime", "pow with a modulus takes integers")
    # The time grows with the bits of the exponent times the square of the words of the modulus.
    meter.spend(int(right).bit_length() * (1 + int(modulus).bit_length() // 64))
    return pow(left, right, modulus)


def shift_left(meter: Meter, left: Any, right: Any) -> Any:
    if type(left) in (int, bool) and type(right) in (int, bool) and right > 0:
        meter.fit(int(left).bit_length() + right)
    return left << right


def add(meter: Meter, left: Any, right: Any) -> Any:
    if _sequence(left) and _sequence(right):
        meter.fit(len(left) + len(right))
        meter.spend((len(left) + len(right)) // 64)
    return left + right


def modulo(meter: Meter, left: Any, right: Any) -> Any:
    if not _number(left):
        raise ExpressionError("forbidden", "% formats no strings here")
    return left % right


def _free(function: Callable[[Any, Any], Any]) -> Callable[[Meter, Any, Any], Any]:
    return lambda meter, left, right: function(left, right)


BINARY: dict[str, Callable[[Meter, Any, Any], Any]] = {
    "Add": add,
    "Sub": _free(operator.sub),
    "Mult": multiply,
    "Div": _free(operator.truediv),
    "FloorDiv": _free(operator.floordiv),
    "Mod": modulo,
    "Pow": power,
    "LShift": shift_left,
    "RShift": _free(operator.rshift),
    "BitAnd": _free(operator.and_),
    "BitOr": _free(operator.or_),
    "BitXor": _free(operator.xor),
}


def _contains(left: Any, right: Any) -> bool:
    if type(right) is range and type(left) not in (int, bool, float):
        return False
    return left in right


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "Eq": operator.eq,
    "NotEq": operator.ne,
    "Lt": operator.lt,
    "LtE": operator.le,
    "Gt": operator.gt,
    "GtE": operator.ge,
    "In": _contains,
    "NotIn": lambda left, right: not _contains(left, right),
}


def compare(meter: Meter, name: str, left: Any, right: Any) -> bool:
    """One comparison, charged for the values it may have to walk through."""
    if name in ("Is", "IsNot"):
        if left is not None and right is not None and type(left) is not bool and type(right) is not bool:
            raise ExpressionError("forbidden", "`is` compares with None, True and False only")
        return (left is right) == (name == "Is")
    if type(right) is range and name in ("In", "NotIn") and type(left) is float:
        # Python would walk through the range one by one.
        left = int(left) if left == left and abs(left) < 1e15 and left == int(left) else None
    # A look-up in a dict hashes the key and walks through no other one; a range computes.
    meter.weigh(left, *([] if type(right) in (dict, range) and name in ("In", "NotIn") else [right]))
    return bool(COMPARE[name](left, right))


UNARY: dict[str, Callable[[Any], Any]] = {
    "UAdd": operator.pos,
    "USub": operator.neg,
    "Not": operator.not_,
    "Invert": operator.invert,
}
