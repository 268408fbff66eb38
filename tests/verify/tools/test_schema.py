"""The validator of JSON schemas, against hand-made cases of each keyword, and other dialects made JSON Schema."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.errors import DataError
from burnish.verify.tools import Call, json_schema, tool_of, violations

NODE = {"$defs": {"n": {"type": "object", "properties": {"next": {"$ref": "#/$defs/n"}, "v": {"type": "integer"}},
        "required": ["v"]}}, "$ref": "#/$defs/n"}  # fmt: skip
CASES: list[tuple[dict[str, Any], list[Any], list[Any]]] = [
    ({"type": "integer"}, [1, -3, 2.0], [1.5, True, "1", None]),
    ({"type": "number"}, [1, 1.5], [True, "1"]),
    ({"type": "string"}, ["", "x"], [1, None]),
    ({"type": "boolean"}, [True], [1, 0, "true"]),
    ({"type": ["string", "null"]}, ["x", None], [1]),
    ({"type": "any"}, [1, None, {}], []),
    ({"type": "string", "nullable": True}, ["x", None], [1]),
    ({"enum": [1, "a", None]}, [1, 1.0, "a", None], [True, "b", 0]),
    ({"const": {"a": [1]}}, [{"a": [1]}, {"a": (1,)}], [{"a": [True]}, {"a": [1, 2]}]),
    (
        {"type": "array", "items": {"type": "integer"}, "minItems": 1, "maxItems": 2},
        [[1], (1, 2)],
        [[], [1, 2, 3], ["1"]],
    ),
    ({"type": "array", "prefixItems": [{"type": "string"}], "items": False}, [["a"], []], [["a", 1], [1]]),
    ({"type": "array", "uniqueItems": True}, [[1, 2], [1, True]], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
    (
        {"type": "object", "required": ["a"], "properties": {"a": {"type": "string"}}},
        [{"a": "x", "b": 1}],
        [{}, {"a": 1}],
    ),
    ({"type": "object", "properties": {}, "additionalProperties": False}, [{}], [{"a": 1}]),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, [{"a": 1}], [{"a": "x"}]),
    ({"type": "object", "minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
    ({"anyOf": [{"type": "integer"}, {"type": "string", "maxLength": 2}]}, [1, "ab"], ["abc", None]),
    ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, [1.5], [1, "x"]),
    ({"allOf": [{"minimum": 1}, {"maximum": 3}]}, [1, 3, "x"], [0, 4]),
    ({"not": {"type": "str"}}, [1], ["x"]),
    ({"if": {"type": "str"}, "then": {"minLength": 2}}, ["ab", 1], ["a"]),
    ({"contains": {"type": "int"}}, [[1, "a"]], [["a"]]),
    ({"x-order": 3, "type": "integer"}, [1], ["1"]),
    ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, [0.5], [0, 1]),
    ({"multipleOf": 0.1}, [0.3, 1], [0.35]),
    ({"multipleOf": 3}, [9, 10**30 * 3], [10]),
    ({"type": "string", "minLength": 2, "pattern": "^a+b$"}, ["aab"], ["b", "ba", "a" * 3_000 + "b"]),
    (NODE, [{"v": 1, "next": {"v": 2}}], [{"v": 1, "next": {}}, {"v": 1, "next": {"v": "2"}}]),
    ({"type": "string", "enum": ["a"], "default": None}, ["a", None], ["b"]),
    ({"type": "dict", "properties": {"a": {"type": "float"}}}, [{"a": 1}], [{"a": "1"}, [1]]),
    ({"type": "ArrayList", "items": {"type": "long"}}, [[1]], [["1"]]),
]


@pytest.mark.parametrize(("schema", "good", "bad"), CASES, ids=range(len(CASES)))
def test_each_keyword_both_ways(schema: dict[str, Any], good: list[Any], bad: list[Any]) -> None:
    standard = json_schema(schema)
    for value in good:
        assert violations(value, standard) == [], value
    for value in bad:
        assert violations(value, standard), value
        assert violations(value, standard)[0].startswith("value"), value


def test_every_violation_is_told_with_its_path() -> None:
    schema = json_schema({"type": "object", "properties": {"a": {"type": "array", "items": {"type": "integer"}}},
                          "required": ["a", "b"], "additionalProperties": False} | {"properties": {
                              "a": {"type": "array", "items": {"type": "integer"}}, "b": {}}})  # fmt: skip
    assert violations({"a": [1, "x"], "c": 1}, schema) == [
        "value.a[1] must be of type integer, and is string",
        "value.b is missing",
        "value.c must not be there",
    ]


def test_an_inner_call_is_taken_as_it_is() -> None:
    assert violations({"a": Call(name="g")}, {"type": "object", "properties": {"a": {"type": "integer"}}}) == []


@pytest.mark.parametrize(
    ("schema", "wrong"),
    [
        (3, "is a int; a schema is an object"),
        ({"type": "strng"}, "unknown type 'strng'"),
        ({"dependencies": {}}, "has dependencies, which is not supported"),
        ({"properties": {"a": {"unevaluatedItems": False}}}, "the schema.a has unevaluatedItems"),
        ({"properties": []}, "must be an object of schemas"),
        ({"anyOf": []}, "anyOf must be a list of schemas"),
        ({"enum": []}, "enum must be a list"),
        ({"required": ["a"], "properties": {}}, "requires a, and has no such property"),
        ({"required": "a"}, "required must be a list"),
        ({"minimum": "3"}, "minimum must be a number"),
        ({"multipleOf": 0}, "multipleOf must be a number"),
        ({"pattern": "("}, "is no regular expression"),
        ({"pattern": "(a+)+$"}, "may never end"),
        ({"pattern": "(a|ab)*$"}, "may never end"),
        ({"pattern": "(?>(a+)+b)"}, "may never end"),
        ({"pattern": "(x)?(?(1)(a+)+|b)$"}, "may never end"),
        ({"pattern": "^(?:x?y?)*z"}, "may never end"),
    ],
)
def test_schemas_that_are_none_are_refused(schema: Any, wrong: str) -> None:
    with pytest.raises(DataError, match=wrong):
        json_schema(schema)


def test_a_schema_that_refers_to_itself_ends() -> None:
    schema = {"$defs": {"n": {"anyOf": [{"$ref": "#/$defs/n"}] * 4}}, "$ref": "#/$defs/n"}
    assert violations(1, json_schema(schema))
    with pytest.raises(DataError, match="'#/\\$defs/m' leads nowhere"):
        violations(1, json_schema({"$ref": "#/$defs/m"}))


def test_a_deep_schema_is_refused() -> None:
    schema: dict[str, Any] = {}
    for _ in range(40):
        schema = {"items": schema}
    with pytest.raises(DataError, match="more than 32 levels"):
        json_schema(schema)


def test_tools_of_other_forms() -> None:
    flat = {"name": "f", "description": "d", "parameters": {"a": {"type": "str, optional"}, "b": {"type": "List"}}}
    assert dict(tool_of(flat).parameters["properties"]) == {"a": {"type": "string"}, "b": {"type": "array"}}
    assert tool_of({"name": "f"}).parameters == {"type": "object", "properties": {}}
    assert tool_of({"type": "function", "function": {"name": "f", "parameters": None}}).name == "f"
    for spec, wrong in (
        ({"parameters": {}}, "a tool needs a name"),
        ({"name": "f", "parameters": []}, "the parameters of the tool f are a list"),
        ({"name": "f", "parameters": {"type": "array"}}, "must be of type object, not array"),
        ("f", "a tool needs a name"),
    ):
        with pytest.raises(DataError, match=wrong):
            tool_of(spec)
