"""Format, content, combinations, start and end (`detectable_*`, `combination:*`, `startend:*`) in five languages."""

from __future__ import annotations

import json
from random import Random

from burnish.verify.constraints.kind import Argument, Constraint, Demands, Kwargs
from burnish.verify.constraints.library.build import TEXT, counted, written
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import layout

TITLES = {"fr": ("##", "##"), "ja": ("『", "』"), "zh": ("《", "》")}
HIGHLIGHTS = {"ja": ("《", "》"), "zh": ("【", "】")}
QUOTES = {
    "fr": (('"', '"'), ("'", "'"), ("«", "»")), "ja": (("「", "」"),), "zh": (("“", "”"), ("「", "」"), ('"', '"')),
}  # fmt: skip
# Marks that the end phrase may be followed by; the Japanese verifier forgives closing brackets, the others quotes.
CLOSING = {"ja": "」』", "zh": '”」"'}


def count_kinds(at: Locale) -> list[Constraint]:
    """number_bullet_lists, number_highlighted_sections, multiple_sections, number_placeholders; numbered lists."""
    kinds = [_bullets(at), _highlights(at), _sections(at), _placeholders(at)]
    return [*kinds, _numbered(at)] if at.wide else kinds


def _relation(at: Locale) -> dict[str, Argument]:
    """The Spanish types may be given a relation, which is "al menos" in all published rows."""
    return {"relation": Argument(kind=str, choices=at.relations, optional=True)} if at.code == "es" else {}


def _drawn(at: Locale, drawn: dict) -> dict:
    return {**drawn, "relation": at.more} if at.code == "es" else drawn


def _bullets(at: Locale) -> Constraint:
    mark = {"ja": "・", "zh": "•"}.get(at.code, "* ")
    rule = {"es": layout.star_bullets, "ja": layout.dot_bullets, "zh": layout.dot_bullets}.get(at.code, layout.bullets)

    dots = "lines that begin with one ・ or •"
    told = {"es": "lines that begin with one *", "ja": dots, "zh": dots}

    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        lines = [mark + at.join(at.fill(rng, 3)) for _ in range(count)]
        return "\n".join([at.sentence(rng), *lines])

    return counted(
        at,
        "detectable_format:number_bullet_lists",
        n="num_bullets",
        fixed="exactly",
        quantity="bullets",
        count=lambda text, kwargs: rule(text),
        build=build,
        sample=lambda rng: {"num_bullets": rng.randint(1, 6)},
        rule=told.get(at.code, "lines that begin with one * or with -"),
    )


