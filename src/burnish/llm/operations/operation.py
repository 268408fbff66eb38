"""An operation: one typed question to a language model, declared once.

    record (frozen dataclass) -> template -> messages + schema -> reply -> form (pydantic) -> result

The same declaration gives the rendering, the schema, the reading, the example on the documentation page, and the id
under which an engine without a model (the oracle) answers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from burnish.errors import SettingsError
from burnish.llm.operations.forms import Form, schema_of, told
from burnish.llm.operations.reading import Unreadable, read_form, read_text
from burnish.llm.operations.template import render
from burnish.llm.requests import Request, Usage
from burnish.records import Message, Sampling

Record = TypeVar("Record")
Result = TypeVar("Result")
GREEDY = Sampling(temperature=0.0, max_new_tokens=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class Operation(Generic[Record, Result]):
    """One question. To a step's identity it is its id and sampling: templates and forms count as code.

    Args:
        id: `room/name`; engines that answer without a model know it by this.
        purpose: one line: what goes in, what comes out.
        source: the report and section whose role this is.
        template: the Jinja file.
        record: the type of the input, a frozen dataclass; its fields are the names in the template.
        form: what the model fills in, or a function that makes it from the record; None for free text.
        build: (record, form filled in or text) -> result. A ValueError it raises is a reply that cannot be read.
        example: a record, for the documentation page.
        example_reply: what a good model answers to it.
        sampling: how replies are drawn, unless the caller says otherwise.
        shows_reference: True where the template may show the gold answer.
    """

    id: str
    purpose: str = field(metadata={"runtime": True})
    template: Path = field(metadata={"runtime": True})
    record: type[Record] = field(metadata={"runtime": True})
    form: type[Form] | Callable[[Record], type[Form]] | None = field(metadata={"runtime": True})
    build: Callable[[Record, Any], Result] = field(metadata={"runtime": True})
    example: Record = field(metadata={"runtime": True})
    example_reply: Mapping[str, Any] | str = field(metadata={"runtime": True})
    source: str = field(default="", metadata={"runtime": True})
    sampling: Sampling = GREEDY
    shows_reference: bool = field(default=False, metadata={"runtime": True})

    def form_for(self, record: Record) -> type[Form] | None:
        """The reply form of this record."""
        if self.form is None or isinstance(self.form, type):
            return self.form
        return self.form(record)

    def messages(self, record: Record) -> tuple[Message, ...]:
        """The rendered question.

        Raises:
            SettingsError: the record is of another type, or the template asks for more than it has.
        """
        if not isinstance(record, self.record):
            raise SettingsError(f"{self.id} takes {self.record.__name__}, not {type(record).__name__}")
        form = self.form_for(record)
        names = {f.name: getattr(record, f.name) for f in fields(record)}
        return render(self.template, {**names, "reply_form": told(form) if form else ""})

    def request(self, record: Record, *, model: str, sampling: Sampling | None = None, index: int = 0) -> Request:
        """The first request for a record."""
        form = self.form_for(record)
        return Request(
            model=model, sampling=sampling or self.sampling, messages=self.messages(record),
            schema=schema_of(form) if form else None, index=index, operation=self.id, record=record,
        )  # fmt: skip

    def read(self, record: Record, text: str) -> Result:
        """What a reply says.

        Raises:
            Unreadable: it is no answer to this question.
        """
        form = self.form_for(record)
        said = read_form(text, form) if form else read_text(text)
        try:
            return self.build(record, said)
        except Unreadable:
            raise
        except ValueError as error:
            raise Unreadable(str(error)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered(Generic[Result]):
    """What became of one question: a result, or none and why.

    Args:
        operation: its id.
        record: the validated result; None where there is none.
        unscored: the reason why there is none; empty exactly when there is one.
        transcript: what the model said, in all its replies, long ones shortened.
        requests: keys of the requests that were sent, in their order; one more than it was asked again.
        usage: tokens of all of them.
    """

    operation: str
    record: Result | None
    unscored: str = ""
    transcript: str = ""
    requests: tuple[str, ...] = ()
    usage: Usage = field(default_factory=Usage)

    def __post_init__(self) -> None:
        if (self.record is None) != bool(self.unscored):
            raise ValueError("an answer has a result, or the reason why it has none, and never both")

    @property
    def asked_again(self) -> int:
        """How often the model was asked again because its reply could not be read."""
        return max(0, len(self.requests) - 1)
