"""Verdicts: whether a text complies with a constraint, strictly or loosely; a checker for rows."""

from __future__ import annotations

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response
from burnish.verify.constraints.kind import Constraint, Kwargs, validate
from burnish.verify.constraints.library import CONSTRAINTS


def get_constraint(id: str) -> Constraint:
    """The kind of constraint with this id.

    Raises:
        DataError: there is none; the message names the nearest one.
    """
    if id in CONSTRAINTS:
        return CONSTRAINTS[id]
    near = difflib.get_close_matches(str(id), CONSTRAINTS, n=1, cutoff=0.0)
    raise DataError(
        f"there is no constraint {id!r}; did you mean {near[0]!r}? `CONSTRAINTS` holds all {len(CONSTRAINTS)}"
    )


def check_constraint(id: str, kwargs: Kwargs, text: str) -> bool:
    """Whether the text complies (IFEval's strict verdict). A blank text never does.

    Raises:
        DataError: the id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    constraint = get_constraint(id)
    kwargs = validate(constraint, kwargs)
    return bool(text.strip()) and bool(constraint.check(text, kwargs))


def loose_variants(text: str) -> tuple[str, ...]:
    """The eight readings of IFEval's loose verdict: without the first line, the last, both; each without asterisks."""
    lines = text.split("\n")
    cut = [text, *("\n".join(part).strip() for part in (lines[1:], lines[:-1], lines[1:-1]))]
    return (*cut, *(one.replace("*", "") for one in cut))


def check_loosely(id: str, kwargs: Kwargs, text: str) -> bool:
    """Whether one of the eight readings complies (IFEval's loose verdict).

    Raises:
        DataError: the id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    return any(check_constraint(id, kwargs, one) for one in dict.fromkeys(loose_variants(text)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """One constraint of a prompt: its id and arguments. `primary` matters to PSR (baichuan B40) alone."""

    id: str
    kwargs: Kwargs
    primary: bool = False

    def instruction(self, seed: int = 0) -> str:
        return get_constraint(self.id).instruction(self.kwargs, seed)


def _held(value: Any, what: str) -> Any:
    """A part of a reference; text is JSON, as tables of CSV and Parquet hold lists and objects."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise DataError(f"{what} is text that is no JSON: {value[:60]!r}") from None


def _paired(found: dict[str, Any]) -> list[dict[str, Any]]:
    """IFEval's two columns as one list.

    Raises:
        DataError: one of them is missing, is no list, or they differ in length.
    """
    ids, kwargs = (found.get(name) for name in ("instruction_id_list", "kwargs"))
    if ids is None:
        raise DataError("the reference has no instruction_id_list; it must be a JSON list of {id, kwargs}, or both")
    if kwargs is None:
        raise DataError("the reference has no kwargs beside instruction_id_list; give both columns, an object for each "
                        "id ({} where it takes no arguments)")  # fmt: skip
    ids, kwargs = _held(ids, "instruction_id_list"), _held(kwargs, "kwargs")
    if not isinstance(ids, list) or not isinstance(kwargs, list):
        raise DataError("instruction_id_list and kwargs must be lists, one of ids and one of objects")
    if len(ids) != len(kwargs):
        raise DataError(f"instruction_id_list has {len(ids)} ids and kwargs {len(kwargs)} objects; give one for each "
                        "({} where it takes no arguments)")  # fmt: skip
    return [{"id": id, "kwargs": _held(one, "a part of kwargs")} for id, one in zip(ids, kwargs, strict=True)]


def read_asked(reference: str) -> list[Asked]:
    """The constraints of a reference: a JSON list of {id, kwargs, primary}, or {instruction_id_list, kwargs} as in the
    IFEval files. Either of the two, and each object, may also be JSON as text.

    Raises:
        DataError: the reference is neither of them, or asks for nothing.
    """
    try:
        found: Any = json.loads(reference)
        if isinstance(found, str):
            found = json.loads(found)
        if isinstance(found, dict):
            found = _paired(found)
        if isinstance(found, list) and found and all(isinstance(one, str) for one in found):
            found = _paired({"instruction_id_list": found})
        asked = [
            Asked(id=str(one["id"]), kwargs=_held(one.get("kwargs"), "kwargs") or {}, primary=bool(one.get("primary")))
            for one in found
        ]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError("the reference is no JSON list of {id, kwargs}") from None
    if not asked:
        raise DataError("the reference asks for no constraint")
    return asked


def followed(asked: Sequence[Asked], text: str, *, loose: bool = False) -> list[bool]:
    """The verdict on each constraint.

    Raises:
        DataError: an id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    check = check_loosely if loose else check_constraint
    return [check(one.id, one.kwargs, text) for one in asked]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintsChecker:
    """Right when the answer complies with every constraint of `Prompt.reference` (`read_asked` says what that is).

    A reference that cannot be read, or that names an unknown constraint or argument, is unscored; the reason names
    the nearest one. `loose` takes IFEval's loose verdict.
    """

    loose: bool = False
    name: str = "constraints"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            asked = read_asked(prompt.reference)
            kept = followed(asked, response.text, loose=self.loose)
        except DataError as error:
            return Verdict(correct=None, reason=str(error))
        broken = [one.id for one, good in zip(asked, kept, strict=True) if not good]
        if broken:
            return Verdict(correct=False, reason=f"violates {', '.join(broken)}")
        return Verdict(correct=True, reason=f"complies with {len(asked)} constraints")


CHECKERS = {
    checker.name: checker
    for checker in (ConstraintsChecker(), ConstraintsChecker(loose=True, name="constraints-loose"))
}
