"""Requests to a toy model, and limits short enough for tests."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from burnish.llm.requests import Endpoint, Limits, Reply, Request, Store, ask_all, run
from burnish.records import Message, Sampling
from tests.llm.requests.server import Server

QUICK = Limits(connect=2.0, silence=1.0, total=2.0, tries=3, backoff=0.01, patience=1.5, first=0.5)


def endpoint_of(*servers: Server | str, **settings: Any) -> Endpoint:
    urls = [server if isinstance(server, str) else server.url for server in servers]
    return Endpoint.parse(",".join(urls) + "#toy", **{"limits": QUICK, **settings})


def question(text: str = "hello", **more: Any) -> Request:
    sampling = Sampling(**{"temperature": 1.0, "max_new_tokens": 8, **more.pop("drawn", {})})
    return Request(
        **{"model": "openai:toy", "sampling": sampling, "messages": (Message(role="user", content=text),), **more}
    )


def ask(requests: Iterable[Request], asker: Any, path: Path | None = None, **more: Any) -> list[tuple[Request, Reply]]:
    """All pairs; those that came before an error are lost here, but not in the store."""

    async def gather() -> list[tuple[Request, Reply]]:
        store = Store(path) if path is not None else None
        try:
            return [pair async for pair in ask_all(requests, asker, store=store, **more)]
        finally:
            if store is not None:
                store.close()

    return run(gather())


def ask_one(request: Request, asker: Any, path: Path | None = None) -> Reply:
    return ask([request], asker, path)[0][1]


@pytest.fixture(autouse=True)
def _no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BURNISH_API_KEY", "OPENAI_API_KEY", "BURNISH_PRICES"):
        monkeypatch.delenv(name, raising=False)
