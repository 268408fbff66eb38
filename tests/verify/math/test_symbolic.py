"""math-verify in processes of its own: hard limits, threads, asyncio, forks, and life without it."""

from __future__ import annotations

import asyncio
import importlib.util
import multiprocessing
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from burnish.verify.math import equivalent, symbolic

needed = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="math-verify is absent: pip install 'burnish[math]'"
)
SUM = ("\\sum_{k=1}^{4} k", "10")
# Minutes of work for sympy: the sum is not geometric and far too long to write out.
HANG = ("\\sum_{k=1}^{100000000} \\frac{\\sin(k)}{k^2+1}", "\\prod_{k=1}^{100000000} (1+\\frac{1}{k^2})")


@needed
def test_it_decides_what_the_exact_paths_do_not_read() -> None:
    assert equivalent(*SUM, symbolically=False).kind == "unparsable"
    assert equivalent(*SUM, seconds=30).kind == "equal"
    assert equivalent("\\int_0^2 x dx", "2", seconds=30).kind == "equal"
    assert equivalent("\\sum_{k=1}^{4} k", "11", seconds=30).kind == "different"


def test_without_it_nothing_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(symbolic, "available", lambda: False)
    for gold in ("10", "11"):
        result = equivalent(SUM[0], gold)
        assert result.kind == "unparsable" and "burnish[math]" in result.why
    assert equivalent("1/2", "0.5").kind == "equal"


@needed
def test_what_takes_too_long_is_killed_and_replaced() -> None:
    pool = symbolic.Pool(most=1)
    try:
        assert pool.decide(*SUM, seconds=30)[0] == "equal"
        before = pool.free[0].process
        begin = time.monotonic()
        kind, why = pool.decide(*HANG, seconds=0.5)
        assert time.monotonic() - begin < 1.5
        if kind == "unparsable" and "no answer within" in why:
            assert before.poll() is not None and not pool.free
        assert pool.decide(*SUM, seconds=30)[0] == "equal"
    finally:
        pool.close()


@needed
def test_a_child_that_dies_is_replaced() -> None:
    pool = symbolic.Pool(most=1)
    try:
        assert pool.decide(*SUM, seconds=30)[0] == "equal"
        pool.free[0].process.kill()
        pool.free[0].process.wait()
        assert pool.decide(*SUM, seconds=30)[0] == "equal"
    finally:
        pool.close()


@needed
def test_from_threads_and_asyncio() -> None:
    with ThreadPoolExecutor(6) as threads:
        found = list(
            threads.map(
                lambda n: equivalent(f"\\sum_{{k=1}}^{{{n}}} k", str(n * (n + 1) // 2), seconds=60), range(2, 14)
            )
        )
    assert {result.kind for result in found} == {"equal"}
    assert threading.active_count() < 50

    async def many() -> list[str]:
        jobs = [asyncio.to_thread(equivalent, *SUM, seconds=60) for _ in range(8)]
        return [result.kind for result in await asyncio.gather(*jobs)]

    assert asyncio.run(many()) == ["equal"] * 8


def _in_child(queue: multiprocessing.Queue) -> None:
    queue.put((os.getpid(), equivalent(*SUM, seconds=60).kind, equivalent("1/2", "0.5").kind))


@needed
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_from_processes(method: str) -> None:
    equivalent(*SUM, seconds=30)  # the parent has a child of its own, which the fork must not use
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    workers = [context.Process(target=_in_child, args=(queue,), daemon=True) for _ in range(2)]
    for worker in workers:
        worker.start()
    found = [queue.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert {row[1:] for row in found} == {("equal", "equal")}
    assert equivalent(*SUM, seconds=30).kind == "equal"


@needed
def test_children_end_with_their_parent() -> None:
    import subprocess
    import sys

    code = (
        "from burnish.verify.math import symbolic, equivalent\n"
        "print(equivalent('\\\\sum_{k=1}^{4} k', '10', seconds=60).kind)\n"
        "print(symbolic.POOL.free[0].process.pid, flush=True)\n"
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, timeout=120)
    kind, pid = done.stdout.split()
    assert kind == "equal"
    for _ in range(100):
        try:
            os.kill(int(pid), 0)
        except ProcessLookupError:
            return
        with open(f"/proc/{pid}/stat") as stat:
            if stat.read().rpartition(")")[2].split()[0] == "Z":
                return
        time.sleep(0.1)
    pytest.fail("the child outlived its killed parent")
