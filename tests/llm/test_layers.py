"""A step without the model's modules: equal to the step through them and to the eager forward, or not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from burnish.errors import SettingsError
from burnish.llm.local import decode, layers
from burnish.llm.local.decode import Decoder, Grouped, open_decoder
from burnish.llm.local.layers import why_not
from burnish.llm.local.rows import Drawn, Limits
from tests.llm.test_decode import eager_logprobs, model_of, numbers, requests

KNOWN = ("llama", "qwen2", "qwen3")
LIMITS = Limits(max_new_tokens=20, temperature=1.0, stop_ids=(0, 1, 2, 3))


def drawn_by(decoder: Decoder, prompts: list[list[int]] | None = None) -> Drawn:
    prompts = requests(6, before=20) if prompts is None else prompts
    return decoder.generate(prompts, 3, numbers(list(range(len(prompts))), 3, 20), LIMITS)


def apart(one: Drawn, other: Drawn) -> float:
    pairs = zip(one.logprobs, other.logprobs, strict=True)
    return max(np.abs(np.array(a) - np.array(b)).max() for a, b in pairs)


def mistral(**settings: Any) -> nn.Module:
    torch.manual_seed(0)
    sizes = {"vocab_size": 259, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}  # wider than the stream
    config = AutoConfig.for_model("mistral", **{**sizes, **heads, "sliding_window": 8, **settings})
    model = AutoModelForCausalLM.from_config(config).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            weight *= 6.0 if weight.ndim > 1 else 1.0
    return model


def made(architecture: str, dtype: str = "float64") -> nn.Module:
    return mistral() if architecture == "mistral" else model_of(architecture, dtype)


@pytest.mark.parametrize("architecture", [*KNOWN, "mistral"])
@pytest.mark.parametrize("joined", [True, False])
def test_the_same_tokens_as_through_the_modules(monkeypatch, architecture: str, joined: bool) -> None:
    """Windows, norms of queries and keys, biases, heads wider than the stream; weights side by side or not."""
    decoder = open_decoder(made(architecture))
    assert decoder.path is Grouped and decoder.bare and not decoder.notice
    if not joined:
        monkeypatch.setattr(layers, "JOINED_BYTES", 0)
    bare = drawn_by(decoder)
    modules = Decoder(decoder.model, Grouped, decoder.attention, bare=False)
    through = drawn_by(modules)
    assert bare.token_ids == through.token_ids and bare.finish == through.finish
    assert apart(bare, through) < 1e-6  # norms and angles are taken in float32 on both sides
    assert {"stop", "length"} == set(bare.finish)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("architecture", KNOWN)
def test_other_dtypes_stay_within_their_rounding(architecture: str, dtype: str) -> None:
    decoder = open_decoder(made(architecture, dtype))
    assert decoder.bare
    bare = drawn_by(decoder)
    for row, (ids, logprobs) in enumerate(zip(bare.token_ids, bare.logprobs, strict=True)):
        reference = eager_logprobs(decoder.model, requests(6, before=20)[row // 3], ids)
        assert np.abs(np.array(reference) - np.array(logprobs)).mean() < (1e-4 if dtype == "float32" else 0.3)


def test_biases_of_every_map_are_added() -> None:
    model = model_of("llama", attention_bias=True, mlp_bias=True)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.copy_(torch.linspace(-1, 1, len(parameter)))
    decoder = open_decoder(model)
    assert decoder.bare
    bare = drawn_by(decoder)
    for row in (0, 5, 17):
        reference = eager_logprobs(model, requests(6, before=20)[row // 3], bare.token_ids[row])
        assert np.abs(np.array(reference) - np.array(bare.logprobs[row])).max() < 1e-5


def test_weights_that_training_has_moved_are_read_anew() -> None:
    decoder = open_decoder(model_of("qwen3"))
    before = drawn_by(decoder)
    with torch.no_grad():
        for parameter in decoder.model.parameters():
            parameter.mul_(1.1)
    after = drawn_by(decoder)
    assert before.token_ids != after.token_ids
    for row in (0, 8, 17):
        reference = eager_logprobs(decoder.model, requests(6, before=20)[row // 3], after.token_ids[row])
        assert np.abs(np.array(reference) - np.array(after.logprobs[row])).max() < 1e-5


def test_a_step_that_disagrees_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Queries turned the wrong way: the probe finds it, and the model's own modules serve."""
    real = layers.Layers.__init__

    def wrong(self: Any, *args: Any, **how: Any) -> None:
        real(self, *args, **how)
        self.sin = -self.sin

    monkeypatch.setattr(layers.Layers, "__init__", wrong)
    decoder = open_decoder(model_of("llama"))
    assert decoder.path is Grouped and not decoder.bare
    assert decoder.notice.startswith("stepped through its own modules (log-probabilities ")
    drawn = drawn_by(decoder)
    reference = eager_logprobs(decoder.model, requests(6, before=20)[1], drawn.token_ids[4])
    assert np.abs(np.array(reference) - np.array(drawn.logprobs[4])).max() < 1e-5


