"""How much to ask at once of one model at one server: additive increase, multiplicative decrease.

    slow start      one more for every answer, until the server first asks for less
    one cut         a burst of refusals is one event: requests sent before the last cut do not cut again
    ceiling         what was in flight when the server refused, less what it refused; kept below, probed now and then
    probes          the step above the ceiling doubles while probes pass, so a server that grew is found soon
    strays          a refusal below the ceiling, where refusals are rare, is a fault and no sign of the server's room
    Retry-After     nothing is sent before it is over

A server also asks for less when it answers much more slowly than it did, or when few answer in time.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

_TOKENS_SPENT = 64  # of waiting and reading the prompt, as if they were written: makes seconds a token comparable


@dataclass(frozen=True, slots=True, kw_only=True)
class Pacing:
    """How a pace moves. Rounds are as many answers as are in flight.

    Args:
        start: in flight at first.
        most: never more.
        cut: what stays of the ceiling after a refusal.
        again: what stays of the limit when the first request after a cut is refused too.
        room: how near below the ceiling it stays.
        quiet: answers without a refusal before a probe, in rounds, and at least `answers`.
        stray: share of refusals up to which one below the ceiling, or a silence, is a fault by itself and cuts nothing.
        slow: a cut when seconds a token grow by this factor, and a reply takes at least `calm` seconds.
    """

    start: int = 16
    most: int = 512
    cut: float = 0.9
    again: float = 0.7
    room: float = 0.97
    quiet: float = 8.0
    answers: int = 150
    stray: float = 0.08
    slow: float = 5.0
    calm: float = 2.0


class MovedError(Exception):
    """Whoever waits here shall look for another server."""


class Pace:
    """The limit on requests in flight to one model at one server. One event loop at a time."""

    __slots__ = (
        "_ceiling",
        "_clear",
        "_fast",
        "_paused",
        "_probe",
        "_probe_time",
        "_quiet",
        "_steady",
        "_timer",
        "_trouble",
        "_waiting",
        "answered",
        "clock",
        "cuts",
        "epoch",
        "in_flight",
        "limit",
        "pacing",
        "refused",
        "sent",
    )

    def __init__(self, pacing: Pacing | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self.pacing = pacing or Pacing()
        self.clock = clock
        self.limit = float(min(self.pacing.start, self.pacing.most))
        self.in_flight = self.epoch = self.cuts = self.sent = self.refused = self.answered = 0
        self._ceiling: float | None = None
        self._clear = True  # an answer came since the last cut
        self._quiet = 0.0  # answers since the last cut or probe
        self._trouble = 0.0  # share of refusals, lately
        self._probe = 0.0
        self._probe_time = 0.0
        self._paused = 0.0
        self._fast = self._steady = 0.0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def learnt(self) -> tuple[float, float | None]:
        """The limit, and the ceiling if it has met one."""
        return self.limit, self._ceiling

    def resume(self, limit: float, ceiling: float | None) -> None:
        """Begin with what another pace `learnt`."""
        self.limit = min(max(self.limit, limit) if ceiling is None else limit, float(self.pacing.most))
        self._ceiling = ceiling

    def load(self) -> float:
        """Requests here, those that wait too, as a share of the limit."""
        return (self.in_flight + len(self._waiting)) / self.limit

    def move(self) -> None:
        """Send away those that wait: their server is dead or asks for a pause, and another is not."""
        waiting, self._waiting = self._waiting, deque()
        for turn in waiting:
            if not turn.done():
                turn.set_exception(MovedError())

    def paused(self) -> float:
        """Seconds until the server's Retry-After is over."""
        return max(0.0, self._paused - self.clock()) if self._paused else 0.0

    async def enter(self) -> int:
        """Wait for room; what comes back goes to `leave`.

        Raises:
            MovedError: somebody called `move`.
        """
        if self.in_flight >= int(self.limit) or self._waiting or self._paused:
            await self._queue()
        self.in_flight += 1
        self.sent += 1
        return self.epoch

    async def _queue(self) -> None:
        loop = asyncio.get_running_loop()
        while not (self.in_flight < int(self.limit) and not self.paused()):
            turn = loop.create_future()
            self._waiting.append(turn)
            self._arm(loop)
            try:
                await turn
            except asyncio.CancelledError:
                if turn in self._waiting:
                    self._waiting.remove(turn)
                self._wake()
                raise
        if not self.paused():
            self._paused = 0.0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is None and (wait := self.paused()):
            self._timer = loop.call_later(wait + 0.001, self._resume)

    def _resume(self) -> None:
        self._timer = None
        if self.paused():
            self._arm(asyncio.get_running_loop())
        else:
            self._paused = 0.0
            self._wake()

    def _wake(self) -> None:
        if self.paused():
            return
        room = int(self.limit) - self.in_flight
        while self._waiting and room > 0:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                room -= 1

    def leave(self, epoch: int, *, seconds: float = 0.0, tokens: int = 0) -> None:
        """An answer came, after so many seconds and with so many tokens."""
        busy = self.in_flight >= 0.8 * self.limit
        self.in_flight -= 1
        self.answered += 1
        self._count(0.0)
        if epoch == self.epoch:
            self._clear = True
            if seconds and self._slower(seconds, seconds / (_TOKENS_SPENT + tokens)) and busy:
                self._steady = self._fast / 2  # a level of slowness cuts once: long prompts are no congestion
                self._cut(self.in_flight)
            elif busy:
                self._grow()
        if self._waiting:
            self._wake()

    def refuse(self, epoch: int, wait: float = 0.0) -> None:
        """The server asked for less (429, 503, or no answer in time), perhaps with a Retry-After in seconds."""
        self.in_flight -= 1
        self.refused += 1
        if wait:
            self._paused = max(self._paused, self.clock() + wait)
            self._probe_time = max(self._probe_time, self._paused + 30 * wait)  # pauses stay a few per cent of the time
        stray = self._stray() and self._ceiling is not None and self.in_flight < self._ceiling
        self._count(1.0)
        if epoch == self.epoch:
            if not stray:
                self._cut(self.in_flight)
        elif self._ceiling is not None and self.cuts:  # of the burst that was cut for: it was not in service either
            self._ceiling = max(self._ceiling - 1.0, self.limit / 2, 1.0)
            self.limit = max(1.0, min(self.limit, self.pacing.cut * self._ceiling))
        self._wake()

    def late(self, epoch: int, answered: int) -> None:
        """No answer in time; `answered` is what it was when the request was sent.

        Where a round of others was answered meanwhile, the server has room and this request hung by itself.
        """
        if self.answered - answered >= self.limit or self._stray():
            self._count(1.0)
            self.drop()
        else:
            self.refuse(epoch)

    def drop(self) -> None:
        """The request ended in a way that says nothing of the server's room."""
        self.in_flight -= 1
        self._wake()

    def _stray(self) -> bool:
        """Refusals are so rare that one tells nothing of the server's room: a server that is asked for too much refuses
        again and again. Lowering the limit would not lower the share of such faults."""
        return self._trouble <= self.pacing.stray

    def _count(self, trouble: float) -> None:
        """The share of refusals among the last outcomes, a hundred or so."""
        self._trouble += 0.01 * (trouble - self._trouble)

    def _cut(self, in_flight: int) -> None:
        self.epoch += 1
        self.cuts += 1
        self._ceiling = max(1.0, float(in_flight))
        share = self.pacing.cut if self._clear else self.pacing.again
        self.limit = max(1.0, min(share * self._ceiling, self.limit if self._clear else share * self.limit))
        self._clear = False
        self._quiet = self._probe = 0.0
        self._fast = 0.0

    def _grow(self) -> None:
        most, pacing = self.pacing.most, self.pacing
        if self._ceiling is None:
            self.limit = min(self.limit + 1.0, most)
            return
        near = max(1.0, pacing.room * self._ceiling)
        self._quiet += 1.0
        if self.limit < near:
            self.limit = min(near, self.limit + max(1.0, 0.05 * self._ceiling) / self.limit)
        elif self._quiet >= self._patience() and self.clock() >= self._probe_time and self.limit < most:
            self._ceiling = max(self._ceiling, self.limit)
            self._probe = max(1.0, 2.0 * self._probe)
            self.limit = min(self._ceiling + self._probe, most)
            self._quiet = 0.0

    def _patience(self) -> float:
        """Answers to wait for before the next probe: few after one that passed."""
        if self._probe:
            return 2.0 * self.limit
        return max(self.pacing.quiet * self.limit, self.pacing.answers)

    def _slower(self, seconds: float, a_token: float) -> bool:
        """Answers take much longer than they did; both means move over about a round of answers."""
        if not self._fast:
            self._fast = a_token
            self._steady = self._steady or a_token
            return False
        weight = 1.0 / max(8.0, self.limit)
        self._fast += weight * (a_token - self._fast)
        # The long memory follows quickly to what is faster and hardly to what is slower.
        self._steady += weight * (a_token - self._steady) * (1.0 if a_token < self._steady else 0.01)
        return seconds > self.pacing.calm and self._fast > self.pacing.slow * self._steady
