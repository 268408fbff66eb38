"""The packed core on many architectures of transformers: equal to the plain forward, with prompts shared and repeated.

Each is a tiny random model with weights enlarged so that attention is far from uniform; windows are shorter than the
rows. What is packed and what falls back is part of the test: an architecture must not change sides unseen.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers

from burnish.models import build_pack, prepare, token_logits, token_logprobs
from burnish.models.forward import CORES
from tests.models.flat import draw_rows, eager, flat_logprobs, gap

VOCABULARY = 61  # not divisible by 8
SHARED = {"vocab_size": VOCABULARY, "hidden_size": 32, "num_hidden_layers": 2, "max_position_embeddings": 64}
IDS = {"pad_token_id": None, "bos_token_id": None, "eos_token_id": None}
HEADS = {"intermediate_size": 48, "num_attention_heads": 4, "num_key_value_heads": 2}
PLAIN = SHARED | IDS | HEADS
# Multi-head latent attention; all layers dense, since torch groups expert products in no float64.
MLA = {
    "q_lora_rank": 16, "kv_lora_rank": 16, "qk_nope_head_dim": 8, "qk_rope_head_dim": 8, "v_head_dim": 8, "head_dim": 8,
    "moe_intermediate_size": 16, "n_routed_experts": 4, "n_shared_experts": 1, "num_experts_per_tok": 2,
    "first_k_dense_replace": 2, "n_group": 1, "topk_group": 1, "topk_method": "greedy", "num_key_value_heads": 4,
}  # fmt: skip
PACKED: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("llama", PLAIN),
    "llama, eight queries a key": (
        "llama",
        PLAIN | {"num_attention_heads": 8, "num_key_value_heads": 1, "head_dim": 4},
    ),
    "llama, three heads, untied": (
        "llama",
        PLAIN | {"hidden_size": 36, "num_attention_heads": 3, "num_key_value_heads": 3, "tie_word_embeddings": False},
    ),
    "qwen2": ("qwen2", PLAIN | {"tie_word_embeddings": True}),
    "qwen3": ("qwen3", PLAIN | {"head_dim": 16}),
    "gemma2": ("gemma2", PLAIN | {"head_dim": 8, "sliding_window": 4}),
    "mistral": ("mistral", PLAIN | {"sliding_window": 4}),
    "phi3": ("phi3", PLAIN),
    "olmo2": ("olmo2", PLAIN),
    "gemma3_text": ("gemma3_text", PLAIN | {"head_dim": 8, "sliding_window": 4}),
    "glm4": ("glm4", PLAIN | {"head_dim": 8}),
    "smollm3": ("smollm3", PLAIN | {"no_rope_layer_interval": 2}),
    "granite": ("granite", PLAIN | {"logits_scaling": 2.0, "residual_multiplier": 0.7, "attention_multiplier": 0.3}),
    "gpt2": ("gpt2", IDS | {"vocab_size": VOCABULARY, "n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}),
    "deepseek_v2": ("deepseek_v2", PLAIN | MLA),
}
SHAPES = [(5, (6, 4)), (3, (8,)), (7, (2, 2, 5)), (1, (1,))]


def make(kind: str, settings: dict[str, Any]) -> torch.nn.Module:
    config = transformers.AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).eval().double()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= 4.0
    return model


@pytest.mark.parametrize("name", PACKED)
def test_packed_equals_plain(name: str) -> None:
    model, rows = make(*PACKED[name]), draw_rows(VOCABULARY, SHAPES)
    twin = eager(model)
    notice = prepare(model)
    assert not notice and CORES[model].packed, notice
    with torch.no_grad():
        wanted = flat_logprobs(twin, rows)
        for share in (True, False):
            assert gap(token_logprobs(model, build_pack(rows, share_prefix=share)), wanted) < 1e-6, share
        assert gap(token_logprobs(model, build_pack(rows, causal=True)), flat_logprobs(twin, rows, causal=True)) < 1e-6
        logits = token_logits(model, build_pack(rows))  # temperature, cap and scale of the head are in them
        assert gap(logits.log_softmax(-1).gather(1, build_pack(rows).targets[:, None])[:, 0], wanted) < 1e-6
        # A negative control: the rows are not so alike that any order would do.
        assert gap(token_logprobs(model, build_pack(rows[::-1])), wanted) > 1e-3
    loss = token_logprobs(model, build_pack(rows)).sum()
    loss.backward()
    flat_logprobs(twin, rows).sum().backward()
    for (parameter, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        if theirs.grad is not None and float(theirs.grad.norm()) > 1e-9:
            assert gap(mine.grad, theirs.grad) < 1e-5, parameter
