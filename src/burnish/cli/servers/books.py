"""`burnish requests`: what a run asked of models, what failed, and how to have that asked again."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

GROUPS = {"step": ("step",), "operation": ("operation",), "both": ("step", "operation")}


def requests(
    run: Annotated[Path, typer.Argument(help="A run folder, or the OUT of burnish judge or sample.")],
    by: Annotated[str, typer.Option(help="A line for each step, operation, or both.")] = "both",
    failures: Annotated[
        bool, typer.Option("--failures", help="List why questions got no answer, in the server's words.")
    ] = False,
    forget_failures: Annotated[
        bool,
        typer.Option(
            "--forget-failures",
            help="Remove kept failures, so that a server that was mended is asked again; finished steps that had them "
            "move to superseded/, with all that follows.",
        ),
    ] = False,
    forget_unreadable: Annotated[
        bool,
        typer.Option(
            "--forget-unreadable", help="The same for replies that could not be read and were asked for again."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as JSON.")] = False,
) -> None:
    """Tokens, money, latency, refusals and re-asks of a run, by step and operation."""
    from burnish.errors import SettingsError
    from burnish.llm.requests.books import books
    from burnish.llm.requests.books import forget_failures as remove_failures
    from burnish.llm.requests.books import forget_unreadable as remove_unreadable
    from burnish.runs import nearest

    if by not in GROUPS:
        raise SettingsError(f"--by {by} is no grouping; {nearest(by, GROUPS)}")
    if forget_failures:
        forget(run, remove_failures, "failures")
    if forget_unreadable:
        forget(run, remove_unreadable, "unreadable replies and their re-asks")
    if failures:
        print_failures(run, as_json)
        return
    lines = [*books(run, by=GROUPS[by]), *books(run, by=())]
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    print("\n".join(columns([_cells(line) for line in lines])))


def forget(place: Path, remove: Callable[[Path], dict[str, int]], what: str) -> None:
    """Remove replies of the stores; put aside the finished steps that were made of them, and say so.

    Raises:
        RunError: the run is in use; then nothing is removed.
    """
    from burnish.llm.requests.books import run_of
    from burnish.runs import redo
    from burnish.runs.storage import Lock

    if home := run_of(place):
        Lock(home).release()
    gone = remove(place)
    count = sum(gone.values())
    again, after = redo(home, gone) if home and gone else ([], [])
    if not count:
        print(f"no {what} are kept in {place}", file=sys.stderr)
        return
    print(f"{count:,} {what} forgotten; give the same command again to ask for them", file=sys.stderr)
    if again:
        follow = f", and {len(after)} that follow" if after else ""
        print(f"moved to superseded/, to be done again: {', '.join(again)}{follow}", file=sys.stderr)


def print_failures(run: Path, as_json: bool) -> None:
    """A line for each reason, or one JSON list."""
    from burnish.llm.requests.books import failures

    found = failures(run)
    if as_json:
        print(json.dumps([asdict(line) for line in found], indent=2))
    elif not found:
        print("no question failed")
    else:
        rows = [
            {
                "": " ".join(part for part in (line.step, line.operation or "sampling") if part),
                "count": f"{line.count:,}",
                "asked again": "yes" if line.passing else "no",
                "reason": line.reason[:300],
            }
            for line in found
        ]
        print("\n".join(line.rstrip() for line in columns(rows, left=("", "reason"))))


def _cells(line: Any) -> dict[str, str]:
    name = " ".join(part for part in (line.step, line.operation) if part) or "all"
    guessed = "~" if line.estimated else ""
    return {
        "": name,
        "requests": f"{line.requests:,}",
        "failed": f"{line.failures:,}",
        "filtered": f"{line.filtered:,}",
        "re-asks": f"{line.again:,}",
        "sent": f"{line.attempts:,}",
        "prompt": f"{guessed}{line.prompt_tokens:,}",
        "cached": f"{line.cached_tokens:,}",
        "reply": f"{guessed}{line.completion_tokens:,}",
        "money": "-" if line.money is None else f"${line.money:,.2f}",
        "p50": f"{line.latency[0]:.2f} s",
        "p90": f"{line.latency[1]:.2f} s",
        "p99": f"{line.latency[2]:.2f} s",
    }


def columns(rows: list[dict[str, str]], left: tuple[str, ...] = ("",)) -> list[str]:
    """A table with a head: numbers to the right, the columns named in `left` to the left."""
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    told = [{name: name for name in widths}, *rows]
    return ["  ".join(v.ljust(widths[n]) if n in left else v.rjust(widths[n]) for n, v in r.items()) for r in told]
