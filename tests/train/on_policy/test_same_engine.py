"""The difference between sampler and trainer: its histogram, and a mode in which it is nothing at all."""

from __future__ import annotations

import pytest
import torch

from burnish.runs.compute import Compute, computing
from burnish.train.on_policy.objectives.fresh import GAP_BINS, Fresh, gap_counts
from tests.train.material import folders, tree
from tests.train.on_policy.material import METHODS, Recorder, lines_of, train


def test_differences_are_counted_by_size():
    gaps = torch.tensor([0.0, 0.0, 1e-9, 1e-6, 2e-6, 0.05, 0.1, 0.7, 1.0, 3.0, float("inf")], dtype=torch.float64)
    counts = [int(count) for count in gap_counts(gaps).values()]
    assert counts == [2, 2, 1, 0, 0, 0, 2, 2, 2] and len(counts) == len(GAP_BINS) + 1


@pytest.mark.parametrize("key", METHODS)
def test_the_histogram_counts_every_trained_token_of_an_update(base, tmp_path, key):
    work = folders(tmp_path)
    train(base, work, **METHODS[key])
    for line in lines_of(work):
        assert line["sampler_gap_bins"] == list(GAP_BINS) and len(line["sampler_gap_counts"]) == len(GAP_BINS) + 1
        assert sum(line["sampler_gap_counts"]) == line["tokens"] > 0
        assert sum(line["sampler_gap_counts"][4:]) == 0 < sum(line["sampler_gap_counts"][1:])  # float32: rounding


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("key", METHODS)
def test_the_same_engine_leaves_no_difference(base, tmp_path, key, dtype):
    with computing(Compute(dtype=dtype)):
        work = folders(tmp_path)
        train(base, work, same_engine=True, **METHODS[key])
    each = METHODS[key].get("updates", 1)
    for number, line in enumerate(lines_of(work)):
        assert line["sampler_gap"] == 0.0 and line["sampler_gap_counts"] == [line["tokens"]] + [0] * len(GAP_BINS)
        if number % each == 0:
            assert line.get("ratio", 1.0) == 1.0


def test_the_same_engine_learns_the_same(base, tmp_path):
    """What is learned never read the sampler's log-probabilities: the same answers and the same weights."""
    rewarders = [Recorder(), Recorder()]
    for rewarder, on in zip(rewarders, (False, True), strict=True):
        train(base, folders(tmp_path / str(on)), rewarder=rewarder, updates=2, same_engine=on)
    assert rewarders[0].answers == rewarders[1].answers
    mine, other = (tree(tmp_path / on / "artifact") for on in ("True", "False"))
    assert mine["model.safetensors"] == other["model.safetensors"] and mine["metrics.jsonl"] != other["metrics.jsonl"]


def test_a_forward_that_differs_shows_in_the_histogram(base, tmp_path, monkeypatch):
    real = Fresh._measure

    def shifted(self, name, *more):
        real(self, name, *more)
        for known in self.known.values():
            if name == "old" and "old" in known and "moved" not in known:
                known["old"], known["moved"] = known["old"] - 0.03, known["old"]

    monkeypatch.setattr(Fresh, "_measure", shifted)
    work = folders(tmp_path)
    train(base, work, updates=2, rounds=1)
    for line in lines_of(work):
        assert line["sampler_gap_counts"][6] == line["tokens"] and line["sampler_gap"] == pytest.approx(0.03, abs=1e-3)
