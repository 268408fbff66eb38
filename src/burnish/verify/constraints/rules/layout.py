"""Lists, sections, titles, marks and the shape of the whole answer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$|^[^\S\n]*-.*$", re.MULTILINE)
_STAR_BULLET = re.compile(r"^[^\S\n]*\*[^*].*$", re.MULTILINE)
_DOT_BULLET = re.compile(r"^[^\S\n]*[・•][^・•].*$", re.MULTILINE)
_NUMBERED = re.compile(r"^[^\S\n]*\d+\.\s.*$", re.MULTILINE)
_ONE_STAR = re.compile(r"\*([^\n*]*)\*")
_TWO_STARS = re.compile(r"\*\*([^\n*]*)\*\*")
_FENCE_OPEN = ("```json", "```Json", "```JSON", "```")


def bullets(text: str) -> int:
    """Lines that begin with `*` (not two) or `-`."""
    return len(_BULLET.findall(text))


def star_bullets(text: str) -> int:
    """Lines that begin with one `*` (Spanish M-IFEval)."""
    return len(_STAR_BULLET.findall(text))


def dot_bullets(text: str) -> int:
    """Lines that begin with one ・ or • (Japanese and Chinese)."""
    return len(_DOT_BULLET.findall(text))


def numbered(text: str) -> int:
    """Lines that begin with a number, a full stop and a blank."""
    return len(_NUMBERED.findall(text))


def highlights(text: str) -> int:
    """Parts between asterisks on one line, plus those between two: `**so**` counts once, `*so*` once."""
    return sum(bool(part.strip()) for mark in (_ONE_STAR, _TWO_STARS) for part in mark.findall(text))


def enclosed(text: str, opening: str, closing: str) -> int:
    """Parts on one line between two marks, not nested and not blank."""
    inside = f"[^\\n{re.escape(opening + closing)}]*"
    return sum(bool(part.strip()) for part in re.findall(f"{re.escape(opening)}({inside}){re.escape(closing)}", text))


def parts_between(text: str, opening: str, closing: str) -> list[str]:
    """What stands between an opening mark and the next closing one, over several lines too."""
    return [piece.partition(opening)[2] for piece in text.split(closing)[:-1] if opening in piece]


def between(text: str, opening: str, closing: str) -> bool:
    """Whether something that is not blank stands between the two marks."""
    return any(part.strip(f"{opening} \n\t") for part in parts_between(text, opening, closing))


def sections(text: str, splitter: str) -> int:
    """How often the splitter stands before a number, in this case and inside longer words too."""
    return len(re.findall(rf"{re.escape(splitter.strip())}\s?\d+", text))


def chapters(text: str, splitter: str) -> int:
    """How often 第 N stands before the splitter (Japanese and Chinese); N in digits, Western or wide."""
    return len(re.findall(rf"第\d+{re.escape(splitter.strip())}", text))


def has_title(text: str, opening: str, closing: str) -> bool:
    """Whether something that is not blank stands on one line between the first opening and the last closing mark."""
    for line in text.split("\n"):
        first, last = line.find(opening), line.rfind(closing)
        if min(first, last) >= 0 and line[first + len(opening) : last].strip(f"{opening}{closing} "):
            return True
    return False


def placeholders(text: str) -> int:
    """Parts in square brackets on one line, the empty ones too."""
    return sum(len(parts_between(line, "[", "]")) for line in text.split("\n"))


def has_postscript(text: str, marker: str) -> bool:
    """Whether the marker stands in the text, whatever its case; "P.S." and "P.P.S" may have blanks between letters."""
    marker = marker.strip().lower()
    loose = {"p.p.s": r"p\.\s?p\.\s?s", "p.s.": r"p\.\s?s\.", "p.d.": r"p\.\s?d\."}
    return bool(re.search(loose.get(marker, re.escape(marker)), text.lower()))


def is_json(text: str) -> bool:
    """Whether the whole text, without a Markdown fence around it, is JSON."""
    text = text.strip()
    for fence in _FENCE_OPEN:
        text = text.removeprefix(fence)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def is_quoted(text: str, quotes: Iterable[tuple[str, str]]) -> bool:
    """Whether one of the pairs of marks stands around the whole text."""
    text = text.strip()
    return len(text) > 1 and any(text.startswith(first) and text.endswith(last) for first, last in quotes)


def fenced(text: str) -> list[tuple[str, str]]:
    """The closed fenced blocks: (label in small letters, code)."""
    found: list[tuple[str, str]] = []
    label, code = None, []
    for line in text.split("\n"):
        mark = line.strip()
        if label is None:
            if mark.startswith("```") and "`" not in mark[3:]:
                label, code = mark[3:].strip().lower(), []
        elif mark == "```":
            found.append((label, "".join(f"{one}\n" for one in code)))
            label = None
        else:
            code.append(line)
    return found


def has_option(text: str, options: Iterable[str]) -> bool:
    """Whether one of the options stands in the text, letter by letter."""
    return any(option in text for option in options)


def two_responses(text: str) -> bool:
    """Two different parts with `******` between them; an empty part may open or close the text."""
    parts = [part.strip() for part in text.split("******")]
    filled = [part for part in parts if part]
    return all(parts[1:-1]) and len(filled) == 2 and filled[0] != filled[1]


def begins_with(text: str, prompt: str) -> bool:
    return text.strip().lower().startswith(prompt.strip().lower())


def finishes_with(text: str, phrase: str, closing: str = '"') -> bool:
    """Whether the text ends with the phrase, whatever its case; closing quotes may follow it."""
    text, phrase = text.strip().strip(closing), phrase.strip().strip(closing if closing != '"' else "")
    return text.lower().endswith(phrase.lower())
