"""Programs that run inside the sandbox, as text: the side of the candidate and the side of the tests.

`program` joins the text of one of them with what it needs, because the sandbox does not hold this package. Compiling it
costs more than all the rest of a check, so it goes as compiled code, with its text beside it for another Python.
"""

from __future__ import annotations

import importlib.util
import marshal
from functools import cache
from importlib import resources

PARTS = {
    "candidate": ("plain", "peer", "candidate"),
    "tester": ("plain", "peer", "tester"),
    "together": ("plain", "together"),
}
_FRAME = """import marshal
from importlib._bootstrap_external import MAGIC_NUMBER
exec(marshal.loads({code!r}) if MAGIC_NUMBER == {magic!r} else compile({text!r}, "<burnish>", "exec"))
del marshal, MAGIC_NUMBER
serve(ask, answer)
"""


def _body(module: str) -> str:
    text = (resources.files(__name__) / f"{module}.py").read_text("utf-8")
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("from burnish"))


@cache
def program(name: str) -> str:
    """The text of one program of `PARTS`, to be given to `Executor.start`; it talks by `ask()` and `answer(text)`."""
    text = "\n".join(_body(part) for part in PARTS[name])
    code = marshal.dumps(compile(text, "<burnish>", "exec", dont_inherit=True, optimize=2))
    return _FRAME.format(code=code, magic=importlib.util.MAGIC_NUMBER, text=text)
