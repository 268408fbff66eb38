"""A Python function as a tool: its signature gives the schema, its docstring the words (Llama 3 §4.3.5: the model
sees signature and docstring; definitions and calls convert to JSON). And values of JSON as the types it asks for.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import inspect
import re
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, Literal, Union

from burnish.errors import DataError, SettingsError
from burnish.verify.schema import kind_of
from burnish.verify.tools.call import Tool
from burnish.verify.tools.schema import json_schema, violations

_SIMPLE: dict[Any, str] = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_LISTS = (list, set, frozenset, collections.abc.Sequence, collections.abc.Iterable, collections.abc.Set)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
MAX_NESTED = 8  # records within records; one that holds itself is refused
_GOOGLE = re.compile(r"^(?:Args|Arguments|Parameters|Params):\s*$")
_SECTION = re.compile(r"^(?:[A-Z][A-Za-z ]+):\s*$")
_NUMPY = re.compile(r"^Parameters\n-{3,}\s*$", re.M)
_ENTRY = re.compile(r"^(\*{0,2}\w+)\s*(?:\([^)\n]*\))?\s*:(?:\s+(.*))?$")


def tool_from(function: Callable[..., Any], *, name: str = "") -> Tool:
    """The tool of a function: every argument typed, a docstring with a summary, Args in Google's or numpy's style.

    Args:
        function: keyword-callable; no *args and no **kwargs.
        name: instead of the function's own.

    Raises:
        SettingsError: an argument has no type or one that JSON cannot say, or the docstring is missing; the message
            names the function and the argument.
    """
    label = name or function.__name__
    summary, told = docstring(inspect.getdoc(function) or "")
    if not summary:
        raise SettingsError(f"the function {label} has no docstring; write what it does, a model reads nothing else")
    properties, required = {}, []
    hints = _hints(function, label)
    for argument in inspect.signature(function).parameters.values():
        where = f"the function {label}: the argument {argument.name}"
        if argument.kind in (argument.VAR_POSITIONAL, argument.VAR_KEYWORD, argument.POSITIONAL_ONLY):
            raise SettingsError(f"{where} must be one that can be given by name, not {argument}")
        if argument.name not in hints:
            raise SettingsError(f"{where} has no type; annotate it, such as {argument.name}: str")
        found = schema_of(hints[argument.name], where)
        if argument.name in told:
            found = {**found, "description": told[argument.name]}
        if argument.default is argument.empty:
            required.append(argument.name)
        else:
            found = {**found, "default": _default(argument.default, where)}
        properties[argument.name] = found
    unknown = [one for one in told if one not in properties]
    if unknown:
        raise SettingsError(f"the docstring of {label} tells of {unknown[0]!r}, which is no argument; mend one of them")
    return Tool(name=label, description=summary, parameters=_object(properties, required))


def _object(properties: dict[str, Any], required: list[str]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _hints(function: Any, label: str) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise SettingsError(f"the types of {label} cannot be read: {error}; import them, or write them out") from error


def _default(value: Any, where: str) -> Any:
    """A default as JSON data."""
    if isinstance(value, enum.Enum):
        return value.value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _default(getattr(value, f.name), where) for f in dataclasses.fields(value)}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_default(item, where) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _default(item, where) for key, item in value.items()}
    if type(value) not in _SIMPLE:
        raise SettingsError(f"{where} has a default of type {type(value).__name__}, which JSON cannot say")
    return value


def schema_of(kind: Any, where: str = "the type", level: int = 0) -> dict[str, Any]:
    """The JSON schema of a type: str, int, float, bool, None, Literal, Enum, Optional and Union, lists, tuples, dicts
    with text keys, dataclasses, TypedDicts, `Any`, and `Annotated[T, "description"]`.

    Raises:
        SettingsError: JSON cannot say such a type.
    """
    if level > MAX_NESTED:
        raise SettingsError(f"{where}: types nested more than {MAX_NESTED} levels deep; a type may not hold itself")
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return {}
    if kind in _SIMPLE or kind is None:
        return {"type": _SIMPLE[type(None) if kind is None else kind]}
    if origin is typing.Annotated:
        words = [extra for extra in inner[1:] if isinstance(extra, str)]
        return {**schema_of(inner[0], where, level), **({"description": words[0]} if words else {})}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(one, where, level + 1) for one in inner]}
    if origin is Literal:
        return _values(list(inner), where)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return _values([one.value for one in kind], where)
    if kind in (tuple, list, set, frozenset, dict) or origin in (tuple, *_LISTS, *_DICTS):
        return _collection(origin or kind, inner, where, level)
    if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
        return _record(kind, where, level)
    raise SettingsError(
        f"{where} has the type {getattr(kind, '__name__', kind)}, which JSON cannot say; use numbers, texts, lists, "
        "dicts, Literal, an Enum, a dataclass or a TypedDict"
    )


def _values(values: list[Any], where: str) -> dict[str, Any]:
    if any(type(value) not in _SIMPLE for value in values):
        raise SettingsError(f"{where} has a choice among values that JSON cannot say: {values}")
    kinds = list(dict.fromkeys(kind_of(value) for value in values))
    return {"type": kinds[0] if len(kinds) == 1 else kinds, "enum": values}


def _collection(kind: Any, inner: tuple[Any, ...], where: str, level: int) -> dict[str, Any]:
    if kind in _DICTS:
        if inner and inner[0] is not str:
            raise SettingsError(f"{where}: the keys of a dict must be str in JSON")
        return {"type": "object", **({"additionalProperties": schema_of(inner[1], where, level + 1)} if inner else {})}
    unique = {"uniqueItems": True} if kind in (set, frozenset, collections.abc.Set) else {}
    if not inner:
        return {"type": "array", **unique}
    if kind is tuple and not (len(inner) == 2 and inner[1] is Ellipsis):
        each = [schema_of(one, where, level + 1) for one in inner]
        return {"type": "array", "prefixItems": each, "items": False, "minItems": len(each)}
    return {"type": "array", "items": schema_of(inner[0], where, level + 1), **unique}


def _record(kind: Any, where: str, level: int) -> dict[str, Any]:
    hints = _hints(kind, f"{where}, {kind.__name__}")
    _, told = docstring(inspect.getdoc(kind) or "")
    given: dict[str, Any] = {}
    if dataclasses.is_dataclass(kind):
        fields = [f for f in dataclasses.fields(kind) if f.init]
        missing = dataclasses.MISSING
        required = [f.name for f in fields if f.default is missing and f.default_factory is missing]
        given = {f.name: _default(f.default, where) for f in fields if f.default is not missing}
        names = [f.name for f in fields]
    else:
        names = list(hints)
        # Where annotations are text, the class itself cannot tell Required and NotRequired.
        marks = {name: typing.get_origin(hints[name]) for name in names}
        needed = {name: mark is typing.Required or name in kind.__required_keys__ for name, mark in marks.items()}
        required = [name for name in names if needed[name] and marks[name] is not typing.NotRequired]
    properties = {}
    for name in names:
        hint = hints[name]
        if typing.get_origin(hint) in (typing.Required, typing.NotRequired):
            hint = typing.get_args(hint)[0]
        properties[name] = schema_of(hint, f"{where}, {kind.__name__}.{name}", level + 1)
        properties[name] |= {"description": told[name]} if name in told else {}
        properties[name] |= {"default": given[name]} if name in given else {}
    return _object(properties, required)


def docstring(text: str) -> tuple[str, dict[str, str]]:
    """(what stands before the first section, argument -> what is said of it), in Google's or numpy's style."""
    text = inspect.cleandoc(text)
    if found := _NUMPY.search(text):
        return text[: found.start()].strip(), _numpy(text[found.end() :])
    lines = text.split("\n")
    start = next((place for place, line in enumerate(lines) if _GOOGLE.match(line)), None)
    if start is None:
        cut = next((place for place, line in enumerate(lines) if _SECTION.match(line) and place), len(lines))
        return "\n".join(lines[:cut]).strip(), {}
    return "\n".join(lines[:start]).strip(), _google(lines[start + 1 :])


def _google(lines: list[str]) -> dict[str, str]:
    told: dict[str, str] = {}
    indent, name = 0, ""
    for line in lines:
        if not line.strip():
            continue
        depth = len(line) - len(line.lstrip())
        if depth == 0:
            break
        indent = indent or depth
        entry = _ENTRY.match(line.strip()) if depth == indent else None
        if entry:
            name = entry[1].lstrip("*")
            told[name] = (entry[2] or "").strip()
        elif name:
            told[name] = f"{told[name]} {line.strip()}".strip()
    return told


def _numpy(text: str) -> dict[str, str]:
    told: dict[str, str] = {}
    lines = text.strip("\n").split("\n")
    name = ""
    for place, line in enumerate(lines):
        if place + 1 < len(lines) and re.fullmatch(r"-{3,}\s*", lines[place + 1]):
            break
        if line.strip() and not line.startswith(" "):
            name = line.partition(":")[0].strip().lstrip("*")
            told[name] = ""
        elif name and line.strip():
            told[name] = f"{told[name]} {line.strip()}".strip()
    return told


def build(value: Any, kind: Any) -> Any:
    """A JSON value as the type a function asks for: an Enum's member, a dataclass, a tuple, a set, a float.

    Raises:
        DataError: it is of no such type.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin is typing.Annotated or origin in (typing.Required, typing.NotRequired):
        return build(value, inner[0])
    if origin in (Union, types.UnionType):
        return build(value, _chosen(value, inner))
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is int and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return kind(value)
    if isinstance(value, Mapping):
        if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
            hints = typing.get_type_hints(kind, include_extras=True)
            made = {name: build(one, hints.get(name, Any)) for name, one in value.items()}
            return kind(**made)
        return {n: build(one, inner[1]) for n, one in value.items()} if len(inner) == 2 else dict(value)
    if isinstance(value, (list, tuple)):
        return _built_list(value, origin or kind, inner)
    return value


def _built_list(value: Any, kind: Any, inner: tuple[Any, ...]) -> Any:
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        return tuple(build(one, each) for one, each in zip(value, inner, strict=True))
    made = [build(one, inner[0] if inner else Any) for one in value]
    return kind(made) if kind in (tuple, set, frozenset) else made


def _chosen(value: Any, kinds: tuple[Any, ...]) -> Any:
    for kind in kinds:
        if not violations(value, json_schema(schema_of(kind))):
            return kind
    raise DataError(f"{value!r:.60} is of none of the types {', '.join(map(str, kinds))}")
