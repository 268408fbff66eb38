"""The form of an answer: JSON that fits a schema, code that parses, Markdown that is sound.

The schema validator covers what answers are asked for (JSON Schema 2020-12: types, values, objects, arrays, texts,
numbers, combinations, local references). A keyword that it does not know is an error of the row, never a pass.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response
from burnish.verify.constraints.rules.layout import fenced

_ANNOTATIONS = frozenset(
    ("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default", "examples", "format",
     "deprecated", "readOnly", "writeOnly", "$anchor", "strict")
)  # fmt: skip
_TYPES: Mapping[str, Callable[[Any], bool]] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value),
}
_DEEPEST = 200  # nested values and references, beyond which the row is an error
_Check = Callable[[Any, Any, str, "_Walk"], Iterator[str]]


@dataclass(frozen=True, slots=True)
class _Walk:
    """Where the validator is: the whole schema, the part in force, how deep."""

    root: Any
    schema: Mapping[str, Any]
    depth: int

    def into(self, value: Any, schema: Any, at: str) -> Iterator[str]:
        return _violations(value, schema, at, _Walk(self.root, {}, self.depth + 1))


def schema_violations(value: Any, schema: Any) -> list[str]:
    """What is wrong with the value, each with its place (`$.items[2].name`); empty when it fits.

    Args:
        value: what `json.loads` gives.
        schema: a JSON Schema as data; True fits everything, False nothing.

    Raises:
        DataError: the schema is no schema, has a keyword that is not covered, or a reference that leads nowhere.
    """
    return list(_violations(value, schema, "$", _Walk(schema, {}, 0)))


def _violations(value: Any, schema: Any, at: str, walk: _Walk) -> Iterator[str]:
    if walk.depth > _DEEPEST:
        raise DataError(f"the schema or the value is nested more than {_DEEPEST} deep at {at[:60]}")
    if isinstance(schema, bool):
        if not schema:
            yield f"{at} must not be there"
        return
    if not isinstance(schema, Mapping):
        raise DataError(f"a JSON schema is an object or a boolean, not {schema!r} (for {at})")
    here = _Walk(walk.root, schema, walk.depth)
    for keyword, wanted in schema.items():
        if keyword in _KEYWORDS:
            try:
                yield from _KEYWORDS[keyword](value, wanted, at, here)
            except (TypeError, AttributeError, KeyError, re.error) as error:
                raise DataError(f"the schema keyword {keyword!r} cannot be {wanted!r} (for {at}): {error}") from error
        elif keyword not in _ANNOTATIONS:
            raise DataError(f"the schema keyword {keyword!r} is not covered (for {at}); take it out of the schema")


def _type(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    kinds = [wanted] if isinstance(wanted, str) else wanted
    if unknown := [kind for kind in kinds if kind not in _TYPES]:
        raise DataError(f"there is no JSON type {unknown[0]!r} (for {at}); all: {', '.join(_TYPES)}")
    if not any(_TYPES[kind](value) for kind in kinds):
        yield f"{at} must be of type {' or '.join(kinds)}"


def _same(one: Any, other: Any) -> bool:
    """JSON equality: 1 is 1.0, and not true."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(one[key], other[key]) for key in one)
    return one == other


