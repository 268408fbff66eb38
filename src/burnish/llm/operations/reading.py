"""A reply's text to a validated form, or the reason why there is none. No reading ever invents a value.

text -> without a model's thinking -> objects in it (loose_json) -> those that fit the form -> the one there is
"""

from __future__ import annotations

import json
from typing import Any, TypeVar

from pydantic import ValidationError

from burnish.llm.operations.forms import Form
from burnish.llm.operations.loose_json import Found, Malformed, objects

MAX_READ = 1_000_000  # characters; no form needs a hundredth of it
Filled = TypeVar("Filled", bound=Form)


class Unreadable(ValueError):
    """A reply that is no answer. Its message is sent to the model when it is asked again."""


def read_text(text: str) -> str:
    """A reply in free text, without a model's thinking.

    Raises:
        Unreadable: it is empty, too long, or the thinking never ends.
    """
    if len(text) > MAX_READ:
        raise Unreadable(f"the reply is too long to be an answer: {len(text):,} characters")
    thinking, end, said = text.rpartition("</think>")
    if not end and thinking == "" and said.lstrip().startswith("<think>"):
        raise Unreadable("the reply ends before the thinking does")
    if not said.strip():
        raise Unreadable("the reply is empty")
    return said.strip()


def read_form(text: str, form: type[Filled]) -> Filled:
    """The form that a reply fills in.

    Several objects in one reply are several answers: those that do not fit the form are passed over, and two different
    ones that do are refused.

    Raises:
        Unreadable: there is no such object, it is cut off, it does not fit, or there are two.
    """
    said = read_text(text)
    if said.startswith('"') and said.endswith('"'):
        said = _unwrapped(said)
    try:
        found = _whole(said) or objects(said)
    except Malformed as error:
        raise Unreadable(f"the JSON object is cut off: {error}") from None
    if not found:
        raise Unreadable("there is no JSON object in the reply")
    fitting: list[Filled] = []
    errors: list[str] = []
    for candidate in found:
        if candidate.value is None:
            errors.append(f"the JSON object cannot be read: {candidate.error}")
            continue
        try:
            filled = form.model_validate_json(json.dumps(candidate.value))
        except (ValidationError, RecursionError) as error:
            errors.append(_told(error))
            continue
        if filled not in fitting:
            fitting.append(filled)
    if len(fitting) > 1:
        raise Unreadable(f"the reply gives {len(fitting)} different answers")
    if not fitting:
        raise Unreadable(errors[-1])
    return fitting[0]


def _whole(said: str) -> list[Found]:
    """The quick way, for a reply that is one strict JSON object and nothing else."""
    if not (said.startswith("{") and said.endswith("}")):
        return []
    try:
        return [Found(value=json.loads(said, object_pairs_hook=_once, parse_constant=_refused))]
    except (ValueError, RecursionError):
        return []


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a field comes twice")
    return values


def _refused(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _unwrapped(said: str) -> str:
    """The text inside, when the whole reply is a JSON string that holds the object."""
    try:
        inner = json.loads(said, strict=False)
    except ValueError:
        return said
    return inner if isinstance(inner, str) and "{" in inner else said


def _told(error: ValidationError | RecursionError) -> str:
    if not isinstance(error, ValidationError):
        return "the JSON object is nested too deeply"
    told = []
    for problem in error.errors(include_url=False, include_context=False)[:5]:
        place = ".".join(str(part) for part in problem["loc"]) or "the object"
        given = "" if problem["type"] == "missing" else f", not {str(problem['input'])[:60]!r}"
        told.append(f"{place}: {problem['msg'][:1].lower()}{problem['msg'][1:]}{given}")
    return "; ".join(told)
