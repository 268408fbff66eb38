"""Countable types in the manner of CFBench and FollowBench (baichuan B25): numbers, words, format, sounds, inverse."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from random import Random
from typing import Any

from burnish.verify.constraints.kind import PLAIN_RELATIONS, Argument, Constraint, Demands, Kwargs, interval
from burnish.verify.constraints.library.build import (
    CFBENCH,
    LETTER,
    TEXT,
    WORDS,
    counted,
    letters_of,
    missing,
    whole,
    written,
)
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import countable as rules
from burnish.verify.constraints.rules import lengths
from burnish.verify.constraints.rules.keywords import has_any, letter_count

_RELATION = Argument(kind=str, choices=PLAIN_RELATIONS)
Build = Callable[[Kwargs, int, Random], str]


def countable_kinds(at: Locale) -> list[Constraint]:
    """All of them, in English."""
    return [*_numerical(at), *_words(at), *_sounds(at), *_inverse(at)]


def _count(
    at: Locale, id: str, ask: str, quantity: str, count: Callable[[str], int], build: Build, *, least: int = 0,
    top: int = 8, rule: str,
) -> Constraint:  # fmt: skip
    """A count in one of four relations to n."""
    return counted(
        at, "", id=id, asks=(ask,), n="n", quantity=quantity, count=lambda text, kwargs: count(text), build=build,
        more={"relation": _RELATION}, fixed=PLAIN_RELATIONS[0], least=least, rule=rule, source=CFBENCH,
        sample=lambda rng: {"relation": rng.choice(PLAIN_RELATIONS), "n": rng.randint(2, top)},
    )  # fmt: skip


def _other(
    at: Locale, id: str, ask: str, check: Callable[[str, Kwargs], bool], comply: Callable[[Kwargs, Random], str],
    violate: Callable[[Kwargs, Random], str], **more: Any,
) -> Constraint:  # fmt: skip
    return written(
        at, "", id=id, asks=(ask,), check=check, comply=comply, violate=violate, source=CFBENCH, **more
    )  # fmt: skip


def _numerical(at: Locale) -> list[Constraint]:
    def sentences(n: int, rng: Random, stop: str = ".") -> str:
        return " ".join(at.sentence(rng).replace(".", stop) for _ in range(n)) or "-"

    def in_range(kwargs: Kwargs) -> str:
        return "" if kwargs["low"] <= kwargs["high"] else "low is above high"

    def per_block(kwargs: Kwargs, rng: Random, first: int) -> str:
        good = int(max(1, min(interval(kwargs["relation"], kwargs["n"])[1], kwargs["n"])))
        return f"{sentences(first or good, rng)}\n\n{sentences(good, rng)}"

    def every_block(text: str, kwargs: Kwargs) -> bool:
        low, high = interval(kwargs["relation"], kwargs["n"])
        return all(low <= n <= high for n in rules.sentences_per_block(text))

    def bounds(kwargs: Kwargs) -> str:
        return "" if interval(kwargs["relation"], kwargs["n"])[1] >= 1 else "a paragraph has at least one sentence"

    return [
        _other(at, "numerical:word_range", "Write between {low} and {high} words.",
               lambda text, kwargs: kwargs["low"] <= len(lengths.words(text)) <= kwargs["high"],
               lambda kwargs, rng: at.join(at.fill(rng, rng.choice((kwargs["low"], kwargs["high"])))),
               lambda kwargs, rng: at.join(at.fill(rng, rng.choice((kwargs["low"] - 1, kwargs["high"] + 1)))) or "-",
               kwargs={"low": whole(), "high": whole()}, possible=in_range, rule="words, both ends included",
               sample=lambda rng: {"low": (low := rng.randint(5, 80)), "high": low + rng.randint(5, 40)},
               demands=lambda kwargs: Demands(counts={"words": (kwargs["low"], kwargs["high"])})),
        _count(at, "numerical:character_count", "Use {relation} {n} characters, blanks not counted.", "characters",
               lengths.characters, lambda kwargs, count, rng: _of_length(count, rng), least=1, top=300,
               rule="characters without blank space"),
        _count(at, "numerical:line_count", "Write {relation} {n} lines.", "lines",
               lambda text: len(lengths.lines(text)),
               lambda kwargs, count, rng: "\n".join(at.sentence(rng) for _ in range(count)) or "\n", least=1,
               rule="lines that are not blank"),
        _count(at, "numerical:number_count", "Name {relation} {n} numbers, in digits.", "numbers", rules.numbers,
               lambda kwargs, count, rng: at.mixed(rng, rng.choices(("7", "1200", "3.5", "1,200.50"), k=count)),
               rule="runs of digits; points and commas inside belong to them"),
        _count(at, "numerical:question_count", "Ask {relation} {n} questions.", "questions",
               lambda text: rules.sentences_ending(text, "?"),
               lambda kwargs, count, rng: f"{sentences(count, rng, '?')} {at.sentence(rng)}",
               rule="sentences that end in ?"),
        _count(at, "numerical:exclamation_count", "Use {relation} {n} sentences that end in an exclamation mark.",
               "exclamations", lambda text: rules.sentences_ending(text, "!"),
               lambda kwargs, count, rng: f"{sentences(count, rng, '!')} {at.sentence(rng)}",
               rule="sentences that end in !"),
        _other(at, "numerical:sentence_words", "No sentence may have more than {n} words.",
               lambda text, kwargs: rules.longest_sentence(text) <= kwargs["n"],
               lambda kwargs, rng: " ".join(at.join(at.fill(rng, kwargs["n"])).capitalize() + "." for _ in range(3)),
               lambda kwargs, rng: f"{at.sentence(rng)} {at.join(at.fill(rng, kwargs['n'] + 1)).capitalize()}.",
               kwargs={"n": whole()}, sample=lambda rng: {"n": rng.randint(5, 15)},
               rule="words of the longest sentence"),
        _other(at, "numerical:paragraph_sentences", "Give every paragraph {relation} {n} sentences.",
               every_block,
               lambda kwargs, rng: per_block(kwargs, rng, 0),
               lambda kwargs, rng: per_block(kwargs, rng, missing(kwargs["relation"], kwargs["n"], rng, 1)),
               kwargs={"relation": _RELATION, "n": whole(2)}, possible=bounds, rule="parts between blank lines",
               sample=lambda rng: {"relation": rng.choice(PLAIN_RELATIONS), "n": rng.randint(2, 5)}),
    ]  # fmt: skip


def _of_length(n: int, rng: Random) -> str:
    """A text of n characters without its blanks."""
    letters = [rng.choice("abcdefgh") + (" " if i % 5 == 4 else "") for i in range(n)]
    return "".join(letters).strip() or " "


def _words(at: Locale) -> list[Constraint]:
    def ordered(kwargs: Kwargs) -> list[str]:
        return list(kwargs["keywords"])

    def shuffled(kwargs: Kwargs, rng: Random) -> str:
        """The first keyword last; a single keyword not at all."""
        words = ordered(kwargs)
        return at.join([*at.fill(rng, 2, words), *words[1:], *at.fill(rng, 1, words), *words[: len(words) > 1]])

    def in_nth(kwargs: Kwargs, rng: Random, nth: int) -> str:
        parts = [at.sentence(rng, [kwargs["keyword"]]) for _ in range(kwargs["nth"] + 2)]
        parts[nth - 1] = f"{kwargs['keyword'].capitalize()} {parts[nth - 1].lower()}"
        return " ".join(parts)

    return [
        _other(at, "content:include_sentence", "Include this sentence letter by letter: {phrase}",
               lambda text, kwargs: kwargs["phrase"].strip() in text,
               lambda kwargs, rng: f"{at.sentence(rng)} {kwargs['phrase']} {at.sentence(rng)}",
               lambda kwargs, rng: f"{at.sentence(rng, [kwargs['phrase']])} {kwargs['phrase'].swapcase()}",
               kwargs={"phrase": TEXT}, sample=lambda rng: {"phrase": "We meet again at noon."},
               demands=lambda kwargs: Demands(exact=(kwargs["phrase"].strip(),)), rule="the phrase, in just this case"),
        _other(at, "content:keywords_in_order", "Use these words in this order: {keywords}.",
               lambda text, kwargs: rules.in_order(text, kwargs["keywords"]),
               lambda kwargs, rng: at.join(
                   word for one in ordered(kwargs) for word in (*at.fill(rng, 1, ordered(kwargs)), one)),
               shuffled, kwargs={"keywords": WORDS}, sample=lambda rng: {"keywords": rng.sample(at.words, 3)},
               demands=lambda kwargs: Demands(says=tuple(kwargs["keywords"])), rule="one after the other, as words"),
        _other(at, "content:keyword_in_sentence", "Use the word {keyword} in sentence number {nth}.",
               lambda text, kwargs: rules.in_sentence(text, kwargs["keyword"], kwargs["nth"]),
               lambda kwargs, rng: in_nth(kwargs, rng, kwargs["nth"]),
               lambda kwargs, rng: in_nth(kwargs, rng, kwargs["nth"] + 1),
               kwargs={"keyword": TEXT, "nth": whole()},
               sample=lambda rng: {"keyword": rng.choice(at.words), "nth": rng.randint(1, 4)},
               demands=lambda kwargs: Demands(says=(kwargs["keyword"],), counts={"sentences": (kwargs["nth"], inf)}),
               rule="the nth sentence holds the word"),
        _count(at, "content:distinct_words", "Use {relation} {n} different words.", "distinct words",
               rules.distinct_words, lambda kwargs, count, rng: " ".join(f"word{i}" for i in range(count)) or "-",
               top=40, rule="different words, whatever their case"),
        _other(at, "content:short_words", "Use no word of more than {n} letters.",
               lambda text, kwargs: rules.longest_word(text) <= kwargs["n"],
               lambda kwargs, rng: " ".join("abcdefghijkl"[: rng.randint(1, min(kwargs["n"], 12))] for _ in range(5)),
               lambda kwargs, rng: f"a {'b' * (kwargs['n'] + 1)} c", kwargs={"n": whole()},
               sample=lambda rng: {"n": rng.randint(5, 10)},
               demands=lambda kwargs: Demands(without=rf"\w{{{kwargs['n'] + 1}}}"),
               rule="characters of the longest word"),
        _other(at, "content:no_repeated_word", "Use no word of {letters} letters or more twice.",
               lambda text, kwargs: not rules.repeats_word(text, kwargs["letters"]),
               lambda kwargs, rng: " ".join(rng.sample(at.words, 5)),
               lambda kwargs, rng: at.mixed(rng, ["x" * kwargs["letters"], "X" * kwargs["letters"]]),
               kwargs={"letters": whole()}, sample=lambda rng: {"letters": rng.randint(4, 6)},
               rule="whatever their case"),
        _count(at, "content:suffix_words", "Use {relation} {n} words that end in -ing.", "words in -ing",
               lambda text: rules.words_ending(text, "ing"),
               lambda kwargs, count, rng: at.mixed(rng, rng.choices(("running", "seeing", "Going"), k=count)),
               rule="words longer than the ending"),
    ]  # fmt: skip


def _sounds(at: Locale) -> list[Constraint]:
    def acrostic(word: str, rng: Random) -> str:
        return "\n".join(f"{letter.upper()} {at.join(at.fill(rng, 2))}" for letter in word)

    return [
        _other(at, "linguistic:acrostic", "Let the first letters of the lines spell {word}.",
               lambda text, kwargs: rules.is_acrostic(text, kwargs["word"]),
               lambda kwargs, rng: acrostic(kwargs["word"], rng),
               lambda kwargs, rng: acrostic(rng.choice((kwargs["word"] + "x", kwargs["word"][:-1] + "_", "_")), rng),
               kwargs={"word": TEXT}, sample=lambda rng: {"word": rng.choice(at.words)},
               demands=lambda kwargs: Demands(counts={"lines": (len(kwargs["word"]),) * 2}, divider="lines"),
               possible=lambda kwargs: "" if kwargs["word"].isalpha() else "a line begins with a letter",
               rule="first letters of the lines that are not blank"),
        _other(at, "linguistic:alliteration", "Let every word begin with {letter}.",
               lambda text, kwargs: rules.all_begin(text, kwargs["letter"]),
               lambda kwargs, rng: " ".join(kwargs["letter"] + word for word in at.fill(rng, 4)),
               lambda kwargs, rng: at.join([kwargs["letter"] + "x", *at.fill(rng, 2, [kwargs["letter"]])]),
               kwargs={"letter": LETTER}, sample=lambda rng: {"letter": rng.choice("bcdmst")},
               demands=lambda kwargs: Demands(without=rf"(?<!\w)(?!{letters_of(kwargs['letter'])})\w"),
               possible=lambda kwargs: "" if kwargs["letter"].isalnum() else "no word begins with a mark",
               rule="every run of letters and digits"),
        _other(at, "linguistic:lipogram", "Do without the letter {letter}.",
               lambda text, kwargs: letter_count(text, kwargs["letter"]) == 0,
               lambda kwargs, rng: at.join(at.fill(rng, 5, [kwargs["letter"]])),
               lambda kwargs, rng: at.mixed(rng, [rng.choice((str.upper, str.lower))(kwargs["letter"])]),
               kwargs={"letter": LETTER}, sample=lambda rng: {"letter": rng.choice("aeost")},
               demands=lambda kwargs: Demands(without=letters_of(kwargs["letter"])), rule="in either case"),
    ]  # fmt: skip


def _inverse(at: Locale) -> list[Constraint]:
    return [
        _other(at, "inverse:no_digits", "Use no digits.", lambda text, kwargs: not rules.numbers(text),
               lambda kwargs, rng: at.sentence(rng), lambda kwargs, rng: f"{rng.randint(0, 9)} {at.sentence(rng)}",
               demands=lambda kwargs: Demands(without=r"\d"), rule="no digit"),
        _other(at, "inverse:no_characters", "Use none of these characters: {characters}",
               lambda text, kwargs: not has_any(text, kwargs["characters"].lower()),
               lambda kwargs, rng: at.join(at.fill(rng, 4, kwargs["characters"])),
               lambda kwargs, rng: at.sentence(rng) + rng.choice(kwargs["characters"].strip()).upper(),
               kwargs={"characters": TEXT}, sample=lambda rng: {"characters": rng.choice((";:", "()", "!?", "xyz"))},
               demands=lambda kwargs: Demands(without=letters_of(kwargs["characters"])), rule="in either case",
               possible=lambda kwargs: "" if " " not in kwargs["characters"] else "blanks cannot be done without"),
        _other(at, "inverse:no_lists", "Use no lists.", lambda text, kwargs: not rules.has_list(text),
               lambda kwargs, rng: at.sentence(rng),
               lambda kwargs, rng: f"{at.sentence(rng)}\n{rng.choice(('* ', '- ', '1. '))}{at.sentence(rng)}",
               demands=lambda kwargs: Demands(counts={"bullets": (0, 0), "numbered": (0, 0)}),
               rule="no bullet and no numbered line"),
        _other(at, "inverse:no_first_person", "Do not speak in the first person.",
               lambda text, kwargs: not rules.has_first_person(text),
               lambda kwargs, rng: at.join(at.fill(rng, 5)),
               lambda kwargs, rng: at.mixed(rng, [rng.choice(("I", "my", "We", "ours"))]),
               demands=lambda kwargs: Demands(never=("I", "my", "we", "our")), rule="no I, me, my, we, us, our"),
    ]  # fmt: skip
