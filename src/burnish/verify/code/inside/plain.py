"""Plain data as JSON text, to and from a program that is not trusted. Its text also runs inside the sandbox.

None, bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range and a few value types of the
standard library cross by value, each as its exact type; an instance of a subclass crosses as the plain type below it,
read with the plain type's own methods, so that no poisoned `__eq__`, `__str__` or `__hash__` crosses with it. Anything
else stays where it is and crosses as a number, its handle. Nothing is unpickled or evaluated.

    None true 3 "x" 0.5        as in JSON; whole numbers beyond 2^53 as ["i", hexadecimal]
    ["l", ...] ["t", ...]      list, tuple; ["s"] set, ["z"] frozenset, ["q"] deque, ["d", key, value, ...] dict
    ["h", n] ["o", n]          a handle of the sender, a handle of the receiver that comes home
"""

import builtins
import json
import sys

DEPTH = 150  # ASSUMED: nesting beyond it is no answer to a test
BIG = 1 << 53
# Hashes of whole numbers repeat with this period: a large set of far larger ones can be made to collide on purpose.
PERIOD = (1 << 61) - 1
MANY = 1000
LONG = 20_000  # ASSUMED: hexadecimal digits of a fraction

BASES = (bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)
ROWS = {list: "l", tuple: "t", set: "s", frozenset: "z"}
FACTORIES = {"l": list, "t": tuple, "s": set, "z": frozenset}


LOST = set()  # names of the classes of values that crossed as the plain value below them


class Malformed(Exception):
    """A message that does not follow the format above."""


def _by_value(kind, value):
    """The standard library's small value types, only when their module is loaded at all."""
    place, name = kind.__module__, kind.__name__
    if getattr(sys.modules.get(place), name, None) is not kind:
        return None
    if place == "fractions" and name == "Fraction":
        return ["F", hex(value.numerator), hex(value.denominator)]
    if place == "decimal" and name == "Decimal":
        return ["D", str(value)]
    if place == "datetime" and name in ("date", "time", "datetime"):
        return ["T", name, value.isoformat()]
    if place == "datetime" and name == "timedelta":
        return ["T", name, [value.days, value.seconds, value.microseconds]]
    if place == "numpy" and hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
        return pack(value.item(), None)
    return None


def _below(value):
    """The plain value under an instance of a subclass, by the plain type's own methods; None when there is none."""
    for plain_type in BASES:
        if isinstance(value, plain_type) and issubclass(type(value), plain_type):
            if plain_type is int:
                return int.__add__(value, 0)
            if plain_type is float:
                return float.__add__(value, 0.0)
            if plain_type is complex:
                return complex.__add__(value, 0j)
            if plain_type is dict:
                return dict(list(dict.items(value)))
            if plain_type is str:
                return "".join(list(str.__iter__(value)))
            return plain_type(list(plain_type.__iter__(value)))
    return None


def pack(value, keep, depth=0, exact=False):
    """A value as JSON-ready data.

    Args:
        keep: object -> its handle as data; None refuses with TypeError.
        exact: instances of subclasses are kept rather than reduced.
    """
    kind = type(value)
    if value is None or kind is bool or kind is str or kind is float:
        return value
    if kind is int:
        return value if -BIG < value < BIG else ["i", hex(value)]
    if depth > DEPTH:
        raise Malformed("nested too deeply")
    if kind in ROWS:
        return [ROWS[kind], *[pack(item, keep, depth + 1, exact) for item in value]]
    if kind is dict:
        flat = ["d"]
        for key, item in value.items():
            flat.append(pack(key, keep, depth + 1, exact))
            flat.append(pack(item, keep, depth + 1, exact))
        return flat
    if kind is bytes or kind is bytearray:
        return ["b" if kind is bytes else "y", value.decode("latin-1")]
    if kind is complex:
        return ["c", value.real, value.imag]
    if kind is range:
        return ["r", hex(value.start), hex(value.stop), hex(value.step)]
    if kind.__module__ == "collections" and kind.__name__ == "deque" and sys.modules["collections"].deque is kind:
        return ["q", *[pack(item, keep, depth + 1, exact) for item in value]]
    if kind is type and getattr(builtins, value.__name__, None) is value:
        return ["n", value.__name__]
    found = _by_value(kind, value)
    if found is not None:
        if kind.__module__ == "numpy":
            LOST.add(kind.__name__)
        return found
    if not exact:
        below = _below(value)
        if below is not None:
            LOST.add(kind.__name__)
            return pack(below, keep, depth + 1)
    if keep is None:
        raise TypeError("a value of type " + kind.__name__ + " is not plain data")
    return keep(value)


def _hashed(items):
    """The members of a set or the keys of a dict, unless they are built to collide."""
    if len(items) > MANY and any(type(item) is int and abs(item) >= PERIOD for item in items):
        raise Malformed("a large set of very large numbers")
    return items


def _value(tag, rest):
    """What `_by_value` wrote."""
    if tag == "F":
        from fractions import Fraction

        if len(rest[0]) + len(rest[1]) > LONG:  # bringing such a one to lowest terms takes minutes
            raise Malformed("a very long fraction")
        return Fraction(int(rest[0], 16), int(rest[1], 16))
    if tag == "D":
        from decimal import Decimal

        return Decimal(rest[0])
    import datetime

    if rest[0] == "timedelta":
        return datetime.timedelta(*rest[1])
    return {"date": datetime.date, "time": datetime.time, "datetime": datetime.datetime}[rest[0]].fromisoformat(rest[1])


def unpack(data, handle, depth=0):
    """The value that `pack` wrote.

    Args:
        handle: (tag, number) -> the object; tag is `h` for the sender's handles and `o` for the receiver's own.

    Raises:
        Malformed: the data is not of the format, which only a forged message is.
    """
    if type(data) is not list:
        if data is None or type(data) in (bool, int, float, str):
            return data
        raise Malformed("a JSON object")
    if depth > DEPTH + 1 or not data:
        raise Malformed("nested too deeply, or empty")
    tag, rest = data[0], data[1:]
    try:
        if tag in ("l", "t", "s", "z", "q"):
            items = [unpack(item, handle, depth + 1) for item in rest]
            if tag == "q":
                from collections import deque

                return deque(items)
            return FACTORIES[tag](_hashed(items) if tag in "sz" else items)
        if tag == "d":
            keys = _hashed([unpack(item, handle, depth + 1) for item in rest[::2]])
            return dict(zip(keys, [unpack(item, handle, depth + 1) for item in rest[1::2]], strict=True))
        if tag == "i":
            return int(rest[0], 16)
        if tag in ("b", "y"):
            return (bytes if tag == "b" else bytearray)(rest[0].encode("latin-1"))
        if tag == "c":
            return complex(rest[0], rest[1])
        if tag == "r":
            return range(*[int(part, 16) for part in rest])
        if tag == "n" and type(getattr(builtins, rest[0], None)) is type:
            return getattr(builtins, rest[0])
        if tag in ("F", "D", "T"):
            return _value(tag, rest)
        if tag in ("h", "o") and type(rest[0]) is int:
            return handle(tag, rest[0])
    except Malformed:
        raise
    except (ArithmeticError, ValueError, TypeError, LookupError, AttributeError) as error:
        raise Malformed(str(error)[:200]) from None
    raise Malformed("an unknown tag")


def to_text(message):
    """JSON in ASCII, so that lone surrogates cross."""
    return json.dumps(message, separators=(",", ":"))


def from_text(text):
    """A message: a list. Raises Malformed."""
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("no JSON") from None
    if type(message) is not list or not message or type(message[0]) is not str:
        raise Malformed("no message")
    return message
