"""Where the time of our steps goes, and the share of the machine's matrix-product rate that they reach."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bench.training.sides import BATCH
from burnish.models import matrix_rate
from burnish.train import Example

# What an event is counted as, by a part of its name or of the name of an event around it; the first that fits.
AROUND = (
    ("head", ("_Selected",)),
    ("optimiser", ("Optimizer.step", "bench: optimiser")),
    ("data", ("bench: data",)),
    ("attention", ("scaled_dot_product", "_Stack", "_Unstack")),
)
PRODUCTS = ("aten::mm", "aten::addmm", "aten::bmm", "aten::baddbmm")
ORDER = ("matrix products", "head", "attention", "optimiser", "data", "other operators", "Python")


@contextmanager
def labelled() -> Iterator[None]:
    """Within it, what makes packs and what updates weights have a name in the profile."""
    from torch.profiler import record_function

    from burnish.train import ranks
    from burnish.train.objectives import method
    from burnish.train.optim import Optimiser

    places = [
        (method, "build_pack", "bench: data"),
        (ranks, "packs", "bench: data"),
        (Optimiser, "step", "bench: optimiser"),
        (Optimiser, "gather", "bench: optimiser"),
        (Optimiser, "gradient_norm", "bench: optimiser"),
    ]
    before = [getattr(where, name) for where, name, _ in places]

    def wrapped(function: Any, label: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            with record_function(label):
                out = function(*args, **kwargs)
                return list(out) if label == "bench: data" and not hasattr(out, "ids") else out

        return call

    for (where, name, label), function in zip(places, before, strict=True):
        setattr(where, name, wrapped(function, label))
    try:
        yield
    finally:
        for (where, name, _), function in zip(places, before, strict=True):
            setattr(where, name, function)


def _kind(event: Any) -> str:
    names, at = [], event
    while at is not None:
        names.append(at.name)
        at = at.cpu_parent
    for kind, parts in AROUND:
        if any(part in name for name in names for part in parts):
            return kind
    return "matrix products" if event.name in PRODUCTS else "other operators"


def profile(side: Any, examples: list[Example], *, batches: int) -> dict[str, Any]:
    """Shares of the time of some steps, by kind, and floating-point operations a second of the matrix products.

    Returns:
        `seconds` of wall time, `shares` of it that sum to 1, the largest of its `others`, `rate` of matrix products per
        second of wall time in FLOP/s (attention's own products are not counted), `best` of this machine.
    """
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as record

    rows = examples[: (batches + 1) * BATCH]
    with labelled():
        side.before(rows)
        side.step(rows[:BATCH])
        began = time.perf_counter()
        with record(activities=[ProfilerActivity.CPU], with_flops=True) as seen:
            began = time.perf_counter()
            for at in range(BATCH, len(rows), BATCH):
                side.step(rows[at : at + BATCH])
            seconds = time.perf_counter() - began
    spent = dict.fromkeys(ORDER, 0.0)
    flops, others = 0, Counter()
    for event in seen.events():
        kind = _kind(event)
        spent[kind] += event.self_cpu_time_total / 1e6
        if kind == "other operators":
            others[event.name] += event.self_cpu_time_total / 1e6
        flops += event.flops or 0
    known = sum(spent.values())
    spent["Python"] = max(0.0, seconds - known)
    whole = sum(spent.values())
    best, _ = matrix_rate()
    return {
        "seconds": seconds,
        "shares": {kind: spent[kind] / whole for kind in ORDER},
        "others": {name: spent / whole for name, spent in others.most_common(6)},
        "rate": flops / seconds,
        "best": best,
    }


def told(method: str, found: dict[str, Any]) -> str:
    """One paragraph for the screen."""
    reached = found["rate"] / found["best"]
    lines = [
        f"{method}: {found['rate'] / 1e9:.1f} of {found['best'] / 1e9:.1f} GFLOP/s in matrix products, "
        f"{reached:.0%} of what a large product reaches here"
    ]
    lines += [f"  {kind:<18}{share:>6.1%}" for kind, share in found["shares"].items()]
    lines.append("  other operators, the largest: " + ", ".join(f"{n} {s:.1%}" for n, s in found["others"].items()))
    return "\n".join(lines)
