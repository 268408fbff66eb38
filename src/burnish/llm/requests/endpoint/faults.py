"""What a failed attempt means: wait, try again, give this request up, or stop altogether."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

import orjson

from burnish.llm.requests.endpoint.wire import Malformed, error_message, load

BUSY = "busy"  # the server asks for less: wait, and ask less at once; not counted as a try
PASSING = "passing"  # try again a few times
REFUSED = "refused"  # this request will never be answered
STOP = "stop"  # no request will

_BUSY = frozenset({429, 503, 529})
_STOP = frozenset({401, 402, 403, 404, 405})


@dataclass(frozen=True, slots=True)
class Fault:
    """Why an attempt failed. `wait` is the server's Retry-After in seconds, 0 where it gave none."""

    kind: str
    reason: str
    wait: float = 0.0
    status: int = 0


def of_status(status: int, retry_after: str | None, data: bytes | bytearray, keys: Sequence[str] = ()) -> Fault:
    """The meaning of a status that is not 200. Servers repeat what they were sent; a key must not get any further."""
    told = said(data)
    for key in keys:
        told = told.replace(key, "***")
    reason = f"status {status}: {told}" if told else f"status {status}"
    if status in _BUSY:
        kind = STOP if status == 429 and "insufficient_quota" in reason + _code(data) else BUSY
        return Fault(kind, reason, retry_seconds(retry_after), status)
    if status == 403 and any(word in told.lower() for word in ("moderation", "flagged", "content policy")):
        return Fault(REFUSED, reason, status=status)
    if status in _STOP or 300 <= status < 400:
        return Fault(STOP, reason, status=status)
    if status in (408, 409, 425) or status >= 500:
        return Fault(PASSING, reason, retry_seconds(retry_after), status)
    return Fault(REFUSED, reason, status=status)


def said(data: bytes | bytearray) -> str:
    """The error in a body, in at most 500 characters."""
    try:
        return error_message(load(data))[:500]
    except Malformed as error:
        return str(error)[:500] if data else ""


def _code(data: bytes | bytearray) -> str:
    try:
        found = orjson.loads(data)
        return str(found["error"].get("code") or found["error"].get("type"))
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError):
        return ""


def retry_seconds(header: str | None) -> float:
    """Seconds of a Retry-After header, which holds seconds or a date; 0 where it holds neither."""
    if not header:
        return 0.0
    try:
        return min(max(0.0, float(header)), 86_400.0)
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return 0.0
