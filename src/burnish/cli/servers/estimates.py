"""Budgets of servers, and what asking them would cost, before anything is sent."""

from __future__ import annotations

from pathlib import Path
from typing import Any


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
    from burnish.llm.requests import Endpoint

    if not isinstance(client, Endpoint):
        raise SettingsError("--dry-run estimates what a server would cost; a folder of weights costs nothing")
    tell_estimate([request for _, request in client.plan(prompts, n, sampling)], kept, client)


def tell_estimate(requests: list[Any], kept: Path, asker: Any, *, reasks: int = 0) -> None:
    """What these requests would cost at most, less those that the store `kept` has, beside the asker's budget."""
    from burnish.llm.requests import Budget, Store, estimate
    from burnish.llm.requests.books import spent_in

    if kept.exists():
        with Store(kept) as store:
            told = estimate(requests, store, reasks=reasks)
    else:
        told = estimate(requests, reasks=reasks)
    print(f"{told.requests:,} requests ({told.reused:,} are kept already), {told.costs()}")
    if above := told.above(getattr(asker, "budget", None) or Budget(), spent_in(kept)):
        print(above)
