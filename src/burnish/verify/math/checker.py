"""The checker that a prompt names `math`: a worked answer against a reference, as a verdict."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from burnish.protocols import Verdict
from burnish.records import Prompt, Response
from burnish.verify.math.equality.values import Rules, last_place
from burnish.verify.math.equivalent import equivalent
from burnish.verify.math.extract import choice, closing, marked, statements
from burnish.verify.math.hedges import asked, bounded, denied, partial, ranged, scaled, without_reason
from burnish.verify.math.numbers import numbers_in
from burnish.verify.math.reading.forms import read
from burnish.verify.math.reading.numerals import Spelled, last_spelled
from burnish.verify.math.reading.shapes import Many, Text, Value
from burnish.verify.math.reading.tokens import plain
from burnish.verify.math.reading.units import unit_after
from burnish.verify.math.reading.words import words_of
from burnish.verify.math.result import Kind, MathResult
from burnish.verify.math.symbolic import SECONDS

_LETTERS = re.compile(r"[A-J](?:\s*+,?\s*+[A-J])*+")
_LETTER = re.compile(r"\$?\\(?:text|textbf|mathrm|mathbf)\s*+\{\s*+[(]?([A-J])[).]?\s*+\}\$?|[(]([A-Ja-j])[)]")
_ALONE = re.compile(r"\[-?[0-9.]++(?:[eE][-+]?[0-9]++)?\]")  # a JSON list of one number
_MISSING = frozenset(("none", "null", "nan", "n/a", "na", "unknown", "?"))  # how files write an absent answer
_PLAIN = re.compile(r"\s*+[-+]?[0-9][0-9,]*+(?:\.[0-9]++)?\s*+")
_PROSE = re.compile(r"[A-Za-z]{2}")
LINE = 200  # ASSUMED: characters of a last line that is read as an answer
LAST = 2_000  # ASSUMED: characters at the end that are searched for the last number first
_COMMAND = re.compile(r"\\[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Gold:
    """A reference, read: the accepted answers, and the options of a multiple choice."""

    answers: tuple[str, ...]
    options: Mapping[str, str] = field(default_factory=dict)


def read_reference(reference: str) -> Gold | str:
    """A reference as accepted answers, or what is wrong with it.

    It is a plain answer (`72`, `\\frac{3}{4}`, `x = 2`, `B`), a worked solution that states one, or JSON: a list of
    accepted answers (`["1/2", "0.5"]`), or `{"answer": "B", "options": {"A": "3", "B": "4"}}`, or `{"answers": [...]}`.
    """
    text = reference.strip()
    if text.startswith(('{"', '["', '{ "')) or _ALONE.fullmatch(text):
        try:
            held = json.loads(text)
        except ValueError:
            return Gold((text,))
        return _from_json(held)
    if text.lower() in _MISSING:
        return f"the reference {text!r} holds no number and no other answer"
    for readings in marked(text):  # a worked solution stands for the answer that it states
        return Gold((readings[0].strip(),))
    return Gold((text,)) if text else "the reference is empty"


def _from_json(held: object) -> Gold | str:
    fix = 'the reference must be {"answer": "..."}, {"answers": ["..."]} or a list of texts'
    options: Mapping[str, str] = {}
    answers: object = held
    if isinstance(held, dict):
        answers = held.get("answers", [held["answer"]] if "answer" in held else None)
        options = held.get("options", {})
        if isinstance(options, list):
            options = dict(zip("ABCDEFGHIJ", options))
        if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
            return f"{fix}; its options are texts by letter"
    if not isinstance(answers, list) or not answers or not all(isinstance(one, str | int | float) for one in answers):
        return fix
    return Gold(tuple(str(one) for one in answers), options)


@dataclass(frozen=True, slots=True, kw_only=True)
class MathChecker:
    """Right when the answer that a response states equals the one of `Prompt.reference`.

    An answer without anything in it is wrong, not unscored: silence must not raise an accuracy. One that states
    something that nothing here can read is unscored, and so is every answer to a reference that cannot be read.

    Args:
        relative: numbers within this share of the gold one are right (0.01 for physics answers); 0 for none.
        symbolically: ask math-verify, in processes of its own, for what the exact paths leave open.
        seconds: that math-verify may take for one comparison.
    """

    name: str = "math"
    relative: float = 0.0
    symbolically: bool = True
    seconds: float = SECONDS

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        return _verdict(self.compare(response.text, prompt.reference))

    def compare(self, text: str, reference: str) -> MathResult:
        """What a worked answer is against a reference. `different` with an empty `given` when it states nothing."""
        gold = read_reference(reference)
        if isinstance(gold, str):
            return MathResult(kind="unparsable", why=gold, given="", gold=reference[:80])
        found = [self._one(text, answer, gold.options) for answer in gold.answers]
        for kind in ("equal", "unparsable"):
            for result in found:
                if result.kind == kind:
                    return result
        return found[0]

    def _equivalent(self, given: str, gold: str) -> MathResult:
        rules = Rules(relative=self.relative)
        return equivalent(given, gold, rules=rules, symbolically=self.symbolically, seconds=self.seconds)

    def _one(self, text: str, gold: str, options: Mapping[str, str]) -> MathResult:
        if wrapped := _LETTER.fullmatch(gold.strip()):
            gold = (wrapped[1] or wrapped[2]).upper()
        if _LETTERS.fullmatch(gold):
            found = self._choice(text, gold, options)
            if found is not None:
                return found
        number = _number_of(gold)
        return self._number(text, gold, number) if number else self._expression(text, gold)

    def _choice(self, text: str, gold: str, options: Mapping[str, str]) -> MathResult | None:
        letters = "".join(re.findall("[A-J]", gold))
        given = choice(text)
        if given is not None:
            equal = given == letters
            if not equal and len(given) == len(letters) == 1 and given in options and letters in options:
                # Two options may hold one value: the rows of AQuA do.
                equal = equivalent(options[given], options[letters], symbolically=False).kind == "equal"
            return MathResult(kind="equal" if equal else "different", why="choice", given=given, gold=letters)
        if letters in options:  # the value instead of its letter
            return self._one(text, options[letters], {}) if options[letters].strip() else None
        if not text.strip():
            return MathResult(kind="different", why="the answer is empty", given="", gold=letters)
        return None

    def _number(self, text: str, gold: str, shown: str) -> MathResult:
        """A gold number: the first statement that gives a value decides, else the last line, else the last number."""
        for readings in (*marked(text), (closing(text) or "",)):
            found = self._stated(readings[0], gold, shown) if readings[0] else None
            if found is not None:
                return found
        line = text.rstrip().rpartition("\n")[2].strip().strip("*").strip()
        if _PROSE.search(line):
            line = line.rstrip("!")  # "It is 18!" is no factorial
        for reading in dict.fromkeys((line, without_reason(line).strip())):
            if reading and len(reading) <= LINE and (reading == line or "=" not in reading):
                form = read(reading)
                if not isinstance(form, Text) and not (isinstance(form, Many) and "=" in reading):
                    return self._equivalent(reading, gold)
        return self._last(text, gold, shown)

    def _stated(self, statement: str, gold: str, shown: str) -> MathResult | None:
        """What a statement says of a gold number, None when it holds no number."""
        if _PLAIN.fullmatch(statement):
            return self._equivalent(statement, gold)
        short = without_reason(statement).strip()
        if not isinstance(read(short), Text):
            return self._equivalent(short, gold)
        if ranged(short):
            return _open(statement, shown, "different")
        result = self._equivalent(short, gold) if _COMMAND.search(short) else None
        if result is not None and result.kind != "unparsable":
            return result
        numbers = numbers_in(plain(short).rpartition("=")[2])
        if not numbers:
            return result if result is not None and read(short) == Text(words_of(short), math=True) else None
        first = numbers[0]
        if denied(first.before) or bounded(first.before, first.after):
            return _open(statement, shown, "different")
        if partial(first.before, first.after):
            return _open(statement, shown, "unparsable")
        return self._equivalent(first.text, gold)

    def _last(self, text: str, gold: str, shown: str) -> MathResult:
        """The last number of a text that states nothing; one that is denied is passed over."""
        numbers = numbers_in(text[-LAST:]) or numbers_in(text)
        kept = [number for number in numbers if not denied(number.before) and not asked(number.after)]
        if not kept:
            spelled = None if numbers else last_spelled(text[-LAST:])
            if spelled is not None:
                return self._spelled(spelled, gold, shown)
            why = "the answer only says what it is not" if numbers else "the answer holds no number"
            return MathResult(kind="different", why=why, given="", gold=shown)
        last = kept[-1]
        given = f"{last.before[-20:]}{last.text}".lstrip()
        if bounded(last.before, last.after) or scaled(last.before, last.after):
            return _open(given, shown, "unparsable")
        result = self._equivalent(last.text + unit_after(last.after), gold)
        if result.kind == "equal" and partial(last.before, last.after):
            return _open(given, shown, "unparsable")
        spelled = last_spelled(last.after) if result.kind == "different" else None
        if spelled is not None and self._equivalent(str(spelled.value), gold).kind == "equal":
            return _open(f"{last.text}{last.after}", shown, "unparsable")
        return result

    def _spelled(self, found: Spelled, gold: str, shown: str) -> MathResult:
        """The last number in words of a text without digits. "One" alone is more often a pronoun than an answer."""
        if denied(found.before):
            return MathResult(kind="different", why="the answer only says what it is not", given="", gold=shown)
        result = self._equivalent(str(found.value), gold)
        doubtful = found.value == 1 or found.several or bounded(found.before, found.after)
        return _open(found.around, shown, "unparsable") if result.kind == "equal" and doubtful else result

    def _expression(self, text: str, gold: str) -> MathResult:
        """Any other gold answer: the first statement that can be read decides."""
        wanted = read(gold)
        unread: MathResult | None = None
        for readings in statements(text):
            results = [self._equivalent(reading, gold) for reading in readings if reading.strip(" .。")]
            for result in results:
                if result.kind == "equal":
                    return result
            shapes = [read(result.given) for result in results]
            decided = [
                result
                for result, shape in zip(results, shapes)
                if result.kind == "different" and (isinstance(wanted, Text) or not isinstance(shape, Text))
            ]
            if decided:
                return decided[0]
            unread = unread or next((result for result in results if result.kind == "unparsable"), None)
        if unread is not None:
            return unread
        why = "the answer is empty" if not text.strip() else "the answer states no value"
        return MathResult(kind="different", why=why, given="", gold=gold)


def _open(given: str, gold: str, kind: Kind) -> MathResult:
    why = (
        "it says what the answer is not, or bounds"
        if kind == "different"
        else "words that leave open which value is meant"
    )
    return MathResult(kind=kind, why=why, given=given, gold=gold)


def _number_of(gold: str) -> str:
    """A short form of a gold answer that is one number (with or without unit and decoration), else an empty text."""
    form = read(gold)
    if (
        isinstance(form, Value)
        and not form.others
        and (form.tree[0] == "num" or last_place(form.tree) or _simple(form))
    ):
        return gold
    return ""


def _simple(form: Value) -> bool:
    tree = form.tree[1] if form.tree[0] in ("neg", "pct") else form.tree
    return tree[0] == "num" or (tree[0] == "div" and tree[1][0] == tree[2][0] == "num")


def _verdict(result: MathResult) -> Verdict:
    given, gold = _short(result.given), _short(result.gold)
    if result.kind == "equal":
        return Verdict(correct=True, reason=f"{given} is right")
    if result.kind == "unparsable":
        return Verdict(correct=None, reason=f"{given or 'the answer'} against {gold or 'the reference'}: {result.why}")
    return Verdict(correct=False, reason=f"{given} is not {gold}" if given else result.why)


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 40 else text[:36] + "..."
