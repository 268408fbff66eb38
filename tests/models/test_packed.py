"""Packed and prefix-shared log-probabilities equal the eager plain forward, and would not if any part were missing."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from burnish.errors import ModelError
from burnish.models import Row, build_pack, packed_tokens, prepare, tiny_model, token_logprobs
from burnish.models.attention import packed, plan
from burnish.models.pack import Pack
from tests.models.flat import draw_rows, eager, flat_logprobs, gap

VOCABULARY = 61
# Windows shorter than the rows; caps low enough to bite at these weights.
SETTINGS = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "gemma2": {"sliding_window": 6, "attn_logit_softcapping": 4.0, "final_logit_softcapping": 8.0},
}
SHAPES = [(9, (7, 12)), (5, (8,)), (9, (7, 12)), (1, (3, 3, 3)), (14, (0, 6)), (4, (9, 2, 5)), (7, (6,)), (21, (1, 1))]
# Sizes that make small rows take every form: stacked views, padded stacks, chunked long units, all branches at once.
LAYOUTS = {
    "views": {},
    "padded": {"BUCKET_CPU": (1.5, 8)},
    "long": {"STACK_LIMIT": 1, "QUERY_CHUNK": 4, "MASK_CELLS": 1},
    "branches": {"STACK_LIMIT": 12, "QUERY_CHUNK": 5},
    "wasteful": {"WASTE_LENGTH": 0, "WASTE": 1.2},
}
LIMIT = {"float64": 1e-6, "float32": 1e-4}


def sharp(architecture: str, dtype: str = "float64", **more: object) -> torch.nn.Module:
    """A tiny random model with weights scaled up."""
    return tiny_model(architecture, vocabulary=VOCABULARY, scale=4.0, dtype=dtype, **(SETTINGS[architecture] | more))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", LIMIT)
@pytest.mark.parametrize("architecture", SETTINGS)
def test_equals_eager(architecture: str, dtype: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAYOUTS[layout].items():
        monkeypatch.setattr(plan, name, value)
    model, rows = sharp(architecture, dtype), draw_rows(VOCABULARY, SHAPES)
    assert prepare(model) is None
    with torch.no_grad():
        wanted = flat_logprobs(eager(model), rows)
        for share in (True, False):
            pack = build_pack(rows, share_prefix=share)
            got = token_logprobs(model, pack)
            assert got.dtype == getattr(torch, dtype)
            assert gap(got, wanted) < LIMIT[dtype], (share, [type(b) for b in pack.plans])


@pytest.mark.parametrize("architecture", SETTINGS)
def test_causal_rows_equal_eager(architecture: str) -> None:
    model, rows = sharp(architecture), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    with torch.no_grad():
        wanted = flat_logprobs(eager(model), rows, causal=True)
        got = token_logprobs(model, build_pack(rows, causal=True))
        alone = token_logprobs(model, build_pack(rows))
    assert gap(got, wanted) < 1e-6
    assert (got - alone).abs().max() > 1e-3


def _moved(model: torch.nn.Module, rows: list[Row], wanted: torch.Tensor) -> float:
    with torch.no_grad():
        return float((token_logprobs(model, build_pack(rows)) - wanted).abs().max())


# Elsewhere the part does not exist: branches and long runs are kept apart by their keys, and long runs carry no labels.
CONTROLS = [
    *(("cap", "gemma2", layout) for layout in ("views", "branches", "long")),
    *(("window", name, layout) for name in ("qwen2", "qwen3", "gemma2") for layout in ("views", "branches", "long")),
    *(("wider window", name, layout) for name in ("qwen2", "gemma2") for layout in ("views", "branches", "long")),
    *(("boundary", name, "views") for name in SETTINGS),
    *(("prefix", name, layout) for name in SETTINGS for layout in ("views", "branches")),
    *(("position", name, "views") for name in SETTINGS),
]


@pytest.mark.parametrize(("broken", "architecture", "layout"), CONTROLS)
def test_negative_controls(broken: str, architecture: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the packed core, taken away, moves log-probabilities by more than 1e-3."""
    for name, value in LAYOUTS[layout].items():
        monkeypatch.setattr(plan, name, value)
    model, rows = sharp(architecture), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    with torch.no_grad():
        wanted = flat_logprobs(eager(model), rows)
    assert _moved(model, rows, wanted) < 1e-5
    whole, planned = plan._visible, plan.plan
    if broken == "cap":
        for layer in model.model.layers:
            layer.self_attn.attn_logit_softcapping = None
    elif broken == "window":
        monkeypatch.setattr(packed, "plan", lambda pack, window, *rest: planned(pack, None, *rest))
    elif broken == "wider window":  # by one position: the edge is exact
        monkeypatch.setattr(packed, "plan", lambda pack, w, *rest: planned(pack, w and w + 1, *rest))
    elif broken == "position":
        with torch.no_grad():
            pack = build_pack(rows)
            flat = dataclasses.replace(pack, positions=torch.arange(pack.tokens), plans={})
            assert float((token_logprobs(model, flat) - wanted).abs().max()) > 1e-3
        return
    elif broken == "boundary":

        def sees_all(queries, keys, window):
            return (keys[0][:, None, :] >= 0) & (queries[1][:, :, None] >= keys[1][:, None, :])

        monkeypatch.setattr(plan, "_visible", sees_all)
    else:

        def no_prefix(queries, keys, window):
            sees = whole(queries, keys, window)
            far = keys[1][:, None, :] < queries[1][:, :, None]
            return sees & ~((keys[0][:, None, :] == 0) & (queries[0][:, :, None] != 0) & far)

        monkeypatch.setattr(plan, "_visible", no_prefix)
    assert _moved(model, rows, wanted) > 1e-3


