"""Programs that run inside the sandbox, as text: the side of the candidate and the side of the tests.

The sandbox does not hold this package, so `begin` starts a stub and sends it the program, joined of its parts.
Compiling it there would cost more than all the rest of a check: it goes as compiled code, and as text to another
Python.
"""

from __future__ import annotations

import importlib.util
import marshal
from functools import cache
from importlib import resources

from burnish.errors import WorkerError
from burnish.protocols import Conversation, Executor, Limits

PARTS = {
    "candidate": ("plain", "peer", "candidate"),
    "tester": ("plain", "peer", "tester"),
    "together": ("plain", "together"),
}
STARTING = 30.0  # seconds for the sandbox to start a program of ours, before anything foreign is in it
_STUB = """from importlib._bootstrap_external import MAGIC_NUMBER
from marshal import loads
ask()
answer(MAGIC_NUMBER.hex())
program = ask()
exec(loads(program.encode("latin-1")) if program[0] != "#" else compile(program, "<burnish>", "exec"))
del program, loads, MAGIC_NUMBER
answer("ready")
try:
    serve(ask, answer)
except SystemExit:  # nobody asks any more
    from posix import _exit
    _exit(0)
"""


def _body(module: str) -> str:
    text = (resources.files(__name__) / f"{module}.py").read_text("utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("from burnish"))


@cache
def program(name: str) -> tuple[str, str]:
    """One program of `PARTS` as compiled code (bytes as latin-1) and as text."""
    text = "# " + name + "\n" + "\n".join(_body(part) for part in PARTS[name])
    code = marshal.dumps(compile(text, "<burnish>", "exec", dont_inherit=True, optimize=2))
    return code.decode("latin-1"), text


def begin(executor: Executor, name: str, *, limits: Limits) -> Conversation:
    """A program of `PARTS` under way, waiting for its first message; nothing foreign is in it yet.

    Raises:
        WorkerError: the sandbox could not start it.
    """
    talk, (code, text) = executor.start(_STUB, limits=limits), program(name)
    try:
        same = talk.ask("", seconds=STARTING).strip() == importlib.util.MAGIC_NUMBER.hex()
        if (told := talk.ask(code if same else text, seconds=STARTING).strip()) != "ready":
            raise WorkerError(f"the sandbox did not start the {name} program: {told[:200]}")
    except BaseException:
        talk.stop()
        raise
    return talk
