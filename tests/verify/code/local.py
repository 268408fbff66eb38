"""A plain bubblewrap executor, one process a call, for tests of what stands on the `Executor` protocol."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from burnish.errors import WorkerError
from burnish.protocols import Limits, Ran

WALL = "bwrap --ro-bind / / --dev /dev --proc /proc --tmpfs /tmp --unshare-all --die-with-parent".split()
HEAD = """
import os as _os
def _line(read=_os.fdopen(_os.dup(0), "rb"), write=_os.fdopen(_os.dup(1), "wb")):
    def ask():
        text = read.readline()
        if not text:
            _os._exit(0)
        return text.decode("ascii")
    def answer(text):
        write.write(text.encode("ascii") + b"\\n")
        write.flush()
    return ask, answer
ask, answer = _line()
_os.dup2(_os.open("/dev/null", 0), 0)
_os.dup2(2, 1)
"""


def _limits(limits: Limits) -> str:
    size = limits.memory_mib << 20
    return (
        f"import resource as r; r.setrlimit(r.RLIMIT_AS, ({size}, {size})); r.setrlimit(r.RLIMIT_CORE, (0, 0));"
        f"r.setrlimit(r.RLIMIT_FSIZE, ({limits.disk_mib << 20},) * 2)\n"
    )


@dataclass
class Talk:
    process: subprocess.Popen[bytes]
    errors: object
    limit: str = ""
    rest: bytes = b""
    began: float = field(default_factory=time.monotonic)

    def ask(self, message: str, *, seconds: float = 5.0) -> str:
        until = time.monotonic() + seconds
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(message.encode("ascii") + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise WorkerError("the program has ended") from None
        with selectors.DefaultSelector() as waiting:
            waiting.register(self.process.stdout, selectors.EVENT_READ)
            parts = []
            while True:
                if not waiting.select(max(until - time.monotonic(), 0)):
                    self.limit = "time"
                    self.process.kill()
                    raise WorkerError("the time is up")
                piece = os.read(self.process.stdout.fileno(), 1 << 20)
                if not piece:
                    raise WorkerError("the program has ended")
                parts.append(piece)
                if b"\n" in piece:
                    return b"".join(parts).decode("ascii", "replace").removesuffix("\n")

    def stop(self) -> Ran:
        if self.process.poll() is None:
            try:
                self.process.wait(0.02 if self.limit else 0.0)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                pipe.close()  # type: ignore[union-attr]
            except OSError:
                pass
        self.errors.seek(0)  # type: ignore[attr-defined]
        text = self.errors.read()[:100_000].decode("utf-8", "replace")  # type: ignore[attr-defined]
        self.errors.close()  # type: ignore[attr-defined]
        return Ran(status=self.process.returncode, stdout="", stderr=text, limit=self.limit)


@dataclass(frozen=True)
class LocalExecutor:
    """Isolation by bubblewrap, no warm interpreters."""

    def run(self, code: str, *, stdin: str = "", files: Mapping[str, bytes] = {}, limits: Limits = Limits()) -> Ran:
        files = {**files, "main.py": code.encode("utf-8", "surrogatepass")}
        head = _limits(limits) + "import runpy; runpy.run_path('main.py', run_name='__main__')"
        return self.command([sys.executable, "-I", "-c", head], stdin=stdin, files=files, limits=limits)

    def command(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        files: Mapping[str, bytes] = {},
        keep: Sequence[str] = (),
        limits: Limits = Limits(),
    ) -> Ran:
        with tempfile.TemporaryDirectory() as folder:
            for name, data in files.items():
                (Path(folder) / name).write_bytes(data)
            words = [*WALL, "--bind", folder, "/tmp/box", "--chdir", "/tmp/box", *argv]
            began, limit = time.monotonic(), ""
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                env={"PATH": "/usr/bin:/bin:" + str(Path.home() / ".cargo/bin"), "HOME": str(Path.home())},
            )
            try:
                out, err = process.communicate(stdin.encode("utf-8", "replace"), timeout=limits.seconds)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                out, err = process.communicate()
                limit = "time"
            kept = {name: (Path(folder) / name).read_bytes() for name in keep if (Path(folder) / name).is_file()}
        size = limits.output_kib << 10
        if len(out) + len(err) > size:
            limit = limit or "output"
        told = [part[:size].decode("utf-8", "replace") for part in (out, err)]
        took = time.monotonic() - began
        return Ran(status=process.returncode, stdout=told[0], stderr=told[1], limit=limit, seconds=took, files=kept)

    def start(self, code: str, *, files: Mapping[str, bytes] = {}, limits: Limits = Limits()) -> Talk:
        errors = tempfile.TemporaryFile()
        text = _limits(limits) + HEAD + code
        process = subprocess.Popen(
            [*WALL, "--chdir", "/tmp", sys.executable, "-I", "-c", text],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
        return Talk(process, errors)
