"""Programs that mean harm, and how each must end.

`ends` lists what is allowed: the name of a limit, an exit status, or `held`: status 0 and the one word `held`, printed
when every attempt was refused. An attempt that succeeds prints ESCAPED. `{SECRET}` is a file of the host.
"""
# ruff: noqa: E501 - a table: one program a row

from __future__ import annotations

import platform
from dataclasses import dataclass

from burnish.verify.sandbox.worlds.filter import CLONE, MACHINES, MISSING, OTHERS, REFUSED, SETPRIORITY

_COLUMN = MACHINES.get(platform.machine(), (0, 0))[1]
NUMBERS = {
    name: columns[_COLUMN]
    for name, columns in {**REFUSED, **MISSING, **OTHERS, "clone": CLONE, "setpriority": SETPRIORITY}.items()
    if columns[_COLUMN] is not None
}

PRELUDE = f"""
import ctypes, os, signal, socket, subprocess, sys, threading, time
libc = ctypes.CDLL(None, use_errno=True)
NR = {NUMBERS!r}
def call(name, *words):
    number = NR.get(name, name)
    words = [ctypes.c_long(w) if isinstance(w, int) else w for w in words]
    result = libc.syscall(ctypes.c_long(number), *words)
    if result == -1:
        raise OSError(ctypes.get_errno(), name)
    return result
def held(*attempts):
    for i, attempt in enumerate(attempts):
        try:
            result = attempt()
        except Exception as error:
            continue
        print("ESCAPED", i, str(result)[:200])
    print("held")
def read(path):
    return lambda: open(path, "rb").read(64)
def write(path):
    def attempt():
        with open(path, "ab") as file:
            file.write(b"x")
    return attempt
"""


@dataclass(frozen=True, kw_only=True)
class Hostile:
    """One program: Python `code`, or `c`, or a shell command."""

    name: str
    ends: tuple[str | int, ...]
    code: str = ""
    c: str = ""
    shell: str = ""
    seconds: float = 1.5
    memory: int = 256
    disk: int = 32
    once: bool = False  # also in a sandbox without a warm warden


def _py(name: str, ends: str | int | tuple[str | int, ...], code: str, **more: object) -> Hostile:
    return Hostile(name=name, ends=ends if isinstance(ends, tuple) else (ends,), code=PRELUDE + code, **more)  # type: ignore[arg-type]


def _c(name: str, ends: str | int | tuple[str | int, ...], code: str, **more: object) -> Hostile:
    return Hostile(name=name, ends=ends if isinstance(ends, tuple) else (ends,), c=code, **more)  # type: ignore[arg-type]


def _sh(name: str, ends: str | int | tuple[str | int, ...], code: str, **more: object) -> Hostile:
    return Hostile(name=name, ends=ends if isinstance(ends, tuple) else (ends,), shell=code, **more)  # type: ignore[arg-type]


PROCESSES = [
    _py("fork_bomb", "processes", "while True:\n    try: os.fork()\n    except OSError: pass", once=True),
    _sh("fork_bomb_of_shells", "processes", "f() { f | f & wait; }; f"),
    _py("thread_flood", "processes", "while True: threading.Thread(target=time.sleep, args=(99,)).start()", once=True),
    _py("popen_flood", "processes", "held = [subprocess.Popen(['sleep', '99']) for _ in range(500)]"),
    _py("bomb_whose_parents_exit", "processes", """
if os.fork(): time.sleep(99)
while True:
    try:
        if os.fork(): os._exit(0)
        os.fork()
    except OSError: pass
""", seconds=3.0),
    _py("daemon", 0, "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)\n    os._exit(0)"),
    _py("daemon_that_heeds_no_signal", 0, """
if os.fork() == 0:
    for n in range(1, 32):
        if n not in (signal.SIGKILL, signal.SIGSTOP): signal.signal(n, signal.SIG_IGN)
    if os.fork() == 0:
        while True: pass
    os._exit(0)
""", once=True),
    _py("zombies", 0, "for _ in range(20):\n    if os.fork() == 0: os._exit(0)\ntime.sleep(0.05)"),
    _py("child_goes_on_printing", 0, """
if os.fork() == 0:
    while True:
        try: os.write(1, b'.'); time.sleep(0.01)
        except OSError: pass
"""),
    _py("subreaper", 0, """
libc.prctl(36, 1, 0, 0, 0)
if os.fork() == 0:
    if os.fork() == 0: time.sleep(99)
    os._exit(0)
"""),
    _c("fork_bomb_in_c", "processes", """
#include <signal.h>
#include <unistd.h>
int main() { for (int i = 1; i < 32; i++) signal(i, SIG_IGN); for (;;) fork(); }
""", seconds=3.0),
]  # fmt: skip

