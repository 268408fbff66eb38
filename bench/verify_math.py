"""The math verifier against math-verify alone, on the same answers, side by side in one process.

    python bench/verify_math.py [--rows 400] [--json]

Each set gives one worked answer a row: the gold answer re-rendered in a box, and every second row the gold answer of
another row. Both sides get the same texts and gold strings: ours through `MathChecker.compare` with math-verify as the
last resort, math-verify through `parse` and `verify` as its README has it, with limits of 2 s instead of its 5 (some
pairs of the college set take it minutes). Our reading is cached by text, so each text is judged once. The sides
alternate by blocks of 50 rows; the figure is the ratio of the summed times. Needs math-verify and BURNISH_DATA.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
BARS = {"gsm8k": 3.0, "college_math": 1.0, "olympiadbench": 1.0}
BLOCK = 50


def golds(name: str) -> list[str]:
    """The gold answers of a set."""
    path = DATA / ("gsm8k/train.jsonl.gz" if name == "gsm8k" else f"maths/{name}.jsonl.gz")
    if not path.exists():
        raise SystemExit(f"{path} is absent: point BURNISH_DATA at a folder that holds it")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    if name == "gsm8k":
        return [row["answer"].rpartition("####")[2].strip() for row in rows]
    return [row["final_answer"][0] if name == "olympiadbench" else row["answer"] for row in rows]


def worked(name: str, rows: int) -> list[tuple[str, str]]:
    """(worked answer, gold answer) pairs; of every second row the answer is another row's."""
    found = golds(name)
    step = max(1, len(found) // rows)
    chosen = found[::step][:rows]
    pairs = []
    for index, gold in enumerate(chosen):
        given = gold if index % 2 == 0 else chosen[(index + 7) % len(chosen)]
        given = given.strip("$").replace("\\frac", "\\dfrac").replace("\\left", "").replace("\\right", "")
        given = f"{given}.0" if re.fullmatch(r"-?\d+", given) else given
        pairs.append((f"We work through the steps below, number {index}.\n\\[\\boxed{{{given}}}\\]", gold))
    return pairs


def _ours() -> Callable[[str, str], bool]:
    from burnish.verify.math import MathChecker

    checker = MathChecker()
    return lambda text, gold: checker.compare(text, gold).kind == "equal"


def _theirs() -> Callable[[str, str], bool]:
    import math_verify

    def judge(text: str, gold: str) -> bool:
        try:
            wanted = math_verify.parse(f"\\boxed{{{gold.strip('$')}}}", parsing_timeout=2)
            return math_verify.verify(wanted, math_verify.parse(text, parsing_timeout=2), timeout_seconds=2)
        except Exception:
            return False

    return judge


def measure(name: str, rows: int) -> dict[str, object]:
    """One row of the table: how many times as fast as math-verify alone."""
    pairs, sides = worked(name, rows), {"ours": _ours(), "theirs": _theirs()}
    for judge in sides.values():
        judge("\\boxed{\\sum_{k=1}^{3} k}", "6")  # both have loaded what they load
    spent = dict.fromkeys(sides, 0.0)
    verdicts: dict[str, list[bool]] = {side: [] for side in sides}
    for start in range(0, len(pairs), BLOCK):
        for side, judge in sides.items():
            begin = time.perf_counter()
            verdicts[side] += [judge(text, gold) for text, gold in pairs[start : start + BLOCK]]
            spent[side] += time.perf_counter() - begin
    ratio = spent["theirs"] / spent["ours"]
    same = sum(a == b for a, b in zip(verdicts["ours"], verdicts["theirs"]))
    each = {side: 1000 * seconds / len(pairs) for side, seconds in spent.items()}
    return {
        "name": f"math_{name}_vs_math_verify",
        "value": round(ratio, 2),
        "bar": BARS[name],
        "holds": ratio >= BARS[name],
        "detail": f"{each['ours']:.2f} ms against {each['theirs']:.2f} ms; {same} of {len(pairs)} verdicts agree",
    }


def measure_math(rows: int = 400) -> list[dict[str, object]]:
    """Rows of the result table: GSM8K at least 3 times as fast, college_math and olympiadbench no slower."""
    logging.disable(logging.WARNING)  # math-verify reports each timeout
    return [measure(name, rows) for name in BARS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=400, help="answers a set")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    rows = measure_math(arguments.rows)
    if arguments.json:
        print(json.dumps({"bench": "verify_math", "rows": rows}))
        return
    for row in rows:
        told = "holds" if row["holds"] else "FAILS"
        print(f"{row['name']:40} {row['value']:>8} (bar {row['bar']}) {told}: {row['detail']}")


if __name__ == "__main__":
    main()