@pytest.mark.parametrize("layout", ["views", "padded", "branches", "long"])
@pytest.mark.parametrize("architecture", SETTINGS)
def test_gradients_equal(architecture: str, layout: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in LAYOUTS[layout].items():
        monkeypatch.setattr(plan, name, value)
    model, rows = sharp(architecture), draw_rows(VOCABULARY, SHAPES)
    twin = eager(model)
    prepare(model)
    model.train()
    wanted = flat_logprobs(twin, rows)
    weights = torch.randn(wanted.shape, generator=torch.Generator().manual_seed(1), dtype=wanted.dtype)
    (wanted * weights).sum().backward()
    for share, chunk in ((True, None), (True, 7), (False, None)):
        model.zero_grad(set_to_none=True)
        (token_logprobs(model, build_pack(rows, share_prefix=share), chunk=chunk) * weights).sum().backward()
        for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
            assert gap(mine.grad, theirs.grad) < 1e-6, (name, share, chunk)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("architecture", ["qwen3", "gemma2"])
def test_gradient_checkpointing(architecture: str) -> None:
    """Layers computed again in the backward still find their pack."""
    model, rows = sharp(architecture), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    model.train()
    token_logprobs(model, build_pack(rows)).sum().backward()
    wanted = [p.grad.clone() for p in model.parameters()]
    model.gradient_checkpointing_enable()
    model.zero_grad(set_to_none=True)
    token_logprobs(model, build_pack(rows)).sum().backward()
    assert all(torch.allclose(p.grad, w) for p, w in zip(model.parameters(), wanted, strict=True))


def test_row_order_and_company_do_not_matter() -> None:
    model, rows = sharp("qwen2"), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    with torch.no_grad():
        pack = build_pack(rows)
        whole = token_logprobs(model, pack)
        for number, row in enumerate(rows):
            alone = token_logprobs(model, build_pack([row]))
            assert torch.allclose(alone, whole[pack.token_row == number], atol=1e-6)
        swapped = token_logprobs(model, build_pack([Row(r.prompt, r.responses[::-1]) for r in rows]))
    back = build_pack([Row(r.prompt, r.responses[::-1]) for r in rows])
    for number, row in enumerate(rows):
        for response in range(len(row.responses)):
            here = first_response(pack, number) + response
            there = first_response(back, number) + len(row.responses) - 1 - response
            assert torch.allclose(whole[pack.token_response == here], swapped[back.token_response == there], atol=1e-6)


def first_response(pack: Pack, row: int) -> int:
    return int((pack.response_row < row).sum())


def test_index_columns() -> None:
    rows = [Row((1, 2, 3), ((4, 5), (), (6,))), Row((7,), ((8, 9, 10),))]
    for options in ({}, {"share_prefix": False}, {"causal": True}):
        pack = build_pack(rows, **options)
        assert pack.targets.tolist() == [4, 5, 6, 8, 9, 10]
        assert pack.token_row.tolist() == [0, 0, 0, 1, 1, 1]
        assert pack.token_response.tolist() == [0, 0, 2, 3, 3, 3]
        assert pack.token_offset.tolist() == [0, 1, 0, 0, 1, 2]
        assert pack.response_row.tolist() == [0, 0, 0, 1]
        assert pack.tokens == sum(packed_tokens(row, **options) for row in rows)
    shared = build_pack(rows)
    assert shared.tokens == 10
    assert shared.positions[shared.last].tolist() == [4, 2, 3, 3]  # |prompt| + i; the empty one reads its prompt
    assert shared.ids[shared.read].tolist() == [3, 4, 3, 7, 8, 9]
    assert shared.ids[build_pack(rows, causal=True).read[2]] >= 0
    causal = build_pack(rows, causal=True)
    assert causal.ids[causal.read].tolist() == [3, 4, 5, 7, 8, 9]
    assert causal.positions[causal.last].tolist() == [4, 4, 5, 3]


def test_select() -> None:
    model, rows = sharp("llama", "float32"), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    pack = build_pack(rows)
    with torch.no_grad():
        whole = token_logprobs(model, pack)
        odd = torch.arange(len(whole)) % 3 == 1
        assert torch.equal(token_logprobs(model, pack, select=odd), whole[odd])
        places = torch.tensor([5, 0, 5])
        assert torch.equal(token_logprobs(model, pack, select=places), whole[places])
    nothing = token_logprobs(model, pack, select=torch.zeros(len(whole), dtype=torch.bool))
    nothing.sum().backward()
    assert nothing.shape == (0,)


def test_dropout_is_honoured() -> None:
    """Attention dropout acts in training mode, differs from call to call, and has the plain value as its mean."""
    model, rows = sharp("llama", "float32", attention_dropout=0.3), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    pack = build_pack(rows)
    with torch.no_grad():
        still = token_logprobs(model, pack)
        model.train()
        assert not torch.allclose(token_logprobs(model, pack), token_logprobs(model, pack), atol=1e-3)
        model.eval()
        assert torch.equal(token_logprobs(model, pack), still)


def test_bits_are_stable() -> None:
    model, rows = sharp("gemma2", "float32"), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    with torch.no_grad():
        assert torch.equal(token_logprobs(model, build_pack(rows)), token_logprobs(model, build_pack(rows)))


def test_switched_model_still_generates_and_runs_plain() -> None:
    """Without a pack the switched attention is transformers' own, cap and window included."""
    for architecture in SETTINGS:
        model = sharp(architecture, "float32")
        twin = eager(model)
        prepare(model)
        ids = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 12, 13, 14], [0, 0, 0, 15, 16, 17, 18, 19, 20, 21]])
        mask = torch.ones_like(ids)
        mask[1, :3] = 0
        with torch.no_grad():
            ours, theirs = model(ids, attention_mask=mask).logits, twin(ids, attention_mask=mask).logits
        assert gap(ours[mask.bool()], theirs[mask.bool()]) < 1e-4
        options = {"max_new_tokens": 6, "do_sample": False, "pad_token_id": 0, "attention_mask": mask}
        assert torch.equal(model.generate(ids, **options), twin.generate(ids, **options))


