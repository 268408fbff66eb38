"""What a task of the microworld is: one canonical problem, written out, with the answers each kind of author gives.

A family draws tasks from a seeded generator; everything else (prompts, corpus, checkers, oracle) is built from them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from burnish.records import Message

LANGUAGES = ("en", "es", "de")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dials:
    """What a generator may be asked for. The defaults are the world the shipped base was trained on.

    Args:
        traps: share of tasks on which the careless rules go wrong (a carry, a needle not in the first record, ...).
        hard: share of tasks of the longer kind (difficulty 3).
        records: fewest and most records of a needle task; 8 tokens or so each, so (100, 120) reaches 1,024 tokens.
        languages: what the multilingual family speaks, of `LANGUAGES` without English.
        digits: digits of an arithmetic operand.
    """

    traps: float = 0.7
    hard: float = 0.15
    records: tuple[int, int] = (5, 9)
    languages: tuple[str, ...] = ("es", "de")
    digits: int = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One task with its answers.

    Args:
        family: the ability.
        key: canonical key: family and operands, commutative ones sorted, before language, template and style.
        messages: the prompt as written.
        answer: the careful author's answer: right, with its steps.
        hasty: a careless author's: little but an outcome, wrong by rule where the task holds a trap.
        sloppy: a careless author's: steps, one of them wrong by rule.
        terse: the right outcome without a step.
        gold: what the verifier needs, JSON-ready.
        difficulty: 1 (no trap), 2 (a trap) or 3 (longer).
    """

    family: str
    key: str
    messages: tuple[Message, ...]
    answer: str
    hasty: str
    sloppy: str
    terse: str
    gold: Mapping[str, Any]
    language: str = "en"
    difficulty: float = 1.0
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """One ability: `draw(rng, dials)` makes a task, `check(gold, text)` answers "" for a right text, or why not."""

    name: str
    draw: Callable[[Random, Dials], Task]
    check: Callable[[Mapping[str, Any], str], str]
    about: str = field(default="")


def user(text: str) -> tuple[Message, ...]:
    """A prompt of one user message."""
    return (Message(role="user", content=text),)


def last_sentence(text: str) -> str:
    """The text after the last sentence end or line break: where an author says the outcome."""
    parts = [part.strip() for part in re.split(r"[.!?]\s+|\n+", text.strip())]
    parts = [part for part in parts if part.strip(" .!?")]
    return parts[-1] if parts else ""


def names_in(text: str, names: frozenset[str]) -> list[str]:
    """The words of `text` that are in `names`, in their order."""
    return [word for word in re.findall(r"[^\W\d_]+", text) if word in names]
