"""A reference that follows the policy, and an adapted weight of the divergence: by hand, and over kills."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.models import load_causal
from burnish.runs.compute import Compute, computing
from burnish.train.checkpoint import Progress
from burnish.train.on_policy.objectives import fresh
from tests.train.material import Killed, folders, stopper, tree
from tests.train.on_policy.material import Recorder, lines_of, train

HOW: dict[str, Any] = {"rounds": 5, "prompts": 3}


class Watched:
    """Keeps the weights of policy and reference at the start of every round and after every update."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.policy: list[dict[str, torch.Tensor]] = []
        self.reference: list[dict[str, torch.Tensor]] = []
        explored, stepped = fresh.Fresh.explored, fresh.Fresh.stepped

        def starts(method: Any, model: Any, *args: Any, **more: Any) -> None:
            explored(method, model, *args, **more)
            self.keep(method, model)
            self.model = model

        def steps(method: Any, optimiser: Any) -> None:
            stepped(method, optimiser)
            self.keep(method, self.model)

        monkeypatch.setattr(fresh.Fresh, "explored", starts)
        monkeypatch.setattr(fresh.Fresh, "stepped", steps)

    def keep(self, method: Any, model: Any) -> None:
        for weights, held in ((self.policy, model), (self.reference, method.frozen)):
            weights.append({name: p.detach().clone() for name, p in held.named_parameters()})


def same(one: Any, other: Any) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_every_second_round_the_reference_is_the_policy(base, tmp_path, monkeypatch):
    watched, work = Watched(monkeypatch), folders(tmp_path)
    train(base, work, method="grpo", reference="every:2", **HOW)
    # two entries a round: at its start, after its update
    for number in range(5):
        start = 2 * number
        reset = number in (2, 4)
        assert same(watched.reference[start], watched.policy[start]) == (reset or number == 0)
        assert same(watched.reference[start + 1], watched.reference[start])
    assert [line["reference_kl"] == 0.0 for line in lines_of(work)] == [True, False, True, False, True]


@pytest.mark.parametrize("dtype", ["float64", "bfloat16"])
def test_the_anchor_is_the_moving_average_of_the_policy(base, tmp_path, monkeypatch, dtype):
    watched = Watched(monkeypatch)
    with computing(Compute(dtype=dtype)):
        train(base, folders(tmp_path), method="warp", reference="ema:0.25", updates=2, lr=1e-3, **HOW)
    wanted = {name: value.double() for name, value in watched.policy[0].items()}
    for place in range(1, len(watched.policy)):
        if place % 3:  # two updates after the start of each round
            for name, value in watched.policy[place].items():
                wanted[name] = 0.75 * wanted[name] + 0.25 * value.double()
        for name, value in watched.reference[place].items():
            bound = 1e-12 if dtype == "float64" else 2**-7  # the anchor itself is kept in float32
            assert (value.double() - wanted[name]).abs().max() <= bound * wanted[name].abs().max()
    assert not same(watched.reference[0], watched.reference[-1])


def test_mu_1_is_the_policy_and_fixed_is_the_start(base, tmp_path, monkeypatch):
    watched = Watched(monkeypatch)
    train(base, folders(tmp_path / "a"), method="rloo", reference="ema:1", **HOW)
    assert all(same(one, other) for one, other in zip(watched.reference, watched.policy, strict=True))
    watched.policy.clear()
    watched.reference.clear()
    train(base, folders(tmp_path / "b"), method="rloo", **HOW)
    start = dict(load_causal(base).named_parameters())
    assert all(same(one, start) for one in watched.reference)


@pytest.mark.parametrize("method", ["grpo", "mdloo"])
def test_beta_rises_above_the_target_and_falls_below_it(base, tmp_path, method):
    betas = {}
    for target in (1e-6, 1e6):
        work = folders(tmp_path / f"{method}{target}")
        train(base, work, method=method, beta=0.05, adapt=(target, 120.0), updates=1, **HOW)
        lines = lines_of(work)
        beta = 0.05
        for line in lines:
            assert line["beta"] == beta
            beta *= 1 + min(max(line["answer_kl"] / target - 1, -0.2), 0.2) * 9 / 120
        betas[target] = [line["beta"] for line in lines]
    assert betas[1e6] == sorted(betas[1e6], reverse=True) and betas[1e6][-1] < 0.05
    assert betas[1e-6][-1] > 0.05


