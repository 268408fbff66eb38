"""What people gave answers beside an order: scores, labels, attributes; and each bad value by file and line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import DataError
from burnish.records import (
    Attribute,
    read_demonstrations,
    read_preferences,
    read_prompts,
    write_jsonl,
    write_parquet,
)

PAIR = {"prompt": "Q", "chosen": "A", "rejected": "B"}
ANSWER = {"prompt": "Q", "completion": "A"}
MESSAGES = {"messages": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}]}
HELPSTEER = {"prompt": "Q", "response": "A"}
GRADES = {"helpfulness": 4, "correctness": 3.5, "coherence": 2, "complexity": 1, "verbosity": 0}


def put(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@pytest.fixture
def pair(tmp_path):
    """Read one preference; its answers' scores."""

    def read(**columns: Any) -> list[float | None]:
        (row,) = read_preferences(put(tmp_path / "pairs.jsonl", [{**PAIR, **columns}])).rows
        return [candidate.score for candidate in row.candidates]

    return read


@pytest.fixture
def answer(tmp_path):
    """Read one demonstration."""

    def read(start: dict[str, Any] = ANSWER, /, **columns: Any) -> Any:
        (row,) = read_demonstrations(put(tmp_path / "answers.jsonl", [{**start, **columns}])).rows
        return row

    return read


def test_scores_of_either_name_stand_with_their_answer(pair):
    assert pair(chosen_score=9, rejected_score=2.5) == [9.0, 2.5]
    assert pair(score_chosen=9, score_rejected=2.5) == [9.0, 2.5]
    assert pair(score_chosen=9, rejected_score=0) == [9.0, 0.0]
    assert pair(rejected_score=-1) == [None, -1.0]
    assert pair(chosen_score=None, score_chosen=3) == [3.0, None]
    assert pair(chosen_score=1, score_chosen=3) == [1.0, None]
    assert pair(edited="A+", edited_score=10, chosen_score=9, rejected_score=1) == [10.0, 9.0, 1.0]
    assert all(isinstance(score, float) for score in pair(chosen_score=9, rejected_score=2))


def test_no_other_column_is_a_score(pair):
    assert pair() == pair(score=3, label=True, margin=1.0) == [None, None]
    assert pair(**{"": 7}) == [None, None]  # a nameless column, as spreadsheets leave it


def test_scores_stand_in_every_convention_of_preferences(tmp_path):
    shapes = [
        {"instruction": "Q", "output": ["A", "B"]},
        {"conversations": [{"from": "human", "value": "Q"}], "chosen": "A", "rejected": "B"},
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
    ]
    for row in shapes:
        path = put(tmp_path / "pairs.jsonl", [{**row, "chosen_score": 7, "rejected_score": 3}])
        assert [c.score for c in read_preferences(path).rows[0].candidates] == [7.0, 3.0]


@pytest.mark.parametrize(("given", "read"), [(True, 1.0), (False, 0.0), (1, 1.0), (0, 0.0), (None, None)])
@pytest.mark.parametrize("start", [ANSWER, MESSAGES, HELPSTEER], ids=["completion", "messages", "helpsteer"])
def test_a_label_is_a_score_of_1_or_0(answer, start, given, read):
    assert answer(start, label=given).score == read


def test_a_score_wins_over_a_label(answer):
    assert answer(score=0.25, label=True).score == 0.25
    assert answer(score=None, label=True).score == 1.0
    assert answer(score=-3).score == -3.0  # a reward: which of them a method takes is the method's to say


def test_attributes_from_one_column_or_from_helpsteers(answer):
    own = (Attribute(name="wit", value=2.0), Attribute(name="tone", value=0.5))
    assert answer(attributes={"wit": 2, "tone": 0.5}).attributes == own
    assert answer(attributes={"wit": 2, "tone": None}).attributes == own[:1]
    assert answer(attributes={}).attributes == answer().attributes == ()
    graded = tuple(Attribute(name=name, value=float(value)) for name, value in GRADES.items())
    assert answer(HELPSTEER, **GRADES).attributes == graded
    assert answer(MESSAGES, **GRADES).attributes == ()  # a column of another convention may mean anything
    assert answer(HELPSTEER, helpfulness=1, verbosity=None).attributes == (Attribute(name="helpfulness", value=1.0),)
    # the column attributes speaks alone where there is one
    assert answer(HELPSTEER, **GRADES, attributes={"wit": 2}).attributes == own[:1]