MEMORY = [
    _py("list_of_bytes", "memory", "held = []\nwhile True: held.append(bytearray(1 << 20))", seconds=6.0, once=True),
    _py("one_huge_request", (1, "memory"), "bytearray(1 << 40)"),
    _py("doubling_text", ("memory", 1), "text = 'x' * 1024\nwhile True: text += text", seconds=6.0),
    _py("shared_mapping", "memory", """
import mmap
for i in range(4096):
    kept = globals().setdefault('kept', []); m = mmap.mmap(-1, 1 << 20); m.write(b'x' * (1 << 20)); kept.append(m)
""", seconds=6.0),
    _py("many_children", "memory", """
for _ in range(8):
    if os.fork() == 0:
        held = bytearray(b'x' * (48 << 20)); time.sleep(99)
time.sleep(99)
""", seconds=6.0, once=True),
    _py("endless_list", "memory", "import itertools\nlist(itertools.count(1 << 40))", seconds=8.0),
    _py("deep_recursion", ("memory", -11, 1), "sys.setrecursionlimit(1 << 30)\ndef f(): return f()\nf()", seconds=8.0),
    _py("deep_parse", (1, -11, "memory", "output"), "eval('(' * 100000)"),
    _py("deep_repr", (1, -11, "memory", "time"), "x = []\nfor _ in range(1 << 20): x = [x]\nsys.setrecursionlimit(1 << 30)\nrepr(x)"),
    _py("file_system_counts_as_memory", "memory", "open('a', 'wb').write(b'x' * (52 << 20)); time.sleep(99)",
        memory=40, disk=64, seconds=6.0),
    _py("shared_memory_object", (1, "disk"), "from multiprocessing import shared_memory\nshared_memory.SharedMemory('burnish_hostile', True, 1 << 30)"),
    _py("memory_without_a_process", "held", "held(lambda: os.memfd_create('x'), lambda: call('memfd_secret', 0))",
        once=True),
    _py("system_v", "held", """
held(lambda: call('shmget', 0, 1 << 20, 0o1666), lambda: call('msgget', 0, 0o1666), lambda: call('semget', 0, 1, 0o1666))
""", once=True),
    _py("message_queue", "held", "held(lambda: call('mq_open', b'burnish_hostile', 0o102, 0o666, None))", once=True),
    _c("malloc_in_c", "memory", """
#include <stdlib.h>
#include <string.h>
int main() { for (;;) { char *p = malloc(1 << 20); if (p) memset(p, 1, 1 << 20); } }
""", seconds=8.0),
    _c("stack_in_c", -11, "int f(int n) { volatile char x[4096]; x[0] = n; return f(n + 1) + x[0]; } int main() { return f(0); }",
       seconds=8.0),
]  # fmt: skip

