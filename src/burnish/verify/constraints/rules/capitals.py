"""Capital and small letters."""

from __future__ import annotations

import re

# Marks that stand apart from words; hyphens, slashes, underscores, asterisks and full stops inside words do not.
_APART = re.compile(r"--|\.\.\.|[;@#$%&?!()\[\]{}<>\"“”‘’«»„`]|[:,](?=\D|$)")
_CONTRACTED = re.compile(r"(?<=[^' ])('s|'m|'d|'ll|'re|'ve|n't)(?=\s|$)", re.IGNORECASE)
_JOINED = re.compile(r"\b(can)(not)\b|\b(gim|lem)(me)\b|\b(gon|wan)(na)\b|\b(got)(ta)\b", re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """Words as the official verifier parts them: marks apart, "don't" as "do" and "n't", hyphens kept."""
    text = _CONTRACTED.sub(r" \1", _APART.sub(" ", text))
    text = _JOINED.sub(lambda found: " ".join(part for part in found.groups() if part), text)
    return text.split()


def capital_words(text: str) -> int:
    """Words of capital letters only; "I" and "A" are such words."""
    return sum(token.isupper() for token in tokens(text))


def all_upper(text: str) -> bool:
    """No small letter, and at least one capital."""
    return text.isupper()


def all_lower(text: str) -> bool:
    """No capital letter, and at least one small one."""
    return text.islower()
