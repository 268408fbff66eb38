"""Programs that run inside the sandbox, as text: the side of the candidate and the side of the tests.

`program` joins the text of one of them with what it needs, because the sandbox does not hold this package.
"""

from __future__ import annotations

from functools import cache
from importlib import resources

PARTS = {
    "candidate": ("plain", "peer", "candidate"),
    "tester": ("plain", "peer", "tester"),
    "together": ("plain", "together"),
}


def _body(module: str) -> str:
    text = (resources.files(__name__) / f"{module}.py").read_text("utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("from burnish"))


@cache
def program(name: str) -> str:
    """The text of one program of `PARTS`, to be given to `Executor.start`; it talks by `ask()` and `answer(text)`."""
    return "\n".join(_body(part) for part in PARTS[name]) + "\nserve(ask, answer)\n"