DISK = [
    _py("file_flood", ("disk", 1), "held = open('a', 'wb')\nwhile True: held.write(b'x' * 65536)", once=True),
    _py("files_in_tmp", "disk", "i = 0\nwhile True:\n    i += 1\n    try: open(f'{os.environ[\"TMPDIR\"]}/{i}', 'wb').write(b'x' * 65536)\n    except OSError: pass"),
    _py("files_in_shm", "disk", "i = 0\nwhile True:\n    i += 1\n    try: open(f'/dev/shm/{i}', 'wb').write(b'x' * 65536)\n    except OSError: pass"),
    _py("empty_files", "disk", "i = 0\nwhile True:\n    i += 1\n    try: open(f'{i}', 'wb').close()\n    except OSError: pass",
        seconds=6.0),
    _py("deep_folders", "disk", "while True:\n    try: os.mkdir('d'); os.chdir('d')\n    except OSError: pass", seconds=6.0),
    _py("sparse_file", "held", "held(lambda: open('a', 'wb').truncate(1 << 40), lambda: os.posix_fallocate(os.open('b', 66), 0, 1 << 30))"),
    _py("links_to_the_system", "held", "held(lambda: os.link('/usr/bin/env', 'x'), lambda: os.rename('/usr/bin/env', 'x'))"),
    _py("loop_of_links", "held", "os.symlink('b', 'a'); os.symlink('a', 'b')\nheld(read('a'))"),
    _sh("dd", ("disk", 1), "dd if=/dev/zero of=big bs=1M"),
]  # fmt: skip

OUTPUT = [
    _py("endless_stdout", "output", "while True: print('x' * 1000)", once=True),
    _py("endless_stderr", "output", "while True: print('x' * 1000, file=sys.stderr)"),
    _py("binary_flood", "output", "data = os.urandom(65536)\nwhile True: os.write(1, data)"),
    _sh("yes", "output", "yes"),
    _py("both_streams", "output", "while True: os.write(1, b'x' * 100); os.write(2, b'y' * 100)"),
    _py("junk", 0, "os.write(1, bytes(range(256)) * 4); sys.stdout.buffer.write('\\ud800'.encode('utf-8', 'surrogatepass'))"),
    _py("surrogate_print", 1, "sys.stdout.reconfigure(errors='strict')\nprint('\\ud800')"),
    _py("closed_streams", "time", "os.close(0); os.close(1); os.close(2)\nwhile True: time.sleep(1)", seconds=0.7, once=True),
    _py("pipe_settings", 0, "import fcntl\nfcntl.fcntl(1, 1031, 1 << 20); os.set_blocking(1, False); print('x')"),
    _py("stdout_replaced", 0, "sys.stdout = sys.stderr = None"),
]  # fmt: skip

TIME = [
    _py("busy", "time", "while True: pass", seconds=0.7, once=True),
    _py("sleeper", "time", "time.sleep(99)", seconds=0.5),
    _py("heeds_no_signal", "time", """
for n in range(1, 65):
    try: signal.signal(n, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: pass
""", seconds=0.5, once=True),
    _py("catches_everything", "time", "while True:\n    try: time.sleep(9)\n    except BaseException: pass", seconds=0.5),
    _py("stops_itself", "time", "os.kill(os.getpid(), signal.SIGSTOP)", seconds=0.5, once=True),
    _py("stops_its_parent", "time", "os.kill(os.getppid(), signal.SIGSTOP)", seconds=0.5),
    _py("deadlock", "time", "lock = threading.Lock(); lock.acquire(); lock.acquire()", seconds=0.5),
    _py("regular_expression", "time", "import re\nre.match('(a+)+$', 'a' * 64 + 'b')", seconds=0.7),
    _py("big_power", "time", "9 ** 9 ** 9", seconds=0.7),
    _py("thread_that_stays", "time", "threading.Thread(target=lambda: time.sleep(99)).start()", seconds=0.5),
    _py("at_exit", "time", "import atexit\natexit.register(time.sleep, 99)", seconds=0.5),
    _py("pipe_to_nobody", "time", "r, w = os.pipe(); os.read(r, 1)", seconds=0.5),
    _py("debugger", (1, "time"), "breakpoint()", seconds=0.7),
    _py("asks_for_input", 1, "input(); input()"),
    _c("loop_in_c", "time", "#include <signal.h>\nint main() { sigset_t s; sigfillset(&s); sigprocmask(SIG_BLOCK, &s, 0); for (;;); }",
       seconds=2.0),
]  # fmt: skip

