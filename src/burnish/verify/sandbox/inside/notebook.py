"""The program behind a session: runs cells in one lasting namespace. Sent as text to an executor's `start`.

Each message is JSON: {"cell": number, "code": text, "most": bytes} or {"put": name, "data": base64} or {"get": name,
"most": bytes}. Standard library only; matplotlib and pandas are served where a cell has imported them.
"""

from __future__ import annotations

import ast
import base64
import builtins
import contextlib
import io
import json
import linecache
import os
import signal
import sys
import tempfile
import time
import traceback
import types
from typing import Any

HERE = __file__
ROWS = 1000  # of a table that are shown
os.environ.setdefault("MPLBACKEND", "Agg")
space: Any = types.ModuleType("__main__")
space.__builtins__ = builtins
sys.modules["__main__"] = space
running = False


def interrupted(number: int, frame: Any) -> None:
    if running:
        raise KeyboardInterrupt


class Capture:
    """stdout and stderr of everything, subprocesses too, into files while a cell runs."""

    def __init__(self, most: int) -> None:
        self.most, self.kept, self.texts = most, [], ["", ""]

    def __enter__(self) -> Capture:
        for number in (1, 2):
            file = tempfile.TemporaryFile()
            self.kept.append((number, os.dup(number), file))
            os.dup2(file.fileno(), number)
        return self

    def __exit__(self, *exception: object) -> None:
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):
                stream.flush()
        for number, before, file in self.kept:
            os.dup2(before, number)
            os.close(before)
            size = file.seek(0, os.SEEK_END)
            file.seek(0)
            text = file.read(self.most).decode("utf-8", "replace")
            more = f"\n... {size - self.most} bytes more" if size > self.most else ""
            self.texts[number - 1] = text + more
            file.close()


def run(code: str, name: str) -> Any:
    """The value of the last expression, or None."""
    tree = ast.parse(code, name)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, name, "exec"), space.__dict__)
    if last is None:
        return None
    return eval(compile(ast.Expression(last.value), name, "eval"), space.__dict__)


def explain(error: BaseException) -> str:
    """The traceback from the cell's own first frame on."""
    trace = error.__traceback__
    while trace is not None and not trace.tb_frame.f_code.co_filename.startswith("<cell "):
        trace = trace.tb_next
    told = traceback.TracebackException(type(error), error, trace)
    told.stack = traceback.StackSummary.from_list([one for one in told.stack if one.filename != HERE])
    return "".join(told.format())


def plain(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "item") and not isinstance(value, float) and getattr(value, "size", 1) == 1:
        return plain(value.item())  # a number of numpy's
    if isinstance(value, float):
        return value if value == value and abs(value) != float("inf") else str(value)
    return str(value)


def table(value: Any) -> dict[str, Any] | None:
    """A pandas frame, or a list of dicts, as columns and rows."""
    pandas = sys.modules.get("pandas")
    if pandas is not None and isinstance(value, pandas.DataFrame):
        rows = value.head(ROWS).itertuples(index=False, name=None)
        return {"columns": [str(one) for one in value.columns], "rows": [[plain(one) for one in row] for row in rows],
                "total": len(value)}  # fmt: skip
    if isinstance(value, list) and value and all(isinstance(row, dict) for row in value):
        columns = list(dict.fromkeys(str(name) for row in value for name in row))
        named = ({str(name): one for name, one in row.items()} for row in value[:ROWS])
        return {"columns": columns, "rows": [[plain(row.get(name)) for name in columns] for row in named],
                "total": len(value)}  # fmt: skip
    return None


def pictures() -> dict[str, tuple[int, int]]:
    """The png files of the folder, with what tells whether they have changed."""
    found = {}
    for entry in os.scandir("."):
        if entry.name.endswith(".png") and entry.is_file(follow_symlinks=False):
            about = entry.stat(follow_symlinks=False)
            found[entry.name] = (about.st_mtime_ns, about.st_size)
    return found


def figures(before: dict[str, tuple[int, int]], number: int, most: int) -> dict[str, str]:
    """What the cell has drawn: png files that are new, and matplotlib's open figures; base64."""
    found = {}
    for name, about in pictures().items():
        if before.get(name) != about and about[1] <= most:
            with open(name, "rb") as file:
                found[name] = file.read()
    plot = sys.modules.get("matplotlib.pyplot")
    if plot is not None:
        for one in plot.get_fignums():
            held = io.BytesIO()
            plot.figure(one).savefig(held, format="png")
            found[f"cell-{number}-figure-{one}.png"] = held.getvalue()
        plot.close("all")
    return {name: base64.b64encode(data).decode() for name, data in found.items() if len(data) <= most}


def cell(number: int, code: str, most: int) -> dict[str, Any]:
    global running
    name = f"<cell {number}>"
    linecache.cache[name] = (len(code), None, [line + "\n" for line in code.splitlines()], name)
    told: dict[str, Any] = {"status": "ok", "value": "", "traceback": "", "table": None, "figures": {}}
    before, began, capture = pictures(), time.monotonic(), Capture(most // 8)
    with capture:
        try:
            try:
                running = True
                value = run(code, name)
                if value is not None:
                    space._ = value
                    told["value"] = repr(value)[: most // 8]
                    told["table"] = table(value)
                told["figures"] = figures(before, number, most // 4)
            finally:
                running = False
        except KeyboardInterrupt as error:
            told |= {"status": "time", "traceback": explain(error)}
        except BaseException as error:
            told |= {"status": "error", "traceback": explain(error)[-(most // 8) :]}
    told["stdout"], told["stderr"] = capture.texts
    told["seconds"] = time.monotonic() - began
    return told


def put(name: str, data: bytes) -> dict[str, Any]:
    if os.path.dirname(name):
        os.makedirs(os.path.dirname(name), exist_ok=True)
    with open(name, "wb") as file:
        file.write(data)
    return {}


def get(name: str, most: int) -> dict[str, Any]:
    if not os.path.isfile(name):
        return {"fault": "is not there"}
    if os.path.getsize(name) > most:
        return {"fault": f"has {os.path.getsize(name)} bytes, more than an answer may hold"}
    with open(name, "rb") as file:
        return {"data": base64.b64encode(file.read()).decode()}


def serve(ask: Any, answer: Any) -> None:
    signal.signal(signal.SIGINT, interrupted)
    while True:
        asked = json.loads(ask())
        try:
            if "cell" in asked:
                told = cell(asked["cell"], asked["code"], asked["most"])
            elif "put" in asked:
                told = put(asked["put"], base64.b64decode(asked["data"]))
            else:
                told = get(asked["get"], asked["most"])
        except Exception as error:
            told = {"fault": f"{type(error).__name__}: {error}"}
        answer(json.dumps(told))


if __name__ == "__main__":
    serve(ask, answer)  # type: ignore[name-defined]  # noqa: F821 - given by the executor
