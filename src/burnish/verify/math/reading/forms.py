"""What shape an answer has: a value, a list, a tuple, an interval, a set, a matrix, an equation, an inequality, words.

`read` turns the text of an answer into one of these. What is no mathematics becomes `Text`, never an error.
"""

from __future__ import annotations

import re
from fractions import Fraction
from functools import lru_cache

from burnish.verify.math.reading.numerals import in_digits
from burnish.verify.math.reading.parse import parse, symbols_of
from burnish.verify.math.reading.shapes import (
    REAL_LINE,
    Either,
    Equation,
    Form,
    Inequality,
    Many,
    Matrix,
    Ratio,
    Sequence,
    Text,
    Union,
    Value,
)
from burnish.verify.math.reading.tokens import MAX_CHARACTERS, Token, Unreadable, tokens
from burnish.verify.math.reading.units import UNITS
from burnish.verify.math.reading.words import WRAPPED, is_phrase, words_of

KEPT = 1_500  # ASSUMED: characters of a text whose reading is kept; gold answers come again and again
MAX_UNIT = 14  # ASSUMED: tokens of a unit or noun phrase
MAX_ITEMS = 60  # ASSUMED: items of a list, entries of a matrix row


_RELATIONS = {"=", "approx", "<", ">", "leq", "geq", "neq", "in", "arrow"}
_LEADING = (
    "about approximately roughly around exactly nearly almost only so thus hence therefore i.e ie total answer ans is "
    "are the a an of 约 大约 共 是 为 等于 所以 因此 rs rs. usd eur gbp inr re re. it equals"
)
_LEADS = frozenset(_LEADING.split())
_LETTERED = re.compile(r"[0-9)=]\s*+[A-Za-z]|(?<![A-Za-z])[A-Za-z]{1,3}(?![A-Za-z])\s*+[-+*/^=]")


