"""Numbers in words: "six", "two thirds", "1 million", 七十二, 三分之二, 1万.

`in_digits` writes them in digits, so that the tokens know numbers of one kind only. Linear in the length of the text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction

MAX_WORDS = 14  # ASSUMED: words of one spelled number
LONGEST = 200  # ASSUMED: characters of an answer in which a number is spelled

_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
_SMALL = {word: number for number, word in enumerate(_UNITS.split())} | {
    word: 10 * number for number, word in enumerate(_TENS.split(), start=2)
}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_TIMES = {"hundred": 100, "dozen": 12, "dozens": 12} | _SCALES
_PARTS = {
    "half": 2, "halves": 2, "third": 3, "thirds": 3, "quarter": 4, "quarters": 4, "fourth": 4, "fourths": 4,
    "fifth": 5, "fifths": 5, "sixth": 6, "sixths": 6, "seventh": 7, "sevenths": 7, "eighth": 8, "eighths": 8,
    "ninth": 9, "ninths": 9, "tenth": 10, "tenths": 10,
}  # fmt: skip
_HAN = {character: number for number, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
_HAN_TENS = {"十": 10, "百": 100, "千": 1000}
_HAN_SCALES = {"万": 10**4, "亿": 10**8}
_COUNTED = "个只元米本人天次岁辆块颗名页件条张支棵朵把台箱袋瓶种队组倍分秒克斤吨升度"
_HAN_RUN = r"[零〇一二三四五六七八九两十百千万亿]++"
_HAN_NUMBER = rf"(?:{_HAN_RUN}分之{_HAN_RUN}|{_HAN_RUN})"
# 千米 and 千克 are units, not thousands.
_SCALED = re.compile(
    r"(?<![\w.,])(?P<number>[0-9]{1,3}(?:,[0-9]{3})++(?:\.[0-9]{1,20})?|[0-9]{1,20}(?:\.[0-9]{1,20})?)"
    r"(?:\s?(?P<word>hundred|thousand|million|billion|trillion|dozens?)(?![A-Za-z])|\s?(?P<han>[百万亿]|千(?![米克]))(?P<more>[亿万]?))",
    re.IGNORECASE,
)
_WORD = "|".join(sorted((*_SMALL, *_TIMES, *_PARTS), key=len, reverse=True))
_SPELLED = re.compile(
    rf"(?:(?:an?|minus|negative)\s(?=(?:{_WORD})\b))?(?:{_WORD})(?:(?:\s|-|\sand\s)(?:{_WORD})){{0,{MAX_WORDS}}}(?![-\w])",
    re.IGNORECASE,
)
_SPELLED_IN = re.compile(rf"(?<![-\w]){_SPELLED.pattern}", re.IGNORECASE)
_JOINED = re.compile(r"\s*+(?:,\s*+)?(?:or|and|to|nor|或|到|至)\s*+", re.IGNORECASE)
_CHINESE = re.compile(rf"(?:负)?{_HAN_NUMBER}")
_CHINESE_LAST = re.compile(rf"(?:负)?{_HAN_NUMBER}(?=[{_COUNTED}]|[^\u3400-\u9fff]|$)")
_NOUN = re.compile(rf"[{_COUNTED}]?|(?:平方|立方)?(?:千米|公里|厘米|毫米|分米|千克|公斤|分钟|小时|米)")
_DRESSED = re.compile(r"\$?\s*+\\(?:text|textbf|textit|textrm|mathrm|mathbf|mbox)\s*+\{([^{}]*)\}\s*+\$?")


def _spelled(text: str) -> Fraction | None:
    """The value of a number in English words, or None when the words do not form one."""
    words = re.split(r"[\s-]+", text.lower())
    if words[0] in _SCALES or words[0] in ("hundred", "dozens"):  # "million" alone is a noun
        return None
    sign = -1 if words[0] in ("minus", "negative") else 1
    if words[0] in ("a", "an", "minus", "negative"):
        words = words[1:]
    parts = Fraction(1)
    if words and words[-1] in _PARTS:
        parts = Fraction(1, _PARTS[words.pop()])
        words = words or ["one"]
    total, current, last = Fraction(0), Fraction(0), 0  # `last`: the size of the word before, to refuse "two three"
    ceiling = 10**15
    for index, word in enumerate(words):
        if word == "and":
            if index == 0 or last < 100:
                return None
        elif word in _SMALL:
            value = _SMALL[word]
            if last and (last < 20 or (last < 100 and not 0 < value < 10)):
                return None
            current, last = current + value, max(value, 1)
        elif word in ("hundred", "dozen", "dozens"):
            if last >= 100:
                return None
            current, last = (current or 1) * _TIMES[word], 100
        elif word in _SCALES and _SCALES[word] < ceiling:
            ceiling, last = _SCALES[word], 1000
            total, current = total + (current or 1) * ceiling, Fraction(0)
        else:
            return None
    return sign * (total + current) * parts


def _han_whole(text: str) -> Fraction | None:
    if not any(character in _HAN_TENS or character in _HAN_SCALES for character in text):
        return Fraction("".join(str(_HAN[character]) for character in text)) if len(text) <= 20 else None
    total = section = digit = 0
    for character in text[:40]:
        if character in _HAN:
            digit = _HAN[character]
        elif character in _HAN_TENS:
            section, digit = section + (digit or 1) * _HAN_TENS[character], 0
        else:
            total, section, digit = (total + section + digit or 1) * _HAN_SCALES[character], 0, 0
    return Fraction(total + section + digit)


def _chinese(text: str) -> Fraction | None:
    """The value of a number in Chinese characters; 三分之二 is two thirds."""
    sign, text = (-1, text[1:]) if text.startswith("负") else (1, text)
    below, part, above = text.rpartition("分之")
    top, bottom = _han_whole(above), _han_whole(below) if part else Fraction(1)
    return sign * top / bottom if top is not None and bottom else None


def _scaled(match: re.Match[str]) -> str:
    value = Fraction(match["number"].replace(",", ""))
    if match["word"]:
        value *= _TIMES[match["word"].lower()]
    else:
        value *= (_HAN_TENS | _HAN_SCALES)[match["han"]] * _HAN_SCALES.get(match["more"], 1)
    return str(value) if value.denominator == 1 else f"{value.numerator}/{value.denominator}"


def in_digits(text: str) -> str:
    """An answer with its numbers in digits: "1 million" anywhere, and the words that a short answer begins with.

    What is no number stays as it is. In Chinese only a unit or a measure word may follow: 三角形 is not three.
    """
    if not text.isascii() or "d" in text.lower() or "llion" in text.lower():
        text = _SCALED.sub(_scaled, text)
    if len(text) > LONGEST or any(character.isdigit() for character in text):
        return text
    dressed = _DRESSED.fullmatch(text.strip())
    bare = (dressed[1] if dressed else text).strip().strip(".。!！*").strip()
    match = _SPELLED.match(bare)
    value = _spelled(match.group()) if match else None
    if match is None and (match := _CHINESE.match(bare)) and _NOUN.fullmatch(bare[match.end() :]):
        value = _chinese(match.group())
    if match is None or value is None:
        return text
    return f"{value}{bare[match.end() :]}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Spelled:
    """A number in words in a text, with what stands around it.

    Args:
        several: whether "or", "and" or "to" joins it to the number in words before it: "six or seven".
    """

    value: Fraction
    before: str
    after: str
    around: str
    several: bool


def last_spelled(text: str) -> Spelled | None:
    """The last number in words of a text, or None."""
    found = [(match, _spelled(match.group())) for match in _SPELLED_IN.finditer(text)]
    found += [(match, _chinese(match.group())) for match in _CHINESE_LAST.finditer(text)]
    known = sorted(((match, value) for match, value in found if value is not None), key=lambda pair: pair[0].start())
    if not known:
        return None
    match, value = known[-1]
    several = len(known) > 1 and bool(_JOINED.fullmatch(text[known[-2][0].end() : match.start()][:20]))
    before, after = text[max(0, match.start() - 40) : match.start()], text[match.end() : match.end() + 40]
    around = f"{before[-20:]}{match.group()}{after[:10]}".strip()
    return Spelled(value=value, before=before, after=after, around=around, several=several)
