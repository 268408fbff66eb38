"""The same three verbs through docker or podman, one container per check; for machines without bubblewrap."""

from __future__ import annotations

import contextlib
import json
import math
import os
import select
import shutil
import socket
import struct
import subprocess
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Ran
from burnish.verify.sandbox.worlds.executing import Executing
from burnish.verify.sandbox.worlds.request import OPEN_FILES, Request

INSIDE = Path(__file__).parent / "inside"
ROOT = "/box"
STARTUP = 120.0  # seconds for an engine to start a container
OWN = 32  # MiB and processes that the trusted process inside may use itself
ENGINES = ("docker", "podman")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container(Executing):
    """Runs foreign code in containers: no network, read-only, no capabilities, limits kept by the engine.

    Args:
        engine: `docker` or `podman`, by name or path.
        image: must be there already (nothing is pulled), with Python 3.9 or newer as `python3` and, for commands,
            whatever they need.

    Raises:
        SettingsError: no such engine.
        WorkerError: the engine refused; its own words are told.
    """

    engine: str = "docker"
    image: str = "python:3.12-slim"

    def _begin(self, request: Request) -> Box:
        if shutil.which(self.engine) is None:
            raise SettingsError(f"no program {self.engine!r} on PATH: install docker or podman, or bubblewrap")
        return Box(self.engine, self.image, request).begin()


def engine_command(engine: str, image: str, name: str, request: Request) -> list[str]:
    """The engine's command line for one request."""
    limits = request.limits
    memory = f"{limits.memory_mib + OWN}m"
    return [
        engine, "run", "--rm", "--interactive", "--name", name, "--pull", "never", "--network", "none", "--read-only",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--user", "65534:65534",
        "--pids-limit", str(limits.processes + 1), "--memory", memory, "--memory-swap", memory,
        "--ulimit", f"nofile={OPEN_FILES}:{OPEN_FILES}", "--ulimit", "core=0:0", "--shm-size", "16m",
        "--tmpfs", f"{ROOT}:rw,exec,nosuid,nodev,size={limits.disk_mib}m,mode=1777", "--workdir", ROOT,
        "--env", f"HOME={ROOT}/tmp", "--env", f"TMPDIR={ROOT}/tmp", "--env", "LANG=C.UTF-8",
        "--env", "PYTHONHASHSEED=0", "--entrypoint", "python3", image,
        "-B", "-X", "utf8", "-c", _bootstrap(), ROOT,
    ]  # fmt: skip


def _bootstrap() -> str:
    """The two files that run inside as one program, since nothing of the host is mounted."""
    program = (INSIDE / "program.py").read_text()
    boxed = (INSIDE / "boxed.py").read_text()
    return (
        "import sys, types\n"
        "held = sys.modules['program'] = types.ModuleType('program')\n"
        "held.__file__ = 'program.py'\n"
        f"exec(compile({program!r}, 'program.py', 'exec'), held.__dict__)\n"
        f"exec(compile({boxed!r}, 'boxed.py', 'exec'), {{'__name__': '__main__'}})\n"
    )


