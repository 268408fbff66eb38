"""Folders: what is written is what is read, ids follow content, and every bad folder gets a clear sentence."""

from __future__ import annotations

import json
import os
import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from burnish.errors import ModelError
from burnish.models import (
    TensorWriter,
    copy_tokenizer,
    device_named,
    load_causal,
    locate,
    prepare,
    read_tensor,
    resize_vocabulary,
    save_model,
    stop_ids,
    stream_tensors,
    tensor_files,
    tiny_model,
    tiny_model_folder,
    weights_of,
)

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_save_and_load(architecture: str, tmp_path: Path) -> None:
    weights = tiny_model_folder(tmp_path / "a", architecture, seed=2)
    model = load_causal(weights)
    assert prepare(model) is None
    again = save_model(model, tmp_path / "b", tokenizer_from=weights)
    assert again.id == weights.id and again.kind == "causal"
    assert again.id == save_model(load_causal(again), tmp_path / "c", tokenizer_from=again).id
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "b")
    for name, tensor in model.state_dict().items():
        assert torch.equal(tensor, plain.state_dict()[name])
    assert plain.config._attn_implementation != "burnish_packed"
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "b")
    text = "Wie geht's?\n naïve <|end|>"
    assert tokenizer.decode(tokenizer.encode(text)[1:]) == text
    assert tokenizer.encode(text)[0] == tokenizer.bos_token_id == 256
    assert stop_ids(tmp_path / "b") == (257,)
    assert len(tokenizer) == plain.config.vocab_size == 259


def test_ids_follow_content(tmp_path: Path) -> None:
    one = tiny_model_folder(tmp_path / "one", seed=0)
    assert tiny_model_folder(tmp_path / "same", seed=0).id == one.id
    ids = {one.id, tiny_model_folder(tmp_path / "two", seed=1).id}
    half = save_model(load_causal(one, dtype="bfloat16"), tmp_path / "half")
    ids.add(half.id)
    ids.add(save_model(load_causal(half, dtype="float32"), tmp_path / "wide").id)
    model = load_causal(one)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 4] += 1e-7
    ids.add(save_model(model, tmp_path / "nudged").id)
    assert len(ids) == 5
    moved = shutil.copytree(one.path, tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    (moved / "config.json").write_text(json.dumps(config | {"_name_or_path": "/else", "transformers_version": "9"}))
    assert weights_of(moved).id == one.id
    (moved / "config.json").write_text(json.dumps(config | {"rms_norm_eps": 0.5}))
    assert weights_of(moved).id != one.id


def test_sharding_does_not_change_the_id(tmp_path: Path) -> None:
    one = tiny_model_folder(tmp_path / "one")
    (tmp_path / "cut").mkdir()
    shutil.copy(tmp_path / "one/config.json", tmp_path / "cut/config.json")
    copy_tokenizer(tmp_path / "one", tmp_path / "cut")
    with TensorWriter(tmp_path / "cut", shard_bytes=20_000) as writer:
        for name, tensor in stream_tensors(one.path):
            writer.add(name, tensor)
    files = set(tensor_files(tmp_path / "cut").values())
    assert len(files) > 3 and all(file.exists() for file in files)
    assert weights_of(tmp_path / "cut").id == one.id
    whole, cut = AutoModelForCausalLM.from_pretrained(one.path), load_causal(tmp_path / "cut")
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, cut.state_dict()[name])
        assert torch.equal(tensor, read_tensor(tmp_path / "cut", name))
    assert not list((tmp_path / "cut").glob("*.part"))


def test_writer(tmp_path: Path) -> None:
    with TensorWriter(tmp_path / "w") as writer:
        writer.add("b", torch.arange(6).view(2, 3).T)
        writer.add("a", torch.zeros(0, 4))
    assert [name for name, _ in stream_tensors(tmp_path / "w")] == ["a", "b"]
    assert torch.equal(read_tensor(tmp_path / "w", "b"), torch.arange(6).view(2, 3).T)
    with pytest.raises(ModelError, match="no tensor 'c'"):
        read_tensor(tmp_path / "w", "c")
    with pytest.raises(ModelError, match="twice"), TensorWriter(tmp_path / "x", shard_bytes=8) as writer:
        writer.add("a", torch.zeros(4))
        writer.add("b", torch.zeros(4))
        writer.add("a", torch.zeros(4))
    assert not list((tmp_path / "x").iterdir())


