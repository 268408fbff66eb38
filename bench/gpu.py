"""What one GPU does: the fused head, SFT at 8K tokens a pack, and DPO with shared prefixes.

    python bench/gpu.py [--profile] [--json]

Head: log-probabilities of 8,192 tokens, width 4,096, vocabulary 151,936, forward and backward in bfloat16. On an H100
others publish 192 ms and 6.1 GiB (Liger), 167 ms and 13.1 GiB (TRL, chunked); the bare product takes 42 ms. SFT: a
model of Qwen3-0.6B's shape, packs of 8,192 tokens, tokens a second with the optimiser's step. DPO: rows whose prompt is
four times an answer, shared against repeated prompts. `--profile` prints the kernels of an SFT step by time. Without a
CUDA device it says so and measures nothing.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from burnish.models import Pack, Row, build_pack, matrix_rate, prepare, token_logprobs
from burnish.models.head import Head, selected_logprobs
from burnish.train import Optimiser

TOKENS, WIDTH, VOCABULARY = 8192, 4096, 151_936
REPEATS = 10


def milliseconds(work: Callable[[], None]) -> float:
    """Median of `REPEATS` after two warm-ups."""
    times = []
    for turn in range(REPEATS + 2):
        torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if turn > 1:
            times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times)


def plain(name: str, value: float, detail: str) -> dict[str, Any]:
    """A figure without a bar."""
    return {"name": name, "value": value, "bar": None, "holds": True, "detail": detail}


def head() -> list[dict[str, Any]]:
    """The fused head: time, and memory above its inputs."""
    layer = nn.Linear(WIDTH, VOCABULARY, bias=False, device="cuda", dtype=torch.bfloat16)
    hidden = torch.randn(TOKENS, WIDTH, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(VOCABULARY, (TOKENS,), device="cuda")

    def work() -> None:
        layer.weight.grad = hidden.grad = None
        selected_logprobs(layer, hidden, targets, Head()).sum().backward()

    work()
    layer.weight.grad = hidden.grad = None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    took = milliseconds(work)
    peak = (torch.cuda.max_memory_allocated() - before) / 2**30
    shape = f"{TOKENS} x {WIDTH} x {VOCABULARY}, bfloat16, forward and backward"
    logits = torch.randn(TOKENS, VOCABULARY, device="cuda", dtype=torch.bfloat16)
    states = hidden.detach()

    def products() -> None:
        states @ layer.weight.T
        logits @ layer.weight
        logits.T @ states

    bare = milliseconds(products)
    return [
        plain("bare_products_ms", round(bare, 1), f"the head's three products alone: {100 * bare / took:.0f} % of it"),
        {"name": "head_ms", "value": round(took, 1), "bar": 80, "holds": took <= 80, "detail": shape},
        {"name": "head_gib", "value": round(peak, 2), "bar": 6.5, "holds": peak <= 6.5, "detail": "above its inputs"},
    ]


def qwen() -> nn.Module:
    """A random model of Qwen3-0.6B's shape."""
    from transformers import Qwen3Config, Qwen3ForCausalLM

    config = Qwen3Config(
        vocab_size=VOCABULARY,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=40_960,
        tie_word_embeddings=True,
    )
    with torch.device("cuda"):
        model = Qwen3ForCausalLM(config).to(torch.bfloat16)
    prepare(model)
    return model


def rows_of(prompt: int, response: int, responses: int, tokens: int) -> list[Row]:
    """Rows of one shape that fill a pack of about so many tokens."""
    draw = random.Random(0)

    def some(size: int) -> tuple[int, ...]:
        return tuple(draw.randrange(VOCABULARY) for _ in range(size))

    count = max(1, tokens // (prompt + responses * response))
    return [Row(some(prompt), tuple(some(response) for _ in range(responses))) for _ in range(count)]


def kernels(step: Callable[[], None]) -> None:
    """Print the kernels of a step by time."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as seen:
        step()
        torch.cuda.synchronize()
    print(seen.key_averages().table(sort_by="self_cuda_time_total", row_limit=24, max_name_column_width=70))


def sharing(model: nn.Module) -> list[dict[str, Any]]:
    """Forward and backward of the log-probabilities of preference rows: prompts computed once against twice."""

    def ratio(prompt: int) -> tuple[float, str]:
        rows = rows_of(prompt, 256, 2, 2 * TOKENS)
        took = []
        for share in (True, False):
            pack = build_pack(rows, share_prefix=share)

            def work(pack: Pack = pack) -> None:
                model.zero_grad(set_to_none=True)
                token_logprobs(model, pack).sum().backward()

            took.append(milliseconds(work))
        detail = f"{took[0]:.0f} against {took[1]:.0f} ms, prompts of {prompt:,} and two answers of 256 tokens"
        return round(took[1] / took[0], 2), detail

    short, about_short = ratio(1024)
    long, about_long = ratio(2048)
    return [
        {"name": "dpo_prefix_sharing", "value": short, "bar": 1.5, "holds": short >= 1.5, "detail": about_short},
        plain("dpo_long_prompts", long, about_long),
    ]


def training(profiled: bool) -> list[dict[str, Any]]:
    """SFT tokens a second, and preference rows with shared prompts."""
    model = qwen()
    optimiser = Optimiser(model, weight_decay=0.1, clip=1.0)
    sft = build_pack(rows_of(256, 768, 1, TOKENS))

    def step() -> None:
        token_logprobs(model, sft).sum().neg().div(TOKENS).backward()
        optimiser.gather()
        optimiser.step(1e-6, float(optimiser.gradient_norm()))

    torch.cuda.reset_peak_memory_stats()
    took = milliseconds(step)
    rate, peak = 1000 * len(sft.ids) / took, torch.cuda.max_memory_allocated() / 2**30
    weights = sum(p.numel() for p in model.parameters())
    share = 6 * weights * rate / matrix_rate(8192)[0]
    if profiled:
        kernels(step)
    return [
        plain("sft_gib", round(peak, 1), f"peak, all told; the step reaches {100 * share:.0f} % of the matrix rate"),
        {
            "name": "sft_tokens_per_second",
            "value": round(rate),
            "bar": 26_000,
            "holds": rate >= 26_000,
            "detail": "Qwen3-0.6B's shape, packs of 8,192 tokens, with the optimiser's step",
        },
        *sharing(model),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", action="store_true", help="print the kernels of an SFT step")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    device = "no CUDA device: nothing was measured"
    if torch.cuda.is_available():
        device = torch.cuda.get_device_name()
        rows = [*head(), *training(asked.profile)]
    if asked.json:
        print(json.dumps({"bench": "gpu", "device": device, "rows": rows}))
        return
    print(device)
    for row in rows:
        verdict = "" if row["bar"] is None else "holds" if row["holds"] else "FAILS"
        bar = "" if row["bar"] is None else f"bar {row['bar']}"
        print(f"{row['name']:<24} {row['value']:>10}   {bar:<10}   {verdict:<5}   {row['detail']}")


if __name__ == "__main__":
    main()
