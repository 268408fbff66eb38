"""JSON schemas of tools: other dialects made one, the schema itself checked, values validated against it.

What is validated: type, enum, const, required, properties, additionalProperties, items, prefixItems, anyOf, oneOf,
allOf, minimum, maximum and their exclusive forms, multipleOf, lengths, numbers of items and properties, uniqueItems,
pattern, and $ref into $defs. A keyword that changes what is valid and is none of these is refused, never skipped.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from re import _constants as sre  # type: ignore[attr-defined]
from re import _parser as sre_parser  # type: ignore[attr-defined]
from typing import Any

from burnish.errors import DataError
from burnish.verify.tools.call import Call, Tool

Schema = Mapping[str, Any]
_Root = tuple[Schema, int, list[int]]  # the whole schema, the level, how many values may still be looked at

MAX_LEVELS = 32  # of schemas within each other, $ref followed
MAX_CHECKS = 100_000  # of a value against a schema; schemas that refer to themselves could ask for more
MAX_MATCHED = 2_000  # ASSUMED: characters of a text that a pattern is tried on
# Names of types in the wild: Python's, Java's and JavaScript's (BFCL v4), ToolBench's.
# fmt: off
TYPES: dict[str, str] = {
    **dict.fromkeys(("string", "str", "String", "char", "text"), "string"),
    **dict.fromkeys(("integer", "int", "long", "short", "byte", "Integer", "Long", "Bigint"), "integer"),
    **dict.fromkeys(("number", "float", "double", "Number", "Float", "Double"), "number"),
    **dict.fromkeys(("boolean", "bool", "Boolean"), "boolean"),
    **dict.fromkeys(("array", "list", "tuple", "set", "Array", "ArrayList", "List", "Set", "Queue", "Stack"), "array"),
    **dict.fromkeys(("object", "dict", "HashMap", "Hashtable", "Map", "Object"), "object"),
    **dict.fromkeys(("null", "NoneType", "None"), "null"),
}
_ANY = frozenset(("any", "Any", ""))
_KNOWN = frozenset((
    "type", "enum", "const", "required", "properties", "additionalProperties", "items", "prefixItems", "anyOf", "oneOf",
    "allOf", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "minItems", "maxItems", "uniqueItems", "minProperties", "maxProperties", "pattern", "$ref", "$defs", "definitions",
))
_REFUSED = frozenset((
    "not", "if", "then", "else", "patternProperties", "propertyNames", "dependencies", "dependentRequired",
    "dependentSchemas", "contains", "minContains", "maxContains", "unevaluatedProperties", "unevaluatedItems",
    "additionalItems", "$dynamicRef", "$recursiveRef",
))
# fmt: on
_SIZES = {
    "minLength": (str, 1),
    "maxLength": (str, -1),
    "minItems": (list, 1),
    "maxItems": (list, -1),
    "minProperties": (dict, 1),
    "maxProperties": (dict, -1),
}
_UNITS = {str: "characters", list: "items", dict: "fields"}


def json_schema(schema: Any, where: str = "the schema") -> dict[str, Any]:
    """The schema in JSON Schema's own words: names of types by `TYPES`, `any` without a type, nullable as null.

    Raises:
        DataError: it is no schema, names an unknown type, or holds a keyword that is not supported.
    """
    return _standard(schema, where, 0)


def _standard(schema: Any, where: str, level: int) -> dict[str, Any]:
    if not isinstance(schema, Mapping):
        raise DataError(f"{where} is a {type(schema).__name__}; a schema is an object")
    if level > MAX_LEVELS:
        raise DataError(f"{where} is nested more than {MAX_LEVELS} levels deep")
    refused = _REFUSED & set(schema)
    if refused:
        raise DataError(f"{where} has {', '.join(sorted(refused))}, which is not supported; express it otherwise")
    found = {name: value for name, value in schema.items() if name not in ("type", "nullable", "optional")}
    types = _types(schema.get("type", ""), where)
    if types and schema.get("nullable") and "null" not in types:
        types.append("null")
    if types:
        found["type"] = types[0] if len(types) == 1 else types
    if isinstance(found.get("required"), bool):  # OpenAPI 2 and many hand-written rows mark the property itself
        del found["required"]
    for name in ("properties", "$defs", "definitions"):
        if name in found:
            if not isinstance(found[name], Mapping):
                raise DataError(f"{where}.{name} must be an object of schemas")
            found[name] = {key: _standard(one, f"{where}.{key}", level + 1) for key, one in found[name].items()}
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if name in found:
            if not isinstance(found[name], list) or not found[name]:
                raise DataError(f"{where}.{name} must be a list of schemas")
            found[name] = [_standard(one, f"{where}.{name}", level + 1) for one in found[name]]
    for name in ("items", "additionalProperties"):
        if name in found and not isinstance(found[name], bool):
            found[name] = _standard(found[name], f"{where}.{name}", level + 1)
    _check_keywords(found, where)
    return found


def _types(given: Any, where: str) -> list[str]:
    names = given if isinstance(given, list) else [given]
    found: list[str] = []
    for name in names:
        word = str(name).partition(",")[0].strip() if isinstance(name, str) else name  # ToolBench: "str, optional"
        if word in _ANY:
            return []
        if not isinstance(word, str) or word not in TYPES:
            raise DataError(f"{where} has the unknown type {name!r}; known are {', '.join(TYPES)} and any")
        found.append(TYPES[word])
    return list(dict.fromkeys(found))


def _check_keywords(schema: Schema, where: str) -> None:
    if "enum" in schema and (not isinstance(schema["enum"], list) or not schema["enum"]):
        raise DataError(f"{where}.enum must be a list of values")
    required = schema.get("required", [])
    if not isinstance(required, list) or not all(isinstance(name, str) for name in required):
        raise DataError(f"{where}.required must be a list of names")
    lost = [name for name in required if name not in schema.get("properties", {})]
    if lost and "properties" in schema:
        raise DataError(f"{where} requires {', '.join(lost)}, and has no such property")
    for name in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", *_SIZES):
        value = schema.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (name == "multipleOf" and value <= 0):
            raise DataError(f"{where}.{name} must be a number, not {value!r}")
    if "pattern" in schema:
        _check_pattern(schema["pattern"], where)


def _check_pattern(pattern: Any, where: str) -> None:
    """Refuse what may take exponential time: a repetition without end of something that has several lengths."""
    try:
        re.compile(pattern)
        tree = sre_parser.parse(pattern)
    except (re.error, TypeError, RecursionError) as error:
        raise DataError(f"{where}.pattern {pattern!r} is no regular expression: {error}") from None
    if _wild(tree):
        raise DataError(
            f"{where}.pattern {pattern!r} repeats a repetition or a choice, which may never end; rewrite it"
        )


_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT)


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


def tool_of(spec: Any) -> Tool:
    """A tool from its description: OpenAI's form or the function in it, BFCL's types, or parameters without a frame.

    Raises:
        DataError: it has no name, or its parameters are no schema (the message names the tool).
    """
    if isinstance(spec, Tool):
        return spec
    inner = spec.get("function", spec) if isinstance(spec, Mapping) else None
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str) or not inner["name"].strip():
        raise DataError(f"a tool needs a name, a description and parameters; found {str(spec)[:120]}")
    name = inner["name"].strip()
    given = inner.get("parameters", inner.get("input_schema"))
    given = {} if given is None else given
    if not isinstance(given, Mapping):
        raise DataError(f"the parameters of the tool {name} are a {type(given).__name__}; they must be an object")
    if given and not _KNOWN & set(given) and all(isinstance(one, Mapping) for one in given.values()):
        given = {"type": "object", "properties": given}  # the properties alone; ASSUMED: none of them is required
    schema = json_schema({"type": "object", "properties": {}, **given}, f"the tool {name}")
    if schema["type"] != "object":
        raise DataError(f"the parameters of the tool {name} must be of type object, not {schema['type']}")
    return Tool(name=name, description=str(inner.get("description") or ""), parameters=schema)


# ---- values ------------------------------------------------------------------------------------------------------


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


def violations(value: Any, schema: Schema) -> list[str]:
    """What is wrong with a value, as "path: what" (the path of the whole is `value`); empty when it is valid.

    Args:
        schema: as `json_schema` gives it.
    """
    return list(_violations(value, schema, "value", (schema, 0, [MAX_CHECKS])))


def _violations(value: Any, schema: Schema, path: str, root: _Root) -> Iterator[str]:
    if isinstance(value, Call):  # what an inner call will give is not known yet
        return
    if "default" in schema and same(value, schema["default"]):  # ASSUMED: a tool takes its own default, type or not
        return
    whole, level, left = root
    left[0] -= 1
    if level > MAX_LEVELS or left[0] < 0:
        yield f"{path}: {'nested too deeply' if level > MAX_LEVELS else 'too large'} to be checked"
        return
    inner = (whole, level + 1, left)
    if "$ref" in schema:
        yield from _violations(value, _resolved(schema["$ref"], whole), path, inner)
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types and not any(is_a(value, kind) for kind in types):
        yield f"{path}: {_shown(value)} is {kind_of(value)}, not {' or '.join(types)}"
        return
    if "enum" in schema and not any(same(value, one) for one in schema["enum"]):
        yield f"{path}: {_shown(value)} is none of {', '.join(map(_shown, schema['enum'][:12]))}"
    if "const" in schema and not same(value, schema["const"]):
        yield f"{path}: {_shown(value)} is not {_shown(schema['const'])}"
    yield from _combined(value, schema, path, inner)
    for name, rule in _RULES:
        if name in schema and (wrong := rule(value, schema[name])):
            yield f"{path}: {wrong}"
    if isinstance(value, Mapping):
        yield from _fields(value, schema, path, inner)
    elif isinstance(value, (list, tuple)):
        yield from _items(value, schema, path, inner)


def _resolved(reference: str, whole: Schema) -> Schema:
    place: Any = whole
    for part in str(reference).removeprefix("#").strip("/").split("/"):
        if part:
            place = place.get(part) if isinstance(place, Mapping) else None
    if not isinstance(place, Mapping):
        raise DataError(f"the schema has $ref {reference!r}, which is not in it")
    return place


def _combined(value: Any, schema: Schema, path: str, root: _Root) -> Iterator[str]:
    for one in schema.get("allOf", ()):
        yield from _violations(value, one, path, root)
    for name in ("anyOf", "oneOf"):
        if name in schema:
            fits = [not any(_violations(value, one, path, root)) for one in schema[name]]
            if not any(fits):
                yield f"{path}: {_shown(value)} fits none of the {len(fits)} schemas of {name}"
            elif name == "oneOf" and sum(fits) > 1:
                yield f"{path}: {_shown(value)} fits {sum(fits)} schemas of oneOf"


def _fields(value: Mapping[str, Any], schema: Schema, path: str, root: _Root) -> Iterator[str]:
    known = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{path}: {name!r} is missing"
    more = schema.get("additionalProperties", True)
    for name, one in value.items():
        if name in known:
            yield from _violations(one, known[name], f"{path}.{name}", root)
        elif more is False:
            yield f"{path}: there is no {name!r:.60}"
        elif isinstance(more, Mapping):
            yield from _violations(one, more, f"{path}.{name}", root)


def _items(value: Any, schema: Schema, path: str, root: _Root) -> Iterator[str]:
    first = schema.get("prefixItems", ())
    rest = schema.get("items", True)
    for place, one in enumerate(value):
        given = first[place] if place < len(first) else rest
        if given is False:
            yield f"{path}: more than {len(first)} items"
            return
        if isinstance(given, Mapping):
            yield from _violations(one, given, f"{path}[{place}]", root)


def _sized(name: str) -> Callable[[Any, Any], str]:
    kind, sign = _SIZES[name]

    def rule(value: Any, bound: Any) -> str:
        held = list(value) if isinstance(value, tuple) else value
        if not isinstance(held, kind) or (len(held) - bound) * sign >= 0:
            return ""
        return f"{len(held)} {_UNITS[kind]}, {'fewer' if sign > 0 else 'more'} than {bound}"

    return rule


def _ranged(fits: Callable[[float, float], bool], word: str) -> Callable[[Any, Any], str]:
    def rule(value: Any, bound: Any) -> str:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return "" if not number or fits(value, bound) else f"{_shown(value)} is not {word} {bound}"

    return rule


def _multiple(value: Any, step: Any) -> bool:
    if isinstance(value, int) and isinstance(step, int):
        return value % step == 0
    ratio = value / step
    return math.isfinite(ratio) and abs(ratio - round(ratio)) < 1e-9 * max(1.0, abs(ratio))


def _unique(value: Any, wanted: Any) -> str:
    if not wanted or not isinstance(value, (list, tuple)):
        return ""
    seen = [json.dumps(_plain(item), sort_keys=True, default=str) for item in value]
    return "" if len(set(seen)) == len(seen) else "an item comes twice"


def _plain(value: Any) -> Any:
    """Equal values (`same`) as equal JSON."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return {name: _plain(one) for name, one in value.items()} if isinstance(value, Mapping) else value


def _patterned(value: Any, pattern: str) -> str:
    if not isinstance(value, str):
        return ""
    if len(value) > MAX_MATCHED:
        return f"{len(value):,} characters are more than a pattern is tried on"
    return "" if re.search(pattern, value) else f"{_shown(value)} does not match {pattern}"


_RULES: tuple[tuple[str, Callable[[Any, Any], str]], ...] = (
    *((name, _sized(name)) for name in _SIZES),
    ("minimum", _ranged(lambda value, bound: value >= bound, "at least")),
    ("maximum", _ranged(lambda value, bound: value <= bound, "at most")),
    ("exclusiveMinimum", _ranged(lambda value, bound: value > bound, "more than")),
    ("exclusiveMaximum", _ranged(lambda value, bound: value < bound, "less than")),
    ("multipleOf", _ranged(_multiple, "a multiple of")),
    ("uniqueItems", _unique),
    ("pattern", _patterned),
)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
