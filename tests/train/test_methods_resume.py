"""Every method, stopped twice at random steps and gone on with, leaves the bits of a training that was left alone."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from burnish.train import METHODS, train_rows
from burnish.train.checkpoint import Progress
from tests.train.material import LOOP, Folders, Killed, folders, make_model, rows_for, tree

# What a resumed training could lose: the step that keys the noise, KTO's reference point, the average of the weights.
SETTINGS: dict[str, dict[str, Any]] = {
    "pretrain": {"mix": (0.5, 0.5)},
    "sft": {"noise": 5.0, "weighting": "sequence", "length_group": 2},
    "reward": {"margin": True, "recompute": 2, "ema": 0.8},
    "reward-anchored": {"low": 0.0, "high": 10.0},
    "reward-attributes": {"names": ("helpfulness", "verbosity")},
    "dpo": {"label_smoothing": 0.1, "sft_weight": 0.01, "length_group": 4, "recompute": 1},
    "kto": {"ema": 0.5, "length_group": 2, "recompute": 1},
    "rpo": {"lr": 3e-3},
}
STEPS = 5


def train(name: str, base: Any, work: Folders, stop: BaseException | None = None, at: int = 0) -> Any:
    """Train with a method, and raise `stop` when step `at` is told."""
    told = work.progress

    def progress(done: int, total: int, note: str = "") -> None:
        told(done, total, note)
        assert total == STEPS
        if stop is not None and done == at:
            raise stop

    work.progress = progress
    rows = rows_for(METHODS[name].noun)
    more = {"teacher": make_model(work.folder.parents[1] / "teacher", seed=7)} if name == "distill" else {}
    return train_rows(base, rows, method=name, work=work, **LOOP | SETTINGS.get(name, {}) | more)


@pytest.mark.parametrize("name", METHODS)
def test_stopped_twice_and_resumed_is_bitwise_equal(base, tmp_path, monkeypatch, name):
    straight = folders(tmp_path / "straight")
    whole = train(name, base, straight)
    draw = random.Random(name)
    first = draw.randint(1, STEPS - 2)
    second = draw.randint(first + 1, STEPS)

    with pytest.raises(KeyboardInterrupt):
        train(name, base, folders(tmp_path / "broken"), KeyboardInterrupt(), first)
    # the second end saves nothing, and finds the last checkpoint up to one step old
    monkeypatch.setattr(Progress, "due", lambda self, step: step % 2 == 0)
    work = folders(tmp_path / "broken")
    with pytest.raises(Killed):
        train(name, base, work, Killed(), second)
    assert work.told == list(range(first + 1, second + 1))
    work = folders(tmp_path / "broken")
    resumed = train(name, base, work)
    kept = max(step for step in range(first, min(second, STEPS - 1) + 1) if step % 2 == 0 or step == first)
    assert work.told == list(range(kept + 1, STEPS + 1))

    assert tree(work.folder) == tree(straight.folder)
    assert {"metrics.jsonl", "model.safetensors"} < set(tree(work.folder))
    assert resumed.metrics == whole.metrics and resumed.weights.id == whole.weights.id != base.id
    told = [json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in told] == list(range(1, STEPS + 1))
