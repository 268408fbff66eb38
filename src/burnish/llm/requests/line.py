"""A live line to an endpoint: connections, replicas, retries, and what the servers turned out to be able to do.

Retries live here, in the scheduler, never in the transport: a 429 slows the pace and is no try; a cut connection, a
status 500 or a body that is no reply is one; a server that cannot be reached costs the request nothing.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

import aiohttp
from yarl import URL

from burnish.errors import WorkerError
from burnish.llm.requests import faults
from burnish.llm.requests.faults import Fault
from burnish.llm.requests.pace import Pace, Pacing
from burnish.llm.requests.replicas import Lane, Replicas
from burnish.llm.requests.request import Reply, Request
from burnish.llm.requests.wire import Features, Malformed, decode, encode, load

if TYPE_CHECKING:
    from burnish.llm.requests.endpoint import Endpoint

# One pace for a model at a server, whoever asks: a teacher and a judge may be the same.
_PACES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, Pacing], Pace]] = WeakKeyDictionary()


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


class _TooLong(Exception):
    pass


class Line:
    """An endpoint in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.limits = endpoint.limits
        self.features = Features(logprobs=endpoint.logprobs, token_ids=endpoint.token_ids)
        paces = _PACES.setdefault(asyncio.get_running_loop(), {})
        lanes = [
            Lane(url, paces.setdefault((url, endpoint.model, endpoint.pacing), Pace(endpoint.pacing)))
            for url in endpoint.urls
        ]
        self.replicas = Replicas(f"{endpoint.model} at {', '.join(endpoint.urls)}", lanes, endpoint.limits.patience)
        self.users = 0
        self._session: aiohttp.ClientSession | None = None
        self._checked: asyncio.Task[None] | None = None
        self._good = False
        self._urls = {
            (url, route): URL(url + route) for url in endpoint.urls for route in ("/chat/completions", "/completions")
        }
        self._keys = [key for url in endpoint.urls if (key := key_for(url))]

    async def leave(self) -> None:
        """One user less; the last one closes the connections."""
        self.users -= 1
        if self.users <= 0 and self._session is not None:
            session, self._session = self._session, None
            await session.close()

    async def ask(self, request: Request) -> Reply:
        """See `Endpoint.ask`."""
        if not self._good:
            await self._ready()
        state = self.features.state()
        route, body = encode(request, self.endpoint.model, self.features)
        tries = waits = sent = 0
        while True:
            lane = await self.replicas.choose()
            sent += 1
            reply, fault = await self._attempt(lane, route, body, request)
            if reply is not None:
                if sent > 1:
                    object.__setattr__(reply, "attempts", sent)
                return reply
            if fault.kind == faults.REFUSED and self.features.step_down(request, fault.reason, state):
                state = self.features.state()
                route, body = encode(request, self.endpoint.model, self.features)
                continue
            if fault.kind == faults.REFUSED:
                self.replicas.answered(lane)
                return Reply(failure=fault.reason, finish="failure", attempts=sent)
            if fault.kind == faults.STOP:
                raise WorkerError(await self._why(lane, fault))
            self.replicas.troubled(fault.reason)
            if fault.kind == faults.PASSING:
                tries += 1
                if tries >= self.limits.tries:
                    failure = f"no answer after {tries} tries: {fault.reason}"
                    return Reply(failure=failure, finish="failure", attempts=sent, passing=True)
            if fault.wait and len(self.replicas.lanes) == 1:
                continue  # its pace lets nothing through before
            waits = min(waits + 1, 6)
            if fault.status or fault.kind == faults.PASSING:
                await asyncio.sleep(self.limits.backoff * 2 ** (waits - 1) * random.uniform(0.5, 1.0))

    async def _attempt(self, lane: Lane, route: str, body: bytes, request: Request) -> tuple[Reply | None, Fault]:
        """Send once, at the lane's pace, and tell the pace and the replicas how it went."""
        pace = lane.pace
        epoch = await pace.enter()
        began = time.perf_counter()
        fault = _CUT
        try:
            status, retry_after, data = await self._send(lane, route, body)
            if status == 200:
                reply = decode(data, request, time.perf_counter() - began)
                pace.leave(epoch, seconds=reply.seconds, tokens=reply.usage.completion)
                self.replicas.answered(lane)
                return reply, fault
            fault = faults.of_status(status, retry_after, data)
            lane.alive()
            if fault.kind == faults.BUSY:
                pace.refuse(epoch, fault.wait)
            else:
                pace.drop()
        except Malformed as error:
            pace.drop()
            lane.alive()
            fault = Fault(faults.PASSING, f"{lane.url} sent {error}")
        except _TooLong:
            pace.drop()
            fault = Fault(faults.REFUSED, f"a reply of more than {self.limits.reply_bytes / 2**20:g} MiB")
        except TimeoutError as error:
            fault = self._late(lane, epoch, error)
        except aiohttp.ClientConnectorError as error:
            pace.drop()
            lane.dead(time.monotonic())
            fault = Fault(faults.BUSY, f"{lane.url} cannot be reached: {error.os_error.strerror or error}")
        except (aiohttp.ClientError, OSError) as error:
            pace.drop()
            fault = Fault(faults.PASSING, f"the connection to {lane.url} broke: {str(error) or type(error).__name__}")
        except BaseException:
            pace.drop()
            raise
        finally:
            if lane.trying and lane.rest:
                lane.trying = False
        return None, self._without_keys(fault)

    def _late(self, lane: Lane, epoch: int, error: TimeoutError) -> Fault:
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            lane.pace.drop()
            lane.dead(time.monotonic())
            return Fault(faults.BUSY, f"no connection to {lane.url} within {self.limits.connect:g} s")
        lane.pace.refuse(epoch)
        if isinstance(error, aiohttp.SocketTimeoutError):
            return Fault(faults.PASSING, f"{lane.url} was silent for {self.limits.silence:g} s")
        return Fault(faults.PASSING, f"no whole reply from {lane.url} within {self.limits.total:g} s")

    def _without_keys(self, fault: Fault) -> Fault:
        """Servers repeat what they were sent; a key must not get into the store."""
        if not any(key in fault.reason for key in self._keys):
            return fault
        reason = fault.reason
        for key in self._keys:
            reason = reason.replace(key, "***")
        return Fault(fault.kind, reason, fault.wait, fault.status)

    async def _send(self, lane: Lane, route: str, body: bytes) -> tuple[int, str | None, bytes | bytearray]:
        session = self._session or self._open()
        headers = _headers(lane.url)
        async with session.post(
            self._urls[lane.url, route], data=body, headers=headers, allow_redirects=False
        ) as response:
            data = await _body(response, self.limits.reply_bytes)
            status = response.status
            return status, None if status == 200 else response.headers.get("Retry-After"), data

    def _open(self) -> aiohttp.ClientSession:
        limits = self.limits
        timeout = aiohttp.ClientTimeout(
            total=limits.total, sock_connect=limits.connect, connect=None, sock_read=limits.silence
        )
        proxies = any(os.environ.get(name) for name in ("HTTPS_PROXY", "https_proxy"))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=300),
            timeout=timeout,
            cookie_jar=aiohttp.DummyCookieJar(),
            # Asking the environment costs as much as a small request, so only where a proxy may be meant.
            trust_env=proxies and any(url.startswith("https") for url in self.endpoint.urls),
        )
        return self._session

    async def _ready(self) -> None:
        """Look at the servers' lists of models before the first request."""
        if self._checked is None:
            self._checked = asyncio.create_task(self._check())
        await asyncio.shield(self._checked)
        self._good = True

    async def _check(self) -> None:
        limit = time.monotonic() + min(self.limits.first, self.limits.patience)
        rest = 0.1
        while True:
            reasons = [await self._look(lane) for lane in self.replicas.lanes]
            if not all(reasons):
                return
            if time.monotonic() > limit:
                raise WorkerError(
                    f"cannot reach {'; '.join(reasons)}. Is the server running, and the address right? It looks like "
                    "http://host:8000/v1#model"
                )
            await asyncio.sleep(rest)
            rest = min(2 * rest, 2.0)

    async def _look(self, lane: Lane) -> str:
        """Why a server cannot be reached, empty when it can.

        Raises:
            WorkerError: it can, and nothing can be asked of it.
        """
        session = self._session or self._open()
        try:
            async with session.get(URL(lane.url + "/models"), headers=_headers(lane.url), allow_redirects=False) as got:
                data = await _body(got, self.limits.reply_bytes)
                status = got.status
        except (aiohttp.ClientError, OSError, _TooLong) as error:
            lane.dead(time.monotonic())
            reason = getattr(getattr(error, "os_error", None), "strerror", None) or str(error) or type(error).__name__
            return f"{lane.url} ({reason})"
        lane.alive()
        if status in (401, 402, 403) or 300 <= status < 400:
            fault = self._without_keys(faults.of_status(status, None, data))
            raise WorkerError(_advice(self.endpoint.model, lane.url, fault, []))
        if status == 200:
            try:
                names = _names(load(data))
            except Malformed as error:
                raise WorkerError(
                    f"{lane.url}/models is {error}; is the address right, and no proxy between?"
                ) from None
            if names and self.endpoint.model not in names:
                fault = Fault(faults.STOP, "", status=404)
                raise WorkerError(_advice(self.endpoint.model, lane.url, fault, names))
        return ""

    async def _why(self, lane: Lane, fault: Fault) -> str:
        """A fault that ends everything, in a sentence with its remedy."""
        names: list[str] = []
        if fault.status == 404:
            try:
                session = self._session or self._open()
                async with session.get(URL(lane.url + "/models"), headers=_headers(lane.url)) as got:
                    names = _names(load(await _body(got, self.limits.reply_bytes)))
            except (aiohttp.ClientError, OSError, Malformed, _TooLong):
                names = []
        return _advice(self.endpoint.model, lane.url, fault, names)


