"""Templates: Jinja files with a block for each message, and a comment that says what the role must and must not do.

    {# Must: ...  Must not: ... #}
    {% block system %}...{% endblock %}
    {% block user %}...{{ reply_form }}{% endblock %}

An undefined name is an error. What a record holds is shown between fences that do not occur in it, and is never
rendered as a template.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2

from burnish.errors import SettingsError
from burnish.records import Message

BLOCKS = ("system", "user")
_HEADER = re.compile(r"\{#(.*?)#\}", re.S)
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "ipython": "Tool"}


def fenced(text: str, label: str) -> str:
    """The text between two lines of equal signs, more of them than it has anywhere in a row (at least five)."""
    longest = max((len(run) for run in re.findall(r"=+", text)), default=0)
    bar = "=" * max(5, longest + 1)
    return f"{bar} {label} {bar}\n{text}\n{bar} end of {label} {bar}"


def dialogue(messages: Sequence[Message]) -> str:
    """Messages as text; a single one without its speaker's name."""
    if len(messages) == 1:
        return messages[0].content
    return "\n\n".join(f"{_NAMES.get(m.role, m.role)}: {m.content}" for m in messages)


_FENCE = re.compile(r"^(=====+) (?!end of )(.+?) \1\n(.*?)\n\1 end of \2 \1$", re.M | re.S)


def fences_in(text: str) -> dict[str, str]:
    """Label -> text of each fence, for an engine that must find the record in its rendering again."""
    return {label: inside for _, label, inside in _FENCE.findall(text)}


@cache
def _environment() -> jinja2.Environment:
    made = jinja2.Environment(
        undefined=jinja2.StrictUndefined, autoescape=False, trim_blocks=True, lstrip_blocks=True,
        keep_trailing_newline=False,
    )  # fmt: skip
    made.filters |= {"fenced": fenced, "dialogue": dialogue}
    return made


@cache
def load_template(path: Path) -> jinja2.Template:
    """A template, compiled once.

    Raises:
        SettingsError: it cannot be read or compiled, lacks its user block, or does not say what it must (not) do.
    """
    try:
        text = path.read_text(encoding="utf-8")
        made = _environment().from_string(text)
    except (OSError, jinja2.TemplateSyntaxError) as error:
        raise SettingsError(f"the template {path} cannot be used: {error}") from error
    duties(path)
    unknown = set(made.blocks) - set(BLOCKS)
    if "user" not in made.blocks or unknown:
        raise SettingsError(f"the template {path} needs a block `user`, may have `system`, and no other: {unknown}")
    return made


@cache
def duties(path: Path) -> tuple[str, str]:
    """What the template's header comment says that the role must do, and must not.

    Raises:
        SettingsError: it does not say so.
    """
    header = _HEADER.match(path.read_text(encoding="utf-8"))
    said = re.search(r"Must:(.*?)Must not:(.*)", header.group(1) if header else "", re.S)
    if not said:
        raise SettingsError(f"the template {path} must begin with a comment that says `Must:` and `Must not:`")
    must, must_not = (" ".join(part.split()) for part in said.groups())
    return must, must_not


def render(path: Path, names: Mapping[str, Any]) -> tuple[Message, ...]:
    """The messages that a template makes of a record's fields.

    Raises:
        SettingsError: the template names something that the record does not have.
    """
    made = load_template(path)
    messages = []
    context = made.new_context(dict(names))
    for block in BLOCKS:
        if block not in made.blocks:
            continue
        try:
            text = "".join(made.blocks[block](context)).strip()
        except jinja2.UndefinedError as error:
            raise SettingsError(f"the template {path.name} asks for what the record does not have: {error}") from error
        if text:
            messages.append(Message(role=block, content=text))
    return tuple(messages)
