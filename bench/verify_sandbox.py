"""Checks a second in the sandbox, against starting bubblewrap and Python for every check, side by side.

The programs are all public completions of HumanEval and MBPP with their tests. All sides run the same text, with twice
as many threads as there are cores, one after the other within a round; a ratio is the median over the rounds.
"""

from __future__ import annotations

import gzip
import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from burnish.protocols import Limits
from burnish.verify.sandbox import Bubblewrap, probe

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
BAR = 5.0
THREADS = 2 * (os.cpu_count() or 1)  # for both sides: a check waits for other processes while it runs
LIMITS = Limits(seconds=3.0)
SLOW = 8  # without a warm warden, one program in eight
# What one writes by hand: everything read-only, no network, private /tmp.
PLAIN = ["bwrap", "--ro-bind", "/", "/", "--tmpfs", "/tmp", "--proc", "/proc", "--dev", "/dev", "--unshare-all",
         "--die-with-parent", "--new-session", "--cap-drop", "ALL"]  # fmt: skip


def rows_of(path: Path) -> list[dict]:
    with gzip.open(path, "rt") as file:
        return [json.loads(line) for line in file]


def programs() -> list[str]:
    """Completion and tests as one program each; it fails by an exception."""
    human = {row["task_id"]: row for row in rows_of(DATA / "human_eval" / "HumanEval.jsonl.gz")}
    mbpp = {f"Mbpp/{row['task_id']}": row for row in rows_of(DATA / "mbpp" / "mbpp.jsonl.gz")}
    found = []
    for row in rows_of(DATA / "human_eval" / "wizardcoder_completions.jsonl.gz"):
        task = human[row["task_id"]]
        head = task["prompt"] if task["entry_point"] not in row["completion"] else ""
        found.append(f"{head}{row['completion']}\n{task['test']}\ncheck({task['entry_point']})\n")
    for row in rows_of(DATA / "mbpp" / "wizardcoder_completions.jsonl.gz"):
        task = mbpp[row["task_id"]]
        found.append("\n".join([row["completion"], task["test_setup_code"], *task["test_list"]]))
    return found


def plain(words: Sequence[str], seconds: float) -> Callable[[str], str]:
    """Starts bubblewrap and Python for a program: `passed`, `failed` or `time`."""

    def check(code: str) -> str:
        try:
            done = subprocess.run([*PLAIN, *words, "-"], input=code.encode(), capture_output=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return "time"
        return "failed" if done.returncode else "passed"

    return check


def sandboxed(executor: Bubblewrap) -> Callable[[str], str]:
    def check(code: str) -> str:
        ran = executor.run(code, limits=LIMITS)
        return ran.limit or ("failed" if ran.status else "passed")

    return check


def rate(check: Callable[[str], str], codes: Sequence[str]) -> tuple[float, list[str]]:
    """Checks a second, and what each ended as."""
    with ThreadPoolExecutor(THREADS) as pool:
        began = time.perf_counter()
        ends = list(pool.map(check, codes))
        return len(codes) / (time.perf_counter() - began), ends


def measure_sandbox(rounds: int = 3, share: float = 1.0) -> list[dict]:
    """The rows of `bench/verify.py`; `share` of the programs, evenly drawn, in every round."""
    if not (DATA / "human_eval").is_dir():
        raise SystemExit(f"{DATA / 'human_eval'} is absent; point BURNISH_DATA at a folder that holds it")
    found = probe(tools=False)
    if not found.isolated:
        raise SystemExit(f"no sandbox on this machine: {found.missing()}")
    codes = programs()
    codes = codes[:: max(1, round(1 / share))]
    checks = {
        "warm": sandboxed(Bubblewrap()),
        "plain": plain([sys.executable, "-I"], LIMITS.seconds),
        "bare": plain([sys.executable, "-I", "-S"], LIMITS.seconds),
        "once": sandboxed(Bubblewrap(warm=False)),
    }
    rates: dict[str, list[float]] = {name: [] for name in checks}
    ends: dict[str, list[str]] = {}
    checks["warm"]("pass")
    for _ in range(rounds):
        for name, check in checks.items():
            speed, ends[name] = rate(check, codes[:: SLOW if name == "once" else 1])
            rates[name].append(speed)
    told = ", ".join(f"{name} {statistics.median(speeds):.0f}" for name, speeds in rates.items())
    ratio = statistics.median(a / b for a, b in zip(rates["warm"], rates["plain"], strict=True))
    leaner = statistics.median(a / b for a, b in zip(rates["warm"], rates["bare"], strict=True))
    differ = sum(a != b for a, b in zip(ends["warm"], ends["plain"], strict=True))
    counts = dict(Counter(ends["warm"]))
    detail = f"checks/s: {told} (bare: python -I -S); {len(codes)} programs, {counts}, warm {found.warm or 'yes'}"
    return [
        _row("sandbox_vs_bwrap_python", ratio, BAR, ratio >= BAR, detail),
        _row("sandbox_vs_bwrap_python_without_site", leaner, None, None, "the same against python -I -S"),
        _row("sandbox_verdicts_that_differ", differ, 0, differ == 0, "from those of bubblewrap and Python"),
    ]


def _row(name: str, value: float, bar: float | None, holds: bool | None, detail: str) -> dict:
    return {"name": name, "value": round(value, 2), "bar": bar, "holds": holds, "detail": detail}