SIGNALS = [
    _py("kills_the_first_process", 0, "for n in range(1, 65):\n    try: os.kill(1, n)\n    except OSError: pass", once=True),
    _py("kills_its_parent", -9, "os.kill(os.getppid(), 9); time.sleep(9)"),
    _py("kills_all", -9, "os.kill(-1, 9)\nwhile True: time.sleep(1)"),
    _py("kills_all_and_stays", -9, "os.kill(-1, 9)\nos._exit(0)"),
    _py("kills_its_group", -9, "os.kill(0, 9); time.sleep(9)"),
    _py("kills_every_number", -9, "for n in range(65536):\n    try: n != os.getpid() and os.kill(n, 9)\n    except OSError: pass\ntime.sleep(9)"),
    _py("kills_itself", -9, "os.kill(os.getpid(), 9)", once=True),
    _py("segmentation_fault", -11, "ctypes.string_at(0)", once=True),
    _py("abort", -6, "os.abort()"),
    _py("alarm", -14, "signal.alarm(1); signal.signal(signal.SIGALRM, signal.SIG_DFL); time.sleep(9)", seconds=3.0),
    _py("leaves_at_once", 0, "os._exit(0)"),
    _py("leaves_with_a_number", 77, "os._exit(77)"),
    _py("exit_zero", 0, "sys.exit(0)"),
    _py("exit_text", 1, "sys.exit('no')"),
    _py("exit_large", 255, "sys.exit(-1)"),
    _py("interrupt", 1, "raise KeyboardInterrupt"),
    _py("exception_that_cannot_be_shown", 1, "class E(Exception):\n    def __str__(self): raise self\nraise E"),
    _py("hook_that_leaves", 0, "sys.excepthook = lambda *a: os._exit(0)\nraise ValueError"),
    _py("generator_of_exits", 0, "import atexit\natexit.register(os._exit, 0)\nraise ValueError"),
]  # fmt: skip

VISIBLE = (
    "PATH",
    "HOME",
    "TMPDIR",
    "LANG",
    "LC_ALL",
    "PYTHONHASHSEED",
    "PYTHONDONTWRITEBYTECODE",
    "GOCACHE",
    "GOFLAGS",
    "PWD",
)
LOOKING = [
    _py("secrets_of_the_environment", "held", """
names = [n for n in os.environ if n not in VISIBLE]
held(*[(lambda n=n: n) for n in names], lambda: os.environ['BURNISH_SECRET'])
""".replace("VISIBLE", repr(VISIBLE)), once=True),
    _py("files_of_the_host", "held", """
held(read('{SECRET}'), *[read(p) for p in ('/etc/shadow', '/etc/passwd', '/root/.bashrc', '/root/.ssh/id_rsa',
     '/etc/hostname', '/etc/ssh/ssh_host_rsa_key', '/var/log/syslog', '/run/docker.sock', '/boot/vmlinuz')],
     *[(lambda p=p: os.listdir(p)[0]) for p in ('/home', '/mnt', '/srv', '/boot', '/sys', '/run/user', '/var/lib')])
""", once=True),
    _py("path_tricks", "held", """
os.symlink('{SECRET}', 'link'); os.symlink('/', 'root')
held(read('link'), read('root{SECRET}'), read('../../..{SECRET}'), read('/proc/self/root{SECRET}'),
     read('/proc/self/cwd/../../..{SECRET}'), read('/proc/1/root{SECRET}'), read(f'/proc/{{os.getppid()}}/root{SECRET}'))
""".replace("{{", "{").replace("}}", "}"), once=True),
    _py("other_processes", "held", """
kinds = ('mem', 'environ', 'maps', 'stack', 'syscall', 'io', 'auxv', 'smaps')
held(*[read(f'/proc/{p}/{k}') for p in (1, os.getppid()) for k in kinds],
     *[(lambda p=p: os.listdir(f'/proc/{p}/fd')) for p in (1, os.getppid())],
     *[(lambda p=p: os.open(f'/proc/{p}/cwd', 0)) for p in (1, os.getppid())])
""", once=True),
    _py("host_processes", "held", "held(*[(lambda p=p: p) for p in os.listdir('/proc') if p.isdigit() and int(p) > 64])"),
    _py("ptrace", "held", "held(*[(lambda p=p: call('ptrace', 16, p, 0, 0)) for p in (1, os.getppid())], lambda: call('ptrace', 0, 0, 0, 0))", once=True),
    _py("memory_of_others", "held", """
held(*[(lambda n=n, p=p: call(n, p, 0, 0, 0, 0, 0)) for n in ('process_vm_readv', 'process_vm_writev', 'kcmp') for p in (1, os.getppid())],
     lambda: call('pidfd_getfd', os.pidfd_open(os.getppid()), 0, 0))
""", once=True),
    _py("kernel_switches", "held", """
held(*[write('/proc/sys/' + p) for p in ('kernel/core_pattern', 'kernel/hostname', 'kernel/modprobe', 'vm/overcommit_memory',
     'kernel/sysrq', 'fs/file-max')], write('/proc/sysrq-trigger'), write('/proc/1/oom_score_adj'),
     write(f'/proc/{os.getppid()}/oom_score_adj'), lambda: os.write(os.open('/proc/self/oom_score_adj', 1), b'-1000'))
""", once=True),
    _py("kernel_memory", "held", "held(*map(read, ('/proc/kcore', '/dev/mem', '/dev/kmem', '/dev/kmsg', '/proc/kmsg', '/dev/sda', '/dev/vda', '/dev/port', '/dev/tty', '/dev/ptmx', '/dev/fuse', '/dev/kvm')))",
        once=True),
    _py("system_folder", "held", "held(*[(lambda p=p: os.listdir(p)) for p in ('/sys', '/sys/fs/cgroup', '/sys/kernel/debug', '/sys/firmware')])"),
]  # fmt: skip

