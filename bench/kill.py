"""Kill a run at random moments, run the same command again, and compare every bit with a run nobody killed.

    python bench/kill.py [--kills 20] [--scale smoke] [--seed 0] [--json]

What is compared: weights, rows, dropped rows, metrics of every step, and step.json without its clock and its paths.
How it is killed: `kill -9` of the parent alone and of the whole group, in turn, at uniformly drawn moments; then at
chosen points: inside a SQLite commit and right after an artifact's rename. Between the kills the run folder is moved
once, and the last go runs as on a machine with one core. (Kills inside a training checkpoint: tests/train.)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

VOLATILE = ("finished", "seconds", "versions")
POINTS = ("commit", "rename")

# Runs inside the child: arms one point, at its n-th passing, then runs the command line.
ARMED = """
import os, signal, sys
point, left = sys.argv[1], int(sys.argv[2])
def passed():
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
if point == "commit":
    from burnish.runs.journal import SqliteJournal
    put = SqliteJournal.put
    def armed(self, key, value):
        global left
        if left == 1:
            self.base.execute("begin immediate")
            self.base.execute("insert or replace into entries values (?, ?)", ("half", "{"))
        passed()
        put(self, key, value)
    SqliteJournal.put = armed
elif point == "rename":
    rename = os.rename
    def armed(source, target):
        rename(source, target)
        passed()
    os.rename = armed
sys.argv = ["burnish", *sys.argv[3:]]
from burnish.cli import main
main()
"""


def contents(folder: Path) -> dict[str, object]:
    """Everything a run left that must not depend on being killed: relative name -> bytes or parsed step.json."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if (
            not path.is_file()
            or name.startswith((".work", "superseded", "requests"))
            or name in (".lock", "run.json", "report.html")
        ):
            continue
        if path.name == "step.json":
            note = json.loads(path.read_text())
            found[name] = {key: value for key, value in note.items() if key not in VOLATILE}
        else:
            found[name] = path.read_bytes()
    return found


def compare(one: Path, other: Path) -> list[str]:
    """Names of what differs between two runs; empty when they are equal bit for bit."""
    first, second = contents(one), contents(other)
    return [name for name in sorted(first.keys() | second.keys()) if first.get(name) != second.get(name)]


def start(command: list[str], env: dict[str, str] | None = None) -> subprocess.Popen:
    """Start a command in a process group of its own, silent."""
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, start_new_session=True, env={**os.environ, **(env or {})}, **quiet)


def finish(command: list[str], env: dict[str, str] | None = None) -> float:
    """Run a command to its end and say how many seconds it took.

    Raises:
        SystemExit: it failed.
    """
    began = time.time()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **(env or {})})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return time.time() - began


def random_kills(command: list[str], kills: int, seconds: float, rng: random.Random) -> int:
    """Kill and restart; a run that ends before its moment is none. Returns how many kills hit."""
    hit = 0
    for number in range(kills):
        process = start(command)
        try:
            process.wait(timeout=rng.uniform(0.5, max(1.0, 0.5 * seconds)))
        except subprocess.TimeoutExpired:
            hit += 1
            if number % 2:
                os.killpg(process.pid, signal.SIGKILL)
            else:
                process.kill()
        process.wait()
        wait_for_children(process.pid)
    return hit


def wait_for_children(group: int) -> None:
    """Until no process of the group is left; workers must die with their parent.

    Raises:
        SystemExit: one is still alive after 20 s.
    """
    for _ in range(400):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    raise SystemExit("worker processes outlive their parent")


def bench(kills: int, scale: str, seed: int, place: Path) -> list[dict[str, object]]:
    """All kills on one run folder; the rows of the table."""
    rng = random.Random(seed)
    options = ["run", "llama3", "--scale", scale, "--out"]
    burnish = [sys.executable, "-m", "burnish"]
    seconds = finish([*burnish, *options, str(place / "whole")])
    rows: list[dict[str, object]] = []

    def record(name: str, folder: Path, detail: str) -> None:
        differ = compare(place / "whole", folder)
        shown = f"{detail}; {len(contents(folder))} files compared" + (f"; differ: {differ[:3]}" if differ else "")
        rows.append({"name": name, "value": len(differ), "bar": 0, "holds": not differ, "detail": shown})

    killed = place / "killed"
    command = [*burnish, *options, str(killed)]
    hit = random_kills(command, kills // 2, seconds, rng)
    moved = place / "moved"
    killed.rename(moved)
    command = [*burnish, *options, str(moved)]
    hit += random_kills(command, kills - kills // 2, seconds, rng)
    one = {"BURNISH_CORES": "1"}
    finish(command, one)
    record("random_kills", moved, f"{hit} kills of parent or group, folder moved between, last go on one core")
    for point in POINTS:
        folder = place / point
        command = [*options, str(folder)]
        for nth in (1, rng.randint(2, 6)):
            armed = start([sys.executable, "-c", ARMED, point, str(nth), *command])
            armed.wait()
            if armed.returncode != -signal.SIGKILL:
                raise SystemExit(f"the run did not pass {point} {nth} times")
            wait_for_children(armed.pid)
        finish([*burnish, *command])
        record(f"kill_at_{point}", folder, "2 kills")
    return rows


def show(bench: str, rows: list[dict[str, object]], as_json: bool) -> None:
    """Print the rows and end the process: 0 when nothing differs."""
    if as_json:
        print(json.dumps({"bench": bench, "rows": rows}))
    else:
        for row in rows:
            verdict = "ok" if row["holds"] else "FAILS"
            print(f"{row['name']:<20} {row['value']:>4} files differ   {verdict}   {row['detail']}")
    sys.exit(0 if all(row["holds"] for row in rows) else 1)


def main() -> None:
    """Parse, run, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="random kills")
    parser.add_argument("--scale", default="smoke", help="scale of the run that is killed")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument("--keep", default="", help="folder for the runs; default a temporary one, removed")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    place = Path(asked.keep or tempfile.mkdtemp(prefix="burnish-kill-"))
    place.mkdir(parents=True, exist_ok=True)
    rows = bench(asked.kills, asked.scale, asked.seed, place)
    if not asked.keep:
        shutil.rmtree(place)
    show("kill", rows, asked.json)


if __name__ == "__main__":
    main()