def test_a_helpsteer_file_is_known_by_its_columns(tmp_path):
    path = put(tmp_path / "helpsteer.jsonl", [{**HELPSTEER, **GRADES}])
    result = read_demonstrations(path)
    assert result.convention == "HelpSteer"
    assert [m.content for m in (*result.rows[0].context, *result.rows[0].response)] == ["Q", "A"]
    assert read_prompts(path).rows[0].id == result.rows[0].prompt
    turns = {**GRADES, "prompt": MESSAGES["messages"][:1], "response": MESSAGES["messages"][1:]}
    assert read_demonstrations(put(path, [turns])).rows[0].response == result.rows[0].response


def test_ratings_come_back_from_files_of_our_own(tmp_path):
    pairs = read_preferences(put(tmp_path / "p.jsonl", [{**PAIR, "chosen_score": 9, "rejected_score": 2.5}])).rows
    singles = read_demonstrations(put(tmp_path / "d.jsonl", [{**ANSWER, "label": True, "attributes": {"wit": 2}}])).rows
    for rows, read in ((pairs, read_preferences), (singles, read_demonstrations)):
        for write, name in ((write_jsonl, "own.jsonl"), (write_parquet, "own.parquet")):
            write(rows, tmp_path / name)
            assert read(tmp_path / name).rows == rows


def test_parquet_columns_are_read_as_the_same_ratings(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    # a struct column gives every row every name; absent ones are null
    rows = [{**ANSWER, "label": False, "attributes": {"wit": 2.0}}, {**ANSWER, "attributes": {"tone": 1.0}}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "answers.parquet")
    first, second = read_demonstrations(tmp_path / "answers.parquet").rows
    assert (first.score, first.attributes) == (0.0, (Attribute(name="wit", value=2.0),))
    assert (second.score, second.attributes) == (None, (Attribute(name="tone", value=1.0),))
    pq.write_table(pa.Table.from_pylist([{**PAIR, "chosen_score": 9, "rejected_score": 2.5}]), tmp_path / "p.parquet")
    assert [c.score for c in read_preferences(tmp_path / "p.parquet").rows[0].candidates] == [9.0, 2.5]


def test_rows_that_differ_in_a_rating_alone_are_two_rows(tmp_path):
    path = put(tmp_path / "a.jsonl", [{**ANSWER, "label": value} for value in (True, False, True)])
    result = read_demonstrations(path)
    assert [row.score for row in result.rows] == [1.0, 0.0]
    assert [row.reason for row in result.dropped] == ["duplicate"]


HUGE = 10**400  # whole numbers of any length are JSON
NUMBER = "must be a finite number, found "
BAD: dict[str, tuple[Any, dict[str, Any], dict[str, Any], str]] = {
    **{
        f"{name} {value!r:.9}": (read_preferences, PAIR, {name: value}, f"{name} {NUMBER}")
        for name in ("chosen_score", "rejected_score", "score_chosen", "margin")
        for value in ("nine", "9", True, [9], {"value": 9}, float("nan"), float("inf"), HUGE)
    },
    **{
        f"score {value!r:.9}": (read_demonstrations, ANSWER, {"score": value}, f"score {NUMBER}")
        for value in ("good", True, [1], float("nan"), HUGE)
    },
    **{
        f"label {value!r:.9}": (read_demonstrations, ANSWER, {"label": value}, "label must be true or false, found ")
        for value in ("true", "1", 2, -1, 0.5, [True], {"good": 1}, float("nan"))
    },
    **{
        f"attributes {value!r:.20}": (
            read_demonstrations,
            ANSWER,
            {"attributes": value},
            "attributes must be an object",
        )
        for value in ([], 3, "wit", True, [{"name": "wit", "value": 2}])
    },
    **{
        f"wit {value!r:.9}": (read_demonstrations, ANSWER, {"attributes": {"tone": 1, "wit": value}}, f"wit {NUMBER}")
        for value in ("high", True, [2], float("nan"), HUGE)
    },
    **{
        f"verbosity {value!r:.9}": (read_demonstrations, HELPSTEER, {"verbosity": value}, f"verbosity {NUMBER}")
        for value in ("high", False, float("-inf"))
    },
    **{
        f"strength {value!r:.9}": (read_preferences, PAIR, {"strength": value}, "strength must be 1 to 4 or one of ")
        for value in (0, 5, 2.5, "much better", [3], {"level": 3})
    },
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_rating_names_file_and_line_or_is_dropped_and_counted(tmp_path, name):
    read, start, columns, message = BAD[name]
    good = {**start, "prompt": "first"}
    path = put(tmp_path / "rated.jsonl", [good, {**start, **columns}, {**start, "prompt": "last"}])
    with pytest.raises(DataError) as refused:
        read(path)
    assert f"{path}:2: {message}" in str(refused.value) and len(str(refused.value)) < 300
    result = read(path, on_error="drop")
    assert len(result.rows) == 2
    (left,) = result.dropped
    assert left.reason == "malformed row" and f"{path}:2: {message}" in left.detail
