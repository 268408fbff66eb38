"""Twelve short types with one relation and one number each. The microworld asks for them, in these very words."""

from __future__ import annotations

import random
from collections.abc import Callable
from random import Random
from typing import Any

from burnish.verify.constraints.kind import (
    PLAIN_RELATIONS,
    RELATIONS,
    Argument,
    Constraint,
    Demands,
    Kwargs,
    interval,
    nothing,
)
from burnish.verify.constraints.library.build import TEXT, WORDS, letters_of
from burnish.verify.constraints.rules.capitals import all_lower, all_upper
from burnish.verify.constraints.rules.lengths import words
from burnish.verify.constraints.rules.plain import (
    has_comma,
    keyword_count,
    plain_bullets,
    plain_ends,
    plain_paragraphs,
    plain_quoted,
    plain_sentences,
    plain_starts,
)

SOURCE = "this project"
# The filler of generated texts: no word holds another one, none is a likely keyword.
FILLER = ("river", "stone", "lamp", "window", "garden", "bread", "music", "paper", "cloud", "winter")
_N = Argument(kind=int)
_RELATION = Argument(kind=str, choices=PLAIN_RELATIONS)


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


def _counted(
    id: str,
    ask: str,
    count: Callable[[str, Kwargs], int],
    build: Callable[[Kwargs, int, int], str],
    quantity: str,
    **more: Argument,
) -> Constraint:
    """A constraint of the form "count stands in relation to n"; build(kwargs, count, seed) writes the texts."""

    def named(kwargs: Kwargs) -> str:
        return f"{quantity}:{kwargs['keyword'].lower()}" if more else quantity

    def possible(kwargs: Kwargs) -> str:
        low, high = interval(kwargs["relation"], kwargs["n"])
        return "" if max(low, 0 if more or quantity == "bullets" else 1) <= high else "no text has so few of them"

    return Constraint(
        id=id,
        asks=(ask,),
        kwargs={"relation": _RELATION, "n": _N, **more},
        check=lambda text, kwargs: RELATIONS[kwargs["relation"]](count(text, kwargs), kwargs["n"]),
        comply=lambda kwargs, seed: build(kwargs, _meeting(kwargs, seed), seed),
        violate=lambda kwargs, seed: build(kwargs, _missing(kwargs, seed), seed),
        sample=lambda rng: {
            "relation": rng.choice(PLAIN_RELATIONS),
            "n": rng.randint(2, 9),
            **{name: rng.choice(FILLER) for name in more},
        },
        demands=lambda kwargs: Demands(counts={named(kwargs): interval(kwargs["relation"], kwargs["n"])}),
        possible=possible,
        rule="counts as the room's first version did",
        source=SOURCE,
    )


def _plain(
    id: str,
    ask: str,
    check: Callable[[str, Kwargs], bool],
    comply: Callable[[Kwargs, int], str],
    violate: Callable[[Kwargs, int], str],
    *,
    demands: Callable[[Kwargs], Demands] = nothing,
    sample: Callable[[Random], dict[str, Any]] = lambda rng: {},
    **kwargs: Argument,
) -> Constraint:
    return Constraint(
        id=id, asks=(ask,), kwargs=kwargs, check=check, comply=comply, violate=violate, sample=sample,
        demands=demands, rule="counts as the room's first version did", source=SOURCE,
    )  # fmt: skip


def _mix(seed: int, first: list[str], second: list[str]) -> str:
    mixed = first + second
    random.Random(seed).shuffle(mixed)
    return " ".join(mixed)


def _lines(n: int, seed: int, mark: str, between: str) -> str:
    return between.join(mark + " ".join(_fill(seed + i, 3)) for i in range(n))


def _sentence(seed: int, avoid: str = "") -> str:
    return " ".join(_fill(seed, 4, avoid)).capitalize() + "."


