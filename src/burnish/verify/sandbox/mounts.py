"""What of the machine a program may see: the system's programs, Python and the toolchains, all of it read-only.

Never a home folder, never an environment variable of the host. A toolchain outside /usr is bound by its own folder
(the one above `bin`), and by its file alone where that folder is a home or holds a person's settings.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from functools import cache
from pathlib import Path

ROOT = "/box"  # work (the program's folder), tmp and shm, on one tmpfs
INSIDE = "/run/warden"  # the files of `inside/`
TOOLS = ("g++", "gcc", "clang++", "javac", "java", "node", "go", "rustc", "cargo", "php", "ruby", "perl", "lua", "tsc")
SYSTEM = ("/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("alternatives", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types")
DEVICES = ("null", "zero", "full", "random", "urandom")
LINKS = (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2"))


def _home() -> Path:
    return Path.home().resolve()


def _safe(folder: Path) -> bool:
    """A folder that is a program's own: not the root, not a home, not the settings folder of one."""
    home = _home()
    if folder in (Path("/"), Path("/opt"), Path("/root"), Path("/home"), home) or folder in home.parents:
        return False
    return not (folder.parent == home and folder.name.startswith("."))


@cache
def python_folders() -> tuple[str, ...]:
    """The prefixes of this interpreter, the virtual environment's first."""
    found = []
    program = Path(sys.executable)
    for one in (sys.prefix, sys.base_prefix, sys.exec_prefix, str(program.resolve().parent.parent)):
        if one not in found and Path(one) not in (Path("/"), Path("/usr"), _home()):
            found.append(one)
    return tuple(found)


@cache
def tool_folders() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(folders to bind, folders for PATH) of the toolchains that PATH finds outside /usr."""
    bound: list[str] = []
    paths: list[str] = []
    for name in TOOLS:
        found = shutil.which(name)
        if found is None:
            continue
        if Path(found).parent.name == "shims":  # pyenv and its like: a script, not the program
            continue
        real = Path(found).resolve()
        if name in ("rustc", "cargo") and (chain := _rust_toolchain(Path(found))):
            bound.append(str(chain))
            real = chain / "bin" / name
        elif not real.is_relative_to("/usr"):
            bound.append(str(real.parent.parent if _safe(real.parent.parent) else real))
        else:
            continue
        paths.append(str(real.parent))
    kept = tuple(dict.fromkeys(one for one in bound if os.path.exists(one)))
    return kept, tuple(dict.fromkeys(paths))


def _rust_toolchain(found: Path) -> Path | None:
    """Where rustup's stand-in for a compiler leads: the default toolchain, whose folder holds nobody's settings."""
    if not (found.parent / "rustup").exists():
        return None
    home = Path(os.environ.get("RUSTUP_HOME", _home() / ".rustup"))
    try:
        default = re.search(r'^default_toolchain\s*=\s*"(.+?)"', (home / "settings.toml").read_text(), re.M)
        chains = sorted((home / "toolchains").iterdir())
    except OSError:
        return None
    named = [one for one in chains if default is not None and one.name == default[1]]
    return next(iter(named or chains), None)


def environment() -> dict[str, str]:
    """All that a program finds in its environment."""
    _, paths = tool_folders()
    python = str(Path(sys.executable).parent)
    return {
        "PATH": ":".join([python, *paths, "/usr/local/bin", "/usr/bin", "/bin"]),
        "HOME": f"{ROOT}/tmp", "TMPDIR": f"{ROOT}/tmp", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8",
        "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "GOCACHE": f"{ROOT}/tmp/.go", "GOFLAGS": "-mod=mod",
    }  # fmt: skip


def arguments() -> list[str]:
    """bubblewrap's arguments for the file system, without the tmpfs at `ROOT` and without sealing the root."""
    folders = [one for one in (*python_folders(), *tool_folders()[0]) if not Path(one).is_relative_to("/usr")]
    above = {str(parent) for one in (*folders, "/etc/x", "/var/x", INSIDE) for parent in Path(one).parents}
    words = [word for parent in sorted(above - {"/"}) for word in ("--dir", parent)]  # or only root could pass
    words += ["--ro-bind", "/usr", "/usr"]
    for place in SYSTEM:
        if os.path.islink(place):
            words += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            words += ["--ro-bind", place, place]
    java = [f"java{rest}" for rest in _starting("/etc", "java")]
    for name in (*SETTINGS, *java):
        words += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
    for folder in folders:
        words += ["--ro-bind", folder, folder]
    words += ["--ro-bind", str(Path(__file__).parent / "inside"), INSIDE, "--tmpfs", "/dev"]
    for name in DEVICES:
        words += ["--dev-bind", f"/dev/{name}", f"/dev/{name}"]
    for name, rest in LINKS:
        words += ["--symlink", f"/proc/self/fd{rest}", f"/dev/{name}"]
    words += ["--symlink", f"{ROOT}/shm", "/dev/shm"]
    for place in ("/tmp", "/var/tmp"):
        if place not in above:  # a virtual environment may lie in there: then TMPDIR alone names the place to write
            words += ["--symlink", f"{ROOT}/tmp", place]
    return [*words, "--remount-ro", "/dev"]


def _starting(folder: str, start: str) -> list[str]:
    try:
        return sorted(name.removeprefix(start) for name in os.listdir(folder) if name.startswith(start))
    except OSError:
        return []
