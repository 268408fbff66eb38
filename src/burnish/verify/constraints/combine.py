"""Which constraints can be met, alone and together: `feasible`, `conflicts`, and a sampler that draws compatible ones.

Each kind says what it demands (`kind.Demands`); two of them contradict each other when their demands do. The rules
know the arguments, and hold for a pair in either order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from math import inf
from random import Random

from burnish.errors import SettingsError
from burnish.verify.constraints.checking import Asked, get_constraint
from burnish.verify.constraints.kind import Demands, validate
from burnish.verify.constraints.library import CONSTRAINTS
from burnish.verify.constraints.library.build import NEVER_ZERO
from burnish.verify.constraints.library.locale import LANGUAGES
from burnish.verify.constraints.library.plain import PLAIN
from burnish.verify.constraints.rules.keywords import has_word, occurrences
from burnish.verify.constraints.rules.layout import is_json
from burnish.verify.constraints.rules.lengths import words
from burnish.verify.language import scripts, usual_script

# Quantities of which each takes a word of its own.
_OF_WORDS = (
    "sentences", "paragraphs", "blocks", "bullets", "numbered", "highlights", "placeholders", "capitals",
    "distinct words", "lines",
)  # fmt: skip
# What a text that is JSON as a whole cannot have: an end or a start of its own, parts, lines with marks.
_NOT_IN_JSON = ("paragraphs", "blocks", "bullets", "numbered")
_EVERYTHING = (0.0, inf)
TRIES = 50


def feasible(id: str, kwargs: Mapping) -> str:
    """Empty, or why no text can comply.

    Raises:
        DataError: the id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    constraint = get_constraint(id)
    kwargs = validate(constraint, kwargs)
    demands = constraint.demands(kwargs)
    for quantity, (low, high) in demands.counts.items():
        if low > high or (high < 1 and quantity in NEVER_ZERO):
            return f"{id} leaves no number of {quantity}"
    reason = constraint.possible(kwargs) or _clash(demands, demands)
    return f"{id}: {reason}" if reason else ""


