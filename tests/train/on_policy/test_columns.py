"""A reward function is given the columns of the data by name, as TRL gives them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from burnish.errors import SettingsError
from burnish.records import Response, read_prompts, with_columns
from burnish.train.on_policy import FunctionReward
from tests.train.material import said

ROWS = [{"prompt": "0 + 1", "answer": "1"}, {"prompt": "1 + 1", "answer": "2", "hint": 7}, {"prompt": "none"}]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path / "rows.jsonl"


def function(file: Path, body: str) -> FunctionReward:
    (file.parent / "mine.py").write_text(body)
    return FunctionReward.of(f"{file.parent / 'mine.py'}:f")


def values(rewarder: FunctionReward, asked: list) -> list[float | None]:
    answers = [Response(prompt=p.id, messages=(said("assistant", "2"),), token_ids=(5,), model="m") for p in asked]
    return [reward.value for reward in rewarder.rewards({p.id: p for p in asked}, answers)]


def test_a_column_that_has_a_parameter_is_given(file):
    mine = function(
        file, "def f(completions, answer):\n    return [a and float(a == c) for a, c in zip(answer, completions)]"
    )
    assert mine.columns == {"answer"}
    asked = with_columns(read_prompts(file).rows, file, mine.columns)
    mine.check(asked)
    assert [json.loads(prompt.columns) for prompt in asked] == [{"answer": "1"}, {"answer": "2"}, {"answer": None}]
    assert values(mine, asked) == [0.0, 1.0, None]


def test_a_function_that_takes_any_name_is_given_all(file):
    mine = function(
        file,
        "def f(completions, **more):\n"
        "    assert more['answer'] == ['1', '2', None] and more['hint'] == [None, 7, None]\n"
        "    assert 'prompt' not in more\n    return [1, 2, 3]",
    )
    assert mine.columns is None
    assert values(mine, with_columns(read_prompts(file).rows, file, mine.columns)) == [1.0, 2.0, 3.0]


def test_a_column_that_no_prompt_has_is_refused(file):
    mine = function(file, "def f(completions, gold, also=None):\n    return [1] * len(completions)")
    with pytest.raises(SettingsError, match=r"needs 'gold', which is no column of the prompts; it can have prompts, "):
        mine.check(with_columns(read_prompts(file).rows, file, mine.columns))
    function(file, "def f(completions, also=None, *args):\n    return [1]").check(read_prompts(file).rows)


def test_nothing_changes_where_nothing_is_asked_for(file):
    plain = list(read_prompts(file).rows)
    assert with_columns(plain, file, set()) == plain == with_columns(plain, file, {"nowhere"})
