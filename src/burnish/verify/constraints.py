"""Countable constraints on a text, in the manner of IFEval (Zhou et al. 2023, arXiv 2311.07911, table 1).

Each kind of constraint says how to ask for it, checks it by counting, and writes a text that complies and one that
violates, so that a checker is tested against both. A blank text satisfies nothing: it would otherwise be the best
way to use no commas.
"""

from __future__ import annotations

import difflib
import json
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from burnish.errors import DataError
from burnish.protocols import Verdict
from burnish.records import Prompt, Response

Kwargs = Mapping[str, Any]

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    "at least": lambda count, n: count >= n,
    "at most": lambda count, n: count <= n,
    "less than": lambda count, n: count < n,
    "exactly": lambda count, n: count == n,
}
# The filler of generated texts: no word holds another one, none is a likely keyword.
FILLER = ("river", "stone", "lamp", "window", "garden", "bread", "music", "paper", "cloud", "winter")
_BULLET = re.compile(r"^\s*(?:[-•+]\s|\*\s)", re.MULTILINE)
_SENTENCE = re.compile(r"[^\s.!?。！？][^.!?。！？]*")
_QUOTES = {'"': '"', "“": "”", "«": "»", "„": "“"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Constraint:
    """One kind of constraint.

    Args:
        id: its name in references.
        ask: the instruction, with the kwargs as format fields.
        kwargs: the name and type of each argument.
        check: (text, kwargs) -> whether the text complies; the text is not blank.
        comply, violate: (kwargs, seed) -> a text that does and one that does not.
    """

    id: str
    ask: str
    kwargs: Mapping[str, type]
    check: Callable[[str, Kwargs], bool]
    comply: Callable[[Kwargs, int], str]
    violate: Callable[[Kwargs, int], str]

    def instruction(self, kwargs: Kwargs) -> str:
        """The sentence that asks for it."""
        shown = {k: ", ".join(map(str, v)) if isinstance(v, (list, tuple)) else v for k, v in kwargs.items()}
        return self.ask.format(**shown)


def words(text: str) -> list[str]:
    """Runs of letters and digits, as IFEval counts them."""
    return re.findall(r"\w+", text)


def sentences(text: str) -> list[str]:
    """What lies between sentence marks; a full stop inside a number or a short form ends no sentence."""
    joined = re.sub(r"(?<=\d)\.(?=\d)|\b(?:Mr|Mrs|Ms|Dr|St|vs|etc|e\.g|i\.e|[A-Z])\.(?=\s)", "\u2024", text)
    return [part for part in _SENTENCE.findall(joined) if re.search(r"\w", part)]


def paragraphs(text: str) -> list[str]:
    """Blocks of text between blank lines; `***` alone on a line divides too."""
    return [part for part in re.split(r"\n\s*\n|\s*^\s*\*\*\*\s*$\s*", text, flags=re.MULTILINE) if part.strip()]


def keyword_count(text: str, keyword: str) -> int:
    """How often the keyword stands as a word of its own, whatever its case."""
    return len(re.findall(rf"(?<!\w){re.escape(keyword)}(?!\w)", text, re.IGNORECASE))


def _fill(seed: int, n: int, avoid: str = "") -> list[str]:
    """n filler words, none of which stands in `avoid`."""
    free = [word for word in FILLER if word not in words(avoid.lower())] or ["q" * 12]
    return random.Random(seed).choices(free, k=n)


def _meeting(kwargs: Kwargs, seed: int) -> int:
    """A count that stands in the asked relation to n."""
    n, some = int(kwargs["n"]), random.Random(seed).randrange(3)
    return {"at least": n + some, "at most": max(n - some, 1), "less than": max(n - 1 - some, 1), "exactly": n}[
        kwargs["relation"]
    ]


def _missing(kwargs: Kwargs, seed: int) -> int:
    """A count that does not stand in the asked relation to n (0 when nothing else is left)."""
    n, some = int(kwargs["n"]), random.Random(seed).randrange(3)
    return {"at least": max(n - 1 - some, 0), "at most": n + 1 + some, "less than": n + some, "exactly": n + 1 + some}[
        kwargs["relation"]
    ]


def _counted(id: str, ask: str, count: Callable[[str, Kwargs], int], build: Callable[[Kwargs, int, int], str], **more):
    """A constraint of the form "count stands in relation to n"; build(kwargs, count, seed) writes the texts."""
    return Constraint(
        id=id,
        ask=ask,
        kwargs={"relation": str, "n": int, **more},
        check=lambda text, kwargs: RELATIONS[kwargs["relation"]](count(text, kwargs), int(kwargs["n"])),
        comply=lambda kwargs, seed: build(kwargs, _meeting(kwargs, seed), seed),
        violate=lambda kwargs, seed: build(kwargs, _missing(kwargs, seed), seed),
    )


def _plain(id: str, ask: str, check, comply, violate, **kwargs: type) -> Constraint:
    return Constraint(id=id, ask=ask, kwargs=kwargs, check=check, comply=comply, violate=violate)


def _mix(seed: int, first: list[str], second: list[str]) -> str:
    mixed = first + second
    random.Random(seed).shuffle(mixed)
    return " ".join(mixed)


def _lines(n: int, seed: int, mark: str, between: str) -> str:
    return between.join(mark + " ".join(_fill(seed + i, 3)) for i in range(n))


def _ends(text: str, kwargs: Kwargs) -> bool:
    return text.strip().strip('"”»*').rstrip().lower().endswith(str(kwargs["phrase"]).strip().lower())


def _starts(text: str, kwargs: Kwargs) -> bool:
    return text.strip().lstrip('"“«*').lstrip().lower().startswith(str(kwargs["phrase"]).strip().lower())


def _quoted(text: str, kwargs: Kwargs) -> bool:
    text = text.strip()
    return len(text) > 1 and _QUOTES.get(text[0]) == text[-1]


def _sentence(seed: int, avoid: str = "") -> str:
    return " ".join(_fill(seed, 4, avoid)).capitalize() + "."


_ALL = (
    _counted(
        "word_count",
        "Answer in {relation} {n} words.",
        lambda text, kwargs: len(words(text)),
        lambda kwargs, count, seed: " ".join(_fill(seed, count)),
    ),
    _counted(
        "sentence_count",
        "Answer in {relation} {n} sentences.",
        lambda text, kwargs: len(sentences(text)),
        lambda kwargs, count, seed: " ".join(_sentence(seed + i) for i in range(count)),
    ),
    _counted(
        "paragraph_count",
        "Write {relation} {n} paragraphs, with a blank line between them.",
        lambda text, kwargs: len(paragraphs(text)),
        lambda kwargs, count, seed: "\n\n".join(_sentence(seed + i) for i in range(count)),
    ),
    _counted(
        "bullet_count",
        "Use {relation} {n} bullet points.",
        lambda text, kwargs: len(_BULLET.findall(text)),
        lambda kwargs, count, seed: "List:\n" + _lines(count, seed, "- ", "\n"),
    ),
    _counted(
        "keyword_count",
        "Use the word {keyword} {relation} {n} times.",
        lambda text, kwargs: keyword_count(text, str(kwargs["keyword"])),
        lambda kwargs, count, seed: _mix(seed, [str(kwargs["keyword"])] * count, _fill(seed, 4, kwargs["keyword"])),
        keyword=str,
    ),
    _plain(
        "forbidden_words",
        "Do not use these words: {words}.",
        lambda text, kwargs: not any(keyword_count(text, str(word)) for word in kwargs["words"]),
        lambda kwargs, seed: " ".join(_fill(seed, 6, " ".join(kwargs["words"]))),
        lambda kwargs, seed: _mix(seed, [str(random.Random(seed).choice(list(kwargs["words"])))], _fill(seed, 4)),
        words=list,
    ),
    _plain(
        "starts_with",
        "Begin your answer with: {phrase}",
        _starts,
        lambda kwargs, seed: f"{kwargs['phrase']} " + " ".join(_fill(seed, 4)),
        lambda kwargs, seed: " ".join([*_fill(seed, 4, kwargs["phrase"]), kwargs["phrase"]]),
        phrase=str,
    ),
    _plain(
        "ends_with",
        "End your answer with: {phrase}",
        _ends,
        lambda kwargs, seed: " ".join(_fill(seed, 4)) + f" {kwargs['phrase']}",
        lambda kwargs, seed: " ".join([kwargs["phrase"], *_fill(seed, 4, kwargs["phrase"])]),
        phrase=str,
    ),
    _plain(
        "lowercase",
        "Use small letters only.",
        lambda text, kwargs: text.islower(),
        lambda kwargs, seed: _sentence(seed).lower(),
        lambda kwargs, seed: _sentence(seed),
    ),
    _plain(
        "uppercase",
        "Use capital letters only.",
        lambda text, kwargs: text.isupper(),
        lambda kwargs, seed: _sentence(seed).upper(),
        lambda kwargs, seed: _sentence(seed),
    ),
    _plain(
        "no_comma",
        "Do not use any commas.",
        lambda text, kwargs: not re.search("[,，、]", text),
        lambda kwargs, seed: _sentence(seed),
        lambda kwargs, seed: ", ".join(_fill(seed, 3)),
    ),
    _plain(
        "quoted",
        "Put your whole answer in double quotation marks.",
        _quoted,
        lambda kwargs, seed: f'"{_sentence(seed)}"',
        lambda kwargs, seed: random.Random(seed).choice(['"{}', '{}"', "{}"]).format(_sentence(seed)),
    ),
)
CONSTRAINTS: dict[str, Constraint] = {constraint.id: constraint for constraint in _ALL}


def get_constraint(id: str) -> Constraint:
    """The kind of constraint with this id.

    Raises:
        DataError: there is none; the message names the nearest one.
    """
    if id in CONSTRAINTS:
        return CONSTRAINTS[id]
    near = difflib.get_close_matches(str(id), CONSTRAINTS, n=1, cutoff=0.0)
    raise DataError(f"there is no constraint {id!r}; did you mean {near[0]!r}? All: {', '.join(CONSTRAINTS)}")


def _validate(constraint: Constraint, kwargs: Kwargs) -> None:
    if not isinstance(kwargs, Mapping) or set(kwargs) != set(constraint.kwargs):
        given = ", ".join(sorted(map(str, kwargs))) if isinstance(kwargs, Mapping) else repr(kwargs)
        wants = ", ".join(constraint.kwargs) or "none"
        raise DataError(f"the constraint {constraint.id!r} takes the arguments {wants}; found: {given or 'none'}")
    for name, kind in constraint.kwargs.items():
        value = kwargs[name]
        kinds = (list, tuple) if kind is list else kind
        if not isinstance(value, kinds) or isinstance(value, bool) or value in ("", [], ()):
            raise DataError(f"{name!r} of the constraint {constraint.id!r} must be a {kind.__name__}, not {value!r}")
    if kwargs.get("relation", "exactly") not in RELATIONS:
        raise DataError(f"relation must be one of {', '.join(RELATIONS)}, not {kwargs['relation']!r}")
    if kwargs.get("n", 0) < 0:
        raise DataError(f"n of the constraint {constraint.id!r} must not be negative, found {kwargs['n']}")


def check_constraint(id: str, kwargs: Kwargs, text: str) -> bool:
    """Whether the text complies. A blank text never does.

    Raises:
        DataError: the id is unknown, or an argument is missing, unknown or of the wrong type.
    """
    constraint = get_constraint(id)
    _validate(constraint, kwargs)
    return bool(text.strip()) and bool(constraint.check(text, kwargs))


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstraintsChecker:
    """Right when the answer complies with every constraint of `Prompt.reference`: a JSON list of {id, kwargs}.

    A reference that is no such list is unscored.

    Raises:
        DataError: the reference names an unknown constraint or argument (the message names the prompt).
    """

    name: str = "constraints"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        try:
            asked = [(str(item["id"]), item.get("kwargs") or {}) for item in json.loads(prompt.reference)]
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return Verdict(correct=None, reason="the reference is no JSON list of {id, kwargs}")
        if not asked:
            return Verdict(correct=None, reason="the reference asks for no constraint")
        try:
            broken = [id for id, kwargs in asked if not check_constraint(id, kwargs, response.text)]
        except DataError as error:
            raise DataError(f"prompt {prompt.id} ({prompt.source or 'no source'}): {error}") from error
        if broken:
            return Verdict(correct=False, reason=f"violates {', '.join(broken)}")
        return Verdict(correct=True, reason=f"complies with {len(asked)} constraints")
