"""Keywords, letters, language, lengths: `keywords:*`, `language:*`, `length_constraints:*` in five languages."""

from __future__ import annotations

from random import Random
from typing import Any

from burnish.verify.constraints.kind import Argument, Constraint, Demands, Kwargs
from burnish.verify.constraints.library.build import LETTER, TEXT, WORDS, counted, whole, written
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import keywords as rules
from burnish.verify.constraints.rules import lengths
from burnish.verify.language import is_language, profiles

# The languages that an answer may be asked for in: those of the IFEval prompts.
_CODES = "ar bg bn de en es fa fi fr gu he hi it ja kn ko ml mr ne pa pl pt ru sw ta te th uk ur vi zh"
ASKABLE = tuple(_CODES.split())


def keyword_kinds(at: Locale) -> list[Constraint]:
    """existence, forbidden_words, frequency, letter_frequency."""
    return [_existence(at), _forbidden(at), _frequency(at), _letter(at)]


def _existence(at: Locale) -> Constraint:
    return written(
        at,
        "keywords:existence",
        kwargs={"keywords": WORDS},
        check=lambda text, kwargs: rules.all_present(text, kwargs["keywords"]),
        comply=lambda kwargs, rng: at.mixed(rng, list(kwargs["keywords"])),
        violate=lambda kwargs, rng: _without_one(at, rng, list(kwargs["keywords"])),
        sample=lambda rng: {"keywords": rng.sample(at.words, 2)},
        demands=lambda kwargs: Demands(says=tuple(kwargs["keywords"])),
        rule="each stands in the text, inside longer words too, whatever its case",
    )


def _without_one(at: Locale, rng: Random, keywords: list[str]) -> str:
    """All of the keywords but one, and none that holds it."""
    lost = rng.choice(keywords).lower()
    return at.mixed(rng, [word for word in keywords if lost not in word.lower()], avoid=[lost])


def _forbidden(at: Locale) -> Constraint:
    def check(text: str, kwargs: Kwargs) -> bool:
        if at.wide:
            return not any(rules.occurrences(text, word) for word in kwargs["forbidden_words"])
        return rules.none_present(text, kwargs["forbidden_words"])

    return written(
        at,
        "keywords:forbidden_words",
        kwargs={"forbidden_words": WORDS},
        check=check,
        comply=lambda kwargs, rng: at.join(at.fill(rng, 6, kwargs["forbidden_words"])),
        violate=lambda kwargs, rng: at.mixed(rng, [rng.choice(list(kwargs["forbidden_words"]))]),
        sample=lambda rng: {"forbidden_words": rng.sample(at.words, 2)},
        demands=lambda kwargs: Demands(never=tuple(kwargs["forbidden_words"])),
        rule="none stands in the text" + ("" if at.wide else " as a word of its own") + ", whatever its case",
    )


def _frequency(at: Locale) -> Constraint:
    return counted(
        at,
        "keywords:frequency",
        n="frequency",
        more={"keyword": TEXT},
        quantity=lambda kwargs: f"keyword:{kwargs['keyword'].strip().lower()}",
        count=lambda text, kwargs: rules.occurrences(text, kwargs["keyword"]),
        build=lambda kwargs, count, rng: at.mixed(rng, [kwargs["keyword"]] * count, avoid=[kwargs["keyword"]]),
        sample=lambda rng: {"keyword": rng.choice(at.words), "frequency": rng.randint(1, 4)},
        rule="stands so often in the text, inside longer words too, whatever its case",
    )


def _letter(at: Locale) -> Constraint:
    japanese = at.code == "ja"
    letters = {"ja": "しかるのい", "zh": "的人大水天"}.get(at.code, "abcdefghijklmnoprstuvw")

    def count(text: str, kwargs: Kwargs) -> int:
        return (rules.kana_count if japanese else rules.letter_count)(text, kwargs["letter"])

    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return at.mixed(rng, [kwargs["letter"]] * count, avoid=[kwargs["letter"]])

    return counted(
        at,
        "keywords:letter_frequency",
        n="let_frequency",
        relation="let_relation",
        more={"letter": LETTER},
        quantity=lambda kwargs: f"letter:{kwargs['letter'].strip().lower()}",
        count=count,
        build=build,
        sample=lambda rng: {"letter": rng.choice(letters), "let_frequency": rng.randint(1, 9)},
        rule="the hiragana letter and its katakana twin" if japanese else "the letter or mark, in either case",
    )