class Scaled(nn.Linear):
    """Stands for an adapter: a linear map that is more than its weight."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def test_what_the_step_does_not_know_goes_through_the_modules() -> None:
    assert why_not(model_of("gemma2")) == "its embedding or its head is of another kind"
    adapted = model_of("llama")
    adapted.model.layers[1].self_attn.v_proj.__class__ = Scaled
    assert why_not(adapted) == "its linear maps are of another kind"
    added = model_of("llama")
    added.model.layers[0].mlp.extra = nn.Linear(2, 2)
    assert why_not(added) == "its mlp has a part 'extra'"
    hooked = model_of("llama")
    hooked.model.norm.register_forward_hook(lambda module, given, out: out * 2)
    assert why_not(hooked) == "a module of it has a hook"
    for model in (adapted, hooked):
        decoder = open_decoder(model)
        assert decoder.path is Grouped and not decoder.bare and not decoder.notice
        drawn = drawn_by(decoder)
        reference = eager_logprobs(model, requests(6, before=20)[2], drawn.token_ids[7])
        assert np.abs(np.array(reference) - np.array(drawn.logprobs[7])).max() < 1e-5


def test_rotary_angles_beyond_their_threshold_are_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table of angles serves as long as they depend on the position alone."""
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    decoder = open_decoder(model_of("llama", max_position_embeddings=64, rope_parameters=scaling))
    assert decoder.bare and decoder._path_for(64) is Grouped and decoder._path_for(65) is decode.Recompute
    drawn = drawn_by(decoder)
    for row in (0, 10, 17):
        reference = eager_logprobs(decoder.model, requests(6, before=20)[row // 3], drawn.token_ids[row])
        assert np.abs(np.array(reference) - np.array(drawn.logprobs[row])).max() < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["llama", "qwen2", "qwen3", "mistral"])
def test_compiled_gives_the_same_tokens(architecture: str) -> None:
    """Float64 (norms are in float32) and float32; rows leave down to the last one; what was compiled serves all."""
    torch._dynamo.reset()
    for dtype, bound in (("float64", 1e-5), ("float32", 1e-4)):
        model = mistral().to(getattr(torch, dtype)) if architecture == "mistral" else model_of(architecture, dtype)
        compiled = open_decoder(model, compile=True)
        assert (compiled.bare, compiled.compile, compiled.notice) == (True, True, "")
        plain = Decoder(model, Grouped, compiled.attention, bare=True)
        for prompts in (requests(6, before=20), requests(4)):
            found, wanted = drawn_by(compiled, prompts), drawn_by(plain, prompts)
            assert found.token_ids == wanted.token_ids and found.finish == wanted.finish
            assert len({len(ids) for ids in found.token_ids}) > 3 and apart(found, wanted) <= bound
        torch._dynamo.utils.counters.clear()
        drawn_by(compiled, requests(5, before=3))
        assert not torch._dynamo.utils.counters["stats"]["unique_graphs"]


def test_a_form_that_is_not_known_is_not_compiled() -> None:
    decoder = open_decoder(model_of("gemma2"), compile=True)
    assert decoder.path is Grouped and not decoder.compile and not decoder.bare
    assert decoder.notice.startswith("stepped through its own modules (not compiled: ")


def test_without_a_compiler_it_is_refused(monkeypatch) -> None:
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(SettingsError, match=r"needs a C\+\+ compiler, and no-such-compiler is not there"):
        open_decoder(model_of("llama"), compile=True)


def test_what_cannot_be_compiled_is_stepped_without(monkeypatch) -> None:
    def fails(*given: Any) -> None:
        raise RuntimeError("nothing comes out of the compiler")

    monkeypatch.setattr(layers, "compiled", lambda: (fails, fails))
    decoder = open_decoder(model_of("llama"), compile=True)
    assert (decoder.bare, decoder.compile) == (True, False)
    assert decoder.notice == "stepped without compiling (RuntimeError: nothing comes out of the compiler)"
