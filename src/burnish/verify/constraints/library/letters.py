"""Case, punctuation and the special characters of Spanish and French (`change_case:*`, `punctuation:*` and others)."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from burnish.verify.constraints.kind import Argument, Constraint, Demands, Kwargs
from burnish.verify.constraints.library.build import counted, letters_of, written
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import capitals, japanese, keywords, layout, lengths
from burnish.verify.language import is_language

NAMES = {"en": "english", "es": "spanish", "fr": "french"}
COMMAS = {"ja": "、", "zh": "，、,"}
ACCENTED = "àáâãäåçèéêëìíîïñòóôõöùúûüýÿ"
TILDES = ("camión", "jardín", "música", "café", "árbol", "razón")
ENIES = ("niño", "año", "señal", "montaña", "mañana", "español")
DIERESES = ("pingüino", "cigüeña", "vergüenza", "bilingüe")
FRENCH_PAIRS = {"celebrites": "célébrités", "ete": "été", "lecon": "leçon", "generations": "générations"}


def case_kinds(at: Locale) -> list[Constraint]:
    """All capitals, all small letters, and the number of words in capitals; each in the language of the locale."""
    return [_cased(at, upper=True), _cased(at, upper=False), _capital_words(at)]


def _cased(at: Locale, *, upper: bool) -> Constraint:
    cased = capitals.all_upper if upper else capitals.all_lower
    change: Callable[[str], str] = str.upper if upper else str.lower
    other: Callable[[str], str] = str.lower if upper else str.upper

    def violate(kwargs: Kwargs, rng: Random) -> str:
        text = change(f"{at.sentence(rng)} {at.sentence(rng)}")
        middle = len(text) // 2
        return rng.choice((other(text), text[:middle] + other(text[middle:]), text.capitalize()))

    return written(
        at,
        f"change_case:{NAMES[at.code]}_{'capital' if upper else 'lowercase'}",
        check=lambda text, kwargs: cased(text) and is_language(text, at.code) is not False,
        comply=lambda kwargs, rng: change(f"{at.sentence(rng)} {at.sentence(rng)}"),
        violate=violate,
        demands=lambda kwargs: Demands(case="upper" if upper else "lower", language=at.code),
        rule=f"no {'small' if upper else 'capital'} letter, and most of the text in {NAMES[at.code].capitalize()}",
    )


def _capital_words(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return at.join([*(word.upper() for word in at.fill(rng, count)), *at.fill(rng, 3)])

    return counted(
        at,
        "change_case:capital_word_frequency",
        n="capital_frequency",
        relation="capital_relation",
        quantity="capitals",
        count=lambda text, kwargs: capitals.capital_words(text),
        build=build,
        sample=lambda rng: {"capital_frequency": rng.randint(1, 8)},
        rule="words without a small letter, parted as Treebank does",
    )


def punctuation_kinds(at: Locale) -> list[Constraint]:
    """no_comma; no_period where sentences end in 。."""
    return [_no_comma(at), _no_period(at)] if at.wide else [_no_comma(at)]


def _no_comma(at: Locale) -> Constraint:
    commas = COMMAS.get(at.code, ",")
    return written(
        at,
        "punctuation:no_comma",
        check=lambda text, kwargs: not keywords.has_any(text, commas),
        comply=lambda kwargs, rng: at.sentence(rng),
        violate=lambda kwargs, rng: rng.choice(commas).join(at.fill(rng, 3)),
        demands=lambda kwargs: Demands(without=letters_of(commas)),
        rule="none of " + " ".join(commas),
    )


def _no_period(at: Locale) -> Constraint:
    return written(
        at,
        "punctuation:no_period",
        check=lambda text, kwargs: "。" not in text,
        comply=lambda kwargs, rng: at.sentence(rng).replace("。", "！"),
        violate=lambda kwargs, rng: at.sentence(rng) + at.sentence(rng).replace("。", ""),
        demands=lambda kwargs: Demands(without="。"),
        rule="no 。",
    )


def spanish_kinds(at: Locale) -> list[Constraint]:
    """Questions and exclamations between both marks; words with ñ, ü and accents."""
    return [
        _between(at, "punctuation:question_marks", "¿", "?"),
        _between(at, "punctuation:exclamation_marks", "¡", "!"),
        _special(at, "special_character:enie", "let_frequency", "ñ", ENIES, fixed="exactamente"),
        _special(at, "special_character:dieresis", "let_frequency", "ü", DIERESES, fixed="exactamente"),
        _special(at, "special_character:tildes", "num_words", "áéíóú", TILDES),
    ]


def _between(at: Locale, suffix: str, first: str, last: str) -> Constraint:
    def violate(kwargs: Kwargs, rng: Random) -> str:
        said = at.join(at.fill(rng, 3))
        return rng.choice((f"{said}{last}", f"{first}{last} {said}", f"{first}{said}.", f"{last}{said}{first}"))

    return written(
        at,
        suffix,
        check=lambda text, kwargs: layout.between(text, first, last),
        comply=lambda kwargs, rng: f"{first}{at.join(at.fill(rng, 3))}{last} {at.sentence(rng)}",
        violate=violate,
        demands=lambda kwargs: Demands(exact=(first, last)),
        rule=f"something between {first} and {last}",
    )


def _special(at: Locale, suffix: str, n: str, letters: str, words: tuple[str, ...], *, fixed: str = "") -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return at.join([*rng.choices(words, k=count), *at.fill(rng, 3)])

    return counted(
        at,
        suffix,
        n=n,
        fixed=fixed,
        quantity=f"words with {letters}",
        count=lambda text, kwargs: keywords.words_with(lengths.hyphenated(text), letters),
        build=build,
        sample=lambda rng: {n: rng.randint(1, 6)},
        extra=lambda kwargs: Demands(says=(letters[0],) if kwargs[n] and fixed else ()),
        rule=f"words with one of {letters}, in either case",
    )


def french_kinds(at: Locale) -> list[Constraint]:
    """Informal address, no digits, accents put right, a letter avoided, no accents."""
    return [_informal(at), _no_digits(at), _accents(at), _avoided(at), _no_accents(at)]


def _informal(at: Locale) -> Constraint:
    return written(
        at,
        "detectable_content:informal_address",
        check=lambda text, kwargs: keywords.is_informal(text),
        comply=lambda kwargs, rng: rng.choice(("Tu vas.", "Je te vois.", "Ton pain.")) + f" {at.sentence(rng)}",
        violate=lambda kwargs, rng: f"Vous avez raison. {at.sentence(rng)}",
        demands=lambda kwargs: Demands(language="fr"),
        rule="one of tu, te, t', toi, ton, ta, tes",
    )  # fmt: skip


def _no_digits(at: Locale) -> Constraint:
    return written(
        at,
        "detectable_content:no_digits",
        check=lambda text, kwargs: not japanese.has_digit(text),
        comply=lambda kwargs, rng: at.sentence(rng),
        violate=lambda kwargs, rng: f"{at.sentence(rng)} {rng.randint(0, 99)}",
        demands=lambda kwargs: Demands(without=r"\d"),
        rule="no digit",
    )


def _accents(at: Locale) -> Constraint:
    def violate(kwargs: Kwargs, rng: Random) -> str:
        bad, good = rng.choice(sorted(kwargs["word_to_accentuate"].items()))
        others = [word for word in kwargs["word_to_accentuate"].values() if word != good]
        return at.join([*others, rng.choice((bad, "")), *at.fill(rng, 3)])

    return written(
        at,
        "special_character:accents",
        kwargs={"word_to_accentuate": Argument(kind=dict)},
        check=lambda text, kwargs: keywords.accented(text, kwargs["word_to_accentuate"]),
        comply=lambda kwargs, rng: at.mixed(rng, list(kwargs["word_to_accentuate"].values())),
        violate=violate,
        sample=lambda rng: {"word_to_accentuate": dict(rng.sample(sorted(FRENCH_PAIRS.items()), 2))},
        demands=lambda kwargs: Demands(
            says=tuple(kwargs["word_to_accentuate"].values()),
            never=tuple(bad for bad, good in kwargs["word_to_accentuate"].items() if bad.lower() != good.lower()),
        ),
        rule="each word stands with its accents, and nowhere without",
    )


def _avoided(at: Locale) -> Constraint:
    return written(
        at,
        "special_character:ethel_or_cedilla",
        kwargs={"forbidden_char": Argument(kind=str, length=1)},
        check=lambda text, kwargs: not keywords.letter_count(text, kwargs["forbidden_char"]),
        comply=lambda kwargs, rng: at.sentence(rng, [kwargs["forbidden_char"]]),
        violate=lambda kwargs, rng: f"{at.sentence(rng)} {kwargs['forbidden_char']}a",
        sample=lambda rng: {"forbidden_char": rng.choice("çœ")},
        demands=lambda kwargs: Demands(without=letters_of(kwargs["forbidden_char"])),
        rule="the character is absent in either case",
    )


def _no_accents(at: Locale) -> Constraint:
    return written(
        at,
        "special_character:no_accents",
        check=lambda text, kwargs: not keywords.has_any(text, ACCENTED),
        comply=lambda kwargs, rng: at.sentence(rng),
        violate=lambda kwargs, rng: f"{at.sentence(rng)} {rng.choice(ACCENTED)}",
        demands=lambda kwargs: Demands(without=letters_of(ACCENTED)),
        rule="none of " + ACCENTED,
    )
