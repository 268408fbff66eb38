"""The documentation page of operations: what each must and must not do, and an example as it is sent."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from burnish.llm.operations.forms import schema_of
from burnish.llm.operations.operation import Operation
from burnish.llm.operations.template import duties

HEAD = """# Operations

Written by `python scripts/write_operations_page.py` from the declarations; a test compares the two.

An operation is one typed question to a language model: a record goes in, a template makes messages of it, the reply
is read into a form, and out comes a validated result or none and the reason. [judging.md](judging.md) tells how the
judges use them.
"""


def page(operations: Sequence[Operation[Any, Any]]) -> str:
    """The whole page as Markdown, in the order given."""
    listed = [f"| [`{o.id}`](#{_anchor(o.id)}) | {o.purpose} | {o.source} |" for o in operations]
    table = "\n".join(["| operation | what for | role of |", "|---|---|---|", *listed])
    return "\n".join([HEAD, table, "", *(_section(operation) for operation in operations)])


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
        f"- Takes `{operation.record.__name__}`. Template `{operation.template.name}`.", "", "Sent:", "",
        _block(shown), "", "A reply:", "", _block(said),
    ]  # fmt: skip
    if schema:
        parts += ["", "<details><summary>Schema</summary>", "", _block(schema), "", "</details>"]
    return "\n".join([*parts, ""])


def _block(text: str) -> str:
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    bar = "`" * max(3, longest + 1)
    return f"{bar}text\n{text}\n{bar}"