def _split(items: list[Token], *names: str) -> list[list[Token]]:
    """Cut at operators of these names that stand outside brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in items:
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0 and token.kind == "op" and token.text in names:
            parts.append([])
        else:
            parts[-1].append(token)
    return parts


def _has(items: list[Token], *names: str) -> bool:
    return len(_split(items, *names)) > 1


def _trimmed(items: list[Token]) -> list[Token]:
    """Without punctuation at the ends and words that only lead to the answer."""
    start, end = 0, len(items)
    while end > start and items[end - 1].kind == "op" and items[end - 1].text in (".", ",", ";", ":"):
        end -= 1
    while start < end:
        token = items[start]
        lead = token.kind == "word" and token.text.lower() in _LEADS
        if not lead and not (token.kind == "op" and token.text in (":", ",", ".", "approx", "and", "=")):
            break
        start += 1
    return items[start:end]


def _matched(items: list[Token]) -> bool:
    """Whether the first token opens a bracket that the last one closes."""
    depth = 0
    for index, token in enumerate(items):
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0:
            return index == len(items) - 1
    return False


def _form(items: list[Token], depth: int = 0) -> Form:
    items = _trimmed(items)
    if not items or depth > 6:
        raise Unreadable("it is empty" if not items else "it nests too deep")
    if _has(items, ";"):
        return _many(_split(items, ";"), depth)
    if _has(items, "or", "and"):
        return _many(_split(items, "or", "and"), depth, joined=_has(items, "and"))
    if _has(items, ":"):
        return _colon(_split(items, ":"), depth)
    if _has(items, "cup") and not _has(items, *_RELATIONS):
        parts = [_form(part, depth + 1) for part in _split(items, "cup")]
        return Union(tuple(Sequence("{", "}", (part,)) if isinstance(part, Value) else part for part in parts))
    if _has(items, ","):
        return _many(_split(items, ","), depth)
    if _has(items, *_RELATIONS):
        return _related(items, depth)
    first = items[0]
    if first.kind == "open" and first.text in ("(", "[", "{", "group") and _matched(items):
        return _bracketed(items, depth)
    return _value(items)


def _many(parts: list[list[Token]], depth: int, joined: bool = False) -> Form:
    parts = [part for part in map(_trimmed, parts) if part]
    if len(parts) > MAX_ITEMS:
        raise Unreadable(f"a list of more than {MAX_ITEMS}")
    if len(parts) == 1:
        return _form(parts[0], depth + 1)
    found: list[Form] = []
    for part in parts:
        form = _form(part, depth + 1)
        found.extend(form.items if isinstance(form, Many) else [form])
    if not joined and all(isinstance(form, Inequality) for form in found):
        return Union(tuple(found))  # "x < 1 or x > 3"
    last = found[-1]
    if isinstance(last, Value) and last.unit:  # "12 and 36 min"
        found = [
            Value(form.tree, last.unit, form.name) if isinstance(form, Value) and not form.unit else form
            for form in found
        ]
    return Many(tuple(found))


def _colon(parts: list[list[Token]], depth: int) -> Form:
    trailing = [token.text for token in parts[-1] if token.kind in ("word", "sym") or token.text == "."]
    numbers = [[token for token in part if token.kind == "num"] for part in parts]
    if all(len(found) == 1 for found in numbers) and all(len(part) == 1 for part in parts[:-1]):
        words = tuple(word.lower() for word in trailing if word != ".")
        return Ratio(tuple(found[0].value or Fraction(0) for found in numbers), words)
    parts = [part for part in parts if any(token.kind != "word" for token in part)] or parts  # "Solution is: x = 2"
    forms = [_form(part, depth + 1) for part in parts if part]
    if not forms:
        raise Unreadable("a colon alone")
    return Either(tuple(forms)) if len(forms) > 1 else forms[0]


def _bracketed(items: list[Token], depth: int) -> Form:
    left, right, inside = items[0].text, items[-1].text, items[1:-1]
    brackets = {"group": ("{", "}"), "{": ("{", "}")}.get(left, (left, right))
    if right in ("{", "group"):
        right = "}"
    if brackets == ("{", "}"):
        for bar in ("|", "mid", ":"):
            parts = _split(inside, bar)
            if len(parts) == 2 and len(parts[0]) == 1:
                return _form(parts[1], depth + 1)  # {x | x > 2} is its condition
        if not _trimmed(inside):
            return Text("∅")
        if left == "group" and not _has(inside, ","):
            return _form(inside, depth + 1)
    elif not _has(inside, ","):
        env = inside and inside[0].text.startswith("env.") and _matched(inside)
        relation = _has(inside, *_RELATIONS)
        if env or relation:
            return _form(inside, depth + 1)
        if left == "[":
            return Sequence("[", "]", (_form(inside, depth + 1),))
        return _value(items)
    found = tuple(_form(part, depth + 1) for part in _split(inside, ","))
    if len(found) > MAX_ITEMS:
        raise Unreadable(f"a list of more than {MAX_ITEMS}")
    return Sequence(brackets[0], right, found)


def _name(items: list[Token]) -> str | None:
    """The left side of an assignment as a name (`x`, `f(x)`, `f^{-1}(x)`, `P(X=5)`), or None when it is a value."""
    if not items or items[0].kind not in ("sym", "word") or len(items) > 14:
        return None
    if items[0].text in ("pi", "e", "i") and len(items) > 1:
        return None
    rest = items[1:]
    if rest and not (rest[0].kind in ("open", "word") or rest[0].text in ("^", "_", "'", "''")):
        return None
    if any(token.kind == "op" and token.text in ("+", "*", "/", "frac") for token in rest):
        return None
    return "".join(token.text for token in items)


def _related(items: list[Token], depth: int) -> Form:
    signs = [token.text for token in _outside(items) if token.text in _RELATIONS]
    parts = _split(items, *_RELATIONS)
    if "arrow" in signs:  # what follows the last arrow is the conclusion
        return _form(_split(items, "arrow")[-1], depth + 1)
    if set(signs) <= {"=", "approx"}:
        return _chain(parts, depth)
    if signs[-1] == "in" and len(parts) == 2:
        return _form(parts[1], depth + 1)
    if len(parts) > 3 or set(signs) & {"=", "approx", "in"}:
        raise Unreadable("a relation that is not read")
    return Inequality(tuple(parse(_without_unit(part)[0]) for part in parts), tuple(signs))


def _outside(items: list[Token]) -> list[Token]:
    depth, found = 0, []
    for token in items:
        depth += {"open": 1, "close": -1}.get(token.kind, 0)
        if depth == 0 and token.kind == "op":
            found.append(token)
    return found


def _chain(parts: list[list[Token]], depth: int) -> Form:
    """`x = 3`, `f(2) = 1 + 2 = 3`, `ax + b = 0`."""
    parts = [part for part in parts if part]
    if not parts or len(parts) > MAX_ITEMS:
        raise Unreadable("an equals sign alone" if not parts else f"a chain of more than {MAX_ITEMS}")
    name = _name(parts[0]) if len(parts) > 1 else None
    if name is not None:
        if all(_name(part) is not None and len(part) == 1 and part[0].kind == "sym" for part in parts[:-1]):
            name = "=".join(part[0].text for part in parts[:-1])
            parts = parts[-1:]
        else:
            parts = parts[1:]
    if name is None and len(parts) == 2:
        left, right = _form(parts[0], depth + 1), _form(parts[1], depth + 1)
        if isinstance(left, Value) and isinstance(right, Value):
            if symbols_of(left.tree) | symbols_of(right.tree):
                return Equation(left.tree, right.tree)
            return Value(right.tree, right.unit, "", (left,))
        if isinstance(left, Value) and symbols_of(left.tree):
            raise Unreadable("an equation between unlike sides")
        return right
    forms = [_form(part, depth + 1) for part in parts]
    last = forms[-1]
    if not isinstance(last, Value):
        return last
    others = tuple(form for form in forms[:-1] if isinstance(form, Value))
    return Value(last.tree, last.unit, name or last.name, others, last.grouped)


def _without_unit(items: list[Token]) -> tuple[list[Token], tuple[str, ...]]:
    """The tokens of the value, and the words of its unit. A unit ends the answer; a sign of money begins it."""
    start, unit = 0, []
    while start < len(items) and items[start].kind == "word":
        unit.append(items[start].text)
        start += 1
    if start < len(items) and items[start].kind == "op" and items[start].text == "-" and start + 1 < len(items):
        after = items[start + 1]
        if after.kind == "word" and after.text in "$€£¥₹":  # "-$5"
            return [items[start], *items[start + 2 :]], (after.text,)
    rest = items[start:]
    first = next((index for index, token in enumerate(rest) if token.kind == "word"), len(rest))
    tail = rest[first:]
    if tail and first and rest[first - 1].kind == "op" and rest[first - 1].text == "/":  # "30 / km"
        first -= 1
    rate = bool(tail) and set(unit) <= set("$€£¥₹") and rest[first].text in ("/", "per", "a", "each")  # "$18/day"
    if unit and (
        (tail and not rate) or (not set(unit) <= set("$€£¥₹") and not all(word.lower() in _LEADS for word in unit))
    ):
        raise Unreadable("words before the value")
    if any(token.kind == "num" and not _exponent(tail, index) for index, token in enumerate(tail)):
        raise Unreadable("a number among the words")
    if len(tail) > MAX_UNIT or any(_no_unit(token) for token in tail):
        raise Unreadable("a sentence, not a unit")
    named = [token.text for token in rest[first:] if token.kind != "open" and token.kind != "close"]
    value = rest[:first]
    if len(value) >= 2 and value[-1].kind == "open" and tail:  # "6 (balloons)"
        value = value[:-1]
    return value, tuple(unit + named)


def _no_unit(token: Token) -> bool:
    """Whether a token shows that words go on as a sentence: a symbol, a sign of relation, a run of Chinese."""
    if token.kind == "word":
        return len(token.text) > 5 and not token.text.isascii()
    return token.kind == "fn" or (token.kind == "sym" and token.text not in UNITS) or token.text in _RELATIONS


def _exponent(items: list[Token], index: int) -> bool:
    before = items[index - 1].text if index else ""
    return before == "^" or (before in ("group", "(") and index > 1 and items[index - 2].text == "^")


def _value(items: list[Token]) -> Form:
    if len(items) == 1 and items[0].text in ("emptyset", "mathbb.R"):
        return Text("∅") if items[0].text == "emptyset" else REAL_LINE
    value, unit = _without_unit(items)
    if not value:
        raise Unreadable("words only")
    tree = parse(value)
    if tree[0] == "mat":
        return Matrix(tree[1])
    grouped = len(value) == 1 and value[0].grouped
    return Value(tree, unit, grouped=grouped)


def read(text: str, grouped: bool = True, letters: bool = False) -> Form:
    """The shape of an answer. Never raises: what is no mathematics is `Text`.

    Args:
        text: the answer alone, as `extract_answer` gives it.
        grouped: read `1,234` as one number (else as two answers).
        letters: read letters as symbols also where plain text may mean a unit or a word ("3 t", "gi").
    """
    if len(text) > MAX_CHARACTERS:
        return Text(text, math=True)
    # Gold answers and short ones come again and again; long ones are not worth their memory.
    return (_kept if len(text) <= KEPT else _read)(text, grouped, letters)


def _read(text: str, grouped: bool, letters: bool) -> Form:
    words = words_of(text)
    text = in_digits(text)
    if words == "ℝ":
        return REAL_LINE
    if words in ("∅", "∞ solutions", "undefined", "does not exist"):
        return Text(words)
    lines = [line for line in text.split("\n") if line.strip(" $")] if "\n" in text and "\\begin" not in text else []
    if len(lines) > 1 and all("=" in line for line in lines):
        text = " ; ".join(lines)
    try:
        found = tokens(text, grouped=grouped, letters=letters)
        if len(found) > 600:
            return Text(words, math=True)
        if all(token.kind == "word" or token.text in ("or", "and", ",", ".", "'") for token in found):
            return Text(words, phrase=is_phrase(text))
        return _form(found)
    except (Unreadable, RecursionError):
        if not letters and _LETTERED.search(text):
            form = _read(text, grouped, True)
            if not isinstance(form, Text):
                return form
        return Text(words, math=bool(re.search(r"[0-9\\^=]", WRAPPED.sub(" ", text))))


_kept = lru_cache(maxsize=4096)(_read)
