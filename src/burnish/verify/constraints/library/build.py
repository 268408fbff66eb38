"""How kinds of constraint are put together: those that count something, and all others."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import inf
from random import Random
from typing import Any

from burnish.verify.constraints.kind import (
    RELATIONS,
    Argument,
    Constraint,
    Demands,
    Kwargs,
    interval,
    nothing,
)
from burnish.verify.constraints.library.locale import Locale

IFEVAL = "IFEval, arXiv 2311.07911"
M_IFEVAL = "M-IFEval, arXiv 2502.04688"
CFBENCH = "in the manner of CFBench, arXiv 2408.01122, and FollowBench, arXiv 2310.20410"
ZH = "this project, after IFEval"
# Quantities of which a text that is not blank has at least one.
NEVER_ZERO = ("words", "sentences", "paragraphs", "blocks", "characters", "lines")


def source_of(at: Locale) -> str:
    return {"en": IFEVAL, "zh": ZH}.get(at.code, M_IFEVAL)


def meeting(relation: str, n: int, rng: Random, least: int = 0) -> int:
    """A count that stands in this relation to n, near it."""
    low, high = interval(relation, n)
    low = max(low, least)
    return int(rng.randint(int(max(low, high - 2)), int(high)) if high < inf else low + rng.randrange(3))


def missing(relation: str, n: int, rng: Random, least: int = 0) -> int:
    """A count that does not, near it; below `least` only where nothing else is left."""
    low, high = interval(relation, n)
    if high < inf:
        return int(high) + 1 + rng.randrange(3)
    return max(int(low) - 1 - rng.randrange(3), min(least, int(low) - 1))


def counted(
    at: Locale,
    suffix: str,
    *,
    n: str,
    quantity: str | Callable[[Kwargs], str],
    count: Callable[[str, Kwargs], int | None],
    build: Callable[[Kwargs, int, Random], str],
    sample: Callable[[Random], Mapping[str, Any]],
    relation: str = "relation",
    fixed: str = "",
    more: Mapping[str, Argument] | None = None,
    least: int = 0,
    extra: Callable[[Kwargs], Demands] = nothing,
    rule: str = "",
    source: str = "",
    asks: tuple[str, ...] = (),
    id: str = "",
) -> Constraint:
    """A constraint of the form "a count stands in a relation to n".

    Args:
        n, relation: the names of the arguments that hold them; with `fixed`, the relation is always that one, unless
            `relation` is among `more`.
        quantity: what is counted, by the name that contradictions are found with; it may depend on the arguments.
        count: (text, kwargs) -> the count; None: the text cannot be counted and never complies.
        build: (kwargs, count, random numbers) -> a text with this count.
        least: the smallest count that a text which is not blank can have.
    """

    def asked(kwargs: Kwargs) -> str:
        return kwargs.get(relation) or fixed

    def check(text: str, kwargs: Kwargs) -> bool:
        found = count(text, kwargs)
        return found is not None and RELATIONS[asked(kwargs)](found, kwargs[n])

    def demands(kwargs: Kwargs) -> Demands:
        named = quantity if isinstance(quantity, str) else quantity(kwargs)
        return _with_count(extra(kwargs), named, interval(asked(kwargs), kwargs[n]))

    arguments = dict(more or {})
    if not fixed:
        arguments = {relation: Argument(kind=str, choices=at.relations), **arguments}
    return Constraint(
        id=id or at.prefix + suffix,
        asks=asks or tuple(at.asks[suffix]),
        kwargs={n: Argument(kind=int), **arguments},
        check=check,
        comply=lambda kwargs, seed: build(kwargs, meeting(asked(kwargs), kwargs[n], Random(seed), least), Random(seed)),
        violate=lambda kwargs, seed: build(
            kwargs, missing(asked(kwargs), kwargs[n], Random(seed), least), Random(seed)
        ),
        sample=lambda rng: {**sample(rng), **({} if fixed else {relation: rng.choice(at.relations)})},
        demands=demands,
        possible=lambda kwargs: _some_count(asked(kwargs), kwargs[n], least),
        language=at.code,
        rule=rule,
        source=source or source_of(at),
    )


def _with_count(demands: Demands, quantity: str, allowed: tuple[float, float]) -> Demands:
    return replace(demands, counts={**demands.counts, quantity: allowed})


def _some_count(relation: str, n: int, least: int) -> str:
    """Empty, or that no count suits."""
    low, high = interval(relation, n)
    return f"no text has {relation} {n} of them" if max(low, least) > high else ""


def written(
    at: Locale,
    suffix: str,
    *,
    check: Callable[[str, Kwargs], bool],
    comply: Callable[[Kwargs, Random], str],
    violate: Callable[[Kwargs, Random], str],
    sample: Callable[[Random], dict[str, Any]] = lambda rng: {},
    demands: Callable[[Kwargs], Demands] = nothing,
    possible: Callable[[Kwargs], str] = lambda kwargs: "",
    kwargs: Mapping[str, Argument] | None = None,
    rule: str = "",
    source: str = "",
    asks: tuple[str, ...] = (),
    id: str = "",
) -> Constraint:
    """Any other constraint; `comply` and `violate` take random numbers of a seed."""
    return Constraint(
        id=id or at.prefix + suffix,
        asks=asks or tuple(at.asks[suffix]),
        kwargs=kwargs or {},
        check=check,
        comply=lambda given, seed: comply(given, Random(seed)),
        violate=lambda given, seed: violate(given, Random(seed)),
        sample=sample,
        demands=demands,
        possible=possible,
        language=at.code,
        rule=rule,
        source=source or source_of(at),
    )


def letters_of(letters: str) -> str:
    """A regular expression for any of these letters, in either case."""
    return f"[{re.escape(''.join(sorted(set(letters.lower() + letters.upper()))))}]"


def whole(least: int = 1) -> Argument:
    return Argument(kind=int, least=least)


TEXT = Argument(kind=str)
LETTER = Argument(kind=str, length=1)
WORDS = Argument(kind=list)
