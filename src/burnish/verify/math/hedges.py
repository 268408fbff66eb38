"""What takes a value back: denials ("not 18"), bounds and choices ("at least 18", "17 or 18"), questions ("18?").

Everything here looks at a few dozen characters around a number, or at one statement, so that it is linear.
"""

from __future__ import annotations

import re

NEAR = 40  # ASSUMED: characters before a number in which it is denied or bounded

_OPEN = r"[\s*_$\"'“‘(（\\{]*+(?:text\{|mathrm\{)?\s*+$"  # dress between a word and its number
_NOT = (
    r"(?:\b(?:not|cannot|never|neither|nor|no|no longer|isnt|cant|wont)\b|n['’]t\b"
    r"|不是|不等于|不为|并非|不会是|而非|不可能是)"
)
# "only", "just" after "not" would say yes; "be", "equal" and the like do not.
_DENIED = re.compile(
    rf"{_NOT}(?:\s*+\}})?(?:\s++(?:be|been|equal|equals|to|exactly|the|a|an|number|value|answer|is|option|choice|letter|possibly))*+{_OPEN}",
    re.IGNORECASE,
)
_BOUND = re.compile(
    r"(?:\b(?:at\s(?:least|most)|(?:more|less|fewer|greater|larger|smaller|bigger|higher|lower|other|rather)\sthan|above|"
    r"below|up to|no (?:more|less|fewer) than|anything but|except|between|either|instead of|unequal to|different from)"
    rf"|至少|至多|大于|小于|不少于|不超过|多于|少于|超过)(?:\s*+\}})?{_OPEN}",
    re.IGNORECASE,
)
_SIGN = re.compile(
    r"(?:(?<![<>])[<>]|[≤≥≠≮≯]|\\(?:ge|le|geq|leq|geqslant|leqslant|gt|lt|ne|neq|not)\b|!=|[<>]=)[\s$\\{=]*+$"
)
_LEADS = re.compile(
    rf"[\s*_$\"'“‘(（\\{{]*+(?:text\{{|mathrm\{{)?\s*+{_NOT}\}}?\s++[\s$*(\[\\-]*+(?:[0-9]|(?-i:[A-J]\b|[b-z]\b)|\\)",
    re.I,
)
_AFTER = re.compile(
    r"[\s$*}%]*+(?:[A-Za-z]++\s)?"
    r"(?:or (?:more|less|fewer|above|below|higher|lower|greater)|and (?:above|below|up|over)|"
    r"(?:or|或)\s*+[\s$\\(]*+-?[0-9]|以上|以下|at (?:most|least)\b|\?)",
    re.IGNORECASE,
)
_RANGE = re.compile(
    r"(?:\b(?:between|either)\b[^0-9]{0,20}-?[0-9]|[0-9][\s$*}]{0,5}(?:to|or|或|至|到|nor)[\s$\\]{0,5}-?[0-9]|[0-9]\s?[–—~～]\s?[0-9])",
    re.IGNORECASE,
)
_NOT_BUT = re.compile(rf"\s*+{_NOT}[^.\n]{{1,40}}?(?:,?\s(?:but|rather)\s(?:rather\s)?|，?而是)", re.IGNORECASE)
_REASON = re.compile(
    r",?\s(?:because|since|as|where|given that)\s|[,，(（]?\s?(?:因为|由于)|[(（](?:because|since|as|check|i\.e)\b",
    re.IGNORECASE,
)
# Operators that make a number a part of an expression, and what makes it another number altogether.
_SUM_BEFORE = re.compile(r"(?:[×·/]|[0-9)}]\s*+\*|[0-9)}]\s*+[-+–]|\\(?:times|cdot|div)\b)[\s({]*+-?$|[0-9)]\s?[xX]\s$")
_SUM_AFTER = re.compile(r"[\s})]*+(?:[×≤≥]|<(?!<)|>(?!>)|[*·/]\s*+[0-9(]|[-+]\s*+[0-9(\\]|\\(?:times|cdot|div)\b)")
_POWER_BEFORE = re.compile(r"(?:[\^√]|[0-9)}]\*\*|\\(?:sqrt|frac)\b|\^\{)[\s({]*+-?$|[0-9][eE][-+]?$")
_POWER_AFTER = re.compile(
    r"[\s})]*+(?:[\^√π]|![-+*/^0-9(]|\*\*\s*+[-0-9(]|(?:[xX×·*]|\\times|\\cdot)\s*+10\s?(?:\^|\*\*)|[eE][-+]?[0-9]|\\(?:sqrt|pi|frac)\b|:[0-9])"
    r"|\s?(?:hundred|thousand|million|billion|trillion|dozens?)\b|\s?(?:[万亿百]|千(?![米克]))",
    re.IGNORECASE,
)


def denied(before: str) -> bool:
    """Whether what stands before a value says that it is not the answer."""
    return bool(_DENIED.search(before[-NEAR:]))


def bounded(before: str, after: str = "") -> bool:
    """Whether a value is a bound or one of several, not the answer itself."""
    near = before[-NEAR:]
    return bool(_BOUND.search(near) or _SIGN.search(near) or _AFTER.match(after[:NEAR]))


def scaled(before: str, after: str) -> bool:
    """Whether a number is one of a power, a root or a scale ("5 million", "2^10"), so that it has not its own value."""
    return bool(_POWER_BEFORE.search(before[-NEAR:]) or _POWER_AFTER.match(after[:NEAR]))


def partial(before: str, after: str) -> bool:
    """Whether a number is a part of an expression or of a range."""
    summed = _SUM_BEFORE.search(before[-NEAR:]) or _SUM_AFTER.match(after[:NEAR])
    return bool(summed) or scaled(before, after)


def asked(after: str) -> bool:
    """Whether a number ends a question."""
    return bool(re.match(r"[\s$*}%]*+[?？]", after[:NEAR]))


def ranged(statement: str) -> bool:
    """Whether a statement gives a range or a choice of values."""
    return bool(_RANGE.search(statement[:400]))


def taken_back(statement: str) -> bool:
    """Whether a statement only says what the answer is not, or asks."""
    asks = without_reason(statement).rstrip(" *_$\"'”").endswith(("?", "？"))
    return asks or bool(_LEADS.match(statement[:NEAR]))


def corrected(statement: str) -> str:
    """ "not 17 but 18" as "18"."""
    return statement[match.end() :] if (match := _NOT_BUT.match(statement[:200])) else statement


def without_reason(statement: str) -> str:
    """A statement up to "because", "since", "as", "where", when a value stands before it."""
    short = _REASON.split(statement, maxsplit=1)[0]
    return short if short.strip() else statement
