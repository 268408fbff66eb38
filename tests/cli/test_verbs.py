"""The single verbs, each as a command on files, on the final weights of a smoke run; in this process but for one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from burnish import microworld
from burnish.records import weights_in, write_jsonl
from tests.conftest import ROOT, Called


@pytest.fixture(scope="module")
def final(smoke: dict) -> str:
    return smoke["object"]["final"]


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("questions") / "heldout.jsonl"
    write_jsonl(microworld.prompts("heldout", 20, seed=1), path)
    return path


def test_chat_answers_piped_lines(final: str) -> None:
    command = [sys.executable, "-m", "burnish", "chat", final, "--temperature", "0", "--max-new-tokens", "24"]
    said = "What is 12 + 30?\nAnd 5 + 5?\n"
    done = subprocess.run(command, input=said, capture_output=True, text=True, cwd=ROOT, env=dict(os.environ))
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 2 and "user" not in done.stdout


def test_sample_writes_k_answers_a_prompt_and_is_seeded(
    called: Called, final: str, questions: Path, tmp_path: Path
) -> None:
    outs = []
    for name in ("a", "b"):
        words = ["--model", final, "--prompts", str(questions), "-k", "3", "--out", str(tmp_path / name)]
        code, _, wrong = called("sample", *words, "--max-new-tokens", "16", "--seed", "5")
        assert code == 0, wrong
        outs.append((tmp_path / name).read_text())
    rows = [json.loads(line) for line in outs[0].splitlines()]
    assert outs[0] == outs[1] and len(rows) == 60
    assert {row["index"] for row in rows} == {0, 1, 2} and {row["model"] for row in rows} == {
        weights_in(Path(final)).id
    }


def test_evaluate_gives_accuracy_with_intervals(called: Called, final: str, questions: Path, tmp_path: Path) -> None:
    words = ["--model", final, "--data", str(questions), "--max-new-tokens", "24", "--json"]
    code, said, wrong = called("evaluate", *words, "--out", str(tmp_path / "graded.jsonl"))
    assert code == 0, wrong
    scores = {row["task"]: row for row in json.loads(said)["scores"]}
    graded = [json.loads(line) for line in (tmp_path / "graded.jsonl").read_text().splitlines()]
    right = [row["score"] for row in graded]
    assert scores["all"]["n"] == len(graded) == 20 and scores["all"]["value"] == sum(right) / 20
    assert 0 <= scores["all"]["low"] <= scores["all"]["value"] <= scores["all"]["high"] <= 1


def test_average_of_a_model_with_itself_is_that_model(called: Called, final: str, tmp_path: Path) -> None:
    code, _, wrong = called("merge", "average", final, final, "--out", str(tmp_path / "same"))
    assert code == 0, wrong
    assert weights_in(tmp_path / "same").id == weights_in(Path(final)).id


def test_show_lists_steps_and_rows(called: Called, smoke: dict) -> None:
    folder = str(smoke["folder"])
    _, listed, _ = called("show", folder)
    assert "r1/04-judgements" in listed and "tie" in listed
    _, rows, _ = called("show", folder, "r1/04-judgements")
    assert "judgement" in rows and "strength" in rows


def test_show_sums_up_a_step_and_gives_the_whole_note_as_json(called: Called, smoke: dict) -> None:
    folder = str(smoke["folder"])
    _, said, _ = called("show", folder, "r2/dpo-a", "--rows", "0")
    _, whole, _ = called("show", folder, "r2/dpo-a", "--json")
    note = json.loads(whole)
    for part in (note["name"], note["fingerprint"], "settings", "beta 0.1", f"{note['counts']['taken']} in"):
        assert part in said
    assert all(parent["step"] in said for parent in note["parents"])
    assert len(said.splitlines()) <= 6 and "{" not in said and len(said) < len(whole) / 2
    _, every, _ = called("show", folder, "--json")
    assert [step["name"] for step in json.loads(every)["steps"]] == list(smoke["object"]["stages"])


def test_explain_says_plainly_that_a_step_never_ran_again(called: Called, smoke: dict) -> None:
    _, said, _ = called("explain", str(smoke["folder"]), "r1/dpo-a")
    lines = said.splitlines()
    assert lines[1] == "it never ran again: there is no earlier version of it under superseded/"
    assert lines[2].startswith("for comparison, the nearest step of this function: r")


def test_a_finished_run_stands_for_its_final_weights(called: Called, smoke: dict, tmp_path: Path) -> None:
    run = str(smoke["folder"])
    code, _, wrong = called("merge", "average", run, run, "--out", str(tmp_path / "same"))
    assert code == 0, wrong
    assert weights_in(tmp_path / "same").id == weights_in(Path(smoke["object"]["final"])).id
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "run.json").write_text("{}")
    code, _, wrong = called("chat", str(tmp_path / "half"))
    assert code == 2 and "is a run without final weights" in wrong


def test_report_can_be_written_again(called: Called, smoke: dict, tmp_path: Path) -> None:
    code, _, wrong = called("report", str(smoke["folder"]), "--to", str(tmp_path / "page.html"))
    assert code == 0, wrong
    assert "llama3" in (tmp_path / "page.html").read_text()
