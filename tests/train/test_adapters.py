"""LoRA: it starts as the base, trains adapters alone, merges exactly, and leaves an adapter that peft reads."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from burnish.errors import SettingsError
from burnish.models import load_causal, load_reward
from burnish.train import fit, open_session, train_reward, train_sft
from burnish.train.objectives import Imitation
from burnish.train.optim.adapters import add_lora, merge_lora
from burnish.train.session import Loop
from tests.train.material import LOOP, demonstrations, folders, preferences

pytest.importorskip("peft", reason="pip install 'burnish[lora]' for LoRA")
IDS = torch.tensor([[1, 5, 9, 33, 2, 70]])
LORA = {**LOOP, "lora_rank": 4, "lr": 1e-2, "epochs": 6}


def test_it_starts_as_the_base_and_only_adapters_are_trained(base) -> None:
    plain, adapted = load_causal(base, dtype="float64"), load_causal(base, dtype="float64")
    names = add_lora(adapted, rank=4, alpha=None, seed=0)
    assert len(names) == 2 * 7 and not any("lm_head" in name for name in names)
    assert torch.equal(plain(IDS).logits, adapted(IDS).logits)
    trained = [name for name, p in adapted.named_parameters() if p.requires_grad]
    assert len(trained) == 2 * len(names) and all(".lora_" in name for name in trained)


def test_the_first_adapter_depends_on_the_seed_and_not_on_the_global_generator(base) -> None:
    def first(seed: int, disturb: int) -> torch.Tensor:
        torch.manual_seed(disturb)
        model = load_causal(base)
        add_lora(model, rank=2, alpha=None, seed=seed)
        return next(p for n, p in model.named_parameters() if "lora_A" in n).detach()

    assert torch.equal(first(0, 1), first(0, 2)) and not torch.equal(first(0, 1), first(1, 1))


def test_merged_weights_are_the_adapted_model(base) -> None:
    model = load_causal(base, dtype="float64")
    add_lora(model, rank=3, alpha=12.0, seed=1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_()
    before = model(IDS).logits
    assert (before - load_causal(base, dtype="float64")(IDS).logits).abs().max() > 0.1
    merge_lora(model)
    assert not [name for name, _ in model.named_parameters() if "lora" in name]
    assert torch.allclose(model(IDS).logits, before, rtol=1e-10, atol=1e-12)


def test_training_leaves_merged_weights_and_an_adapter_that_peft_reads(base, tmp_path: Path) -> None:
    from peft import PeftModel

    work = folders(tmp_path)
    outcome = train_sft(base, demonstrations(), work=work, **LORA)
    assert outcome.metrics["loss"] < outcome.metrics["first_loss"]
    merged = load_causal(outcome.weights)(IDS).logits
    assert (merged - load_causal(base)(IDS).logits).abs().max() > 1e-3
    adapted = PeftModel.from_pretrained(load_causal(base), work.folder / "adapter")
    assert torch.allclose(adapted(IDS).logits, merged, rtol=1e-4, atol=1e-4)
    embedding = load_causal(outcome.weights).get_input_embeddings().weight
    assert torch.equal(embedding, load_causal(base).get_input_embeddings().weight)


def test_a_reward_head_is_trained_whole(base, tmp_path: Path) -> None:
    from peft import PeftModel

    from burnish.models import new_reward

    work = folders(tmp_path)
    outcome = train_reward(base, preferences(), work=work, **LORA)
    bare = new_reward(base, seed=99)
    bare.config.pad_token_id = load_reward(outcome.weights).config.pad_token_id
    adapted = PeftModel.from_pretrained(bare, work.folder / "adapter")
    assert torch.allclose(adapted(IDS).logits, load_reward(outcome.weights)(IDS).logits, rtol=1e-4, atol=1e-4)
    assert outcome.weights.kind == "reward" and outcome.metrics["loss"] < outcome.metrics["first_loss"]
    assert load_reward(outcome.weights).score.weight.abs().sum() > 0


def test_a_stopped_training_goes_on_bitwise(base, tmp_path: Path) -> None:
    class Stops(Exception):
        pass

    def stop(told: dict) -> None:
        if told["step"] == 7:
            raise Stops

    loop = Loop.of({**LORA, "checkpoint_steps": 3})
    whole, broken = folders(tmp_path / "whole"), folders(tmp_path / "broken")
    fit(base, demonstrations(), method=Imitation(), loop=loop, work=whole)
    with pytest.raises(Stops):
        fit(base, demonstrations(), method=Imitation(), loop=loop, work=broken, track=stop)
    told: list[int] = []
    fit(base, demonstrations(), method=Imitation(), loop=loop, work=broken, track=lambda t: told.append(t["step"]))
    assert told[0] == 7
    for name in (
        "model.safetensors",
        "metrics.jsonl",
        "adapter/adapter_model.safetensors",
        "adapter/adapter_config.json",
    ):
        assert (whole.folder / name).read_bytes() == (broken.folder / name).read_bytes(), name


def test_checkpoints_hold_the_adapters_only(base, tmp_path: Path) -> None:
    work = folders(tmp_path)
    session = open_session(base, demonstrations(), method=Imitation(), loop=Loop.of(LORA), work=work)
    names = {name for name in session.optimiser.state() if name.startswith("weight/")}
    assert names and all(".lora_" in name for name in names)


def test_refusals(base, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match="at least 1"):
        add_lora(load_causal(base), rank=-1, alpha=None, seed=0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(SettingsError, match=r"burnish\[lora\]"):
        train_sft(base, demonstrations(), **LORA)


def test_an_adapter_is_no_model_and_says_of_which_base_it_is(base, tmp_path: Path) -> None:
    """As --model: our own beside its merged weights, peft's with the name of its base, and one that names none."""
    import json

    from burnish.cli.workers import policy_weights
    from burnish.errors import ModelError

    work = folders(tmp_path)
    train_sft(base, demonstrations(), work=work, **LORA)
    ours = work.folder / "adapter"
    with pytest.raises(ModelError, match=f"{ours} holds an adapter of {base.id} .*merged weights are in {work.folder}"):
        policy_weights(str(ours))
    assert policy_weights(str(work.folder)).kind == "causal"
    for number, (told, named) in enumerate(
        (({"base_model_name_or_path": "lab/other-7b"}, "lab/other-7b"), ({}, "a base it does not name"))
    ):
        alone = tmp_path / f"alone-{number}" / "adapter"
        alone.mkdir(parents=True)
        (alone / "adapter_config.json").write_text(json.dumps(told))
        with pytest.raises(ModelError, match=f"{alone} holds an adapter of {named} .*merge it into that base first"):
            load_causal(alone)


def test_a_checkpoint_of_another_base_is_not_gone_on_with(base, tmp_path: Path) -> None:
    """One of equal shapes by its content id, and one of adapters on the same base by the names of its tensors."""
    from burnish.errors import ModelError
    from tests.train.material import make_model

    other = make_model(tmp_path / "other", seed=5)

    def stop(told: dict) -> None:
        raise KeyboardInterrupt

    work, loop = folders(tmp_path / "work"), Loop.of(LORA)
    with pytest.raises(KeyboardInterrupt):
        fit(base, demonstrations(), method=Imitation(), loop=loop, work=work, track=stop)
    with pytest.raises(ModelError) as refused:
        fit(other, demonstrations(), method=Imitation(), loop=loop, work=work)
    for word in (str(work.scratch), base.id, other.path, other.id, "give the old base, or remove"):
        assert word in str(refused.value)
    with pytest.raises(ModelError, match="the training checkpoint belongs to another model; remove the step's folder"):
        fit(base, demonstrations(), method=Imitation(), loop=Loop.of({**LORA, "lora_rank": 0}), work=work)