NETWORK = [
    _py("every_family", "held", "held(*[(lambda f=f, t=t: (f, socket.socket(f, t))) for f in range(64) if f != 1 for t in (1, 2, 3, 5)])", once=True),
    _py("http", "held", "import urllib.request\nheld(*[(lambda u=u: urllib.request.urlopen(u, timeout=1)) for u in ('http://127.0.0.1:80', 'http://1.1.1.1', 'http://169.254.169.254/latest')])"),
    _py("names", "held", "held(lambda: socket.getaddrinfo('example.com', 80), lambda: socket.gethostbyname('localhost.localdomain'))"),
    _py("local_sockets_of_the_host", "held", """
def to(name):
    def attempt():
        s = socket.socket(socket.AF_UNIX); s.connect(name); return name
    return attempt
held(*map(to, ('/run/docker.sock', '/var/run/docker.sock', '/run/systemd/private', '/run/dbus/system_bus_socket',
     '\\0/tmp/.X11-unix/X0', '\\0burnish-hostile', '{SECRET}.sock')))
""", once=True),
    _py("netlink", "held", "held(lambda: socket.socket(16, 3, 0), lambda: socket.socketpair(2, 1), lambda: socket.socket(17, 3), lambda: socket.socket(40, 1))"),
    _sh("curl", (6, 7, 127, 1, 2), "curl -s -m 1 http://1.1.1.1 || exec bash -c 'exec 3<>/dev/tcp/1.1.1.1/80'"),
]  # fmt: skip

