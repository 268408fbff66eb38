"""Rubrics as people write them: BiGGen-Bench's and Prometheus' columns, or several criteria with their levels."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

from burnish.errors import SettingsError
from burnish.judge.operations.records import Criterion, RubricText

RUBRIC_FIELDS = ("name", "criteria")
CRITERION_FIELDS = ("name", "question", "levels", "weight")
FORM = '{"criteria": [{"name": "warm", "question": "How warm is it?", "levels": {"1": "cold", "2": "warm"}}]}'


def rubric_of(row: Mapping[str, Any], *, name: str = "rubric") -> RubricText:
    """A rubric from a row as BiGGen-Bench and Prometheus write it: `criteria`, `score1_description` and so on.

    Raises:
        SettingsError: the row lacks them.
    """
    numbers = sorted(int(m.group(1)) for key in row if (m := re.fullmatch(r"score(\d+)_description", key)))
    if "criteria" not in row or not numbers:
        raise SettingsError("a rubric row needs `criteria` and `score1_description`, `score2_description` and so on")
    levels = tuple((number, str(row[f"score{number}_description"])) for number in numbers)
    return RubricText(name=name, criteria=(Criterion(name="overall", question=str(row["criteria"]), levels=levels),))


def rubric_in(held: Any, *, where: str, name: str) -> RubricText:
    """A rubric from the JSON of a file, in either form.

    Args:
        where: the file, for errors.
        name: the rubric's, where it has none.

    Raises:
        SettingsError: it is in neither form; a field is missing, misspelt or of another kind.
    """
    if not isinstance(held, dict):
        raise SettingsError(f"{where}: a rubric is one object, not a {type(held).__name__}: {FORM}")
    if not isinstance(held.get("criteria"), list):
        if not isinstance(held.get("criteria"), str):
            _known(held, RUBRIC_FIELDS, where)
            raise SettingsError(f"{where}: a rubric needs criteria: {FORM}")
        return rubric_of(held, name=name)
    _known(held, RUBRIC_FIELDS, where)
    criteria = [_criterion(one, f"{where}: criterion {place}") for place, one in enumerate(held["criteria"], 1)]
    return RubricText(name=str(held.get("name") or name), criteria=tuple(criteria))


def _criterion(one: Any, where: str) -> Criterion:
    if not isinstance(one, dict):
        raise SettingsError(f"{where} is a {type(one).__name__}; it must be an object: {FORM}")
    _known(one, CRITERION_FIELDS, where)
    for field in CRITERION_FIELDS[:3]:
        if field not in one:
            raise SettingsError(f"{where} has no {field}: {FORM}")
    for field in ("name", "question"):
        if not isinstance(one[field], str) or not one[field].strip():
            raise SettingsError(f"{where}: its {field} is {one[field]!r}; it must be a text")
    levels, weight = one["levels"], one.get("weight", 1)
    if not isinstance(levels, dict) or not all(re.fullmatch(r"-?\d+", score.strip()) for score in levels):
        raise SettingsError(f"{where}: its levels are {str(levels)[:120]}; they must be {{score: meaning}}: {FORM}")
    if not isinstance(weight, (int, float)) or isinstance(weight, bool):
        raise SettingsError(f"{where}: its weight is {weight!r}; it must be a number above 0")
    ordered = sorted((int(score), str(text)) for score, text in levels.items())
    return Criterion(name=one["name"], question=one["question"], weight=float(weight), levels=tuple(ordered))


def _known(held: Mapping[str, Any], fields: Sequence[str], where: str) -> None:
    for field in held:
        if field not in fields:
            close = get_close_matches(field, fields, 1)
            meant = f"did you mean {close[0]}?" if close else f"there are {', '.join(fields)}"
            raise SettingsError(f"{where} has an unknown field {field!r}; {meant}")
