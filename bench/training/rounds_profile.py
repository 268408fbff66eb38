"""Where the time of a round goes, and the share of the machine's limits that its parts reach."""

from __future__ import annotations

import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import torch

from bench.training.fresh import PROMPTS, SAMPLES, TOKENS, Ours, now
from burnish.records import Prompt

# What an operator of the sampler is counted as, by the first of its names that fits.
KINDS = (
    ("layers and head", ("aten::mm", "aten::addmm", "aten::addmm_")),
    ("attention's products", ("aten::bmm", "aten::baddbmm", "aten::baddbmm_")),
    ("softmax", ("aten::_softmax",)),
    ("choice of tokens", ("aten::exp", "aten::exp_", "aten::sub_", "aten::sum", "aten::searchsorted", "aten::amax")),
    ("copies", ("aten::copy_", "aten::cat", "aten::index_select")),
)


def bandwidth(size: int = 1 << 26, times: int = 5) -> float:
    """Bytes a second that a copy of 256 MiB reads and writes."""
    a = torch.zeros(size)
    b = torch.ones_like(a)
    a.copy_(b)
    began = now()
    for _ in range(times):
        a.copy_(b)
    return times * 2 * a.nbytes / (now() - began)


def product_rate(size: int = 1024, times: int = 12) -> float:
    """Floating-point operations a second of a large product, on the chosen clock."""
    a = torch.randn(size, size)
    a = (a @ a).clamp(-1, 1)
    began = now()
    for _ in range(times):
        a = (a @ a).clamp(-1, 1)
    return times * 2 * size**3 / (now() - began)


def work(ours: Ours) -> dict[str, tuple[float, float]]:
    """Floating-point operations and least bytes read of each part of the last round, products with weights alone.

    Bytes are those of the sampler, which reads weights and the keys and values of all rows for every token.
    """
    config = ours.session.model.config
    layer = 4 * config.hidden_size**2 + 3 * config.hidden_size * config.intermediate_size
    body, head = config.num_hidden_layers * layer, config.vocab_size * config.hidden_size
    prompts = sum(len(e.row.prompt) for e in ours.examples)
    answers = PROMPTS * SAMPLES * TOKENS
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * 4  # bytes of a token
    read = TOKENS * (4 * (body + head) + kept * (prompts + answers / 2))
    once = 2 * (body * (prompts + answers) + head * answers)
    return {"answers": (once, read), "reference": (once, 0.0), "update": (3 * once, 0.0)}


def profile(ours: Ours, prompts: Sequence[Prompt], *, rounds: int) -> dict[str, Any]:
    """Medians over rounds: seconds of each part, its rate of products, and the sampler's time by operator."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    groups = [prompts[n * PROMPTS : (n + 1) * PROMPTS] for n in range(len(prompts) // PROMPTS)]
    for number in range(rounds + 1):
        ours.round(groups[number % len(groups)])
    seconds = {name: statistics.median(values[1:]) for name, values in ours.parts.items()}
    best, wide = product_rate(), bandwidth()
    parts = {}
    for name, took in seconds.items():
        flops, read = work(ours).get(name, (0.0, 0.0))
        parts[name] = {"seconds": took, "rate": flops / took / best, "bandwidth": read / took / wide}
    asked = groups[(rounds + 1) % len(groups)]
    with record(activities=[ProfilerActivity.CPU]) as seen:
        began = time.perf_counter()
        sampling = ours.sampling()
        ours.sampler.draw(asked, n=SAMPLES, sampling=sampling, first=10_000, number=0)
        whole = time.perf_counter() - began
    spent: Counter[str] = Counter()
    others: Counter[str] = Counter()
    calls = 0
    for event in seen.key_averages():
        kind = next((kind for kind, names in KINDS if event.key in names), "other operators")
        spent[kind] += event.self_cpu_time_total / 1e6
        calls += event.count
        if kind == "other operators":
            others[event.key] += event.self_cpu_time_total / 1e6
    spent["Python"] = max(0.0, whole - sum(spent.values()))
    shares = {kind: value / sum(spent.values()) for kind, value in spent.most_common()}
    return {
        "parts": parts,
        "matrix_rate": best,
        "bandwidth": wide,
        "sampler": shares,
        "others": {name: value / sum(spent.values()) for name, value in others.most_common(6)},
        "operators_a_token": calls / TOKENS,
    }


def told(found: dict[str, Any]) -> str:
    """The profile for the screen."""
    lines = [f"a large product: {found['matrix_rate'] / 1e9:.0f} GFLOP/s; a copy: {found['bandwidth'] / 1e9:.1f} GB/s"]
    total = sum(part["seconds"] for part in found["parts"].values())
    for name, part in found["parts"].items():
        shown = f"{name:<12}{part['seconds']:>7.3f} s {part['seconds'] / total:>6.1%}"
        reached = f"   {part['rate']:.0%} of the product's rate" if part["rate"] else ""
        reached += f", {part['bandwidth']:.0%} of the copy's" if part["bandwidth"] else ""
        lines.append(shown + reached)
    lines.append(f"the sampler, profiled ({found['operators_a_token']:.0f} operators a token):")
    lines += [f"  {kind:<22}{share:>6.1%}" for kind, share in found["sampler"].items()]
    lines.append("  other operators, the largest: " + ", ".join(f"{n} {s:.1%}" for n, s in found["others"].items()))
    return "\n".join(lines)
