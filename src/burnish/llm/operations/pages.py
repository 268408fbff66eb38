"""The documentation page of operations: what each must and must not do, and an example as it is sent."""

from __future__ import annotations

import inspect
import json
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from burnish.llm.operations.checks import told_type
from burnish.llm.operations.forms import schema_of
from burnish.llm.operations.operation import Operation
from burnish.llm.operations.template import duties

HEAD = """# Operations

Written by `python scripts/write_operations_page.py` from the declarations; a test compares the two.

An operation is one typed question to a language model: a record goes in, a template makes messages of it, the reply
is read into a form, and out comes a validated result or none and the reason. [judging.md](judging.md) tells how the
judges use them. What goes in and comes out is told at the [end](#records).
"""


def page(operations: Sequence[Operation[Any, Any]]) -> str:
    """The whole page as Markdown, in the order given."""
    listed = [f"| [`{o.id}`](#{_anchor(o.id)}) | {o.purpose} | {o.source} |" for o in operations]
    table = "\n".join(["| operation | what for | role of |", "|---|---|---|", *listed])
    sections = [_section(operation) for operation in operations]
    return "\n".join([HEAD, table, "", *sections, *_records(operations)])


def _anchor(title: str) -> str:
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _section(operation: Operation[Any, Any]) -> str:
    must, must_not = duties(operation.template)
    messages = operation.messages(operation.example)
    shown = "\n\n".join(f"[{message.role}]\n{message.content}" for message in messages)
    form = operation.form_for(operation.example)
    reply = operation.example_reply
    said = reply if isinstance(reply, str) else json.dumps(reply, ensure_ascii=False, indent=1)
    schema = json.dumps(schema_of(form), ensure_ascii=False) if form else ""
    parts = [
        f"## {operation.id}", "", f"{operation.purpose}", "", f"- Must: {must}", f"- Must not: {must_not}",
        f"- Takes {_linked(operation.record)}, gives {_linked(_result(operation))}. Template "
        f"`{operation.template.name}`.", "", "Sent:", "",
        _block(shown), "", "A reply:", "", _block(said),
    ]  # fmt: skip
    if schema:
        parts += ["", "<details><summary>Schema</summary>", "", _block(schema), "", "</details>"]
    return "\n".join([*parts, ""])


def _result(operation: Operation[Any, Any]) -> type:
    reply = operation.example_reply
    said = reply if isinstance(reply, str) else json.dumps(dict(reply))
    return type(operation.read(operation.example, said))


def _linked(kind: type) -> str:
    return f"[`{kind.__name__}`](#{_anchor(kind.__name__)})"


def _records(operations: Sequence[Operation[Any, Any]]) -> list[str]:
    """A table of fields for each record and each result, in the order in which they come first."""
    kinds = _with_parts(operation.record for operation in operations)
    results = dict.fromkeys(_result(operation) for operation in operations)
    lines = ["## Records", "", "What operations take. Fields are given by name, and checked when a record is made.", ""]
    for kind in kinds:
        lines += _fields(kind)
    lines += ["## Results", "", "What is in `record` of an answer that is not unscored.", ""]
    for kind in results:
        lines += _fields(kind)
    return lines


def _with_parts(kinds: Iterable[type]) -> dict[type, None]:
    """The records, each followed by those of its own module that it is made of."""
    found: dict[type, None] = {}
    for kind in kinds:
        hints = typing.get_type_hints(kind).values()
        parts = [part for hint in hints for part in (hint, *typing.get_args(hint)) if is_dataclass(part)]
        own = [part for part in parts if isinstance(part, type) and part.__module__ == kind.__module__]
        found |= {kind: None, **_with_parts(own)}
    return found


def _fields(kind: type) -> list[str]:
    said, told = documented(kind)
    hints = typing.get_type_hints(kind)
    lines = [f"### {kind.__name__}", "", f"{said} From `{kind.__module__}`.", "", "| field | type | |", "|---|---|---|"]
    for one in fields(kind):
        default = "" if one.default is MISSING else f" Default {one.default!r}."
        shown = told_type(hints[one.name]).replace("|", "\\|")
        lines.append(f"| `{one.name}` | `{shown}` | {told.get(one.name, '')}{default} |")
    return [*lines, ""]


def documented(kind: type) -> tuple[str, dict[str, str]]:
    """(first sentence, field -> what it is) of a record's docstring."""
    text = inspect.getdoc(kind) or ""
    head = " ".join(text.partition("\n\n")[0].split())
    _, _, args = text.partition("Args:\n")
    args = re.split(r"\n\n|\nRaises:", args)[0]
    told = re.findall(r"^    (\w+): (.*(?:\n      .*)*)", args, re.M)
    return head, {name: " ".join(said.split()) for name, said in told}


def _block(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}text\n{text}\n{bar}"
