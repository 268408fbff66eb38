"""The flat loops of examples/flat_dpo.py and examples/flat_grpo.py give the engine's numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from burnish.records import Prompt, write_jsonl
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, train_rows
from burnish.train.on_policy import FRESH, FunctionReward, train_fresh
from tests.train.material import folders, make_model, preferences, said

FLAT = Path(__file__).parents[2] / "examples" / "flat_dpo.py"
FLAT_GRPO = FLAT.with_name("flat_grpo.py")
REWARD = """
def reward(prompt, completion):
    if sum(map(ord, completion)) % 5 == 1:
        return None
    return sum(c.isascii() for c in completion) / (1 + len(completion))

def engine(prompts, completions):
    return [reward(p, c) for p, c in zip(prompts, completions)]
"""


def test_losses_gradients_and_weights_agree(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base, rows = make_model(tmp_path / "base"), preferences()
    write_jsonl(rows, tmp_path / "pairs.jsonl")
    command = [sys.executable, str(FLAT), "--model", base.path, "--data", str(tmp_path / "pairs.jsonl")]
    options = [
        "--out",
        str(tmp_path / "flat"),
        "--dtype",
        "float64",
        "--lr",
        "1e-3",
        "--epochs",
        "2",
        "--batch-rows",
        "4",
    ]
    done = subprocess.run([*command, *options], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    work = folders(tmp_path / "engine")
    with computing(Compute(dtype="float64")):
        train_rows(base, rows, method="dpo", work=work, lr=1e-3, epochs=2, batch_rows=4)
    flat, engine = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "flat", Path(work.folder))
    )
    assert len(flat) == len(engine) == 5
    for one, other in zip(flat, engine, strict=True):
        for name in ("lr", "loss", "grad_norm"):
            assert one[name] == pytest.approx(other[name], rel=1e-6), name
        assert one["margin"] == pytest.approx(other["margin"], rel=1e-5, abs=1e-9)
    before, mine, theirs = (
        load_file(Path(folder) / "model.safetensors") for folder in (base.path, work.folder, tmp_path / "flat")
    )
    for name, tensor in mine.items():
        moved = (tensor.double() - before[name].double()).norm()
        assert moved > 0 and (tensor - theirs[name]).norm() <= 1e-4 * moved, name


@pytest.mark.parametrize("updates", [1, 2])
def test_the_flat_grpo_draws_the_engines_answers_and_takes_its_steps(tmp_path: Path, updates: int) -> None:
    from safetensors.torch import load_file

    base = make_model(tmp_path / "base")
    asked = [Prompt(messages=(said("user", f"{i} + {i}?" + "!" * (i % 3)),)) for i in range(5)]
    write_jsonl(asked, tmp_path / "prompts.jsonl")
    (tmp_path / "rewards.py").write_text(REWARD)
    how = {"rounds": 3, "prompts": 3, "samples": 4, "updates": updates, "max_new_tokens": 8, "lr": 3e-3, "seed": 2}
    command = [sys.executable, str(FLAT_GRPO), "--model", base.path, "--data", str(tmp_path / "prompts.jsonl")]
    command += ["--reward", str(tmp_path / "rewards.py"), "--out", str(tmp_path / "flat"), "--dtype", "float64"]
    command += [word for name, value in how.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    work = folders(tmp_path / "engine")
    rewarder = FunctionReward.of(f"{tmp_path / 'rewards.py'}:engine")
    with computing(Compute(dtype="float64")):
        train_fresh(base, asked, method="grpo", rewarder=rewarder, work=work, refills=0, **how)
    flat, engine = (
        [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
        for folder in (tmp_path / "flat", Path(work.folder))
    )
    assert len(flat) == len(engine) == 3 * updates and sum(line["rewards_missing"] for line in engine) > 0
    for one, other in zip(flat, engine, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-5, abs=1e-8)
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-5)
    before, mine, theirs = (
        load_file(Path(folder) / "model.safetensors") for folder in (base.path, work.folder, tmp_path / "flat")
    )
    for name, tensor in mine.items():
        moved = (tensor.double() - before[name].double()).norm()
        assert moved > 0 and (tensor - theirs[name]).norm() <= 1e-3 * moved, name


@pytest.mark.parametrize("flat", [FLAT, FLAT_GRPO])
def test_it_is_flat_and_short(flat: Path) -> None:
    text = flat.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert "class " not in text and "burnish.train" not in text and "burnish.losses" not in text


def test_the_defaults_are_the_engines() -> None:
    """Of the options that both have."""
    assert METHODS["dpo"].settings().beta == 0.1
    settings, text = FRESH["grpo"].settings(), FLAT_GRPO.read_text(encoding="utf-8")
    options = dict(re.findall(r'"--([a-z-]+)", type=\w+, default=([^,)]+)', text))
    options.pop("rounds")  # the engine goes through the prompts instead
    assert float(options.pop("clip-ratio")) == settings.clip_low == settings.clip_high
    for name, value in options.items():
        assert float(value) == getattr(settings, name.replace("-", "_")), name
    assert len(options) >= 8


def test_the_reference_is_the_starting_model(tmp_path: Path) -> None:
    """At the first step the DPO term is ln 2: a loop that compares the policy with itself later would stay there."""
    base, rows = make_model(tmp_path / "base"), preferences()
    work = folders(tmp_path / "engine")
    with computing(Compute(dtype="float64")), torch.random.fork_rng():
        train_rows(base, rows, method="dpo", work=work, lr=1e-2, epochs=3, batch_rows=4)
    lines = [json.loads(line) for line in (Path(work.folder) / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["dpo"] == pytest.approx(0.6931471805599453) and lines[-1]["dpo"] < 0.69
