"""Starts wardens: a warm one per process and setting, kept; or one that serves a single request and goes.

A warm warden is started at the first check, ends with the process that started it (it waits on a socket that dies
with its holder), and is replaced when it fails. After a fork the child starts its own.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from weakref import WeakSet

from burnish.errors import WorkerError
from burnish.verify.sandbox.mounts import INSIDE, ROOT, arguments, environment
from burnish.verify.sandbox.worlds.filter import bpf
from burnish.verify.sandbox.worlds.request import Request
from burnish.verify.sandbox.worlds.world import Slot, Unstarted, World

# Imported by the warm warden before it forks: what small programs ask for most, and no more, since a fork pays for
# every page. (638 completions of HumanEval and MBPP import typing 63 times, math 20, random 12, re 12, copy 6.)
PRELOADED = (
    "typing", "collections", "itertools", "functools", "math", "cmath", "re", "string", "random", "heapq", "bisect",
    "copy", "operator", "datetime", "traceback", "linecache",
)  # fmt: skip
IDLE = 2 * (os.cpu_count() or 1)  # slots that are kept for the next check
ISOLATED = (
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--hostname", "sandbox", "--as-pid-1", "--new-session", "--cap-drop", "ALL",
)  # fmt: skip
# The one who runs foreign code when Burnish runs as root: outside the sandbox this id must own nothing. It lies in a
# range that systemd leaves to nobody (60578 to 61183). As root itself, a program could write what root owns where
# there is no capability to ask for: sysctl files, and the modes of device nodes.
STRANGER = 60999
USER = 1000  # who a program believes to be


def interpreter(packages: bool) -> list[str]:
    """Python as it runs in the sandbox: nothing of the environment, and installed packages only when asked for."""
    return [sys.executable, "-I", "-B", "-X", "utf8", *(() if packages else ("-S",))]


def _user(*capabilities: str) -> list[str]:
    """As root the warden stays root of its namespace, to become the stranger; else it is the program's user already."""
    if os.geteuid():
        words = ["--uid", str(USER), "--gid", str(USER)]
    else:
        words = []
        capabilities = (*capabilities, "CAP_SETUID", "CAP_SETGID", "CAP_CHOWN")
    return [*words, *(word for one in capabilities for word in ("--cap-add", one))]


def warm_command(bwrap: str, control: int, *, packages: bool = True) -> list[str]:
    """Keeps the one capability with which the warden gives each world its namespaces; no program ever has it."""
    inside = [*interpreter(packages), f"{INSIDE}/warden.py", "warm", str(control), ROOT, *PRELOADED]
    places = [*arguments(), "--proc", "/proc", "--dir", ROOT, "--remount-ro", "/"]
    return [bwrap, *ISOLATED, *_user("CAP_SYS_ADMIN"), *places, "--", *inside]


def once_command(bwrap: str, control: int, *, packages: bool = True, disk_mib: int | None = None) -> list[str]:
    """A sandbox for one request. `disk_mib` is None for a bubblewrap that cannot size a tmpfs; the watch sees to it."""
    inside = [*interpreter(packages), f"{INSIDE}/warden.py", "once", str(control), ROOT]
    size = [] if disk_mib is None else ["--size", str(disk_mib << 20)]
    places = [*arguments(), "--proc", "/proc", *size, "--tmpfs", ROOT, "--remount-ro", "/"]
    return [bwrap, *ISOLATED, *_user(), *places, "--", *inside]


def bare_command(control: int, root: str, *, packages: bool = True) -> list[str]:
    place = str(Path(__file__).parent / "inside" / "warden.py")
    return [*interpreter(packages), place, "bare", str(control), root]


