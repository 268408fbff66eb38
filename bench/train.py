"""Training speed against TRL: SFT, reward model and DPO on hh-rlhf, on the CPU, side by side in one run.

    pip install -e '.[bench]'
    python bench/train.py [--blocks 5] [--batches 4] [--only dpo] [--extra all [--no-barred]] [--profile sft] [--json]

Llama shape (256 wide, 6 layers, vocabulary 16,384), float32, two threads, batches of 8 rows, at most 512 tokens a row.
Both sides get the same rows in the same order, AdamW and clipping; TRL gets its own collators, losses and
`training_step`, without gradient checkpointing, and its logging is left out. Measurements alternate, block by block,
and the ratio is of medians of useful rows a second; data preparation is excluded. The loss of step 1 must be equal.
DPO is measured three times: our reference pass inside the timed region against TRL's live reference; the reference
excluded on both sides; and a later epoch, where ours is kept (no bar). Peak memory is that of a fresh process above its
loaded model, ours over TRL's. Needs the real data (`$BURNISH_DATA` or ../shared/data). About ten minutes.

Rows without a bar, with `--extra`: `grouped` (both sides in the order of the trainer's group_by_length), `prompts`
(four times as long as the answers), `vocabulary` (128,256 entries, batches of two rows: TRL's tables of logits for
eight do not fit beside each other in 16 GiB). `--profile METHOD` (sft, reward, dpo or all) prints where our time goes,
and compares nothing.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch

from bench.training.material import VOCABULARY, long_prompts, make_model, read_pairs
from bench.training.measure import alternate, growth, peak
from bench.training.profile import profile, told
from bench.training.sides import BATCH, Theirs, grouped, ours
from burnish.records import Preference
from burnish.runs import choose_compute
from burnish.runs.compute import set_compute

THREADS, ROWS = 2, 600
METHODS = ("sft", "reward", "dpo")
BARS = {"sft": 2.7, "reward": 2.5, "dpo": 5.0, "dpo_reference_excluded": 4.0}
MEMORY_BAR = 0.5


@dataclass(frozen=True)
class Case:
    """What one comparison is over.

    Args:
        name: stands behind the method's in a row's name; the barred comparison has none.
        size: rows of an optimiser batch.
    """

    name: str = ""
    grouped: bool = False
    prompts: bool = False
    vocabulary: int = VOCABULARY
    size: int = BATCH


EXTRAS = {
    "grouped": Case("grouped", grouped=True),
    "prompts": Case("long_prompts", prompts=True),
    "vocabulary": Case("vocabulary_128k", vocabulary=128_256, size=2),
}


def compare(
    method: str, folder: Path, pairs: Sequence[Preference], case: Case, asked: argparse.Namespace
) -> list[dict[str, Any]]:
    """Rows of the table for one method in one case."""
    trials = {method: (True, True)}
    if method == "dpo" and not case.name:
        trials |= {"dpo_reference_excluded": (False, False), "dpo_later_epoch": (False, True)}
    out = []
    for name, (inside, live) in trials.items():
        mine, examples = ours(method, folder, pairs, inside=inside)
        if case.grouped:
            examples = grouped(examples)
        sides = {"ours": mine, "trl": Theirs(method, folder, live=live)}
        how = {"blocks": asked.blocks, "batches": asked.batches, "size": case.size}
        found = alternate(sides, examples, **how)
        rate, other = found["rate"]["ours"], found["rate"]["trl"]
        apart = abs(found["first"]["ours"] - found["first"]["trl"])
        bar = BARS.get(name, 0) if not case.name else 0
        ratio = round(rate / other, 2)
        detail = f"{rate:.1f} against {other:.1f} rows/s; losses of step 1 differ by {apart:.1e}"
        row = {"name": f"{name}{'_' if case.name else ''}{case.name}_vs_trl", "value": ratio, "bar": bar}
        out.append(row | {"holds": apart <= 1e-4 and ratio >= bar, "detail": detail})
    if not asked.no_memory and not case.name:
        rate, other = (peak(method, who, folder, __file__) for who in ("ours", "trl"))
        detail = f"{rate:.0f} against {other:.0f} MiB above the loaded model"
        row = {"name": f"{method}_peak_memory_over_trl", "value": round(rate / other, 2), "bar": MEMORY_BAR}
        out.append(row | {"holds": rate <= MEMORY_BAR * other, "detail": detail})
    return out


def compare_all(pairs: Sequence[Preference], asked: argparse.Namespace) -> list[dict[str, Any]]:
    """All rows that were asked for; each case has its own models."""
    extras = list(EXTRAS) if asked.extra == "all" else [name for name in asked.extra.split(",") if name]
    rows: list[dict[str, Any]] = []
    for case in [*([] if asked.no_barred else [Case()]), *(EXTRAS[name] for name in extras)]:
        with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
            mine = long_prompts(pairs) if case.prompts else pairs
            make_model(Path(place), mine, vocabulary=case.vocabulary)
            if case.name and not case.grouped:  # no more than are measured: DPO reads its reference on all of them
                mine = mine[: (asked.blocks + 2) * asked.batches * case.size]
            for method in METHODS:
                if asked.only in ("", method):
                    rows += compare(method, Path(place), mine, case, asked)
    return rows


def measure_memory(method: str, who: str, folder: Path, pairs: Sequence[Preference]) -> None:
    """Print the MiB that one side's training needs; runs in a process of its own."""
    side, examples = ours(method, folder, pairs, inside=True)
    if who != "ours":
        side = Theirs(method, folder, live=True)
    print(growth(side, examples))


