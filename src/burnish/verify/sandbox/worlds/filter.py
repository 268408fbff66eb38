"""The system calls that foreign code may not make, as a seccomp BPF program of our own.

What is missing here is allowed: the namespaces, the read-only root and the lack of capabilities hold without the
filter; it takes the kernel's rarely used doors out of reach (seccomp(2); the list follows the calls that container
engines refuse without capabilities).
"""

from __future__ import annotations

import errno
import platform
import struct

from burnish.errors import SettingsError

# name -> number on x86_64, number on aarch64 (None: that machine has no such call). linux/unistd.h.
REFUSED: dict[str, tuple[int | None, int | None]] = {
    "ptrace": (101, 117), "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "kcmp": (312, 272),
    "pidfd_getfd": (438, 438), "process_madvise": (440, 440), "process_mrelease": (448, 448),
    "mount": (165, 40), "umount2": (166, 39), "pivot_root": (155, 41), "chroot": (161, 51), "open_tree": (428, 428),
    "move_mount": (429, 429), "fsopen": (430, 430), "fsconfig": (431, 431), "fsmount": (432, 432),
    "fspick": (433, 433), "mount_setattr": (442, 442), "unshare": (272, 97), "setns": (308, 268),
    "add_key": (248, 217), "request_key": (249, 218), "keyctl": (250, 219), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282), "io_uring_setup": (425, 425),
    "io_uring_enter": (426, 426), "io_uring_register": (427, 427), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106),
    "reboot": (169, 142), "swapon": (167, 224), "swapoff": (168, 225), "acct": (163, 89), "settimeofday": (164, 170),
    "clock_settime": (227, 112), "clock_adjtime": (305, 266), "adjtimex": (159, 171), "quotactl": (179, 60),
    "quotactl_fd": (443, 443), "syslog": (103, 116), "iopl": (172, None), "ioperm": (173, None),
    "modify_ldt": (154, None), "uselib": (134, None), "nfsservctl": (180, 42), "lookup_dcookie": (212, 18),
    "fanotify_init": (300, 262), "fanotify_mark": (301, 263), "name_to_handle_at": (303, 264),
    "open_by_handle_at": (304, 265), "sethostname": (170, 161), "setdomainname": (171, 162), "vhangup": (153, 58),
    "migrate_pages": (256, 238), "move_pages": (279, 239), "vmsplice": (278, 75), "memfd_secret": (447, 447),
}  # fmt: skip
# Refused as if the kernel did not have them, so that libraries take the older way: clone3 hides its flags behind a
# pointer, memfd and System V memory are counted in no process, message queues outlive theirs.
MISSING: dict[str, tuple[int | None, int | None]] = {
    "clone3": (435, 435), "memfd_create": (319, 279), "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190),
    "mq_open": (240, 180), "mq_unlink": (241, 181),
}  # fmt: skip
CLONE, SOCKET, SOCKETPAIR = (56, 220), (41, 198), (53, 199)
PERSONALITY, IOCTL = (135, 92), (16, 29)
# Calls that change another process of the same user; refused unless the process (the first argument) is 0, the caller.
OTHERS: dict[str, tuple[int, int]] = {
    "prlimit64": (302, 261), "sched_setaffinity": (203, 122), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274),
}  # fmt: skip
SETPRIORITY, IOPRIO_SET = (141, 140), (251, 30)  # which (0: a process; 1: a process), then who
FIRST_UNKNOWN = 457  # statmount; calls from here on are younger than this list
NEW_NAMESPACE = 0x7E020000  # every CLONE_NEW* flag that fits into clone's argument
TERMINAL = (0x5412, 0x541C)  # TIOCSTI and TIOCLINUX type into somebody's terminal
X32 = 0x40000000

ALLOW, KILL, ERROR = 0x7FFF0000, 0x80000000, 0x00050000
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
_LOAD, _EQUAL, _ATLEAST, _ANY, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_NUMBER, _ARCH, _ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data


def _step(code: int, value: int, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("=HBBI", code, yes, no, value)


def _refuse(number: int) -> bytes:
    return _step(_RETURN, ERROR | number)


def _when(call: int, block: list[bytes]) -> list[bytes]:
    """`block`, which must end in a return, for one call; all others go past it."""
    return [_step(_EQUAL, call, 0, len(block)), *block]


def _only(argument: int, values: tuple[int, ...], number: int) -> list[bytes]:
    """Allowed when the low half of the argument is one of the values, refused otherwise."""
    tests = [_step(_EQUAL, value, len(values) - i, 0) for i, value in enumerate(values)]
    return [_step(_LOAD, _ARGUMENT + 8 * argument), *tests, _refuse(number), _step(_RETURN, ALLOW)]


def _never(argument: int, values: tuple[int, ...], number: int) -> list[bytes]:
    tests = [_step(_EQUAL, value, len(values) - i, 0) for i, value in enumerate(values)]
    return [_step(_LOAD, _ARGUMENT + 8 * argument), *tests, _step(_RETURN, ALLOW), _refuse(number)]


def bpf(machine: str = "") -> bytes:
    """The filter for a machine (`platform.machine()` by default), 8 bytes an instruction, little-endian.

    Raises:
        SettingsError: for a machine other than x86_64 and aarch64.
    """
    machine = machine or platform.machine()
    if machine not in MACHINES:
        raise SettingsError(f"the sandbox has no system call filter for {machine}, only for {', '.join(MACHINES)}")
    arch, column = MACHINES[machine]
    steps = [_step(_LOAD, _ARCH), _step(_EQUAL, arch, 1, 0), _step(_RETURN, KILL), _step(_LOAD, _NUMBER)]
    if machine == "x86_64":
        steps += [_step(_ATLEAST, X32, 0, 1), _step(_RETURN, KILL)]
    steps += [_step(_ATLEAST, FIRST_UNKNOWN, 0, 1), _refuse(errno.ENOSYS)]
    for table, number in (REFUSED, errno.EPERM), (MISSING, errno.ENOSYS):
        for columns in table.values():
            if (call := columns[column]) is not None:
                steps += _when(call, [_refuse(number)])
    flags = [_step(_LOAD, _ARGUMENT), _step(_ANY, NEW_NAMESPACE, 1, 0), _step(_RETURN, ALLOW), _refuse(errno.EPERM)]
    steps += _when(CLONE[column], flags)
    steps += _when(SOCKET[column], _only(0, (1,), errno.EAFNOSUPPORT))  # AF_UNIX, whose names the namespaces hold
    steps += _when(SOCKETPAIR[column], _only(0, (1,), errno.EAFNOSUPPORT))
    steps += _when(PERSONALITY[column], _only(0, (0, 0xFFFFFFFF), errno.EPERM))
    for columns in OTHERS.values():
        steps += _when(columns[column], _only(0, (0,), errno.EPERM))
    for columns, which in (SETPRIORITY, 0), (IOPRIO_SET, 1):
        block = [
            _step(_LOAD, _ARGUMENT),
            _step(_EQUAL, which, 1, 0),
            _refuse(errno.EPERM),
            *_only(1, (0,), errno.EPERM),
        ]
        steps += _when(columns[column], block)
    steps += _when(IOCTL[column], _never(1, TERMINAL, errno.EPERM))
    return b"".join([*steps, _step(_RETURN, ALLOW)])
