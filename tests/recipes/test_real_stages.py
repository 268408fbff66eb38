"""The second recipe on real questions: GSM8K under `math`, MBPP under `code`; it runs to its end (slow)."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

from burnish import microworld
from burnish.models import tiny_model_folder
from burnish.runs import RunView
from burnish.verify.code import mbpp_suite
from tests.conftest import burnish

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
pytestmark = pytest.mark.slow


def lines_of(source: Path, count: int) -> list[dict]:
    if not source.exists():
        pytest.skip(f"{source} is absent; point BURNISH_DATA at a folder that holds it")
    with gzip.open(source, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line, _ in zip(lines, range(count), strict=False)]


def written(rows: list[dict], path: Path) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def run(tmp_path: Path, prompts: Path, *words: str, policy: Path = microworld.BASE) -> tuple[dict, RunView]:
    told = ["--policy", str(policy), "--prompts", str(prompts), "--out", str(tmp_path / "run"), "--json"]
    done = burnish("run", "deepseek_v2", "--scale", "smoke", *told, *words)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), RunView(tmp_path / "run")


@pytest.mark.parametrize("kind", ["shipped", "qwen3"])
def test_gsm8k_under_math(tmp_path: Path, kind: str) -> None:
    prompts = written(lines_of(DATA / "gsm8k" / "train.jsonl.gz", 120), tmp_path / "gsm8k.jsonl")
    policy = microworld.BASE
    if kind != "shipped":
        policy = tmp_path / "model"
        tiny_model_folder(policy, architecture=kind)
    told, view = run(tmp_path, prompts, "--reward", "reasoning=math", policy=policy)
    step = next(s for s in view.steps if s.name.endswith("-grpo"))
    curve = [line for line in step.curve() if isinstance(line, dict)]
    # An answer without a number is unscored: missing, not 0. Of the others the reward is a mean.
    answers = 4  # a group, at smoke scale
    assert len(curve) == 2 and all(0 <= line["reward"] <= 1 for line in curve)
    assert all(line["rewards_missing"] < answers * line["groups"] for line in curve)
    assert Path(told["final"], "model.safetensors").exists() and Path(told["report"]).exists()
    assert {row.ability for row in view.step("prompts").rows()} == {"math"}


def test_mbpp_under_code(tmp_path: Path) -> None:
    rows = []
    for row in lines_of(DATA / "mbpp" / "mbpp.jsonl.gz", 60):
        suite = mbpp_suite(row)
        reference = {"tests": list(suite.tests), "setup": suite.setup, "entry_point": suite.entry}
        rows.append({"prompt": f"{row['text']} Its tests: {row['test_list'][0]}", "checker": "code",
                     "reference": json.dumps({k: v for k, v in reference.items() if v})})  # fmt: skip
    told, view = run(tmp_path, written(rows, tmp_path / "mbpp.jsonl"), "--reward", "reasoning=code")
    step = next(s for s in view.steps if s.name.endswith("-grpo"))
    assert all(line["rewards_missing"] == 0 for line in step.curve() if isinstance(line, dict))
    assert Path(told["final"], "model.safetensors").exists()


def test_without_rewards_of_ones_own_a_model_that_is_never_right_says_so(tmp_path: Path) -> None:
    """No right answer, no pair, no reward model: stage 1 has nothing to go by, and the run ends all the same."""
    rows = [{**row, "answer": "#### 918273645"} for row in lines_of(DATA / "gsm8k" / "train.jsonl.gz", 60)]
    prompts = written(rows, tmp_path / "gsm8k.jsonl")  # small numbers are hit by chance
    policy = tmp_path / "model"
    tiny_model_folder(policy)
    told, view = run(tmp_path, prompts, policy=policy)
    skipped = {name for name, stage in told["stages"].items() if "skipped" in stage}
    assert any(name.endswith("rm-reasoning") for name in skipped)
    assert not [s for s in view.steps if s.name.endswith("-grpo")]
