"""The functions and methods that an expression may call. Each takes the meter first and charges for what it walks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from burnish.verify.expression.limits import BINARY, ExpressionError, Meter, power, power_modulo

# call(function, arguments) runs a function of the program; the interpreter passes its own.
Call = Callable[[Any, list[Any]], Any]
MAX_DIGITS = 300  # ASSUMED: `round` to more digits than a float has is noise, and 10**digits must stay small


def _pick(name: str, pick: Callable[..., Any]) -> Callable[..., Any]:
    def chosen(meter: Meter, call: Call, *values: Any, key: Any = None, **default: Any) -> Any:
        if set(default) - {"default"}:
            raise ExpressionError("runtime", f"{name} takes key and default only")
        items = meter.items(values[0]) if len(values) == 1 else list(values)
        meter.weigh(items)
        return pick(items, key=_checked_key(meter, call, key), **default)

    return chosen


def _sorted(meter: Meter, call: Call, values: Any, *, key: Any = None, reverse: Any = False) -> list[Any]:
    items = meter.items(values)
    meter.weigh(items)
    return sorted(items, key=_checked_key(meter, call, key), reverse=bool(reverse))


def _checked_key(meter: Meter, call: Call, key: Any) -> Callable[[Any], Any] | None:
    """A sort key whose values are weighed, because they are compared in C."""
    if key is None:
        return None

    def keyed(item: Any) -> Any:
        value = call(key, [item])
        meter.weigh(value)
        return value

    return keyed


def _sum(meter: Meter, call: Call, values: Any, start: Any = 0) -> Any:
    if type(start) is str:
        raise ExpressionError("runtime", "sum adds no strings; join them")
    total = start
    for item in meter.items(values):
        total = meter.checked(BINARY["Add"](meter, total, item))
    return total


def _round(meter: Meter, call: Call, value: Any, digits: Any = None) -> Any:
    if digits is not None and not -MAX_DIGITS <= digits <= MAX_DIGITS:
        raise ExpressionError("size", f"round to {digits} digits")
    return round(value) if digits is None else round(value, digits)


def _pow(meter: Meter, call: Call, left: Any, right: Any, modulus: Any = None) -> Any:
    return power(meter, left, right) if modulus is None else power_modulo(meter, left, right, modulus)


def _dict(meter: Meter, call: Call, values: Any = (), **named: Any) -> dict[Any, Any]:
    meter.weigh(values)
    if type(values) is dict:
        return {**values, **named}
    return {**dict([tuple(meter.items(pair)) for pair in meter.items(values)]), **named}


def _text(meter: Meter, call: Call, value: Any = "") -> str:
    meter.weigh(value)
    return value if type(value) is str else str(value)


def _length(meter: Meter, call: Call, value: Any) -> int:
    if type(value) not in (str, list, tuple, dict, range):
        raise ExpressionError("runtime", f"a value of type {type(value).__name__} has no length")
    return len(value)


def _truth(values: list[Any]) -> list[bool]:
    return [bool(value) for value in values]


def _spread(meter: Meter, call: Call, function: Any, *values: Any) -> list[Any]:
    return [call(function, list(items)) for items in zip(*[meter.items(value) for value in values], strict=False)]


def _filter(meter: Meter, call: Call, function: Any, values: Any) -> list[Any]:
    return [item for item in meter.items(values) if (item if function is None else call(function, [item]))]


FUNCTIONS: dict[str, Callable[..., Any]] = {
    "abs": lambda meter, call, value: abs(value),
    "all": lambda meter, call, values: all(_truth(meter.items(values))),
    "any": lambda meter, call, values: any(_truth(meter.items(values))),
    "bool": lambda meter, call, value=False: bool(value),
    "chr": lambda meter, call, value: chr(value),
    "dict": _dict,
    "divmod": lambda meter, call, left, right: divmod(left, right),
    "enumerate": lambda meter, call, values, start=0: [
        (index, item) for index, item in enumerate(meter.items(values), start)
    ],
    "filter": _filter,
    "float": lambda meter, call, value=0.0: float(value),
    "int": lambda meter, call, *values, **base: int(*values, **base),
    "len": _length,
    "list": lambda meter, call, values=(): meter.items(values),
    "map": _spread,
    "max": _pick("max", max),
    "min": _pick("min", min),
    "ord": lambda meter, call, value: ord(value),
    "pow": _pow,
    "range": lambda meter, call, *bounds: range(*bounds),
    "reversed": lambda meter, call, values: meter.items(values)[::-1],
    "round": _round,
    "sorted": _sorted,
    "str": _text,
    "sum": _sum,
    "tuple": lambda meter, call, values=(): tuple(meter.items(values)),
    "zip": lambda meter, call, *values: list(zip(*[meter.items(value) for value in values], strict=False)),
}


def _method(name: str) -> Callable[..., Any]:
    """A method that walks its object and arguments once and gives back nothing larger."""

    def run(meter: Meter, call: Call, value: Any, *arguments: Any) -> Any:
        meter.weigh(value, *arguments)
        return getattr(value, name)(*arguments)

    return run


def _touch(name: str) -> Callable[..., Any]:
    """A method that looks at its arguments and at one place of its object."""

    def run(meter: Meter, call: Call, value: Any, *arguments: Any) -> Any:
        meter.weigh(*arguments)
        meter.spend(len(value) // 64)
        result = getattr(value, name)(*arguments)
        meter.fit(len(value))
        return result

    return run


def _join(meter: Meter, call: Call, value: str, parts: Any) -> str:
    parts = meter.items(parts)
    if not all(type(part) is str for part in parts):
        raise ExpressionError("runtime", "join takes strings")
    meter.joined(parts, len(value))
    return value.join(parts)


def _replace(meter: Meter, call: Call, value: str, old: str, new: str, count: int = -1) -> str:
    meter.weigh(value, old, new)
    meter.fit(len(value) + value.count(old) * max(len(new) - len(old), 0))
    return value.replace(old, new, count)


def _zfill(meter: Meter, call: Call, value: str, width: int) -> str:
    meter.fit(width)
    return value.zfill(width)


def _append(meter: Meter, call: Call, value: list[Any], item: Any) -> None:
    meter.fit(len(value) + 1)
    value.append(item)


def _insert(meter: Meter, call: Call, value: list[Any], index: int, item: Any) -> None:
    meter.fit(len(value) + 1)
    value.insert(index, item)


def _extend(meter: Meter, call: Call, value: list[Any], items: Any) -> None:
    items = meter.items(items)
    meter.fit(len(value) + len(items))
    value.extend(items)


def _sort(meter: Meter, call: Call, value: list[Any], *, key: Any = None, reverse: Any = False) -> None:
    value[:] = _sorted(meter, call, value, key=key, reverse=reverse)


def _update(meter: Meter, call: Call, value: dict[Any, Any], other: dict[Any, Any]) -> None:
    if type(other) is not dict:
        raise ExpressionError("runtime", "update takes a dict")
    meter.weigh(value, other)
    meter.fit(len(value) + len(other))
    value.update(other)


def _listed(name: str) -> Callable[..., Any]:
    return lambda meter, call, value: meter.items(list(getattr(value, name)()))


# fmt: off
_STRING = (
    "capitalize", "count", "endswith", "find", "index", "isalnum", "isalpha", "isdigit", "islower",
    "isspace", "isupper", "lower", "lstrip", "rfind", "rstrip", "split", "splitlines", "startswith", "strip",
    "swapcase", "title", "upper",
)
# fmt: on
METHODS: dict[type, dict[str, Callable[..., Any]]] = {
    str: {**{name: _method(name) for name in _STRING}, "join": _join, "replace": _replace, "zfill": _zfill},
    list: {
        **{name: _method(name) for name in ("count", "index", "remove")},
        **{name: _touch(name) for name in ("clear", "copy", "pop", "reverse")},
        "append": _append,
        "extend": _extend,
        "insert": _insert,
        "sort": _sort,
    },
    tuple: {name: _method(name) for name in ("count", "index")},
    dict: {
        **{name: _touch(name) for name in ("copy", "get", "pop", "setdefault")},
        **{name: _listed(name) for name in ("items", "keys", "values")},
        "update": _update,
    },
}
METHOD_NAMES = frozenset(name for methods in METHODS.values() for name in methods)