def language_kind(at: Locale) -> Constraint:
    """response_language."""

    def other(kwargs: Kwargs, rng: Random) -> str:
        code = kwargs["language"]
        scripts = [key for key in ASKABLE if profiles()[key].script != profiles()[code].script]
        return profiles()[rng.choice(scripts)].sample

    def sample(rng: Random) -> dict[str, Any]:
        return {"language": rng.choice(ASKABLE)}

    return written(
        at,
        "language:response_language",
        kwargs={"language": Argument(kind=str, choices=tuple(key for key in profiles() if "-" not in key))},
        check=lambda text, kwargs: is_language(text, kwargs["language"]) is not False,
        comply=lambda kwargs, rng: profiles()[kwargs["language"]].sample,
        violate=other,
        sample=sample,
        demands=lambda kwargs: Demands(language=kwargs["language"]),
        rule="most of it is in this language and its usual script; a text that cannot be told passes, as in IFEval",
    )


def length_kinds(at: Locale) -> list[Constraint]:
    """number_words (number_letters where words have no blanks), number_sentences, and paragraphs of two kinds."""
    return [_letters(at) if at.wide else _words(at), _sentences(at), _paragraphs(at), _nth(at)]


def _words(at: Locale) -> Constraint:
    return counted(
        at,
        "length_constraints:number_words",
        n="num_words",
        quantity="words",
        count=lambda text, kwargs: at.count_words(text),
        build=lambda kwargs, count, rng: at.join(at.fill(rng, count)) or "...",
        sample=lambda rng: {"num_words": rng.randint(20, 300)},
        least=1,
        rule="runs of letters and digits" + (", joined by hyphens" if at.code == "es" else ""),
    )


def _letters(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return "".join(at.fill(rng, count))[:count] or " "

    return counted(
        at,
        "length_constraints:number_letters",
        n="num_letters",
        quantity="characters",
        count=lambda text, kwargs: len(text),
        build=build,
        sample=lambda rng: {"num_letters": rng.randint(50, 600)},
        least=1,
        rule="all characters, blanks and marks too",
    )


def _sentences(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return ("" if at.wide else " ").join(at.sentence(rng) for _ in range(count)) or "..."

    return counted(
        at,
        "length_constraints:number_sentences",
        n="num_sentences",
        quantity="sentences",
        count=lambda text, kwargs: at.count_sentences(text),
        build=build,
        sample=lambda rng: {"num_sentences": rng.randint(2, 12)},
        least=1,
        rule="up to 。！？ or the end of a line, not inside 「」" if at.wide else "up to . ? ! before blank space",
    )


def _paragraphs(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return "\n***\n".join(at.sentence(rng) for _ in range(count)) or "***"

    return counted(
        at,
        "length_constraints:number_paragraphs",
        n="num_paragraphs",
        fixed="exactly",
        quantity="paragraphs",
        count=lambda text, kwargs: lengths.starred_paragraphs(text),
        build=build,
        sample=lambda rng: {"num_paragraphs": rng.randint(2, 6)},
        least=1,
        extra=lambda kwargs: Demands(divider="***"),
        rule="parts between ***; none in the middle may be empty",
    )


def _nth(at: Locale) -> Constraint:
    checked = lengths.nth_block_opens if at.wide else lengths.nth_block_begins

    def build(kwargs: Kwargs, rng: Random, right: int) -> str:
        """`right`: 0 complies, 1 has a paragraph more, 2 puts another word first."""
        first, total = kwargs["first_word"], kwargs["num_paragraphs"] + (right == 1)
        parts = [at.sentence(rng, [first]) for _ in range(total)]
        nth = kwargs["nth_paragraph"] - 1
        if right != 2:
            parts[nth] = at.join([first, parts[nth]])
        return "\n\n".join(parts)

    def possible(kwargs: Kwargs) -> str:
        return "" if kwargs["nth_paragraph"] <= kwargs["num_paragraphs"] else "there is no such paragraph"

    def sample(rng: Random) -> dict[str, Any]:
        total = rng.randint(2, 6)
        return {
            "num_paragraphs": total, "nth_paragraph": rng.randint(1, total), "first_word": rng.choice(at.starts),
        }  # fmt: skip

    return written(
        at,
        "length_constraints:nth_paragraph_first_word",
        kwargs={"num_paragraphs": whole(), "nth_paragraph": whole(), "first_word": TEXT},
        check=lambda text, kwargs: checked(
            text, kwargs["num_paragraphs"], kwargs["nth_paragraph"], kwargs["first_word"]
        ),
        comply=lambda kwargs, rng: build(kwargs, rng, 0),
        violate=lambda kwargs, rng: build(kwargs, rng, rng.choice((1, 2))),
        sample=sample,
        demands=lambda kwargs: Demands(
            counts={"blocks": (kwargs["num_paragraphs"],) * 2}, says=(kwargs["first_word"],), divider="blank lines"
        ),
        possible=possible,
        rule="parts between two line breaks, the blank ones not counted; the first word without case and marks",
    )
