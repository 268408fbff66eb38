"""Averages of weights: identity, order, arithmetic, and refusals that name the tensor and the folders."""

from __future__ import annotations

import json
import shutil
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer

from burnish.errors import ModelError, SettingsError
from burnish.merge import average, combine, greedy_soup
from burnish.models import load_causal, new_reward, save_model, stream_tensors, tiny_model_folder, weights_of
from burnish.records import Weights

torch.set_num_threads(1)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> list[Weights]:
    folder = tmp_path_factory.mktemp("members")
    return [tiny_model_folder(folder / str(seed), seed=seed, width=16) for seed in range(3)]


def tensors(weights: Weights) -> dict[str, torch.Tensor]:
    return dict(stream_tensors(weights.path))


def copy_of(weights: Weights, folder: Path) -> Path:
    shutil.copytree(weights.path, folder)
    return folder


@pytest.mark.parametrize("copies", [1, 2, 3, 7])
def test_the_average_of_copies_is_the_copy(members: list[Weights], tmp_path: Path, copies: int) -> None:
    """Bitwise, also for shares such as 1/3 and for copies that lie in other folders."""
    folders = [weights_of(copy_of(members[0], tmp_path / str(i))) for i in range(copies)]
    made = average(folders, folder=tmp_path / "made").weights
    assert all(torch.equal(value, tensors(made)[name]) for name, value in tensors(members[0]).items())
    assert made.id == members[0].id


def test_the_average_is_the_sum_of_shares(members: list[Weights], tmp_path: Path) -> None:
    shares = [0.5, 0.2, 0.3]
    made = tensors(average(members, coefficients=shares, folder=tmp_path / "made").weights)
    parts = [tensors(member) for member in members]
    assert set(made) == set(parts[0])
    for name, value in made.items():
        expected = sum(share * part[name].double() for share, part in zip(shares, parts, strict=True))
        assert value.dtype == torch.float32 and (value.double() - expected).abs().max() < 1e-6
        assert not torch.equal(value, parts[0][name]) or torch.equal(parts[0][name], parts[1][name])


def test_the_order_of_members_does_not_matter(members: list[Weights], tmp_path: Path) -> None:
    shares = dict(zip([m.id for m in members], [0.5, 0.2, 0.3], strict=True))
    made = {
        average(list(order), coefficients=[shares[m.id] for m in order], folder=tmp_path / str(i)).weights.id
        for i, order in enumerate(permutations(members))
    }
    assert len(made) == 1


def test_hand_arithmetic_and_the_dtype_of_the_members() -> None:
    one, two = torch.tensor([1.0, 2.0, -4.0]), torch.tensor([3.0, 2.0, 0.0])
    assert combine([one, two], [0.25, 0.75]).tolist() == [2.5, 2.0, -1.0]
    half = combine([one.bfloat16(), two.bfloat16()], [0.5, 0.5])
    assert half.dtype == torch.bfloat16 and half.tolist() == [2.0, 2.0, -2.0]
    # 1 + 2^-8 is no bfloat16: a sum in bfloat16 would lose every addend, one in float32 keeps them until the cast.
    small = [torch.tensor([1.0]).bfloat16(), *[torch.tensor([1 + 2**-7]).bfloat16()] * 3]
    assert combine(small, [0.25] * 4).item() == 1 + 2**-7
    assert combine([one.double(), two.double()], [0.1, 0.9]).dtype == torch.float64
    whole = torch.tensor([1, 2])
    assert torch.equal(combine([whole, whole], [0.5, 0.5]), whole)
    with pytest.raises(ValueError, match="differ"):
        combine([whole, whole + 1], [0.5, 0.5])


def test_the_result_is_a_complete_folder(members: list[Weights], tmp_path: Path) -> None:
    outcome = average(members, folder=tmp_path / "made")
    model = AutoModelForCausalLM.from_pretrained(outcome.weights.path)
    assert AutoTokenizer.from_pretrained(outcome.weights.path)("a").input_ids == [256, 97]
    assert model.get_parameter("model.norm.weight").shape == (16,) and outcome.weights.kind == "causal"
    assert outcome.weights == weights_of(tmp_path / "made") and load_causal(outcome.weights)
    assert sorted(outcome.metrics["members"]) == sorted(m.id for m in members)