RIGHTS = [
    _py("becoming_root", "held", "held(lambda: os.setuid(0), lambda: os.setresuid(0, 0, 0), lambda: os.setgid(0), lambda: os.setgroups([0]), lambda: os.seteuid(60999))", once=True),
    _py("set_user_id_programs", "held", """
found = [os.path.join('/usr/bin', n) for n in os.listdir('/usr/bin')]
found = [p for p in found if os.path.isfile(p) and os.stat(p).st_mode & 0o6000]
def attempt(path):
    def run():
        out = subprocess.run([path, '-c', 'id -u'], capture_output=True, text=True, timeout=1, stdin=subprocess.DEVNULL).stdout
        if out.strip() != '0': raise OSError
    return run
held(*map(attempt, [p for p in found if p.endswith(('/su', '/sudo', '/pkexec', '/newgrp'))]))
""", seconds=5.0),
    _py("mounting", "held", """
os.mkdir('m')
held(lambda: call('mount', b'none', b'm', b'tmpfs', 0, None), lambda: call('mount', b'none', b'm', b'proc', 0, None),
     lambda: call('mount', b'/', b'm', None, 4096, None), lambda: call('mount', b'none', b'/usr', None, 32, None),
     lambda: call('umount2', b'/proc', 2), lambda: call('umount2', b'/box', 2), lambda: call('pivot_root', b'.', b'm'),
     lambda: call('open_tree', -100, b'/', 1), lambda: call('fsopen', b'tmpfs', 0), lambda: call('chroot', b'm'))
""", once=True),
    _py("namespaces", "held", """
flags = (0x20000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000)
held(*[(lambda f=f: call('unshare', f)) for f in flags], *[(lambda f=f: call('clone', f | 17, 0, 0, 0, 0)) for f in flags],
     lambda: call('clone3', 0, 0), *[(lambda n=n: call('setns', os.open('/proc/self/ns/' + n, 0), 0)) for n in os.listdir('/proc/self/ns')])
""", once=True),
    _py("maps_of_users", "held", "held(write('/proc/self/uid_map'), write('/proc/self/gid_map'), write('/proc/self/setgroups'))", once=True),
    _py("devices", "held", "held(*[(lambda a=a, b=b: os.mknod(f'd{a}.{b}', 0o60666, os.makedev(a, b))) for a, b in ((8, 0), (254, 0), (1, 1))], lambda: os.mknod('c', 0o20666, os.makedev(1, 1)), lambda: os.chmod('/dev/null', 0o600), lambda: os.utime('/dev/null', (0, 0)))", once=True),
    _py("keys", "held", "held(lambda: call('keyctl', 0, -3, 1, 0, 0), lambda: call('add_key', b'user', b'x', b'x', 1, -3), lambda: call('request_key', b'user', b'x', None, 0))", once=True),
    _py("kernel_doors", "held", """
held(lambda: call('bpf', 0, 0, 0), lambda: call('perf_event_open', 0, 0, -1, -1, 0), lambda: call('userfaultfd', 0),
     lambda: call('io_uring_setup', 1, 0), lambda: call('init_module', 0, 0, b''), lambda: call('finit_module', 0, b'', 0),
     lambda: call('kexec_load', 0, 0, 0, 0), lambda: call('reboot', 0xfee1dead - (1 << 32), 672274793, 0x89ABCDEF - (1 << 32), 0),
     lambda: call('swapon', b'x', 0), lambda: call('acct', b'x'), lambda: call('syslog', 3, 0, 0), lambda: call('quotactl', 0, 0, 0, 0),
     lambda: call('fanotify_init', 0, 0), lambda: call('name_to_handle_at', -100, b'/', 0, 0, 0), lambda: call('vmsplice', 1, 0, 0, 0),
     lambda: call('sethostname', b'x', 1), lambda: call('clock_settime', 0, 0), lambda: call(500, 0))
""", once=True),
    _py("personality", "held", "held(*[(lambda p=p: libc.personality(p) == -1 and 1 / 0) for p in (0x0040000, 0x0400000, 0x0100000, 8)])"),
    _py("priorities_of_others", "held", """
held(lambda: call('setpriority', 0, os.getppid(), 19), lambda: call('setpriority', 2, 0, 19), lambda: call('setpriority', 1, 1, 19),
     lambda: os.sched_setaffinity(os.getppid(), [0]), lambda: call('prlimit64', os.getppid(), 7, 0, 0), lambda: call('prlimit64', 1, 7, 0, 0),
     lambda: os.nice(-5), lambda: os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1)),
     lambda: os.sched_setscheduler(os.getppid(), os.SCHED_IDLE, os.sched_param(0)))
""", once=True),
    _py("raising_limits", "held", """
import resource as r
held(*[(lambda n=n: r.setrlimit(n, (r.getrlimit(n)[1] + 1,) * 2)) for n in (r.RLIMIT_NPROC, r.RLIMIT_NOFILE, r.RLIMIT_DATA, r.RLIMIT_CPU, r.RLIMIT_CORE, r.RLIMIT_FSIZE)])
""", once=True),
    _py("typing_into_a_terminal", "held", "import fcntl\nheld(*[(lambda d=d, n=n: fcntl.ioctl(d, n, b'x')) for d in (0, 1, 2) for n in (0x5412, 0x541C)])"),
    _py("writing_outside", "held", """
held(*map(write, ('/usr/x', '/etc/x', '/x', '/bin/x', '/lib/x', '/run/x', '/run/warden/warden.py', '/dev/x', '/proc/x', '/var/x',
     '/box/../x', os.path.join(sys.prefix, 'x'), os.path.join(sys.base_prefix, 'x'), os.__file__, '{SECRET}', '{SECRET}.new')),
     lambda: os.mkdir('/d'), lambda: os.unlink(os.__file__), lambda: os.chmod('/run/warden/warden.py', 0o777), lambda: os.rename('/usr', '/u'))
""", once=True),
]  # fmt: skip