class Box:
    """A program in a container, seen from outside; the same surface as a world of bubblewrap."""

    def __init__(self, engine: str, image: str, request: Request) -> None:
        self.request, self.engine, self.name = request, engine, f"burnish-{uuid.uuid4().hex}"
        self.image = image
        self.ended = threading.Event()
        self.talk: socket.socket | None = None
        self._bridge: socket.socket | None = None
        if request.talks:
            self.talk, self._bridge = socket.socketpair()
        self._limit, self._killed_at = "", 0.0
        self._told: dict[str, Any] = {}
        self._data = {b"O": bytearray(), b"R": bytearray(), b"F": bytearray()}
        self._buffer = bytearray()
        self._sending = threading.Lock()

    def begin(self) -> Box:
        """Waits until the program starts."""
        self._process = subprocess.Popen(
            engine_command(self.engine, self.image, self.name, self.request), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
        )  # fmt: skip
        payload = b"".join([*self.request.payload(), self.request.stdin])
        threading.Thread(target=self._send, args=(b"P", payload), daemon=True).start()
        self.began = time.monotonic()
        while self._started() is False:
            if not self._receive(self.began + STARTUP):
                self._end_engine()
                told = self._process.stderr.read().decode("utf-8", "replace").strip().splitlines()[-1:] or ["no word"]
                self._close()
                raise WorkerError(f"{self.engine} could not start {self.image}: {told[0]} (is the image pulled?)")
        self.began = time.monotonic()
        return self

    def _started(self) -> bool:
        if self._buffer[:1] != b"S" or len(self._buffer) < 5:
            return False
        del self._buffer[:5]
        return True

    def _receive(self, until: float) -> bool:
        """More of what the container says; false at its end, or when nothing came in time."""
        output = self._process.stdout.fileno()
        if not select.select([output], [], [], max(0.0, until - time.monotonic()))[0]:
            return False
        data = os.read(output, 1 << 16)
        self._buffer += data
        return bool(data)

    def _send(self, kind: bytes, data: bytes = b"") -> None:
        with self._sending, contextlib.suppress(OSError, ValueError):
            left = memoryview(kind + struct.pack("!I", len(data)) + data)
            while left:
                left = left[self._process.stdin.write(left) :]

    def run(self) -> Ran:
        """Watches until the container is gone, and says what was left."""
        try:
            self._watch()
        finally:
            if not self._told:
                self.kill("")
            self._end_engine()
            self._close()
            self.seconds = time.monotonic() - self.began
            self.ended.set()
        return self._ran()

    def _watch(self) -> None:
        poller = select.poll()
        output = self._process.stdout.fileno()
        poller.register(output, select.POLLIN)
        bridge = -1 if self._bridge is None else self._bridge.fileno()
        if bridge >= 0:
            poller.register(bridge, select.POLLIN)
        deadline = self.began + self.request.limits.seconds
        while True:
            self._take()
            now = time.monotonic()
            if now >= deadline:
                if self._killed_at:
                    return
                self.kill("time")
                deadline = now + STARTUP
            for descriptor, _ in poller.poll(math.ceil(1000 * max(0.0, deadline - now))):
                data = os.read(descriptor, 1 << 16)
                if descriptor == output:
                    self._buffer += data
                    if not data:
                        return
                elif data:
                    self._send(b"T", data)
                else:
                    self._send(b"X")
                    poller.unregister(bridge)

    def _take(self) -> None:
        """Every whole frame that has come."""
        while len(self._buffer) >= 5:
            kind, size = struct.unpack("!cI", self._buffer[:5])
            if len(self._buffer) < 5 + size:
                return
            data = bytes(self._buffer[5 : 5 + size])
            del self._buffer[: 5 + size]
            if kind == b"D":
                self._told = json.loads(data)
            elif kind == b"T" and self._bridge is not None:
                with contextlib.suppress(OSError):
                    self._bridge.sendall(data)
            elif kind == b"F":
                self._data[kind] += data
            elif kind in self._data:
                room = (self.request.limits.output_kib << 10) - len(self._data[b"O"]) - len(self._data[b"R"])
                self._data[kind] += data[: max(room, 0)]
                if len(data) > room:
                    self.kill("output")

    def signal(self, number: int) -> None:
        self._send(b"I", struct.pack("!I", number))

    def kill(self, limit: str) -> None:
        """Ends the container; the first limit named stays."""
        if not self._killed_at:
            self._killed_at, self._limit = time.monotonic(), limit
            subprocess.run([self.engine, "kill", self.name], capture_output=True, stdin=subprocess.DEVNULL, timeout=60)

    def _end_engine(self) -> None:
        try:
            self._process.wait(timeout=10 if self._killed_at or self._told else 0.1)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            subprocess.run([self.engine, "rm", "--force", self.name], capture_output=True, timeout=60)

    def _close(self) -> None:
        for one in (self._process.stdin, self._process.stdout, self._process.stderr, self.talk, self._bridge):
            if one is not None:
                with contextlib.suppress(OSError):
                    one.close()

    def _ran(self) -> Ran:
        told = self._told
        if not told and not self._limit:
            raise WorkerError(f"{self.engine}: the container's own process died; was it killed from outside?")
        limit = self._limit or told.get("limit", "")
        if not limit and told.get("status") and told.get("full"):
            limit = "disk"
        files, at = {}, 0
        for name, size in told.get("files", ()):
            files[name] = bytes(self._data[b"F"][at : at + size])
            at += size
        return Ran(
            status=told.get("status", -9), stdout=self._data[b"O"].decode("utf-8", "replace"),
            stderr=self._data[b"R"].decode("utf-8", "replace"), limit=limit, seconds=self.seconds, files=files,
        )  # fmt: skip
