"""Units that are known, with their factor and dimension, so that 100 cm is 1 m and 5 cm is not 5 m.

Factors are exact (SI brochure, 9th edition, tables 7 and 8; international yard and pound agreement of 1959). A unit
that is not here is a noun: it is dropped, as in "5 apples".
"""

from __future__ import annotations

import re
from fractions import Fraction

Unit = tuple[Fraction, tuple[tuple[str, int], ...]]


def _table() -> dict[str, tuple[Fraction, dict[str, int]]]:
    length, mass, time, money = {"L": 1}, {"M": 1}, {"T": 1}, {"$": 1}
    inch, pound, litre = Fraction("0.0254"), Fraction("0.45359237"), Fraction(1, 1000)
    rows: list[tuple[str, Fraction | int, dict[str, int]]] = [
        ("m meter meters metre metres 米", 1, length),
        ("cm centimeter centimeters centimetre centimetres 厘米", Fraction(1, 100), length),
        ("mm millimeter millimeters millimetre millimetres 毫米", Fraction(1, 1000), length),
        ("dm 分米", Fraction(1, 10), length),
        ("km kilometer kilometers kilometre kilometres 千米 公里", 1000, length),
        ("nm nanometer nanometers", Fraction(1, 10**9), length),
        ("angstrom angstroms", Fraction(1, 10**10), length),
        ("in inch inches", inch, length),
        ("ft foot feet", 12 * inch, length),
        ("yd yard yards", 36 * inch, length),
        ("mi mile miles", 63360 * inch, length),
        ("g gram grams gms gm 克", Fraction(1, 1000), mass),
        ("mg milligram milligrams", Fraction(1, 10**6), mass),
        ("kg kilogram kilograms kgs 千克 公斤", 1, mass),
        ("t ton tons tonne tonnes 吨", 1000, mass),
        ("lb lbs pound pounds", pound, mass),
        ("oz ounce ounces", pound / 16, mass),
        ("s sec secs second seconds 秒", 1, time),
        ("min mins minute minutes 分钟", 60, time),
        ("h hr hrs hour hours 小时 时", 3600, time),
        ("day days 天", 86400, time),
        ("week weeks", 7 * 86400, time),
        ("L l liter liters litre litres 升", litre, {"L": 3}),
        ("mL ml milliliter milliliters millilitre millilitres 毫升", litre / 1000, {"L": 3}),
        ("$ dollar dollars USD usd", 1, money),
        ("¢ cent cents", Fraction(1, 100), money),
        ("€ euro euros EUR", 1, {"€": 1}),
        ("£ GBP", 1, {"£": 1}),
        ("元 ¥ yuan RMB", 1, {"元": 1}),
        ("₹ Rs Rs. rupee rupees", 1, {"₹": 1}),
        ("mph", Fraction(63360) * inch / 3600, {"L": 1, "T": -1}),
        ("kmph kph", Fraction(1000, 3600), {"L": 1, "T": -1}),
        ("Hz", 1, {"T": -1}),
        ("N newton newtons", 1, {"M": 1, "L": 1, "T": -2}),
        ("J joule joules", 1, {"M": 1, "L": 2, "T": -2}),
        ("W watt watts", 1, {"M": 1, "L": 2, "T": -3}),
        ("erg ergs", Fraction(1, 10**7), {"M": 1, "L": 2, "T": -2}),
    ]
    return {name: (Fraction(factor), dims) for names, factor, dims in rows for name in names.split()}


UNITS = _table()
# Words that count as part of a unit and change nothing, and those that mean what `/` and exponents mean.
_WORDS = {"per": "/", "sq": "2", "sq.": "2", "square": "2", "cubic": "3", "cu": "3", "平方": "2", "立方": "3"}
_HAN = re.compile(r"(平方|立方)?(\S+)")


def _one(word: str) -> tuple[Fraction, dict[str, int]] | None:
    return UNITS.get(word) or UNITS.get(word.rstrip(".")) or UNITS.get(word.lower().rstrip("."))


def unit_of(words: list[str]) -> Unit | None:
    """Factor to SI and dimension of a unit in words ("ft / s", "square meters"), or None when it is not known.

    Args:
        words: what follows the number: unit names, `/`, `^`, `-` and exponents, in order.
    """
    factor, dims, sign, power = Fraction(1), dict[str, int](), 1, 1
    last: tuple[Fraction, dict[str, int], int] | None = None
    index = 0
    while index < len(words):
        word = words[index]
        found = _HAN.fullmatch(word)
        if found and found[1]:
            word, power = found[2], int(_WORDS[found[1]])
        if _WORDS.get(word) == "/" or word == "/":
            sign = -1
        elif word in _WORDS:
            power = int(_WORDS[word])
        elif word == "^" and last and index + 1 < len(words) and words[index + 1].isdigit():
            exponent = min(int(words[index + 1]), 4)
            unit, dim, way = last
            factor *= unit ** (way * (exponent - 1))
            for name, value in dim.items():
                dims[name] = dims.get(name, 0) + value * way * (exponent - 1)
            index += 1
        elif known := _one(word):
            factor *= known[0] ** (sign * power)
            for name, value in known[1].items():
                dims[name] = dims.get(name, 0) + value * sign * power
            last, sign, power = (known[0], known[1], sign * power), 1, 1
        elif word not in ("*", "-"):
            return None
        index += 1
    if last is None:
        return None
    return factor, tuple(sorted((name, value) for name, value in dims.items() if value))


_AFTER = re.compile(
    r"\s?(?:\\text\s*+\{\s*+)?"
    r"((?:square |cubic )?[A-Za-z]{1,12}(?:\s?(?:/|per)\s?[A-Za-z]{1,12})?|[\u3400-\u9fff]{1,4})"
)


def unit_after(text: str) -> str:
    """The known unit that a text begins with (what follows a number), with a space before it; else nothing."""
    match = _AFTER.match(text)
    found = match[1] if match else ""
    for size in (found, found.partition(" per")[0], found.partition(" ")[0]):
        words = re.findall(r"[^\s/]+|/", size)
        if words and words[0] != "in" and unit_of(words) is not None:
            return f" {size}"
    return ""
