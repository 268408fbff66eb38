"""The final number of an answer.

The conventions read here are those of GSM8K (`#### 72`, Cobbe et al. 2021, arXiv 2110.14168 §2), of MATH
(`\\boxed{72}`, Hendrycks et al. 2021, arXiv 2103.03874 §2) and of plain prose ("the answer is 72").
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

# Longer runs of digits are noise, not answers; the bound also keeps `int` away from CPython's 4,300-digit limit.
MAX_DIGITS = 400  # ASSUMED
TAIL = 2_000  # ASSUMED: characters at the end that are searched first
STATEMENTS = 50  # ASSUMED: statements of an answer that are looked at, from the last one back
STATEMENT = 200  # ASSUMED: characters after "the answer is" in which its number must stand

# Full-width digits, typographic minus signs and thin spaces become their plain forms before anything is matched.
_PLAIN = str.maketrans(
    {
        **{chr(0xFF10 + digit): str(digit) for digit in range(10)},
        **dict.fromkeys("\u2212\u2012\u2013\uff0d\ufe63", "-"),
        **dict.fromkeys("\u2009\u202f\u00a0\u2007", " "),
        "\uff0c": ",",
        "\uff0e": ".",
        "\uff1a": ":",
        "\uff1d": "=",
        "\uff05": "%",
    }
)

# Possessive quantifiers and the look-behind keep the scan linear: a run of digits is tried once, from its start.
_INTEGER = r"(?<![0-9])(?:[0-9]{1,3}(?:(?:,(?:\\!)?|\{,\}|\\,|\\!,?)[0-9]{3})++(?![0-9])|[0-9]++)"
_NUMBER = re.compile(
    rf"""
    (?P<sign>(?<![\w)\]}}%.])[-+])?
    (?:\\?[$€£¥₹]\s?|(?:USD|EUR|GBP)\s?)?
    (?P<sign_after>(?<=[$€£¥₹\s])-)?
    (?:
        \\[dt]?frac\s*+\{{\s*+(?P<top>-?[0-9]++)\s*+\}}\s*+\{{\s*+(?P<bottom>[0-9]++)\s*+\}}
      | (?<![A-WYZa-wyz_/0-9])(?:(?P<mixed>[0-9]++)[ ](?=[0-9]++/[0-9]))?
        (?P<over>[0-9]++)\s?/\s?(?P<under>[0-9]++)(?![.,/][0-9])
      | (?<![A-WYZa-wyz_])(?P<whole>{_INTEGER})(?P<decimals>\.[0-9]++)?(?!(?:st|nd|rd|th)\b)
      | (?<![0-9A-Za-z_])(?P<point>\.[0-9]++)
    )
    """,
    re.VERBOSE,
)
# A level-four heading ("#### Step 1", "#### 2. Add") is no answer: the number must follow the marker at once and
# must not be a list number.
_HASHES = re.compile(r"####[^\S\n]*(?P<rest>[-+*\\$€£¥₹.0-9][^\n]*)")
_LIST_NUMBER = re.compile(r"[0-9]++[.):]\s++\S")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*+\{")
_ANSWER = re.compile(
    r"(?:answer|antwort|réponse|respuesta|risposta|resposta|答案|\bA)[*_\s]*+"
    r"(?:(?:is|are|ist|est|es|è|é|是|为)\b|是|为|:|=)",
    re.IGNORECASE,
)
_PERCENT = re.compile(r"\s?\\?%|\s?(?:percent|per cent)\b", re.IGNORECASE)
_NO_NUMBER = re.compile(r"[^0-9.,]\s")
_SENTENCE_END = re.compile(r"[.;!?。！？](?:\s|$)")


def _fraction(match: re.Match[str]) -> Fraction | None:
    part = match.groupdict()
    if sum(character.isdigit() for character in match.group()) > MAX_DIGITS:
        return None
    if part["bottom"] is not None or part["under"] is not None:
        below = int(part["bottom"] or part["under"])
        if below == 0:
            return None
        value = Fraction(int(part["top"] or part["over"]), below) + int(part["mixed"] or 0)
    elif part["point"] is not None:
        value = Fraction("0" + part["point"])
    else:
        value = Fraction(re.sub(r"[^0-9]", "", part["whole"]) + (part["decimals"] or ""))
    return -value if "-" in (part["sign"], part["sign_after"]) else value


def _numbers(text: str) -> Iterator[Fraction]:
    for match in _NUMBER.finditer(text):
        value = _fraction(match)
        if value is not None:
            yield value


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A number in a text: its value, whether a sign for a hundredth follows, and what stands around it."""

    value: Fraction
    percent: bool
    before: str
    after: str

    @property
    def text(self) -> str:
        return f"{self.value}%" if self.percent else str(self.value)


def numbers_in(text: str, around: int = 80) -> list[Found]:
    """The numbers of a text in order (of many the last thousand), each with that many characters on either side."""
    text = text.translate(_PLAIN)
    made = []
    for match in list(_NUMBER.finditer(text))[-STATEMENTS * 20 :]:
        value = _fraction(match)
        if value is not None:
            before, after = (
                text[max(0, match.start() - around) : match.start()],
                text[match.end() : match.end() + around],
            )
            made.append(Found(value=value, percent=bool(_PERCENT.match(after)), before=before, after=after))
    return made


def stated_number(text: str) -> Fraction | None:
    """The number that a short statement states: the first one after its last equals sign, else the first one."""
    return next(_numbers(text.translate(_PLAIN).rpartition("=")[2]), None)


def _last(text: str) -> Fraction | None:
    for match in reversed(list(_NUMBER.finditer(text))):
        value = _fraction(match)
        if value is not None:
            return value
    return None


def _braced(text: str, start: int) -> str:
    depth = 1
    for index in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[index], 0)
        if depth == 0:
            return text[start:index]
    return text[start:]


def _marked(text: str) -> Iterator[str]:
    """Statements of a final answer, the most explicit convention first, within one convention the last one first."""
    for match in reversed(list(_HASHES.finditer(text))[-STATEMENTS:]):
        if not _LIST_NUMBER.match(match["rest"]):
            yield match["rest"]
    boxes = [match.end() for match in _BOXED.finditer(text)]
    if boxes:
        yield _braced(text, boxes[-1])
    for end in reversed([match.end() for match in _ANSWER.finditer(text)][-STATEMENTS:]):
        line = text[end : end + STATEMENT].partition("\n")[0]
        yield _SENTENCE_END.split(line, maxsplit=1)[0]


def final_number(text: str) -> Fraction | None:
    """The number an answer ends in, exactly, or None when it holds none.

    The first of these that gives a number decides: `#### N`, the last `\\boxed{N}`, "answer is N" / "answer: N" /
    "A: N", the last number of the text. Thousands separators, decimals, simple and mixed fractions and `\\frac`
    are read; currency signs and a percent sign are dropped, so 50 % is 50.

    Never raises, whatever the text.
    """
    text = text.translate(_PLAIN)
    for statement in _marked(text):
        value = stated_number(statement)
        if value is not None:
            return value
    if len(text) > TAIL:  # most answers end with their number: look there first, from a place that cuts none
        tail = text[-TAIL:]
        cut = _NO_NUMBER.search(tail)
        found = _last(tail[cut.end() if cut else 0 :])
        if found is not None:
            return found
    return _last(text)
