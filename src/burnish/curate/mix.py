"""The mix that is trained on (Llama 3 §4.2.2, Table 7; specification §3.8): sources epoched or down-sampled to shares.

A share of examples is not a share of tokens: 0.11 % of long examples are about 5 % of the report's tokens. So the table
reports both.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

from burnish.errors import SettingsError
from burnish.protocols import Work
from burnish.records import Demonstration, Dropped, Message, content_id, dropped
from burnish.runs import Outcome


def declared_source(row: Demonstration) -> str:
    """The ability of the row, or where it comes from when it declares none."""
    return row.ability or row.source


def count_words(text: str) -> int:
    """Words between blanks: the counter for want of a tokenizer."""
    return len(text.split())


def apportion(shares: Mapping[str, float], total: int) -> dict[str, int]:
    """Whole numbers that sum to `total`, each within one of its exact share (largest remainder, ties by name).

    Exact: shares are taken as the decimals that are written, and need not sum to 1.
    """
    parts = {name: Fraction(repr(float(share))) for name, share in shares.items()}
    if total and not sum(parts.values()):
        raise SettingsError("the shares of a mix sum to 0; give at least one source a share")
    norm = sum(parts.values()) or Fraction(1)
    exact = {name: total * part / norm for name, part in parts.items()}
    whole = {name: math.floor(value) for name, value in exact.items()}
    rest = sorted(exact, key=lambda name: (whole[name] - exact[name], name))[: total - sum(whole.values())]
    return {name: whole[name] + (name in rest) for name in shares}


def _validated(shares: Mapping[str, float] | None, epochs: Mapping[str, float] | None, count: int | None) -> None:
    for what, given in (("share", shares), ("number of epochs", epochs)):
        for name, value in (given or {}).items():
            if not (math.isfinite(value) and value >= 0):
                raise SettingsError(f"the {what} of {name!r} must be a number from 0 up, not {value!r}")
    if count is not None and count < 0:
        raise SettingsError(f"the count of a mix must not be negative, found {count}")


def _most(sizes: Mapping[str, int], epochs: Mapping[str, float] | None) -> dict[str, int]:
    """How many rows each source can give: its rows times its epochs (1 unless given)."""
    return {name: math.floor(size * Fraction(repr(float((epochs or {}).get(name, 1))))) for name, size in sizes.items()}


def plan_mix(
    sizes: Mapping[str, int],
    *,
    count: int | None,
    shares: Mapping[str, float] | None = None,
    epochs: Mapping[str, float] | None = None,
) -> dict[str, int]:
    """How many rows of each source go into the mix.

    With `shares` the mix has exactly these proportions, within one row of each, over the sources that hold rows:
    `count` rows of them, sources repeated as often as that needs; without `count` the most that `epochs` (1 unless
    given) allow. Without `shares` each source gives its rows times its epochs, in these proportions cut to `count`
    where there are more.
    """
    _validated(shares, epochs, count)
    most = _most(sizes, epochs)
    if shares is None:
        total = sum(most.values())
        return apportion(most, count) if count is not None and count < total else most
    present = {name: shares.get(name, 0.0) for name in sizes if sizes[name]}
    if not any(present.values()):
        return dict.fromkeys(sizes, 0)
    if count is None:
        norm = sum(Fraction(repr(float(share))) for share in present.values())
        limits = [most[name] * norm / Fraction(repr(float(share))) for name, share in present.items() if share]
        count = math.floor(min(limits))
        while any(number > most[name] for name, number in apportion(present, count).items()):
            count -= 1  # rounding up may ask one row too many of a source
    return {**dict.fromkeys(sizes, 0), **apportion(present, count)}


def _order(seed: int, *key: Any) -> str:
    return content_id(["mix", seed, *key])


def mix_rows(
    demonstrations: Sequence[Demonstration],
    *,
    count: int | None,
    seed: int,
    shares: Mapping[str, float] | None = None,
    epochs: Mapping[str, float] | None = None,
    source_of: Callable[[Demonstration], str] = declared_source,
    count_tokens: Callable[[str], int] = count_words,
    work: Work | None = None,
) -> Outcome:
    """Repeat and down-sample sources to their shares, and shuffle. `plan_mix` says how `count`, `shares`, `epochs` act.

    Which rows of a source are taken, and the order of the mix, depend on the seed and the rows' ids alone. Whole
    epochs come first, so that rows of a source differ by one copy at most. The accounting is in input rows: a row is
    kept when it stands in the mix at least once.

    Metrics: `composition`, a line for each source and "Total", in examples and in tokens (context + final = all).
    """
    groups: dict[str, list[Demonstration]] = {}
    left: list[Dropped] = []
    seen: set[str] = set()
    for row in demonstrations:
        if row.id in seen:
            left.append(dropped(row, "duplicate"))
        elif shares is not None and source_of(row) not in shares:
            left.append(dropped(row, "source not in the mix", source_of(row)))
        else:
            groups.setdefault(source_of(row), []).append(row)
        seen.add(row.id)
    plan = plan_mix({name: len(rows) for name, rows in groups.items()}, count=count, shares=shares, epochs=epochs)
    result, more = _drawn(groups, plan, seed=seed)
    metrics = {
        "composition": composition(result, source_of=source_of, count_tokens=count_tokens),
        "epochs": {name: plan[name] / len(rows) for name, rows in sorted(groups.items())},
        "absent": sorted(name for name, share in (shares or {}).items() if share and name not in groups),
    }
    kept = sum(min(plan[name], len(rows)) for name, rows in groups.items())
    return Outcome(rows=result, dropped=[*left, *more], taken=len(demonstrations), kept=kept, metrics=metrics)


def _drawn(
    groups: Mapping[str, Sequence[Demonstration]], plan: Mapping[str, int], *, seed: int
) -> tuple[list[Demonstration], list[Dropped]]:
    """As many rows of each group as planned, shuffled, and the rows that were not taken."""
    left: list[Dropped] = []
    mixed: list[tuple[str, Demonstration]] = []
    for name, rows in sorted(groups.items()):
        ranked = sorted(rows, key=lambda row: _order(seed, "rank", row.id))
        number = plan[name]
        left += [dropped(row, "down-sampled", name) for row in ranked[number:]]
        for index in range(number):
            row, copy = ranked[index % len(ranked)], index // len(ranked)
            mixed.append((_order(seed, "place", row.id, copy), row))
    return [row for _, row in sorted(mixed, key=lambda pair: pair[0])], left


def replay_rows(
    second: Sequence[Demonstration],
    first: Sequence[Demonstration],
    *,
    share: float,
    seed: int,
    of_first: bool = False,
    work: Work | None = None,
) -> Outcome:
    """The rows of a second stage with some of the first one's, so that the model does not forget what it learned there.

    Nemotron-4 (arXiv 2406.11704 §3.3.1, spec A.17) trains on code first, then on a general blend of 200K samples that
    "also includes 2% of the code generation samples". Read as a share of the blend, 4,000 of 200K (ASSUMED);
    `of_first` reads it as a share of the first stage's rows.

    Args:
        second: all of them go on, once each. A row that stands in both stages counts as one of these.
        first: which of them are taken depends on the seed and the rows' ids alone.
        share: of the result (or of `first`), from 0 to below 1; rounded to whole rows, halves up.

    Raises:
        SettingsError: a share out of range, or one that `first` has too few rows for.
    """
    if not (math.isfinite(share) and 0 <= share < 1):
        raise SettingsError(f"the share to replay is {share!r}; it must be from 0 to below 1")
    groups: dict[str, list[Demonstration]] = {"second": [], "first": []}
    left: list[Dropped] = []
    seen: set[str] = set()
    for name, rows in (("second", second), ("first", first)):
        for row in rows:
            if row.id in seen:
                left.append(dropped(row, "duplicate"))
            else:
                groups[name].append(row)
            seen.add(row.id)
    part = Fraction(repr(float(share)))
    exact = part * len(groups["first"]) if of_first else part / (1 - part) * len(groups["second"])
    count = math.floor(exact + Fraction(1, 2))
    if count > len(groups["first"]):
        raise SettingsError(
            f"a share of {share:g} beside {len(groups['second'])} rows is {count} rows of the first stage, which has "
            f"{len(groups['first'])}; lower the share"
        )
    result, more = _drawn(groups, {"second": len(groups["second"]), "first": count}, seed=seed)
    known = {row.id for row in groups["first"]}
    metrics = {
        "replayed": count,
        "share": count / len(result) if result else 0.0,
        "composition": composition(result, source_of=lambda row: "first" if row.id in known else "second"),
    }
    return Outcome(rows=result, dropped=[*left, *more], taken=len(second) + len(first), metrics=metrics)


def composition(
    rows: Sequence[Demonstration],
    *,
    source_of: Callable[[Demonstration], str] = declared_source,
    count_tokens: Callable[[str], int] = count_words,
) -> dict[str, dict[str, float]]:
    """Table 7's columns for each source and "Total": examples and tokens with their shares in percent, and means of
    turns, tokens, tokens in the context, tokens in the final response."""

    def tokens(messages: Sequence[Message]) -> int:
        return sum(count_tokens(message.content) for message in messages)

    sums: dict[str, list[int]] = {}
    for row in rows:
        context, final = tokens(row.context), tokens(row.response)
        turns = sum(message.role == "user" for message in row.context)
        for name in (source_of(row), "Total"):
            line = sums.setdefault(name, [0, 0, 0, 0])
            for index, value in enumerate((1, turns, context, final)):
                line[index] += value
    if not rows:
        return {}
    examples, total = len(rows), sum(sums["Total"][2:]) or 1
    return {
        name: {
            "examples": n,
            "percent_examples": 100 * n / examples,
            "tokens_all": context + final,
            "percent_tokens": 100 * (context + final) / total,
            "turns": turns / n,
            "tokens": (context + final) / n,
            "context": context / n,
            "final": final / n,
        }
        for name, (n, turns, context, final) in sorted(sums.items(), key=lambda item: (item[0] == "Total", item[0]))
    }
