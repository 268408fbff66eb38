"""One world, seen from outside: what is sent in, what comes out, and the watch over its limits.

The warden inside reports over a socket that keeps message boundaries: S when the program starts (with the process id
that the kernel vouches for, and the folder whose file system is watched), D with its end, F with pieces of files,
E with a fault of ours. Everything else is decided here.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import json
import math
import os
import select
import signal
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from burnish.errors import WorkerError
from burnish.protocols import Ran
from burnish.verify.sandbox.worlds.request import Request
from burnish.verify.sandbox.worlds.watch import children, exact_memory, folder_size, kill_tree, kill_world, usage

STARTUP = 30.0  # seconds from a request to the program's first instruction
DRAIN = 3.0  # seconds for a killed world to be gone
EVERY = 0.01  # seconds between two looks at what the program uses
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE


class Unstarted(Exception):
    """The slot was gone before the program began; nothing ran."""


class Slot:
    """Our end of a place where programs run one after the other: its socket, and its keeper to end it by.

    Args:
        line: the socket of its keeper.
        release: takes the slot back when it can be used again.
        discard: called once when it cannot.
    """

    def __init__(
        self, line: socket.socket, release: Callable[[Slot], None] | None, discard: Callable[[], None] | None = None
    ) -> None:
        self.line, self._release, self._discard = line, release, discard
        self.pid = self.template = 0
        self.pidfd = -1

    def done(self, again: bool) -> None:
        """After a program: back to the others, or away."""
        if again and self._release is not None:
            self._release(self)
        else:
            self.close()

    def close(self) -> None:
        """Its keeper, if it lives, ends when nobody holds the other end."""
        self.line.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        discard, self._discard = self._discard, None
        if discard is not None:
            discard()


def _sealed(parts: Sequence[bytes]) -> int:
    """Memory behind a descriptor that nobody can change any more."""
    descriptor = os.memfd_create("request", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    for part in parts:
        left = memoryview(part)
        while left:
            left = left[os.write(descriptor, left) :]
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


class World:
    """A program from its start to its end.

    Args:
        request: what is to run.
        slot: where.
        bare: the folder of a program that has no namespaces of its own, by which it could be ended or measured.
    """

    def __init__(self, request: Request, slot: Slot, *, bare: str = "") -> None:
        self.request, self.slot, self.bare = request, slot, bare
        self.talk: socket.socket | None = None
        self.limit = ""
        self.ended = threading.Event()
        self._place = -1
        self._told: dict[str, Any] = {}
        self._files = bytearray()
        self._out, self._err = bytearray(), bytearray()
        self._streams: dict[int, bytearray] = {}
        self._killed_at = 0.0
        self._over = False
        self._lock = threading.Lock()

    def begin(self) -> World:
        """Sends the request, waits until the program starts.

        Raises:
            Unstarted: nobody was there.
            WorkerError: the sandbox could not be closed.
        """
        try:
            self._send()
            self.slot.line.settimeout(STARTUP)
            while (kind := self._hear()) == "H":
                pass
        except (TimeoutError, OSError):
            kind = ""
        if kind != "S":
            self._close()
            if kind == "E":
                raise WorkerError(_fault(self._told))
            raise Unstarted
        self.slot.line.setblocking(False)
        self.began = time.monotonic()
        self.deadline = self.began + self.request.limits.seconds
        return self

    def _send(self) -> None:
        given, kind = [_sealed(self.request.payload())], b"r"
        try:
            for buffer in (self._out, self._err):
                read, write = os.pipe()
                self._streams[read] = buffer
                given.append(write)
            if self.request.stdin:
                kind += b"i"
                given.append(_sealed([self.request.stdin]))
            if self.request.talks:
                kind += b"t"
                self.talk, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
                given.append(other.detach())
            socket.send_fds(self.slot.line, [kind], given)
        finally:
            for descriptor in given:
                os.close(descriptor)

    def run(self) -> Ran:
        """Watches until nothing is left, and says what was."""
        try:
            self._watch()
        finally:
            self._fair = bool(self._told or self._killed_at)
            if not self._told:
                self.kill("")
            self._close()
            self.seconds = time.monotonic() - self.began
            self.ended.set()
        return self._ran()

    def kill(self, limit: str) -> None:
        """Ends the world; the first limit named stays. Safe from any thread, and when it has ended."""
        with self._lock:
            if self._killed_at or self._over:
                return
            self._killed_at, self.limit = time.monotonic(), limit
            if self.bare and not self._told:
                kill_tree(self.slot.pid)
            kill_world(self.slot.pidfd)

    def signal(self, number: int) -> None:
        """A signal for the program's own process."""
        with self._lock:
            if not self._over:
                for pid in children(self.slot.template):  # it has but one
                    with contextlib.suppress(OSError):
                        os.kill(pid, number)

    def _watch(self) -> None:
        poller = select.poll()
        waiting = {*self._streams, self.slot.line.fileno()}
        for descriptor in waiting:
            poller.register(descriptor, select.POLLIN)
        look = self.began + EVERY
        while waiting:
            now = time.monotonic()
            if self._killed_at:
                if now > self._killed_at + DRAIN:
                    return
                until = self._killed_at + DRAIN
            else:
                if now >= self.deadline:
                    self.kill("time")
                elif now >= look:
                    if limit := self._look():
                        self.kill(limit)
                    look = time.monotonic() + EVERY
                until = min(self.deadline, look)
            for descriptor, _ in poller.poll(max(0, math.ceil(1000 * (until - now)))):
                over = self._read(descriptor) if descriptor in self._streams else self._hear() in ("", "Z")
                if over:
                    poller.unregister(descriptor)
                    waiting.discard(descriptor)

    def _look(self) -> str:
        """The limit that is broken right now, or an empty string."""
        limits = self.request.limits
        threads, memory, processes = usage(self.slot.pid, self.slot.template, limits.processes)
        if threads > limits.processes:
            return "processes"
        if self.bare:
            disk, full = folder_size(self.bare), False
        else:
            system = os.fstatvfs(self._place)
            disk, full = (system.f_blocks - system.f_bfree) * system.f_frsize >> 10, not system.f_ffree
        if full or disk >= limits.disk_mib << 10:
            return "disk"
        held = 0 if self.bare else disk  # a tmpfs is memory
        most = limits.memory_mib << 10
        return "memory" if memory + held > most and exact_memory(processes) + held > most else ""

    def _read(self, descriptor: int) -> bool:
        """Takes what is there; true at the end of the stream."""
        data = os.read(descriptor, 1 << 16)
        room = (self.request.limits.output_kib << 10) - len(self._out) - len(self._err)
        self._streams[descriptor] += data[: max(room, 0)]
        if len(data) > room:
            self.kill("output")
        return not data

    def _hear(self) -> str:
        """One message of the keeper: its kind, Z when the report is whole, or an empty string at the end."""
        size = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(8)
        try:
            data, ancillary, _, _ = self.slot.line.recvmsg((1 << 16) + 1, size, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return ""
        kind, body, descriptors, sender = data[:1], data[1:], array.array("i"), 0
        for level, name, value in ancillary:
            if level == socket.SOL_SOCKET and name == socket.SCM_RIGHTS:
                descriptors.frombytes(value[: len(value) - len(value) % 4])
            elif level == socket.SOL_SOCKET and name == socket.SCM_CREDENTIALS:
                sender = struct.unpack("3i", value)[0]  # the kernel's word, in our own numbers
        if kind == b"H":
            self.slot.pid, (self.slot.pidfd,) = sender, descriptors
            self.slot.template = next(iter(children(sender)), 0)
        elif kind == b"S":
            (self._place,) = descriptors
        elif kind == b"D":
            self._told = {**json.loads(body), **self._told}  # a fault stays
            return "D" if self._told.get("files") else "Z"
        elif kind == b"F":
            self._files += body
        elif kind == b"E":
            self._told = {"fault": body.decode("utf-8", "replace")}
        return kind.decode() or ""

    def _close(self) -> None:
        with self._lock:
            self._over = True
            if self.talk is not None:
                self.talk.close()
            for descriptor in (*self._streams, self._place):
                if descriptor >= 0:
                    os.close(descriptor)
            self._streams.clear()
            self._place = -1
        self.slot.done(again=bool(self._told.get("again")) and not self._killed_at)

    def _guessed(self, told: Mapping[str, Any], status: int) -> str:
        """The limit that a program met, and failed by, between two looks."""
        limits = self.request.limits
        if told.get("full") or status == -signal.SIGXFSZ:
            return "disk"
        if told.get("left", 0) >= limits.processes:
            return "processes"
        return "memory" if told.get("peak", 0) > limits.memory_mib << 10 else ""

    def _ran(self) -> Ran:
        told = self._told
        if "fault" in told:
            raise WorkerError(_fault(told))
        if not self._fair:
            raise WorkerError("the sandbox's own process died; was it killed from outside?")
        status = told.get("status", -9)
        if not self.limit and status:
            self.limit = self._guessed(told, status)
        files, at = {}, 0
        for name, size in told.get("files", ()):
            files[name] = bytes(self._files[at : at + size])
            at += size
        return Ran(
            status=status, stdout=self._out.decode("utf-8", "replace"), stderr=self._err.decode("utf-8", "replace"),
            limit=self.limit, seconds=self.seconds, files=files,
        )  # fmt: skip


def _fault(told: Mapping[str, Any]) -> str:
    return f"the sandbox could not be closed, so nothing ran: {told.get('fault', 'no reason')}"
