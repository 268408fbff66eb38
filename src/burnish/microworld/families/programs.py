"""Small functions to write (code), judged by running them step by step within limits."""

from __future__ import annotations

from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.tasks import Dials, Family, Task, user
from burnish.verify.expression import ExpressionError, call_function, evaluate

SIGNS = {"add": "+", "subtract": "-", "multiply by": "*"}
TEMPLATES = ("Write f(x): {}, then {}.", "Code f(x). First {}, then {}.")
INPUTS = (0, 1, 2, 7, -4, 13)  # ASSUMED: two linear functions that agree on two of these agree everywhere
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
    for x in INPUTS:
        try:
            given = call_function(source, "f", [x], steps=STEPS)
        except ExpressionError as error:
            return f"f({x}) fails: {error}"
        wanted = evaluate(gold["program"].replace("x", f"({x})"), steps=STEPS)
        if isinstance(given, bool) or not isinstance(given, (int, float)) or given != wanted:
            return f"f({x}) gives {str(given)[:20]}, not {wanted}"
    return ""


CODE = Family(name="code", draw=_draw, check=_check, about="functions of two operations, run in the interpreter")
