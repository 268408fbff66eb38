"""JSON Schema: what is wrong with a value, place by place, for answers (`format`) and for arguments of tools (`tools`).

It covers JSON Schema 2020-12 but for references to elsewhere, dynamic ones, and what depends on what other keywords
looked at (`unevaluated...`). A keyword that it does not know is an error of the schema, never a pass.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.verify.patterns import MAX_MATCHED, bounded

_ANNOTATIONS = frozenset(
    ("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "format",
     "deprecated", "readOnly", "writeOnly", "$anchor", "strict")
)  # fmt: skip
TYPES = ("null", "boolean", "string", "array", "object", "number", "integer")
_DEEPEST = 200  # nested values and references
_MOST = 100_000  # values against schemas; a schema that refers to itself could ask for more
_Passes = Callable[[Any, Mapping[str, Any]], bool]
_Check = Callable[[Any, Any, str, "_Walk"], Iterator[str]]


class Unchecked(DataError):
    """The value is too deep, too large or too long to be checked."""


@dataclass(slots=True)
class _Terms:
    """What holds for the whole walk."""

    root: Any
    passes: _Passes
    strict: bool
    left: int = _MOST


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where the validator is: the part of the schema in force, and how deep."""

    terms: _Terms
    schema: Mapping[str, Any]
    depth: int

    def into(self, value: Any, schema: Any, at: str) -> Iterator[str]:
        return _violations(value, schema, at, _Walk(self.terms, {}, self.depth + 1))


def schema_violations(
    value: Any, schema: Any, *, at: str = "$", strict: bool = True, passes: _Passes = lambda value, schema: False
) -> list[str]:
    """What is wrong with the value, each with its place (`$.items[2].name`); empty when it fits.

    Args:
        value: what `json.loads` gives; tuples and mappings are taken as arrays and objects.
        schema: a JSON Schema as data; True fits everything, False nothing.
        at: what the place of the whole is called.
        strict: a keyword that is not known is an error; else it asks nothing.
        passes: what says of a value and its schema that nothing is asked of it.

    Raises:
        Unchecked: the value cannot be checked within bounds.
        DataError: the schema is no schema, has a keyword that is not covered, or a reference that leads nowhere.
    """
    return list(_violations(value, schema, at, _Walk(_Terms(schema, passes, strict), {}, 0)))