def _ref(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    target = walk.root
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
        if isinstance(value, dict) and name in value:
            yield from walk.into(value[name], schema, f"{at}.{name}")


def _patterned(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for pattern, schema in wanted.items():
        for name in value if isinstance(value, dict) else ():
            if re.search(pattern, name):
                yield from walk.into(value[name], schema, f"{at}.{name}")


def _additional(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    known, patterns = walk.schema.get("properties", {}), walk.schema.get("patternProperties", {})
    for name in value if isinstance(value, dict) else ():
        if name not in known and not any(re.search(pattern, name) for pattern in patterns):
            yield from walk.into(value[name], wanted, f"{at}.{name}")


def _names(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for name in value if isinstance(value, dict) else ():
        yield from walk.into(name, wanted, f"{at}.{name} (its name)")


def _required(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (f"{at}.{name} is missing" for name in wanted if name not in value)


def _dependent(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    for name, needs in wanted.items():
        if isinstance(value, dict) and name in value:
            yield from _required(value, needs, at, walk)


def _items(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if isinstance(value, list):
        first = len(walk.schema.get("prefixItems", ()))
        for i, item in enumerate(value[first:], first):
            yield from walk.into(item, wanted, f"{at}[{i}]")


def _prefix(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if isinstance(value, list):
        for i, (item, schema) in enumerate(zip(value, wanted)):
            yield from walk.into(item, schema, f"{at}[{i}]")


def _contains(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if isinstance(value, list):
        found = sum(not any(walk.into(item, wanted, at)) for item in value)
        if found < walk.schema.get("minContains", 1) or found > walk.schema.get("maxContains", found):
            yield f"{at} has {found} items that fit `contains`"


def _unique(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if wanted and isinstance(value, list) and any(_same(a, b) for i, a in enumerate(value) for b in value[:i]):
        yield f"{at} must not hold equal items"


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
        if _TYPES[kind](value) and not fits(size(value), wanted):
            yield f"{at} must {told} {wanted}"

    return check


def _itself(value: Any) -> Any:
    return value


def _multiple(value: Any, step: Any) -> bool:
    ratio = value / step
    return abs(ratio - round(ratio)) < 1e-9


def _none(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    """Keywords that others read."""
    return iter(())


def _one_of(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if not any(_same(value, one) for one in wanted):
        yield f"{at} must be one of {wanted}"


def _constant(value: Any, wanted: Any, at: str, walk: _Walk) -> Iterator[str]:
    if not _same(value, wanted):
        yield f"{at} must be {wanted!r}"


_KEYWORDS: Mapping[str, _Check] = {
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
    "pattern": _bound("string", _itself, lambda a, b: bool(re.search(b, a)), "match"),
    "minimum": _bound("number", _itself, lambda a, b: a >= b, "be at least"),
    "maximum": _bound("number", _itself, lambda a, b: a <= b, "be at most"),
    "exclusiveMinimum": _bound("number", _itself, lambda a, b: a > b, "be above"),
    "exclusiveMaximum": _bound("number", _itself, lambda a, b: a < b, "be below"),
    "multipleOf": _bound("number", _itself, _multiple, "be a multiple of"),
    "allOf": _some(-1, None, "all of `allOf`"), "anyOf": _some(1, None, "one of `anyOf`"),
    "oneOf": _some(1, 1, "exactly one of `oneOf`"), "not": _some(0, 0, "none of `not`"),
    "if": _if, "then": _none, "else": _none,
}  # fmt: skip


def json_in(text: str, *, unique: bool = False) -> Any:
    """The JSON value that the whole text is, bare or as its only fenced block.

    Args:
        unique: no object may have a key twice, which readers take differently (RFC 8259 §4).

    Raises:
        ValueError: the text is no JSON.
    """
    text = text.strip()
    blocks = fenced(text)
    if len(blocks) == 1 and text.startswith("```") and blocks[0][0] in ("", "json"):
        text = blocks[0][1]
    return json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once if unique else None)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in found if names.count(name) > 1)!r} stands twice")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON")


def _prose(text: str) -> str:
    """The lines that stand in no fence."""
    kept, inside = [], False
    for line in text.split("\n"):
        if line.strip().startswith("```"):
            inside = not inside
        elif not inside:
            kept.append(line)
    return "\n".join(kept)


def markdown_faults(text: str) -> list[str]:
    """What is wrong with a Markdown text: an open fence, a table with uneven rows, a heading without its blank."""
    faults = ["a fence is not closed"] if len(re.findall(r"^[ \t]*```", text, re.MULTILINE)) % 2 else []
    prose = _prose(text)
    for number in re.findall(r"^(#{1,6})[^#\s]", prose, re.MULTILINE):
        faults.append(f"{number} stands before a heading without a blank")
    for table in re.findall(r"(?:^[ \t]*\|.*\|[ \t]*(?:\n|\Z))+", prose, re.MULTILINE):
        rows = [re.split(r"(?<!\\)\|", row.strip().strip("|")) for row in table.strip().splitlines()]
        if len({len(row) for row in rows}) > 1:
            faults.append("a table has rows of different widths")
        if len(rows) < 2 or not all(re.fullmatch(r"\s*:?-+:?\s*", cell) for cell in rows[1]):
            faults.append("a table has no rule under its head")
    return faults


def _code_faults(text: str, language: str) -> list[str]:
    blocks = [code for label, code in fenced(text) if label == language]
    if not any(code.strip() for code in blocks):
        return [f"there is no closed code block in {language}"]
    return _unparsed([(language, code) for code in blocks])


def _unparsed(blocks: list[tuple[str, str]]) -> list[str]:
    """The first Python or JSON block that does not parse. What is copied from a Python prompt (`>>>`) is no program."""
    for language, code in blocks:
        try:
            if language == "python" and not code.lstrip().startswith(">>>"):
                ast.parse(code)
            elif language == "json":
                json.loads(code)
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            return [f"the {language} block does not parse: {error}"]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class SchemaChecker:
    """Right when the answer is JSON that fits the schema of `Prompt.reference`: {"schema": {...}}.

    A reference without a schema, or with one that is not covered, is unscored.
    """

    name: str = "schema"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            schema = json.loads(prompt.reference)["schema"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return Verdict(correct=None, reason='the reference is no {"schema": {...}}')
        try:
            value = json_in(response.text, unique=True)
        except (ValueError, RecursionError) as error:
            value, wrong = None, [f"the answer is no JSON: {error}"]
        else:
            wrong = []
        try:
            # The schema is read even when the answer is no JSON: a broken one must not score anything.
            found = schema_violations(value, schema)
        except (DataError, RecursionError) as error:
            return Verdict(correct=None, reason=str(error))
        wrong = wrong or found
        return Verdict(correct=not wrong, reason="; ".join(wrong[:3]) or "fits the schema")


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatChecker:
    """Right when the answer has the form of `Prompt.reference`: {"format": "json"}, {"format": "markdown"} or
    {"format": "code", "language": "python"} (blocks labelled python or json must parse, in both). Another reference is
    unscored."""

    name: str = "format"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            asked = json.loads(prompt.reference)
            form, language = asked["format"], str(asked.get("language", "")).strip().lower()
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return Verdict(correct=None, reason='the reference is no {"format": ...}')
        if form == "json":
            try:
                json_in(response.text)
                wrong = []
            except (ValueError, RecursionError) as error:
                wrong = [f"the answer is no JSON: {error}"]
        elif form == "markdown":
            wrong = [*markdown_faults(response.text), *_unparsed(fenced(response.text))]
            wrong = wrong if response.text.strip() else ["the answer is empty"]
        elif form == "code" and language:
            wrong = _code_faults(response.text, language)
        else:
            return Verdict(
                correct=None, reason=f"there is no format {form!r}; all: json, markdown, code with its language"
            )
        return Verdict(correct=not wrong, reason="; ".join(wrong[:3]) or f"is {form}")


CHECKERS: dict[str, SchemaChecker | FormatChecker] = {
    checker.name: checker for checker in (SchemaChecker(), FormatChecker())
}
