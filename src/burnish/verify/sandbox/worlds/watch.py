"""What a program under way uses, read from /proc, and its end by kill.

Every process of a world descends from its first one, which the program can neither leave nor end, so a walk over
children finds them all. Memory is what has no file behind it: anonymous, shared and swapped pages.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

PASSES = 100
_PAGES = re.compile(rb"^(?:RssAnon|RssShmem|VmSwap):\s+(\d+)", re.M)
_THREADS = re.compile(rb"^Threads:\s+(\d+)", re.M)
_SHARE = re.compile(rb"^(?:Pss_Anon|Pss_Shmem|SwapPss):\s+(\d+)", re.M)


def _read(path: str) -> bytes:
    try:
        with open(path, "rb", buffering=0) as file:
            return file.read(1 << 16)
    except OSError:
        return b""  # it has ended


def descendants(pid: int) -> Iterator[int]:
    """The process and all below it, parents first."""
    queue = [pid]
    while queue:
        one = queue.pop()
        yield one
        queue += children(one)


def children(pid: int) -> list[int]:
    """The processes that it started, or was left with, and that have not been waited for."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return []
    return [int(child) for thread in threads for child in _read(f"/proc/{pid}/task/{thread}/children").split()]


def usage(keeper: int, template: int, most: int) -> tuple[int, int, list[int]]:
    """(threads, KiB, processes) of what runs below the keeper, our own two left out; counts little beyond `most`."""
    threads = memory = 0
    found = []
    for one in descendants(keeper):
        if one in (keeper, template):
            continue
        text = _read(f"/proc/{one}/status")
        found.append(one)
        threads += int(counted[1]) if (counted := _THREADS.search(text)) else 0
        memory += sum(map(int, _PAGES.findall(text)))
        if threads > most:
            break
    return threads, memory, found


def exact_memory(processes: list[int]) -> int:
    """KiB with every shared page counted once; slower, so asked only when the quick sum is above the limit."""
    total = 0
    for one in processes:
        text = _read(f"/proc/{one}/smaps_rollup")
        pages = _SHARE.findall(text) or _PAGES.findall(_read(f"/proc/{one}/status"))
        total += sum(map(int, pages))
    return total


def folder_size(folder: str) -> int:
    """KiB that the files below a folder take."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(place, name)).st_blocks
    return total >> 1


def kill_world(descriptor: int) -> None:
    """Ends the first process of a PID namespace, and with it, by the kernel's hand, every other."""
    with contextlib.suppress(ProcessLookupError, OSError):
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)


def kill_tree(pid: int) -> None:
    """Without a PID namespace: ends what descends from `pid` or shares a session with one that does.

    What is stopped forks no more, so the passes that find somebody new come to an end; only then is anybody killed.
    """
    own, sessions, stopped = {_session(os.getpid()), 0}, set(), set()
    for _ in range(PASSES):
        below = set(descendants(pid))
        sessions |= {_session(one) for one in below} - own
        fresh = (below | set(_of_sessions(sessions))) - stopped - {os.getpid()}
        if not fresh:
            break
        for one in fresh:
            _signal(one, signal.SIGSTOP)
        stopped |= fresh
    for one in stopped:
        _signal(one, signal.SIGKILL)


def _signal(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def _session(pid: int) -> int:
    fields = _read(f"/proc/{pid}/stat").rpartition(b")")[2].split()
    return int(fields[3]) if len(fields) > 3 else 0


def _of_sessions(sessions: set[int]) -> list[int]:
    pids = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return [pid for pid in pids if _session(pid) in sessions]
