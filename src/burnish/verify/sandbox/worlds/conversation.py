"""A program under way that is asked: frames over a socket, while a thread watches over its limits."""

from __future__ import annotations

import contextlib
import signal
import socket
import struct
import threading
import time
from typing import Protocol

from burnish.errors import WorkerError
from burnish.protocols import Ran
from burnish.verify.sandbox.worlds.request import Request

GRACE = 1.0  # seconds for a program to end when nobody will ask any more


class Watched(Protocol):
    """What a conversation needs of a world."""

    request: Request
    talk: socket.socket | None
    ended: threading.Event

    def run(self) -> Ran: ...

    def kill(self, limit: str) -> None: ...

    def signal(self, number: int) -> None: ...


class Talk:
    """`burnish.protocols.Conversation` with a world. One question at a time; safe to stop from another thread."""

    def __init__(self, world: Watched) -> None:
        assert world.talk is not None
        self._world, self._socket = world, world.talk
        self._lock = threading.Lock()
        self._ran: Ran | None = None
        self._wrong: BaseException | None = None
        self._thread = threading.Thread(target=self._watch, name="sandbox watch", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        try:
            self._ran = self._world.run()
        except BaseException as error:
            self._wrong = error

    def ask(self, message: str, *, seconds: float = 5.0) -> str:
        """The program's answer.

        Raises:
            WorkerError: the program has ended, was ended by a limit, or gave no answer in `seconds`, which ends it.
        """
        with self._lock:
            try:
                return self._exchange(message, time.monotonic() + seconds)
            except TimeoutError:
                self._world.kill("time")
            except OSError:
                pass  # it ended; why, is what it left
            raise WorkerError(f"the program under way is gone: {self._why()}")

    def interrupt(self) -> None:
        """Ctrl-C: KeyboardInterrupt in the program's main thread."""
        self._world.signal(signal.SIGINT)

    @property
    def alive(self) -> bool:
        return not self._world.ended.is_set()

    def stop(self) -> Ran:
        """Ends the program, by kill if it does not go when it is not asked any more; says what it left."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
        if not self._world.ended.wait(GRACE):
            self._world.kill("")
        self._thread.join()
        if self._wrong is not None:
            raise self._wrong
        assert self._ran is not None
        return self._ran

    def __enter__(self) -> Talk:
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def _exchange(self, message: str, until: float) -> str:
        data = message.encode("utf-8", "surrogatepass")
        if self._world.ended.is_set():
            raise BrokenPipeError
        self._socket.settimeout(max(until - time.monotonic(), 0.001))
        self._socket.sendall(struct.pack("!I", len(data)) + data)
        (size,) = struct.unpack("!I", self._exactly(4, until))
        if size > self._world.request.limits.output_kib << 10:
            self._world.kill("output")
            raise BrokenPipeError
        return self._exactly(size, until).decode("utf-8", "replace")

    def _exactly(self, count: int, until: float) -> bytes:
        data = bytearray()
        while len(data) < count:
            self._socket.settimeout(max(until - time.monotonic(), 0.001))
            part = self._socket.recv(min(count - len(data), 1 << 20))
            if not part:
                raise BrokenPipeError
            data += part
        return bytes(data)

    def _why(self) -> str:
        self._world.ended.wait(5)
        self._thread.join(5)
        if self._ran is None:
            return str(self._wrong or "it could not be ended")
        if self._ran.limit:
            return f"it broke the limit on {self._ran.limit}"
        last = self._ran.stderr.strip().splitlines()[-1:] or ["nothing on stderr"]
        return f"it ended with status {self._ran.status} ({last[0][:200]})"
