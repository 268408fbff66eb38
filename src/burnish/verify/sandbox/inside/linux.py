"""The system calls for which Python 3.11 has no function, by ctypes. Runs inside the sandbox: standard library only."""

from __future__ import annotations

import ctypes
import os
import resource
import struct

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000
NOSUID, NODEV, NOEXEC, PRIVATE, RECURSIVE = 2, 4, 8, 1 << 18, 1 << 14
DEATH_SIGNAL, DUMPABLE, SECCOMP, DROP_BOUNDING, SUBREAPER, NO_NEW_PRIVILEGES, AMBIENT = 1, 4, 22, 24, 36, 38, 47
CLEAR_AMBIENT, FILTER = 4, 2
CAPABILITIES_V3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = [ctypes.c_int] + [ctypes.c_ulong] * 4
_libc.mount.argtypes = [ctypes.c_char_p] * 3 + [ctypes.c_ulong, ctypes.c_char_p]


def _checked(result: int, what: str) -> None:
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")


def unshare(flags: int) -> None:
    _checked(_libc.unshare(flags), "unshare")


def enter(descriptor: int, kind: int) -> None:
    """`setns`: children are born in the namespace of `descriptor` from now on."""
    _checked(_libc.setns(descriptor, kind), "setns")


def mount(source: str, target: str, kind: str, flags: int, data: str = "") -> None:
    _checked(_libc.mount(source.encode(), target.encode(), kind.encode(), flags, data.encode()), f"mount {target}")


def unmount(target: str) -> None:
    """Takes the file system away at once, whoever still holds something of it (MNT_DETACH)."""
    _checked(_libc.umount2(target.encode(), 2), f"umount {target}")


def process(option: int, value: int = 0, more: int = 0) -> None:
    """`prctl`."""
    _checked(_libc.prctl(option, value, more, 0, 0), f"prctl {option}")


def own_user(uid: int) -> None:
    """A user namespace of its own in which this process is `uid`; outside it stays who it was."""
    outside, group = os.geteuid(), os.getegid()
    unshare(NEWUSER)
    process(DUMPABLE, 1)  # or the files below would belong to somebody else
    for name, text in ("setgroups", "deny"), ("uid_map", f"{uid} {outside} 1"), ("gid_map", f"{uid} {group} 1"):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)


def become(uid: int) -> None:
    """From root of this namespace to an ordinary user of it, without groups; every capability goes with it."""
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    process(DUMPABLE, 0)


def drop_capabilities() -> None:
    """Every capability, of every set, for good."""
    for capability in range(64):
        if _libc.prctl(DROP_BOUNDING, capability, 0, 0, 0) == -1:
            break  # the last that this kernel knows, or nothing left to drop with
    _libc.prctl(AMBIENT, CLEAR_AMBIENT, 0, 0, 0)
    header, nothing = struct.pack("=Ii", CAPABILITIES_V3, 0), bytes(24)
    _checked(_libc.capset(header, nothing), "capset")


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_void_p))


def seal(instructions: bytes) -> None:
    """No new privileges, and the BPF program over every system call from now on (8 bytes an instruction)."""
    process(NO_NEW_PRIVILEGES, 1)
    held = ctypes.create_string_buffer(instructions, len(instructions))
    program = _Program(len(instructions) // 8, ctypes.cast(held, ctypes.c_void_p))
    process(SECCOMP, FILTER, ctypes.addressof(program))


def limit(name: str, value: int) -> None:
    """Lower a resource limit, hard and soft, never above what is allowed already."""
    number = getattr(resource, f"RLIMIT_{name}")
    hard = resource.getrlimit(number)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(number, (value, value))
