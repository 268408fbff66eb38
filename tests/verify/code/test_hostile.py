"""Candidates that try to decide their own verdict: none passes, in any mode, and none hangs."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from burnish.protocols import Executor, Limits
from burnish.verify.code import Suite, run_suite

SECONDS = 0.8
# f(n) is n * n, g(k, n) is k(n), Base().f is f.
SUITES = {
    "plain": Suite(tests=("assert f(3) == 9", "assert f(4) == 16\nassert f(-5) == 25"), seconds=SECONDS),
    "apart": Suite(
        tests=(
            "assert abs(f(3) - 9) < 1e-9",
            "for n in range(2, 7):\n    assert f(n) == n * n, 'expected ' + str(n * n)",
            "import math\nassert math.fabs(math.sqrt(f(7)) - 7) <= 1e-9 and sorted([f(2), f(1)]) == [1, 4]",
        ),
        seconds=SECONDS,
    ),
    "container": Suite(tests=("assert 16 in [f(4)] and {f(2), f(3)} == {4, 9} and not f(1) != 1",), seconds=SECONDS),
    "callback": Suite(
        tests=(
            "seen = []\n"
            "assert g(lambda n: seen.append(n) or n + 1, 3) == 4 and f(2) == 4\nassert f(3) == 9 and seen == [3]",
        ),
        seconds=SECONDS,
    ),
    "together": Suite(
        tests=("class Sub(Base):\n    pass\nassert Sub().f(3) == 9\nassert Sub().f(5) == 25 and f(2) in [4]",),
        seconds=SECONDS,
    ),
}
HONEST = """
def f(n):
    return n * n
def g(k, n):
    return k(n)
class Base:
    def f(self, n):
        return n * n
"""
# The parts that a hostile candidate does not define itself; it overrides f.
REST = """
def g(k, n):
    return f(n)
class Base:
    def f(self, n):
        return f(n)
"""
TEXT = (Path(__file__).parent / "hostile.txt").read_text()
CANDIDATES = {part.partition("\n")[0]: part.partition("\n")[2] for part in TEXT.split("#### ")[1:]}


def test_there_are_enough() -> None:
    assert len(CANDIDATES) >= 60


@pytest.mark.parametrize("mode", SUITES)
def test_the_honest_one_passes(executor: Executor, mode: str) -> None:
    outcome = run_suite(executor, HONEST, SUITES[mode])
    assert outcome.passed is True, outcome
    assert outcome.mode == {"container": "apart", "callback": "apart"}.get(mode, mode)


RARE = ("container", "callback")  # tried by hand: they take the same way as `apart`


@pytest.mark.parametrize("mode", [pytest.param(m, marks=pytest.mark.slow if m in RARE else ()) for m in SUITES])
@pytest.mark.parametrize("which", CANDIDATES)
def test_no_false_pass(executor: Executor, which: str, mode: str) -> None:
    begun = time.monotonic()
    outcome = run_suite(executor, CANDIDATES[which] + "\n" + REST, SUITES[mode])
    assert outcome.passed is not True, outcome
    assert time.monotonic() - begun < SECONDS + 4, outcome


def test_no_reply_makes_the_host_work_for_long(executor: Executor) -> None:
    """Values that cost the reader far more than the writer: fractions, collisions, depth, length."""
    head = "import __main__\ndef f(n):\n    __main__.answer("
    replies = (
        "'[\"return\",[\"F\",\"0x' + '7' * 3000000 + '\",\"0x' + '3' * 3000001 + '\"]]'",
        "'[\"return\",[\"s\",' + ','.join('[\"i\",\"%x\"]' % (i * ((1 << 61) - 1)) for i in range(1, 100000)) + ']]'",
        "'[\"return\",' + '[\"t\",' * 200000 + '1' + ']' * 200001",
        "'[\"return\",[\"i\",\"0x' + 'f' * 7000000 + '\"]]'",
        '\'["return",["D","1E+999999999999999999"]]\'',
        '\'["return",["r","0x0","0x\' + \'f\' * 1000000 + \'","0x1"]]\'',
        "'[\"return\",\"' + 'a' * 9000000 + '\"]'",
    )
    for reply in replies:
        begun = time.monotonic()
        outcome = run_suite(executor, head + reply + ")\n    return 0", SUITES["plain"])
        assert outcome.passed is False and time.monotonic() - begun < SECONDS + 3, (reply[:40], outcome)


def test_they_fool_a_checker_that_trusts_the_exit_status(executor: Executor) -> None:
    """The control: run in one program with the tests, many of them pass."""
    tests = "\n".join(SUITES["plain"].tests)
    fooled = [
        which
        for which, code in CANDIDATES.items()
        if not which.startswith(("endless", "deaf", "swallows", "monstrous", "forged", "memory", "killing"))
        and executor.run(f"{code}\n{REST}\n{tests}", limits=Limits(seconds=SECONDS)).status == 0
    ]
    assert len(fooled) >= 12 and {"poisoned object", "sys.exit(0)", "os._exit(0)", "reads frames"} <= set(fooled), (
        fooled
    )