def test_bad_folders(tmp_path: Path) -> None:
    good = tiny_model_folder(tmp_path / "good").path

    def broken(name: str) -> Path:
        return Path(shutil.copytree(good, tmp_path / name))

    with pytest.raises(ModelError, match=r"no model folder .*nowhere"):
        load_causal(tmp_path / "nowhere")
    with pytest.raises(ModelError, match="is a file"):
        load_causal(Path(good) / "config.json")
    folder = broken("no_config")
    os.remove(folder / "config.json")
    with pytest.raises(ModelError, match=r"no config\.json"):
        load_causal(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(ModelError, match="not valid JSON"):
        load_causal(folder)
    (folder / "config.json").write_text('{"a": 1}')
    with pytest.raises(ModelError, match="model_type"):
        load_causal(folder)
    folder = broken("pickled")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    os.remove(folder / "model.safetensors")
    with pytest.raises(ModelError, match=r"pytorch_model\.bin but no safetensors"):
        load_causal(folder)
    folder = broken("cut")
    (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:5000])
    with pytest.raises(ModelError, match="cut"):
        load_causal(folder)
    folder = broken("code")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"model_type": "unheard_of"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_causal(folder)
    with pytest.raises(ModelError, match="there is no dtype 'float33'; choose auto, float64"):
        load_causal(good, dtype="float33")
    with pytest.raises(ModelError, match="device 'abacus' is not available"):
        device_named("abacus")
    assert locate(good) == Path(good)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_non_finite_weights_are_named(bad: float, tmp_path: Path) -> None:
    weights = tiny_model_folder(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    tensors["model.layers.1.self_attn.v_proj.weight"][2, 3] = bad
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"1 of 512 weights of model\.layers\.1\.self_attn\.v_proj\.weight"):
        load_causal(weights)
    model = tiny_model()
    with torch.no_grad():
        model.model.norm.weight[0] = bad
    with pytest.raises(ModelError, match=r"model\.norm\.weight"):
        save_model(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_missing_weights_are_refused(tmp_path: Path) -> None:
    weights = tiny_model_folder(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    del tensors["model.layers.0.mlp.up_proj.weight"]
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelError, match=r"lacks the weights model\.layers\.0\.mlp\.up_proj\.weight"):
        load_causal(weights)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="cannot be written"):
        save_model(tiny_model(), tmp_path / "file" / "deep")


@contextmanager
def small_disk(size: int) -> Iterator[None]:
    """No file may grow beyond `size` bytes: a write fails as it does on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_leaves_nothing(tmp_path: Path) -> None:
    model = tiny_model()
    with pytest.raises(ModelError, match="cannot be written"), small_disk(10_000):
        save_model(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    old = save_model(model, tmp_path / "old")
    with torch.no_grad():
        model.model.norm.weight += 1
    with pytest.raises(ModelError, match="cannot be written"), small_disk(10_000):
        save_model(model, tmp_path / "old")
    assert weights_of(tmp_path / "old").id == old.id
    assert not list((tmp_path / "old").glob(".*"))
    with pytest.raises(ModelError, match="cannot be written"), small_disk(10_000):
        with TensorWriter(tmp_path / "w", shard_bytes=2000) as writer:
            writer.add("a", torch.zeros(100))
            writer.add("b", torch.zeros(10_000))
            writer.add("c", torch.zeros(100))
    assert not list((tmp_path / "w").iterdir())


@pytest.mark.parametrize("architecture", ["llama", "gemma2", "phi"])
def test_resize_vocabulary(architecture: str, tmp_path: Path) -> None:
    if architecture == "phi":  # a head with a bias
        import transformers

        small = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
        model = transformers.PhiForCausalLM(transformers.PhiConfig(vocab_size=40, **small)).eval()
        torch.nn.init.normal_(model.lm_head.bias)
    else:
        model = tiny_model(architecture, vocabulary=40)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    assert tied == (architecture == "gemma2")
    both = ("get_input_embeddings", "get_output_embeddings")
    old = {name: getattr(model, name)().weight.detach().clone() for name in both}
    ids = torch.tensor([[1, 2, 3]])
    before, state = model(ids).logits.detach(), torch.get_rng_state()
    resize_vocabulary(model, 47)
    assert torch.equal(torch.get_rng_state(), state)
    for name, rows in old.items():
        weight = getattr(model, name)().weight
        assert weight.shape[0] == 47 and torch.equal(weight[:40], rows)
        assert torch.allclose(weight[40:], rows.mean(0).expand(7, -1), atol=1e-7)
    after = model(ids).logits
    assert torch.allclose(after[..., :40], before, atol=1e-6)
    if architecture == "phi":
        assert torch.allclose(model.lm_head.bias[40:], model.lm_head.bias[:40].mean().expand(7))
        assert torch.allclose(after[..., 40:], before.mean(-1, keepdim=True).expand(-1, -1, 7), atol=1e-5)
    assert (model.get_output_embeddings().weight is model.get_input_embeddings().weight) == tied
    assert model.config.vocab_size == 47
    saved = save_model(model, tmp_path / "grown")
    assert load_causal(saved).get_input_embeddings().weight.shape[0] == 47
    resize_vocabulary(model, 47)
    with pytest.raises(ModelError, match="cannot shrink"):
        resize_vocabulary(model, 46)


def test_tiny_models_differ_and_repeat() -> None:
    state = torch.get_rng_state()
    one, same, other = tiny_model(seed=1), tiny_model(seed=1), tiny_model(seed=2)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), same.parameters(), strict=True))
    assert not torch.equal(one.lm_head.weight, other.lm_head.weight)
    with pytest.raises(ModelError, match="no tiny 'gpt5'"):
        tiny_model("gpt5")
