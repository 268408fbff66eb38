"""Statistics of comparisons in the form of the Llama 3 report's Table 6 (specification §3.7)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from burnish.records import Message, Preference


@dataclass(frozen=True, slots=True, kw_only=True)
class DeskRow:
    """One line of the table; token counts and turns are means over the comparisons of the set.

    Args:
        name: the set, or "Total".
        share: percent of all comparisons, in hundredths that sum to exactly 100.
        turns: user turns in the dialogue.
        tokens: in the whole example: context and chosen answer (ASSUMED: the report does not say which answer).
        tokens_prompt: in the last user message.
        tokens_response: in an answer, the mean over the row's answers.
    """

    name: str
    comparisons: int
    share: float
    turns: float
    tokens: float
    tokens_prompt: float
    tokens_response: float


def count_words(text: str) -> int:
    """Words between blanks: the counter for want of a tokenizer."""
    return len(text.split())


def _hundredths(counts: Sequence[int]) -> list[int]:
    """Shares of the total in 1/100 percent by largest remainder, so that they sum to 10,000."""
    total = sum(counts)
    exact = [Fraction(10_000 * count, total) for count in counts]
    floors = [int(share) for share in exact]
    order = sorted(range(len(counts)), key=lambda i: (floors[i] - exact[i], i))
    for i in order[: 10_000 - sum(floors)]:
        floors[i] += 1
    return floors


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def desk_table(
    preferences: Sequence[Preference],
    *,
    count_tokens: Callable[[str], int] = count_words,
    set_of: Callable[[Preference], str] = lambda row: row.capability,
) -> list[DeskRow]:
    """Share, turns and tokens of each set of comparisons, and of all ("Total", last). No comparisons, no lines."""
    if not preferences:
        return []

    def tokens(messages: Sequence[Message]) -> int:
        return sum(count_tokens(message.content) for message in messages)

    def line(name: str, rows: Sequence[Preference], hundredths: int) -> DeskRow:
        users = [[message for message in row.context if message.role == "user"] for row in rows]
        chosen = [next(c for c in row.candidates if c.role != "edited") for row in rows]
        return DeskRow(
            name=name,
            comparisons=len(rows),
            share=hundredths / 100,
            turns=_mean([len(turns) for turns in users]),
            tokens=_mean([tokens(row.context) + tokens(c.messages) for row, c in zip(rows, chosen, strict=True)]),
            tokens_prompt=_mean([tokens(turns[-1:]) for turns in users]),
            tokens_response=_mean([_mean([tokens(c.messages) for c in row.candidates]) for row in rows]),
        )

    sets: dict[str, list[Preference]] = {}
    for row in preferences:
        sets.setdefault(set_of(row) or "(none)", []).append(row)
    names = sorted(sets)
    shares = _hundredths([len(sets[name]) for name in names])
    lines = [line(name, sets[name], share) for name, share in zip(names, shares, strict=True)]
    return [*lines, line("Total", list(preferences), 10_000)]
