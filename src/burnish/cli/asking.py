"""Looking at what a run asked of models: tokens, money, latency, refusals."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

GROUPS = {"step": ("step",), "operation": ("operation",), "both": ("step", "operation")}


def requests(
    run: Annotated[Path, typer.Argument(help="A run folder.")],
    by: Annotated[str, typer.Option(help="A line for each step, operation, or both.")] = "both",
    forget_failures: Annotated[
        bool, typer.Option(help="Remove kept failures, so that a server that was mended is asked again.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the lines as JSON.")] = False,
) -> None:
    """Tokens, money, latency, refusals and re-asks of a run, by step and operation."""
    from burnish.errors import SettingsError
    from burnish.llm.requests.books import books
    from burnish.llm.requests.books import forget_failures as forget
    from burnish.runs import nearest

    if by not in GROUPS:
        raise SettingsError(f"--by {by} is no grouping; {nearest(by, GROUPS)}")
    if forget_failures:
        print(f"{forget(run):,} failures forgotten; give the run's command again to ask for them", file=sys.stderr)
    lines = [*books(run, by=GROUPS[by]), *books(run, by=())]
    if as_json:
        print(json.dumps([asdict(line) for line in lines], indent=2))
        return
    print("\n".join(_table([_cells(line) for line in lines])))


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


def _table(rows: list[dict[str, str]]) -> list[str]:
    widths = {name: max(len(name), *(len(row[name]) for row in rows)) for name in rows[0]}
    told = [{name: name for name in widths}, *rows]
    return ["  ".join(v.rjust(widths[n]) if n else v.ljust(widths[n]) for n, v in row.items()) for row in told]


def with_budget(client: Any, tokens: int, money: float) -> Any:
    """The endpoint with what it may spend.

    Raises:
        SettingsError: a budget for a model in this process.
    """
    from dataclasses import replace

    from burnish.errors import SettingsError
    from burnish.llm.requests import Budget, Endpoint

    if not (tokens or money):
        return client
    if not isinstance(client, Endpoint):
        raise SettingsError(
            "--budget-tokens and --budget-money are for servers; leave them out for a folder of weights"
        )
    return replace(client, budget=Budget(tokens=tokens or None, money=money or None))


def print_estimate(client: Any, prompts: list[Any], n: int, sampling: Any, kept: Path) -> None:
    """What `answer` would send at most, less what is kept already.

    Raises:
        SettingsError: a model in this process, which costs nothing.
    """
    from burnish.errors import SettingsError
    from burnish.llm.requests import Endpoint, Store, estimate

    if not isinstance(client, Endpoint):
        raise SettingsError("--dry-run estimates what a server would cost; a folder of weights costs nothing")
    requests = [request for _, request in client.plan(prompts, n, sampling)]
    if kept.exists():
        with Store(kept) as store:
            told = estimate(requests, store)
    else:
        told = estimate(requests)
    money = "no price known" if told.most_money is None else f"at most ${told.most_money:,.2f}"
    print(
        f"{told.requests:,} requests ({told.reused:,} are kept already), about {told.prompt_tokens:,} tokens of "
        f"prompts, at most {told.most_completion_tokens:,} of replies, {money}"
    )
