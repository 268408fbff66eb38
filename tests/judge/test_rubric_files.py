"""Rubrics in files: a misspelt field is refused with its right name, and an error shows the simple form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import SettingsError
from burnish.judge import read_rubric

GOOD = {"name": "warm", "question": "How warm?", "levels": {"1": "cold", "2": "warm"}}
SIMPLE = '"levels": {"1": "cold"'


def read(folder: Path, held: Any) -> Any:
    (folder / "tone.json").write_text(json.dumps(held))
    return read_rubric(folder / "tone.json")


def lacking(*names: str, **more: Any) -> dict[str, Any]:
    return {"criteria": [GOOD, {name: value for name, value in {**GOOD, **more}.items() if name not in names}]}


@pytest.mark.parametrize(
    ("held", "why"),
    [
        (lacking(wieght=2), "criterion 2 has an unknown field 'wieght'; did you mean weight?"),
        ({"criterea": [GOOD]}, "unknown field 'criterea'; did you mean criteria?"),
        ({"criteria": [GOOD], "scale": 5}, "unknown field 'scale'; there are name, criteria"),
        ([GOOD], f"a rubric is one object, not a list: .*{SIMPLE}"),
        ({}, f"a rubric needs criteria: .*{SIMPLE}"),
        (lacking("question"), f"criterion 2 has no question: .*{SIMPLE}"),
        (lacking(question=""), "its question is ''; it must be a text"),
        (lacking(levels=["cold", "warm"]), f"its levels are .*cold.*must be {{score: meaning}}: .*{SIMPLE}"),
        (lacking(levels={"low": "cold", "high": "warm"}), "must be {score: meaning}"),
        (lacking(weight="2"), "its weight is '2'; it must be a number"),
        (lacking(weight=0), "it must be above 0"),
        ({"criteria": ["How warm?"]}, f"criterion 1 is a str; it must be an object: .*{SIMPLE}"),
        ({"criteria": "Is it good?"}, "score1_description"),
    ],
)
def test_what_is_no_rubric_is_told_with_what_would_be_one(tmp_path: Path, held: Any, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read(tmp_path, held)


def test_both_forms_are_read(tmp_path: Path) -> None:
    second = {**GOOD, "name": "clear", "weight": 2.5, "levels": {"10": "c", "9": "b", "8": "a"}}
    rubric = read(tmp_path, {"criteria": [GOOD, second]})
    assert rubric.name == "tone" and rubric.fields == ("score_warm", "score_clear")
    assert rubric.criteria[1].levels == ((8, "a"), (9, "b"), (10, "c")) and rubric.criteria[1].weight == 2.5
    row = {"criteria": "Is it good?", "score1_description": "no", "score2_description": "yes", "orig_response": "x"}
    assert read(tmp_path, row).criteria[0].levels == ((1, "no"), (2, "yes"))
