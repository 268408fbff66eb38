"""A child process that asks math-verify: one JSON line in, one out. Killed from outside when it takes too long.

Only math-verify's LaTeX reader is used: its reader of plain expressions hands the text to `eval`, by way of sympy's
`parse_expr`. Its own limits rest on SIGALRM and are switched off. The process ends when its standard input closes,
also in the middle of a computation.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
from typing import Any

MEMORY = 2 << 30  # bytes of address space; sympy alone maps a few hundred MiB


def _limit() -> None:
    try:
        import resource

        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY if hard < 0 else min(MEMORY, hard), hard))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    except (ImportError, ValueError, OSError):
        pass  # no such limits here; the time limit of the parent holds anyway


def _decide(given: str, gold: str) -> tuple[str, str]:
    import math_verify
    from sympy import Basic, MatrixBase

    reader = [math_verify.LatexExtractionConfig(boxed_match_priority=0)]
    read: list[list[Any]] = []
    for text in (given, gold):
        found = math_verify.parse(
            f"\\boxed{{{text}}}", reader, fallback_mode="no_fallback", parsing_timeout=None, raise_on_error=True
        )
        if not found or not isinstance(found[0], Basic | MatrixBase):
            return "unparsable", "math-verify cannot read one of the two"
        read.append(found)
    equal = math_verify.verify(read[1], read[0], timeout_seconds=None, raise_on_error=True)
    # Its comparison is not symmetric; only what holds both ways counts as equal.
    equal = equal and math_verify.verify(read[0], read[1], timeout_seconds=None, raise_on_error=True)
    return ("equal" if equal else "different"), "math-verify"


def _answer(line: str) -> str:
    try:
        job = json.loads(line)
        kind, why = _decide(job["given"], job["gold"])
    except MemoryError:
        kind, why = "unparsable", "math-verify ran out of memory"
    except Exception as error:  # whatever sympy raises on model text is no verdict
        kind, why = "unparsable", f"math-verify: {type(error).__name__}"
    return json.dumps({"kind": kind, "why": why})


def main() -> None:
    """Serve standard input until it closes."""
    _limit()
    logging.disable(logging.CRITICAL)
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints must not look like an answer
    import math_verify
    import sympy

    # The first use of the reader and of simplification loads more; it must not count against the first question.
    _decide("\\frac{1}{2}x", "x/2")
    out.write(json.dumps({"ready": [math_verify.__name__, sympy.__version__]}) + "\n")
    out.flush()
    jobs: queue.SimpleQueue[str] = queue.SimpleQueue()

    def feed() -> None:
        for line in sys.stdin:
            jobs.put(line)
        os._exit(0)

    threading.Thread(target=feed, daemon=True).start()
    while True:
        out.write(_answer(jobs.get()) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
