"""A Python session for a model: variables last from one call to the next. Runs through an `Executor` alone."""

from __future__ import annotations

import json
from types import TracebackType

from burnish.errors import WorkerError
from burnish.protocols import Conversation, Executor, Limits

# The program inside the executor: reads {"code"}, runs it as a notebook cell does, writes {"output", "error"}.
PROGRAM = """
import ast, contextlib, io, json, linecache, traceback

names = {"__name__": "__main__", "__builtins__": __builtins__}
cell = 0
while True:
    code = json.loads(ask())["code"]
    cell += 1
    place = "<cell %d>" % cell
    linecache.cache[place] = (len(code), None, code.splitlines(True), place)
    printed, error = io.StringIO(), ""
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            tree = ast.parse(code, place)
            last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, place, "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), place, "eval"), names)
                if value is not None:
                    print(repr(value))
        except BaseException as raised:
            frames = raised.__traceback__.tb_next if raised.__traceback__ else None
            error = "".join(traceback.format_exception(type(raised), raised, frames))
    answer(json.dumps({"output": printed.getvalue(), "error": error}))
"""
SECONDS = 60.0  # GLM-4's notebook (spec G17)
HOUR = Limits(seconds=3600.0)


class PythonSession:
    """A notebook that a model writes into (`Registry(session.python)`); a context manager.

        with PythonSession(executor) as session:
            session.python("x = 2")
            session.python("x + 1")     # '3\\n'

    Args:
        executor: where the code runs.
        limits: of the whole session; `seconds` of it bounds how long it lives.
        seconds: for one call.

    After a limit or an exit the session is gone: the next call starts a new one and says so.
    """

    def __init__(self, executor: Executor, *, limits: Limits = HOUR, seconds: float = SECONDS) -> None:
        self._executor, self._limits, self._seconds = executor, limits, seconds
        self._conversation: Conversation | None = None
        self._lost = False

    def python(self, code: str) -> str:
        """Run Python code in a notebook whose variables last from call to call; returns what it prints.

        Args:
            code: the cell; the value of its last expression is printed.
        """
        note = ""
        if self._conversation is None:
            self._conversation = self._executor.start(PROGRAM, limits=self._limits)
            note = "[the session was started again; earlier variables are gone]\n" if self._lost else ""
        try:
            said = json.loads(self._conversation.ask(json.dumps({"code": code}), seconds=self._seconds))
        except (WorkerError, ValueError) as error:
            self._conversation, lost = None, self._conversation
            self._lost = True
            ran = lost.stop()
            why = f"over the limit of {ran.limit}" if ran.limit else f"status {ran.status}; {error}"
            raise WorkerError(f"the session ended: {why}") from error
        return note + str(said["output"]) + str(said["error"])

    def close(self) -> None:
        """End the session."""
        if self._conversation is not None:
            self._conversation.stop()
            self._conversation = None

    def __enter__(self) -> PythonSession:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
