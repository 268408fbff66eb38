"""The decode loop: equal to the eager forward, whatever shares the batch and whatever leaves it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM

from burnish import microworld
from burnish.llm.local import attention as local_attention
from burnish.llm.local import decode as local_decode
from burnish.llm.local.decode import Grouped, Plain, Recompute, common_tokens, open_decoder, rotary_threshold
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits, draw_rows
from burnish.models import load_causal, tiny_model

STOPS = tuple(range(8))
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2")


def model_of(architecture: str, dtype: str = "float64", **settings: object):
    window = {"sliding_window": 8} if architecture == "gemma2" else {}
    return tiny_model(architecture, scale=6.0, dtype=dtype, **{"max_position_embeddings": 256, **window, **settings})


def requests(count: int = 9, before: int = 0) -> list[list[int]]:
    """Prompts of many lengths that begin with `before` equal tokens."""
    generator = np.random.default_rng(1)
    return [[*range(20, 20 + before), *generator.integers(8, 250, 3 + 5 * i % 23).tolist()] for i in range(count)]


def numbers(names: list[int], samples: int, count: int) -> np.ndarray:
    return uniforms([key(5, str(n), s) for n in names for s in range(samples)], count)


def eager_logprobs(model: torch.nn.Module, prompt: list[int], drawn: list[int]) -> list[float]:
    """The flat reference: one row, no cache, transformers' own eager attention."""
    here = model.config._attn_implementation
    model.set_attn_implementation("eager")
    with torch.no_grad():
        logits = model(torch.tensor([prompt + drawn]), use_cache=False).logits[0].double().log_softmax(-1)
    model.set_attn_implementation(here)
    return [logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(drawn)]


LIMITS = Limits(max_new_tokens=40, temperature=1.0, stop_ids=STOPS)
LIMITS12 = replace(LIMITS, max_new_tokens=12)


