"""What a step computes, as canonical plain data, and the fingerprint of that.

The rule: identity is *what* is computed (settings, parents by content, declared version), never *where* (paths,
devices, worker counts, keys). A value that has no stable serialisation is refused instead of being stringified.
"""

from __future__ import annotations

import enum
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Generic, TypeVar

from burnish.errors import RunError
from burnish.records import Weights, content_id
from burnish.runs.handles import Rows

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Runtime(Generic[Value]):
    """A setting that says where or how fast, not what: the step function gets it, the fingerprint does not."""

    value: Value


def version(number: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Declare the version of a step function; raise it when the same settings shall give another result."""

    def declare(function: Callable[..., Any]) -> Callable[..., Any]:
        function.__step_version__ = number  # type: ignore[attr-defined]
        return function

    return declare


def qualified_name(thing: Any) -> str:
    """`room.module.name` of a function or class, without the package's own name."""
    return f"{thing.__module__}.{thing.__qualname__}".removeprefix("burnish.")


def identity(value: Any, *, where: str = "value") -> Any:
    """Canonical plain data for any value a step may take.

    Args:
        value: settings, handles, nouns, frozen dataclasses, module-level functions, containers of these.
        where: the path to the value, for the error.

    Raises:
        RunError: the value (or one inside it) has no stable serialisation.
    """
    if isinstance(value, Rows):
        return {"rows": value.id}
    if isinstance(value, Weights):
        return {"weights": value.id}
    if value is None or isinstance(value, (bool, int, str)):
        return value.value if isinstance(value, enum.Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if is_dataclass(value) and not isinstance(value, type):
        inside = {
            f.name: identity(getattr(value, f.name), where=f"{where}.{f.name}")
            for f in fields(value)
            if not isinstance(getattr(value, f.name), Runtime)
            and not f.metadata.get("runtime")
            # a field of a noun that came later: old steps stay what they are
            and not (f.metadata.get("later") and getattr(value, f.name) == f.default)
        }
        return {"type": qualified_name(type(value)), **inside}
    if isinstance(value, Mapping):
        return {
            str(k): identity(v, where=f"{where}[{k!r}]") for k, v in sorted(value.items(), key=lambda kv: str(kv[0]))
        }
    if isinstance(value, (list, tuple)):
        if len(value) > 64 and all(hasattr(item, "id") for item in value):
            return {"rows": content_id([item.id for item in value])}
        return [identity(item, where=f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, functools.partial):
        bound = {"args": list(value.args), "keywords": dict(value.keywords)}
        return {"partial": qualified_name(value.func), **identity(bound, where=where)}
    if callable(value) and getattr(value, "__qualname__", "<locals>").isidentifier():
        return {"function": qualified_name(value), "version": getattr(value, "__step_version__", 1)}
    raise RunError(
        f"{where} is a {type(value).__name__}, which has no stable serialisation; pass plain data, a frozen dataclass "
        "or a module-level function, or wrap it in Runtime(...) if it only says where the work is done"
    )


def handles(value: Any) -> Iterator[Rows | Weights]:
    """All rows and weights inside a value a step takes, in order of appearance."""
    if isinstance(value, (Rows, Weights)):
        yield value
    elif is_dataclass(value) and not isinstance(value, type):
        for f in fields(value):
            yield from handles(getattr(value, f.name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from handles(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from handles(item)


def differences(old: Any, new: Any, path: str = "") -> list[tuple[str, Any, Any]]:
    """Field-level difference of two identities as (path, old value, new value); absent is the string '(absent)'."""
    if isinstance(old, dict) and isinstance(new, dict):
        out = []
        for key in sorted(set(old) | set(new)):
            inside = f"{path}.{key}" if path else key
            out += differences(old.get(key, "(absent)"), new.get(key, "(absent)"), inside)
        return out
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        return [d for i, (a, b) in enumerate(zip(old, new, strict=True)) for d in differences(a, b, f"{path}[{i}]")]
    return [] if old == new else [(path, old, new)]
