"""The form of an answer: JSON that fits a schema, code that parses, Markdown that is sound.

The validator of schemas is in `schema`.
"""

from __future__ import annotations

import ast
import json
import re
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response
from burnish.verify.constraints.rules.layout import fenced
from burnish.verify.schema import schema_violations


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