def kind_of(value: Any) -> str:
    """The JSON type of a value; a whole number written with a point is a number."""
    if value is None:
        return "null"
    kinds = ((bool, "boolean"), (int, "integer"), (float, "number"), (str, "string"), ((list, tuple), "array"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "object")


def is_a(value: Any, kind: str) -> bool:
    """Whether a value has a JSON type. A whole number is a number too; 2.0 is an integer, as JSON Schema has it."""
    found = kind_of(value)
    whole = found == "number" and float(value).is_integer()
    return found == kind or (kind == "number" and found == "integer") or (kind == "integer" and whole)


def same(one: Any, other: Any) -> bool:
    """Equality as JSON has it: 1 and 1.0 are equal, 1 and true are not, tuples are lists."""
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    return isinstance(one, bool) == isinstance(other, bool) and one == other


def _violations(value: Any, schema: Any, at: str, walk: _Walk) -> Iterator[str]:
    walk.terms.left -= 1
    if walk.depth > _DEEPEST:
        raise Unchecked(f"the schema or the value is nested more than {_DEEPEST} deep at {at[:60]}")
    if walk.terms.left < 0:
        raise Unchecked(f"the value takes more than {_MOST:,} looks to be checked, at {at[:60]}")
    if isinstance(schema, bool):
        if not schema:
            yield f"{at} must not be there"
        return
    if not isinstance(schema, Mapping):
        raise DataError(f"a JSON schema is an object or a boolean, not {schema!r} (for {at})")
    if walk.terms.passes(value, schema):
        return
    here = _Walk(walk.terms, schema, walk.depth)
    for keyword, wanted in schema.items():
        if keyword in KEYWORDS:
            try:
                yield from KEYWORDS[keyword](value, wanted, at, here)
            except DataError:
                raise
            except (TypeError, AttributeError, KeyError, ValueError, ArithmeticError) as error:
                raise DataError(f"the schema keyword {keyword!r} cannot be {wanted!r} (for {at}): {error}") from error
        elif walk.terms.strict and keyword not in _ANNOTATIONS:
            raise DataError(f"the schema keyword {keyword!r} is not covered (for {at}); take it out of the schema")


def _type(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if unknown := [kind for kind in kinds if kind not in TYPES]:
        raise DataError(f"there is no JSON type {unknown[0]!r} (for {at}); all: {', '.join(TYPES)}")
    if not any(is_a(value, kind) for kind in kinds):
        yield f"{at} must be of type {' or '.join(kinds)}, and is {kind_of(value)}"


def _is_array(value: Any) -> bool:
    return isinstance(value, (list, tuple))


def _is_object(value: Any) -> bool:
    return isinstance(value, Mapping)


def _ref(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    target = walk.terms.root
    if not wanted.startswith("#"):
        raise DataError(f"the schema refers to {wanted!r}; only references inside the schema are followed")
    for part in filter(None, wanted.removeprefix("#").split("/")):
        key = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, Mapping) or key not in target:
            raise DataError(f"the schema reference {wanted!r} leads nowhere")
        target = target[key]
    yield from walk.into(value, target, at)


def _properties(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for name, schema in wanted.items():
        if _is_object(value) and name in value:
            yield from walk.into(value[name], schema, f"{at}.{name}")


def _patterned(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for pattern, schema in wanted.items():
        for name in value if _is_object(value) else ():
            if _matches(pattern, name):
                yield from walk.into(value[name], schema, f"{at}.{name}")


def _additional(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    known, patterns = walk.schema.get("properties", {}), walk.schema.get("patternProperties", {})
    for name in value if _is_object(value) else ():
        if name not in known and not any(_matches(pattern, name) for pattern in patterns):
            yield from walk.into(value[name], wanted, f"{at}.{name}")


def _names(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for name in value if _is_object(value) else ():
        yield from walk.into(name, wanted, f"{at}.{name} (its name)")


def _required(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if _is_object(value):
        yield from (f"{at}.{name} is missing" for name in wanted if name not in value)


def _dependent(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for name, needs in wanted.items():
        if _is_object(value) and name in value:
            yield from _required(value, needs, at, walk)


def _items(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if _is_array(value):
        first = len(walk.schema.get("prefixItems", ()))
        for i, item in enumerate(value[first:], first):
            yield from walk.into(item, wanted, f"{at}[{i}]")


def _prefix(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if _is_array(value):
        for i, (item, schema) in enumerate(zip(value, wanted)):
            yield from walk.into(item, schema, f"{at}[{i}]")


def _contains(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if _is_array(value):
        found = sum(not any(walk.into(item, wanted, at)) for item in value)
        if found < walk.schema.get("minContains", 1) or found > walk.schema.get("maxContains", found):
            yield f"{at} has {found} items that fit `contains`"


def _unique(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if wanted and _is_array(value):
        seen = {json.dumps(_plain(item), sort_keys=True, default=repr) for item in value}
        if len(seen) < len(value):
            yield f"{at} must not hold equal items"


def _plain(value: Any) -> Any:
    """Equal values (`same`) as equal JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if _is_array(value):
        return [_plain(item) for item in value]
    return {name: _plain(one) for name, one in value.items()} if _is_object(value) else value


def _some(least: int, most: int | None, told: str) -> _Check:
    """So many of the given schemas must fit."""

    def check(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
        schemas = wanted if isinstance(wanted, list) else [wanted]
        fits = sum(not any(walk.into(value, schema, at)) for schema in schemas)
        if fits < (len(schemas) if least < 0 else least) or (most is not None and fits > most):
            yield f"{at} must fit {told}"

    return check


def _if(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    branch = "else" if any(walk.into(value, wanted, at)) else "then"
    if branch in walk.schema:
        yield from walk.into(value, walk.schema[branch], at)


def _bound(kind: str, size: Callable[[Any], Any], fits: Callable[[Any, Any], bool], told: str) -> _Check:
    """A limit on values of one type, on their size or on themselves."""

    def check(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
        if is_a(value, kind) and not fits(size(value), wanted):
            yield f"{at} must {told} {wanted}"

    return check


def _itself(value: Any) -> Any:
    return value


def _multiple(value: Any, step: Any) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    ratio = value / step
    return math.isfinite(ratio) and abs(ratio - round(ratio)) < 1e-9 * max(1.0, abs(ratio))


def _matches(pattern: Any, text: str) -> bool:
    compiled = bounded(pattern)
    if len(text) > MAX_MATCHED:
        raise Unchecked(
            f"a text of {len(text):,} characters is longer than what a pattern is tried on ({MAX_MATCHED:,})"
        )
    return bool(compiled.search(text))


def _none(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    """Keywords that others read."""
    return iter(())


def _one_of(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if not any(same(value, one) for one in wanted):
        yield f"{at} must be one of {wanted}"


def _constant(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if not same(value, wanted):
        yield f"{at} must be {wanted!r}"


KEYWORDS: Mapping[str, _Check] = {
    "type": _type, "enum": _one_of, "const": _constant, "$ref": _ref,
    "properties": _properties, "patternProperties": _patterned, "additionalProperties": _additional,
    "propertyNames": _names, "required": _required, "dependentRequired": _dependent,
    "minProperties": _bound("object", len, lambda a, b: a >= b, "have at least this many members:"),
    "maxProperties": _bound("object", len, lambda a, b: a <= b, "have at most this many members:"),
    "items": _items, "prefixItems": _prefix, "contains": _contains, "minContains": _none, "maxContains": _none,
    "uniqueItems": _unique,
    "minItems": _bound("array", len, lambda a, b: a >= b, "have at least this many items:"),
    "maxItems": _bound("array", len, lambda a, b: a <= b, "have at most this many items:"),
    "minLength": _bound("string", len, lambda a, b: a >= b, "have at least this many characters:"),
    "maxLength": _bound("string", len, lambda a, b: a <= b, "have at most this many characters:"),
    "pattern": _bound("string", _itself, lambda a, b: _matches(b, a), "match"),
    "minimum": _bound("number", _itself, lambda a, b: a >= b, "be at least"),
    "maximum": _bound("number", _itself, lambda a, b: a <= b, "be at most"),
    "exclusiveMinimum": _bound("number", _itself, lambda a, b: a > b, "be above"),
    "exclusiveMaximum": _bound("number", _itself, lambda a, b: a < b, "be below"),
    "multipleOf": _bound("number", _itself, _multiple, "be a multiple of"),
    "allOf": _some(-1, None, "all of `allOf`"), "anyOf": _some(1, None, "one of `anyOf`"),
    "oneOf": _some(1, 1, "exactly one of `oneOf`"), "not": _some(0, 0, "none of `not`"),
    "if": _if, "then": _none, "else": _none,
}  # fmt: skip
