"""The flat loop of examples/flat_dpo.py gives the engine's numbers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from burnish.records import write_jsonl
from burnish.runs.compute import Compute, computing
from burnish.train import METHODS, train_rows
from tests.train.material import folders, make_model, preferences

FLAT = Path(__file__).parents[2] / "examples" / "flat_dpo.py"


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


def test_it_is_flat_and_short() -> None:
    text = FLAT.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 150
    assert "class " not in text and "burnish.train" not in text and "burnish.losses" not in text
    assert METHODS["dpo"].settings().beta == 0.1


def test_the_reference_is_the_starting_model(tmp_path: Path) -> None:
    """At the first step the DPO term is ln 2: a loop that compares the policy with itself later would stay there."""
    base, rows = make_model(tmp_path / "base"), preferences()
    work = folders(tmp_path / "engine")
    with computing(Compute(dtype="float64")), torch.random.fork_rng():
        train_rows(base, rows, method="dpo", work=work, lr=1e-2, epochs=3, batch_rows=4)
    lines = [json.loads(line) for line in (Path(work.folder) / "metrics.jsonl").read_text().splitlines()]
    assert lines[0]["dpo"] == pytest.approx(0.6931471805599453) and lines[-1]["dpo"] < 0.69
