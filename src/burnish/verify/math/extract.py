"""Where an answer states its result: `#### N`, `\\boxed{}`, "the answer is", Chinese forms, choices, the last value.

All scans are linear in the length of the text; quantifiers that could retrace their steps are possessive.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from burnish.verify.math.hedges import bounded, corrected, denied, taken_back
from burnish.verify.math.numbers import final_number

Wanted = Literal["any", "number", "choice"]
STATEMENT = 1_200  # ASSUMED: characters after "the answer is" in which the answer must stand
LONGEST = 4_100  # ASSUMED: characters of one statement; more than any answer that is compared
TAIL = 4_000  # ASSUMED: characters at the end that are searched for a last value when nothing is marked

_HASHES = re.compile(r"####[^\S\n]*+(\S[^\n]*+)")
_NUMERIC = re.compile(r"[-+*\\$€£¥₹.0-9]")
_LIST_NUMBER = re.compile(r"[0-9]++[.):]\s++\S")
_BOXED = re.compile(r"\\(?:boxed|fbox)\s*+(?:\{|(?=[^\s{]))")
_BETWEEN_BOXES = re.compile(r"[\s$,.;&()\\]*+(?:and|or|和|或|与)?[\s$,;()\\]*+")
_ANSWER = re.compile(
    r"(?:\b(?:answer|antwort|réponse|respuesta|risposta|resposta|ans)\b|答案|\bA(?=\s*+:))[*_\s]*+"
    r"(?:(?:is|are|ist|est|es|è|é|equals)\b|应该是|应为|等于|是|为|:|：|=)?[*_\s]*+(?::|：)?",
    re.IGNORECASE,
)
_STATED = re.compile(r"(?:is|are|ist|est|es|è|é|equals|是|为|等于|:|：|=)[*_\s]*+(?::|：)?$", re.IGNORECASE)
_THEREFORE = re.compile(r"(?:答|所以|因此|故|综上|therefore|thus|hence|so we get)[,，:：\s]*+", re.IGNORECASE)
_MATH = re.compile(r"\$\$(.{1,2000}?)\$\$|\$([^$]++)\$|\\\((.{1,2000}?)\\\)|\\\[(.{1,2000}?)\\\]", re.DOTALL)
_BREAK = re.compile(
    r",?\s(?:because|since|as|which|where|when|so that|by|after|per the|in total|altogether)\s"
    r"|[，,]\s?因为|[(（](?:check|i\.e)",
    re.IGNORECASE,
)
_LETTERS = r"(?-i:[A-J](?:(?:\s*+[,、和与&]?\s*+(?:and\s++)?)[A-J](?![a-z'_^])){0,9}+(?![a-zA-Z'_^])(?!\s*+[=+<>_^]))"
_DRESS = r"[\s*_:：`'\"“”(（\[{$]*+(?:\\(?:text|mathrm|mathbf|textbf|bf|boxed)\s*+\{)?[\s(（]*+"
_CHOICE = re.compile(
    r"(?:answer|answer choice|option|choice|ans|正确答案|答案|故选|应选|选择|选项|选)"
    r"[*_\s]*+(?:(?:is|must be|should be|will be|would be|:|：|=|,|是|为|应是)[*_\s]*+)*+"
    rf"(?:(?:option|choice|letter|the)\s++)*+{_DRESS}({_LETTERS})",
    re.IGNORECASE,
)
_IS_ANSWER = re.compile(
    rf"[(（]?({_LETTERS})[)）]?[.:]?\s++(?:is|are)\s++(?:the\s++)?(?:right|correct|answer|best)|(?:项|选项)?({_LETTERS})(?:项)?(?:正确|是正确)"
)
_ONLY = re.compile(rf"{_DRESS}({_LETTERS})(?:[)）.:：]\s*+\S.*+|[\s)）\]}}$*_.。,:\"'`]*+)$", re.DOTALL)
_BRACKETED = re.compile(r"[(（]([A-J])[)）]")
_OTHER = re.compile(r"\s*+[)）]?\s*+(?:or|nor|或)\s++[(（]?[A-J](?![A-Za-z])")
_EITHER = re.compile(r"(?:\b[A-J][)）]?\s*+(?:,\s*+)?(?:or|nor|或)|\b(?:either|neither))\s++[(（]?\s*+$")
_SMALL = re.compile(
    r"(?:^|answer(?:\s++is)?:?\s*+|option\s++|choice\s++)[*$\s]*+(?:\\text\s*+\{)?[(（]([a-j])[)）]\}?[\s.*$]*+$",
    re.IGNORECASE,
)
_LAST = re.compile(rf"(?:^|[\s=.。,:，：(])({_LETTERS})[\s)）.。*$]*+$")


def _braced(text: str, start: int) -> str:
    """What stands between a brace that is open at `start` and the one that closes it."""
    depth, index, end = 1, start, min(len(text), start + 20_000)
    while index < end:
        character = text[index]
        if character == "\\":
            index += 1
        elif character in "{}":
            depth += 1 if character == "{" else -1
            if depth == 0:
                return text[start:index]
        index += 1
    return text[start:end]


def boxed(text: str) -> str | None:
    """What the last `\\boxed{}` holds; of several that only commas or "and" part, all of them."""
    found = list(_BOXED.finditer(text))[-12:]
    if not found:
        return None
    last = found[-1]
    parts = [_braced(text, last.end()) if text[last.end() - 1] == "{" else _unbraced(text, last.end())]
    start = last.start()
    for match in reversed(found[:-1]):
        if text[match.end() - 1] != "{":
            break
        inside = _braced(text, match.end())
        between = text[match.end() + len(inside) + 1 : start]
        if len(between) > 24 or not between.strip(" $") or not _BETWEEN_BOXES.fullmatch(between):
            break
        parts.insert(0, inside)
        start = match.start()
    return ", ".join(parts)


def _unbraced(text: str, start: int) -> str:
    return re.split(r"[\s$]", text[start : start + 40].strip(), maxsplit=1)[0].rstrip(".,")


def _sentences(text: str, start: int) -> tuple[str, str]:
    """The statement that begins at `start`: its first sentence, and its whole paragraph."""
    piece = text[start : start + STATEMENT]
    depth, math, first = 0, False, None
    for index, character in enumerate(piece):
        if character == "$":
            math = not math
        elif character in "{}":
            depth += 1 if character == "{" else -1
        elif character == "\n" and not math and depth <= 0 and (first is None or piece[index : index + 2] == "\n\n"):
            first = index if first is None else first
            if piece[:index].strip():
                return piece[:first], piece
        elif character in ".!?。！？" and not math and depth <= 0 and first is None:
            after = piece[index + 1 : index + 2]
            if character in "。！？" or not after or after.isspace():
                first = index + (character in "?？")  # a question is none that answers
    return piece[:first] if first is not None else piece, piece


def closing(text: str) -> str | None:
    """The formula that a text ends in, if it ends in one."""
    found = _segments(text.rstrip()[-600:])
    return found[-1].group() if found and not text.rstrip()[-600:][found[-1].end() :].strip(" .。*!") else None


def _segments(text: str) -> list[re.Match[str]]:
    return list(_MATH.finditer(text))


def _variants(statement: str) -> Iterator[str]:
    """Readings of one statement, the fullest first: the sentence, up to a "because", its mathematics."""
    statement = statement[:LONGEST].strip().strip("*").strip()
    yield statement
    short = _BREAK.split(statement, maxsplit=1)[0]
    if short != statement:
        yield short
    found = _segments(statement)
    if found:
        end = found[0].end()
        for match in found[1:]:  # "$x = 1$ and $y = 2$" is one answer
            if not re.fullmatch(r"\s*+(?:,|;|and|or|和|或)\s*+(?:and\s++)?", statement[end : match.start()]):
                break
            end = match.end()
        joined = statement[found[0].start() : end]
        before = statement[: found[0].start()]
        if joined != statement and not denied(before) and not bounded(before, statement[end:]):
            yield joined


def marked(text: str) -> Iterator[tuple[str, ...]]:
    """Statements that are marked as the result, the most explicit first; of each its readings.

    The conventions in order: `####`, the last box, "the answer is" from the last one back.
    """
    stripped = text.rstrip()
    for match in reversed(list(_HASHES.finditer(text))[-20:]):
        rest = match.group(1)
        final = match.end() >= len(stripped)
        if (final or _NUMERIC.match(rest)) and not _LIST_NUMBER.match(rest):
            yield tuple(_variants(rest))
            break
    inside = boxed(text)
    if inside is not None and inside.strip():
        yield tuple(dict.fromkeys((inside, *_variants(inside))))
    for match in reversed(list(_ANSWER.finditer(text))[-12:]):
        if not _STATED.search(match.group()):
            continue
        sentence, paragraph = _sentences(text, match.end())
        fuller = corrected(sentence)
        if fuller == sentence and taken_back(sentence):
            continue  # "the answer is not 18", "the answer is 18? No": what it is stands elsewhere
        if fuller != sentence:
            sentence, paragraph = fuller, fuller
        if sentence.strip():
            yield tuple(dict.fromkeys((*_variants(sentence), paragraph.strip())))


def statements(text: str) -> Iterator[tuple[str, ...]]:
    """What is marked as the result, then "therefore", the last mathematics, the last line."""
    yield from marked(text)
    tail = text.rstrip()[-TAIL:]
    for match in reversed(list(_THEREFORE.finditer(tail))[-3:]):
        sentence = _sentences(tail, match.end())[0]
        if sentence.strip() and not taken_back(sentence):
            yield tuple(_variants(sentence))
    found = _segments(tail)
    if found and not denied(tail[: found[-1].start()]):
        yield (found[-1].group(),)
    line = tail.rpartition("\n")[2].strip()
    if line:
        yield tuple(_variants(line))


def choice(text: str) -> str | None:
    """The letters of a multiple-choice answer, in order and without separators ("B", "ACD"), or None."""
    inside = boxed(text)
    if inside is not None:
        match = _ONLY.match(inside) or _CHOICE.match(inside) or _SMALL.match(inside)
        if match and not _open(inside, match):
            return _letters(match.group(1).upper())
    text = text[-TAIL * 4 :]
    explicit = [match for match in _CHOICE.finditer(text) if _distinct(match.group(1))]
    explicit += [match for match in _IS_ANSWER.finditer(text) if _distinct(match.group(1) or match.group(2))]
    explicit = [match for match in explicit if not denied(text[: match.start(match.lastindex or 0)])]
    if explicit:
        last = max(explicit, key=lambda match: match.end())
        return None if _open(text, last) else _letters(next(group for group in last.groups() if group))
    line = text.rstrip().rpartition("\n")[2].strip()[-400:]
    match = _ONLY.match(line) or _LAST.search(line) or _SMALL.search(line)
    if match and (_open(line, match) or denied(line[: match.start(1)])):
        return None
    if match and _distinct(match.group(1).upper()):
        return _letters(match.group(1).upper())
    found = _BRACKETED.findall(text[-TAIL:])
    return found[-1] if found else None


def _open(text: str, match: re.Match[str]) -> bool:
    """Whether the letters of a match are some of several that it leaves open: "either A or B"."""
    group = match.lastindex or 0
    start, end = match.span(group)
    return bool(_OTHER.match(text, end) or _EITHER.search(text[max(0, start - 24) : start]))


def _distinct(text: str) -> bool:
    """Whether these can be letters of a choice: "III" is a number."""
    letters = re.findall("[A-J]", text)
    return len(letters) == len(set(letters))


def _letters(text: str) -> str:
    return "".join(sorted(set(re.findall("[A-J]", text.replace("and", "")))))


def extract_answer(text: str, *, kind: Wanted = "any") -> str | None:
    """The answer that a worked solution states, as text, or None when it states none.

    Args:
        text: the whole solution.
        kind: `number`: the final number, as `final_number` reads it; `choice`: letters of a multiple choice; `any`:
            the most explicit statement as it stands, formulas and words included.

    Never raises, whatever the text; linear in its length.
    """
    if kind == "choice":
        return choice(text)
    if kind == "number":
        value = final_number(text)
        return None if value is None else str(value)
    for readings in statements(text):
        for reading in readings:
            reading = reading.strip(" \n.。")
            if reading:
                return reading
    return None
