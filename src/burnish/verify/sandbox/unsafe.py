"""Runs foreign code as an ordinary child, with the rights of whoever runs Burnish; only where a user asked for it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass

from burnish.errors import WorkerError
from burnish.verify.sandbox import wardens
from burnish.verify.sandbox.worlds.executing import Executing
from burnish.verify.sandbox.worlds.request import Request
from burnish.verify.sandbox.worlds.world import Slot, Unstarted, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Unsafe(Executing):
    """No isolation (`--unsafe-execution`): the program reads and writes what you may, and reaches the network.

    The limits are the same, by kill and rlimit, against accidents. A program that means harm can leave them behind,
    by starting a session of its own and ending its warden.

    Args:
        packages: programs may import what is installed beside Burnish.
    """

    packages: bool = True

    def _begin(self, request: Request) -> World:
        folder = tempfile.mkdtemp(prefix="burnish-unsafe-")
        warden = wardens.start(
            lambda control: wardens.bare_command(control, folder, packages=self.packages), isolated=False
        )

        def closing() -> None:
            warden.close()
            shutil.rmtree(folder, ignore_errors=True)

        try:
            return World(request, Slot(warden.control, None, closing), bare=folder).begin()
        except Unstarted:
            raise WorkerError(f"a program could not be started: {warden.said()}") from None
