"""Tool use: a question that wants a call, or one whose call has been answered and that wants the outcome.

A call is one assistant message: `calculator(347*28)` or `lookup(Ann Lee, phone)`. What the tool prints comes back
in a message of role `ipython`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random
from typing import Any

from burnish.microworld.lexicon import NAMES, SURNAMES, TOOLS
from burnish.microworld.tasks import Dials, Family, Task
from burnish.records import Message
from burnish.verify.math import final_number

SYSTEM = Message(role="system", content="Tools: calculator, lookup.")
_CALL = re.compile(r"(\w+)\(\s*([^(),]+?)\s*(?:,\s*([^(),]+?)\s*)?\)")


def _calculation(rng: Random) -> tuple[str, str, str, str, int]:
    a, b = rng.randint(12, 999), rng.randint(12, 99)
    sign = rng.choice("*+")
    total = a * b if sign == "*" else a + b
    key = f"tools/calculator/{sign}/{','.join(map(str, sorted((a, b))))}"
    return key, f"What is {a} {sign} {b}?", f"calculator({a}{sign}{b})", f"calculator({b}{sign}{b})", total


def _looking_up(rng: Random, trap: bool) -> tuple[str, str, str, str, int]:
    first, last, what = rng.choice(NAMES), rng.choice(SURNAMES), rng.choice(TOOLS)
    number = rng.randint(1000, 9999) if trap else rng.randint(100, 999)
    question = f"What is the {what} number of {first} {last}?"
    call, slip = f"lookup({first} {last}, {what})", f"lookup({first}, {what})"
    return f"tools/lookup/{first} {last}/{what}", question, call, slip, number


def _draw(rng: Random, dials: Dials) -> Task:
    """Careless authors guess a round number instead of calling, and read no more than three digits of a result."""
    trap = rng.random() < dials.traps
    # Half of the easy share is read out of a result: a call itself has no easy kind.
    wants_call = trap and rng.random() < 0.65
    while True:
        key, question, call, slip, number = _calculation(rng) if rng.random() < 0.5 else _looking_up(rng, trap)
        if wants_call or (number > 999) == trap:
            break
    messages = [SYSTEM, Message(role="user", content=question)]
    if wants_call:
        guess = round(number, -2) or 100
        return Task(
            family="tools", key=key, messages=tuple(messages), answer=call, hasty=f"It is {guess}.",
            sloppy=f"Well, {slip}", terse=call, gold={"call": call}, difficulty=2.0, tags=("tools", "call"),
        )  # fmt: skip
    messages += [
        Message(role="assistant", content=call, end="message"),
        Message(role="ipython", content=str(number)),
    ]
    short = str(number)[:3]
    return Task(
        family="tools", key=key, messages=tuple(messages),
        answer=f"The tool says {number}. The answer is {number}.", hasty=f"It is {short}.",
        sloppy=f"Well, the tool says {short}. The answer is {short}.", terse=str(number), gold={"number": number},
        difficulty=2.0 if trap else 1.0, tags=("tools", "result"),
    )  # fmt: skip


def _call_parts(text: str) -> tuple[str, ...] | None:
    found = _CALL.fullmatch(text.strip())
    if not found:
        return None
    name, first, second = found.groups()
    term = re.fullmatch(r"(\d+)\s*([*+])\s*(\d+)", first)
    if name == "calculator" and term and second is None:  # both operations commute
        return name, term[2], *sorted((term[1], term[3]))
    return name, first, second or ""


def _check(gold: Mapping[str, Any], text: str) -> str:
    if "call" in gold:
        if _call_parts(text) is None:
            return "the answer is not one tool call"
        return "" if _call_parts(text) == _call_parts(gold["call"]) else f"the call is not {gold['call']}"
    if _CALL.search(text):
        return "calls a tool again instead of answering"
    number = final_number(text)
    return "" if number == gold["number"] else f"the final number is {number}, not {gold['number']}"


TOOLS_FAMILY = Family(name="tools", draw=_draw, check=_check, about="calculator and look-up calls, and their results")
