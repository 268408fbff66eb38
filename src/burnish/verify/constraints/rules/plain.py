"""The counts of the plain types, which the microworld asks for (`library/plain.py`). They stand as its base model
learnt them, and differ from IFEval's here and there."""

from __future__ import annotations

import re

_BULLET = re.compile(r"^[^\S\n]*(?:[-•+]\s|\*\s)", re.MULTILINE)
_SENTENCE = re.compile(r"[^\s.!?。！？][^.!?。！？]*")
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


def plain_bullets(text: str) -> int:
    return len(_BULLET.findall(text))


def plain_sentences(text: str) -> list[str]:
    """What lies between sentence marks; a full stop inside a number or a short form ends no sentence."""
    joined = re.sub(r"(?<=\d)\.(?=\d)|\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|[A-Z])\.(?=\s)", "\u2024", text)
    return [part for part in _SENTENCE.findall(joined) if re.search(r"\w", part)]


def plain_paragraphs(text: str) -> list[str]:
    """Blocks of text between blank lines; `***` alone on a line divides too."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip() in ("", "***"):
            found.append([])
        else:
            found[-1].append(line)
    return ["\n".join(part) for part in found if part]


def keyword_count(text: str, keyword: str) -> int:
    """How often the keyword stands as a word of its own, whatever its case."""
    return len(re.findall(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.IGNORECASE))


def plain_ends(text: str, phrase: str) -> bool:
    return text.strip().strip('"”»*').rstrip().lower().endswith(phrase.strip().lower())


def plain_starts(text: str, phrase: str) -> bool:
    return text.strip().lstrip('"“«*').lstrip().lower().startswith(phrase.strip().lower())


def plain_quoted(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and _QUOTES.get(text[0]) == text[-1]


def has_comma(text: str) -> bool:
    """Western, Chinese or Japanese."""
    return bool(re.search("[,，、]", text))