def conflicts(one: Asked, other: Asked) -> str:
    """Empty, or why no text can do what both ask, as it is meant. It does not matter which comes first.

    Tricks do not count: a bare string in quotes is JSON, but an answer that is JSON as a whole and quoted as a whole
    is asked for by nobody.

    Raises:
        DataError: an id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    first, second = (
        get_constraint(asked.id).demands(validate(get_constraint(asked.id), asked.kwargs)) for asked in (one, other)
    )
    return _clash(first, second) or _clash(second, first)


def sample_constraints(n: int, seed: int, language: str = "en", *, plain: bool = False) -> list[Asked]:
    """n constraints of different kinds that can be met together, drawn with their arguments.

    Args:
        language: of the instructions; one of LANGUAGES. English draws from IFEval's 25 and the countable types.
        plain: draws from the twelve plain types as well (English).

    Raises:
        SettingsError: there is no such language, or n compatible ones were not found in 50 tries.
    """
    if language not in LANGUAGES:
        raise SettingsError(f"there are constraints in {', '.join(LANGUAGES)}, not in {language!r}")
    own = {kind.id for kind in PLAIN}
    kinds = [kind for kind in CONSTRAINTS.values() if kind.language == language and (plain or kind.id not in own)]
    rng = Random(f"{seed} {language} {n}")
    for _ in range(TRIES if n <= len(kinds) else 0):
        drawn: list[Asked] = []
        for kind in rng.sample(kinds, len(kinds)):
            asked = Asked(id=kind.id, kwargs=kind.sample(rng))
            if len(drawn) == n:
                break
            if not feasible(asked.id, asked.kwargs) and not any(conflicts(asked, d) for d in drawn):
                drawn.append(asked)
        if len(drawn) == n:
            return drawn
    raise SettingsError(f"no {n} compatible constraints found for language {language!r}, seed {seed}; ask for fewer")


def _clash(one: Demands, other: Demands) -> str:
    """Empty, or how `one` rules `other` out. `conflicts` asks it both ways round."""
    return next(filter(None, _reasons(one, other)), "")


def _reasons(one: Demands, other: Demands) -> Iterator[str]:
    """Found one by one: counts, phrases, case and language, the whole form."""
    yield from _counts(one, other)
    for phrase, exact in _phrases(other):
        yield _phrase(one, phrase, exact)
    for quantity, (low, _) in other.counts.items():
        kind, _, what = quantity.partition(":")
        if low >= 1 and kind in ("keyword", "letter"):
            yield _phrase(one, what, False)
    if one.case and other.case and one.case != other.case:
        yield "capital letters only and small letters only"
    if one.language and other.language and one.language != other.language:
        yield f"an answer in {one.language} and in {other.language}"
    if one.only and other.only and one.only != other.only:
        yield f"{one.only} only and {other.only} only"
    yield from _case_counts(one, other)
    yield from _form(one, other)


def _counts(one: Demands, other: Demands) -> Iterator[str]:
    for quantity, (low, high) in other.counts.items():
        least, most = one.counts.get(quantity, _EVERYTHING)
        if max(low, least) > min(high, most):
            yield f"no number of {quantity} suits both"
        if quantity in _OF_WORDS and low > one.counts.get("words", _EVERYTHING)[1]:
            yield f"{low:g} {quantity} need more words than are allowed"
        if quantity == "kanji" and low >= 1 and one.without and re.search(one.without, "川"):
            yield "kanji, which are ruled out"
        kind, _, what = quantity.partition(":")
        if kind == "keyword" and low * len(words(what)) > one.counts.get("words", _EVERYTHING)[1]:
            yield f"{what} {low:g} times needs more words than are allowed"
        if kind == "keyword":
            for limited, (_, top) in one.counts.items():
                letter = limited.removeprefix("letter:")
                if letter != limited and low * what.count(letter) > top:
                    yield f"{what} {low:g} times needs more {letter} than are allowed"


def _phrases(demands: Demands) -> Iterator[tuple[str, bool]]:
    """Everything that must stand in the text, and whether its case matters."""
    yield from ((phrase, False) for phrase in (*demands.says, demands.start, demands.end) if phrase.strip())
    yield from ((phrase, True) for phrase in demands.exact if phrase.strip())


def _phrase(one: Demands, phrase: str, exact: bool) -> str:
    """Why a phrase cannot stand in a text with these demands."""
    if one.without and re.search(one.without, phrase):
        return f"{phrase!r} has characters that are ruled out"
    if banned := next((word for word in one.never if has_word(phrase, word)), ""):
        return f"{phrase!r} holds the forbidden {banned!r}"
    for quantity, (_, most) in one.counts.items():
        kind, _, what = quantity.partition(":")
        if kind in ("keyword", "letter") and occurrences(phrase, what) > most:
            return f"{phrase!r} holds {what!r} more often than is allowed"
        if quantity == "words" and len(words(phrase)) > most:
            return f"{phrase!r} has more words than are allowed"
        if quantity == "characters" and len(re.sub(r"\s", "", phrase)) > most:
            return f"{phrase!r} has more characters than are allowed"
    if exact and one.case and phrase != (phrase.upper() if one.case == "upper" else phrase.lower()):
        return f"{phrase!r} is not in {one.case} case"
    if one.language and (written := next(iter(scripts(phrase)), "")) and written != usual_script(one.language):
        return f"{phrase!r} is in another script than {one.language}"
    return ""


def _case_counts(one: Demands, other: Demands) -> Iterator[str]:
    """Words in capitals against the case of the whole text."""
    low, high = other.counts.get("capitals", _EVERYTHING)
    if one.case == "lower" and low >= 1:
        yield "words in capital letters and small letters only"
    needed = max(1, one.counts.get("words", _EVERYTHING)[0], other.counts.get("words", _EVERYTHING)[0])
    if one.case == "upper" and high < needed:
        yield "few words in capital letters and capital letters only"


def _form(one: Demands, other: Demands) -> Iterator[str]:
    """What the whole text is, against how it begins, ends and is divided."""
    if one.form and other.form and one.form != other.form:
        yield f"the whole answer as {one.form} and as {other.form}"
    if one.divider and other.divider and one.divider != other.divider:
        yield f"parts divided by {one.divider} and by {other.divider}"
    if one.form == "json":
        if other.end or other.divider or (other.start and not is_json(other.start)):
            yield "JSON as a whole has no beginning, end or parts of its own"
        if found := next((q for q in _NOT_IN_JSON if other.counts.get(q, _EVERYTHING)[0] >= 1), ""):
            yield f"JSON as a whole has no {found}"
    if one.form == "quoted" and other.start and other.start.strip()[0] not in "\"'“«「":
        yield "the answer begins with a quotation mark and with something else"
    if one.form == "options" and _lengthy(other):
        yield "one of the given options and more than that"
    if one.form in ("line", "csv") and (other.divider or other.counts.get("paragraphs", _EVERYTHING)[0] > 1):
        yield "lines of items and parts"
    for mine, theirs, at in ((one.start, other.start, "begin"), (one.end, other.end, "end")):
        first, second = mine.strip().lower(), theirs.strip().lower()
        fits = first.startswith(second) or second.startswith(first)
        if at == "end":
            fits = first.endswith(second) or second.endswith(first)
        if first and second and not fits:
            yield f"the answer cannot {at} with {mine!r} and with {theirs!r}"


def _lengthy(other: Demands) -> bool:
    """Whether more is asked for than a short fixed answer."""
    parts = [low for quantity, (low, _) in other.counts.items() if quantity not in ("words", "characters")]
    many = max(other.counts.get("words", _EVERYTHING)[0], other.counts.get("characters", _EVERYTHING)[0] / 4)
    return bool(other.divider or other.start or other.end or other.says or many > 6 or any(low >= 1 for low in parts))