def _counts() -> tuple[Constraint, ...]:
    return (
        _counted(
            "word_count",
            "Answer in {relation} {n} words.",
            lambda text, kwargs: len(words(text)),
            lambda kwargs, count, seed: " ".join(_fill(seed, count)),
            "words",
        ),
        _counted(
            "sentence_count",
            "Answer in {relation} {n} sentences.",
            lambda text, kwargs: len(plain_sentences(text)),
            lambda kwargs, count, seed: " ".join(_sentence(seed + i) for i in range(count)),
            "sentences",
        ),
        _counted(
            "paragraph_count",
            "Write {relation} {n} paragraphs, with a blank line between them.",
            lambda text, kwargs: len(plain_paragraphs(text)),
            lambda kwargs, count, seed: "\n\n".join(_sentence(seed + i) for i in range(count)),
            "blocks",
        ),
        _counted(
            "bullet_count",
            "Use {relation} {n} bullet points.",
            lambda text, kwargs: plain_bullets(text),
            lambda kwargs, count, seed: "List:\n" + _lines(count, seed, "- ", "\n"),
            "bullets",
        ),
        _counted(
            "keyword_count",
            "Use the word {keyword} {relation} {n} times.",
            lambda text, kwargs: keyword_count(text, kwargs["keyword"]),
            lambda kwargs, count, seed: _mix(seed, [kwargs["keyword"]] * count, _fill(seed, 4, kwargs["keyword"])),
            "keyword",
            keyword=TEXT,
        ),
    )


def _words() -> tuple[Constraint, ...]:
    def phrase(rng: Random) -> dict[str, Any]:
        return {"phrase": rng.choice(("Well then", "Good day", "That is all", "So it is"))}

    return (
        _plain(
            "forbidden_words",
            "Do not use these words: {words}.",
            lambda text, kwargs: not any(keyword_count(text, word) for word in kwargs["words"]),
            lambda kwargs, seed: " ".join(_fill(seed, 6, " ".join(kwargs["words"]))),
            lambda kwargs, seed: _mix(seed, [random.Random(seed).choice(list(kwargs["words"]))], _fill(seed, 4)),
            demands=lambda kwargs: Demands(never=tuple(kwargs["words"])),
            sample=lambda rng: {"words": rng.sample(FILLER, 2)},
            words=WORDS,
        ),
        _plain(
            "starts_with",
            "Begin your answer with: {phrase}",
            lambda text, kwargs: plain_starts(text, kwargs["phrase"]),
            lambda kwargs, seed: f"{kwargs['phrase']} " + " ".join(_fill(seed, 4)),
            lambda kwargs, seed: " ".join([*_fill(seed, 4, kwargs["phrase"]), kwargs["phrase"]]),
            demands=lambda kwargs: Demands(start=kwargs["phrase"]),
            sample=phrase,
            phrase=TEXT,
        ),
        _plain(
            "ends_with",
            "End your answer with: {phrase}",
            lambda text, kwargs: plain_ends(text, kwargs["phrase"]),
            lambda kwargs, seed: " ".join(_fill(seed, 4)) + f" {kwargs['phrase']}",
            lambda kwargs, seed: " ".join([kwargs["phrase"], *_fill(seed, 4, kwargs["phrase"])]),
            demands=lambda kwargs: Demands(end=kwargs["phrase"]),
            sample=phrase,
            phrase=TEXT,
        ),
    )


def _shapes() -> tuple[Constraint, ...]:
    return (
        _plain(
            "lowercase",
            "Use small letters only.",
            lambda text, kwargs: all_lower(text),
            lambda kwargs, seed: _sentence(seed).lower(),
            lambda kwargs, seed: _sentence(seed),
            demands=lambda kwargs: Demands(case="lower"),
        ),
        _plain(
            "uppercase",
            "Use capital letters only.",
            lambda text, kwargs: all_upper(text),
            lambda kwargs, seed: _sentence(seed).upper(),
            lambda kwargs, seed: _sentence(seed),
            demands=lambda kwargs: Demands(case="upper"),
        ),
        _plain(
            "no_comma",
            "Do not use any commas.",
            lambda text, kwargs: not has_comma(text),
            lambda kwargs, seed: _sentence(seed),
            lambda kwargs, seed: ", ".join(_fill(seed, 3)),
            demands=lambda kwargs: Demands(without=letters_of(",，、")),
        ),
        _plain(
            "quoted",
            "Put your whole answer in double quotation marks.",
            lambda text, kwargs: plain_quoted(text),
            lambda kwargs, seed: f'"{_sentence(seed)}"',
            lambda kwargs, seed: random.Random(seed).choice(['"{}', '{}"', "{}"]).format(_sentence(seed)),
            demands=lambda kwargs: Demands(form="quoted"),
        ),
    )


PLAIN = (*_counts(), *_words(), *_shapes())