def test_reward_models_are_averaged_with_their_heads(members: list[Weights], tmp_path: Path) -> None:
    rewards = [
        save_model(new_reward(member, seed=i), tmp_path / str(i), tokenizer_from=member, pad_id=258)
        for i, member in enumerate(members[:2])
    ]
    made = average(rewards, folder=tmp_path / "made").weights
    assert made.kind == "reward"
    heads = [tensors(reward)["score.weight"] for reward in rewards]
    assert torch.allclose(tensors(made)["score.weight"], (heads[0] + heads[1]) / 2, atol=1e-7)
    assert AutoModelForSequenceClassification.from_pretrained(made.path).num_labels == 1


def changed(weights: Weights, folder: Path, change: Any) -> Weights:
    """A copy whose tensors went through `change`."""
    copy_of(weights, folder)
    held = load_file(folder / "model.safetensors")
    change(held)
    save_file(held, folder / "model.safetensors", metadata={"format": "pt"})
    return weights_of(folder)


def rewrite(path: Path, **fields: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_members_that_do_not_match_are_named(members: list[Weights], tmp_path: Path) -> None:
    name = "model.norm.weight"

    def refused(other: Weights | Path, *words: str) -> None:
        other = other if isinstance(other, Weights) else weights_of(other)
        for pair in ([members[0], other], [other, members[0]]):
            with pytest.raises(ModelError) as error:
                average(pair, folder=tmp_path / "made")
            for word in (*words, members[0].path, other.path):
                assert word in str(error.value)
            assert not list((tmp_path / "made").glob("*.safetensors*"))

    refused(changed(members[1], tmp_path / "a", lambda held: held.pop(name)), name, "lacks the tensor")
    refused(changed(members[1], tmp_path / "b", lambda held: held.update(extra=torch.ones(1))), "extra")
    refused(changed(members[1], tmp_path / "c", lambda h: h.update({name: h[name][:8].clone()})), name, "shape", "(8,)")
    refused(changed(members[1], tmp_path / "d", lambda h: h.update({name: h[name].half()})), name, "dtype", "float16")
    rewrite(copy_of(members[1], tmp_path / "e") / "config.json", rms_norm_eps=0.5)
    refused(tmp_path / "e", "rms_norm_eps", "0.5")
    rewrite(copy_of(members[1], tmp_path / "f") / "tokenizer_config.json", eos_token="<|pad|>")
    refused(tmp_path / "f", "tokenizer_config.json")
    (copy_of(members[1], tmp_path / "g") / "chat_template.jinja").write_text("{{ messages }}")
    refused(tmp_path / "g", "chat_template.jinja")


def test_coefficients_must_fit(members: list[Weights], tmp_path: Path) -> None:
    for shares, words in (([0.5, 0.6], "sum to 1.1"), ([1.0], "2 members"), ([float("nan"), 1.0], "sum")):
        with pytest.raises(SettingsError, match=words):
            average(members[:2], coefficients=shares, folder=tmp_path / "made")
    with pytest.raises(SettingsError, match="at least one"):
        average([], folder=tmp_path / "made")


def test_shards_are_streamed(members: list[Weights], tmp_path: Path) -> None:
    """A member in several files averages as the same member in one."""
    shards = copy_of(members[1], tmp_path / "shards")
    (shards / "model.safetensors").unlink()
    load_causal(members[1]).save_pretrained(shards, max_shard_size="10KB")
    assert len(list(shards.glob("*.safetensors"))) > 3
    for file in ("config.json", "generation_config.json"):
        shutil.copyfile(Path(members[1].path) / file, shards / file)
    one = average([members[0], members[1]], folder=tmp_path / "one").weights
    many = average([members[0], weights_of(shards)], folder=tmp_path / "many").weights
    assert one.id == many.id


def test_a_greedy_soup_never_falls_below_its_best_member(members: list[Weights], tmp_path: Path) -> None:
    """The score is the distance to a target: members 0 and 1 lie on both sides of it, member 2 far off."""
    zero, one = tensors(members[0]), tensors(members[1])

    def distance(weights: Weights) -> float:
        found = tensors(weights)
        return -sum(float((found[n] - 0.6 * zero[n] - 0.4 * one[n]).square().sum()) for n in zero)

    outcome = greedy_soup(members[::-1], score=distance, folder=tmp_path / "soup")
    assert sorted(outcome.metrics["members"]) == sorted([members[0].id, members[1].id])
    assert outcome.metrics["score"] == distance(outcome.weights) > max(map(distance, members))
    assert [step["joined"] for step in outcome.metrics["trail"]] == [True, False]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["soup"]
    alone = greedy_soup(members, score=lambda w: float(w.id == members[2].id), folder=tmp_path / "alone")
    assert alone.weights.id == members[2].id
