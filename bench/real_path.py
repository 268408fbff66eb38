"""Does the path for a user's own files reach what the embedded run reaches? Arithmetic as GSM8K rows.

    python bench/real_path.py --embedded runs/llama3-laptop [--out runs/bench-real] [--prompts 300] [--json]

300 arithmetic prompts of the microworld are exported in GSM8K form and given back with `--prompts FILE --annotator
math`; the gain on held-out arithmetic is compared with the embedded run's gain on that family. Bar: within 5 points. A
file of 300 rows gives a fifth of the embedded run's demonstrations, so SFT goes over them five times as often, which
makes as many updates; nothing else differs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from burnish import microworld
from burnish.runs import RunView


def accuracy(view: RunView, ending: str) -> float:
    """Accuracy on arithmetic (or on all, where a run has one ability only) of the last step with that ending."""
    metrics = [s for s in view.steps if s.name.endswith(ending)][-1].note["metrics"]
    return metrics["by_ability"].get("arithmetic", metrics["accuracy"])


def gain(folder: Path) -> tuple[float, float]:
    """(base, final) on arithmetic: the best prompt style of the base, and the last round's average."""
    view = RunView(folder)
    starts = [s.name for s in view.steps if "-start-" in s.name]
    return max(accuracy(view, name) for name in starts), accuracy(view, "scores-average")


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedded", required=True, help="folder of a finished embedded run")
    parser.add_argument("--out", default="runs/bench-real")
    parser.add_argument("--prompts", type=int, default=300)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    place = Path(asked.out)
    place.mkdir(parents=True, exist_ok=True)
    family = ("arithmetic",)
    microworld.export_gsm8k(microworld.prompts("train", asked.prompts, seed=0, families=family), place / "train.jsonl")
    microworld.export_gsm8k(microworld.prompts("heldout", 200, seed=0, families=family), place / "heldout.jsonl")
    command = [sys.executable, "-m", "burnish", "run", "llama3", "--prompts", str(place / "train.jsonl"), "--heldout"]
    command += [str(place / "heldout.jsonl"), "--annotator", "math", "--out", str(place / "run")]
    command += ["--set", "sft_epochs=25"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    (base, final), (was, became) = gain(place / "run"), gain(Path(asked.embedded))
    short = 100 * ((became - was) - (final - base))
    detail = f"files {100 * base:.1f} -> {100 * final:.1f}, embedded {100 * was:.1f} -> {100 * became:.1f}"
    row = {
        "name": "real_path_behind_embedded",
        "value": round(short, 2),
        "bar": 5,
        "holds": short <= 5,
        "detail": detail,
    }
    if asked.json:
        print(json.dumps({"bench": "real_path", "rows": [row]}))
    else:
        print(f"{row['name']}: {row['value']:.1f} points, bar 5, {row['holds']}; {detail}")


if __name__ == "__main__":
    main()