@pytest.mark.parametrize("before", [0, 30])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("dtype", "bound"), [("float64", 1e-5), ("float32", 1e-4)])
def test_logprobs_equal_the_eager_forward(architecture: str, dtype: str, bound: float, before: int) -> None:
    """Unequal prompts, with and without a common beginning; rows that stop early."""
    decoder = open_decoder(model_of(architecture, dtype))
    assert decoder.path is Grouped and not decoder.notice
    prompts = requests(before=before)
    assert common_tokens(prompts) == before
    drawn = decoder.generate(prompts, 4, numbers(list(range(9)), 4, 40), LIMITS)
    lengths = {len(ids) for ids in drawn.token_ids}
    assert len(lengths) > 8 and max(lengths) > 32  # rows left early, and stores were rebuilt
    for row, (ids, logprobs) in enumerate(zip(drawn.token_ids, drawn.logprobs, strict=True)):
        reference = eager_logprobs(decoder.model, prompts[row // 4], ids)
        assert np.abs(np.array(reference) - np.array(logprobs)).max() < bound


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_row_does_not_depend_on_its_batch(architecture: str) -> None:
    """float64: the same tokens alone, among others, with fewer samples beside it, and on the other paths."""
    decoder, prompts = open_decoder(model_of(architecture)), requests(before=20)
    together = decoder.generate(prompts, 4, numbers(list(range(9)), 4, 40), LIMITS)
    for prompt in (0, 4, 7):
        alone = decoder.generate([prompts[prompt]], 4, numbers([prompt], 4, 40), LIMITS)
        assert alone.token_ids == together.token_ids[4 * prompt : 4 * prompt + 4]
        assert alone.finish == together.finish[4 * prompt : 4 * prompt + 4]
        single = decoder.generate([prompts[prompt]], 1, numbers([prompt], 1, 40), LIMITS)
        assert single.token_ids == together.token_ids[4 * prompt : 4 * prompt + 1]
    decoder.model.set_attn_implementation("eager")
    for path in (Plain, Recompute):
        plain = draw_rows(path(decoder.model), [prompts[3]], 4, numbers([3], 4, 40), LIMITS)
        assert plain.token_ids == together.token_ids[12:16]
        for mine, theirs in zip(plain.logprobs, together.logprobs[12:16], strict=True):
            assert np.allclose(mine, theirs, atol=1e-5)


@pytest.mark.parametrize("heads", [1, 4])
def test_one_prompt_alone_with_as_many_keys_as_queries(heads: int) -> None:
    """Heads of their own, or one for all: layouts of queries that are views where others are copies."""
    decoder = open_decoder(model_of("llama", num_key_value_heads=heads))
    for prompts, samples in ((requests(1), 3), (requests(3), 1), (requests(1), 1)):
        drawn = decoder.generate(prompts, samples, numbers(list(range(len(prompts))), samples, 12), LIMITS12)
        for row, (ids, logprobs) in enumerate(zip(drawn.token_ids, drawn.logprobs, strict=True)):
            reference = eager_logprobs(decoder.model, prompts[row // samples], ids)
            assert np.abs(np.array(reference) - np.array(logprobs)).max() < 1e-5


def test_leaving_rows_and_rebuilding_stores_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    decoder = open_decoder(model_of("llama"))
    often, repacks = [], local_attention.KeyValues._repack
    monkeypatch.setattr(local_attention, "REPACK", 0.99)
    monkeypatch.setattr(local_attention.KeyValues, "_repack", lambda state: (often.append(1), repacks(state)))
    eager = decoder.generate(requests(), 4, numbers(list(range(9)), 4, 40), LIMITS)
    monkeypatch.setattr(local_attention, "REPACK", 0.0)
    never = decoder.generate(requests(), 4, numbers(list(range(9)), 4, 40), LIMITS)
    monkeypatch.setattr(local_decode, "READ_TOKENS", 1)
    one_by_one = decoder.generate(requests(), 4, numbers(list(range(9)), 4, 40), LIMITS)
    assert often and eager.token_ids == never.token_ids == one_by_one.token_ids
    assert any(len(ids) < 20 for ids in eager.token_ids) and any(len(ids) > 30 for ids in eager.token_ids)


def test_the_window_and_the_cap_count() -> None:
    """Negative controls: without the window, or without the cap, log-probabilities move by more than 1e-3."""
    settings = {"attn_logit_softcapping": 2.0, "sliding_window": 8}
    prompts, limits = requests(), Limits(max_new_tokens=12, temperature=1.0)
    drawn = open_decoder(model_of("gemma2", **settings)).generate(prompts, 2, numbers(list(range(9)), 2, 12), limits)

    def moved(**change: float) -> float:
        other = model_of("gemma2", **{**settings, **change})
        rows = zip(drawn.token_ids, drawn.logprobs, strict=True)
        return max(
            np.abs(np.array(eager_logprobs(other, prompts[r // 2], ids)) - np.array(logprobs)).max()
            for r, (ids, logprobs) in enumerate(rows)
        )

    assert moved() < 1e-5
    assert moved(sliding_window=200) > 1e-3
    assert moved(sliding_window=9) > 1e-3
    assert moved(attn_logit_softcapping=1e6) > 1e-3


def test_what_prompts_begin_with_is_found() -> None:
    begin = list(range(20))
    assert common_tokens([[*begin, 1], [*begin, 2, 3], [*begin, 1, 4]]) == 20
    assert common_tokens([begin, [*begin, 5]]) == 19  # each keeps a token of its own
    assert (
        common_tokens([begin[:10], begin]) == 0 == common_tokens([[*begin, 1]]) == common_tokens([[9, *begin], begin])
    )


@pytest.mark.parametrize("architecture", ["llama", "gemma2"])
def test_rows_may_have_lengths_of_their_own(architecture: str) -> None:
    """Each row is the beginning of what it would have been; on the other paths too."""
    decoder, prompts, given = open_decoder(model_of(architecture)), requests(5), numbers(list(range(5)), 3, 24)
    free = Limits(max_new_tokens=24, temperature=1.0, stop_ids=STOPS)
    whole = decoder.generate(prompts, 3, given, free)
    lengths = tuple(1 + 7 * row % 24 for row in range(15))
    for path in (Grouped, Plain, Recompute):
        decoder.path = path
        drawn = decoder.generate(prompts, 3, given, replace(free, lengths=lengths))
        assert drawn.token_ids == [ids[:length] for ids, length in zip(whole.token_ids, lengths, strict=True)]
        ends = zip(drawn.token_ids, drawn.finish, strict=True)
        assert all(finish == ("stop" if ids[-1] in STOPS else "length") for ids, finish in ends)
        assert {len(ids) for ids in drawn.token_ids} >= {1, 2, 3} and "stop" in drawn.finish


def test_greedy_is_the_argmax_of_the_eager_forward() -> None:
    decoder = open_decoder(model_of("qwen3"))
    drawn = decoder.generate(requests(3), 2, numbers([0, 1, 2], 2, 10), Limits(max_new_tokens=10, temperature=0.0))
    decoder.model.set_attn_implementation("eager")
    for row, ids in enumerate(drawn.token_ids):
        prompt = list(requests(3)[row // 2])
        for token in ids:
            with torch.no_grad():
                assert int(decoder.model(torch.tensor([prompt]), use_cache=False).logits[0, -1].argmax()) == token
            prompt.append(token)


def test_stop_ids_end_a_row_and_stay_in_it() -> None:
    decoder = open_decoder(model_of("llama"))
    drawn = decoder.generate(requests(), 4, numbers(list(range(9)), 4, 40), LIMITS)
    for ids, finish in zip(drawn.token_ids, drawn.finish, strict=True):
        assert not set(ids[:-1]) & set(STOPS)
        assert finish == ("stop" if ids[-1] in STOPS else "length")
        assert finish == "stop" or len(ids) == 40
    assert set(drawn.finish) == {"stop", "length"}


def recurrent():
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "mamba", vocab_size=250, hidden_size=32, num_hidden_layers=2, state_size=8, eos_token_id=1, pad_token_id=0
    )
    return AutoModelForCausalLM.from_config(config).double().eval()


def test_an_architecture_without_keys_falls_back_with_a_notice() -> None:
    decoder = open_decoder(recurrent())
    assert decoder.path is not Grouped and decoder.notice
    prompts, given = [p[:4] for p in requests(2)] + [requests(9)[5]], numbers([0, 1, 2], 2, 12)
    prompts = [[t % 250 for t in p] for p in prompts]
    limits = Limits(max_new_tokens=12, temperature=1.0, stop_ids=tuple(range(30)))
    drawn = decoder.generate(prompts, 2, given, limits)
    for row, ids in enumerate(drawn.token_ids):
        with torch.no_grad():
            logits = decoder.model(torch.tensor([prompts[row // 2] + ids]), use_cache=False).logits[0].log_softmax(-1)
        start = len(prompts[row // 2]) - 1
        reference = [logits[start + i, t].item() for i, t in enumerate(ids)]
        assert np.abs(np.array(reference) - np.array(drawn.logprobs[row])).max() < 1e-5


def test_a_path_that_disagrees_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken key store must be found by the probe, on every architecture."""
    monkeypatch.setattr(local_attention.KeyValues, "prompt_mask", lambda state, window, dtype: None)
    decoder = open_decoder(model_of("llama"))
    assert decoder.path is Plain and "nats off the eager forward" in decoder.notice
    drawn = decoder.generate(requests(), 2, numbers(list(range(9)), 2, 8), Limits(max_new_tokens=8, temperature=1.0))
    for row in (0, 7, 17):
        reference = eager_logprobs(decoder.model, requests()[row // 2], drawn.token_ids[row])
        assert np.abs(np.array(reference) - np.array(drawn.logprobs[row])).max() < 1e-5


@pytest.mark.parametrize("broken", [False, True])
def test_rounding_of_half_precision_is_no_error(broken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A trained model in bfloat16 takes the grouped path, and a broken key store is found in bfloat16 as well."""
    if broken:
        monkeypatch.setattr(local_attention.KeyValues, "prompt_mask", lambda state, window, dtype: None)
    decoder = open_decoder(load_causal(microworld.base_weights(), dtype="bfloat16"))
    assert (decoder.path is Grouped) is not broken and bool(decoder.notice) is broken


def test_a_window_that_attention_is_not_told_is_refused() -> None:
    """The configuration names a window far beyond the probe's length; the model's code does not pass it on."""
    model = model_of("llama")
    model.config.sliding_window = 128
    decoder = open_decoder(model)
    assert decoder.path is not Grouped and "not told" in decoder.notice


def test_rotary_angles_that_depend_on_length_are_recomputed_beyond_their_threshold() -> None:
    scaling = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}
    model = model_of("llama", max_position_embeddings=24, rope_parameters=scaling)
    assert rotary_threshold(model.config) == 24
    decoder = open_decoder(model)
    prompts = [requests()[1], requests()[4]]
    assert max(map(len, prompts)) + 16 > 24
    drawn = decoder.generate(prompts, 2, numbers([1, 4], 2, 16), Limits(max_new_tokens=16, temperature=1.0))
    fresh = model_of("llama", max_position_embeddings=24, rope_parameters=scaling)
    for row in range(4):
        prompt = list(prompts[row // 2])
        for token, logprob in zip(drawn.token_ids[row], drawn.logprobs[row], strict=True):
            with torch.no_grad():
                logits = fresh(torch.tensor([prompt]), use_cache=False).logits[0, -1].double().log_softmax(-1)
            assert abs(logits[token].item() - logprob) < 1e-5
            prompt.append(token)
