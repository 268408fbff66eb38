"""A tokenizer's Jinja chat template, rendered as `transformers` renders it, in a sandbox."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, ClassVar, NoReturn

import jinja2
import jinja2.ext
import jinja2.meta
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from burnish.errors import ChatError

# DEVIATION: templates that print today's date get this one, so that a run gives the same ids on every day. It is
# the date Llama 3.1's and 3.2's own templates fall back to.
TODAY = datetime(2024, 7, 26)


class _Generation(jinja2.ext.Extension):
    """`{% generation %}`, with which some templates mark what an assistant says, prints its body."""

    tags: ClassVar[set[str]] = {"generation"}

    def parse(self, parser: Parser) -> Node | list[Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _refuse(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def to_json(value: Any, ensure_ascii: bool = False, **form: Any) -> str:
    """Jinja's own `tojson` escapes HTML; this one does not."""
    return json.dumps(value, ensure_ascii=ensure_ascii, **form)


@lru_cache(maxsize=64)
def _compile(text: str) -> jinja2.Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = to_json
    environment.globals["raise_exception"] = _refuse
    environment.globals["strftime_now"] = TODAY.strftime
    return environment.from_string(text)


class Template:
    """A template with the special tokens it may name (`bos_token`, `eos_token`, ...)."""

    def __init__(self, text: str, named: Mapping[str, str], where: str) -> None:
        self.text = text
        self.where = where
        self._named = dict(named)
        try:
            self._compiled = _compile(text)
        except jinja2.TemplateError as error:
            raise ChatError(
                f"the chat template of {where} is not valid Jinja ({error}); "
                "mend it, or use --chat llama3 or --chat chatml"
            ) from error

    @property
    def asks_date(self) -> bool:
        """The template may print today's date."""
        return "strftime_now" in jinja2.meta.find_undeclared_variables(
            jinja2.Environment(extensions=[_Generation, jinja2.ext.loopcontrols]).parse(self.text)
        )

    def render(self, messages: Sequence[Mapping[str, str]], *, generation: bool) -> str:
        """The dialogue as text; `generation` adds the header of the assistant's next message."""
        try:
            return self._compiled.render(
                messages=[dict(m) for m in messages],
                tools=None,
                documents=None,
                add_generation_prompt=generation,
                **self._named,
            )
        except (jinja2.TemplateError, TypeError, ValueError, AttributeError, KeyError, IndexError) as error:
            roles = ", ".join(m["role"] for m in messages) or "no message"
            raise ChatError(
                f"the chat template of {self.where} refuses a dialogue of {roles}: {error}; "
                "change the messages, or use --chat llama3 or --chat chatml"
            ) from error
