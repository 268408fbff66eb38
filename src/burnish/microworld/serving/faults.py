"""What goes wrong at a server, how often and when: drawn by seed, and counted."""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from random import Random
from typing import Any

from burnish.errors import SettingsError

# name -> what the client sees. The share of each is a field of `Faults`.
KINDS: Mapping[str, str] = {
    "rate_limited": "429, with Retry-After where `retry_after` is set",
    "server_error": "500 with an error in JSON",
    "unavailable": "503, with Retry-After where `retry_after` is set",
    "hang": "nothing at all, until the client leaves or `hang_seconds` pass",
    "cut": "the connection ends in the middle of the reply",
    "html": "502 with a proxy's page",
    "not_json": "200 with a body that is no JSON",
    "broken_unicode": "200 with bytes that are no UTF-8",
    "huge": "200 with a body of `huge_bytes`",
    "endless": "200 with a body that never ends",
    "slow": "the right reply, its first byte `slow_seconds` late",
    "malformed": "200, but the JSON that the model was asked for does not parse",
    "wrong_schema": "200, but the JSON that the model was asked for breaks its schema",
}
OF_CONTENT = ("malformed", "wrong_schema")  # these spoil a JSON answer and leave any other text alone
SHAPES = ("constant", "uniform", "exponential", "lognormal")


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """How long a reply takes.

    Args:
        mean: seconds.
        shape: one of `SHAPES`; the mean is the same for all.
        spread: half the width of `uniform` as a share of the mean; sigma of the logarithm of `lognormal`.
        per_token: seconds more for each token of the reply.
    """

    mean: float = 0.0
    shape: str = "constant"
    spread: float = 0.5
    per_token: float = 0.0

    def __post_init__(self) -> None:
        if self.shape not in SHAPES:
            raise SettingsError(f"there is no latency shape {self.shape!r}; choose one of {', '.join(SHAPES)}")
        if min(self.mean, self.spread, self.per_token) < 0:
            raise SettingsError("a latency cannot be negative")

    def seconds(self, rng: Random, tokens: int) -> float:
        drawn = self.mean
        if self.shape == "uniform":
            drawn *= 1 + self.spread * (2 * rng.random() - 1)
        elif self.shape == "exponential":
            drawn *= rng.expovariate(1.0)
        elif self.shape == "lognormal":
            drawn *= math.exp(self.spread * rng.gauss(0, 1) - self.spread**2 / 2)
        return max(0.0, drawn) + self.per_token * tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """The share of requests that meet each fault (see `KINDS`), and how the faults behave. All shares 0: none.

    Args:
        seed: with the request's bytes and how often they came before, decides what a request meets. The order of
            arrival plays no part, so a test meets the same faults at any concurrency.
        capacity: requests of one model that are worked on at once; one more is refused with 429 at once. 0: no limit.
        capacities: for models that differ from `capacity`.
        later: (second, capacity) pairs: from that second of the server's life the capacity is another.
        retry_after: seconds of the header Retry-After with 429 and 503; None sends none.
        hang_seconds, slow_seconds, huge_bytes: how long `hang` and `slow` wait, how large `huge` is.
    """

    rate_limited: float = 0.0
    server_error: float = 0.0
    unavailable: float = 0.0
    hang: float = 0.0
    cut: float = 0.0
    html: float = 0.0
    not_json: float = 0.0
    broken_unicode: float = 0.0
    huge: float = 0.0
    endless: float = 0.0
    slow: float = 0.0
    malformed: float = 0.0
    wrong_schema: float = 0.0
    seed: int = 0
    capacity: int = 0
    capacities: Mapping[str, int] = field(default_factory=dict)
    later: tuple[tuple[float, int], ...] = ()
    retry_after: float | None = None
    hang_seconds: float = 600.0
    slow_seconds: float = 2.0
    huge_bytes: int = 100_000_000

    def __post_init__(self) -> None:
        shares = [getattr(self, kind) for kind in KINDS]
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise SettingsError("the shares of the faults must be between 0 and 1 and sum to at most 1")

    def changed(self, settings: Mapping[str, Any]) -> Faults:
        """The same with other values.

        Raises:
            SettingsError: a name or value is wrong.
        """
        known = [item.name for item in fields(self)]
        for name in settings:
            if name not in known:
                raise SettingsError(f"there is no fault setting {name!r}; there are {', '.join(known)}")
        try:
            return replace(self, **settings)
        except TypeError as error:
            raise SettingsError(f"a fault setting has a value of the wrong kind: {error}") from None

    def capacity_at(self, model: str, second: float) -> int:
        """The capacity of a model at a second of the server's life; 0 for none."""
        limit = self.capacity
        for begins, value in sorted(self.later):
            if second >= begins:
                limit = value
        return self.capacities.get(model, limit)


