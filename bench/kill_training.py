"""Kill a training after random steps, run the same command again, and compare every bit with one that nobody killed.

    python bench/kill_training.py [--kills 20] [--method dpo] [--seed 0] [--json]

`burnish train METHOD` from the shipped base on pairs of the microworld, all weights and LoRA. Each go is killed with
`kill -9` after one to four of its own optimiser steps, on either side of a checkpoint (one is written every second step
here, so that there is something to go on from), until it has been killed as often as asked for. Weights, curves and
rows must be equal.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.kill import compare, contents, finish, show
from bench.lessons import material
from burnish.microworld import base_weights
from burnish.records import Preference

SETTINGS = ("lr=5e-4", "batch_rows=8", "epochs=3", "refuse_above=1")
# Runs inside the child: a checkpoint every second step, and after so many steps the end (0: never).
ARMED = """
import os, signal, sys
left = int(sys.argv[1])
from burnish.train import checkpoint, session
begin = checkpoint.Progress.__init__
checkpoint.Progress.__init__ = lambda self, scratch, **how: begin(self, scratch, **{**how, "checkpoint_steps": 2})
update = session.Session.update
def armed(self, batch):
    global left
    told = update(self, batch)
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return told
session.Session.update = armed
sys.argv = ["burnish", *sys.argv[2:]]
from burnish.cli import main
main()
"""


def write_pairs(path: Path, count: int) -> None:
    """Pairs of the microworld in the columns prompt, chosen, rejected."""
    pairs: list[Preference] = material("train", count, 0).pairs
    with path.open("w", encoding="utf-8") as file:
        for pair in pairs:
            chosen, rejected = (c.messages[-1].content for c in pair.candidates)
            row = {"prompt": pair.context[-1].content, "chosen": chosen, "rejected": rejected}
            file.write(json.dumps(row) + "\n")


def kill_until(command: list[str], kills: int, rng: random.Random) -> int:
    """Start and kill; returns how many kills hit before the training was through."""
    hit = 0
    while hit < kills:
        done = subprocess.run(
            [sys.executable, "-c", ARMED, str(rng.randint(1, 4)), *command], capture_output=True, text=True
        )
        if done.returncode == 0:
            return hit
        if done.returncode != -signal.SIGKILL:
            raise SystemExit(f"the training failed by itself:\n{done.stderr[-2000:]}")
        hit += 1
    return hit


def bench(method: str, kills: int, seed: int, place: Path) -> list[dict[str, object]]:
    """All weights and LoRA; the rows of the table."""
    rows = []
    data = place / "pairs.jsonl"
    write_pairs(data, 120)
    for name, more in (("all_weights", []), ("lora", ["--set", "lora_rank=4"])):
        options = ["train", method, "--model", base_weights().path, "--data", str(data), *more]
        options += [part for setting in SETTINGS for part in ("--set", setting)]
        options += ["--track", "none"]  # TensorBoard's files are named by the clock
        whole, killed = place / f"{name}-whole", place / f"{name}-killed"
        finish([sys.executable, "-m", "burnish", *options, "--out", str(whole)])
        command = [*options, "--out", str(killed)]
        hit = kill_until(command, kills, random.Random(f"{seed}/{name}"))
        finish([sys.executable, "-m", "burnish", *command])
        differ = compare(whole, killed)
        detail = f"{hit} kills; {len(contents(killed))} files compared" + (f"; differ: {differ[:3]}" if differ else "")
        rows.append(
            {"name": name, "value": len(differ), "bar": 0, "holds": not differ and hit == kills, "detail": detail}
        )
    return rows


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--method", default="dpo", help="a method that reads pairs")
    parser.add_argument("--seed", type=int, default=0, help="of the steps")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="burnish-kill-training-"))
    try:
        rows = bench(asked.method, asked.kills, asked.seed, place)
    finally:
        shutil.rmtree(place)
    show("kill_training", rows, asked.json)


if __name__ == "__main__":
    main()
