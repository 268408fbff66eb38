"""Repetition within a turn, across turns, and generations that loop (Yi report §3.1; DeepSeek LLM's repetition ratio).

All thresholds are ASSUMED, since the reports give none: n-grams of four words, a turn is flagged when more than 0.2 of
its n-grams repeat earlier ones. Words are runs of letters and digits; characters of Chinese and Japanese are words.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Message, Prompt, Response

N = 4  # words of an n-gram (ASSUMED, spec Y5)
ABOVE = 0.2  # share of repeated n-grams from which a turn is flagged (ASSUMED, spec Y5)
COPY = 0.8  # share of the shorter turn's n-grams that stand in the other one, from which it is a near copy (ASSUMED)
LOOP_TIMES = 4  # a loop says its unit so often at least (ASSUMED)
LOOP_LENGTH = 40  # characters that a loop covers at least (ASSUMED)
LOOP_UNIT = 400  # characters of the longest unit that is looked for (ASSUMED)
MARKS = 200  # characters, blanks aside, up to which marks at the end are a rule or a blank to fill in (ASSUMED)
_UNIT = re.compile(r"[\u3040-\u30ff\u3400-\u9fff]|[^\W\u3040-\u30ff\u3400-\u9fff]+")

Gram = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRepetition:
    """One assistant turn of a dialogue.

    Args:
        turn: which of the assistant's turns, from 0.
        within: share of its n-grams that stood earlier in the turn.
        across: share of its n-grams that stood in an earlier assistant turn.
        copy_of: the earlier assistant turn that it nearly copies, or None.
        flagged: one of the shares is above the threshold, or it is a near copy.
    """

    turn: int
    within: float
    across: float
    copy_of: int | None
    flagged: bool


def units(text: str) -> list[str]:
    """The words of a text in small letters; Chinese and Japanese characters one by one."""
    return _UNIT.findall(text.lower())


def ngrams(text: str, n: int = N) -> list[Gram]:
    """All runs of n words, in order; none when the text is shorter."""
    words = units(text)
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def within_turn(text: str, n: int = N) -> float:
    """The share of the text's n-grams that stood earlier in it; 0 for a text without n-grams."""
    grams = ngrams(text, n)
    return (len(grams) - len(set(grams))) / len(grams) if grams else 0.0


def across_turns(text: str, earlier: Iterable[str], n: int = N) -> float:
    """The share of the text's n-grams that stand in one of the earlier texts; 0 for a text without n-grams."""
    grams = ngrams(text, n)
    known = {gram for one in earlier for gram in ngrams(one, n)}
    return sum(gram in known for gram in grams) / len(grams) if grams else 0.0


def near_copy(text: str, earlier: Sequence[str], n: int = N, above: float = COPY) -> int | None:
    """Which earlier text this one nearly copies, the last of them; None: it copies none.

    Texts of fewer than n words are copies when their words are the same.
    """
    words, grams = units(text), set(ngrams(text, n))
    for at in range(len(earlier) - 1, -1, -1):
        if words and words == units(earlier[at]):
            return at
        other = set(ngrams(earlier[at], n))
        if grams and other and len(grams & other) / min(len(grams), len(other)) >= above:
            return at
    return None


def turn_repetition(messages: Sequence[Message], *, n: int = N, above: float = ABOVE) -> list[TurnRepetition]:
    """Every assistant turn against itself and the assistant turns before it (Y5's detector).

    Raises:
        DataError: n is below 1.
    """
    if n < 1:
        raise DataError(f"n-grams have one word or more; n is {n}")
    said = [message.content for message in messages if message.role == "assistant"]
    found = []
    for turn, text in enumerate(said):
        within, across = within_turn(text, n), across_turns(text, said[:turn], n)
        copy_of = near_copy(text, said[:turn], n)
        flagged = within > above or across > above or copy_of is not None
        found.append(TurnRepetition(turn=turn, within=within, across=across, copy_of=copy_of, flagged=flagged))
    return found


def loops(text: str) -> bool:
    """Whether the text ends in one unit said four times or more, over 40 characters or more; blanks do not count."""
    tail = re.sub(r"\s+", "", text)[-LOOP_UNIT * (LOOP_TIMES + 1) :]
    for unit in range(1, min(LOOP_UNIT, len(tail) // LOOP_TIMES) + 1):
        needed = max(LOOP_LENGTH, unit * LOOP_TIMES)
        if needed <= len(tail) and tail[-needed:-unit] == tail[unit - needed :]:
            return True
    return False


def _rule(text: str) -> bool:
    """Whether the text ends in a line of marks, such as ----, rather than in a loop of them."""
    tail = re.sub(r"\s+", "", text)
    marks = len(tail) - len(re.sub(r"[\W_]+\Z", "", tail))
    return LOOP_LENGTH <= marks < MARKS


def repetition_ratio(responses: Sequence[Response]) -> float:
    """The share of generations that loop and never end: cut at the length limit, with a loop at the end.

    Raises:
        DataError: there are no responses.
    """
    if not responses:
        raise DataError("repetition_ratio needs at least one response")
    return sum(one.finish == "length" and loops(one.text) for one in responses) / len(responses)


@dataclass(frozen=True, slots=True, kw_only=True)
class RepetitionChecker:
    """Right when the answer repeats neither itself nor the earlier assistant turns of its prompt, and does not loop.

    Takes no reference. An empty answer is unscored. A loop is one unit four times at the end of the answer, over 40
    characters or more (`loops`), whether or not the answer was cut; a line of fewer than 200 marks is none.
    """

    n: int = N
    above: float = ABOVE
    name: str = "repetition"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        if not response.text.strip():
            return Verdict(correct=None, reason="the answer is empty")
        dialogue = [*prompt.messages, Message(role="assistant", content=response.text)]
        found = turn_repetition(dialogue, n=self.n, above=self.above)[-1]
        cut = response.finish == "length"
        if loops(response.text) and (cut or not _rule(response.text)):
            return Verdict(correct=False, reason="loops to the length limit" if cut else "ends in a loop")
        told = f"repeated {self.n}-grams: {found.within:.2f} within, {found.across:.2f} across turns"
        if found.copy_of is not None:
            told += f"; nearly copies assistant turn {found.copy_of + 1}"
        return Verdict(correct=not found.flagged, reason=told)


CHECKERS = {checker.name: checker for checker in (RepetitionChecker(),)}
