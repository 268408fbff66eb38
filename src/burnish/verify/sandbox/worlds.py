"""One world, seen from outside: what is sent in, what comes out, and the watch over its limits.

The warden inside reports over a socket that keeps message boundaries: S when the program starts (with the process id
that the kernel vouches for, and the folder whose file system is watched), D with its end, F with pieces of files,
E with a fault of ours. Everything else is decided here.
"""

from __future__ import annotations

import array
import fcntl
import json
import math
import os
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Limits, Ran
from burnish.verify.sandbox.filter import bpf
from burnish.verify.sandbox.watch import exact_memory, kill_tree, kill_world, usage

STARTUP = 30.0  # seconds from a request to the program's first instruction
DRAIN = 3.0  # seconds for a killed world to be gone
EVERY = 0.01  # seconds between two looks at what the program uses
OPEN_FILES = 256
INODES = 16384
SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
Send = Callable[[bytes, Sequence[int]], None]


class Unstarted(Exception):
    """The warden was gone before the program began; nothing ran."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to run in a world: `code` in Python, or `argv`."""

    code: str = ""
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    limits: Limits = Limits()
    talks: bool = False

    def checked(self) -> Request:
        """Itself. Raises SettingsError for a name that leaves the folder, a limit of nothing, files over the limit."""
        for name in (*self.files, *self.keep):
            path = PurePosixPath(name)
            if not name or path.is_absolute() or ".." in path.parts or str(path) != name or "\0" in name:
                raise SettingsError(f"file {name!r}: give a path below the program's folder, such as 'data/in.txt'")
        for one in ("seconds", "memory_mib", "processes", "output_kib", "disk_mib"):
            if not getattr(self.limits, one) > 0:
                raise SettingsError(f"limits: {one} is {getattr(self.limits, one)}; it must be above zero")
        size = sum(map(len, self.files.values())) + len(self.code)
        if size >= self.limits.disk_mib << 20:
            raise SettingsError(f"limits: {size} bytes of files do not fit into disk_mib={self.limits.disk_mib}")
        if any("\0" in word for word in self.argv):
            raise SettingsError("command: a word holds a NUL character")
        return self

    def payload(self) -> list[bytes]:
        limits = self.limits
        files = dict(self.files)
        if not self.argv:
            files.setdefault("main.py", self.code.encode("utf-8", "surrogatepass"))
        cores = os.cpu_count() or 1
        head = {
            "code": self.code, "argv": self.argv, "keep": self.keep, "system_calls": bpf().hex(),
            "files": [[name, len(data)] for name, data in files.items()],
            "limits": {
                "disk": limits.disk_mib << 20, "inodes": INODES, "processes": limits.processes, "open": OPEN_FILES,
                "cpu": math.ceil(limits.seconds * cores) + 1, "data": (2 * limits.memory_mib + 1024) << 20,
            },
        }  # fmt: skip
        text = json.dumps(head).encode()
        return [struct.pack("!I", len(text)), text, *files.values()]


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
    """A program from its start to its end. `run` watches in the calling thread; `begin` alone hands it over.

    Args:
        request: what is to run.
        send: hands a request and its descriptors to a warden.
        bare: there is no PID namespace to end it by.
        closing: called once when it is over.
    """

    def __init__(
        self, request: Request, send: Send, *, bare: bool = False, closing: Callable[[], None] | None = None
    ) -> None:
        self.request, self.bare, self._closing = request, bare, closing
        self.talk: socket.socket | None = None
        self.pid = self.inner = 0
        self.limit = ""
        self.ended = threading.Event()
        self._place = self._pidfd = -1
        self._told: dict[str, Any] = {}
        self._files = bytearray()
        self._out, self._err = bytearray(), bytearray()
        self._streams: dict[int, bytearray] = {}
        self._killed_at = 0.0
        self._lock = threading.Lock()
        self._send(send)

    def _send(self, send: Send) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._report = ours
        given, kind = [_sealed(self.request.payload())], b"r"
        for buffer in (self._out, self._err):
            read, write = os.pipe()
            self._streams[read] = buffer
            given.append(write)
        given.append(theirs.detach())
        if self.request.stdin:
            kind += b"i"
            given.append(_sealed([self.request.stdin]))
        if self.request.talks:
            kind += b"t"
            self.talk, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            given.append(other.detach())
        try:
            send(kind, given)
        except BaseException:
            self._close()
            raise
        finally:
            for descriptor in given:
                os.close(descriptor)

    def begin(self) -> World:
        """Waits until the program starts. Raises Unstarted, or WorkerError when the sandbox could not be closed."""
        self._report.settimeout(STARTUP)
        try:
            kind = self._hear()
        except TimeoutError:
            kind = ""
        if kind != "S":
            self._close()
            if kind == "E":
                raise WorkerError(_fault(self._told))
            raise Unstarted
        self._report.setblocking(False)
        self.began = time.monotonic()
        self.deadline = self.began + self.request.limits.seconds
        return self

    def run(self) -> Ran:
        """Watches until nothing is left, and says what was."""
        try:
            self._watch()
        finally:
            self._fair = bool(self._told or self._killed_at)
            self.kill("")
            self._close()
            self.seconds = time.monotonic() - self.began
            self.ended.set()
        return self._ran()

    def kill(self, limit: str) -> None:
        """Ends the world; the first limit named stays. Safe from any thread, and when it has ended."""
        with self._lock:
            if self._killed_at or self._pidfd < 0:
                return
            self._killed_at, self.limit = time.monotonic(), limit
            if self.bare and not self._told:
                kill_tree(self.pid, self.inner)
            kill_world(self._pidfd)

    def _watch(self) -> None:
        poller = select.poll()
        waiting = {*self._streams, self._report.fileno()}
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
                    self.kill_if(self._look())
                    look = time.monotonic() + EVERY
                until = min(self.deadline, look)
            for descriptor, _ in poller.poll(max(0, math.ceil(1000 * (until - now)))):
                over = self._read(descriptor) if descriptor in self._streams else self._hear() == ""
                if over:
                    poller.unregister(descriptor)
                    waiting.discard(descriptor)

    def kill_if(self, limit: str) -> None:
        if limit:
            self.kill(limit)

    def _look(self) -> str:
        """The limit that is broken right now, or an empty string."""
        limits = self.request.limits
        threads, memory, processes = usage(self.pid, limits.processes)
        if threads > limits.processes:
            return "processes"
        disk = os.fstatvfs(self._place)
        used = 0 if self.bare else (disk.f_blocks - disk.f_bfree) * disk.f_frsize >> 10
        if memory + used > limits.memory_mib << 10 and exact_memory(processes) + used > limits.memory_mib << 10:
            return "memory"
        if not self.bare and (used >= limits.disk_mib << 10 or not disk.f_bfree or not disk.f_ffree):
            return "disk"
        return ""

    def _read(self, descriptor: int) -> bool:
        """Takes what is there; true at the end of the stream."""
        data = os.read(descriptor, 1 << 16)
        room = (self.request.limits.output_kib << 10) - len(self._out) - len(self._err)
        self._streams[descriptor] += data[: max(room, 0)]
        if len(data) > room:
            self.kill("output")
        return not data

    def _hear(self) -> str:
        """One message of the warden: its kind, or an empty string at the end."""
        size = socket.CMSG_SPACE(12) + socket.CMSG_SPACE(4)
        try:
            data, ancillary, _, _ = self._report.recvmsg((1 << 16) + 1, size, socket.MSG_CMSG_CLOEXEC)
        except ConnectionError:
            return ""
        kind, body = data[:1], data[1:]
        for level, name, value in ancillary:
            if level == socket.SOL_SOCKET and name == socket.SCM_RIGHTS:
                (self._place,) = array.array("i", value[:4])
            elif level == socket.SOL_SOCKET and name == socket.SCM_CREDENTIALS and kind == b"S":
                self.pid = struct.unpack("3i", value)[0]
        if kind == b"S":
            self.inner = struct.unpack("=i", body)[0]
            self._pidfd = os.pidfd_open(self.pid)
        elif kind == b"D":
            self._told = {**json.loads(body), **self._told}  # a fault stays
        elif kind == b"F":
            self._files += body
        elif kind == b"E":
            self._told = {"fault": body.decode("utf-8", "replace")}
        return kind.decode()

    def _close(self) -> None:
        with self._lock:
            self._report.close()
            if self.talk is not None:
                self.talk.close()
            for descriptor in (*self._streams, self._place, self._pidfd):
                if descriptor >= 0:
                    os.close(descriptor)
            self._streams.clear()
            self._place = self._pidfd = -1
            closing, self._closing = self._closing, None
        if closing is not None:
            closing()

    def _ran(self) -> Ran:
        told, limits = self._told, self.request.limits
        if "fault" in told:
            raise WorkerError(_fault(told))
        if not self._fair:
            raise WorkerError("the sandbox's own process died; was it killed from outside?")
        status = told.get("status", -9)
        if not self.limit and status:
            full = told.get("full", False)
            self.limit = "disk" if full else "memory" if told.get("peak", 0) > limits.memory_mib << 10 else ""
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
