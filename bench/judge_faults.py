"""5,000 judging questions over a socket that fails: each ends as the right verdict, or unscored with its reason.

The oracle behind its server judges right against spoiled answers in both orders. One attempt in ten meets a 429, a 500,
a hang or a cut connection, one reply in ten is malformed. A false verdict here could only come from misreading. The
second run must send nothing and give equal verdicts from the store.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from burnish.judge import Pairwise
from burnish.llm.requests import Endpoint, Limits, Store
from burnish.microworld import Oracle, prompts
from burnish.microworld.serving import Faults, oracle_server
from burnish.records import Sampling

LIMITS = Limits(connect=5.0, silence=3.0, total=5.0, tries=4, backoff=0.05, patience=30.0, first=3.0)
FAULTS = Faults(
    rate_limited=0.025, server_error=0.025, hang=0.025, cut=0.025, malformed=0.06, wrong_schema=0.04,
    hang_seconds=60.0, seed=3,
)  # fmt: skip


def pairs_of(count: int) -> list[Any]:
    asked = prompts("train", count, seed=4)
    sampling = Sampling(temperature=1.0, max_new_tokens=64)
    right, wrong = (Oracle(error=error).answer(asked, n=1, sampling=sampling) for error in (0.0, 1.0))
    return list(zip(asked, zip(right, wrong, strict=True), strict=True))


def judged(pairs: list[Any], endpoint: Endpoint, path: Path) -> tuple[list[Any], dict[str, Any], int, float]:
    """Judgements, metrics, replies in the store, seconds."""
    work: Any = SimpleNamespace(requests=path, progress=lambda *words: None)
    start = time.perf_counter()
    judge = Pairwise(asker=endpoint).prepared(pairs, work)
    seconds = time.perf_counter() - start
    with Store(path) as store:
        return [judge.rank(*pair) for pair in pairs], judge.metrics(), len(store), seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--pairs", type=int, default=2500, help="each is asked twice")
    arguments = parser.parse_args()
    pairs = pairs_of(arguments.pairs)
    with tempfile.TemporaryDirectory() as folder, oracle_server(faults=FAULTS) as url:
        endpoint = Endpoint.parse(f"{url}#oracle", limits=LIMITS)
        path = Path(folder) / "requests" / "r1-03-judgements.sqlite"
        first, told, sent, seconds = judged(pairs, endpoint, path)
        second, _, kept, again = judged(pairs, endpoint, path)
    fates = Counter("unscored" if j.unscored else "right" if j.winner == 0 else "wrong" for j in first)
    reasons = Counter(j.unscored.partition(":")[0] for j in first if j.unscored)
    counted = told["won"] + told["ties"] + told["inconsistent"] + told["unscored"] == len(pairs)
    rows = [
        {"name": "false_verdicts", "value": fates["wrong"], "bar": 0, "holds": fates["wrong"] == 0 and counted,
         "detail": f"{fates['right']} right, {fates['unscored']} unscored {dict(reasons)}, "
                   f"{told['asked_again']} asked again, {seconds:.0f} s"},
        {"name": "sent_by_a_second_run", "value": kept - sent, "bar": 0, "holds": kept == sent and first == second,
         "detail": f"{sent} replies kept, verdicts {'equal' if first == second else 'DIFFER'}, {again:.1f} s"},
    ]  # fmt: skip
    if arguments.json:
        print(json.dumps({"bench": "judge_faults", "rows": rows}))
    else:
        for row in rows:
            print(f"{row['name']:36} {row['value']:6}     (bar {row['bar']})   {row['detail']}")


if __name__ == "__main__":
    main()
