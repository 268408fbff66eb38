"""Do the rounds help? Three seeds of the laptop scale, and a control that chooses at random.

    python bench/rounds.py [--recipe llama3|deepseek_v2] [--seeds 3] [--out runs/bench-rounds] [--scale laptop]
        [--no-control] [--together N] [--json]

Each seed draws its own prompts, samples and orders; the base and the families are the same. Control: the same run with
`--set selection=random`, where rejection sampling draws one of the K samples and pruning keeps as many rows by lot.
`--recipe deepseek_v2`: see `bench/stages.py`; each of its seeds has a control, `--together 2` plays two seeds at a
time, and all of it takes half an hour. Runs that are there already are read, not repeated. Accuracies are greedy,
held-out, in percentage points.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import stages
from burnish.cli.tables import print_rounds, print_stages, rounds
from burnish.runs import RunView


@dataclass(frozen=True)
class Time:
    """What a run took, in minutes: by the clock, and of one processor, its worker processes' added.

    On a machine that does other work the second is the one to go by: alone on a quiet one, a run takes hardly longer.
    """

    clock: float
    processor: float


def run(folder: Path, scale: str, seed: int, more: list[str], recipe: str = "llama3") -> Time:
    """Run, or go on with, one seed; what it took, noted beside the folder when it was there already."""
    began = time.time()
    command = [sys.executable, "-m", "burnish", "run", recipe, "--scale", scale, "--seed", str(seed)]
    note, said = folder.with_suffix(".seconds"), folder.with_suffix(".log")
    with open(said, "w") as log:
        started = subprocess.Popen([*command, "--out", str(folder), *more], stdout=subprocess.DEVNULL, stderr=log)
        spent: dict[int, float] = {}
        while started.poll() is None:
            spent |= processor_seconds(started.pid)
            time.sleep(0.5)
    told = said.read_text()
    if started.returncode:
        raise SystemExit(f"seed {seed} failed:\n{told[-2000:]}")
    if not ("nothing was computed" in told and note.exists()):
        note.write_text(f"{time.time() - began:.1f} {sum(spent.values()):.1f}")
    return Time(*(float(seconds) / 60 for seconds in note.read_text().split()))


def processor_seconds(root: int) -> dict[int, float]:
    """Process -> processor seconds so far, of a process and all that come from it (Linux)."""
    known, tick = {}, os.sysconf("SC_CLK_TCK")
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            words = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        known[int(path.parent.name)] = int(words[1]), (int(words[11]) + int(words[12])) / tick
    found: set[int] = set()
    more = {root} & known.keys()
    while more:
        found |= more
        more = {process for process, (parent, _) in known.items() if parent in found} - found
    return {process: known[process][1] for process in found}


def strengths(view: RunView) -> list[float | None]:
    """Held-out pair accuracy of the reward model by strength 1 to 4, chosen over rejected, last round."""
    steps = [s for s in view.steps if s.name.endswith("rm-accuracy")]
    found = steps[-1].note["metrics"]["by_strength"] if steps else {}
    return [found.get(f"strength {level}") for level in (1, 2, 3, 4)]


def measure(folder: Path) -> dict[str, Any]:
    """The figures of one run."""
    view = RunView(folder)
    table = rounds(view)
    base, *played = table
    last = played[-1]
    return {
        "base": base["averaged"],
        "first": played[0]["final"],
        "final": last["final"],
        "gain": last["final"] - base["averaged"],
        "last_over_first": last["final"] - played[0]["final"],
        "rm": last["rm"],
        "strengths": strengths(view),
        "best_of_k_gain": mean(row["gain"] for row in played if row["gain"] is not None),
    }


def rows_of(runs: list[dict[str, Any]], control: dict[str, Any] | None, minutes: list[float]) -> list[dict[str, Any]]:
    """The bars of the demo, as means over seeds."""

    def row(name: str, value: float, bar: float, holds: bool, detail: str) -> dict[str, Any]:
        return {"name": name, "value": round(value, 4), "bar": bar, "holds": holds, "detail": detail}

    def points(key: str) -> str:
        return ", ".join(f"{100 * r[key]:.1f}" for r in runs)

    gain, later = 100 * mean(r["gain"] for r in runs), 100 * mean(r["last_over_first"] for r in runs)
    rm, chosen = 100 * mean(r["rm"] for r in runs), 100 * mean(r["best_of_k_gain"] for r in runs)
    level = [mean(v for r in runs if (v := r["strengths"][i]) is not None) for i in range(4)]
    weak, strong = mean(level[:2]), mean(level[2:])
    out = [
        row("final_over_base", gain, 25, gain >= 25, f"base {points('base')}; final {points('final')}"),
        row("last_over_first_round", later, 2, later >= 2, f"first {points('first')}; final {points('final')}"),
        row("reward_pair_accuracy", rm, 75, rm >= 75, f"by seed {points('rm')}"),
        row("reward_rises_with_strength", 100 * (strong - weak), 0, strong > weak,
            "strengths 1 to 4: " + ", ".join(f"{100 * v:.1f}" for v in level)),
        row("best_of_k_over_mean_of_k", chosen, 10, chosen >= 10, f"by seed {points('best_of_k_gain')}"),
        row("minutes", max(minutes), 12, max(minutes) <= 12, ", ".join(f"{m:.1f}" for m in minutes)),
    ]  # fmt: skip
    if control:
        gap = 100 * (mean(r["final"] for r in runs) - control["final"])
        out.append(row("over_random_selection", gap, 10, gap >= 10, f"control ends at {100 * control['final']:.1f}"))
    return out


def staged(place: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the second recipe."""
    folders = [place / f"seed-{seed}" for seed in range(asked.seeds)]
    controls = [] if asked.no_control else [place / f"control-{seed}" for seed in range(asked.seeds)]

    def play(seed: int) -> Time:
        took = run(folders[seed], asked.scale, seed, [], asked.recipe)
        if controls:
            run(controls[seed], asked.scale, seed, stages.control_settings(RunView(folders[seed])), asked.recipe)
        return took

    with ThreadPoolExecutor(asked.together) as pool:
        minutes = list(pool.map(play, range(asked.seeds)))
    for folder in (*folders, *controls):
        print(folder.name, file=sys.stderr)
        print_stages(RunView(folder), sys.stderr)
    return stages.rows_of(folders, controls, [(took.clock, took.processor) for took in minutes])


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="llama3", choices=("llama3", "deepseek_v2"))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", default="laptop")
    parser.add_argument("--out", default="runs/bench-rounds")
    parser.add_argument("--no-control", action="store_true", help="leave the control out")
    parser.add_argument("--together", type=int, default=1, help="seeds of deepseek_v2 at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    place = Path(asked.out)
    place.mkdir(parents=True, exist_ok=True)
    rows = staged(place, asked) if asked.recipe == "deepseek_v2" else round_by_round(place, asked)
    if asked.json:
        print(json.dumps({"bench": "rounds", "rows": rows}))
        return
    for line in rows:
        print(f"{line['name']:<28}{line['value']:>8.2f}  bar {line['bar']:>5}  {line['holds']!s:<6} {line['detail']}")


def round_by_round(place: Path, asked: argparse.Namespace) -> list[dict[str, Any]]:
    """The rows of the first recipe."""
    runs, minutes = [], []
    for seed in range(asked.seeds):
        folder = place / f"seed-{seed}"
        minutes.append(run(folder, asked.scale, seed, []).clock)
        runs.append(measure(folder))
        print(f"seed {seed}, {minutes[-1]:.1f} minutes", file=sys.stderr)
        print_rounds(RunView(folder), sys.stderr)
    control = None
    if not asked.no_control:
        run(place / "control", asked.scale, 0, ["--set", "selection=random"])
        control = measure(place / "control")
        print("control: selection=random", file=sys.stderr)
        print_rounds(RunView(place / "control"), sys.stderr)
    return rows_of(runs, control, minutes)


if __name__ == "__main__":
    main()
