"""JSON against a schema, code blocks, Markdown, and the two checkers."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.records import Message, Prompt, Response
from burnish.verify.constraints.rules.layout import fenced
from burnish.verify.format import (
    FormatChecker,
    SchemaChecker,
    json_in,
    markdown_faults,
)
from burnish.verify.schema import schema_violations

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "minLength": 1},
        "age": {"type": "integer", "minimum": 0, "exclusiveMaximum": 150},
        "tags": {"type": "array", "items": {"enum": ["a", "b", 1]}, "uniqueItems": True, "maxItems": 2},
        "friend": {"$ref": "#"},
    },
    "required": ["name"],
    "additionalProperties": False,
}
FITS = [{"name": "x"}, {"name": "x", "age": 3.0, "tags": ["a", 1], "friend": {"name": "y"}}]
WRONG = {
    "$.name is missing": {}, "$.name must have at least": {"name": ""},
    "$.age must be of type integer": {"name": "x", "age": 1.5},
    "$.age must be below 150": {"name": "x", "age": 150}, "$.age must be at least 0": {"name": "x", "age": -1},
    "$.tags[1] must be one of": {"name": "x", "tags": ["a", True]},
    "$.tags must not hold equal": {"name": "x", "tags": ["a", "a"]},
    "$.other must not be there": {"name": "x", "other": 1}, "$.friend.name is missing": {"name": "x", "friend": {}},
    "$ must be of type object": [], "$.tags must have at most": {"name": "x", "tags": ["a", "b", 1]},
}  # fmt: skip


def test_a_schema_by_hand():
    assert all(schema_violations(value, PERSON) == [] for value in FITS)
    for told, value in WRONG.items():
        assert any(found.startswith(told) for found in schema_violations(value, PERSON)), told


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"const": 1}, [1, 1.0], [True, 2, "1"]),
        ({"type": ["null", "boolean"]}, [None, True], [0, ""]),
        ({"type": "number"}, [1, 1.5], [True, "1"]),
        ({"anyOf": [{"type": "string"}, {"minimum": 3}]}, ["", 3], [2]),
        ({"oneOf": [{"type": "number"}, {"minimum": 3}]}, [2, "x"], [3]),
        ({"allOf": [{"type": "number"}, {"maximum": 3}]}, [3], ["x", 4]),
        ({"not": {"type": "string"}}, [1], ["x"]),
        ({"if": {"type": "string"}, "then": {"minLength": 2}, "else": {"minimum": 2}}, ["ab", 2], ["a", 1]),
        ({"multipleOf": 0.1}, [0.3, 1], [0.35]),
        ({"exclusiveMinimum": 1}, [1.1, "x"], [1]),
        ({"pattern": "^a+$"}, ["aa", 3], ["ab"]),
        ({"maxLength": 2}, ["é"], ["abc"]),
        ({"minItems": 1, "prefixItems": [{"type": "string"}], "items": False}, [["x"]], [[], [1], ["x", 1]]),
        ({"contains": {"type": "string"}, "minContains": 2, "maxContains": 2}, [["a", 1, "b"]], [["a"], ["a"] * 3]),
        ({"contains": {"type": "string"}}, [["a"], 3], [[1]]),
        ({"minProperties": 1, "maxProperties": 1}, [{"a": 1}], [{}, {"a": 1, "b": 2}]),
        ({"patternProperties": {"^x": {"type": "number"}}, "additionalProperties": {"type": "string"}},
         [{"x1": 1, "y": "s"}], [{"x1": "s"}, {"y": 1}]),
        ({"propertyNames": {"maxLength": 1}}, [{"a": 1}], [{"ab": 1}]),
        ({"dependentRequired": {"a": ["b"]}}, [{"a": 1, "b": 1}, {}], [{"a": 1}]),
        ({"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}}, ["x"], [1]),
        ({"uniqueItems": True}, [[1, True], [[1], [2]]], [[1, 1.0], [{"a": 1}, {"a": 1}]]),
        (True, [1], []), (False, [], [1]), ({"description": "text", "default": 3}, [1], []),
    ],
)  # fmt: skip
def test_keywords(schema, good, bad):
    assert all(schema_violations(value, schema) == [] for value in good)
    assert all(schema_violations(value, schema) for value in bad)


def test_broken_schemas_are_errors():
    for schema, told in (
        ({"typ": "string"}, "'typ' is not covered"), ({"type": "text"}, "no JSON type 'text'"), (3, "not 3"),
        ({"$ref": "#/nowhere"}, "leads nowhere"), ({"$ref": "http://x"}, "inside the schema"),
        ({"$ref": "#"}, "nested"),
        ({"pattern": "("}, "no regular expression"), ({"pattern": "(x+)+y"}, "may never end"),
        ({"required": 3}, "'required' cannot be"),
        ({"type": 3}, "cannot be"),
        ({"properties": []}, "cannot be"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=told.replace("(", r"\(")):
            schema_violations({"a": "x"} if "pattern" not in str(schema) else "x", schema)


LEAF = st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.5, 1.0]) | st.text("ab", max_size=3)
NESTED = st.recursive
KINDS = st.sampled_from(["null", "boolean", "string", "array", "object", "number", "integer"])
VALUE = NESTED(LEAF, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.sampled_from("ab"), v), max_leaves=6)
SIMPLE = st.one_of(
    st.builds(lambda kind: {"type": kind}, KINDS),
    st.builds(lambda value: {"const": value}, LEAF),
    st.builds(lambda values: {"enum": values}, st.lists(LEAF, min_size=1, max_size=3)),
    st.builds(lambda n: {"minimum": n, "maxLength": 2}, st.integers(-2, 2)), st.booleans(),
    st.builds(lambda n: {"minItems": n, "uniqueItems": True}, st.integers(0, 2)),
    st.builds(lambda names: {"required": names}, st.lists(st.sampled_from("ab"), unique=True)),
)  # fmt: skip
COMBINED = st.sampled_from(["anyOf", "oneOf", "allOf"])
SCHEMA = NESTED(
    SIMPLE,
    lambda inner: st.one_of(
        st.builds(lambda a, b: {"properties": {"a": a}, "additionalProperties": b}, inner, inner),
        st.builds(lambda a, b: {"prefixItems": [a], "items": b}, inner, inner),
        st.builds(lambda a, b: {"if": a, "then": b, "else": {"not": b}}, inner, inner),
        st.builds(lambda key, some: {key: some}, COMBINED, st.lists(inner, min_size=1, max_size=3)),
        st.builds(lambda a: {"not": a}, inner), st.builds(lambda a: {"contains": a}, inner),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(VALUE, SCHEMA)
def test_agrees_with_the_reference_validator(value: Any, schema: Any):
    jsonschema = pytest.importorskip("jsonschema")
    assert (not schema_violations(value, schema)) is jsonschema.Draft202012Validator(schema).is_valid(value)


def test_json_in():
    assert json_in(' {"a": 1} ') == {"a": 1} and json_in("```json\n[1]\n```") == [1] and json_in("```\n2\n```\n") == 2
    for text in (
        "",
        "Here: {}",
        "```python\n1\n```",
        "NaN",
        "{} {}",
        "```json\n{}\n```\n```json\n{}\n```",
        "x ```json\n1\n```",
    ):
        with pytest.raises(ValueError):
            json_in(text)


def test_code_blocks_and_markdown():
    assert fenced("a\n```Python\nx = 1\n```\n```\ny\n```\n```go\nz") == [("python", "x = 1\n"), ("", "y\n")]
    assert markdown_faults("# A\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n```\n#x | y |\n```\ntext #1") == []
    assert markdown_faults("```\nx") == ["a fence is not closed"]
    assert markdown_faults("##A") == ["## stands before a heading without a blank"]
    assert markdown_faults("| a | b |\n|---|---|\n| 1 |") == ["a table has rows of different widths"]
    assert markdown_faults("| a | b |\n| 1 | 2 |") == ["a table has no rule under its head"]


def verdict(checker: Any, reference: str, text: str):
    prompt = Prompt(messages=(Message(role="user", content="?"),), reference=reference)
    return checker.check(prompt, Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),)))


def test_schema_rows():
    asked = json.dumps({"schema": PERSON})
    assert verdict(SchemaChecker(), asked, '```json\n{"name": "x"}\n```').correct is True
    assert verdict(SchemaChecker(), asked, '{"name": 3}').reason == "$.name must be of type string, and is integer"
    assert verdict(SchemaChecker(), asked, "Sure: {}").reason.startswith("the answer is no JSON")
    assert verdict(SchemaChecker(), asked, "[" * 100_000).correct is False
    for reference in (
        "",
        "[]",
        "{}",
        '{"schema": {"typ": 1}}',
        '{"schema": 3}',
        '{"schema": {"$ref": "#"}}',
        "[" * 100_000,
    ):
        assert verdict(SchemaChecker(), reference, "{}").correct is None, reference[:20]
    assert verdict(SchemaChecker(), '{"schema": {"typ": 1}}', "no JSON").correct is None


def test_format_rows():
    check = FormatChecker()
    assert verdict(check, '{"format": "json"}', "[1]").correct is True
    assert verdict(check, '{"format": "json"}', "one").correct is False
    assert verdict(check, '{"format": "markdown"}', "# A\nb").correct is True
    assert verdict(check, '{"format": "markdown"}', "#A\nb").correct is False
    assert verdict(check, '{"format": "markdown"}', " ").correct is False
    code = '{"format": "code", "language": "Python"}'
    assert verdict(check, code, "```python\nx = 1\n```").correct is True
    assert verdict(check, code, "```python\nx = \n```").reason.startswith("the python block does not parse")
    assert verdict(check, code, "```python\n\n```").correct is False and verdict(check, code, "x = 1").correct is False
    assert verdict(check, '{"format": "code", "language": "go"}', "```go\nx :=\n```").correct is True
    assert verdict(check, '{"format": "code", "language": "json"}', "```json\n{\n```").correct is False
    for reference in ("", "{}", '{"format": "code"}', '{"format": "tables"}', "[]", "[" * 100_000):
        assert verdict(check, reference, "x").correct is None


def test_blocks_inside_markdown_parse():
    def told(text: str) -> Any:
        prompt = Prompt(messages=(Message(role="user", content="?"),), reference='{"format": "markdown"}')
        said = Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
        return FormatChecker().check(prompt, said)

    broken = told("# T\n```python\nx=\n```")
    assert broken.correct is False and "the python block does not parse" in broken.reason
    assert told('# T\n```json\n{"a": }\n```').correct is False
    for text in ("# T\n```python\nx=1\n```", "```python\n>>> 1 +\n```", "```text\nx=\n```", "```json\n[1]\n```"):
        assert told(text).correct is True, text


def test_a_key_that_stands_twice_fits_no_schema():
    prompt = Prompt(messages=(Message(role="user", content="?"),), reference='{"schema": {"type": "object"}}')
    for text, right in (('{"a":1,"a":2}', False), ('{"b": [{"a":1,"a":1}]}', False), ('{"a":1,"b":{"a":2}}', True)):
        found = SchemaChecker().check(
            prompt, Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),))
        )
        assert found.correct is right
        assert right or "the key 'a' stands twice" in found.reason
