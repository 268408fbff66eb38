"""Answers in words, made comparable."""

from __future__ import annotations

import re

from burnish.verify.math.reading.tokens import NAMED, plain

_SAME = {
    "no solution": "∅", "no solutions": "∅", "there is no solution": "∅", "there are no solutions": "∅",
    "emptyset": "∅", "no solution ∅": "∅", "the empty set": "∅", "empty set": "∅", "无解": "∅", "none exist": "∅",
    "no real solution": "∅", "no real solutions": "∅",
    "infinitely many solutions": "∞ solutions", "infinite number of solutions": "∞ solutions",
    "infinite solutions": "∞ solutions", "infinitely many": "∞ solutions",
    "dne": "does not exist", "undefined": "undefined", "not defined": "undefined",
    "all real numbers": "ℝ", "all reals": "ℝ", "all real": "ℝ", "the set of all real numbers": "ℝ",
    "mathbb.r": "ℝ", "所有实数": "ℝ", "reals": "ℝ", "the real numbers": "ℝ", "real numbers": "ℝ",
}  # fmt: skip
_KNOWN = re.compile(r"converges|diverges|undefined|concave|increasing|decreasing|does not|do not|not |no sol")
WRAPPED = re.compile(r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox|operatorname)\s*+\{([^{}]*)\}")
_SPACING = re.compile(r"\\(?:left|right|displaystyle|d(?=frac)|t(?=frac)|quad|qquad|[,;:!> ])|[~$]")
_TIGHT = re.compile(r"\s*+([^\sA-Za-z0-9])\s*+")
_SYMBOL = re.compile(r"\\([A-Za-z]+)")


def words_of(text: str) -> str:
    """A text as words for comparison: case, spacing, punctuation at the ends, LaTeX dressing left out.

    Letters that mathematics tells apart by case keep it when the text holds notation.
    """
    text = plain(text)
    if "\\" in text:
        text = text.replace("\\\\", " ; ").replace("\\$", " ")
        text = WRAPPED.sub(r" \1 ", text)
        text = _SPACING.sub(" ", text)
        text = _SYMBOL.sub(lambda match: f" {NAMED.get(match[1], match[1])} ", text)
        text = text.replace("\\%", "%")
    text = _TIGHT.sub(r"\1", text.replace("$", " "))
    text = " ".join(text.split()).strip(" .,;:!*\"'`")
    text = text if any(mark in text for mark in "\\^_=") else text.lower()
    return _SAME.get(text.lower(), text)


def is_phrase(text: str) -> bool:
    """Whether a text is a lower-case phrase that is no known answer: a remark, perhaps."""
    words = text.strip().strip("$ .").split()
    known = _KNOWN.match(" ".join(words))
    return len(words) > 1 and words[0].isalpha() and words[0].islower() and not known
