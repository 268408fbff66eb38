"""The executor that holds: bubblewrap, with a warm warden where the machine allows it, else a sandbox per check."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache

from burnish.errors import SettingsError, WorkerError
from burnish.verify.sandbox import wardens
from burnish.verify.sandbox.worlds.executing import Executing
from burnish.verify.sandbox.worlds.request import Request
from burnish.verify.sandbox.worlds.world import Slot, Unstarted, World

TRIES = 3  # wardens that may die, for reasons that are not the program's, before it begins


@dataclass(frozen=True, slots=True, kw_only=True)
class Bubblewrap(Executing):
    """Runs foreign code in namespaces of its own, without network, host files, capabilities or rare system calls.

    Safe in threads, with `asyncio.to_thread`, after a fork and in workers of Ray or multiprocessing.

    Args:
        bwrap: the program, by name or path.
        warm: fork from an interpreter that waits inside; False starts a sandbox per check, as does a machine that
            forbids namespaces inside namespaces.
        packages: programs may import what is installed beside Burnish (read-only).

    Raises:
        SettingsError: no such program, a file name outside the folder, a limit that is not above zero.
        WorkerError: the sandbox itself failed; never because of what the program did.
    """

    bwrap: str = "bwrap"
    warm: bool = True
    packages: bool = True

    def _begin(self, request: Request) -> World:
        program = located(self.bwrap)
        for _ in range(TRIES):
            warden = wardens.warm(program, self.packages) if self.warm else "not asked for"
            if isinstance(warden, str):
                return self._begin_once(program, request)
            try:
                return World(request, warden.slot()).begin()
            except Unstarted:
                wardens.forget(warden)
        raise WorkerError(f"{self.bwrap}: {TRIES} wardens died before the program began; is the machine out of memory?")

    def _begin_once(self, program: str, request: Request) -> World:
        size = request.limits.disk_mib if sizes(program) else None
        warden = wardens.start(
            lambda control: wardens.once_command(program, control, packages=self.packages, disk_mib=size)
        )
        try:
            return World(request, Slot(warden.control, None, warden.close)).begin()
        except Unstarted:
            raise WorkerError(f"{self.bwrap} could not start a sandbox: {warden.said()}") from None


@cache
def located(bwrap: str) -> str:
    """The program's path. Raises SettingsError with how to get it."""
    if (found := shutil.which(bwrap)) is None:
        raise SettingsError(
            f"no program {bwrap!r} on PATH: install bubblewrap (Debian, Ubuntu: apt install bubblewrap)"
        )
    return found


@cache
def version(program: str) -> tuple[int, ...]:
    """bubblewrap's version; empty when it does not tell."""
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return ()
    return tuple(int(number) for number in re.findall(r"\d+", done.stdout)[:3])


def sizes(program: str) -> bool:
    """Whether it can size a tmpfs (`--size`, bubblewrap 0.7)."""
    return version(program) >= (0, 7)
