"""Sampling speed: Burnish's decode loop against `transformers.generate(num_return_sequences=K)`, one thread.

A random 6-layer, 192-wide Llama draws K = 8 answers of 32 tokens to each of 64 prompts of unequal length; no row stops
early in the first row of the table, rows stop at random (about one token in 24) in the second. Both sides draw from
the same distribution at temperature 1 and run in turn, three times; the best of each counts. About a minute.
"""

from __future__ import annotations

import argparse
import json
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from burnish.llm.local.decode import open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits

PROMPTS, SAMPLES, TOKENS, VOCABULARY, BAR = 64, 8, 32, 1024, 2.0


def build() -> LlamaForCausalLM:
    """A random Llama of the size of the embedded base model."""
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=192,
        intermediate_size=512,
        num_hidden_layers=6,
        num_attention_heads=6,
        num_key_value_heads=2,
        max_position_embeddings=512,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    return LlamaForCausalLM(config).eval()


def ours(decoder: object, prompts: list[list[int]], stops: tuple[int, ...]) -> float:
    """Seconds, with batches of 256 rows like the client's."""
    start = time.perf_counter()
    limits = Limits(max_new_tokens=TOKENS, temperature=1.0, stop_ids=stops)
    ordered = sorted(prompts, key=len, reverse=True)
    for first in range(0, PROMPTS, 256 // SAMPLES):
        part = ordered[first : first + 256 // SAMPLES]
        keys = [key(0, str(first + i), s) for i in range(len(part)) for s in range(SAMPLES)]
        decoder.generate(part, SAMPLES, uniforms(keys, TOKENS), limits)
    return time.perf_counter() - start


def theirs(model: LlamaForCausalLM, prompts: list[list[int]], stops: tuple[int, ...]) -> float:
    """Seconds of `generate` on the same batches, left-padded."""
    start = time.perf_counter()
    ordered = sorted(prompts, key=len, reverse=True)
    for first in range(0, PROMPTS, 256 // SAMPLES):
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    reference = build()
    reference.generation_config.eos_token_id = None
    decoder = open_decoder(build())
    generator = np.random.default_rng(0)
    prompts = [generator.integers(3, VOCABULARY, int(n)).tolist() for n in generator.integers(24, 97, PROMPTS)]
    rows = []
    for name, stops in (("full_length", ()), ("early_stops", tuple(range(3, 3 + VOCABULARY // 24)))):
        times = [(ours(decoder, prompts, stops), theirs(reference, prompts, stops)) for _ in range(3)]
        mine, other = (min(column) for column in zip(*times, strict=True))
        count = PROMPTS * SAMPLES
        detail = f"{count / mine:.0f} against {count / other:.0f} samples/s, {count} samples of {TOKENS} tokens at most"
        rows.append(
            {"name": f"sampler_vs_generate_{name}", "value": other / mine, "bar": BAR, "holds": other / mine >= BAR}
            | {"detail": detail}
        )
    if arguments.json:
        print(json.dumps({"bench": "sampler", "rows": rows}))
    else:
        for row in rows:
            print(f"{row['name']:36} {row['value']:6.2f} x   (bar {row['bar']:.1f})   {row['detail']}")


if __name__ == "__main__":
    main()
