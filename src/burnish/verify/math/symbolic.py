"""math-verify in child processes: what the exact paths leave open, under a hard limit of time.

The children are plain subprocesses that speak JSON lines, so this works from threads, from asyncio (through
`asyncio.to_thread`), in multiprocessing's and Ray's workers, daemonic ones too. A child that takes too long is killed
and replaced. A fork of the parent starts with no children of its own.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import os
import select
import subprocess
import sys
import threading
import time
from functools import cache

from burnish.verify.math.result import Kind

SECONDS = 3.0  # ASSUMED: for one comparison, by the clock
START_SECONDS = 60.0  # for a child to import sympy on a busy machine
MOST = 4  # ASSUMED: children at one time
HINT = "only math-verify could decide this; install it: pip install 'burnish[math]'"


@cache
def available() -> bool:
    """Whether math-verify is installed. Imports nothing."""
    return importlib.util.find_spec("math_verify") is not None


class _Child:
    """One process; not safe in threads by itself."""

    def __init__(self) -> None:
        path = os.pathsep.join(entry for entry in sys.path if entry)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "burnish.verify.math.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": path, "PYTHONWARNINGS": "ignore"},
            bufsize=0,
        )
        self.rest = b""
        if self._line(START_SECONDS) is None:
            self.kill()
            raise OSError("math-verify did not start")

    def _line(self, seconds: float) -> bytes | None:
        """The next line it says, or None when it says none in time or has ended."""
        assert self.process.stdout is not None
        handle = self.process.stdout.fileno()
        end = time.monotonic() + seconds
        poll = select.poll()  # unlike select(), any number of open files
        poll.register(handle, select.POLLIN | select.POLLHUP)
        while b"\n" not in self.rest:
            left = end - time.monotonic()
            if left <= 0 or not poll.poll(left * 1000):
                return None
            piece = os.read(handle, 65536)
            if not piece:
                return None
            self.rest += piece
        line, _, self.rest = self.rest.partition(b"\n")
        return line

    def ask(self, given: str, gold: str, seconds: float) -> tuple[Kind, str] | None:
        """What it says, or None when it had to be killed."""
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(json.dumps({"given": given, "gold": gold}).encode() + b"\n")
            line = self._line(seconds)
        except OSError:
            line = None
        if line is None:
            self.kill()
            return None
        said = json.loads(line)
        return said["kind"], said["why"]

    def kill(self) -> None:
        self.process.kill()
        self.forget()
        self.process.wait()

    def forget(self) -> None:
        """Close our ends of its pipes: it ends by itself, unless another process holds them too."""
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


class Pool:
    """At most `most` children, started when they are needed and kept."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self._reset()

    def _reset(self) -> None:
        self.free: list[_Child] = []
        self.lock = threading.Lock()
        self.slots = threading.BoundedSemaphore(self.most)

    def after_fork(self) -> None:
        """In a forked child: the parent's children are not ours to use, and its locks may be held for ever."""
        for child in self.free:
            child.forget()
            child.process.returncode = 0  # it is not ours to wait for
        self._reset()

    def close(self) -> None:
        with self.lock:
            children, self.free = self.free, []
        for child in children:
            child.kill()

    def decide(self, given: str, gold: str, seconds: float = SECONDS) -> tuple[Kind, str]:
        """What math-verify says of two answers in LaTeX, or `unparsable` and why it said nothing."""
        with self.slots:
            with self.lock:
                child = self.free.pop() if self.free else None
            try:
                if child is None or child.process.poll() is not None:
                    child = _Child()
                said = child.ask(given, gold, seconds)
            except OSError as error:
                return "unparsable", f"math-verify could not be started: {error}"
            if said is None:
                return "unparsable", f"math-verify gave no answer within {seconds:g} s"
            with self.lock:
                self.free.append(child)
            return said


POOL = Pool()
atexit.register(POOL.close)
os.register_at_fork(after_in_child=POOL.after_fork)


def ask(given: str, gold: str, seconds: float = SECONDS) -> tuple[Kind, str]:
    """Ask math-verify; without it the answer is `unparsable`, with a hint."""
    return POOL.decide(given, gold, seconds) if available() else ("unparsable", HINT)
