"""Kill processes that train together, run the same command again, and compare every bit with what nobody killed.

    python bench/kill_ranks.py [--kills 20] [--processes 2] [--seed 0] [--only grpo] [--json]

`torchrun ... -m burnish.train` from the shipped base: DPO on pairs of the microworld, and GRPO on its prompts. Each go
ends by `kill -9` of one process after one to four of its own updates, in the middle of drawing answers (GRPO), or of
the launcher together with the first process. A checkpoint is written at every second step or round. Weights, curves and
rows must be equal, and no process may outlive its launcher.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench.kill import compare, contents, finish, show
from bench.kill_training import write_pairs
from burnish import microworld
from burnish.microworld import base_weights

# Runs in each process: checkpoints, and in the doomed one the end after so many passings of a place (-1: launcher too).
ARMED = """
import os, signal, sys
doomed, where, left = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
from burnish.llm.local.decode import Grouped
from burnish.train.checkpoint import Progress
from burnish.train.session import Session
begin = Progress.__init__
Progress.__init__ = lambda self, scratch, **how: begin(self, scratch, **{**how, "checkpoint_steps": 2})
def arm(owner, name):
    call = getattr(owner, name)
    def armed(*given, **how):
        global left
        told = call(*given, **how)
        left -= 1
        if left == 0:
            if doomed < 0:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return told
    setattr(owner, name, armed)
if int(os.environ["RANK"]) == max(doomed, 0) and left:
    arm(*{"update": (Session, "update"), "draw": (Grouped, "step")}[where])
sys.argv = ["burnish.train", *sys.argv[4:]]
from burnish.train.__main__ import start
start()
"""
REWARD = """
def share(completions):
    return [sum(letter.isdigit() for letter in text) / max(1, len(text)) for text in completions]
"""
ROUNDS = ("prompts=4", "samples=4", "max_new_tokens=12", "lr=1e-4", "refuse_above=1")
ROWS = ("lr=5e-4", "batch_rows=8", "epochs=3", "refuse_above=1")


def launched(processes: int, doomed: int, where: str, left: int, words: list[str]) -> list[str]:
    """The command of `processes` armed processes."""
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return [*torchrun, "--no-python", sys.executable, "-c", ARMED, str(doomed), where, str(left), *words]


def wait_until_free(folder: Path) -> None:
    """Until no process holds the run folder.

    Raises:
        SystemExit: one still does after 20 s.
    """
    for _ in range(200):
        with open(folder / ".lock", "a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except OSError:
                time.sleep(0.1)
    raise SystemExit("a process outlives its launcher")


def kill_until(
    words: list[str], out: Path, *, kills: int, processes: int, places: list[str], rng: random.Random
) -> int:
    """Start and kill; returns how many kills hit before the training was through."""
    for hit in range(kills):
        where, doomed = rng.choice(places), rng.randint(-1, processes - 1)
        left = rng.randint(1, 4) if where == "update" else rng.randint(1, 25)
        done = subprocess.run(launched(processes, doomed, where, left, words), capture_output=True, text=True)
        if done.returncode == 0:
            return hit
        if done.returncode != -signal.SIGKILL and "exitcode  : -9" not in done.stderr:
            raise SystemExit(f"the training failed by itself:\n{done.stderr[-3000:]}")
        if out.exists():
            wait_until_free(out)
    return kills


def bench(kills: int, processes: int, seed: int, place: Path, only: str = "") -> list[dict[str, object]]:
    """Both loops; the rows of the table."""
    pairs, prompts, reward = place / "pairs.jsonl", place / "prompts.jsonl", place / "reward.py"
    write_pairs(pairs, 120)
    asked = microworld.prompts("train", 40, seed=3)
    prompts.write_text("".join(json.dumps({"prompt": p.messages[-1].content}) + "\n" for p in asked))
    reward.write_text(REWARD)
    loops = {
        "dpo": (["--data", str(pairs)], ROWS, ["update"]),
        # with as many rounds as kills some of them are left for the last kill
        "grpo": (
            ["--data", str(prompts), "--reward", f"{reward}:share"],
            (*ROUNDS, f"rounds={max(6, kills)}"),
            ["update", "draw"],
        ),
    }
    rows = []
    for method, (options, settings, places) in loops.items():
        if only not in ("", method):
            continue
        words = [method, "--model", base_weights().path, *options, "--track", "none"]
        words += [part for setting in settings for part in ("--set", setting)]
        whole, killed = place / f"{method}-whole", place / f"{method}-killed"
        finish(launched(processes, 0, "update", 0, [*words, "--out", str(whole)]))
        command = [*words, "--out", str(killed)]
        how = {"kills": kills, "processes": processes, "places": places, "rng": random.Random(f"{seed}/{method}")}
        hit = kill_until(command, killed, **how)
        finish(launched(processes, 0, "update", 0, command))
        differ = compare(whole, killed)
        detail = f"{hit} kills of {processes} processes; {len(contents(killed))} files compared"
        detail += f"; differ: {differ[:3]}" if differ else ""
        holds = not differ and hit == kills
        rows.append({"name": method, "value": len(differ), "bar": 0, "holds": holds, "detail": detail})
    return rows


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="of each loop")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0, help="of the places")
    parser.add_argument("--only", choices=("dpo", "grpo"), default="", help="one of the loops")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    place = Path(tempfile.mkdtemp(prefix="burnish-kill-ranks-"))
    try:
        rows = bench(asked.kills, asked.processes, asked.seed, place, asked.only)
    finally:
        shutil.rmtree(place)
    show("kill_ranks", rows, asked.json)


if __name__ == "__main__":
    main()
