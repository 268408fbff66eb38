"""Architectures that the packed core does not serve: right numbers in plain batches, and a notice that says why."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import transformers

from burnish.models import (
    build_pack,
    forward,
    prepare,
    probe,
    response_scores,
    tiny_model,
    token_logits,
    token_logprobs,
)
from burnish.models.attention import packed
from tests.models.flat import draw_rows, eager, flat_logprobs, flat_scores, gap

SHARED = {"vocab_size": 61, "hidden_size": 32, "num_hidden_layers": 2, "pad_token_id": None, "bos_token_id": None}
HEADS = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2, "eos_token_id": None}
ODD: dict[str, tuple[dict[str, Any], str]] = {
    "mamba": (SHARED | {"state_size": 4, "eos_token_id": None}, "linear_attention"),
    "rwkv": (SHARED | {"attention_hidden_size": 32, "intermediate_size": 48, "eos_token_id": None}, "registry"),
    "bloom": (SHARED | {"n_layer": 2, "n_head": 4, "eos_token_id": None}, "registry"),
    "gpt_oss": (SHARED | HEADS | {"num_local_experts": 2, "num_experts_per_tok": 1, "head_dim": 8}, "s_aux"),
    "llama4_text": (SHARED | HEADS | {"head_dim": 8, "attention_chunk_size": 4, "num_local_experts": 2}, "chunked"),
}
SHAPES = [(5, (6, 4)), (3, (8,)), (7, (2, 2, 5)), (1, (1,))]


def make(kind: str, settings: dict[str, Any], auto: str = "AutoModelForCausalLM") -> torch.nn.Module:
    config = transformers.AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = getattr(transformers, auto).from_config(config).eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= 3.0
    return model


@pytest.mark.parametrize("kind", ODD)
def test_odd_architectures(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 24)  # several plain batches
    settings, reason = ODD[kind]
    model, rows = make(kind, settings), draw_rows(61, SHAPES)
    twin = eager(model)
    notice = prepare(model)
    assert notice is not None and "plain padded batches" in notice and reason in notice
    wanted = flat_logprobs(twin, rows)
    for share in (True, False):
        assert gap(token_logprobs(model, build_pack(rows, share_prefix=share)), wanted) < 1e-4
    whole = flat_logprobs(twin, rows, causal=True)
    assert gap(token_logprobs(model, build_pack(rows, causal=True)), whole) < 1e-4
    odd = torch.arange(len(wanted)) % 2 == 1
    model.train()
    got = token_logprobs(model, build_pack(rows), select=odd)
    assert gap(got, wanted[odd]) < 1e-4
    got.sum().backward()
    wanted[odd].sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if theirs.grad is not None and float(theirs.grad.norm()) > 1e-6:
            assert gap(mine.grad, theirs.grad) < 1e-3, name


@pytest.mark.parametrize("kind", ["mamba", "bloom"])
def test_logits_fall_back(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forward, "PLAIN_TOKENS", 24)
    model, rows = make(kind, ODD[kind][0]), draw_rows(61, SHAPES)
    prepare(model)
    pack, odd = build_pack(rows), torch.arange(28) % 2 == 1
    with torch.no_grad():
        logits = token_logits(model, pack)
        chosen = logits.log_softmax(-1).gather(1, pack.targets[:, None])[:, 0]
        assert logits.shape == (28, 61) and gap(chosen, flat_logprobs(eager(model), rows)) < 1e-4
        assert gap(token_logits(model, pack, select=odd), logits[odd]) < 1e-6


def test_reward_scores_fall_back() -> None:
    settings = SHARED | {"n_layer": 2, "n_head": 4, "eos_token_id": None, "num_labels": 1}
    model, rows = make("bloom", settings, "AutoModelForSequenceClassification"), draw_rows(61, SHAPES)
    assert "registry" in (prepare(model) or "")
    with torch.no_grad():
        assert gap(response_scores(model, build_pack(rows)), flat_scores(model, rows)) < 1e-4


def test_first_use_prepares_and_warns() -> None:
    model, rows = make("bloom", ODD["bloom"][0]), draw_rows(61, SHAPES)
    with pytest.warns(UserWarning, match="plain padded batches"):
        token_logprobs(model, build_pack(rows))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        token_logprobs(model, build_pack(rows))


def test_probe_notices_attention_that_computes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packed core that is wrong for a model (here: blind to its prefix) is found by the probe, not trusted."""
    real = packed.attend

    def wrong(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **options: Any) -> torch.Tensor:
        return real(query, key, value, **(options | {"scale": 0.5 * options["scale"]}))

    model, rows = tiny_model("qwen2", vocabulary=61, scale=3.0, dtype="float64"), draw_rows(61, SHAPES)
    wanted = flat_logprobs(eager(model), rows)
    with monkeypatch.context() as patch:
        patch.setattr(packed, "attend", wrong)
        notice = prepare(model)
    assert notice is not None and "differ" in notice
    assert gap(token_logprobs(model, build_pack(rows)), wanted) < 1e-6


def test_unknown_head_takes_full_logits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Something between hidden states and logits that no known form explains: full logits, packed all the same."""
    model, rows = tiny_model("llama", vocabulary=61, scale=3.0, dtype="float64"), draw_rows(61, SHAPES)
    inner = model.lm_head.forward
    monkeypatch.setattr(type(model), "forward", _with_shift(type(model).forward))
    wanted = flat_logprobs(eager(model), rows)
    notice = prepare(model)
    assert notice is not None and "full logits" in notice and "plain padded" not in notice
    assert gap(token_logprobs(model, build_pack(rows)), wanted) < 1e-6
    assert inner is not None


def _with_shift(inner: Any) -> Any:
    def forward_with_shift(self: Any, *args: Any, **kwargs: Any) -> Any:
        out = inner(self, *args, **kwargs)
        out.logits = out.logits + torch.linspace(0, 2, out.logits.shape[-1], dtype=out.logits.dtype)
        return out

    return forward_with_shift


def test_prepare_leaves_modes_and_repeats() -> None:
    model = tiny_model("gemma2", vocabulary=61)
    model.train()
    model.model.layers[0].eval()
    modes = [module.training for module in model.modules()]
    assert prepare(model) is None and prepare(model) is None
    assert [module.training for module in model.modules()] == modes
    assert set(probe.TOLERANCE) == {torch.float64, torch.float32, torch.float16, torch.bfloat16}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_low_precision_is_packed(architecture: str, dtype: str) -> None:
    model = tiny_model(architecture, vocabulary=61, dtype=dtype)
    assert prepare(model) is None
    rows = draw_rows(61, SHAPES)
    with torch.no_grad():
        assert gap(token_logprobs(model, build_pack(rows)), flat_logprobs(eager(model), rows)) < 2e-2
