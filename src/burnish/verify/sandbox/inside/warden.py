"""The trusted processes inside the sandbox: they start one program at a time and see each to its end.

    python -I warden.py MODE CONTROL ROOT [MODULES]    MODE: warm, once or bare; CONTROL: a socket by number

A *slot* is where programs run one after the other. It has two processes: the keeper, which is the first process of
the slot's PID namespace and so can be neither ended nor stopped from inside, and the template, which has given up
every right and forks one child per program. Between two programs the keeper sees that no process is left, and takes
the only file system that can be written away; the next program gets a new one. `warm` makes slots on request, each
with namespaces of its own; `once` is one slot for one program; `bare` is the same without any sandbox.

A request is one byte and its descriptors: what is to run (sealed memory), where stdout and stderr go, and, if there
are such, stdin and the socket of a program that is asked. The template never reads a request: nothing of one program
is in the memory of the next. Standard library only.
"""

from __future__ import annotations

import contextlib
import fcntl
import gc
import json
import os
import signal
import socket
import stat
import struct
import sys
from typing import Any, NoReturn

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import linux
import program

sys.path.pop(0)
PIECE = 1 << 16
USER = 1000
LINE = 120  # the number of a template's line, above every descriptor that comes with a request
SPARE = 64  # processes above the limit that the kernel allows: the watch outside sees the limit broken before it is met
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def serve(control: socket.socket, root: str, system_calls: bytes) -> NoReturn:
    """A slot per message, until the other end is closed; the message brings the slot's socket."""
    own = os.open("/proc/self/ns/pid", os.O_RDONLY)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # what ends is reaped by the kernel
    while True:
        kind, descriptors, _, _ = socket.recv_fds(control, 16, 4)
        if not kind:
            os._exit(0)
        (line,) = descriptors
        try:
            linux.unshare(linux.NEWPID)
            child = os.fork()
            if child == 0:
                control.close()
                os.close(own)
                Keeper("warm", root, socket.socket(fileno=line), system_calls).live()
            linux.enter(own, linux.NEWPID)
        except OSError as error:
            _fault(line, error)
        os.close(line)


