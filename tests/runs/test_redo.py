"""Steps put aside are done again by the same command, with what follows from them and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from burnish.errors import RunError
from burnish.runs import Run, RunView, redo
from tests.runs.test_step import Watcher
from tests.runs.toy_steps import toy_recipe


def test_a_step_put_aside_is_done_again_with_what_follows(tmp_path: Path) -> None:
    toy_recipe(tmp_path)
    names = [step.name for step in RunView(tmp_path).steps]
    (tmp_path / "final").mkdir()
    wanted = "r1/01-prompts"
    children = [s.name for s in RunView(tmp_path).steps if wanted in [p["step"] for p in s.note["parents"]]]
    assert children
    again, after = redo(tmp_path, [wanted.replace("/", "-"), "r9-99-nobody"])
    assert again == [wanted] and set(after) == {name for name in names if name != wanted}  # and all of the next round
    assert all((tmp_path / "superseded" / f"{name}.1" / "step.json").exists() for name in [wanted, *after])
    assert not (tmp_path / "final").exists() and (tmp_path / "superseded" / "final.1").exists()
    left = [step.name for step in RunView(tmp_path).steps]
    assert sorted([*left, wanted, *after]) == sorted(names)
    watcher = Watcher()
    toy_recipe(tmp_path, listener=watcher)
    assert [name for kind, name in watcher.seen if kind == "started"] == [n for n in names if n in {wanted, *after}]
    assert redo(tmp_path, ["r2-02-answers-3"]) == (["r2/02-answers-3"], [])  # nothing was made of it
    toy_recipe(tmp_path)
    assert redo(tmp_path, ["r9-99-nobody"]) == ([], [])
    with Run(tmp_path), pytest.raises(RunError, match="in use"):
        redo(tmp_path, [])
