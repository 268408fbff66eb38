from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import RunError
from burnish.records import Message, Prompt, Response, Weights, read_parquet
from burnish.runs import Listener, Outcome, Run, Runtime, RunView, identity, version
from burnish.runs.work import StepWork
from tests.runs.toy_steps import answer, leaky, make_prompts, toy_recipe


class Watcher(Listener):
    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    def started(self, name: str, why: str) -> None:
        self.seen.append(("started", name))

    def reused(self, name: str, step: dict) -> None:
        self.seen.append(("reused", name))


def test_second_start_reuses_every_step(tmp_path: Path) -> None:
    first = toy_recipe(tmp_path)
    watcher = Watcher()
    second = toy_recipe(tmp_path, listener=watcher)
    assert first == second
    assert {kind for kind, _ in watcher.seen} == {"reused"}
    assert len(watcher.seen) == 6


def test_folder_layout_and_accounting(tmp_path: Path) -> None:
    toy_recipe(tmp_path)
    names = sorted(str(p.parent.relative_to(tmp_path)) for p in tmp_path.glob("r*/*/step.json"))
    assert names[:3] == ["r1/01-prompts", "r1/02-answers-3", "r1/03-answers-4"]
    note = json.loads((tmp_path / "r1/02-answers-3/step.json").read_text())
    assert note["counts"] == {"taken": 23, "kept": 19, "dropped": {"fifth": 4}, "unscored": {}}
    assert note["parents"][0]["step"] == "r1/01-prompts"
    lost = read_parquet(tmp_path / "r1/02-answers-3/dropped.parquet")
    assert {row.reason for row in lost} == {"fifth"} and len(lost) == 4
    assert not (tmp_path / ".work").exists()


def test_a_step_that_was_interrupted_is_said_to_go_on(tmp_path: Path) -> None:
    """With its own journal; a step whose settings changed in the meantime starts anew, and is not."""
    told = []

    class Told(Listener):
        def started(self, name: str, why: str) -> None:
            told.append(why)

    for upto, settings in ((1, 3), (2, 3), (2, 4), (9, 4)):
        try:
            with Run(tmp_path / "run", listener=Told()) as run:
                run.step("stops", stops_at, upto=Runtime(upto), settings=settings)
        except ArithmeticError:
            continue
    assert told == ["new", "interrupted", "new", "interrupted"]


def stops_at(*, upto: int, settings: int, work: StepWork) -> Outcome:
    for number in range(5):
        if number >= upto:
            raise ArithmeticError
        work.journal.put(f"{settings} {number}", number)
    return Outcome(rows=[], taken=0)


def test_a_lost_row_raises(tmp_path: Path) -> None:
    with Run(tmp_path) as run, pytest.raises(RunError, match="1 have no fate"):
        run.step("leaky", leaky, run.step("prompts", make_prompts, 3, salt="x"))