CASES: dict[str, dict[str, Any]] = {
    "every": {"method": "grpo", "reference": "every:2", "updates": 2},
    "ema": {"method": "warp", "reference": "ema:0.2", "updates": 2},
    "adapt": {"method": "grpo", "adapt": (1e-4, 50.0), "updates": 2},
    "ema in bfloat16": {"method": "warp", "reference": "ema:0.2", "adapt": (1e-4, 50.0), "updates": 2},
}


@pytest.mark.parametrize("key", CASES)
def test_killed_and_interrupted_is_bitwise_equal(base, tmp_path, monkeypatch, key):
    """After the last update of a round, in its middle, and before its first, where an interrupt saves the state."""
    with computing(Compute(dtype="bfloat16" if "bfloat16" in key else "float32")):
        straight = folders(tmp_path / "straight")
        whole = train(base, straight, **CASES[key], **HOW)
        monkeypatch.setattr(Progress, "due", lambda self, step: self.scratch is not None)

        for at in (4, 5):
            with pytest.raises(Killed):
                train(base, folders(tmp_path / "broken"), track=stopper(Killed(), at), **CASES[key], **HOW)
        stopped = Recorder(stop=KeyboardInterrupt(), at=2)
        with pytest.raises(KeyboardInterrupt):
            train(base, folders(tmp_path / "broken"), rewarder=stopped, **CASES[key], **HOW)
        explored = fresh.Fresh.explored

        def interrupted(method: Any, *args: Any, number: int = 0) -> None:
            explored(method, *args, number=number)
            if number == 4:
                raise KeyboardInterrupt

        monkeypatch.setattr(fresh.Fresh, "explored", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train(base, folders(tmp_path / "broken"), **CASES[key], **HOW)
        monkeypatch.setattr(fresh.Fresh, "explored", explored)
        work = folders(tmp_path / "broken")
        resumed = train(base, work, **CASES[key], **HOW)
    assert tree(work.folder) == tree(straight.folder) and resumed.metrics == whole.metrics


def test_a_checkpoint_without_what_is_asked_is_refused(base, tmp_path, monkeypatch):
    monkeypatch.setattr(Progress, "due", lambda self, step: self.scratch is not None)
    stopped = Recorder(stop=KeyboardInterrupt(), at=3)
    with pytest.raises(KeyboardInterrupt):
        train(base, folders(tmp_path), rewarder=stopped, method="grpo", **HOW)
    for how, said_of_it in (
        ({"reference": "every:2"}, "no reference that moves"),
        ({"adapt": (1.0, 9.0)}, "no adapted"),
    ):
        with pytest.raises(ModelError, match=said_of_it):
            train(base, folders(tmp_path), method="grpo", **how, **HOW)


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"reference": "moving"}, "reference is 'moving'; write fixed, every:N"),
        ({"reference": "every:0"}, "reference is 'every:0'"),
        ({"reference": "every:two"}, "reference is 'every:two'"),
        ({"reference": "ema:1.5"}, "reference is 'ema:1.5'"),
        ({"reference": "ema:nan"}, "reference is 'ema:nan'"),
        ({"reference": "every:2", "lora_rank": 4}, "set reference=fixed or lora_rank=0"),
        ({"reference": "every:2", "beta": 0.0}, "reference is set and beta is 0"),
        ({"adapt": (6.0,)}, "adapt is 6; give two positive numbers"),
        ({"adapt": (6.0, -1.0)}, "adapt is 6,-1"),
        ({"adapt": (6.0, 10.0), "beta": 0.0}, "adapt is set and beta is 0"),
    ],
)
def test_refusals(base, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, **how)
