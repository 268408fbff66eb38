"""HTTP to the servers of an endpoint: connections, keys, timeouts, bounded bodies. Knows nothing of tries."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiohttp
from yarl import URL

Body = bytes | bytearray
_JSON = {"Content-Type": "application/json"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on a request, in seconds and bytes.

    Args:
        connect: to a connection.
        silence: without a byte, before the first and between two.
        total: from sending to the last byte.
        reply_bytes: a longer body is given up.
        tries: how often a request is sent that fails in passing; refusals for load are none.
        backoff: before the second try, doubled for each further one.
        patience: without any answer, after which asking ends.
        first: the same before the first answer of all, as a wrong address should be told soon.
    """

    connect: float = 10.0
    silence: float = 300.0
    total: float = 900.0
    reply_bytes: int = 32 * 2**20
    tries: int = 6
    backoff: float = 0.5
    patience: float = 600.0
    first: float = 15.0


class TooLongError(Exception):
    """A body over the limit."""


class LateError(Exception):
    """No byte, or no last byte, in time; the message says which."""


class _Watch:
    """One request that the clock is kept on."""

    __slots__ = ("began", "heard", "late", "task")

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.task = task
        self.began = self.heard = time.monotonic()
        self.late = ""


class Transport:
    """Connections of one endpoint in one event loop.

    One task looks at all requests a few times a second, as timers for each cost more than all the book-keeping.
    """

    def __init__(self, urls: Sequence[str], limits: Limits) -> None:
        self.limits = limits
        self.keys = [key for url in urls if (key := key_for(url))]
        self._headers = {
            url: {**_JSON, "Authorization": f"Bearer {key_for(url)}"} if key_for(url) else _JSON for url in urls
        }
        self._urls = {
            (url, route): URL(url + route) for url in urls for route in ("/chat/completions", "/completions", "/models")
        }
        self._session: aiohttp.ClientSession | None = None
        self._watched: set[_Watch] = set()
        self._watchman: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Close the connections; the next request opens new ones."""
        session, self._session = self._session, None
        if self._watchman is not None:
            self._watchman.cancel()
            self._watchman = None
        if session is not None:
            await session.close()

    async def post(self, url: str, route: str, body: bytes) -> tuple[int, str | None, Body]:
        """(status, Retry-After, body).

        Raises:
            TooLongError, LateError: see `Limits`.
            aiohttp.ClientError, OSError: the connection was not made, or broke.
        """
        session = self._session or self._open()
        task = asyncio.current_task()
        assert task is not None
        watch = _Watch(task)
        self._watched.add(watch)
        try:
            async with session.post(
                self._urls[url, route], data=body, headers=self._headers[url], allow_redirects=False
            ) as response:
                data = await _read(response, self.limits.reply_bytes, watch)
                status = response.status
                return status, None if status == 200 else response.headers.get("Retry-After"), data
        except asyncio.CancelledError:
            if watch.late and task.uncancel() == 0:
                raise LateError(watch.late) from None
            raise
        finally:
            self._watched.discard(watch)

    async def models(self, url: str) -> tuple[int, Body]:
        """(status, body) of the server's list of models; raises as `post` does, and TimeoutError."""
        session = self._session or self._open()
        timeout = aiohttp.ClientTimeout(total=3 * self.limits.connect, sock_connect=self.limits.connect)
        headers = self._headers[url]
        async with session.get(
            self._urls[url, "/models"], headers=headers, allow_redirects=False, timeout=timeout
        ) as got:
            return got.status, await _read(got, self.limits.reply_bytes)

    def _open(self) -> aiohttp.ClientSession:
        urls = [url for url, _ in self._urls]
        proxies = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy"))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.limits.connect),
            cookie_jar=aiohttp.DummyCookieJar(),
            # Asking the environment costs as much as a small request, so only where a proxy may be meant.
            trust_env=proxies and any(url.startswith("https") for url in urls),
        )
        self._watchman = asyncio.create_task(self._keep_watch())
        return self._session

    async def _keep_watch(self) -> None:
        silence, total = self.limits.silence, self.limits.total
        while True:
            await asyncio.sleep(min(1.0, silence / 8, total / 8))
            now = time.monotonic()
            for watch in self._watched:
                if watch.late:
                    continue
                if now - watch.began > total:
                    watch.late = f"gave no whole reply within {total:g} s"
                elif now - watch.heard > silence:
                    watch.late = f"was silent for {silence:g} s"
                else:
                    continue
                watch.task.cancel()


async def _read(response: aiohttp.ClientResponse, most: int, watch: _Watch | None = None) -> Body:
    """The whole body, whatever its length is said to be, up to a limit."""
    content = response.content
    data: Body = await content.readany()
    if not content.at_eof():
        data = bytearray(data)
        while len(data) <= most and (chunk := await content.readany()):
            data += chunk
            if watch is not None:
                watch.heard = time.monotonic()
    if len(data) > most:
        response.close()
        raise TooLongError
    return data


def key_for(url: str) -> str:
    """The key that goes to a server, from the environment; OpenAI's own goes nowhere else."""
    host = urlsplit(url).hostname or ""
    openai = host == "openai.com" or host.endswith(".openai.com")
    return os.environ.get("BURNISH_API_KEY") or (os.environ.get("OPENAI_API_KEY", "") if openai else "")