def test_changed_setting_is_refused_and_named(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        run.step("prompts", make_prompts, 3, salt="x")
    with Run(tmp_path) as run, pytest.raises(RunError, match=r"settings.salt: 'x' -> 'y'.*--on-change rerun"):
        run.step("prompts", make_prompts, 3, salt="y")


def test_rerun_supersedes_and_explain_names_exactly_the_setting(tmp_path: Path) -> None:
    for batch in (3, 4):
        with Run(tmp_path, on_change="rerun") as run:
            prompts = run.step("prompts", make_prompts, 7, salt="x")
            run.step("answers", answer, prompts, batch=batch)
    view, other, changed = RunView(tmp_path).explain("answers")
    assert view.name == other.note["name"] == "02-answers"
    assert changed == [("settings.batch", 3, 4)]


def test_runtime_settings_are_not_identity(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        prompts = run.step("prompts", make_prompts, 7, salt="x")
        run.step("answers", answer, prompts, batch=3, pause=Runtime(0.0))
    watcher = Watcher()
    with Run(tmp_path, listener=watcher) as run:
        prompts = run.step("prompts", make_prompts, 7, salt="x")
        run.step("answers", answer, prompts, batch=3, pause=Runtime(0.001))
    assert watcher.seen == [("reused", "01-prompts"), ("reused", "02-answers")]


def test_an_empty_input_is_a_skipped_step_and_the_parent_goes_on(tmp_path: Path) -> None:
    parent = Weights(path="/somewhere", id="abc")
    for _ in range(2):
        with Run(tmp_path) as run:
            prompts = run.step("prompts", make_prompts, 0, salt="x")
            assert run.step("train", answer, prompts, batch=1, otherwise=parent) == parent
    note = json.loads((tmp_path / "02-train/step.json").read_text())
    assert note["skipped"] == "skipped: 0 rows in 01-prompts"


def test_lists_of_row_handles_arrive_as_one_list(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        one = run.step("one", make_prompts, 2, salt="a")
        two = run.step("two", make_prompts, 3, salt="b")
        assert len(run.step("both", answer, [one, two], batch=2)) == 4


def test_a_second_run_on_the_folder_is_refused(tmp_path: Path) -> None:
    with Run(tmp_path), pytest.raises(RunError, match="is in use by process"):
        Run(tmp_path)
    Run(tmp_path).close()


def test_threads_and_dtype_of_the_first_start_win(tmp_path: Path) -> None:
    from burnish.runs import Compute

    Run(tmp_path, compute=Compute(threads=1, dtype="float64")).close()
    with Run(tmp_path, compute=Compute(threads=2, workers=3)) as run:
        assert (run.compute.threads, run.compute.dtype, run.compute.workers) == (1, "float64", 3)
    Run(tmp_path.parent / "again", compute=Compute(threads=1)).close()


def test_moved_folder_goes_on(tmp_path: Path) -> None:
    toy_recipe(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")
    watcher = Watcher()
    toy_recipe(tmp_path / "b", listener=watcher)
    assert {kind for kind, _ in watcher.seen} == {"reused"}


@dataclass(frozen=True)
class Worker:
    level: int
    lock: object = Runtime(None)


def test_values_without_stable_serialisation_are_refused() -> None:
    with pytest.raises(RunError, match=r"judge.lock is a lock"):
        identity(Worker(level=1, lock=threading.Lock()), where="judge")
    with pytest.raises(RunError, match="has no stable serialisation"):
        identity(lambda: 1)
    with pytest.raises(RunError, match="PosixPath"):
        identity(Path("/tmp"))


def test_identity_ignores_paths_and_runtime_fields_and_sees_content() -> None:
    here, there = Weights(path="/a", id="1"), Weights(path="/b", id="1")
    assert identity(Worker(level=here)) == identity(Worker(level=there))
    assert identity(Worker(level=1)) == identity(Worker(level=1, lock=Runtime(3)))
    assert identity(Worker(level=1)) != identity(Worker(level=2))


def test_declared_version_changes_the_fingerprint(tmp_path: Path) -> None:
    with Run(tmp_path) as run:
        run.step("prompts", make_prompts, 2, salt="x")
    versioned = version(2)(make_prompts)
    try:
        with Run(tmp_path) as run, pytest.raises(RunError, match="version: 1 -> 2"):
            run.step("prompts", versioned, 2, salt="x")
    finally:
        del make_prompts.__step_version__


def test_trace_walks_from_a_row_to_its_prompt(tmp_path: Path) -> None:
    toy_recipe(tmp_path)
    view = RunView(tmp_path)
    response = view.step("r1/02-answers-3").rows()[0]
    chain = view.ancestry(response.id[:10])
    assert [type(a.row).__name__ for a in chain] == ["Response", "Prompt"]
    assert chain[1].step == "r1/01-prompts"
    with pytest.raises(RunError, match="no row"):
        view.row("zzzz")
    with pytest.raises(RunError, match="holds no run"):
        RunView(tmp_path / "r1")


def test_disk_full_is_one_clear_error(tmp_path: Path) -> None:
    """RLIMIT_FSIZE stands in for a full disk: the kernel refuses the write with EFBIG."""
    import subprocess
    import sys

    code = (
        "import resource, sys; from pathlib import Path; from tests.runs.toy_steps import toy_recipe\n"
        "from burnish.errors import RunError\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "try: toy_recipe(Path(sys.argv[1]))\n"
        "except RunError as error: print('REFUSED', error); sys.exit(2)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "full")], capture_output=True, text=True)
    assert done.returncode == 2, done.stderr
    assert "REFUSED cannot write to" in done.stdout and "run the same command again" in done.stdout
    assert not list((tmp_path / "full").glob("r1/*/step.json"))
    assert toy_recipe(tmp_path / "full")


def test_output_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(RunError, match="choose another folder"):
        Run(tmp_path / "file" / "run")


def test_outcome_of_an_unknown_shape(tmp_path: Path) -> None:
    outcome = Outcome(rows=[Prompt(messages=(Message(role="user", content="a"),))], metrics={"x": 1})
    assert outcome.counts()["taken"] == 1


@pytest.mark.parametrize(
    ("returned", "why"),
    [
        ([{"id": "a", "text": "b"}], "returned a row that is a dict; rows are records"),
        (None, "returned a NoneType; it must return an Outcome"),
        ({"a": 1}, "returned a dict; it must return an Outcome"),
        (["text"], "returned a row that is a str"),
    ],
)
def test_what_is_no_rows_is_refused_before_it_is_written_and_paid_work_is_kept(
    tmp_path: Path, returned: Any, why: str
) -> None:
    with Run(tmp_path) as run, pytest.raises(RunError, match=f"step 'made': .*paid {why}.*kept") as error:
        run.step("made", paid, returned=returned)
    assert error.value.__notes__ == ["in step 01-made"]
    assert not (tmp_path / "01-made").exists()
    with Run(tmp_path) as run, pytest.raises(RunError):
        run.step("made", paid, returned=returned)
    assert SPENT[-2:] == ["paid", "found"]


def test_rows_of_two_kinds_are_refused(tmp_path: Path) -> None:
    rows = [Prompt(messages=(Message(role="user", content="a"),)), Response(prompt="x", messages=())]
    with Run(tmp_path) as run, pytest.raises(RunError, match="rows of kinds Prompt, Response"):
        run.step("made", paid, returned=rows)


SPENT: list[str] = []


def paid(*, returned: Any, work: Any) -> Any:
    SPENT.append("found" if work.journal.get("reply") else "paid")
    work.journal.put("reply", 1)
    return returned
