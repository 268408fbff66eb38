"""An operation: one typed question to a language model, declared once.

    record (frozen dataclass) -> template -> messages + schema -> reply -> form (pydantic) -> result

The same declaration gives the rendering, the schema, the reading, the example on the documentation page, and the id
under which an engine without a model (the oracle) answers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Generic, TypeVar

from burnish.errors import SettingsError
from burnish.llm.operations.checks import brief, check_fields, own_code
from burnish.llm.operations.forms import Form, schema_of, told
from burnish.llm.operations.reading import Unreadable, read_form, read_text
from burnish.llm.operations.template import check_template, render
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
        build: (record, form filled in or text) -> result. A ValueError it raises is a reply that cannot be read, and
            the model is asked again; any other error is a fault of the code and ends the asking.
        example: a record, for the documentation page.
        example_reply: what a good model answers to it; read when the operation is made, so that it fits the form.
        sampling: how replies are drawn, unless the caller says otherwise.
        shows_reference: True where the template may show the gold answer.

    Raises:
        SettingsError: there is no such template file; the example is no such record; its reply cannot be read.
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

    def __post_init__(self) -> None:
        if not isinstance(self.template, Path):
            raise SettingsError(
                f"the template of {self.id} is a {type(self.template).__name__}: {brief(self.template)}; give the Path "
                "of a Jinja file, and write a template's text into one"
            )
        if not self.template.is_file():
            raise SettingsError(f"the template of {self.id} is not there: {self.template}")
        if not isinstance(self.example, self.record):
            raise SettingsError(f"the example of {self.id} is no {self.record.__name__}: {brief(self.example)}")
        reply = self.example_reply
        try:
            self.read(self.example, reply if isinstance(reply, str) else json.dumps(dict(reply)))
        except Unreadable as error:
            raise SettingsError(f"the example_reply of {self.id} does not fit its form: {error}") from error

    def check(self) -> None:
        """Look at the template before anything is sent.

        Raises:
            SettingsError: it cannot be used, or names what a record does not have.
        """
        names = tuple(f.name for f in fields(self.record))
        check_template(self.template, names, self.form is not None)
        self.messages(self.example)

    def form_for(self, record: Record) -> type[Form] | None:
        """The reply form of this record."""
        if self.form is None or isinstance(self.form, type):
            return self.form
        return self.form(record)

    def messages(self, record: Record) -> tuple[Message, ...]:
        """The rendered question.

        Raises:
            SettingsError: the record is of another type, or a field of it is; the template asks for more than it has.
        """
        if not isinstance(record, self.record):
            raise SettingsError(f"{self.id} takes {self.record.__name__}, not {type(record).__name__}")
        check_fields(record)
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
            SettingsError: `build` has a fault.
        """
        form = self.form_for(record)
        said = read_form(text, form) if form else read_text(text)
        with own_code(f"`build` of {self.id}", record, text):
            try:
                result = self.build(record, said)
            except Unreadable:
                raise
            except ValueError as error:
                raise Unreadable(str(error)) from error
        if result is None:
            raise SettingsError(f"`build` of {self.id} returned None; it must return the result, or raise a ValueError")
        return result


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
