"""Countable formats in the manner of CFBench and FollowBench: lists, tables, code, headings, tags, separators."""

from __future__ import annotations

from math import inf
from random import Random
from typing import Any

from burnish.verify.constraints.kind import PLAIN_RELATIONS, Argument, Constraint, Demands, Kwargs
from burnish.verify.constraints.library.build import CFBENCH, TEXT, counted, whole, written
from burnish.verify.constraints.library.locale import Locale
from burnish.verify.constraints.rules import countable as rules

_RELATION = Argument(kind=str, choices=PLAIN_RELATIONS)


def format_kinds(at: Locale) -> list[Constraint]:
    """All of them, in English."""
    return [_numbered(at), _table(at), _code(at), _headings(at), _bold(at), *_lines(at)]


def _format(at: Locale, id: str, ask: str, rule: str, **more: Any) -> Constraint:
    return written(at, "", id=f"format:{id}", asks=(ask,), rule=rule, source=CFBENCH, **more)


def _numbered(at: Locale) -> Constraint:
    def listed(numbers: range, rng: Random) -> str:
        return "\n".join([at.sentence(rng), *(f"{i}. {at.sentence(rng)}" for i in numbers)])

    return _format(
        at, "numbered_list", "Write a numbered list of {items} items, from 1 on.",
        "lines numbered 1, 2, 3, ... in order",
        check=lambda text, kwargs: rules.is_numbered_list(text, kwargs["items"]),
        comply=lambda kwargs, rng: listed(range(1, kwargs["items"] + 1), rng),
        violate=lambda kwargs, rng: listed(
            rng.choice((range(kwargs["items"]), range(1, kwargs["items"]), range(2, kwargs["items"] + 2))), rng
        ),
        kwargs={"items": whole()}, sample=lambda rng: {"items": rng.randint(2, 7)},
        demands=lambda kwargs: Demands(exact=("1",), counts={"numbered": (kwargs["items"],) * 2}),
    )  # fmt: skip


def _table(at: Locale) -> Constraint:
    def table(rows: int, columns: int, rng: Random) -> str:
        lines = [at.fill(rng, columns), ["---"] * columns, *(at.fill(rng, columns) for _ in range(rows))]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)

    def violate(kwargs: Kwargs, rng: Random) -> str:
        rows, columns = rng.choice(((1, 0), (0, 1)))
        return table(kwargs["rows"] + rows, kwargs["columns"] + columns, rng)

    return _format(
        at, "table", "Use a Markdown table of {columns} columns and {rows} rows, without counting the head.",
        "a head, a rule of dashes, then so many lines of so many cells",
        check=lambda text, kwargs: rules.has_table(text, kwargs["rows"], kwargs["columns"]),
        comply=lambda kwargs, rng: f"{at.sentence(rng)}\n\n{table(kwargs['rows'], kwargs['columns'], rng)}",
        violate=violate, kwargs={"rows": whole(), "columns": whole()},
        sample=lambda rng: {"rows": rng.randint(2, 5), "columns": rng.randint(2, 4)},
        demands=lambda kwargs: Demands(exact=("|", "---"), counts={"lines": (kwargs["rows"] + 2, inf)}),
    )  # fmt: skip


def _code(at: Locale) -> Constraint:
    return _format(
        at, "code_block", "Put the code in a block that names the language {language}.",
        "a closed fence with this label and something in it",
        check=lambda text, kwargs: rules.has_code(text, kwargs["language"]),
        comply=lambda kwargs, rng: f"{at.sentence(rng)}\n```{kwargs['language']}\nx = {rng.randint(0, 9)}\n```\n",
        violate=lambda kwargs, rng: rng.choice(
            ("```\nx = 1\n```", f"```{kwargs['language']}\n\n```", f"```{kwargs['language']}\nx = 1", "x = 1")
        ),
        kwargs={"language": TEXT}, sample=lambda rng: {"language": rng.choice(("python", "java", "go"))},
        demands=lambda kwargs: Demands(exact=("```",)),
    )  # fmt: skip


