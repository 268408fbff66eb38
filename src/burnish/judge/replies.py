"""What a judge's reply says: a rating, a choice between two answers, or *unscored* and why.

Lenient where a person would not hesitate (`9/10` for `[[9]]`), strict where one would: a reply that names two different
verdicts, none, or one outside the scale has no verdict. The forms are those of MT-Bench (`[[8]]`, `[[A]]`, `[[C]]` a
tie), Arena-Hard (`[[A>>B]]`), Prometheus (`[RESULT] 4`) and AutoIF (`Score: 8`, a JSON object in a code block).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.llm.operations.loose_json import Malformed, objects

TIE = -1
NO_RATING = "the reply has no rating"
NO_CHOICE = "the reply has no verdict"

_NUMBER = r"([-+]?\d+(?:\.\d+)?)"
_LABEL = r"\b(?:rating|score|overall score|final score|grade)\b"
# In the order of preference: the first form that occurs decides.
_RATINGS = (
    re.compile(rf"(?<![\w(,])\[\[\s*{_NUMBER}\s*(?:/\s*\d+)?\s*\]\]"),
    re.compile(rf"\[RESULT\]\W{{0,4}}{_NUMBER}", re.I),
    # Not "a score of 5": feedback names the scores that an answer might have had.
    re.compile(rf"{_LABEL}[*_\"'\s]*(?:[:=]|\bis\b)[*_\"'\s]*{_NUMBER}(?![\d%])", re.I),
)
_OUT_OF = re.compile(rf"(?<![\d/.]){_NUMBER}\s*(?:/|out of)\s*(\d+)[\s*_.!)]*$", re.I)  # ends the reply
_BRACKETS = re.compile(r"\[\[\s*(A|B|C|Tie|[AB]\s*(?:>>?|<<?|=)\s*[AB])\s*\]\]", re.I)
_SINGLE = re.compile(r"(?<!\[)\[\s*([AB]\s*(?:>>?|<<?|=)\s*[AB])\s*\](?!\])")
_SAID = re.compile(
    r"\b[Vv]erdict\b\W{0,6}(?:is\b)?[\W_]{0,8}(A|B|C|Tie|[AB]\s*(?:>>?|<<?|=)\s*[AB])[*_\"']*(?=[.,;)]|\s*$)", re.M
)
_CODE = re.compile(r"```.*?(?:```|\Z)", re.S)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """A number on a scale, or None and why."""

    value: float | None
    unscored: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Which of two answers, by place shown: 0 the first (A), 1 the second (B), -1 a tie; None and why.

    `clear` is True for a verdict marked as strong (`A>>B`), which Arena-Hard counts three times.
    """

    winner: int | None
    clear: bool = False
    unscored: str = ""


def read_rating(text: str, *, low: float = 1, high: float = 10) -> Rating:
    """The rating of a reply on the scale from `low` to `high`.

    The last line decides if it holds one rating; else all ratings of the reply, outside code blocks, must be equal.
    """
    for part in (_last_line(text), _CODE.sub("", text)):
        found = list(dict.fromkeys(_ratings(part, high)))
        if len(found) == 1:
            if low <= found[0] <= high:
                return Rating(value=found[0])
            return Rating(value=None, unscored=f"the rating {found[0]:g} is outside the scale {low:g} to {high:g}")
    if not found:
        return Rating(value=None, unscored=NO_RATING)
    return Rating(value=None, unscored=f"the reply has ratings that differ: {', '.join(f'{x:g}' for x in found)}")


def _ratings(text: str, high: float) -> list[float]:
    for form in _RATINGS:
        if found := [float(number) for number in form.findall(text)]:
            return found
    return [float(number) for number, top in _OUT_OF.findall(text) if float(top) == high]


def read_choice(text: str) -> Choice:
    """The verdict of a reply that compares answers A and B.

    The last line decides if it holds one verdict; else all verdicts, outside code blocks, must be the same.
    """
    for part in (_last_line(text), _CODE.sub("", text)):
        found = list(dict.fromkeys(_choices(part)))
        if len(found) == 1:
            return Choice(winner=found[0][0], clear=found[0][1])
    if not found:
        return Choice(winner=None, unscored=NO_CHOICE)
    return Choice(winner=None, unscored=f"the reply has {len(found)} verdicts that differ")


def _choices(text: str) -> Iterator[tuple[int, bool]]:
    for form in (_BRACKETS, _SINGLE, _SAID):
        if found := form.findall(text):
            for verdict in found:
                if (read := _choice(re.sub(r"\s", "", verdict).upper())) is not None:
                    yield read
            return


def _choice(verdict: str) -> tuple[int, bool] | None:
    if verdict in ("C", "TIE"):
        return TIE, False
    if verdict in ("A", "B"):
        return "AB".index(verdict), False
    left, sign, right = verdict[0], verdict[1:-1], verdict[-1]
    if left == right:
        return None
    if sign == "=":
        return TIE, False
    return "AB".index(left if sign[0] == ">" else right), len(sign) == 2


def read_object(text: str, needs: Sequence[str] = ()) -> dict[str, Any] | str:
    """The JSON object of a reply, in prose or in a code block (`loose_json`), or the reason why there is none.

    Args:
        needs: fields that the object must have; the first object that has them counts.
    """
    try:
        found = objects(text)
    except Malformed as error:
        return f"the reply's JSON is malformed: {error}"
    why = "the reply has no JSON object"
    for one in found:
        if one.value is None:
            why = f"the reply's JSON is malformed: {one.error}"
            continue
        missing = [name for name in needs if name not in one.value]
        if not missing:
            return one.value
        why = f"the reply's JSON lacks {', '.join(missing)}"
    return why


def _last_line(text: str) -> str:
    return text.rstrip("` \t\r\n").rpartition("\n")[2]
