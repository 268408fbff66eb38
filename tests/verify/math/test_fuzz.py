"""Broken answers: real ones cut, doubled and sprinkled. No crash, no hang, from threads, asyncio and processes."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import random
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from burnish.verify.math import MathChecker, check_trace, extract_answer
from tests.verify.math.gold import BOXED, SETS, WORKED, golds

CHECKER = MathChecker(symbolically=False)
SPRINKLES = (
    "\\frac{", "}", "{", "\\sqrt", "^", "_", "$", "\\boxed{", "####", "the answer is ", "答案是", "=", ",", "(", "]",
    "\\left", "\\begin{array}{c}", "\\end{array}", "\\\\", "&", "%", "°", "½", "∞", "\\pm", "|", "!", "e9999", "10^",
    "^{10^{10}}", "'", "\\text{", "\\infty", "<<", ">>", "1/0", "\x00", "\ud800", "😀", "9" * 60, "-", "--", "0^0",
    "\\log_{1}", "\\binom", "!!!!", "\\lfloor", "i", "e", "\\sin^{-1}", "~", ";", ":", " or ", " and ", "\n", "\r",
    "\t", "٣", "−",
)  # fmt: skip


def corpus() -> list[str]:
    if not (os.environ.get("BURNISH_DATA") or (SETS and _there())):
        return [
            "\\frac{1}{2}",
            "x=1 or x=2",
            "(1,2)",
            "\\sqrt{2}+\\pi",
            "12 \\text{ cm}",
            "[0, \\infty)",
            "3:30",
            "Yes",
        ]
    return [gold for name in SETS for gold in golds(name)]


def _there() -> bool:
    from tests.verify.math.gold import DATA

    return (DATA / "maths").exists()


def broken(draw: random.Random, pool: list[str]) -> str:
    text = draw.choice(pool)
    for _ in range(draw.randint(1, 4)):
        at = draw.randrange(len(text) + 1)
        end = min(len(text), at + draw.randint(0, 8))
        way = draw.randrange(6)
        if way == 0:
            text = text[:at] + text[end:]
        elif way == 1:
            text = text[:at] + draw.choice(SPRINKLES) + text[at:]
        elif way == 2:
            text = text[:at] + text[at:end] * draw.randint(2, 9) + text[end:]
        elif way == 3:
            text = text[:at] + draw.choice(pool)[: draw.randint(1, 40)]
        elif way == 4:
            text = text[:at] + chr(draw.choice((draw.randrange(32, 127), draw.randrange(160, 0x3000)))) + text[at + 1 :]
        else:
            text = text[::-1] if draw.random() < 0.2 else text + text[:at]
        text = text[:3000]
    frame = draw.randrange(4)
    if frame == 0:
        return BOXED.format(text)
    return draw.choice(list(WORKED.values())).format(text) if frame == 1 else text


def bombard(seed: int, count: int) -> tuple[int, float, str]:
    """how many answers were judged, the longest CPU time one took, and that answer."""
    draw, pool = random.Random(seed), corpus()
    slowest, which = 0.0, ""
    for _ in range(count):
        text, gold = broken(draw, pool), draw.choice(pool)
        begin = time.thread_time()
        result = CHECKER.compare(text, gold)
        extract_answer(text), check_trace(text)
        spent = time.thread_time() - begin
        assert result.kind in ("equal", "different", "unparsable")
        if spent > slowest:
            slowest, which = spent, text
    return count, slowest, which


@pytest.mark.parametrize("count", [5_000, pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_broken_answers(count: int) -> None:
    judged, slowest, which = bombard(count, count)
    assert judged == count
    assert slowest < 1.0, (slowest, which)  # of CPU; docs/verify_math.md has the measured spread


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=[pytest.mark.slow, pytest.mark.timeout(3000)])])
def test_from_threads_asyncio_and_processes(count: int) -> None:
    with ThreadPoolExecutor(4) as threads:
        assert sum(row[0] for row in threads.map(lambda seed: bombard(seed, count), range(4))) == 4 * count

    async def many() -> int:
        return sum(
            row[0] for row in await asyncio.gather(*(asyncio.to_thread(bombard, seed, count) for seed in range(4, 8)))
        )

    assert asyncio.run(many()) == 4 * count
    with multiprocessing.get_context("spawn").Pool(2) as processes:
        assert sum(row[0] for row in processes.starmap(bombard, [(8, count), (9, count)])) == 2 * count


def test_the_symbolic_path_under_fire() -> None:
    """Broken sums and integrals go to math-verify, under its limit."""
    draw = random.Random(0)
    pool = ["\\sum_{k=1}^{9} k", "\\int_0^1 x^2 dx", "\\prod_{k=1}^{3} k", "\\lim_{x \\to 0} \\frac{\\sin x}{x}"]
    checker = MathChecker(seconds=1.0)
    for _ in range(25):
        result = checker.compare(f"\\boxed{{{broken(draw, pool)}}}", draw.choice(["45", "\\frac{1}{3}", "6"]))
        assert result.kind in ("equal", "different", "unparsable")
