"""On-policy speed: a GRPO round against TRL's, the sampler against `generate`, shared prompts against repeated ones.

    pip install -e '.[bench]'
    python bench/on_policy.py [--rounds 5] [--only round,sampler,ragged,shared] [--trl-batch 64] [--profile]
        [--threads 1 --clock cpu] [--json]

Llama shape (256 wide, 6 layers, vocabulary 16,384: 9 M parameters), float32, two threads. A round is 8 prompts
(dialogues of hh-rlhf, at most 256 tokens) x 8 answers x 64 tokens with nothing that ends an answer, a reward that costs
nothing, a reference that is not the policy, beta 0.04, one update with clipping and AdamW. TRL 1.16 runs its own
generation, rewards, reference pass and loss, without gradient checkpointing; its loop and logging are left out. Both
sides get the same prompts in the same order and measurements alternate; the ratio is of medians. The loss of the first
step is compared on the same answers. The sampler is measured alone against one `generate` call on the same 64 rows,
with equal lengths and with lengths drawn from a geometric distribution of mean 24, the same on both sides. The update
is measured with the prompt of a group computed once, and once for each answer, at prompts of 256 tokens and answers
of 64.

Needs the real data (`$BURNISH_DATA` or ../shared/data). About five minutes. `--profile` prints where a round's time
goes, and compares nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from bench.training import fresh
from bench.training.fresh import (
    PROMPTS,
    SAMPLES,
    TOKENS,
    Drawing,
    Ours,
    Theirs,
    base_of,
    long_rows,
    moved,
    now,
    prompts_of,
)
from bench.training.material import VOCABULARY, make_model, read_pairs
from bench.training.rounds_profile import profile, told
from burnish.chat import load_chat
from burnish.llm.local.styles import ChatStyle
from burnish.records import Prompt
from burnish.runs import choose_compute
from burnish.runs.compute import set_compute
from burnish.train.on_policy.objectives import fresh as objective

THREADS, ROWS, MEAN = 2, 600, 24
BARS = {"round": 3.0, "sampler": 2.5, "ragged": 4.0, "shared": 1.5}


def alternate(sides: dict[str, Callable[[int], float]], rounds: int) -> dict[str, float]:
    """Median seconds of each side; each is called with the number of the measurement and gives its seconds."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, side in sides.items():
            took = side(number)
            if number:  # the first warms up
                seconds[name].append(took)
    return {name: statistics.median(values) for name, values in seconds.items()}


def timed(call: Callable[[], Any]) -> float:
    began = now()
    call()
    return now() - began


def row(name: str, found: dict[str, float], detail: str, *, holds: bool = True) -> dict[str, Any]:
    """A row of the table; `found` holds the seconds of ours and of the other."""
    mine, other = found.values()
    value = other / mine
    return {"name": name, "value": round(value, 2), "bar": BARS[name], "holds": holds and value >= BARS[name]} | {
        "detail": detail
    }


def compare_rounds(folder: Path, prompts: Sequence[Prompt], asked: argparse.Namespace) -> dict[str, Any]:
    """A whole round."""
    base = base_of(folder)
    reference = moved(base, folder / "reference")
    mine, other = Ours(base, reference), Theirs(base, reference, folder, size=asked.trl_batch)
    if other.prompt_ids(prompts[:PROMPTS]) != [list(mine.sampler.style.encode(p)) for p in prompts[:PROMPTS]]:
        raise SystemExit("the two sides make other tokens of the prompts")
    apart: list[float] = []

    def ours(number: int) -> float:
        part = turn(prompts, number)
        losses: list[float] = []
        seconds = timed(lambda: losses.append(mine.round(part)))
        if not apart:  # both are at the weights that they began with; ours has just left them
            advantages = torch.cat([mine.session.method.known[e.id]["advantages"] for e in mine.examples])
            apart.append(abs(other.loss_on(mine.examples, advantages) / losses[0] - 1))
        return seconds

    found = alternate({"ours": ours, "trl": lambda n: timed(lambda: other.round(turn(prompts, n)))}, asked.rounds)
    rate = {name: PROMPTS * SAMPLES / seconds for name, seconds in found.items()}
    parts = ", ".join(f"{name} {statistics.median(s[1:]):.2f}" for name, s in mine.parts.items())
    detail = f"{rate['ours']:.1f} against {rate['trl']:.1f} answers/s; ours in s: {parts}; losses {apart[0]:.0e} apart"
    return row("round", found, detail, holds=apart[0] <= 1e-3)


def turn(prompts: Sequence[Any], number: int) -> list[Any]:
    """The prompts of a measurement."""
    start = number * PROMPTS % (len(prompts) - PROMPTS)
    return list(prompts[start : start + PROMPTS])


