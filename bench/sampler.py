"""Sampling speed: Burnish's decode loop against `transformers.generate(num_return_sequences=K)`, one thread.

A random 6-layer, 192-wide Llama draws K = 8 answers of 32 tokens to each of 64 prompts of unequal length; no row stops
early in the first row of the table, rows stop at random (about one token in 24) in the second. Both sides draw from
the same distribution at temperature 1 and run in turn, three times; the best of each counts. About a minute.

    python bench/sampler.py [--compile] [--json]

`--compile` compares the decode loop with itself, compiled, in CPU seconds, for this model and for that of
bench/on_policy.py (9 M parameters, a vocabulary of 16,384), and has no bar. A few minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from burnish.llm.local.decode import Decoder, open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits

PROMPTS, SAMPLES, TOKENS, VOCABULARY, BAR = 64, 8, 32, 1024, 2.0
SMALL = {"hidden_size": 192, "intermediate_size": 512, "num_attention_heads": 6, "num_key_value_heads": 2}
LARGE = {"hidden_size": 256, "intermediate_size": 704, "num_attention_heads": 8, "num_key_value_heads": 4}


def build(shape: dict[str, int] = SMALL, vocabulary: int = VOCABULARY) -> LlamaForCausalLM:
    """A random Llama, by default of the size of the embedded base model."""
    torch.manual_seed(0)
    config = LlamaConfig(
        **shape,
        vocab_size=vocabulary,
        num_hidden_layers=6,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def ours(
    decoder: Decoder, prompts: list[list[int]], stops: tuple[int, ...], clock: Callable[[], float] = time.perf_counter
) -> float:
    """Seconds, with batches of 256 rows like the client's."""
    start = clock()
    limits = Limits(max_new_tokens=TOKENS, temperature=1.0, stop_ids=stops)
    ordered = sorted(prompts, key=len, reverse=True)
    for first in range(0, len(ordered), 256 // SAMPLES):
        part = ordered[first : first + 256 // SAMPLES]
        keys = [key(0, str(first + i), s) for i in range(len(part)) for s in range(SAMPLES)]
        decoder.generate(part, SAMPLES, uniforms(keys, TOKENS), limits)
    return clock() - start


def theirs(model: LlamaForCausalLM, prompts: list[list[int]], stops: tuple[int, ...]) -> float:
    """Seconds of `generate` on the same batches, left-padded."""
    start = time.perf_counter()
    ordered = sorted(prompts, key=len, reverse=True)
    for first in range(0, len(ordered), 256 // SAMPLES):
        part = ordered[first : first + 256 // SAMPLES]
        longest = max(map(len, part))
        ids = torch.tensor([[0] * (longest - len(p)) + p for p in part])
        mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in part])
        model.generate(
            ids,
            attention_mask=mask,
            do_sample=True,
            top_k=0,
            num_return_sequences=SAMPLES,
            max_new_tokens=TOKENS,
            eos_token_id=list(stops) or None,
            pad_token_id=0,
        )
    return time.perf_counter() - start


def drawn_prompts() -> list[list[int]]:
    generator = np.random.default_rng(0)
    return [generator.integers(3, VOCABULARY, int(n)).tolist() for n in generator.integers(24, 97, PROMPTS)]


def compare_compiled() -> Iterator[dict[str, Any]]:
    """The decode loop as it is and compiled, in turn; what compiling took is told, in wall-clock seconds."""
    prompts = drawn_prompts()
    for size, shape, vocabulary in (("small", SMALL, VOCABULARY), ("large", LARGE, 16_384)):
        began = time.perf_counter()
        plain, compiled = open_decoder(build(shape, vocabulary)), open_decoder(build(shape, vocabulary), compile=True)
        if not compiled.compile:
            raise SystemExit(f"not compiled: {compiled.notice}")
        ours(compiled, prompts[:8], ())
        made = time.perf_counter() - began
        for name, every in (("full_length", 0), ("early_stops", 24)):
            stops = tuple(range(3, 3 + vocabulary // every)) if every else ()
            times = [[ours(d, prompts, stops, time.process_time) for d in (plain, compiled)] for _ in range(4)]
            mine, other = (min(column) for column in zip(*times[1:], strict=True))
            detail = f"{mine:.2f} s as it is, {other:.2f} s compiled; compiling and the probes took {made:.0f} s"
            row = {"name": f"compiled_{size}_{name}", "value": mine / other, "bar": 0.0, "holds": True}
            yield row | {"detail": detail}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--compile", action="store_true", help="compare the loop with itself, compiled")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    show(list(compare_compiled() if arguments.compile else compare()), as_json=arguments.json)


def compare() -> Iterator[dict[str, Any]]:
    """The decode loop against `generate`."""
    reference = build()
    reference.generation_config.eos_token_id = None
    decoder = open_decoder(build())
    prompts = drawn_prompts()
    for name, stops in (("full_length", ()), ("early_stops", tuple(range(3, 3 + VOCABULARY // 24)))):
        times = [(ours(decoder, prompts, stops), theirs(reference, prompts, stops)) for _ in range(3)]
        mine, other = (min(column) for column in zip(*times, strict=True))
        count = PROMPTS * SAMPLES
        detail = f"{count / mine:.0f} against {count / other:.0f} samples/s, {count} samples of {TOKENS} tokens at most"
        row = {"name": f"sampler_vs_generate_{name}", "value": other / mine, "bar": BAR}
        yield row | {"holds": other / mine >= BAR, "detail": detail}


def show(rows: list[dict[str, Any]], *, as_json: bool) -> None:
    if as_json:
        print(json.dumps({"bench": "sampler", "rows": rows}))
    else:
        for row in rows:
            print(f"{row['name']:36} {row['value']:6.2f} x   (bar {row['bar']:.1f})   {row['detail']}")


if __name__ == "__main__":
    main()
