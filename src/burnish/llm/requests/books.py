"""Reading request stores: what was spent, how fast it was, what was refused and asked again."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from burnish.errors import RunError
from burnish.llm.requests.again import first_of
from burnish.llm.requests.prices import price_of
from burnish.llm.requests.request import dump, key_of

_FILTERED = ("content_filter", "refusal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the books: an operation of a step, a step, or a whole run.

    Args:
        requests: kept, with or without a reply.
        failures: without one.
        filtered: the server's filter or the model's refusal answered.
        again: re-asks among them.
        attempts: how often requests were sent.
        money: US dollars; None where a model has no price.
        estimated: replies whose tokens are guessed.
        latency: seconds at the 50th, 90th and 99th percentile.
    """

    step: str
    operation: str
    requests: int = 0
    failures: int = 0
    filtered: int = 0
    again: int = 0
    attempts: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    completion_tokens: int = 0
    estimated: int = 0
    money: float | None = 0.0
    latency: tuple[float, float, float] = (0.0, 0.0, 0.0)


def stores_of(run: Path) -> list[Path]:
    """The request stores of a run, of a folder of stores (`OUT.requests`), or of a verb's output file `OUT`.

    Raises:
        RunError: it has none.
    """
    if run.suffix == ".sqlite" and run.is_file():
        return [run]
    places = (run / "requests", run, run.with_name(run.name + ".requests"))
    found = next((there for place in places if (there := sorted(place.glob("*.sqlite")))), [])
    if not found:
        raise RunError(
            f"{run} holds no requests; give a run whose steps asked a model outside this process, or what burnish "
            "judge or burnish sample wrote with a server"
        )
    return found


def _open(path: Path) -> sqlite3.Connection:
    try:
        base = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=60.0)
        base.execute("select 1 from asked limit 1")
    except sqlite3.DatabaseError as error:
        raise RunError(f"{path} is no request store ({error}); restore it or move it away") from error
    return base


def spent_in(path: Path) -> tuple[int, float]:
    """(tokens, US dollars) of a store; models without a price cost nothing."""
    if not path.exists() or not path.stat().st_size:
        return 0, 0.0
    with closing(_open(path)) as base:
        rows = base.execute(
            "select model, sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens) from asked group by model"
        ).fetchall()
    money = sum(price.of(*counts) for model, *counts in rows if (price := price_of(model)))
    return sum(prompt + completion for _, prompt, _, completion in rows), money


def books(run: Path, *, by: Sequence[str] = ("step", "operation")) -> list[Line]:
    """The books of a run, a line for each step and operation, or for each of either, or one (`by=()`)."""
    groups: dict[tuple[str, str], list[Path]] = {}
    for path in stores_of(run):
        for operation in _operations(path) if "operation" in by else [""]:
            groups.setdefault((path.stem if "step" in by else "", operation), []).append(path)
    chosen = "operation" in by
    return [_line(paths, step, operation, chosen) for (step, operation), paths in sorted(groups.items())]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lost:
    """Questions of one operation of a step that failed for one reason, in the server's words.

    Args:
        passing: the failure may pass, and is asked again when the step is.
    """

    step: str
    operation: str
    reason: str
    passing: bool
    count: int


def failures(run: Path) -> list[Lost]:
    """Why questions of a run got no answer, the commonest first in each step."""
    query = (
        "select operation, failure, passing, count(*) from asked where failure <> '' group by 1, 2, 3 order by 4 desc"
    )
    return [
        Lost(step=path.stem, operation=operation, reason=reason, passing=bool(passing), count=count)
        for path in stores_of(run)
        for operation, reason, passing, count in _rows([path], query, ())
    ]


def forget_failures(run: Path) -> dict[str, int]:
    """Remove the failures of a run from its stores, so that they are asked for again: step -> how many, where any."""
    return _removed(run, lambda base: base.execute("delete from asked where failure <> ''").rowcount)


def forget_unreadable(run: Path) -> dict[str, int]:
    """Remove replies that were asked for again since they could not be read, with all later tries: step -> how many.

    Whether a later try was read the store does not know, so a question whose second reply was good is asked anew, too.
    """
    return _removed(run, _remove_chains)


def _remove_chains(base: sqlite3.Connection) -> int:
    later = base.execute("select key, request from asked where again > 0").fetchall()
    keys = {key for key, _ in later} | {key_of(dump(first_of(json.loads(request)))) for _, request in later}
    return sum(base.execute("delete from asked where key = ?", (key,)).rowcount for key in keys)


def _removed(run: Path, remove: Callable[[sqlite3.Connection], int]) -> dict[str, int]:
    found = {}
    for path in stores_of(run):
        _open(path).close()
        with closing(sqlite3.connect(path, isolation_level=None, timeout=60.0)) as base:
            if count := remove(base):
                found[path.stem] = count
    return found


def run_of(place: Path) -> Path | None:
    """The run that a place of stores belongs to, None for those of a single verb."""
    home = place.parent if place.suffix == ".sqlite" else place
    folders = (home, home.parent) if home.name == "requests" else (home,)
    return next((folder for folder in folders if (folder / "run.json").exists()), None)


def place_of(store: Path) -> Path:
    """What to give to `burnish requests` for a store: its run, or its folder."""
    return run_of(store) or store.parent


def _operations(path: Path) -> list[str]:
    with closing(_open(path)) as base:
        return [name for (name,) in base.execute("select distinct operation from asked order by 1")]


def _rows(paths: Sequence[Path], query: str, given: Sequence[str]) -> Iterator[tuple]:
    for path in paths:
        with closing(_open(path)) as base:
            yield from base.execute(query, given)


def _line(paths: Sequence[Path], step: str, operation: str, chosen: bool) -> Line:
    where, given = ("where operation = ?", (operation,)) if chosen else ("", ())
    query = f"""
        select model, count(*), sum(failure <> ''), sum(finish in {_FILTERED}), sum(again > 0), sum(attempts),
               sum(prompt_tokens), sum(cached_tokens), sum(completion_tokens), sum(estimated)
        from asked {where} group by model"""
    totals, money = [0] * 9, 0.0
    priced = True
    for model, *counts in _rows(paths, query, given):
        totals = [one + other for one, other in zip(totals, counts, strict=True)]
        price = price_of(model)
        priced = priced and price is not None
        money += price.of(*counts[5:8]) if price else 0.0
    names = ("requests", "failures", "filtered", "again", "attempts")
    tokens = ("prompt_tokens", "cached_tokens", "completion_tokens", "estimated")
    answered = f"{where} {'and' if where else 'where'} failure = ''"
    seconds = sorted(row[0] for row in _rows(paths, f"select seconds from asked {answered}", given))
    return Line(
        step=step,
        operation=operation,
        money=money if priced else None,
        latency=tuple(_percentile(seconds, share) for share in (0.5, 0.9, 0.99)),
        **dict(zip((*names, *tokens), totals, strict=True)),
    )


def _percentile(ordered: Sequence[float], share: float) -> float:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0
