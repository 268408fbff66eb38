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
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta

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


def load_template(path: Path) -> jinja2.Template:
    """A template, compiled once, and again when the file has changed.

    Raises:
        SettingsError: it cannot be read or compiled, lacks its user block, or does not say what it must (not) do.
    """
    try:
        told = path.stat()
    except OSError as error:
        raise SettingsError(f"the template {path} cannot be used: {error.strerror}") from error
    return _load(path, told.st_mtime_ns, told.st_size)


@cache
def _load(path: Path, written: int, size: int) -> jinja2.Template:
    try:
        text = path.read_text(encoding="utf-8")
        made = _environment().from_string(text)
    except jinja2.TemplateSyntaxError as error:
        raise SettingsError(f"the template {path} cannot be used: line {error.lineno}: {error.message}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"the template {path} cannot be used: {error}") from error
    duties(path)
    unknown = set(made.blocks) - set(BLOCKS)
    if "user" not in made.blocks or unknown:
        others = f"; it has {', '.join(sorted(unknown))}" if unknown else ""
        raise SettingsError(f"the template {path} needs a block `user`, may have `system`, and no other{others}")
    return made


def check_template(path: Path, fields: Sequence[str], form: bool) -> None:
    """Refuse a template that names what records do not have, also where a branch of it is seldom taken.

    Args:
        fields: names of the record's fields.
        form: there is a reply form, which the template must show.

    Raises:
        SettingsError: it names something else; it does not say `{{ reply_form }}`; see `load_template`.
    """
    load_template(path)
    named = jinja2.meta.find_undeclared_variables(_environment().parse(path.read_text(encoding="utf-8")))
    known = (*fields, "reply_form")
    for name in sorted(named - set(known)):
        close = get_close_matches(name, known, 1)
        meant = f"; did you mean {close[0]}?" if close else f"; it has {', '.join(known)}"
        raise SettingsError(f"the template {path.name} names {name!r}, which the record does not have{meant}")
    if form and "reply_form" not in named:
        raise SettingsError(f"the template {path.name} must say {{{{ reply_form }}}}: the model has to see the form")


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
        except Exception as error:  # a filter that was given something else, a sum of a text and a number
            what = f"{type(error).__name__}: {error}"
            raise SettingsError(f"the template {path.name} cannot be filled in: {what}") from error
        if text:
            messages.append(Message(role=block, content=text))
    return tuple(messages)
