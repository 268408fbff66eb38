"""Small functions to write (code), judged by running them: step by step within limits, or in the sandbox.

The interpreter decides what it can, as it costs a hundredth of a sandboxed run. Programs outside its language go to the
sandbox where there is one, and are wrong elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from random import Random
from typing import Any

from burnish.errors import SettingsError
from burnish.microworld.tasks import Dials, Family, Task, user
from burnish.verify.code import call_all
from burnish.verify.expression import ExpressionError, call_function, evaluate
from burnish.verify.sandbox import find_executor

SIGNS = {"add": "+", "subtract": "-", "multiply by": "*"}
TEMPLATES = ("Write f(x): {}, then {}.", "Code f(x). First {}, then {}.")
INPUTS = (0, 1, 2, 7, -4, 13)  # ASSUMED: two linear functions that agree on two of these agree everywhere
SECONDS = 1.0  # of one call in the sandbox
STEPS = 500  # of the interpreter; a right answer needs fewer than 20


def _draw(rng: Random, dials: Dials) -> Task:
    """Two operations on x, in an order. The careless author writes them down without parentheses."""
    trap = rng.random() < dials.traps
    if trap:
        first, second = rng.choice(("add", "subtract")), "multiply by"
    else:
        first, second = rng.choice(tuple(SIGNS)), rng.choice(("add", "subtract"))
    a, b = rng.randint(2, 29), rng.randint(2, 29)
    s, t = SIGNS[first], SIGNS[second]
    return Task(
        family="code", key=f"code/{s}{a}/{t}{b}",
        messages=user(rng.choice(TEMPLATES).format(f"{first} {a}", f"{second} {b}")),
        answer=f"def f(x):\n    y = x {s} {a}\n    return y {t} {b}", hasty=f"x {s} {a} {t} {b}",
        sloppy=f"def f(x):\n    return x {s} {a} {t} {b}",
        terse=f"(x {s} {a}) {t} {b}", gold={"program": f"(x {s} {a}) {t} {b}"},
        difficulty=2.0 if trap else 1.0, tags=("code", "function"),
    )  # fmt: skip


def _check(gold: Mapping[str, Any], text: str) -> str:
    """The function f, or a bare expression in x, must give the gold value on every input."""
    source = text.strip()
    if not source.startswith("def "):
        source = f"f = lambda x: ({source})"
    outside: list[Any] = []
    for place, x in enumerate(INPUTS):
        try:
            given = outside[place] if outside else call_function(source, "f", [x], steps=STEPS)
        except ExpressionError as error:
            outside = _sandboxed(source) if error.reason == "forbidden" else []
            if not outside:
                return f"f({x}) fails: {error}"
            given = outside[place]
        wanted = evaluate(gold["program"].replace("x", f"({x})"), steps=STEPS)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or given != wanted:
            return f"f({x}) gives {str(given)[:20]}, not {wanted}"
    return ""


def _sandboxed(source: str) -> list[Any]:
    """What `f` gives on each input in the sandbox, or a `Result` that says why it gives none; [] without a sandbox."""
    executor = _executor()
    if executor is None:
        return []
    found = call_all(executor, source, "f", [[x] for x in INPUTS], seconds=SECONDS)
    return found if isinstance(found, list) else [found] * len(INPUTS)


@cache
def _executor() -> Any:
    """The sandbox of this machine, None where there is none."""
    try:
        return find_executor()
    except SettingsError:
        return None


CODE = Family(name="code", draw=_draw, check=_check, about="functions of two operations, run step by step")
