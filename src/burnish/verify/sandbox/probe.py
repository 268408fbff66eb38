"""What this machine offers to foreign code: namespaces, filters, container engines, interpreters and compilers."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from burnish.verify.sandbox import wardens
from burnish.verify.sandbox.bubblewrap import version
from burnish.verify.sandbox.worlds.filter import MACHINES

# name -> how it tells its version
VERSIONS: dict[str, tuple[str, ...]] = {
    "g++": ("g++", "--version"), "javac": ("javac", "-version"), "java": ("java", "-version"),
    "node": ("node", "--version"), "go": ("go", "version"), "rustc": ("rustc", "--version"),
    "tsc": ("tsc", "--version"), "php": ("php", "--version"), "ruby": ("ruby", "--version"),
    "perl": ("perl", "-e", "print $^V"), "bash": ("bash", "--version"),
}  # fmt: skip
SWITCHES = (  # file under /proc/sys, what it must not hold, how to change it
    ("user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=15000"),
    ("kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("kernel/apparmor_restrict_unprivileged_userns", "1",
     "sysctl kernel.apparmor_restrict_unprivileged_userns=0, or an AppArmor profile for bwrap"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """What was found. A text that is empty means: nothing stands in the way.

    Args:
        bubblewrap: the program's version, empty when there is none.
        namespaces: why a sandbox cannot be started; empty when it can.
        warm: why there is no warm warden, so that every check pays for a sandbox of its own; empty when there is.
        seccomp: why there is no system call filter; empty when there is.
        cgroups: 2 or 1, whichever is mounted, 0 for none. Limits do not need them.
        docker, podman: the server's or program's version, or why it cannot be used, in parentheses.
        tools: compiler or interpreter -> version, of those that are there.
    """

    bubblewrap: str = ""
    namespaces: str = ""
    warm: str = ""
    seccomp: str = ""
    cgroups: int = 0
    docker: str = ""
    podman: str = ""
    tools: Mapping[str, str] = field(default_factory=dict)

    @property
    def isolated(self) -> bool:
        """Whether `Bubblewrap` runs here."""
        return bool(self.bubblewrap) and not self.namespaces and not self.seccomp

    def missing(self) -> str:
        """What stands in the way of `Bubblewrap`, and how to mend it; empty when nothing does."""
        if not self.bubblewrap:
            return "no bubblewrap: install it (Debian, Ubuntu: apt install bubblewrap; Fedora: dnf install bubblewrap)"
        return self.namespaces or self.seccomp

    def lines(self) -> list[str]:
        """For people: one line a finding."""
        found = [
            f"bubblewrap  {self.bubblewrap or 'missing'}", f"namespaces  {self.namespaces or 'yes'}",
            f"warm        {self.warm or 'yes'}", f"seccomp     {self.seccomp or 'yes'}",
            f"cgroups     {self.cgroups or 'none'}", f"docker      {self.docker or 'missing'}",
            f"podman      {self.podman or 'missing'}",
        ]  # fmt: skip
        return [*found, *(f"{name:<11} {told}" for name, told in self.tools.items())]


def probe(
    *,
    tools: bool = True,
    bwrap: str = "bwrap",
    settings: Path = Path("/proc/sys"),
    which: Callable[[str], str | None] = shutil.which,
) -> Probe:
    """Looks around, and starts one warm sandbox to know that it works.

    Args:
        tools: also ask compilers and interpreters for their versions, which takes a second.
        bwrap: the program, by name or path.
        settings: the folder of the kernel's switches.
        which: finds a program by name.
    """
    program = which(bwrap)
    namespaces = warm = ""
    if program is None:
        warm = "no bubblewrap"
    else:
        held = wardens.warm(program, True)
        warm = held if isinstance(held, str) else ""
        namespaces = _namespaces(program, settings) if warm else ""
    with ThreadPoolExecutor(4) as pool:
        names = [name for name in VERSIONS if tools and which(name)]
        told = list(pool.map(lambda name: _number(_said(list(VERSIONS[name]))), names))
        engines = list(pool.map(lambda name: _engine(name) if which(name) else "", ("docker", "podman")))
    return Probe(
        bubblewrap=".".join(map(str, version(program))) if program else "", namespaces=namespaces, warm=warm,
        seccomp=_seccomp(), cgroups=_cgroups(), docker=engines[0], podman=engines[1],
        tools=dict(zip(names, told, strict=True)),
    )  # fmt: skip


def _namespaces(program: str, settings: Path) -> str:
    """Why even a sandbox for one check does not start."""
    try:
        warden = wardens.start(lambda control: [program, *wardens.ISOLATED, "--ro-bind", "/", "/", "true"])
    except OSError as error:
        return f"{program}: {error}"
    told = warden.process.communicate(timeout=30)[1].decode("utf-8", "replace").strip()
    warden.close()
    if warden.process.returncode == 0:
        return ""
    for name, bad, cure in SWITCHES:
        place = settings / name
        if place.exists() and place.read_text().strip() == bad:
            return f"no user namespaces ({name.replace('/', '.')} is {bad}): {cure}"
    last = told.splitlines()[-1] if told else f"status {warden.process.returncode}"
    return f"no user namespaces ({last}): in a container, allow them to it (docker: --security-opt seccomp=unconfined)"


def _seccomp() -> str:
    if platform.machine() not in MACHINES:
        return f"no system call filter for {platform.machine()}, only for {', '.join(MACHINES)}"
    status = Path("/proc/self/status")
    if not status.exists() or "Seccomp:" not in status.read_text():
        return "this kernel has no seccomp (CONFIG_SECCOMP_FILTER)"
    return ""


def _cgroups() -> int:
    if os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        return 2
    return 1 if os.path.isdir("/sys/fs/cgroup") and os.listdir("/sys/fs/cgroup") else 0


def _engine(name: str) -> str:
    text = _said([name, "info", "--format", "{{.ServerVersion}}" if name == "docker" else "{{.Version.Version}}"])
    last = text.strip().splitlines()[-1:] or ["no answer"]
    return last[0] if re.fullmatch(r"[\w.+~-]*\d[\w.+~-]*", last[0]) else f"({last[0][:120]})"


def _said(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.SubprocessError) as error:
        return str(error)
    return done.stdout + done.stderr


def _number(text: str) -> str:
    found = re.search(r"\d+(?:\.\d+)+", text)
    return found[0] if found else text.strip().splitlines()[0][:60] if text.strip() else "unknown"