def _headings(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        mark = "#" * kwargs["level"]
        parts = [f"{mark} {at.fill(rng, 1)[0]}\n{at.sentence(rng)}" for _ in range(count)]
        return "\n".join([f"{mark}# {at.fill(rng, 1)[0]}", *parts, f"{mark}no heading"])

    return counted(
        at, "", id="format:headings", asks=("Use {relation} {n} Markdown headings of level {level}.",), n="n",
        more={"relation": _RELATION, "level": Argument(kind=int, least=1)}, fixed=PLAIN_RELATIONS[0],
        quantity=lambda kwargs: f"headings of level {kwargs['level']}",
        count=lambda text, kwargs: rules.headings(text, kwargs["level"]), build=build, source=CFBENCH,
        sample=lambda rng: {"relation": rng.choice(PLAIN_RELATIONS), "n": rng.randint(1, 4),
                            "level": rng.randint(1, 3)},
        rule="lines of so many # and a blank before the words",
    )  # fmt: skip


def _bold(at: Locale) -> Constraint:
    def build(kwargs: Kwargs, count: int, rng: Random) -> str:
        return at.join([*(f"**{at.fill(rng, 1)[0]}**" for _ in range(count)), "*plain*", at.sentence(rng)])

    return counted(
        at, "", id="format:bold", asks=("Set {relation} {n} parts in bold.",), n="n", more={"relation": _RELATION},
        fixed=PLAIN_RELATIONS[0], quantity="bold", count=lambda text, kwargs: rules.bold(text), build=build,
        sample=lambda rng: {"relation": rng.choice(PLAIN_RELATIONS), "n": rng.randint(1, 5)}, source=CFBENCH,
        rule="**parts** on one line that are not blank",
    )  # fmt: skip


def _lines(at: Locale) -> list[Constraint]:
    def tagged(kwargs: Kwargs, rng: Random) -> str:
        tag, text = kwargs["tag"], at.sentence(rng)
        return rng.choice(
            (text, f"<{tag}>{text}", f"{text}</{tag}>", f"<{tag}></{tag}>", f"<{tag}>{text}</{tag}> {text}")
        )

    def separated(items: int, mark: str, rng: Random) -> str:
        return mark.join(at.fill(rng, items, [mark]))

    def csv(rng: Random, widths: list[int]) -> str:
        return "\n".join(",".join(at.fill(rng, width)) for width in widths)

    return [
        _format(at, "tagged", "Put the whole answer between <{tag}> and </{tag}>.", "one element around the whole text",
                check=lambda text, kwargs: rules.is_tagged(text, kwargs["tag"]), violate=tagged,
                comply=lambda kwargs, rng: f"<{kwargs['tag']}>{at.sentence(rng)}</{kwargs['tag']}>",
                kwargs={"tag": TEXT}, sample=lambda rng: {"tag": rng.choice(("answer", "reply", "note"))},
                demands=lambda kwargs: Demands(
                    start=f"<{kwargs['tag']}>", end=f"</{kwargs['tag']}>", exact=(f"<{kwargs['tag']}>",))),
        _format(at, "line_prefix", "Begin every line with {prefix}", "every line that is not blank",
                check=lambda text, kwargs: rules.all_lines_begin(text, kwargs["prefix"]),
                comply=lambda kwargs, rng: "\n\n".join(f"{kwargs['prefix']} {at.sentence(rng)}" for _ in range(3)),
                violate=lambda kwargs, rng: f"{kwargs['prefix']} {at.sentence(rng)}\n{at.sentence(rng)}",
                kwargs={"prefix": TEXT}, sample=lambda rng: {"prefix": rng.choice((">", "Note:", "=>"))},
                demands=lambda kwargs: Demands(start=kwargs["prefix"], exact=(kwargs["prefix"].strip(),),
                                               divider="lines")),
        _format(at, "separated_items", "Give {items} items on one line with {separator} between them.",
                "so many parts on one line, none blank",
                check=lambda text, kwargs: rules.is_separated(text, kwargs["separator"], kwargs["items"]),
                comply=lambda kwargs, rng: separated(kwargs["items"], kwargs["separator"], rng),
                violate=lambda kwargs, rng: rng.choice((
                    separated(kwargs["items"] + 1, kwargs["separator"], rng),
                    "\n".join(separated(kwargs["items"], kwargs["separator"], rng).partition(kwargs["separator"])),
                    separated(kwargs["items"] - 1, kwargs["separator"], rng) + kwargs["separator"] + " ")),
                kwargs={"items": whole(2), "separator": TEXT},
                sample=lambda rng: {"items": rng.randint(2, 6), "separator": rng.choice((";", "|", "/"))},
                demands=lambda kwargs: Demands(form="line", counts={"lines": (1, 1)},
                                               exact=(kwargs["separator"].strip(),))),
        _format(at, "csv", "Write comma-separated lines of {columns} cells each.", "two lines or more, no cell empty",
                check=lambda text, kwargs: rules.is_csv(text, kwargs["columns"]),
                comply=lambda kwargs, rng: csv(rng, [kwargs["columns"]] * 3),
                violate=lambda kwargs, rng: csv(rng, rng.choice((
                    [kwargs["columns"], kwargs["columns"] + 1], [kwargs["columns"]],
                    [kwargs["columns"] + 1] * 2))),
                kwargs={"columns": whole(2)}, sample=lambda rng: {"columns": rng.randint(2, 5)},
                demands=lambda kwargs: Demands(form="csv", exact=(",",), counts={"lines": (2, inf)})),
    ]  # fmt: skip