def _numbered(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return "\n".join([at.sentence(rng), *(f"{i + 1}. {at.join(at.fill(rng, 3))}" for i in range(count))])

    return counted(
        at,
        "detectable_format:number_numbered_lists",
        n="num_items",
        fixed="exactly",
        quantity="numbered",
        count=lambda text, kwargs: layout.numbered(text),
        build=build,
        sample=lambda rng: {"num_items": rng.randint(2, 8)},
        extra=lambda kwargs: Demands(exact=("1. ",) if kwargs["num_items"] else ()),
        rule="lines that begin with a number, a full stop and a blank",
    )


def _highlights(at: Locale) -> Constraint:
    first, last = HIGHLIGHTS.get(at.code, ("*", "*"))

    def count(text: str, kwargs: Kwargs) -> int:
        return layout.enclosed(text, first, last) if at.wide else layout.highlights(text)

    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        parts = [f"{first}{at.join(at.fill(rng, 2))}{last}" for _ in range(count)]
        return at.join([*parts, at.sentence(rng)])

    return counted(
        at,
        "detectable_format:number_highlighted_sections",
        n="num_highlights",
        fixed=at.more,
        quantity="highlights",
        more=_relation(at),
        count=count,
        build=build,
        sample=lambda rng: _drawn(at, {"num_highlights": rng.randint(1, 5)}),
        rule=f"parts between {first} and {last} on one line" if at.wide else "*parts* and **parts** on one line",
    )


def _sections(at: Locale) -> Constraint:
    def mark(kwargs: Kwargs, number: int) -> str:
        splitter = kwargs["section_spliter"].strip()
        return f"第{number}{splitter}" if at.wide else f"{splitter} {number}"

    def count(text: str, kwargs: Kwargs) -> int:
        return (layout.chapters if at.wide else layout.sections)(text, kwargs["section_spliter"])

    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        avoid = [kwargs["section_spliter"]]
        parts = [f"{mark(kwargs, i + 1)}\n{at.sentence(rng, avoid)}" for i in range(count)]
        return "\n".join([at.sentence(rng, avoid), *parts])

    return counted(
        at,
        "detectable_format:multiple_sections",
        n="num_sections",
        fixed=at.more,
        quantity=lambda kwargs: f"sections:{kwargs['section_spliter'].strip()}",
        more={"section_spliter": TEXT, **_relation(at)},
        count=count,
        build=build,
        sample=lambda rng: _drawn(at, {"section_spliter": rng.choice(at.splitters), "num_sections": rng.randint(1, 5)}),
        extra=lambda kwargs: Demands(exact=(mark(kwargs, 1),) if kwargs["num_sections"] else ()),
        rule="第, a number and the splitter" if at.wide else "the splitter, in this case, before a number",
    )


def _placeholders(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return at.join([*(f"[{at.fill(rng, 1)[0]}]" for _ in range(count)), at.sentence(rng)])

    return counted(
        at,
        "detectable_content:number_placeholders",
        n="num_placeholders",
        fixed=at.more,
        quantity="placeholders",
        more=_relation(at),
        count=lambda text, kwargs: layout.placeholders(text),
        build=build,
        sample=lambda rng: _drawn(at, {"num_placeholders": rng.randint(1, 5)}),
        rule="parts in square brackets on one line",
    )


def mark_kinds(at: Locale) -> list[Constraint]:
    """title, postscript, end_checker, quotation, repeat_prompt."""
    return [_title(at), _postscript(at), _end(at), _quotation(at), _repeat(at)]


def _title(at: Locale) -> Constraint:
    first, last = TITLES.get(at.code, ("<<", ">>"))
    return written(
        at,
        "detectable_format:title",
        check=lambda text, kwargs: layout.has_title(text, first, last),
        comply=lambda kwargs, rng: f"{first}{at.join(at.fill(rng, 2))}{last}\n{at.sentence(rng)}",
        violate=lambda kwargs, rng: (
            f"{rng.choice((first, f'{first} {last}', at.join(at.fill(rng, 2))))}\n{at.sentence(rng)}"
        ),
        demands=lambda kwargs: Demands(exact=(first, last)),
        rule=f"something between {first} and {last} on one line",
    )


def _postscript(at: Locale) -> Constraint:
    return written(
        at,
        "detectable_content:postscript",
        kwargs={"postscript_marker": TEXT},
        check=lambda text, kwargs: layout.has_postscript(text, kwargs["postscript_marker"]),
        comply=lambda kwargs, rng: f"{at.sentence(rng)}\n\n{kwargs['postscript_marker']} {at.sentence(rng)}",
        violate=lambda kwargs, rng: at.sentence(rng, [kwargs["postscript_marker"]]),
        sample=lambda rng: {"postscript_marker": rng.choice(at.markers)},
        demands=lambda kwargs: Demands(says=(kwargs["postscript_marker"],)),
        rule="the marker anywhere, whatever its case",
    )


def _end(at: Locale) -> Constraint:
    return written(
        at,
        "startend:end_checker",
        kwargs={"end_phrase": TEXT},
        check=lambda text, kwargs: layout.finishes_with(text, kwargs["end_phrase"], CLOSING.get(at.code, '"')),
        comply=lambda kwargs, rng: at.join([at.sentence(rng), kwargs["end_phrase"]]),
        violate=lambda kwargs, rng: at.join([kwargs["end_phrase"], at.sentence(rng, [kwargs["end_phrase"]])]),
        sample=lambda rng: {"end_phrase": rng.choice(at.ends)},
        demands=lambda kwargs: Demands(end=kwargs["end_phrase"]),
        rule="the last words, whatever their case; closing quotes may follow",
    )


def _quotation(at: Locale) -> Constraint:
    pairs = QUOTES.get(at.code, (('"', '"'),))

    def comply(kwargs: Kwargs, rng: Random) -> str:
        first, last = rng.choice(pairs)
        return f"{first}{at.sentence(rng)}{last}"

    def violate(kwargs: Kwargs, rng: Random) -> str:
        first, last = rng.choice(pairs)
        return rng.choice((f"{first}{{}}", f"{{}}{last}", "{}")).format(at.sentence(rng))

    return written(
        at,
        "startend:quotation",
        check=lambda text, kwargs: layout.is_quoted(text, pairs),
        comply=comply,
        violate=violate,
        demands=lambda kwargs: Demands(form="quoted"),
        rule="the text begins and ends with a pair of " + " or ".join(first + last for first, last in pairs),
    )


def _repeat(at: Locale) -> Constraint:
    return written(
        at,
        "combination:repeat_prompt",
        kwargs={"prompt_to_repeat": TEXT},
        check=lambda text, kwargs: layout.begins_with(text, kwargs["prompt_to_repeat"]),
        comply=lambda kwargs, rng: f"{kwargs['prompt_to_repeat']}\n{at.sentence(rng)}",
        violate=lambda kwargs, rng: f"{at.sentence(rng, [kwargs['prompt_to_repeat']])} {kwargs['prompt_to_repeat']}",
        sample=lambda rng: {"prompt_to_repeat": at.join(at.fill(rng, 5))},
        demands=lambda kwargs: Demands(start=kwargs["prompt_to_repeat"]),
        rule="the text begins with the prompt, whatever its case",
    )


def shape_kinds(at: Locale) -> list[Constraint]:
    """json_format, constrained_response, two_responses."""
    return [_json(at), _options(at), _two(at)]


def _json(at: Locale) -> Constraint:
    def comply(kwargs: Kwargs, rng: Random) -> str:
        value = json.dumps({word: rng.randint(0, 9) for word in at.fill(rng, 3)}, ensure_ascii=False)
        return rng.choice(("{}", "```json\n{}\n```", "```\n{}\n```")).format(value)

    return written(
        at,
        "detectable_format:json_format",
        check=lambda text, kwargs: layout.is_json(text),
        comply=comply,
        violate=lambda kwargs, rng: rng.choice(("JSON: {}", "{}]", "```json\n{},\n```")).format(
            json.dumps(at.fill(rng, 2), ensure_ascii=False)
        ),
        demands=lambda kwargs: Demands(form="json"),
        rule="the whole text is JSON, with or without a Markdown fence",
    )


def _options(at: Locale) -> Constraint:
    return written(
        at,
        "detectable_format:constrained_response",
        check=lambda text, kwargs: layout.has_option(text, at.options),
        comply=lambda kwargs, rng: rng.choice(at.options),
        violate=lambda kwargs, rng: at.sentence(rng),
        demands=lambda kwargs: Demands(form="options", exact=(at.options[0],)),
        rule="one of: " + " / ".join(at.options),
    )


def _two(at: Locale) -> Constraint:
    def violate(kwargs: Kwargs, rng: Random) -> str:
        one, other = at.sentence(rng), f"{at.sentence(rng)} {at.sentence(rng)} {at.sentence(rng)}"
        return rng.choice(
            (
                f"{one}\n******\n{one}",
                one,
                f"{one}\n******\n{other}\n******\n{one}",
                f"{one}\n******\n\n******\n{other}",
            )
        )

    return written(
        at,
        "combination:two_responses",
        check=lambda text, kwargs: layout.two_responses(text),
        comply=lambda kwargs, rng: f"{at.sentence(rng)}\n******\n{at.sentence(rng)} {at.sentence(rng)}",
        violate=violate,
        demands=lambda kwargs: Demands(divider="******"),
        rule="two different parts with ****** between them",
    )
