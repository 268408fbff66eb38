"""The first look at a server: is it there, is the address right, does it have the model."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import aiohttp

from burnish.errors import WorkerError
from burnish.llm.requests.endpoint import faults
from burnish.llm.requests.endpoint.faults import Fault
from burnish.llm.requests.endpoint.replicas import Lane
from burnish.llm.requests.endpoint.transport import TooLongError, Transport, key_for
from burnish.llm.requests.endpoint.wire import Malformed, load


async def look(transport: Transport, lanes: Sequence[Lane], model: str) -> None:
    """Wait until a server answers.

    Raises:
        WorkerError: none does within `Limits.first` seconds, or one that answers cannot be asked for this model.
    """
    limits = transport.limits
    end = time.monotonic() + min(limits.first, limits.patience)
    rest = 0.1
    while True:
        reasons = await asyncio.gather(*(_look(transport, lane, model) for lane in lanes))
        if not all(reasons):
            return
        if time.monotonic() > end:
            raise WorkerError(
                f"cannot reach {'; '.join(reasons)}. Is the server running, and the address right? It looks like "
                "http://host:8000/v1#model"
            )
        await asyncio.sleep(rest)
        rest = min(2 * rest, 2.0)


async def _look(transport: Transport, lane: Lane, model: str) -> str:
    """Why a server cannot be reached, empty when it can."""
    try:
        status, data = await transport.models(lane.url)
    except (aiohttp.ClientError, OSError, TooLongError) as error:
        lane.dead(time.monotonic())
        reason = getattr(getattr(error, "os_error", None), "strerror", None) or str(error) or type(error).__name__
        return f"{lane.url} ({reason})"
    lane.alive()
    if status in (401, 402, 403) or 300 <= status < 400:
        raise WorkerError(advice(model, lane.url, faults.of_status(status, None, data, transport.keys), []))
    if status == 200:
        try:
            names = names_in(load(data))
        except Malformed as error:
            said = f"{lane.url}/models is {error}; is the address right (it mostly ends in /v1), and no proxy between?"
            raise WorkerError(said) from None
        if names and model not in names:
            raise WorkerError(advice(model, lane.url, Fault(faults.STOP, "", status=404), names))
    return ""


async def why(transport: Transport, url: str, model: str, fault: Fault) -> str:
    """A fault that ends everything, in a sentence with its remedy."""
    names: list[str] = []
    if fault.status == 404:
        try:
            names = names_in(load((await transport.models(url))[1]))
        except (aiohttp.ClientError, OSError, Malformed, TooLongError):
            names = []
    return advice(model, url, fault, names)


def names_in(found: object) -> list[str]:
    """The models of a list, empty where it is none."""
    rows = found.get("data") if isinstance(found, dict) else None
    return [str(row["id"]) for row in rows if isinstance(row, dict) and "id" in row] if isinstance(rows, list) else []


def advice(model: str, url: str, fault: Fault, names: list[str]) -> str:
    """What is wrong and what to do."""
    told = f" ({fault.reason})" if fault.reason else ""
    if fault.status in (401, 403):
        held = "is not the right one" if key_for(url) else "is missing"
        return f"{url} wants a key, and the one in BURNISH_API_KEY {held}{told}; set it in the environment"
    if fault.status in (402, 429):
        return f"{url} has no money or quota left for this key{told}; every reply that came is kept"
    if 300 <= fault.status < 400:
        return f"{url} sends requests on elsewhere{told}; give the address it ends at"
    if names and model not in names:
        more = f" and {len(names) - 20} more" if len(names) > 20 else ""
        return f"{url} has no model {model!r}; it has {', '.join(names[:20])}{more}{told}"
    return f"{url} does not know the route or the model {model!r}{told}; the address mostly ends in /v1"
