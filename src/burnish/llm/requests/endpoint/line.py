"""A live line to an endpoint: connections, replicas, retries, and what the servers turned out to be able to do.

Retries live here, in the scheduler, never in the transport: a 429 slows the pace and is no try; a cut connection, a
status 500 or a body that is no reply is one; a server that cannot be reached costs the request nothing.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import aiohttp

from burnish.errors import SettingsError, WorkerError
from burnish.llm.requests.endpoint import faults
from burnish.llm.requests.endpoint.faults import Fault
from burnish.llm.requests.endpoint.opening import look, why
from burnish.llm.requests.endpoint.pace import MovedError, Pace, Pacing
from burnish.llm.requests.endpoint.replicas import Lane, Replicas
from burnish.llm.requests.endpoint.transport import LateError, TooLongError, Transport
from burnish.llm.requests.endpoint.wire import Features, Malformed, decode, encode
from burnish.llm.requests.request import Reply, Request

if TYPE_CHECKING:
    from burnish.llm.requests.endpoint.client import Endpoint

# One pace for a model at a server, whoever asks: a teacher and a judge may be the same.
_PACES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, str, Pacing], Pace]] = WeakKeyDictionary()

# What a pace learnt in an event loop that is gone: the next step of a run need not find it out again.
_LAST: dict[tuple[str, str], tuple[float, float | None]] = {}


class Line:
    """An endpoint in one event loop."""

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.identity = endpoint.identity
        self.limits = endpoint.limits
        self.features = Features(logprobs=endpoint.logprobs, token_ids=endpoint.token_ids)
        paces = _PACES.setdefault(asyncio.get_running_loop(), {})
        lanes = []
        for url in endpoint.urls:
            name = (url, endpoint.model, endpoint.pacing)
            if name not in paces:
                paces[name] = Pace(endpoint.pacing)
                paces[name].resume(*_LAST.get(name[:2], (0.0, None)))
            lanes.append(Lane(url, paces[name]))
        self.replicas = Replicas(f"{endpoint.model} at {', '.join(endpoint.urls)}", lanes, endpoint.limits.patience)
        self.transport = Transport(endpoint.urls, endpoint.limits)
        self.users = 0
        self._looked: asyncio.Task[None] | None = None
        self._good = False

    async def leave(self) -> None:
        """One user less; the last one closes the connections."""
        self.users -= 1
        if self.users <= 0:
            self._looked = None
            for lane in self.replicas.lanes:
                _LAST[lane.url, self.endpoint.model] = lane.pace.learnt()
            await self.transport.close()

    async def ask(self, request: Request) -> Reply:
        """See `Endpoint.ask`."""
        if request.model != self.identity:
            raise SettingsError(
                f"a request to {request.model!r} was put to {self.identity!r}, and would be kept under the wrong name; "
                "make it with model=endpoint.identity"
            )
        if not self._good:
            await self.ready()
        features, written, route, body = self.features, -1, "", b""
        tries = waits = sent = 0
        while True:
            lane = await self.replicas.choose()
            try:
                epoch = await lane.pace.enter()
            except MovedError:
                lane.trying = False
                continue
            except BaseException:
                lane.trying = False
                raise
            if written != features.version:
                written = features.version
                route, body = encode(request, self.endpoint.model, features)
            sent += 1
            reply, fault = await self._attempt(lane, epoch, route, body, request)
            if reply is not None:
                if sent > 1:
                    object.__setattr__(reply, "attempts", sent)
                return reply
            if fault.kind == faults.REFUSED:
                if features.step_down(request, fault.reason, written):
                    continue
                self.replicas.refused(lane, fault.reason)
                return Reply(failure=fault.reason, finish="failure", attempts=sent)
            if fault.kind == faults.STOP:
                raise WorkerError(await why(self.transport, lane.url, self.endpoint.model, fault))
            if fault.kind == faults.PASSING:
                tries += 1
                if tries >= self.limits.tries:
                    failure = f"no answer after {tries} tries: {fault.reason}"
                    return Reply(failure=failure, finish="failure", attempts=sent, passing=True)
            self.replicas.troubled(fault.reason)
            if fault.kind == faults.BUSY and len(self.replicas.lanes) > 1 and (fault.wait or not fault.status):
                lane.pace.move()
            if fault.wait and len(self.replicas.lanes) == 1:
                continue  # its pace lets nothing through before
            waits = min(waits + 1, 6)
            if fault.status or fault.kind == faults.PASSING:
                await asyncio.sleep(self.limits.backoff * 2 ** (waits - 1) * random.uniform(0.5, 1.0))

    async def _attempt(
        self, lane: Lane, epoch: int, route: str, body: bytes, request: Request
    ) -> tuple[Reply | None, Fault]:
        """Send once, in a place that the lane's pace gave, and tell the pace and the replicas how it went."""
        pace = lane.pace
        began, answered = time.perf_counter(), pace.answered
        try:
            status, retry_after, data = await self.transport.post(lane.url, route, body)
            if status == 200:
                reply = decode(data, request, time.perf_counter() - began)
                pace.leave(epoch, seconds=reply.seconds, tokens=reply.usage.completion)
                self.replicas.answered(lane)
                return reply, _NONE
        except Malformed as error:
            pace.drop()
            lane.alive()
            return None, Fault(faults.PASSING, f"{lane.url} sent {error}")
        except LateError as error:
            pace.late(epoch, answered)
            return None, Fault(faults.PASSING, f"{lane.url} {error}")
        except TooLongError:
            pace.drop()
            return None, Fault(faults.REFUSED, f"a reply of more than {self.limits.reply_bytes / 2**20:g} MiB")
        except (aiohttp.ClientError, OSError) as error:
            pace.drop()
            return None, self._broken(lane, error)
        except BaseException:
            pace.drop()
            raise
        finally:
            lane.trying = False
        fault = faults.of_status(status, retry_after, data, self.transport.keys)
        lane.alive()
        if fault.kind == faults.BUSY:
            pace.refuse(epoch, fault.wait)
        else:
            pace.drop()
        return None, fault

    def _broken(self, lane: Lane, error: Exception) -> Fault:
        """No connection costs the request no try; a broken one does, as the request may be what breaks it."""
        if isinstance(error, (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError)):
            lane.dead(time.monotonic())
            reason = getattr(getattr(error, "os_error", None), "strerror", None) or str(error)
            return Fault(faults.BUSY, f"{lane.url} cannot be reached: {reason}")
        return Fault(faults.PASSING, f"the connection to {lane.url} broke: {str(error) or type(error).__name__}")

    async def ready(self) -> None:
        """Look at the servers before the first request, once for all who ask."""
        if self._looked is None:
            self._looked = asyncio.create_task(look(self.transport, self.replicas.lanes, self.endpoint.model))
        await asyncio.shield(self._looked)
        self._good, self._looked = True, None  # a finished task would keep the event loop alive


_NONE = Fault(faults.PASSING, "")
