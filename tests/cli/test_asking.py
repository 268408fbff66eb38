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
from tests.llm.requests.server import said, serving


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
