"""Reward scores: isolated in a pack as on their own, and the same through plain transformers after a save."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from burnish.errors import ModelError
from burnish.models import (
    Row,
    build_pack,
    load_causal,
    load_reward,
    new_reward,
    prepare,
    response_scores,
    save_model,
    tiny_model,
    tiny_model_folder,
    token_logprobs,
)
from tests.models.flat import draw_rows, eager, flat_scores, gap

ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2")
BEGIN, END, PAD, NEWLINE = 256, 257, 258, 10


def nway_rows() -> list[Row]:
    """Two and three responses, each ended as a template ends them: the end token, then a newline."""
    rows = draw_rows(256, [(6, (5, 9)), (8, (4, 4, 7)), (3, (1, 6, 2)), (6, (5, 5))])
    return [Row((BEGIN, *r.prompt), tuple((*ids, END, NEWLINE) for ids in r.responses)) for r in rows]


@pytest.fixture
def base(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """A base whose padding token is its end token, as many are."""
    small = {"sliding_window": 6} if request.param == "gemma2" else {}
    tiny_model_folder(tmp_path / "base", request.param, scale=3.0, pad_token_id=END, **small)
    return tmp_path / "base"


@pytest.mark.parametrize("base", ARCHITECTURES, indirect=True)
def test_isolated_scores_equal_separate_rows(base: Path) -> None:
    model, rows = new_reward(base, seed=3, dtype="float64"), nway_rows()
    twin = eager(model)
    twin.config.pad_token_id = PAD
    assert prepare(model) is None
    with torch.no_grad():
        wanted = flat_scores(twin, rows)
        assert gap(response_scores(model, build_pack(rows)), wanted) < 1e-6
        assert gap(response_scores(model, build_pack(rows, share_prefix=False)), wanted) < 1e-6
        plain = response_scores(model, build_pack(rows, causal=True))
    assert (plain - wanted).abs().max() > 1e-3  # a plain causal row lets later responses see earlier ones
    firsts = torch.tensor([0, 2, 5, 8])
    assert gap(plain[firsts], wanted[firsts]) < 1e-6


@pytest.mark.parametrize("base", ["qwen2", "gemma2"], indirect=True)
def test_isolated_scores_are_permutation_invariant(base: Path) -> None:
    model, moved = new_reward(base, seed=3, dtype="float32"), 0.0
    prepare(model)
    with torch.no_grad():
        for row in nway_rows():
            orders = list(itertools.permutations(range(len(row.responses))))
            rows = [Row(row.prompt, tuple(row.responses[i] for i in order)) for order in orders]
            scores = response_scores(model, build_pack(rows)).view(len(orders), -1)
            causal = response_scores(model, build_pack(rows, causal=True)).view(len(orders), -1)
            for order, mine, others in zip(orders, scores, causal, strict=True):
                assert torch.allclose(mine, scores[0][list(order)], atol=1e-4)
                moved = max(moved, float((others - causal[0][list(order)]).abs().max()))
    assert moved > 1e-3  # the test can fail: without isolation the order shows


@pytest.mark.parametrize("base", ARCHITECTURES, indirect=True)
def test_round_trip_through_plain_transformers(base: Path, tmp_path: Path) -> None:
    model, rows = new_reward(base, seed=1), nway_rows()
    prepare(model)
    saved = save_model(model, tmp_path / "reward", tokenizer_from=base, pad_id=PAD)
    assert saved.kind == "reward"
    with torch.no_grad():
        ours = response_scores(load_reward(saved), build_pack(rows))
        assert torch.equal(ours, response_scores(model, build_pack(rows)))
        whole = [[*row.prompt, *response] for row in rows for response in row.responses]
        longest = max(map(len, whole))
        ids = torch.tensor([one + [PAD] * (longest - len(one)) for one in whole])
        mask = torch.tensor([[1] * len(one) + [0] * (longest - len(one)) for one in whole])
        plain = AutoModelForSequenceClassification.from_pretrained(saved.path).eval()
        theirs = plain(ids, attention_mask=mask).logits[:, 0]
        assert gap(ours, theirs) < 1e-5
        # With a padding id that texts do hold (here their last token), the class reads another place.
        plain.config.pad_token_id = NEWLINE
        elsewhere = plain(torch.where(ids == PAD, NEWLINE, ids), attention_mask=mask).logits[:, 0]
        assert (elsewhere - theirs).abs().max() > 1e-3


@pytest.mark.parametrize("base", ["llama"], indirect=True)
def test_new_reward(base: Path, tmp_path: Path) -> None:
    causal, one, same, other = load_causal(base), *(new_reward(base, seed=s) for s in (5, 5, 6))
    assert torch.equal(one.score.weight, same.score.weight)
    assert not torch.equal(one.score.weight, other.score.weight)
    assert 0.3 < float(one.score.weight.detach().std() * (32 + 1) ** 0.5) < 1.7
    for name, weight in causal.model.state_dict().items():
        assert torch.equal(weight, one.model.state_dict()[name])
    assert response_scores(new_reward(base, heads=3), build_pack(nway_rows())).shape == (10, 3)
    with pytest.raises(ModelError, match="no reward head"):
        response_scores(causal, build_pack(nway_rows()))
    with pytest.raises(ModelError, match="no reward model"):
        load_reward(base)
    with pytest.raises(ModelError, match="lacks the weights"):
        load_causal(save_model(one, tmp_path / "r", pad_id=PAD))
    one.config.pad_token_id = None
    with pytest.raises(ModelError, match="padding id"):
        save_model(one, tmp_path / "none")


@pytest.mark.parametrize("base", ["qwen3"], indirect=True)
def test_score_gradients(base: Path) -> None:
    model, rows = new_reward(base, dtype="float64"), nway_rows()
    twin = eager(model)
    prepare(model)
    model.train()
    weights = torch.arange(10.0, dtype=torch.float64) - 4
    (flat_scores(twin, rows) * weights).sum().backward()
    for share in (True, False):
        model.zero_grad(set_to_none=True)
        (response_scores(model, build_pack(rows, share_prefix=share)) * weights).sum().backward()
        for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert gap(mine.grad, theirs.grad) < 1e-6, name


def test_end_token_is_trained_where_it_pads(tmp_path: Path) -> None:
    """torch gives the padding row of an embedding no gradient; here pad = eos and eos must still learn."""
    model = load_causal(tiny_model_folder(tmp_path, pad_token_id=END))
    token_logprobs(model, build_pack([Row((BEGIN, 5, END, 7), ((8, 9),))])).sum().backward()
    assert float(model.get_input_embeddings().weight.grad[END].abs().sum()) > 0
    assert tiny_model().get_input_embeddings().padding_idx is None
