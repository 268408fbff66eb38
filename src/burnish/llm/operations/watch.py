"""When asking is no use: a server that fails too many questions, a model whose replies cannot be read at all.

A step without what it asked for must not end well: it would be finished, and reused for ever. So it ends with an
error, everything paid for is kept, and the same command asks only what failed.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from burnish.errors import WorkerError
from burnish.llm.operations.operation import Answered
from burnish.llm.requests import Reply, Request

LOST_SHARE = 0.2  # ASSUMED: more failed questions than that, and the step is not worth finishing
LOST_LEAST = 5  # ASSUMED: fewer failures than that are left to the row's own reason
UNREAD = 30  # ASSUMED: as many first items without one readable reply, and the model does not do the task
SHOWN = 300  # characters of what was said


@dataclass(slots=True)
class Watch:
    """What became of the questions to one asker in one flow."""

    identity: str
    place: str = "PLACE"  # what `burnish requests` takes
    questions: int = 0  # first questions; one asked again because it could not be read counts once
    passing: Counter[str] = field(default_factory=Counter)  # failures that may pass, by their words
    lasting: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)  # by operation
    unread: Counter[str] = field(default_factory=Counter)
    shown: dict[str, str] = field(default_factory=dict)  # the first unreadable reply of each operation

    def note(self, request: Request, reply: Reply) -> None:
        """Count a reply."""
        self.questions += request.again == 0
        if reply.failure:
            (self.passing if reply.passing else self.lasting)[reply.failure] += 1

    def hear(self, got: Answered[Any]) -> None:
        """Count an answer.

        Raises:
            WorkerError: none of the first `UNREAD` could be read.
        """
        name = got.operation
        if got.record is not None:
            self.read[name] += 1
        elif got.unscored.startswith("unreadable"):
            self.unread[name] += 1
            self.shown.setdefault(name, got.transcript)
            if self.unread[name] >= UNREAD and not self.read[name]:
                raise WorkerError(
                    f"none of the first {self.unread[name]} replies of {self.identity} to {name} could be read, so the "
                    f"asking was stopped. {got.unscored[:SHOWN]}. The first said: {_said(self.shown[name])} "
                    "Ask a model that can do it, or in another way; the replies are kept, and for a server that was "
                    f"mended `burnish requests {self.place} --forget-unreadable` removes them"
                )

    def check(self) -> None:
        """
        Raises:
            WorkerError: too many questions failed in a way that may pass, or every one failed.
        """
        passing, lasting = self.passing.total(), self.lasting.total()
        if passing >= LOST_LEAST and passing > LOST_SHARE * self.questions:
            raise WorkerError(
                f"{passing:,} of {self.questions:,} questions to {self.identity} got no answer: {told(self.passing)}. "
                "What was answered is kept; mend the server and give the same command again, which asks only the rest"
            )
        if passing + lasting >= max(LOST_LEAST, self.questions):
            raise WorkerError(
                f"all {self.questions:,} questions to {self.identity} failed: {told(self.passing + self.lasting)}. "
                f"Mend the server, remove the failures (burnish requests {self.place} --forget-failures), and give the "
                "same command again"
            )


def told(failures: Counter[str], most: int = 2) -> str:
    """The commonest failures in the server's words, with their counts where there are several."""
    found = failures.most_common(most)
    if len(failures) == 1:
        return found[0][0][:SHOWN]
    more = f"; and {len(failures) - most} other reasons" if len(failures) > most else ""
    return "; ".join(f"{count:,} x {words[:SHOWN]}" for words, count in found) + more


def _said(transcript: str) -> str:
    first = transcript.removeprefix("[1] ").split("\n[2] ")[0].strip()
    return repr(first if len(first) <= SHOWN else first[:SHOWN] + "...")
