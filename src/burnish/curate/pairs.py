"""Which preferences are trained on (Llama 3 §4.1.2; specification §3.3, §3.5): clear ones between unlike answers.

The report drops "samples with similar responses", which can mean weak labels or near-copies; both gates exist and
switch separately.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from burnish.protocols import Work
from burnish.records import STRENGTHS, Candidate, Preference, dropped
from burnish.runs import Outcome


def edit_distance(one: str, two: str, most: int | None = None) -> int:
    """Levenshtein distance in characters (insert, delete, replace cost 1), or `most` + 1 as soon as it is above.

    Bit-parallel (Myers 1999, doi:10.1145/316542.316550; score at the end of the column as in Hyyrö 2003): one column
    of the table is two integers, so a pair of 1,000 characters takes 1,000 steps on integers of 1,000 bits.
    """
    if len(one) < len(two):
        one, two = two, one
    most = len(one) if most is None else most
    if len(one) - len(two) > most:
        return most + 1
    if not two:
        return len(one)
    places: dict[str, int] = {}
    for index, character in enumerate(two):
        places[character] = places.get(character, 0) | 1 << index
    mask, last = (1 << len(two)) - 1, 1 << (len(two) - 1)
    up, down, score = mask, 0, len(two)
    for done, character in enumerate(one, 1):
        equal = places.get(character, 0)
        vertical = equal | down
        equal |= (((equal & up) + up) ^ up) & mask
        grow = down | (~(equal | up) & mask)
        shrink = up & equal
        if grow & last:
            score += 1
        elif shrink & last:
            score -= 1
        grow = (grow << 1 | 1) & mask
        shrink = (shrink << 1) & mask
        up = shrink | (~(vertical | grow) & mask)
        down = grow & vertical
        if score - (len(one) - done) > most:
            return most + 1
    return score


def _said(candidate: Candidate) -> str:
    text = "\n".join(message.content for message in candidate.messages)
    return " ".join(unicodedata.normalize("NFC", text).split())


def edit_similarity(one: str, two: str) -> float:
    """1 - distance / length of the longer text, in 0..1; two empty texts are equal (1)."""
    longest = max(len(one), len(two))
    return 1.0 if not longest else 1.0 - edit_distance(one, two) / longest


def ordered_pairs(preference: Preference) -> tuple[tuple[Candidate, Candidate], ...]:
    """All (better, worse) pairs of a row: one of two answers, three of edited > chosen > rejected (§3.3)."""
    ranked = preference.candidates
    return tuple((ranked[i], ranked[j]) for i in range(len(ranked)) for j in range(i + 1, len(ranked)))


def _too_similar(preference: Preference, threshold: float) -> str:
    """The detail of the first pair above the threshold, or nothing.

    An edit is near its original by nature, so edited and chosen are not compared with each other.
    """
    for better, worse in ordered_pairs(preference):
        if {better.role, worse.role} == {"edited", "chosen"}:
            continue
        one, two = _said(better), _said(worse)
        longest = max(len(one), len(two), 1)
        distance = edit_distance(one, two, int(longest * (1 - threshold)) + 1)
        if 1 - distance / longest > threshold:
            return f"{better.role} and {worse.role} are {1 - distance / longest:.3f} alike"
    return ""


def gate_pairs(
    preferences: Sequence[Preference],
    *,
    strength: int | None,
    similarity: float | None,
    work: Work | None = None,
) -> Outcome:
    """Keep clear preferences between unlike answers.

    Args:
        strength: the least strength that goes on (3 keeps "better" and "significantly better", §3.3); None keeps all.
        similarity: rows go whose rejected answer is more alike to a better one than this (normalised edit similarity
            after collapsing blanks; 0.9 is ASSUMED, §6); None keeps all.
    """
    kept, left = [], []
    for preference in preferences:
        level = preference.strength
        if strength is not None and level is None:
            left.append(dropped(preference, "no strength"))
        elif strength is not None and level < strength:
            left.append(dropped(preference, "weak preference", STRENGTHS[level]))
        elif similarity is not None and (detail := _too_similar(preference, similarity)):
            left.append(dropped(preference, "similar responses", detail))
        else:
            kept.append(preference)
    pairs = sum(len(ordered_pairs(row)) for row in kept)
    return Outcome(rows=kept, dropped=left, taken=len(preferences), metrics={"ordered_pairs": pairs})
