"""Words, characters, lines, paragraphs."""

from __future__ import annotations

import re

_STARS = re.compile(r"\s?\*\*\*\s?")
_APOSTROPHES = "'\""
_ENDS_WORD = re.compile(r"[.,?!'\"]")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores, as IFEval counts them: "it's" is two."""
    return re.findall(r"\w+", text)


def hyphenated(text: str) -> list[str]:
    """Words, of which those joined by a hyphen are one (Spanish M-IFEval)."""
    return re.findall(r"\w+(?:-\w+)*", text)


def characters(text: str) -> int:
    """Characters that are no blank space."""
    return len(re.sub(r"\s", "", text))


def lines(text: str) -> list[str]:
    """Lines that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def starred_paragraphs(text: str) -> int | None:
    """Parts between `***`; an empty part may open or close the text. None: one in the middle is empty."""
    parts = [bool(part.strip()) for part in _STARS.split(text)]
    return sum(parts) if all(parts[1:-1]) else None


def blocks(text: str) -> list[str]:
    """Parts between two line breaks, the empty ones too."""
    return text.split("\n\n")


def filled(parts: list[str]) -> list[str]:
    """The parts that are not blank."""
    return [part for part in parts if part.strip()]


def first_words(text: str, n: int) -> str:
    """The first n words in small letters; the last of them without its marks and what follows them."""
    found = text.split()[:n]
    if found:
        found[0] = found[0].lstrip("'").lstrip('"')
        found[-1] = _ENDS_WORD.split(found[-1])[0]
    return " ".join(found).lower()


def nth_block_begins(text: str, total: int, nth: int, first: str) -> bool:
    """Whether there are `total` parts between blank lines, and the nth begins with the word or words `first`."""
    parts = blocks(text)
    if len(filled(parts)) != total or nth > total:
        return False
    return first_words(parts[nth - 1], len(first.split())) == first.strip().lower()


def nth_block_opens(text: str, total: int, nth: int, first: str) -> bool:
    """The same by characters, for scripts without blanks between words; brackets 「『 may open the part."""
    parts = blocks(text)
    if len(filled(parts)) != total or nth > total:
        return False
    return parts[nth - 1].strip().lstrip("「").lstrip("『").startswith(first.strip())
