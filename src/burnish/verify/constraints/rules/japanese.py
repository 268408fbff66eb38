"""Japanese and Chinese letters, and how Japanese sentences end (M-IFEval, arXiv 2502.04688)."""

from __future__ import annotations

import re
import unicodedata

from burnish.verify.constraints.rules.sentences import without_quotes

_KANJI = re.compile(r"[\u4e00-\u9faf]")
_KANJI_RUN = re.compile(r"[\u4e00-\u9faf]+")
_WITH_READING = re.compile(r"[\u4e00-\u9faf]（[ぁ-ん]+）")
_ENDS = re.compile(r"[。！？!?\n]+")
# Nouns in hiragana that end sentences; other nouns end in kanji or katakana (ASSUMED: no tagger is at hand).
_HIRAGANA_NOUNS = ("こと", "もの", "ひと", "とき", "ため", "ところ", "わけ", "はず", "まま", "ほう", "とおり", "つもり")


def kanji_count(text: str) -> int:
    return len(_KANJI.findall(text))


def has_readings(text: str) -> bool:
    """Whether each run of kanji has its reading in hiragana in wide brackets after it."""
    return len(_KANJI_RUN.findall(text)) == len(_WITH_READING.findall(text))


def has_hiragana(text: str) -> bool:
    return any("ぁ" <= letter <= "ゖ" for letter in text)


def has_katakana(text: str) -> bool:
    return any("ァ" <= letter <= "ヺ" or "ｦ" <= letter <= "ﾟ" for letter in text)


def only_hiragana(text: str) -> bool:
    """No letter of another kind; marks, digits and ー are free, and there is some hiragana."""
    return has_hiragana(text) and all(
        "ぁ" <= letter <= "ん" or letter == "ー" or unicodedata.category(letter)[0] != "L" for letter in text
    )


def only_katakana(text: str) -> bool:
    """No letter of another kind; marks, digits, ー and ・ are free, and there is some katakana."""
    return has_katakana(text) and all(
        "ァ" <= letter <= "ン" or letter == "ー" or "ｦ" <= letter <= "ﾟ" or unicodedata.category(letter)[0] != "L"
        for letter in text
    )


def has_digit(text: str) -> bool:
    """Digits, Western or wide."""
    return bool(re.search(r"\d", text))


def endings(text: str) -> list[str]:
    """The sentences without what stands in quotes; lines end them too."""
    bare = without_quotes(without_quotes(text, "「", "」"), "『", "』")
    return [part.strip() for part in _ENDS.split(bare) if part.strip()]


def all_end_in(text: str, ending: str) -> bool:
    found = endings(text)
    return bool(found) and all(sentence.endswith(ending) for sentence in found)


def nominal_endings(text: str) -> int:
    """Sentences that end in a noun: in kanji, katakana, or one of a few nouns in hiragana."""
    return sum(
        bool(re.search(r"[\u4e00-\u9fafァ-ヺー]$", sentence)) or sentence.endswith(_HIRAGANA_NOUNS)
        for sentence in endings(text)
    )
