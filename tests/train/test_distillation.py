"""Distillation on fixed rows: against full logits in float64, under every split, and towards the teacher."""

from __future__ import annotations

import json

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import ModelError, SettingsError
from burnish.models import load_causal, weights_of
from burnish.train import train_rows
from burnish.train.batch import packs
from burnish.train.objectives import Distillation
from tests.train.material import demonstrations, folders, make_model
from tests.train.test_whole_step import agree, eager, gradients, mine, whole


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory):
    return make_model(tmp_path_factory.mktemp("teacher") / "model", seed=5)


def flat(base, teacher, rows, top_k: int = 0):
    """Row by row: full logits of both models, probabilities, cross-entropy over all tokens or k and the rest."""
    student, frozen, chat = eager(base), eager(teacher), load_chat(base.path)
    total, count = 0.0, 0
    for row in rows:
        encoded = chat.encode(row.context, row.response)
        ids, trained = torch.tensor([encoded.ids]), torch.tensor(encoded.trained[1:])
        q = student(input_ids=ids).logits[0, :-1][trained].softmax(-1)
        with torch.no_grad():
            p = frozen(input_ids=ids).logits[0, :-1][trained].softmax(-1)
        if top_k:
            best = p.topk(top_k).indices
            p = torch.cat([p.gather(1, best), 1 - p.gather(1, best).sum(1, keepdim=True)], 1)
            q = torch.cat([q.gather(1, best), 1 - q.gather(1, best).sum(1, keepdim=True)], 1)
        total = total - (p * q.log()).sum()
        count += int(trained.sum())
    loss = total / count
    loss.backward()
    return loss.item(), gradients(student)


@pytest.mark.parametrize("top_k", [0, 5])
def test_it_agrees_with_full_logits(base, teacher, top_k: int) -> None:
    rows = demonstrations()
    product = mine(base, Distillation(teacher=teacher, top_k=top_k), rows, split=whole)
    agree(product, flat(base, teacher, rows, top_k))


def test_every_split_gives_the_same_gradient(base, teacher) -> None:
    rows = demonstrations()
    one = mine(base, Distillation(teacher=teacher), rows, split=lambda e: list(packs(e, budget=120)))
    agree(one, mine(base, Distillation(teacher=teacher), rows, split=whole))


def test_the_student_comes_to_agree_with_the_teacher(base, teacher, tmp_path) -> None:
    settings = {"method": "distill", "teacher": teacher, "lr": 1e-2, "epochs": 8, "batch_rows": 4}
    work = folders(tmp_path)
    train_rows(base, demonstrations(), work=work, **settings)
    kl = [json.loads(line)["kl"] for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
    assert kl[-1] < 0.3 * kl[0]
    own = train_rows(base, demonstrations(), **{**settings, "teacher": base, "lr": 1e-9, "epochs": 1})
    assert own.metrics["kl"] == pytest.approx(0, abs=1e-5) and own.metrics["agreement"] == 1


def test_refusals(base, teacher, tmp_path) -> None:
    with pytest.raises(SettingsError, match="distill needs teacher"):
        train_rows(base, demonstrations(), method="distill")
    with pytest.raises(SettingsError, match="sft takes no teacher"):
        train_rows(base, demonstrations(), method="sft", teacher=teacher)
    with pytest.raises(SettingsError, match="top_k is -1"):
        train_rows(base, demonstrations(), method="distill", teacher=teacher, top_k=-1)
    other = load_causal(teacher)
    other.resize_token_embeddings(300)
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ModelError, match="vocabulary of 300"):
        train_rows(base, demonstrations(), method="distill", teacher=weights_of(tmp_path / "other"))
