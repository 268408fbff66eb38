"""The three verbs of an executor, written once over the one thing in which executors differ: how a world is begun."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from burnish.errors import SettingsError
from burnish.protocols import Limits, Ran
from burnish.verify.sandbox.worlds.conversation import Talk, Watched
from burnish.verify.sandbox.worlds.request import USUAL, Request


class Executing:
    """`run`, `command` and `start` of `burnish.protocols.Executor`; a child says how to begin a world."""

    __slots__ = ()

    def run(self, code: str, *, stdin: str = "", files: Mapping[str, bytes] = {}, limits: Limits = USUAL) -> Ran:
        """A Python program, to its end: `main.py` in a folder that holds `files`."""
        return self._begin(Request(code=code, stdin=_bytes(stdin), files=dict(files), limits=limits).checked()).run()

    async def run_async(
        self, code: str, *, stdin: str = "", files: Mapping[str, bytes] = {}, limits: Limits = USUAL
    ) -> Ran:
        """`run` without blocking the event loop; a cancelled wait lets the program run on to its limits."""
        return await asyncio.to_thread(self.run, code, stdin=stdin, files=files, limits=limits)

    def command(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        files: Mapping[str, bytes] = {},
        keep: Sequence[str] = (),
        limits: Limits = USUAL,
    ) -> Ran:
        """Any command of the machine, in a folder that holds `files`; `keep` names what is brought back.

        As in a shell, a command that is not there ends with status 127, one that cannot be run with 126.
        """
        if isinstance(argv, str) or not argv:
            raise SettingsError(f"command: give a list of words, such as ['g++', 'a.cpp'], not {argv!r}")
        request = Request(
            argv=tuple(argv), stdin=_bytes(stdin), files=dict(files), keep=tuple(keep), limits=limits
        ).checked()
        return self._begin(request).run()

    def start(self, code: str, *, files: Mapping[str, bytes] = {}, limits: Limits = USUAL) -> Talk:
        """A Python program that goes on living and is asked: it reads `ask()` and writes `answer(text)`.

        `limits.seconds` is the whole conversation's; an answer may be as long as `limits.output_kib`.
        """
        request = Request(code=code, files=dict(files), limits=limits, talks=True).checked()
        return Talk(self._begin(request))

    def _begin(self, request: Request) -> Watched:
        raise NotImplementedError


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")
