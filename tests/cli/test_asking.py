"""`burnish sample` from a server: kept, estimated, within a budget."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from burnish.cli import app
from burnish.errors import BudgetError, RunError, SettingsError
from burnish.records import read_answered
from tests.llm.requests.server import error, said, serving


def called(*words: Any) -> Any:
    done = CliRunner().invoke(app, [str(word) for word in words])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_sampling_from_a_server(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(8)))
    with serving(lambda body, _: said(f"re: {body['messages'][0]['content']}")) as server:
        words = ["sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", out, "-n", 2]
        assert called(*words, "--dry-run").stdout.startswith("16 requests (0 are kept already)")
        with pytest.raises(BudgetError, match="tokens"):
            called(*words, "--budget-tokens", 100)
        assert 6 <= len(server.bodies) <= 7 and not out.exists()
        assert "8 prompts, 16 responses" in called(*words, "--budget-tokens", 1000).stderr
        assert len(server.bodies) == 16
        called(*words)
        assert len(server.bodies) == 16
        assert called(*words, "--dry-run").stdout.startswith("0 requests (16 are kept already)")
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["completion"][0]["content"] for row in rows[:2]] == ["re: question 0"] * 2
    assert rows[0]["prompt"] == [{"role": "user", "content": "question 0"}]
    found = read_answered(out)  # what burnish judge reads
    assert [row.answers["answer"].text for row in found[:2]] == ["re: question 0"] * 2
    for place in (out, out.with_name("out.jsonl.requests"), out.with_name("out.jsonl.requests") / "sample.sqlite"):
        assert json.loads(called("requests", place, "--json").stdout)[-1]["requests"] == 16
    with pytest.raises(RunError, match="holds no requests"):
        called("requests", prompts)
    with pytest.raises(SettingsError, match="which model"):
        called("sample", "--model", "http://h/v1", "--prompts", prompts, "--out", out)
    with pytest.raises(SettingsError, match="--compile is for a folder of weights"):
        called("sample", "--model", "http://h/v1#m", "--prompts", prompts, "--out", out, "--compile")


def failing(share: int) -> Any:
    """A server that refuses every question whose number is below `share`."""

    def script(body: dict[str, Any], _: Any) -> Any:
        text = body["messages"][0]["content"]
        return error(400, "the context is too short") if int(text.split()[-1]) < share else said(f"re: {text}")

    return script


def test_answers_that_are_missing_are_told(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text("".join(json.dumps({"prompt": f"question {i}"}) + "\n" for i in range(8)))
    with serving(failing(3)) as server:
        done = called("sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", out, "-n", 2)
    assert done.exit_code == 0 and "8 prompts, 10 responses" in done.stderr
    assert "6 of 16 answers are missing\n  6 request failed: " in done.stderr
    assert "the context is too short" in done.stderr
    told = called("requests", out, "--failures").stdout.splitlines()
    assert len(told) == 2 and told[1].split()[:4] == ["sample", "sampling", "6", "no"]
    assert json.loads(called("requests", out, "--failures", "--json").stdout)[0]["count"] == 6
    with serving(failing(0)) as server:
        assert "6 failures forgotten" in called("requests", out, "--forget-failures").stderr
        done = called("sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", out, "-n", 2)
        assert len(server.bodies) == 6 and "answers are missing" not in done.stderr
    assert "no question failed" in called("requests", out, "--failures").stdout
    assert "no failures are kept" in called("requests", out, "--forget-failures").stderr

    with serving(failing(9)) as server:
        done = called("sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", tmp_path / "none.jsonl")
    assert done.exit_code == 1 and "8 of 8 answers are missing" in done.stderr
    assert not (tmp_path / "none.jsonl").exists()


def test_every_row_of_the_file_gets_its_answers_beside_its_own_columns(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    given = [
        {"prompt": "question 1", "split": "a", "id": 7, "reference": "one"},
        {"prompt": "question 2", "split": "b", "completion": "gold", "more": {"x": [1]}},
        {"prompt": "question 1", "split": "c", "id": 9, "reference": "one"},
    ]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in given))
    with serving(failing(0)) as server:
        done = called("sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", out, "-n", 2)
        assert len(server.bodies) == 4
    assert "2 prompts, 4 responses" in done.stderr and "1 of 3 rows equal another" in done.stderr
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["split"] for row in rows] == ["a", "a", "b", "b", "c", "c"]
    assert [row.get("file_id") for row in rows] == [7, 7, None, None, 9, 9] and rows[0]["id"] == rows[4]["id"]
    assert rows[2]["file_completion"] == "gold" and rows[2]["completion"][0]["content"] == "re: question 2"
    assert rows[2]["more"] == {"x": [1]} and rows[0]["reference"] == "one" and "file_reference" not in rows[0]
    # A column that another convention reads must not turn the sampled answer into the file's.
    prompts.write_text(json.dumps({"question": "question 3", "answer": "so #### 3"}) + "\n")
    with serving(failing(0)) as server:
        called("sample", "--model", f"{server.url}#toy", "--prompts", prompts, "--out", out)
    (row,) = read_answered(out)
    assert row.answers["answer"].text == "re: question 3" and row.columns["file_answer"] == "so #### 3"


def test_an_estimate_stands_beside_the_budget(tmp_path: Path) -> None:
    prompts, out = tmp_path / "prompts.jsonl", tmp_path / "out.jsonl"
    prompts.write_text(json.dumps({"prompt": "question 1"}) + "\n")
    words = ["sample", "--model", "http://h:1/v1#toy", "--prompts", prompts, "--out", out, "--dry-run"]
    assert "above" not in called(*words, "--budget-tokens", 300).stdout
    assert "the estimate is above --budget-tokens 200," in called(*words, "--budget-tokens", 200).stdout
    for place, match in ((prompts, "would be overwritten"), (tmp_path, "is a folder")):
        with pytest.raises(RunError, match=match):
            called("sample", "--model", "http://h:1/v1#toy", "--prompts", prompts, "--out", place)
    with pytest.raises(SettingsError, match=r"name it o\.jsonl"):
        called("sample", "--model", "http://h:1/v1#toy", "--prompts", prompts, "--out", tmp_path / "o.parquet")
    with pytest.raises(SettingsError, match=r"write http://127\.0\.0\.1:8000/v1#m"):
        called("sample", "--model", "127.0.0.1:8000/v1#m", "--prompts", prompts, "--out", out)