class Keeper:
    """The first process of a slot. It reads requests; the template, another process, does not."""

    def __init__(self, mode: str, root: str, line: socket.socket, system_calls: bytes) -> None:
        self.mode, self.root, self.line = mode, os.path.realpath(root), line
        self.system_calls = system_calls

    def live(self) -> NoReturn:
        try:
            self.prepare()
            while True:
                kind, descriptors, _, _ = socket.recv_fds(self.line, 16, 8)
                if not kind:
                    break
                self.serve(kind, descriptors)
                if self.mode != "warm":
                    break
        except BaseException as error:
            _fault(self.line.fileno(), error)
        if self.mode == "bare":
            self.end_all()
        os._exit(0)

    def prepare(self) -> None:
        """Namespaces, the template, and a first word: its process id, ours by descriptor."""
        linux.process(linux.DUMPABLE, 0)  # nobody in here looks into this process
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        if self.mode == "warm":
            os.setsid()
            linux.unshare(linux.NEWNS | linux.NEWIPC | linux.NEWUTS)
            linux.mount("none", "/", "", linux.PRIVATE | linux.RECURSIVE)
            linux.mount("proc", "/proc", "proc", linux.NOSUID | linux.NODEV | linux.NOEXEC, "subset=pid")
        elif self.mode == "once" and os.getuid() == 0:
            os.chown(self.root, USER, USER)
        self.template, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.child = os.fork()
        if self.child == 0:
            self.template.close()
            self.line.close()
            Template(self.mode, self.root, other, self.system_calls).live()
        other.close()
        if (said := self.template.recv(PIECE)) != b"R":
            raise RuntimeError(said[1:].decode("utf-8", "replace") or "the template ended")
        socket.send_fds(self.line, [b"H" + struct.pack("=i", self.child)], [os.pidfd_open(os.getpid())])

    def serve(self, kind: bytes, descriptors: list[int]) -> None:
        """One program, from a new file system to a report."""
        size = struct.unpack("!I", os.pread(descriptors[0], 4, 0))[0]
        asked: dict[str, Any] = json.loads(os.pread(descriptors[0], size, 4))
        if self.mode == "warm":
            options = f"size={asked['disk']},nr_inodes={asked['inodes']},mode=0755,uid={USER},gid={USER}"
            linux.mount("tmpfs", self.root, "tmpfs", linux.NOSUID | linux.NODEV, options)
        place = os.open(self.root, os.O_PATH | os.O_DIRECTORY)
        with contextlib.suppress(OSError):
            socket.send_fds(self.template, [kind], descriptors)
        if self.template.recv(PIECE) != b"A":
            os._exit(0)  # the program before has ended it in the last moment; this one goes to another slot
        socket.send_fds(self.line, [b"S"], [place])
        for descriptor in descriptors:
            os.close(descriptor)
        said = self.template.recv(PIECE)
        if said[:1] == b"E":
            self.line.send(said)
            os._exit(0)
        told = json.loads(said) if said else {"status": -9, "peak": 0}  # it ended the template: that is its own end
        with self.as_user():
            told["left"] = self.end_others(whole=not said)
            use = os.fstatvfs(place)
            told["full"] = self.mode != "bare" and (use.f_bfree == 0 or use.f_ffree == 0)
            os.close(place)
            self.report(told, asked["keep"], asked["disk"])
        if not said:
            os._exit(0)
        if self.mode == "warm":
            linux.unmount(self.root)

    @contextlib.contextmanager
    def as_user(self) -> Any:
        """As root of the namespace, with the program's own rights over its files and processes."""
        root = self.mode != "bare" and os.getuid() == 0
        if root:
            os.setegid(USER)
            os.seteuid(USER)
        try:
            yield
        finally:
            if root:
                os.seteuid(0)
                os.setegid(0)

    def end_others(self, *, whole: bool) -> int:
        """Ends what the program left running, and counts it. The template goes with it unless nothing was left."""
        count = 0
        if self.mode != "bare" and not whole:
            while not whole and (ended := os.waitpid(-1, os.WNOHANG)[0]):
                whole = ended == self.child  # else an orphan that has ended by itself
            with contextlib.suppress(ProcessLookupError):
                os.kill(-1, signal.SIGSTOP)  # nobody forks past the look that follows
            count = len({name for name in os.listdir("/proc") if name.isdigit()} - {"1", str(self.child)})
            if not count and not whole:
                os.kill(self.child, signal.SIGCONT)
                return 0
            self.template.close()
        self.end_all()
        if self.mode == "warm":
            self.mode = "spent"
        return count

    def end_all(self) -> None:
        while True:
            with contextlib.suppress(ProcessLookupError):
                if self.mode == "bare":
                    with open(f"/proc/self/task/{os.getpid()}/children") as file:
                        for one in file.read().split():
                            os.kill(int(one), signal.SIGKILL)
                else:
                    os.kill(-1, signal.SIGKILL)
            try:
                os.waitpid(-1, 0)
            except ChildProcessError:
                return

    def report(self, told: dict[str, Any], keep: list[str], most: int) -> None:
        """The verdict, then the bytes of the files that were asked for, one after the other."""
        found = []
        for name in keep:
            path = os.path.join(self.root, "work", name)
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
        told |= {"files": [[name, size] for name, size, _ in found], "again": self.mode == "warm"}
        self.line.send(b"D" + json.dumps(told).encode())
        for _, size, descriptor in found:
            while size:
                piece = os.read(descriptor, min(size, PIECE)) or bytes(min(size, PIECE))
                self.line.send(b"F" + piece)
                size -= len(piece)
            os.close(descriptor)
        if found:
            self.line.send(b"Z")


