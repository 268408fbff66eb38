"""Ctrl-C at any moment: exit code 130, and the line that goes on where there is something to go on with.

The handler remembers that it was called, because an import that is interrupted may turn the interrupt into an error of
its own (transformers, numpy), and a destructor loses it.
"""

from __future__ import annotations

import shlex
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

RESUMES = ("run", "train", "verify")  # verbs that go on where they stopped; verify where it writes a file

_came: list[int] = []


def _strike(number: int, frame: Any) -> None:
    _came.append(number)
    raise KeyboardInterrupt


def _lost(unraisable: Any) -> None:
    if not issubclass(unraisable.exc_type, KeyboardInterrupt):
        sys.__unraisablehook__(unraisable)


def check() -> None:
    """Raise `KeyboardInterrupt` if an earlier one was lost on its way."""
    if _came:
        raise KeyboardInterrupt


@contextmanager
def watched() -> Iterator[None]:
    """Whatever an interrupted block raises, or even if it ends well, becomes exit code 130 with one message."""
    before = signal.getsignal(signal.SIGINT)
    if before is not signal.default_int_handler or threading.current_thread() is not threading.main_thread():
        yield  # whoever started this process has decided what Ctrl-C does
        return
    _came.clear()
    hook = sys.unraisablehook
    signal.signal(signal.SIGINT, _strike)
    sys.unraisablehook = _lost
    try:
        yield
    except BaseException:
        if not _came:
            raise
        interrupted()
        raise SystemExit(130) from None
    finally:
        if not _came:
            signal.signal(signal.SIGINT, before)
            sys.unraisablehook = hook


def interrupted() -> None:
    """End the workers and say how to go on."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all ends now; a second Ctrl-C has nothing left to stop
    workers = sys.modules.get("burnish.runs.workers")  # not imported here: the interrupt may have struck inside it
    if hasattr(workers, "stop_workers"):
        workers.stop_workers()
    if sys.argv[1:2] and sys.argv[1] in RESUMES and (sys.argv[1] != "verify" or "--out" in sys.argv):
        line = shlex.join(["burnish", *sys.argv[1:]])
        print(f"\nburnish: interrupted; everything finished is saved. Go on with:\n  {line}", file=sys.stderr)
    else:
        print("\nburnish: interrupted", file=sys.stderr)
