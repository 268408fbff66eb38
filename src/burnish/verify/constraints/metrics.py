"""Metrics over prompts with several constraints: CSR, ISR, PSR (baichuan B40) and IFEval's four accuracies."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.verify.constraints.checking import Asked, followed


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemScores:
    """One prompt: `csr` the share of constraints that hold, `isr` and `psr` 1 or 0."""

    csr: float
    isr: float
    psr: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintMetrics:
    """Means over the scored prompts; `unscored` prompts enter none of them."""

    csr: float
    isr: float
    psr: float
    scored: int
    unscored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracies:
    """IFEval's four (arXiv 2311.07911, §2.3): shares of prompts of which all hold, and of constraints."""

    prompt_strict: float
    prompt_loose: float
    instruction_strict: float
    instruction_loose: float
    prompts: int
    instructions: int
    unscored: int


def item_scores(held: Sequence[bool], primary: Sequence[bool] = ()) -> ItemScores:
    """CSR, ISR and PSR of one prompt (B40).

    PSR fails when a primary constraint does. With primary and secondary ones it holds when 0.5 + 0.5 x (share of the
    secondary ones that hold) > 0.8, with secondary ones only when CSR > 0.8, with primary ones only when all hold.

    Raises:
        DataError: there is no constraint, or `primary` is of another length.
    """
    primary = primary or [False] * len(held)
    if not held or len(primary) != len(held):
        raise DataError(
            f"item_scores needs one verdict or more and as many marks; found {len(held)} and {len(primary)}"
        )
    first = [one for one, main in zip(held, primary) if main]
    second = [one for one, main in zip(held, primary) if not main]
    # 0.5 + 0.5 s / n > 0.8 is 5 s > 3 n, and s / n > 0.8 is 5 s > 4 n: exact at the boundary, which fails.
    enough = not second or 5 * sum(second) > (3 if first else 4) * len(second)
    return ItemScores(
        csr=sum(held) / len(held), isr=float(all(held)), psr=float(all(first) and enough)
    )  # fmt: skip


def constraint_metrics(rows: Iterable[tuple[Sequence[Asked], str]], *, loose: bool = False) -> ConstraintMetrics:
    """Mean CSR, ISR and PSR over (constraints, answer) rows. A row that asks for something unknown is unscored.

    Raises:
        DataError: no row could be scored.
    """
    scores, unscored = [], 0
    for asked, text in rows:
        try:
            scores.append(item_scores(followed(asked, text, loose=loose), [one.primary for one in asked]))
        except DataError:
            unscored += 1
    if not scores:
        raise DataError(f"none of the {unscored} rows could be scored")
    csr, isr, psr = (sum(getattr(one, name) for one in scores) / len(scores) for name in ("csr", "isr", "psr"))
    return ConstraintMetrics(csr=csr, isr=isr, psr=psr, scored=len(scores), unscored=unscored)


def accuracies(rows: Iterable[tuple[Sequence[Asked], str]]) -> Accuracies:
    """IFEval's four accuracies over (constraints, answer) rows. A row that asks for something unknown is unscored.

    Raises:
        DataError: no row could be scored.
    """
    strict: list[list[bool]] = []
    loose: list[list[bool]] = []
    unscored = 0
    for asked, text in rows:
        try:
            both = followed(asked, text), followed(asked, text, loose=True)
        except DataError:
            unscored += 1
            continue
        strict.append(both[0])
        loose.append(both[1])
    if not any(strict):
        raise DataError(f"none of the {unscored + len(strict)} rows could be scored")
    instructions = sum(map(len, strict))
    return Accuracies(
        prompt_strict=sum(map(all, strict)) / len(strict),
        prompt_loose=sum(map(all, loose)) / len(loose),
        instruction_strict=sum(map(sum, strict)) / instructions,
        instruction_loose=sum(map(sum, loose)) / instructions,
        prompts=len(strict),
        instructions=instructions,
        unscored=unscored,
    )
