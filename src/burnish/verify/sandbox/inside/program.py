"""Runs a Python program in this very process as `python main.py` would. Runs inside: standard library only."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import gc
import os
import struct
import sys
import types
from collections.abc import Callable
from typing import Any, NoReturn


def channel(descriptor: int) -> tuple[Callable[[], str], Callable[[Any], None]]:
    """`ask` and `answer` of a program that is asked: frames of four bytes of length and UTF-8 text."""

    def exactly(count: int) -> bytes:
        parts = []
        while count:
            part = os.read(descriptor, min(count, 1 << 20))
            if not part:
                raise SystemExit(0)  # nobody will ask any more
            parts.append(part)
            count -= len(part)
        return b"".join(parts)

    def ask() -> str:
        """The next message; ends the program when there will be none."""
        return exactly(struct.unpack("!I", exactly(4))[0]).decode("utf-8", "surrogatepass")

    def answer(text: Any) -> None:
        """Sends one text back."""
        data = str(text).encode("utf-8", "surrogatepass")
        left = memoryview(struct.pack("!I", len(data)) + data)
        while left:
            left = left[os.write(descriptor, left) :]

    return ask, answer


def execute(code: str, folder: str, talk: int | None) -> NoReturn:
    """Never returns: the process ends with the program's own exit status."""
    gc.enable()
    path = os.path.join(folder, "main.py")
    main: Any = types.ModuleType("__main__")
    main.__file__, main.__builtins__ = path, builtins
    if talk is not None:
        main.ask, main.answer = channel(talk)
    sys.modules["__main__"] = main
    sys.argv[:] = ["main.py"]
    sys.path.insert(0, folder)
    status = 0
    try:
        exec(compile(code, path, "exec", dont_inherit=True), main.__dict__)
    except SystemExit as stop:
        status = _status(stop)
    except BaseException as error:
        status = 1
        _report(error)
    try:
        if "threading" in sys.modules:
            sys.modules["threading"]._shutdown()  # waits for threads that are not daemons, as the interpreter does
        atexit._run_exitfuncs()
    except SystemExit as stop:
        status = _status(stop)
    except BaseException as error:
        status = status or 1
        _report(error)
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except Exception:
            status = status or 120
    os._exit(status)


def _status(stop: SystemExit) -> int:
    if stop.code is None:
        return 0
    if isinstance(stop.code, int):
        return stop.code & 0xFF
    with contextlib.suppress(Exception):
        print(stop.code, file=sys.stderr)
    return 1


def _report(error: BaseException) -> None:
    """The traceback from the program's first frame on."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    with contextlib.suppress(Exception):
        sys.stdout.flush()
    with contextlib.suppress(BaseException):
        sys.excepthook(type(error), error.with_traceback(trace), trace)
