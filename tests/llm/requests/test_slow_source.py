"""Requests may come from a source that waits for replies; an error must not wait for it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import pytest

from burnish.errors import WorkerError
from burnish.llm.requests import Reply, Request, ask_all
from tests.llm.requests.conftest import question


class Unwilling:
    identity = "toy"

    async def ask(self, request: Request) -> Reply:
        raise WorkerError("no such model")


def test_an_error_does_not_wait_for_a_source_that_has_nothing_to_say() -> None:
    closed = []

    async def source() -> AsyncIterator[Request]:
        try:
            yield question()
            await asyncio.sleep(60)
        finally:
            closed.append(True)

    async def go() -> None:
        async for _ in ask_all(source(), Unwilling()):
            pass

    began = time.monotonic()
    with pytest.raises(WorkerError, match="no such model"):
        asyncio.run(go())
    assert time.monotonic() - began < 5 and closed