_CUT = Fault(faults.PASSING, "")


async def _body(response: aiohttp.ClientResponse, most: int) -> bytes | bytearray:
    """The whole body, however long it claims to be, up to a limit.

    Raises:
        _TooLong: it is longer; the connection is closed.
    """
    content = response.content
    data: bytes | bytearray = await content.readany()
    if not content.at_eof():
        data = bytearray(data)
        while chunk := await content.readany():
            data += chunk
            if len(data) > most:
                break
    if len(data) > most:
        response.close()
        raise _TooLong
    return data


def key_for(url: str) -> str:
    """The key that goes to a server, from the environment; OpenAI's own goes nowhere else."""
    host = urlsplit(url).hostname or ""
    openai = host == "openai.com" or host.endswith(".openai.com")
    return os.environ.get("BURNISH_API_KEY") or (os.environ.get("OPENAI_API_KEY", "") if openai else "")


_PLAIN = {"Content-Type": "application/json"}


def _headers(url: str) -> dict[str, str]:
    key = key_for(url)
    return {**_PLAIN, "Authorization": f"Bearer {key}"} if key else _PLAIN


def _names(found: object) -> list[str]:
    rows = found.get("data") if isinstance(found, dict) else None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row] if isinstance(rows, list) else []


def _advice(model: str, url: str, fault: Fault, names: list[str]) -> str:
    told = f" ({fault.reason})" if fault.reason else ""
    if fault.status in (401, 403):
        held = "is not the right one" if key_for(url) else "is missing"
        return f"{url} wants a key, and the one in BURNISH_API_KEY {held}{told}; set it in the environment"
    if fault.status in (402, 429):
        return f"{url} has no money or quota left for this key{told}; every reply that came is kept"
    if 300 <= fault.status < 400:
        return f"{url} sends requests on elsewhere{told}; give the address it ends at"
    if names:
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return f"{url} has no model {model!r}; it has {', '.join(names[:20])}{more}{told}"
    return f"{url} does not know the route or the model {model!r}{told}; the address mostly ends in /v1"