def test_refusals() -> None:
    with pytest.raises(ValueError, match="at least one row"):
        build_pack([])
    with pytest.raises(ValueError, match="row 1 of the pack"):
        build_pack([Row((1,), ((2,),)), Row((), ((2,),))])
    model = tiny_model("llama", vocabulary=VOCABULARY, max_position_embeddings=16)
    with pytest.raises(ModelError, match="row 1 of the batch has 17 tokens but the model's context is 16"):
        token_logprobs(model, build_pack(draw_rows(VOCABULARY, [(3, (4,)), (9, (2, 8))])))
    prepare(model)
    model.set_attn_implementation("eager")
    with pytest.raises(ModelError, match="prepare"):
        token_logprobs(model, build_pack(draw_rows(VOCABULARY, [(3, (4,))])))


def test_longrope_sides_never_share_a_pack() -> None:
    """Rows on either side of the threshold of a `longrope` model are computed apart, each with its own frequencies."""
    factors = {"short_factor": [1.0] * 4, "long_factor": [3.0] * 4, "rope_type": "longrope", "rope_theta": 10000.0}
    rope = factors | {"original_max_position_embeddings": 16, "factor": 4.0}
    model = sharp("llama", max_position_embeddings=64, rope_parameters=rope)
    rows = draw_rows(VOCABULARY, [(6, (4, 14)), (5, (20, 2)), (9, (7,))])
    with torch.no_grad():
        wanted = flat_logprobs(eager(model), rows)
        assert gap(token_logprobs(model, build_pack(rows)), wanted) < 1e-6
        odd = torch.arange(len(wanted)) % 2 == 0
        assert gap(token_logprobs(model, build_pack(rows), select=odd), wanted[odd]) < 1e-6
