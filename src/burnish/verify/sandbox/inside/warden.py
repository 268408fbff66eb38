"""The trusted process inside the sandbox: starts one world per request and sees it to its end.

    python -I warden.py MODE CONTROL ROOT      MODE: warm, once or bare; CONTROL: a socket by number

`warm` serves requests for as long as somebody holds the other end; each gets its own process, mount, IPC and user
namespaces and its own tmpfs. `once` is the first process of a sandbox that serves a single request. `bare` is the
same without any sandbox. A request is one byte and its descriptors: what is to run (sealed memory), where stdout and
stderr go, where to report, and, if there are such, stdin and the socket of a program that is asked.

No byte of a request is read by the process that serves the next one. Runs inside: standard library only.
"""

from __future__ import annotations

import fcntl
import gc
import json
import os
import resource
import signal
import socket
import stat
import struct
import sys
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import contextlib

import linux
import program

sys.path.pop(0)
PIECE = 1 << 16
USER = 1000
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def serve(control: socket.socket, root: str) -> NoReturn:
    """One world per request until the other end is closed."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what ends is reaped by the kernel
    while True:
        kind, descriptors, _, _ = socket.recv_fds(control, 16, 8)
        if not kind:
            os._exit(0)
        try:
            linux.unshare(linux.NEWPID)
            child = os.fork()
            if child == 0:
                control.close()
                os.close(own)
                world("warm", root, kind, descriptors)
            linux.enter(own, linux.NEWPID)
        except OSError as error:
            _fault(descriptors[3], error)
        for descriptor in descriptors:
            os.close(descriptor)


def world(mode: str, root: str, kind: bytes, descriptors: list[int]) -> NoReturn:
    """The first process of a world: prepares it, starts the program, waits, clears up, reports."""
    report = socket.socket(fileno=descriptors[3])
    try:
        linux.process(linux.DUMPABLE, 0)  # nobody in here looks into this process
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if mode == "warm":
            os.setsid()
            _own_world(root, _limits(descriptors[0]))
        elif os.getuid() == 0 and mode == "once":
            os.chown(root, USER, USER)
        if os.getuid() == 0 and mode != "bare":
            linux.become(USER)
        asked = _request(descriptors[0], root)
        place = os.open(root, os.O_PATH | os.O_DIRECTORY)
        child = os.fork()
        if child == 0:
            try:
                _become(mode, root, asked, kind, descriptors)
            finally:
                os._exit(71)
        for descriptor in {*descriptors} - {descriptors[3]}:
            os.close(descriptor)
        socket.send_fds(report, [b"S" + struct.pack("=i", child)], [place])
        told = _wait(mode, child, root, place)
        _finish(report, told, root, asked["keep"], asked["limits"]["disk"])
    except BaseException as error:
        _fault(report.fileno(), error)
    os._exit(0)


def _limits(payload: int) -> dict[str, int]:
    return json.loads(os.pread(payload, struct.unpack("!I", os.pread(payload, 4, 0))[0], 4))["limits"]


def _own_world(root: str, limits: dict[str, int]) -> None:
    linux.unshare(linux.NEWNS | linux.NEWIPC | linux.NEWUTS)
    linux.mount("none", "/", "", linux.PRIVATE | linux.RECURSIVE)
    options = f"size={limits['disk']},nr_inodes={limits['inodes']},mode=0755,uid={USER},gid={USER}"
    linux.mount("tmpfs", root, "tmpfs", linux.NOSUID | linux.NODEV, options)
    linux.mount("proc", "/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC, "subset=pid")


def _request(payload: int, root: str) -> dict[str, Any]:
    """What is to run; the files that come with it are written below `root`/work."""
    for name in ("work", "tmp", "shm"):
        os.makedirs(os.path.join(root, name), exist_ok=True)
    size = struct.unpack("!I", os.pread(payload, 4, 0))[0]
    asked: dict[str, Any] = json.loads(os.pread(payload, size, 4))
    at = 4 + size
    for name, length in asked["files"]:
        path = os.path.join(root, "work", name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "xb") as file:
            while length:
                length -= (sent := os.sendfile(file.fileno(), payload, at, length))
                at += sent
                if not sent:
                    raise OSError(f"{name} does not fit")
    return asked


def _become(mode: str, root: str, asked: dict[str, Any], kind: bytes, descriptors: list[int]) -> NoReturn:
    """The child turns into the program. The report is closed last, so that a fault on the way is never a verdict."""
    report = fcntl.fcntl(descriptors[3], fcntl.F_DUPFD_CLOEXEC, 120)
    try:
        talk = _arrange(kind, descriptors, report)
        os.chdir(os.path.join(root, "work"))
        if mode == "bare":
            os.setsid()  # by which it is found and ended
        _close_in(mode, asked)
        for number in (*IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
    except BaseException as error:
        _fault(report, error)
        os._exit(71)
    os.close(report)
    if asked["argv"]:
        _exec(asked["argv"])
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    program.execute(asked["code"], os.getcwd(), talk)


def _arrange(kind: bytes, descriptors: list[int], report: int) -> int | None:
    """stdin, stdout, stderr and the socket of a conversation become 0 to 3; all but the report is closed."""
    source = descriptors[4] if b"i" in kind else os.open("/dev/null", os.O_RDONLY)
    wanted = [source, *descriptors[1:3], *(descriptors[-1:] if b"t" in kind else [])]
    high = [fcntl.fcntl(one, fcntl.F_DUPFD_CLOEXEC, 100) for one in wanted]
    for number, one in enumerate(high):
        os.dup2(one, number)
    os.closerange(len(wanted), report)
    os.closerange(report + 1, 65536)
    return 3 if b"t" in kind else None


def _close_in(mode: str, asked: dict[str, Any]) -> None:
    """Limits that the kernel keeps, no capabilities, filtered system calls; last of all, so that nothing is undone."""
    limits = asked["limits"]
    if mode == "warm":
        linux.own_user(USER)
    linux.process(linux.DUMPABLE, 1)
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")  # before anything of the host's
    for name, value in ("CORE", 0), ("NOFILE", limits["open"]), ("CPU", limits["cpu"]), ("DATA", limits["data"]):
        linux.limit(name, value)
    if mode == "bare":
        linux.limit("FSIZE", limits["disk"])
        return
    for name, value in ("NPROC", limits["processes"] + 8), ("MEMLOCK", 1 << 16), ("MSGQUEUE", 1 << 16):
        linux.limit(name, value)
    linux.drop_capabilities()
    linux.seal(bytes.fromhex(asked["system_calls"]))


def _exec(argv: list[str]) -> NoReturn:
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
    os._exit(127 if not os.path.exists(argv[0]) else 126)


def _wait(mode: str, child: int, root: str, place: int) -> dict[str, Any]:
    """The program's end; then nothing of it is left but its files."""
    status = None
    while status is None:
        ended, code = os.waitpid(-1, 0)
        if ended == child:
            status = os.waitstatus_to_exitcode(code)
    _end_all(mode)
    use = os.fstatvfs(place)
    full = mode != "bare" and (use.f_bfree == 0 or use.f_ffree == 0)
    return {"status": status, "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, "full": full}


def _end_all(mode: str) -> None:
    while True:
        try:
            if mode == "bare":
                with open(f"/proc/self/task/{os.getpid()}/children") as file:
                    for one in file.read().split():
                        os.kill(int(one), signal.SIGKILL)
            else:
                os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _finish(report: socket.socket, told: dict[str, Any], root: str, keep: list[str], most: int) -> None:
    """The verdict, then the bytes of the files that were asked for, one after the other."""
    found = []
    for name in keep:
        path = os.path.join(root, "work", name)
        if os.path.realpath(path) != path:
            continue  # a link, or behind one
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        except OSError:
            continue
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode):
            os.close(descriptor)
        elif about.st_size > most:
            os.close(descriptor)
            told["full"] = True
        else:
            most -= about.st_size
            found.append((name, about.st_size, descriptor))
    report.send(b"D" + json.dumps({**told, "files": [[name, size] for name, size, _ in found]}).encode())
    for _, size, descriptor in found:
        while size:
            piece = os.read(descriptor, min(size, PIECE)) or bytes(min(size, PIECE))
            report.send(b"F" + piece)
            size -= len(piece)


def _fault(descriptor: int, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, b"E" + f"{type(error).__name__}: {error}".encode("utf-8", "replace"))


def main() -> NoReturn:
    mode, control, root = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), sys.argv[3]
    linux.process(linux.DUMPABLE, 0)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    if mode == "warm":
        for name in sys.argv[4:]:
            __import__(name)
        gc.collect()
        gc.disable()
        gc.freeze()
        serve(control, root)
    if mode == "bare":
        linux.process(linux.SUBREAPER, 1)
    kind, descriptors, _, _ = socket.recv_fds(control, 16, 8)
    if not kind:
        os._exit(0)
    control.close()
    world(mode, root, kind, descriptors)


if __name__ == "__main__":
    main()
