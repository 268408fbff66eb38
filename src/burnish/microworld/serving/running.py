"""Runs the server: in the foreground until Ctrl-C, or in a thread beside a test."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import Any

from aiohttp import web

from burnish.errors import RunError
from burnish.microworld.serving.server import OracleServer

_FAREWELL = 0.2  # seconds that replies under way are given when the server ends
_START = 30.0  # seconds in which a thread must have opened its port


async def serve(
    server: OracleServer, *, host: str, port: int, ready: Callable[[str], None], stop: asyncio.Event
) -> None:
    """Serves until `stop`; calls `ready` with the base URL (`http://host:port/v1`) once requests are taken.

    Raises:
        RunError: the port is taken, or the host is none of this machine's.
    """
    runner = web.AppRunner(server.app(), access_log=None, handler_cancellation=True, shutdown_timeout=_FAREWELL)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, backlog=2048)
        try:
            await site.start()
        except OSError as error:
            raise RunError(
                f"cannot listen on {host}:{port}: {error.strerror or error}; choose another --port"
            ) from None
        chosen = runner.addresses[0][1]
        ready(f"http://{f'[{host}]' if ':' in host else host}:{chosen}/v1")
        await stop.wait()
    finally:
        await runner.cleanup()


def serve_forever(server: OracleServer, *, host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves in this thread until it is interrupted."""

    async def run() -> None:
        await serve(server, host=host, port=port, ready=ready, stop=asyncio.Event())

    asyncio.run(run())


@contextlib.contextmanager
def oracle_server(*, host: str = "127.0.0.1", port: int = 0, **settings: Any) -> Iterator[str]:
    """A server in a thread of this process: `with oracle_server(faults=Faults(cut=0.1)) as url`.

    `settings` are the arguments of `OracleServer`. The URL ends in /v1; its books are at `url + "/faults"`. The
    thread shares the interpreter with the test; measure speed against `burnish serve-oracle` in a process of its own.

    Raises:
        RunError: the port is taken.
    """
    server, opened = OracleServer(**settings), threading.Event()
    found: dict[str, Any] = {}

    def ready(url: str) -> None:
        found["url"] = url
        opened.set()

    async def run() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await serve(server, host=host, port=port, ready=ready, stop=found["stop"])

    def work() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            found["error"] = error
        finally:
            opened.set()

    thread = threading.Thread(target=work, name="oracle-server", daemon=True)
    thread.start()
    opened.wait(_START)
    if "url" not in found:
        raise found.get("error") or RunError("the oracle server did not start")
    try:
        yield found["url"]
    finally:
        with contextlib.suppress(RuntimeError):  # the loop has ended of itself
            found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(_START)
