"""Online merging around whole trainings, on fixed rows and on fresh answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.models import load_causal
from burnish.runs.compute import Compute, computing
from burnish.train import train_rows
from burnish.train.on_policy import train_fresh
from burnish.train.session import Session
from tests.train.material import LOOP, check_killed, folders, make_model, near, preferences, tree
from tests.train.on_policy.material import FAST, Recorder, lines_of, prompts


@pytest.fixture(scope="module")
def origin(base, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return near(base, tmp_path_factory.mktemp("origin") / "model")


def fixed(base: Any, work: Any = None, **how: Any) -> Any:
    return train_rows(base, preferences(), method="dpo", work=work, **{**LOOP, **how})


def fresh(base: Any, work: Any = None, rewarder: Any = None, **how: Any) -> Any:
    given = {"method": "online-dpo", "updates": 2, **FAST, **how}
    return train_fresh(base, prompts(), rewarder=rewarder or Recorder(), work=work, **given)


def weights(outcome: Any) -> dict[str, torch.Tensor]:
    return dict(load_causal(outcome.weights).named_parameters())


@pytest.mark.parametrize("train", [fixed, fresh])
@pytest.mark.parametrize("words", ["dare,keep=1,alpha=0", "ties,keep=1,alpha=0,every=3"])
def test_all_kept_and_no_pull_is_adamw_bit_for_bit(base, origin, tmp_path, train, words):
    plain, merged = folders(tmp_path / "plain"), folders(tmp_path / "merged")
    train(base, plain)
    train(base, merged, merging=words, merge_base=origin)
    assert tree(plain.folder) == tree(merged.folder)
    other = folders(tmp_path / "other")
    train(base, other, merging="dare,keep=0.5", merge_base=origin)
    assert tree(other.folder)["model.safetensors"] != tree(plain.folder)["model.safetensors"]


@pytest.mark.parametrize("every", [1, 2])
def test_zero_gradients_move_by_exactly_t_alpha_tau(base, origin, tmp_path, monkeypatch, every):
    """Weights that fit float32 and a power of two, in float64: no sum is rounded."""
    real = Session._gradient

    def nothing(session: Any, batch: Any) -> Any:
        found = real(session, batch)
        for master in session.optimiser.masters:
            master.grad.zero_()
        return {**found, "grad_norm": 0.0}

    monkeypatch.setattr(Session, "_gradient", nothing)
    alpha, work = 2.0**-6, folders(tmp_path)
    merging = f"dare,keep=1,alpha={alpha},every={every}"
    with computing(Compute(dtype="float64")):
        done = fixed(base, work, merging=merging, merge_base=origin, weight_decay=0.0)
    merges = done.metrics["steps"] // every
    start, before, after = (
        dict(load_causal(w, dtype="float64").named_parameters()) for w in (base, origin, done.weights)
    )
    assert merges > 1
    for name, value in after.items():
        assert torch.equal(value, start[name] + merges * alpha * (start[name] - before[name])), name
        assert not torch.equal(value, start[name]), name


@pytest.mark.parametrize("train", [fixed, fresh])
@pytest.mark.parametrize("words", ["dare,keep=0.3,alpha=1e-3", "ties,keep=0.3,alpha=1e-3,every=3,remask=false"])
def test_killed_is_bitwise_equal(base, origin, tmp_path, monkeypatch, train, words):
    run = partial(train, base, merging=words, merge_base=origin)
    resumed, work = check_killed(run, tmp_path, (2, 4), monkeypatch)
    assert len(lines_of(work)) == resumed.metrics["steps"]


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"merging": "dare"}, "merging needs the model that the starting weights were tuned from: --merge-base"),
        ({"merge_base": "x"}, "--merge-base is for online merging: --set merging=dare"),
        ({"merging": "slerp", "merge_base": "x"}, "merging is 'slerp': method is 'slerp'; choose one of dare, ties"),
        ({"merging": "dare,kepp=1", "merge_base": "x"}, "there is no 'kepp'; did you mean 'keep'"),
        ({"merging": "dare,keep=much", "merge_base": "x"}, "keep cannot be 'much'"),
        ({"merging": "dare,keep=0", "merge_base": "x"}, "keep is 0.0"),
        ({"merging": "dare,remask=maybe", "merge_base": "x"}, "remask cannot be 'maybe'"),
        ({"merging": "ties", "merge_base": "x", "lora_rank": 4}, "merging moves all weights, and lora_rank is 4"),
    ],
)
@pytest.mark.parametrize("train", [fixed, fresh])
def test_refusals(base, train, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, **how)


def test_a_base_of_another_shape_and_the_start_itself_are_refused(base, tmp_path):
    for train in (fixed, fresh):
        with pytest.raises(ModelError, match="is the model that training starts from; give the one that it was tuned"):
            train(base, merging="dare", merge_base=base)
    other = make_model(tmp_path / "other", template=None)  # its table has no chat tokens
    with pytest.raises(ModelError, match=r"needs model.embed_tokens.weight of shape \[259, 32\] .* has \[257, 32\]"):
        fixed(base, merging="dare", merge_base=other)
    with pytest.raises(ModelError, match=r"needs score.weight"):
        train_rows(
            base, preferences(), method="reward", **LOOP, merging="dare", merge_base=make_model(tmp_path / "b", seed=2)
        )
