"""TRL's trainers on the same rows and the same tiny model: the first loss and its gradient are the engine's."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from burnish.chat import load_chat
from burnish.models import load_causal, load_reward, new_reward, prepare, save_model
from burnish.train import METHODS, Example, encode_all
from tests.train.material import make_model, rated_preferences
from tests.train.test_whole_step import gradients, place_of

trl = pytest.importorskip("trl", reason="pip install 'burnish[bench]' for the comparison with TRL")

ROWS = [row for row in rated_preferences(8, ways=(2,)) if len(row.candidates[0].messages) == 1]
# method -> our settings; TRL's trainer; its settings
KINDS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    "dpo": ("dpo", {"nll_weight": 0.0, "mask_formatting": False, "beta": 0.3}, "DPO", {"beta": 0.3}),
    "ipo": ("ipo", {"beta": 0.3}, "DPO", {"beta": 0.3, "loss_type": ["ipo"]}),
    "reward with margin": ("reward", {"margin": True}, "Reward", {}),
}


@pytest.fixture(scope="module")
def models(base, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    place = tmp_path_factory.mktemp("models")
    head = new_reward(base, seed=1)
    pad = {"pad_id": load_chat(base.path).tokens.named("pad_token")}
    judge = save_model(head, place / "judge", tokenizer_from=Path(base.path), **pad)
    return {"causal": base, "reward": judge, "reference": make_model(place / "reference", seed=9)}


def ours(models: dict[str, Any], name: str, settings: dict[str, Any]) -> tuple[float, dict[str, Any], list[Example]]:
    known = METHODS[name]
    method = known.build(known.settings(**settings))
    start = models[method.kind]
    chat = load_chat(start.path)
    model = load_causal(start) if method.kind == "causal" else load_reward(start)
    if method.kind == "causal":
        method.reference = models["reference"]
    assert prepare(model) is None
    examples, _ = encode_all(method.encode, chat, ROWS, max_length=256, refuse_above=0.0)
    method.before(model, examples, place_of(start, chat, "float32"))
    loss, _ = method.part(model, examples, method.units(examples))
    loss.backward()
    return loss.item(), gradients(model), examples


def features(example: Example) -> dict[str, Any]:
    """A row as TRL's collator takes it: an answer ends with its last trained token, since TRL trains all of it."""
    prompt, found = list(example.row.prompt), {}
    cuts = np.cumsum([len(ids) for ids in example.row.responses])[:-1]
    for ids, trained, rank in zip(example.row.responses, np.split(example.trained, cuts), example.ranks, strict=True):
        found[("chosen", "rejected")[rank]] = (list(ids), list(ids[: int(trained.nonzero()[0][-1]) + 1]))
    if len(example.values) == 1:
        whole = {f"{role}_ids": prompt + ids for role, (ids, _) in found.items()}
        return {**whole, "margin": example.values[0]}
    return {"prompt_ids": prompt, **{f"{role}_ids": ids for role, (_, ids) in found.items()}}


def theirs(models: dict[str, Any], kind: str, more: dict[str, Any], rows: list[Example], place: Path) -> Any:
    from datasets import Dataset
    from transformers import AutoTokenizer

    start = models["reward" if kind == "Reward" else "causal"]
    model = load_reward(start) if kind == "Reward" else load_causal(start)
    user, good, bad = (
        {"role": role, "content": text} for role, text in (("user", "a"), ("assistant", "b"), ("assistant", "c"))
    )
    dummy = {"chosen": [[user, good]], "rejected": [[user, bad]]}
    how = {
        "output_dir": str(place),
        "gradient_checkpointing": False,
        "bf16": False,
        "use_cpu": True,
        "report_to": "none",
    }
    trainer = getattr(trl, f"{kind}Trainer")(
        model=model,
        args=getattr(trl, f"{kind}Config")(**how, **more, disable_tqdm=True),
        processing_class=AutoTokenizer.from_pretrained(start.path),
        train_dataset=Dataset.from_dict(dummy),
        **({} if kind == "Reward" else {"ref_model": load_causal(models["reference"])}),
    )
    trainer.model.train()
    loss = trainer.compute_loss(trainer.model, trainer.data_collator([features(row) for row in rows]))
    loss.backward()
    return loss.item(), gradients(trainer.model)


@pytest.mark.parametrize("name", KINDS)
def test_the_first_loss_and_gradient_are_trls(models, tmp_path, monkeypatch, name) -> None:
    monkeypatch.setitem(os.environ, "HF_HUB_OFFLINE", "1")
    method, settings, kind, more = KINDS[name]
    loss, gradient, examples = ours(models, method, settings)
    other, second = theirs(models, kind, more, examples, tmp_path)
    assert loss == pytest.approx(other, rel=1e-5)
    assert set(gradient) == set(second)
    for part, value in gradient.items():
        assert (value - second[part]).norm() <= 1e-4 * second[part].norm(), part
