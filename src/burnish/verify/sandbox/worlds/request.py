"""What is asked of a world, checked before anything starts."""

from __future__ import annotations

import json
import math
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from burnish.errors import SettingsError
from burnish.protocols import Limits

OPEN_FILES = 256
INODES = 16384
PAGE = 4096
USUAL = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What is to run in a world: `code` in Python, or `argv`."""

    code: str = ""
    argv: tuple[str, ...] = ()
    stdin: bytes = b""
    files: Mapping[str, bytes] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    limits: Limits = USUAL
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
        above = {str(parent) for name in self.files for parent in PurePosixPath(name).parents}
        if both := above & {*self.files}:
            raise SettingsError(f"file {sorted(both)[0]!r} is also the folder of another file")
        size = sum(-(-len(data) // PAGE) * PAGE for data in self.files.values()) + 4 * len(self.code)
        if size >= self.limits.disk_mib << 20 or len(self.files) + len(above) > INODES // 2:
            raise SettingsError(
                f"limits: {len(self.files)} files of {size} bytes do not fit into disk_mib={self.limits.disk_mib}"
            )
        if any("\0" in word for word in self.argv):
            raise SettingsError("command: a word holds a NUL character")
        return self

    def payload(self) -> list[bytes]:
        """Two heads, each with its length, and the bytes of the files: what the keeper reads, what the program is."""
        limits = self.limits
        files = dict(self.files)
        if not self.argv:
            files.setdefault("main.py", self.code.encode("utf-8", "surrogatepass"))
        cores = os.cpu_count() or 1
        keeper = {"keep": self.keep, "disk": limits.disk_mib << 20, "inodes": INODES}
        program = {
            "code": self.code, "argv": self.argv, "talks": self.talks,
            "files": [[name, len(data)] for name, data in files.items()],
            "limits": {
                "NPROC": limits.processes, "NOFILE": OPEN_FILES, "CORE": 0, "FSIZE": limits.disk_mib << 20,
                "CPU": math.ceil(limits.seconds * cores) + 1, "DATA": (2 * limits.memory_mib + 1024) << 20,
            },
        }  # fmt: skip
        heads = [json.dumps(head).encode() for head in (keeper, program)]
        return [*(struct.pack("!I", len(head)) + head for head in heads), *files.values()]
