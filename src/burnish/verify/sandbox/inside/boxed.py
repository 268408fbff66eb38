"""The trusted process of a container: runs one program and speaks with Burnish over its own stdin and stdout.

Frames of one byte, four of length, and data. In come P (the request), T (bytes for a program that is asked), I (a
signal) and X (nobody will ask any more); out go S, O, R (stdout, stderr), T, D (the end) and F (bytes of files). The
program cannot end this process, which is the container's first, nor reach its descriptors. Standard library only;
`program`, the module beside this one, is put into `sys.modules` by whoever starts it.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import resource
import select
import signal
import socket
import stat
import struct
import sys
import time
from typing import Any, NoReturn

import program

TICK, DRAIN = 20, 1.0  # milliseconds between two looks, seconds for pipes to run dry
COUNTERS = {  # where a container sees its own limits: cgroup version 2, then 1
    "memory": (
        ("/sys/fs/cgroup/memory.events", b"oom_kill"),
        ("/sys/fs/cgroup/memory/memory.oom_control", b"oom_kill"),
    ),
    "processes": (("/sys/fs/cgroup/pids.events", b"max"), ("/sys/fs/cgroup/pids/pids.events", b"max")),
}


def frame(kind: bytes, data: bytes = b"") -> None:
    left = memoryview(kind + struct.pack("!I", len(data)) + data)
    while left:
        left = left[os.write(1, left) :]


def read(count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = os.read(0, count - len(data))
        if not part:
            os._exit(0)  # nobody is there any more
        data += part
    return data


def heard() -> tuple[bytes, bytes]:
    kind, size = struct.unpack("!cI", read(5))
    return kind, read(size)


class Box:
    """One program, from the request to its end."""

    def __init__(self, root: str, payload: bytes) -> None:
        self.asked: dict[str, Any] = {}
        at = 0
        for _ in range(2):  # what a keeper would read, and what the program is
            size = struct.unpack("!I", payload[at : at + 4])[0]
            self.asked |= json.loads(payload[at + 4 : at + 4 + size])
            at += 4 + size
        self.root, self.limit = root, ""
        for name in ("work", "tmp"):
            os.makedirs(os.path.join(root, name), exist_ok=True)
        for name, length in self.asked["files"]:
            path = os.path.join(root, "work", name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "xb") as file:
                file.write(payload[at : at + length])
            at += length
        self.before = counted()
        self.start(payload[at:])

    def start(self, stdin: bytes) -> None:
        source = os.open(os.path.join(self.root, "stdin"), os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        os.unlink(os.path.join(self.root, "stdin"))
        os.write(source, stdin)
        os.lseek(source, 0, os.SEEK_SET)
        out, err = os.pipe(), os.pipe()
        ours, theirs = socket.socketpair()
        self.child = os.fork()
        if self.child == 0:
            try:
                self.become([source, out[1], err[1], theirs.fileno()])
            finally:
                os._exit(71)
        for descriptor in (source, out[1], err[1], theirs.detach()):
            os.close(descriptor)
        self.pipes, self.talk = {out[0]: b"O", err[0]: b"R"}, ours
        frame(b"S")

    def become(self, wanted: list[int]) -> NoReturn:
        talks = bool(self.asked["talks"])
        for number, one in enumerate([os.dup2(one, 100 + i) for i, one in enumerate(wanted)]):
            os.dup2(one, number)
        os.closerange(4 if talks else 3, 4096)
        os.setsid()
        os.chdir(os.path.join(self.root, "work"))
        for name, value in self.asked["limits"].items():
            if name != "NPROC":  # the engine counts processes
                hard = resource.getrlimit(number := getattr(resource, f"RLIMIT_{name}"))[1]
                value = value if hard == resource.RLIM_INFINITY else min(value, hard)
                resource.setrlimit(number, (value, value))
        ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE: it may look at itself again
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        if self.asked["argv"]:
            argv = self.asked["argv"]
            try:
                os.execvp(argv[0], argv)
            except OSError as error:
                os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
            os._exit(127 if not os.path.exists(argv[0]) else 126)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        program.execute(self.asked["code"], os.getcwd(), 3 if talks else None)

    def run(self) -> None:
        status, until = None, 0.0
        talk = self.talk.fileno()
        poller = select.poll()
        for descriptor in (0, talk, *self.pipes):
            poller.register(descriptor, select.POLLIN)
        while self.pipes and not (status is not None and time.monotonic() > until):
            for descriptor, _ in poller.poll(TICK):
                if descriptor == 0:
                    self.obey(*heard())
                elif not (data := self.taken(descriptor)):
                    poller.unregister(descriptor)
                    self.pipes.pop(descriptor, None)
                else:
                    frame(self.pipes.get(descriptor, b"T"), data)
            if status is None:
                status = self.ended()
                until = time.monotonic() + DRAIN
        while status is None:  # it closed its streams, and lives
            time.sleep(TICK / 1000)
            if select.select([0], [], [], 0)[0]:
                self.obey(*heard())
            status = self.ended()
        self.report(status)

    def taken(self, descriptor: int) -> bytes:
        try:
            return os.read(descriptor, 1 << 16)
        except ConnectionError:
            return b""

    def obey(self, kind: bytes, data: bytes) -> None:
        try:
            if kind == b"T":
                self.talk.sendall(data)
            elif kind == b"X":
                self.talk.shutdown(socket.SHUT_WR)
            elif kind == b"I":
                os.kill(self.child, struct.unpack("!I", data)[0])
        except OSError:
            pass  # it has ended

    def ended(self) -> int | None:
        """The program's status when it has ended, or is ended here for a limit; nothing of it runs afterwards."""
        pid, code = os.waitpid(self.child, os.WNOHANG)
        now = counted()
        broken = [name for name in now if now[name] > self.before[name]]
        if not pid and "processes" in broken:
            os.kill(self.child, signal.SIGKILL)
            _, code = os.waitpid(self.child, 0)
        elif not pid:
            return None
        status = os.waitstatus_to_exitcode(code)
        self.limit = broken[0] if broken and status else ""
        while os.getpid() == 1:
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                break
        return status

    def report(self, status: int) -> None:
        use = os.statvfs(self.root)
        told = {"status": status, "full": os.getpid() == 1 and not (use.f_bfree and use.f_ffree), "limit": self.limit}
        most, found = self.asked["disk"], []
        for name in self.asked["keep"]:
            path = os.path.join(self.root, "work", name)
            if os.path.realpath(path) != os.path.realpath(self.root) + "/work/" + name:
                continue  # a link, or behind one
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
            except OSError:
                continue
            about = os.fstat(descriptor)
            if stat.S_ISREG(about.st_mode) and about.st_size <= most:
                most -= about.st_size
                with open(descriptor, "rb") as file:
                    found.append((name, file.read(about.st_size)))
            else:
                os.close(descriptor)
        frame(b"D", json.dumps({**told, "files": [[name, len(data)] for name, data in found]}).encode())
        for _, data in found:
            frame(b"F", data)


def counted() -> dict[str, int]:
    """How often the container has met each limit, as far as it can tell."""
    found = {}
    for name, (word, places) in COUNTERS.items():
        found[name] = 0
        for place in places:
            try:
                with open(f"/sys/fs/cgroup/{place}", "rb") as file:
                    found[name] += sum(int(line.split()[1]) for line in file if line.split()[0] == word)
            except (OSError, ValueError, IndexError):
                continue
    return found


def main() -> None:
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: the program cannot look in here
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    Box(sys.argv[1], heard()[1]).run()


if __name__ == "__main__":
    main()
