"""The servers of one endpoint: which one takes the next request, which one is left alone for a while.

A server that cannot be reached is dead: it is left, and tried again by one request at a time after 1, 2, 4 ... seconds.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence

from burnish.errors import WorkerError
from burnish.llm.requests.endpoint.pace import Pace

logger = logging.getLogger(__name__)

_LONGEST_REST = 30.0  # seconds between two tries of a dead server
_SAY_EVERY = 30.0
_ALL_REFUSED = 100


class Lane:
    """One model at one server: its address, its pace, its health."""

    __slots__ = ("dead_until", "pace", "rest", "trying", "url")

    def __init__(self, url: str, pace: Pace) -> None:
        self.url = url
        self.pace = pace
        self.dead_until = 0.0
        self.rest = 0.0
        self.trying = False

    def alive(self) -> None:
        """The server said something."""
        if self.rest:
            self.rest = self.dead_until = 0.0
            self.trying = False

    def dead(self, now: float) -> None:
        """The server cannot be reached. Those sent together count once."""
        if now < self.dead_until:
            return
        self.rest = min(max(1.0, 2.0 * self.rest), _LONGEST_REST)
        self.dead_until = now + self.rest
        self.trying = False


class Replicas:
    """Chooses a lane, waits when there is none, gives up when nothing answers for too long.

    Args:
        patience: seconds without any answer after which asking ends.
    """

    def __init__(self, name: str, lanes: Sequence[Lane], patience: float) -> None:
        self.name = name
        self.lanes = tuple(lanes)
        self.patience = patience
        self.trouble = 0.0  # when the first fault came after the last answer; 0 when all is well
        self._said = 0.0
        self._any = False
        self._refused = 0

    def answered(self, lane: Lane) -> None:
        """All is well."""
        self._any = True
        self.trouble = 0.0
        if lane.rest:
            lane.alive()

    def refused(self, lane: Lane, reason: str) -> None:
        """A request was refused for good, which is an answer too; unless there never is another.

        Raises:
            WorkerError: the first `_ALL_REFUSED` requests were all refused: it is not they that are wrong.
        """
        if not self._any:
            self._refused += 1
            if self._refused >= _ALL_REFUSED:
                raise WorkerError(f"{self.name} refused the first {self._refused} requests, all of them ({reason})")
        self.trouble = 0.0
        lane.alive()

    def troubled(self, reason: str) -> None:
        """A fault that may pass.

        Raises:
            WorkerError: nothing has answered for `patience` seconds.
        """
        now = time.monotonic()
        if not self.trouble:
            self.trouble = self._said = now
        waited = now - self.trouble
        if waited > self.patience:
            raise WorkerError(
                f"{self.name} has not answered for {waited:.0f} s ({reason}); every reply that came is kept, so see to "
                "the server and run the same command again"
            )
        if now - self._said > min(_SAY_EVERY, self.patience / 3):
            self._said = now
            logger.warning(
                "%s does not answer (%s); waiting, for %.0f s more at most", self.name, reason, self.patience - waited
            )

    async def choose(self) -> Lane:
        """The lane with the most room, waiting for a dead one's next try when all are dead.

        Raises:
            WorkerError: nothing has answered for too long.
        """
        if len(self.lanes) == 1 and not self.lanes[0].rest:
            return self.lanes[0]
        while True:
            now = time.monotonic()
            best, load = None, 0.0
            for lane in self.lanes:
                if lane.rest and (lane.trying or now < lane.dead_until):
                    continue
                pace = lane.pace
                share = pace.load() + (1e6 if pace.paused() else 0.0)
                if lane.rest:
                    share = -1.0  # its turn to be tried, by this request alone
                if best is None or share < load:
                    best, load = lane, share
            if best is not None:
                best.trying = bool(best.rest)
                return best
            self.troubled("no server can be reached")
            soonest = min(lane.dead_until for lane in self.lanes)
            await asyncio.sleep(min(max(soonest - now, 0.05), 1.0))
