"""A file of real questions and any model: the recipe runs to its end, or says what it had too little of."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from burnish import microworld
from burnish.models import tiny_model_folder
from burnish.records import read_prompts
from burnish.runs import RunView
from tests.conftest import burnish

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


@pytest.fixture(scope="module")
def questions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 questions of GSM8K's training split."""
    source = DATA / "gsm8k" / "train.jsonl.gz"
    if not source.exists():
        pytest.skip(f"{source} is absent; point BURNISH_DATA at a folder that holds it")
    path = tmp_path_factory.mktemp("gsm8k") / "train.jsonl"
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        path.write_text("".join(line for line, _ in zip(lines, range(200), strict=False)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    "kind", ["shipped", pytest.param("qwen3", marks=pytest.mark.slow), pytest.param("llama", marks=pytest.mark.slow)]
)
def test_gsm8k_at_smoke_scale(questions: Path, tmp_path: Path, kind: str) -> None:
    policy = tmp_path / "model"
    if kind == "shipped":
        policy = microworld.BASE
    else:
        tiny_model_folder(policy, architecture=kind)
    words = [
        "--policy",
        str(policy),
        "--prompts",
        str(questions),
        "--annotator",
        "math",
        "--out",
        str(tmp_path / "run"),
    ]
    done = burnish("run", "llama3", "--scale", "smoke", "--json", *words)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    view = RunView(tmp_path / "run")
    assert [s.name for s in view.steps if s.name.endswith("promoted")] == [
        "r1/" + _last(view, 1),
        "r2/" + _last(view, 2),
    ]
    assert Path(told["final"], "model.safetensors").exists() and Path(told["report"]).stat().st_size > 20_000
    for stage in told["stages"].values():
        assert "skipped" not in stage or stage["skipped"].startswith("skipped: 0 rows in ")
    assert f"burnish chat {told['final']}" in done.stderr


def _last(view: RunView, number: int) -> str:
    return [s.name for s in view.steps if s.name.startswith(f"r{number}/")][-1].split("/")[1]


def test_exported_arithmetic_reads_back_as_gsm8k(tmp_path: Path) -> None:
    rows = microworld.prompts("train", 20, seed=3, families=("arithmetic",))
    microworld.export_gsm8k(rows, tmp_path / "a.jsonl")
    read = read_prompts(tmp_path / "a.jsonl")
    assert read.convention == "GSM8K" and len(read.rows) == 20
    assert {row.checker for row in read.rows} == {"math"}
    assert [row.messages[-1].content for row in read.rows] == [row.messages[-1].content for row in rows]
