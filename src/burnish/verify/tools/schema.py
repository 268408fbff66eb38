"""JSON schemas of tools: other dialects made one, the schema itself checked, values validated against it.

The validator is that of `burnish.verify.schema`. A keyword that changes what is valid and that it does not cover is
refused, never skipped; words that are none of JSON Schema's ask nothing, as many tools in the wild carry some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from burnish.errors import DataError
from burnish.verify.patterns import bounded
from burnish.verify.schema import KEYWORDS, Unchecked, same, schema_violations
from burnish.verify.tools.call import Call, Tool

Schema = Mapping[str, Any]

MAX_LEVELS = 32  # of schemas within each other
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
_KNOWN = frozenset((*KEYWORDS, "$defs", "definitions"))
_REFUSED = frozenset((
    "dependencies", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems", "additionalItems", "$dynamicRef",
    "$recursiveRef",
))
_NAMED = ("properties", "patternProperties", "$defs", "definitions")  # whose values hold schemas by name
_SINGLE = ("items", "additionalProperties", "not", "if", "then", "else", "contains", "propertyNames")
_NUMBERS = tuple(name for name in KEYWORDS if name.startswith(("min", "max", "exclusiveM", "multiple")))
# fmt: on


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
    for name in _NAMED:
        if name in found:
            if not isinstance(found[name], Mapping):
                raise DataError(f"{where}.{name} must be an object of schemas")
            found[name] = {key: _standard(one, f"{where}.{key}", level + 1) for key, one in found[name].items()}
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        if name in found:
            if not isinstance(found[name], list) or not found[name]:
                raise DataError(f"{where}.{name} must be a list of schemas")
            found[name] = [_standard(one, f"{where}.{name}", level + 1) for one in found[name]]
    for name in _SINGLE:
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
    for name in _NUMBERS:
        value = schema.get(name, 1)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or (name == "multipleOf" and value <= 0):
            raise DataError(f"{where}.{name} must be a number, not {value!r}")
    if "pattern" in schema:
        _check_pattern(schema["pattern"], where)


def _check_pattern(pattern: Any, where: str) -> None:
    try:
        bounded(pattern)
    except (DataError, TypeError) as error:
        raise DataError(f"{where}: {error}") from None


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


def violations(value: Any, schema: Schema) -> list[str]:
    """What is wrong with a value, each with its place (the whole is called `value`); empty when it is valid.

    Args:
        schema: as `json_schema` gives it.

    Raises:
        DataError: the schema refers to something that is not in it.
    """
    try:
        return schema_violations(value, schema, at="value", strict=False, passes=_asks_nothing)
    except Unchecked as error:  # of a model's call: what is too large for a check is too large for a tool
        return [f"value cannot be checked: {error}"]


def _asks_nothing(value: Any, schema: Schema) -> bool:
    """What an inner call will give is not known yet; and a tool takes its own default, type or not (ASSUMED)."""
    return isinstance(value, Call) or ("default" in schema and same(value, schema["default"]))