def profile_all(pairs: Sequence[Preference], asked: argparse.Namespace) -> None:
    """Print where the time of the asked methods goes."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="burnish-bench-") as place:
        make_model(Path(place), pairs)
        for method in METHODS if asked.profile == "all" else (asked.profile,):
            side, examples = ours(method, Path(place), pairs, inside=True)
            found[method] = profile(side, examples, batches=asked.batches)
    if asked.json:
        print(json.dumps({"bench": "train", "profile": found}))
        return
    for method, one in found.items():
        print(told(method, one))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--blocks", type=int, default=5, help="measurements of each side")
    parser.add_argument("--batches", type=int, default=4, help="optimiser steps of a measurement")
    parser.add_argument("--only", default="", choices=("", *METHODS), help="one method")
    parser.add_argument("--extra", default="", help=f"rows without a bar: {', '.join(EXTRAS)}, with commas, or all")
    parser.add_argument("--no-barred", action="store_true", help="the extra rows alone")
    parser.add_argument("--no-memory", action="store_true", help="leave the memory rows out")
    parser.add_argument("--profile", default="", choices=("", *METHODS, "all"), help="print where our time goes")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--measure-memory", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", default="", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    unknown = [name for name in asked.extra.split(",") if name and name not in ("all", *EXTRAS)]
    if unknown:
        parser.error(f"there is no extra {unknown[0]!r}; there are {', '.join(EXTRAS)}")
    logging.disable(logging.WARNING)
    torch.set_num_threads(THREADS)
    set_compute(choose_compute(device="cpu", dtype="float32", threads=THREADS, workers=1))
    pairs = read_pairs(ROWS)
    if asked.measure_memory:
        measure_memory(*asked.measure_memory.split(","), Path(asked.folder), pairs)
    elif asked.profile:
        profile_all(pairs, asked)
    else:
        rows = compare_all(pairs, asked)
        if asked.json:
            print(json.dumps({"bench": "train", "rows": rows}))
            return
        for row in rows:
            verdict = "holds" if row["holds"] else "FAILS"
            print(f"{row['name']:<34} {row['value']:>6.2f}   bar {row['bar']:>4}   {verdict}   {row['detail']}")


if __name__ == "__main__":
    main()
