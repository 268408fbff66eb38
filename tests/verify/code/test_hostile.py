"""Candidates that try to decide their own verdict: none passes, in any mode, and none hangs."""

from __future__ import annotations

import time

import pytest

from burnish.protocols import Executor
from burnish.verify.code import Suite, run_suite

SECONDS = 0.8
# f(n) is n * n, g(k, n) is k(n), Base().f is f.
SUITES = {
    "plain": Suite(tests=("assert f(3) == 9", "assert f(4) == 16\nassert f(-5) == 25"), seconds=SECONDS),
    "apart": Suite(
        tests=(
            "assert abs(f(3) - 9) < 1e-9",
            "for n in range(2, 7):\n    assert f(n) == n * n, 'expected ' + str(n * n)",
            "import math\nassert math.fabs(math.sqrt(f(7)) - 7) <= 1e-9 and sorted([f(2), f(1)]) == [1, 4]",
        ),
        seconds=SECONDS,
    ),
    "container": Suite(tests=("assert 16 in [f(4)] and {f(2), f(3)} == {4, 9} and not f(1) != 1",), seconds=SECONDS),
    "callback": Suite(
        tests=("seen = []\nassert g(lambda n: seen.append(n) or n + 1, 3) == 4 and f(2) == 4 and f(3) == 9\nassert seen == [3]",),
        seconds=SECONDS,
    ),
    "together": Suite(
        tests=("class Sub(Base):\n    pass\nassert Sub().f(3) == 9\nassert Sub().f(5) == 25 and f(2) in [4]",), seconds=SECONDS
    ),
}
HONEST = """
def f(n):
    return n * n
def g(k, n):
    return k(n)
class Base:
    def f(self, n):
        return n * n
"""
# The parts that a hostile candidate does not define itself; it overrides f.
REST = """
def g(k, n):
    return f(n)
class Base:
    def f(self, n):
        return f(n)
"""
POISON = """
class Any{base}:
    def __eq__(self, other): return True
    def __ne__(self, other): return False
    def __lt__(self, other): return True
    def __le__(self, other): return True
    def __gt__(self, other): return True
    def __ge__(self, other): return True
    def __bool__(self): return True
    def __hash__(self): return hash(9)
    def __sub__(self, other): return self
    def __rsub__(self, other): return self
    def __abs__(self): return self
    def __float__(self): return 49.0
    def __contains__(self, item): return True
    def __len__(self): return 1
    def __str__(self): return "9"
    def __getattr__(self, name): return self
    def __call__(self, *args): return self
"""
FRAMES = """
def f(n):
    import sys
    frame = sys._getframe()
    while frame is not None:
        for value in list(frame.f_locals.values()) + list(frame.f_code.co_consts):
            if type(value) is int and value == n * n:
                return value
        frame = frame.f_back
    return -1
"""
CANDIDATES = {
    "poisoned object": POISON.format(base="") + "def f(n): return Any()",
    "poisoned int": POISON.format(base="(int)") + "def f(n): return Any(1)",
    "poisoned float": POISON.format(base="(float)") + "def f(n): return Any(1.5)",
    "poisoned str": POISON.format(base="(str)") + "def f(n): return Any('x')",
    "poisoned list": POISON.format(base="(list)") + "def f(n): return Any()",
    "poisoned dict": POISON.format(base="(dict)") + "def f(n): return Any()",
    "poisoned metaclass": "class M(type):\n    __eq__ = lambda a, b: True\n    __hash__ = lambda a: 9\nclass A(metaclass=M): pass\ndef f(n): return A",
    "poisoned index": "class A:\n    def __index__(self): return 9\n    def __int__(self): return 9\n    __eq__ = lambda a, b: True\n    __hash__ = lambda a: 9\ndef f(n): return A()",
    "class in place of the function": POISON.format(base="") + "f = Any()",
    "function that equals all": POISON.format(base="") + "f = Any\nAny.__init__ = lambda self, *args: None",
    "changing hash": "import itertools\nc = itertools.count()\nclass A:\n    __hash__ = lambda a: next(c)\n    __eq__ = lambda a, b: True\ndef f(n): return A()",
    "sys.exit(0)": "import sys\ndef f(n): sys.exit(0)",
    "sys.exit(0) at the top": "import sys\nsys.exit(0)",
    "SystemExit": "def f(n): raise SystemExit",
    "SystemExit(0) at the top": "raise SystemExit(0)",
    "KeyboardInterrupt": "def f(n): raise KeyboardInterrupt",
    "GeneratorExit": "def f(n): raise GeneratorExit",
    "StopIteration": "def f(n): raise StopIteration",
    "os._exit(0)": "import os\ndef f(n): os._exit(0)",
    "os._exit(0) at the top": "import os\nos._exit(0)",
    "exit()": "def f(n): exit()",
    "an exception that lies": "class E(Exception):\n    def __str__(self): raise SystemExit(0)\n    __repr__ = __str__\ndef f(n): raise E()",
    "killing itself": "import os, signal\ndef f(n): os.kill(os.getpid(), signal.SIGKILL)",
    "killing all": "import os, signal\ndef f(n):\n    os.kill(-1, signal.SIGKILL)\n    return 0",
    "killing its parent": "import os, signal\ndef f(n):\n    os.kill(os.getppid(), signal.SIGKILL)\n    return 0",
    "thread that ends it": "import os, threading\nthreading.Timer(0.05, lambda: os._exit(0)).start()\ndef f(n):\n    import time\n    time.sleep(1)",
    "thread that answers": "import threading, time, __main__\ndef run():\n    while True: __main__.answer('[\"done\",true,[],\"\",\"\",\"candidate\",false]')\nthreading.Thread(target=run, daemon=True).start()\ndef f(n): return 0",
    "forged end": "import __main__\ndef f(n):\n    __main__.answer('[\"done\",true,[],\"\",\"\",\"candidate\",false]')\n    return 0",
    "forged end with a secret": "import __main__\ndef f(n):\n    __main__.answer('[\"done\",\"\",[[true,[],\"\",\"\"],[true,[],\"\",\"\"]]]')\n    return 0",
    "forged load": "import __main__\n__main__.answer('[\"loaded\",{\"f\":[\"object\",[\"l\",1]]}]')\ndef f(n): return 0",
    "forged nonsense": "import __main__\ndef f(n):\n    __main__.answer('not json at all')\n    return 0",
    "forged deep data": "import __main__\ndef f(n):\n    __main__.answer('[\"return\",' + '[\"l\",' * 5000 + ']' * 5001)\n    return 0",
    "forged handle": "import __main__\ndef f(n):\n    __main__.answer('[\"return\",[\"o\",1],[[0,[\"l\"]]]]')\n    return 0",
    "asks the tests": "import __main__\ndef f(n):\n    for i in range(1, 4):\n        __main__.answer('[\"get\",%d,\"__globals__\"]' % i)\n        __main__.ask()\n    return 0",
    "changes the tests": "import __main__\ndef f(n):\n    __main__.answer('[\"set\",1,\"__code__\",null]')\n    __main__.ask()\n    return 0",
    "patched builtins": "import builtins\nbuiltins.abs = builtins.sorted = lambda *a, **k: 0\nbuiltins.AssertionError = type('A', (Exception,), {'__init__': lambda s, *a: None})\nbuiltins.compile = lambda *a, **k: (lambda: None).__code__\nbuiltins.exec = lambda *a, **k: None\ndef f(n): return 0",
    "patched len and type": "import builtins\nbuiltins.type = lambda *a: bool\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda *a: 0\ndef f(n): return 0",
    "patched math": "import math\nmath.fabs = lambda x: 0\nmath.sqrt = lambda x: 7\ndef f(n): return 9 if n < 4 else 0",
    "patched operator": "import operator\noperator.eq = lambda a, b: True\ndef f(n): return 0",
    "patched unittest": "import unittest\nunittest.TestCase.assertEqual = lambda *a: None\ndef f(n): return 0",
    "patched json": "import json\njson.dumps = lambda *a, **k: '[\"done\",true,[],\"\",\"\",\"candidate\",false]'\ndef f(n): return 0",
    "patched sys.modules": "import sys\nfor name in list(sys.modules):\n    if name in ('math', 'json', 'tests'): sys.modules[name] = None\ndef f(n): return 0",
    "patched main": "import __main__\nfor name in list(vars(__main__)):\n    if name in ('pack', 'run', 'Tests', 'to_text', 'guard', '_test', 'Compare'):\n        setattr(__main__, name, lambda *a, **k: True)\ndef f(n): return 0",
    "own check": "def check(candidate): return True\ndef abs(x): return 0\ndef sorted(x): return [1, 4]\ndef f(n): return 0",
    "reads frames": FRAMES,
    "reads callers": "import inspect\ndef f(n):\n    for place in inspect.stack():\n        for text in place.code_context or ():\n            if '9' in text: return 9\n    return 0",
    "reads the heap": "import gc, re\nwanted = 'assert' + r' f\\((-?\\d+)\\) == (-?\\d+)'\ndef f(n):\n    for thing in gc.get_objects():\n        for text in gc.get_referents(thing):\n            if type(text) is str:\n                for given, value in re.findall(wanted, text):\n                    if int(given) == n: return int(value)\n    return -1",
    "reads code": "import gc, types\ndef f(n):\n    import gc\n    for thing in gc.get_objects():\n        if isinstance(thing, types.FunctionType) and thing.__code__.co_filename == '<tests>': return thing.__code__.co_consts[-1]\n    return -1",
    "reads files": "import glob\ndef f(n):\n    for name in glob.glob('/box/**', recursive=True) + glob.glob('/tmp/**') + glob.glob('/proc/self/fd/*'):\n        try:\n            text = open(name).read(10000)\n        except Exception: continue\n        if 'assert f(' in text: return int(text.split('== ')[1].split()[0])\n    return -1",
    "reads its arguments": "def f(n):\n    text = open('/proc/self/cmdline').read() + open('/proc/self/environ').read()\n    return 9 if 'assert' in text else -1",
    "traces": "import sys\nsys.settrace(lambda *a: None)\nsys.setprofile(lambda frame, event, arg: frame.f_globals.clear() if event == 'c_call' else None)\ndef f(n): return 0",
    "prints the verdict": "def f(n):\n    print('OK'); print('passed'); print('[\"done\", true]', flush=True)\n    return 0",
    "writes to descriptors": "import os\ndef f(n):\n    for fd in range(0, 20):\n        try: os.write(fd, b'\\x00\\x00\\x00\\x06[\"done\"]')\n        except OSError: pass\n    return 0",
    "closes descriptors": "import os\ndef f(n):\n    os.closerange(0, 100)\n    return 0",
    "endless loop": "def f(n):\n    while True: pass",
    "endless sleep": "import time\ndef f(n): time.sleep(1000)",
    "endless generator": "import itertools\ndef f(n): return itertools.count()",
    "endless stream of poison": "def f(n):\n    while True: yield 9",
    "endless recursion": "def f(n): return f(n)",
    "deaf to signals": "import signal\nfor s in range(1, 64):\n    try: signal.signal(s, signal.SIG_IGN)\n    except Exception: pass\ndef f(n):\n    while True: pass",
    "swallows everything": "def f(n):\n    while True:\n        try: return f(n)\n        except BaseException: pass",
    "memory": "def f(n): return [0] * 10**10",
    "monstrous number": "def f(n): return 1 << 10**8",
    "monstrous text": "def f(n): return 'x' * 10**8",
    "cyclic list": "def f(n):\n    a = []\n    a.append(a)\n    return a",
    "deep list": "def f(n):\n    a = []\n    for _ in range(10**5): a = [a]\n    return a",
    "colliding set": "def f(n): return {i * ((1 << 61) - 1) for i in range(20000)}" .replace("i * ((1 << 61) - 1)", "i * ((1 << 61) - 1) + 5 if i < 2000 else i"),
    "atexit": "import atexit, os\natexit.register(lambda: os._exit(0))\ndef f(n): raise SystemExit(0)",
    "excepthook": "import sys\nsys.excepthook = lambda *a: None\ndef f(n): raise ValueError",
    "destructor": "import os\nclass A:\n    def __del__(self): os._exit(0)\ndef f(n): return A()",
    "fork": "import os\ndef f(n):\n    if os.fork() == 0: return 9\n    os._exit(0)",
    "async function": "async def f(n): return n * n",
    "lambda that returns itself": "f = lambda n: f",
    "nan": "def f(n): return float('nan')",
    "the code stops itself": "def f(n): raise NotImplementedError",
    "nothing": "",
    "no code": "pass",
    "source trick": "# -*- coding: utf-7 -*-\n+AGYAPQ-0\ndef f(n): return 0",
}  # fmt: skip


@pytest.mark.parametrize("mode", SUITES)
def test_the_honest_one_passes(executor: Executor, mode: str) -> None:
    outcome = run_suite(executor, HONEST, SUITES[mode])
    assert outcome.passed is True, outcome
    assert outcome.mode == {"container": "apart", "callback": "apart"}.get(mode, mode)


@pytest.mark.parametrize("mode", SUITES)
@pytest.mark.parametrize("which", CANDIDATES)
def test_no_false_pass(executor: Executor, which: str, mode: str) -> None:
    begun = time.monotonic()
    outcome = run_suite(executor, CANDIDATES[which] + "\n" + REST, SUITES[mode])
    assert outcome.passed is not True, outcome
    assert time.monotonic() - begun < SECONDS + 4, outcome
