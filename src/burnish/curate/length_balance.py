"""Preferences in which the longer answer wins as often as the shorter one (ChatGLM-RLHF; specification G10)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from burnish.chat import load_chat
from burnish.errors import ChatError, SettingsError
from burnish.records import Dropped, Preference, Weights, content_id, dropped
from burnish.runs import Outcome

BALANCED = "length balance"  # why a row goes


def balanced(lengths: Sequence[tuple[int, int]], names: Sequence[str], *, width: int, seed: int) -> list[int]:
    """The pairs that stay: in each bucket of |len_w - len_l| as many whose winner is longer as whose winner is shorter.

    The larger side of a bucket is subsampled to the size of the smaller, in an order that depends on the seed and the
    pair's name alone. Pairs of equal length say nothing of length and stay.

    Args:
        lengths: (winner, loser) of each pair.
        names: of each pair, for the draw; pairs of one name are drawn in the order given.
        width: of a bucket, in the unit of the lengths; bucket b holds differences from b width up to (b + 1) width.
        seed: of the draw.

    Returns:
        Indices into `lengths`, ascending.

    Raises:
        SettingsError: the width is below 1.
    """
    if width < 1:
        raise SettingsError(f"width is {width}; a bucket of length differences is at least 1 wide")
    kept: list[int] = []
    sides: dict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
    for index, (winner, loser) in enumerate(lengths):
        if winner == loser:
            kept.append(index)
        else:
            sides[abs(winner - loser) // width][winner > loser].append(index)
    for both in sides.values():
        count = min(map(len, both))
        for side in both:
            kept += sorted(side, key=lambda index: (content_id(["length balance", seed, names[index]]), index))[:count]
    return sorted(kept)


def balance_lengths(
    preferences: Sequence[Preference],
    *,
    width: int,
    seed: int,
    tokenizer: Weights | None,
    format: str | None = None,
) -> Outcome:
    """Subsample preferences until length does not tell the winner (spec G10).

    What is balanced is the share of wins, so a model that also sees quality may keep a small part of the bias, because
    a shorter winner had to be better. On simulated raters the correlation of score and length fell from 0.33 to 0.03
    where chance decided most pairs, and from 0.54 to 0.13 where quality did.

    A row of three is one pair, its best answer against its worst (ASSUMED: the source has two answers a row, and DPO
    reads a row of three that way). An answer's length counts all tokens after the prompt, terminators included.

    Args:
        width: tokens (or characters) of a bucket of length differences; ASSUMED wherever it is set, none is published.
        seed: of the draw.
        tokenizer: weights whose tokenizer counts; None counts the characters of the messages (ASSUMED stand-in).
        format: a lab's chat format in place of the tokenizer's own template.
    """
    chat = None if tokenizer is None else load_chat(Path(tokenizer.path), format=format)
    rows, lengths, lost = [], [], []

    def length(row: Preference, place: int) -> int:
        messages = row.candidates[place].messages
        if chat is None:
            return sum(len(message.content) for message in messages)
        encoded = chat.encode(row.context, messages)
        return len(encoded.ids) - encoded.prompt_length

    for row in preferences:
        if len(row.candidates) < 2:
            lost.append(dropped(row, "fewer than two candidates", f"{len(row.candidates)} candidates"))
            continue
        try:
            lengths.append((length(row, 0), length(row, -1)))
        except ChatError as error:
            lost.append(dropped(row, "not a well-formed dialogue", str(error)))
            continue
        rows.append(row)
    chosen = balanced(lengths, [row.id for row in rows], width=width, seed=seed)
    lost += _left_out(rows, lengths, chosen)
    longer = [lengths[index][0] > lengths[index][1] for index in chosen]
    shorter = [lengths[index][0] < lengths[index][1] for index in chosen]
    before = sum(one > two for one, two in lengths) / max(1, sum(one != two for one, two in lengths))
    numbers = {"longer_wins": sum(longer), "shorter_wins": sum(shorter), "longer_wins_before": before}
    return Outcome(rows=[rows[index] for index in chosen], dropped=lost, taken=len(preferences), metrics=numbers)


def _left_out(rows: Sequence[Preference], lengths: Sequence[tuple[int, int]], chosen: Sequence[int]) -> list[Dropped]:
    """The rows that the balance costs, each with the two lengths."""
    stays = set(chosen)
    return [
        dropped(row, BALANCED, f"the winner has {winner}, the loser {loser}")
        for index, (row, (winner, loser)) in enumerate(zip(rows, lengths, strict=True))
        if index not in stays
    ]
