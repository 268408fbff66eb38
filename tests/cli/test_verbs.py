"""The single verbs, each as a command on files, on the final weights of a smoke run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from burnish import microworld
from burnish.records import weights_in, write_jsonl
from tests.conftest import ROOT, burnish


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


def test_sample_writes_k_answers_a_prompt_and_is_seeded(final: str, questions: Path, tmp_path: Path) -> None:
    outs = []
    for name in ("a", "b"):
        words = ["--model", final, "--prompts", str(questions), "-k", "3", "--out", str(tmp_path / name)]
        done = burnish("sample", *words, "--max-new-tokens", "16", "--seed", "5")
        assert done.returncode == 0, done.stderr
        outs.append((tmp_path / name).read_text())
    rows = [json.loads(line) for line in outs[0].splitlines()]
    assert outs[0] == outs[1] and len(rows) == 60
    assert {row["index"] for row in rows} == {0, 1, 2} and {row["model"] for row in rows} == {
        weights_in(Path(final)).id
    }


def test_evaluate_gives_accuracy_with_intervals(final: str, questions: Path, tmp_path: Path) -> None:
    words = ["--model", final, "--data", str(questions), "--max-new-tokens", "24", "--json"]
    done = burnish("evaluate", *words, "--out", str(tmp_path / "graded.jsonl"))
    assert done.returncode == 0, done.stderr
    scores = {row["task"]: row for row in json.loads(done.stdout)["scores"]}
    graded = [json.loads(line) for line in (tmp_path / "graded.jsonl").read_text().splitlines()]
    right = [row["score"] for row in graded]
    assert scores["all"]["n"] == len(graded) == 20 and scores["all"]["value"] == sum(right) / 20
    assert 0 <= scores["all"]["low"] <= scores["all"]["value"] <= scores["all"]["high"] <= 1


def test_average_of_a_model_with_itself_is_that_model(final: str, tmp_path: Path) -> None:
    done = burnish("merge", "average", final, final, "--out", str(tmp_path / "same"))
    assert done.returncode == 0, done.stderr
    assert weights_in(tmp_path / "same").id == weights_in(Path(final)).id


def test_show_lists_steps_and_rows(smoke: dict) -> None:
    listed = burnish("show", str(smoke["folder"])).stdout
    assert "r1/04-judgements" in listed and "tie" in listed
    rows = burnish("show", str(smoke["folder"]), "r1/04-judgements").stdout
    assert "judgement" in rows and "strength" in rows


def test_report_can_be_written_again(smoke: dict, tmp_path: Path) -> None:
    done = burnish("report", str(smoke["folder"]), "--to", str(tmp_path / "page.html"))
    assert done.returncode == 0, done.stderr
    assert "llama3" in (tmp_path / "page.html").read_text()