class Template:
    """The process that programs are forked from: it has given up every right, and holds nothing of any request."""

    def __init__(self, mode: str, root: str, line: socket.socket, system_calls: bytes) -> None:
        self.mode, self.root, self.line = mode, root, line
        self.system_calls = system_calls

    def live(self) -> NoReturn:
        try:
            self.give_up()
            self.line.send(b"R")
            while True:
                kind, descriptors, _, _ = socket.recv_fds(self.line, 16, 8)
                if not kind:
                    break
                self.line.send(b"A")  # before there is a program that could end this process
                child = os.fork()
                if child == 0:
                    try:
                        self.become(kind, descriptors)
                    finally:
                        os._exit(71)
                for descriptor in descriptors:
                    os.close(descriptor)
                _, code, use = os.wait4(child, 0)
                told = {"status": os.waitstatus_to_exitcode(code), "peak": use.ru_maxrss}
                self.line.send(json.dumps(told).encode())
        except BaseException as error:
            _fault(self.line.fileno(), error)
        os._exit(0)

    def give_up(self) -> None:
        """Descriptors and signals as a program finds them; another user, no capabilities, filtered system calls."""
        high = fcntl.fcntl(self.line.detach(), fcntl.F_DUPFD_CLOEXEC, LINE)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        os.closerange(3, high)  # so that what comes with a request has numbers between
        os.closerange(high + 1, 65536)
        self.line = socket.socket(fileno=high)
        for number in IGNORED:
            signal.signal(number, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if self.mode == "bare":
            return
        if os.getuid() == 0:
            linux.become(USER)
        if self.mode == "warm":
            linux.own_user(USER)
        linux.process(linux.DUMPABLE, 1)
        with open("/proc/self/oom_score_adj", "w") as file:
            file.write("1000")  # before anything of the host's
        os.chdir("/")
        for name, value in ("CORE", 0), ("MEMLOCK", 1 << 16), ("MSGQUEUE", 1 << 16):
            linux.limit(name, value)
        linux.drop_capabilities()
        linux.seal(self.system_calls)
        linux.process(linux.DUMPABLE, 0)

    def become(self, kind: bytes, descriptors: list[int]) -> NoReturn:
        """The child turns into the program. The line is closed last, so that a fault on the way is no verdict."""
        line = self.line.fileno()
        try:
            asked = self.unpack(descriptors[0])
            for number, one in enumerate(descriptors[1:3], 1):
                os.dup2(one, number)
            if b"i" in kind:
                os.dup2(descriptors[3], 0)
            talk = os.dup2(descriptors[-1], 3) if b"t" in kind else None
            os.closerange(3 if talk is None else 4, LINE)
            os.closerange(LINE + 1, 65536)
            os.chdir(os.path.join(self.root, "work"))
            os.setsid()
            for name, value in asked["limits"].items():
                if name != "NPROC":
                    linux.limit(name, value)
                elif self.mode != "bare":
                    linux.limit(name, value + SPARE)
            linux.process(linux.DUMPABLE, 1)
        except BaseException as error:
            _fault(line, error)
            os._exit(71)
        os.close(line)
        if asked["argv"]:
            _exec(asked["argv"])
        program.execute(asked["code"], os.getcwd(), talk)

    def unpack(self, payload: int) -> dict[str, Any]:
        """What is to run; the files that come with it are written below `root`/work."""
        sizes = [struct.unpack("!I", os.pread(payload, 4, 0))[0]]
        at = 4 + sizes[0]
        size = struct.unpack("!I", os.pread(payload, 4, at))[0]
        asked: dict[str, Any] = json.loads(os.pread(payload, size, at + 4))
        at += 4 + size
        for name in ("work", "tmp", "shm"):
            os.mkdir(os.path.join(self.root, name))
        for name, length in asked["files"]:
            path = os.path.join(self.root, "work", name)
            if "/" in name:
                os.makedirs(os.path.dirname(path), exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
            while length:
                length -= (sent := os.sendfile(file, payload, at, length))
                at += sent
                if not sent:
                    raise OSError(f"{name} does not fit")
            os.close(file)
        return asked


def _exec(argv: list[str]) -> NoReturn:
    for number in (signal.SIGINT, signal.SIGPIPE, signal.SIGXFSZ):  # as a shell would start it
        signal.signal(number, signal.SIG_DFL)
    try:
        os.execvp(argv[0], argv)
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode("utf-8", "replace"))
    os._exit(127 if not os.path.exists(argv[0]) else 126)


def _fault(descriptor: int, error: BaseException) -> None:
    with contextlib.suppress(OSError):
        os.write(descriptor, b"E" + f"{type(error).__name__}: {error}".encode("utf-8", "replace"))


def main() -> NoReturn:
    mode, control, root = sys.argv[1], socket.socket(fileno=int(sys.argv[2])), sys.argv[3]
    linux.process(linux.DUMPABLE, 0)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    system_calls = control.recv(PIECE)
    if not system_calls:
        os._exit(0)
    for name in sys.argv[4:]:
        __import__(name)
    gc.collect()
    gc.disable()
    gc.freeze()
    if mode == "warm":
        serve(control, root, system_calls)
    if mode == "bare":
        linux.process(linux.SUBREAPER, 1)
    Keeper(mode, root, control, system_calls).live()


if __name__ == "__main__":
    main()