def compare_samplers(folder: Path, prompts: Sequence[Prompt], asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The sampler alone, with equal and with ragged lengths."""
    base = base_of(folder)
    style = ChatStyle(load_chat(base.path))
    ids = [list(style.encode(p)) for p in prompts]
    drawing = Drawing(base)
    for name in ("sampler", "ragged"):
        if name not in asked.only:
            continue
        given = np.random.default_rng(0).geometric(1 / MEAN, (asked.rounds + 1, PROMPTS * SAMPLES))
        lengths = given if name == "ragged" else np.full_like(given, TOKENS)
        found = alternate(
            {
                "ours": lambda n, lengths=lengths: drawing.ours(turn(ids, n), lengths[n]),
                "generate": lambda n, lengths=lengths: drawing.theirs(turn(ids, n), lengths[n]),
            },
            asked.rounds,
        )
        size = f"mean length {lengths[1:].mean():.0f}, longest {lengths[1:].max(1).mean():.0f}"
        yield row(name, found, f"{found['ours']:.2f} against {found['generate']:.2f} s for 64 rows; {size}")


def compare_shared(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Reference pass and update, with prompts once a group and once an answer."""
    base = base_of(folder)
    mine = Ours(base, base)
    rows = long_rows(VOCABULARY)
    nothing = {e.id: torch.zeros(e.trained_tokens, dtype=torch.float64) for e in rows}
    real = {name: getattr(objective, name) for name in ("trained_logprobs", "build_pack")}

    def side(share: bool, number: int) -> float:
        for name, function in real.items():
            setattr(objective, name, partial(function, share_prefix=share))
        session = mine.session
        try:
            began = now()
            session.method.explored(session.model, [rows], nothing, session.place)
            session.update(rows)
            return now() - began
        finally:
            for name, function in real.items():
                setattr(objective, name, function)

    found = alternate({"shared": partial(side, True), "repeated": partial(side, False)}, asked.rounds)
    shown = f"{found['shared']:.2f} against {found['repeated']:.2f} s, reference pass and update"
    return row("shared", found, f"{shown}; prompts of {4 * TOKENS} tokens, answers of {TOKENS}")


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="measurements of each side")
    parser.add_argument("--only", default=",".join(BARS), help=f"rows, with commas: {', '.join(BARS)}")
    parser.add_argument("--trl-batch", type=int, default=64, help="answers of a pass of TRL's update: 8, 16, 32 or 64")
    parser.add_argument("--profile", action="store_true", help="print where a round's time goes; compares nothing")
    parser.add_argument("--threads", type=int, default=THREADS)
    parser.add_argument("--clock", default="wall", choices=fresh.CLOCKS, help="cpu: this process's time, with 1 thread")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    asked.only = [name for name in asked.only.split(",") if name]
    if unknown := [name for name in asked.only if name not in BARS]:
        parser.error(f"there is no row {unknown[0]!r}; there are {', '.join(BARS)}")
    if asked.clock == "cpu" and asked.threads > 1:
        parser.error("--clock cpu adds up the threads; measure with --threads 1")
    logging.disable(logging.WARNING)
    fresh.clock = asked.clock
    torch.set_num_threads(asked.threads)
    set_compute(choose_compute(device="cpu", dtype="float32", threads=asked.threads, workers=1))
    pairs = read_pairs(ROWS)
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
        folder = Path(place)
        base = make_model(folder, pairs)
        prompts = prompts_of(pairs, Path(base.path))
        if asked.profile:
            found = profile(Ours(base, moved(base, folder / "reference")), prompts, rounds=asked.rounds)
            print(json.dumps({"bench": "on_policy", "profile": found}) if asked.json else told(found))
            return
        rows = []
        for one in measured(folder, prompts, asked):
            rows.append(one)
            if not asked.json:
                verdict = "holds" if one["holds"] else "FAILS"
                shown = f"{one['name']:<10} {one['value']:>6.2f}   bar {one['bar']:>4}   {verdict}   {one['detail']}"
                print(shown, flush=True)
    if asked.json:
        print(json.dumps({"bench": "on_policy", "rows": rows}))


def measured(folder: Path, prompts: Sequence[Prompt], asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The rows that were asked for, as they come."""
    if {"sampler", "ragged"} & set(asked.only):
        yield from compare_samplers(folder, prompts, asked)
    if "shared" in asked.only:
        yield compare_shared(folder, asked)
    if "round" in asked.only:
        yield compare_rounds(folder, prompts, asked)


if __name__ == "__main__":
    main()
