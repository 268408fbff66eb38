"""Keywords and letters: what stands in the text and how often."""

from __future__ import annotations

import re
from collections.abc import Iterable

_INFORMAL = re.compile(r"\b(?:tu|te|t(?=['’])|toi|ton|ta|tes)\b", re.IGNORECASE)


def occurrences(text: str, keyword: str) -> int:
    """How often the keyword stands in the text, inside longer words too, whatever the case (IFEval's rule)."""
    return len(re.findall(re.escape(keyword.strip()), text, re.IGNORECASE))


def all_present(text: str, keywords: Iterable[str]) -> bool:
    return all(occurrences(text, keyword) for keyword in keywords)


def has_word(text: str, word: str) -> bool:
    """Whether the word stands by itself, whatever its case."""
    return bool(re.search(rf"(?<!\w){re.escape(word.strip())}(?!\w)", text, re.IGNORECASE))


def none_present(text: str, words: Iterable[str]) -> bool:
    return not any(has_word(text, word) for word in words)


def letter_count(text: str, letter: str) -> int:
    """How often the letter or mark stands in the text, whatever its case."""
    return text.lower().count(letter.strip().lower())


def kana_count(text: str, letter: str) -> int:
    """A hiragana letter and its katakana twin together (M-IFEval's Japanese rule)."""
    return text.count(letter) + text.count(chr(ord(letter) + 0x60))


def words_with(words: Iterable[str], letters: str) -> int:
    """How many words hold one of the letters."""
    return sum(any(letter in letters for letter in word.lower()) for word in words)


def accented(text: str, spelling: dict[str, str]) -> bool:
    """Every word of `spelling` stands with its accents, and none without (wrong form -> right form)."""
    right = all(has_word(text, good) for good in spelling.values())
    return right and not any(has_word(text, bad) for bad in spelling if bad.lower() != spelling[bad].lower())


def has_any(text: str, letters: str) -> bool:
    """Whether one of the letters or marks stands in the text, whatever its case."""
    return any(letter in letters for letter in text.lower())


def is_informal(text: str) -> bool:
    """French: one of tu, te, t', toi, ton, ta, tes."""
    return bool(_INFORMAL.search(text))