class Warden:
    """A started warden: its process, our end of its control socket, and the slots that are free.

    Args:
        process: the command under way.
        control: the socket that ends it when nobody holds this end.
    """

    def __init__(self, process: subprocess.Popen[bytes], control: socket.socket) -> None:
        self.process, self.control = process, control
        self._free: list[Slot] = []
        self._lock = threading.Lock()
        self._closed = False

    def slot(self) -> Slot:
        """A free slot, or one more. Raises Unstarted when nobody is there."""
        with self._lock:
            if self._free:
                return self._free.pop()
        ours, theirs = line()
        with theirs:
            try:
                socket.send_fds(self.control, [b"n"], [theirs.fileno()])
            except OSError as error:
                ours.close()
                raise Unstarted from error
        return Slot(ours, self._release)

    def _release(self, slot: Slot) -> None:
        with self._lock:
            if not self._closed and len(self._free) < IDLE:
                self._free.append(slot)
                return
        slot.close()

    def said(self) -> str:
        """What the command wrote to stderr before it failed, for a message."""
        self.control.close()
        try:
            text = self.process.communicate(timeout=5)[1].decode("utf-8", "replace").strip()
        except subprocess.TimeoutExpired:
            self.process.kill()
            text = ""
        return text.splitlines()[-1] if text else f"it ended with status {self.process.poll()}"

    def close(self) -> None:
        """The warden, and every slot of it, ends with its control socket."""
        self.abandon()
        try:
            self.process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        if self.process.stderr is not None:
            self.process.stderr.close()

    def abandon(self) -> None:
        """Lets go of every socket."""
        with self._lock:
            self._closed, free = True, self._free
            self._free = []
        self.control.close()
        for slot in free:
            slot.close()

    def forked(self) -> None:
        """In a forked child: the slots are the parent's, so is the process."""
        self._lock = threading.Lock()
        self.abandon()
        self.process.returncode = 0  # not ours to wait for


def line() -> tuple[socket.socket, socket.socket]:
    """Two ends that keep message boundaries; ours learns from the kernel who sends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return ours, theirs


def start(command: Callable[[int], list[str]], *, isolated: bool = True) -> Warden:
    """Runs the command, which is told the number of its end of the control socket."""
    ours, theirs = line()
    with theirs:
        words, given = command(theirs.fileno()), [theirs.fileno()]
        if isolated and os.geteuid() == 0:
            with _Mapping() as mapping:
                words = [words[0], *mapping.words, *words[1:]]
                process = _popen(words, [*given, *mapping.given])
                mapping.write()
        else:
            process = _popen(words, given)
        with contextlib.suppress(OSError):  # it has failed already, and will be asked why
            ours.send(bpf())
    warden = Warden(process, ours)
    _started.add(warden)
    return warden


def _popen(words: list[str], given: list[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        words, env=environment(), pass_fds=given, start_new_session=True, umask=0o022, cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip


class _Mapping:
    """Tells the kernel, in bubblewrap's place, who is who in its new user namespace: root, and the stranger."""

    def __enter__(self) -> _Mapping:
        self._info, info = os.pipe()
        block, self._go = os.pipe()
        self.given = [info, block]
        self.words = ["--info-fd", str(info), "--userns-block-fd", str(block)]
        return self

    def write(self) -> None:
        os.close(self.given.pop(0))  # the end of what bubblewrap says
        text = b""
        while part := os.read(self._info, 4096):
            text += part
        if not text:
            return  # it failed before; its stderr says why
        pid = json.loads(text)["child-pid"]
        for name in ("gid_map", "uid_map"):
            Path(f"/proc/{pid}/{name}").write_text(f"0 0 1\n{USER} {STRANGER} 1\n")
        os.write(self._go, b"1")

    def __exit__(self, *exception: object) -> None:
        for descriptor in (*self.given, self._info, self._go):
            os.close(descriptor)


_warm: dict[tuple[str, bool], Warden | str] = {}
_started: WeakSet[Warden] = WeakSet()
_lock = threading.Lock()


def warm(bwrap: str, packages: bool) -> Warden | str:
    """The warm warden of this process, started if need be; or the reason why this machine has none."""
    with _lock:
        held = _warm.get((bwrap, packages))
        if held is None:
            held = _warm[bwrap, packages] = _try_warm(bwrap, packages)
        return held


def _try_warm(bwrap: str, packages: bool) -> Warden | str:
    warden = start(lambda control: warm_command(bwrap, control, packages=packages))
    try:
        World(Request(code="pass"), warden.slot()).begin().run()
    except Unstarted:
        return warden.said()
    except WorkerError as error:
        warden.close()
        return str(error)
    return warden


def forget(warden: Warden) -> None:
    """A warden that failed; the next check starts another."""
    with _lock:
        for key, held in list(_warm.items()):
            if held is warden:
                del _warm[key]
                warden.close()


def close_all() -> None:
    """Ends the warm wardens of this process; the next check starts new ones."""
    with _lock:
        for held in _warm.values():
            if isinstance(held, Warden):
                held.close()
        _warm.clear()


def _forked() -> None:
    """In a forked child: the wardens are the parent's. Closing our copies leaves them to it."""
    global _lock
    _lock = threading.Lock()
    for warden in list(_started):
        warden.forked()
    _started.clear()
    _warm.clear()


atexit.register(close_all)
os.register_at_fork(after_in_child=_forked)