@dataclass(slots=True)
class Ledger:
    """What became of every request: each is counted once, under one outcome.

    `answered`, `refused` (a request that is wrong: 400, 401, 404), `over_capacity`, `left` (the client went away
    before its reply had ended), or a fault of `KINDS`. `timeline` has a row a second of the server's life.
    """

    outcomes: Counter[str] = field(default_factory=Counter)
    in_flight: Counter[str] = field(default_factory=Counter)
    peak: dict[str, int] = field(default_factory=dict)
    timeline: dict[int, Counter[str]] = field(default_factory=dict)
    known: int = 0
    unknown: int = 0
    tokens: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def age(self) -> float:
        return time.monotonic() - self.began

    def enter(self, model: str) -> int:
        """A request is worked on; how many of its model are."""
        self.in_flight[model] += 1
        now = self.in_flight[model]
        self.peak[model] = max(now, self.peak.get(model, 0))
        return now

    def leave(self, model: str) -> None:
        self.in_flight[model] -= 1

    def count(self, outcome: str, model: str) -> None:
        self.outcomes[outcome] += 1
        row = self.timeline.setdefault(int(self.age), Counter())
        row["rejected" if outcome in ("over_capacity", "rate_limited") else "ended"] += 1
        row["most"] = max(row["most"], self.in_flight[model])

    def plain(self) -> dict[str, Any]:
        """JSON-ready; the outcomes sum to `requests`."""
        return {
            "requests": sum(self.outcomes.values()),
            "outcomes": dict(sorted(self.outcomes.items())),
            "in_flight": {model: number for model, number in self.in_flight.items() if number},
            "peak": dict(self.peak),
            "prompts": {"known": self.known, "unknown": self.unknown},
            "completion_tokens": self.tokens,
            "seconds": round(self.age, 3),
            "timeline": [{"second": second, **row} for second, row in sorted(self.timeline.items())],
        }


@dataclass(slots=True)
class Fate:
    """What one request meets, and its source of random numbers for whatever else is drawn for it."""

    fault: str
    rng: Random


class Injector:
    """Decides the fate of each request; keeps how often the same bytes came."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._came: Counter[bytes] = Counter()

    def fate(self, body: bytes) -> Fate:
        digest = hashlib.blake2b(body, digest_size=12).digest()
        self._came[digest] += 1
        rng = Random(f"burnish/faults/{self.faults.seed}/{digest.hex()}/{self._came[digest]}")
        left = rng.random()
        for kind in KINDS:
            left -= getattr(self.faults, kind)
            if left < 0:
                return Fate(kind, rng)
        return Fate("", rng)


def spoiled(text: str, fault: str, rng: Random) -> str:
    """A JSON answer made malformed or wrong by its schema; any other text comes back as it is."""
    if not text.lstrip().startswith(("{", "[")):
        return text
    if fault == "wrong_schema":
        return rng.choice(('{"surprise": "this is not what was asked for"}', "[]", "null", '"a bare string"'))
    half = text[: max(1, len(text) // 2)]
    return rng.choice((half, text + "}", text.replace(":", "", 1), "Sure, here it is: " + half, text.rstrip("}] ")))