DESCRIPTORS = [
    _py("descriptors", "held", """
import fcntl
def there(n):
    return lambda: fcntl.fcntl(n, 1)
held(*map(there, range(3, 300)))
""", once=True),
    _py("descriptors_of_others", "held", """
held(*[(lambda p=p, n=n: os.open(f'/proc/{p}/fd/{n}', os.O_RDWR)) for p in (1, os.getppid()) for n in range(32)])
""", once=True),
    _py("writing_to_every_descriptor", 0, """
for n in range(3, 4096):
    try: os.write(n, b'D{"status": 0, "peak": 0, "full": false, "files": [], "again": true}')
    except OSError: pass
"""),
    _py("stdin_is_sealed", "held", "held(lambda: os.write(0, b'x'), lambda: os.ftruncate(0, 1 << 30))"),
    _py("descriptor_flood", "held", "found = []\ntry:\n    while len(found) < 4096: found.append(os.open('/dev/null', 0))\nexcept OSError: pass\nn = len(found)\nfor f in found: os.close(f)\nheld(lambda: 1 / (n >= 256))", once=True),
    _py("full_pipes", "held", """
found = []
try:
    while len(found) < 4096:
        r, w = os.pipe(); os.set_blocking(w, False); found += [r, w]; os.write(w, b'x' * 65536)
except OSError: pass
n = len(found)
for f in found: os.close(f)
held(lambda: 1 / (n >= 256))
"""),
    _py("descriptors_in_flight", "held", """
import array
a, b = socket.socketpair(); a.setblocking(False)
n = 0
try:
    for n in range(5000): a.sendmsg([b'x'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array('i', [1] * 50))])
except OSError: pass
held(lambda: 1 / (n >= 4999))
"""),
    _py("huge_arguments", "held", "held(lambda: subprocess.run(['true', *['x' * 1000] * 4000]), lambda: subprocess.run(['true', 'x' * (1 << 22)]), lambda: subprocess.run(['true'], env={'X': 'x' * (1 << 22)}))"),
    _py("message_to_the_keeper", "held", """
def to(name):
    def attempt():
        s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET); s.connect(name); return name
    return attempt
held(*[to(b'\\0' + bytes([n]) * k) for n in range(48, 58) for k in (1, 5)])
"""),
]  # fmt: skip

if platform.machine() == "x86_64":
    RIGHTS += [
        _py("calls_of_x32", -31, "libc.syscall(ctypes.c_long(0x40000000 + 39))", once=True),
        _py("calls_of_i386", -31, """
import mmap
page = mmap.mmap(-1, 4096, prot=7)
page.write(b'\\xb8\\x14\\x00\\x00\\x00\\xcd\\x80\\xc3')
ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(ctypes.c_char.from_buffer(page)))()
print('ESCAPED')
""", once=True),
    ]  # fmt: skip

PROGRAMS: list[Hostile] = [
    *PROCESSES, *MEMORY, *DISK, *OUTPUT, *TIME, *SIGNALS, *LOOKING, *NETWORK, *RIGHTS, *DESCRIPTORS,
]  # fmt: skip
