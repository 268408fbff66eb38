"""What cannot cross between two programs is never a failure: one interpreter decides, or it is unscored."""

from __future__ import annotations

# ruff: noqa: E501
import pytest

from burnish.protocols import Executor
from burnish.verify.code import CodeChecker, Suite, read_suite, run_suite

# (candidate, test, verdict): what one interpreter would say of it.
V = """class V:
    def __init__(self, x): self.x = x
    def __add__(self, o): return V(self.x + o.x)
    def __eq__(self, o): return self.x == o.x
    def __lt__(self, o): return self.x < o.x
"""
RIGHT = {
    "async": ("async def f(x):\n    return x + 1", "import asyncio\nassert asyncio.run(f(1)) == 2"),
    "async with sleep": (
        "import asyncio\nasync def f(x):\n    await asyncio.sleep(0)\n    return x + 1",
        "import asyncio\nasync def main():\n    return await asyncio.gather(f(1), f(2))\nassert asyncio.run(main()) == [2, 3]",
    ),
    "named tuple": (
        "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 2)",
        "assert f().x == 1 and f().y + 0 == 2",
    ),
    "counter": (
        "from collections import Counter\ndef f(s): return Counter(s)",
        "assert f('aab').most_common(1) == [('a', 2)]",
    ),
    "defaultdict": (
        "from collections import defaultdict\ndef f(): return defaultdict(list)",
        "d = f()\nd['a'].append(1)\nassert d == {'a': [1]}",
    ),
    "redirected": (
        "def f(): print('hi')",
        "import io, contextlib\nout = io.StringIO()\nwith contextlib.redirect_stdout(out):\n    f()\nassert out.getvalue() == 'hi\\n'",
    ),
    "patched": (
        "import random\ndef f(): return random.randint(1, 6)",
        "from unittest import mock\nwith mock.patch('random.randint', return_value=9):\n    assert f() == 9",
    ),
    "seeded": (
        "import random\ndef f(): return random.random()",
        "import random\nrandom.seed(3)\na = random.random()\nrandom.seed(3)\nassert f() == a",
    ),
    "wrapped": (
        "import functools\ndef f(g):\n    @functools.wraps(g)\n    def inner(*a): return g(*a)\n    return inner",
        "@f\ndef add(a, b): return a + b\nassert add(1, 2) == 3 and add.__name__ == 'add'",
    ),
    "sum of objects": (V, "assert V(1) + V(2) == V(3)"),
    "order of objects": (V, "assert [v.x for v in sorted([V(3), V(1)])] == [1, 3] and V(1) < V(2)"),
    "identity": ("def f(a): return a", "x = [1]\nassert f(x) is x"),
    "attribute of an error": (
        "class Bad(Exception):\n    def __init__(self, n):\n        super().__init__(n)\n        self.n = n\ndef f(): raise Bad(3)",
        "try:\n    f()\nexcept Bad as e:\n    assert e.n == 3\nelse:\n    assert False",
    ),
}


@pytest.mark.parametrize("which", RIGHT)
def test_a_right_program_passes(executor: Executor, which: str) -> None:
    code, test = RIGHT[which]
    outcome = run_suite(executor, code, Suite(tests=(test,)))
    assert outcome.passed is True, outcome
    # Where one interpreter is not wanted or not safe, the same program is never wrong.
    assert run_suite(executor, code, Suite(tests=(test,)), together=False).passed is not False
    assert run_suite(executor, "import sys\n" + code, Suite(tests=(test,))).passed is not False


WRONG = {
    "async": "async def f(x):\n    return x",
    "named tuple": "from collections import namedtuple\nP = namedtuple('P', 'x y')\ndef f(): return P(1, 3)",
    "counter": "from collections import Counter\ndef f(s): return Counter('abb')",
    "redirected": "def f(): print('ho')",
    "seeded": "def f(): return 0.5",
    "sum of objects": V.replace("self.x + o.x", "self.x"),
    "order of objects": V.replace("self.x < o.x", "self.x > o.x"),
    "identity": "def f(a): return list(a)",
}


@pytest.mark.parametrize("which", WRONG)
def test_a_wrong_program_stays_wrong(executor: Executor, which: str) -> None:
    outcome = run_suite(executor, WRONG[which], Suite(tests=(RIGHT[which][1],)))
    assert outcome.passed is False, outcome


def test_numpy_results_are_never_wrong(executor: Executor) -> None:
    code = "import numpy as np\ndef f(n): return np.arange(n)"
    suite = Suite(tests=("import numpy as np\nassert np.array_equal(f(3), np.array([0, 1, 2]))",))
    assert run_suite(executor, code, suite).passed is not False


@pytest.mark.parametrize(
    ("cheat", "test"),
    [
        ("class E:\n    def __eq__(s, o): return True\ndef f(n): return E()", "for n in (1, 2):\n    assert f(n) == n"),
        ("class E:\n    def __sub__(s, o): return 0.0\ndef f(n): return E()", "assert abs(f(3) - 9) < 1e-9"),
        ("class E:\n    def __gt__(s, o): return True\n    __lt__ = __gt__\ndef f(n): return E()", "assert max(f(3), 9) == 9"),
        ("class S(str):\n    def startswith(s, o): return True\ndef f(n): return S('x')", "assert f(3).startswith('9')"),
        ("class L(list):\n    def count(s, o): return 1\ndef f(n): return L()", "assert f(3).count(9) == 1"),
        ("E = type('E', (), {'__eq__': lambda s, o: True})\ndef f(n): return E()", "assert [9].index(f(3)) + 0 == 0"),
        ("class E:\n    def __eq__(s, o): return True\ndef f(n): return E()",
         "import unittest\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(3), 9)\n"
         "r = unittest.TestResult()\nunittest.defaultTestLoader.loadTestsFromTestCase(T).run(r)\nassert r.wasSuccessful()"),
        (V.replace("self.x == o.x", "True") + "def f(n): return V(0)",
         "import unittest\nV(1)\nclass T(unittest.TestCase):\n    def test(self): self.assertEqual(f(3), 9)\n"
         "r = unittest.TestResult()\nunittest.defaultTestLoader.loadTestsFromTestCase(T).run(r)\nassert r.wasSuccessful()"),
        ("class V:\n    def __init__(s, x): pass\n    def __sub__(s, o): return 0.0\ndef f(n): return V(n)",
         "V(1)\nassert abs(f(3) - 9) < 1e-9"),
    ],
)  # fmt: skip
def test_no_false_pass_by_the_second_look(executor: Executor, cheat: str, test: str) -> None:
    outcome = run_suite(executor, cheat, Suite(tests=(test,)))
    assert outcome.passed is not True, outcome


def test_names_that_are_given_are_not_the_candidates(executor: Executor) -> None:
    given = "class Node:\n    def __init__(self, v): self.v, self.next = v, None"
    suite = Suite(tests=("n = Node(3)\nassert f(n) == 3\nassert n.v + 0 == 3",), given=given)
    assert suite.names == ("f",)
    assert run_suite(executor, "def f(n): return n.v", suite).passed is True
    assert run_suite(executor, given + "\ndef f(n): return n.v", suite).passed is True
    assert run_suite(executor, "def f(n): return n.v + 1", suite).passed is False
    based = Suite(tests=("class B(A):\n    pass\nassert B().f(Node(3)) == 3",), given=given)
    assert run_suite(executor, "class A:\n    def f(self, n): return n.v", based).passed is True


def test_what_the_environment_lacks_is_unscored(executor: Executor) -> None:
    suite = Suite(tests=("assert f(1) == 1",))
    assert run_suite(executor, "import nosuchpackage\ndef f(x): return x", suite).verdict().correct is None
    assert run_suite(executor, "import json.nosuch\ndef f(x): return x", suite).passed is False
    full = "def f(x):\n    with open('big', 'wb') as file:\n        for _ in range(200): file.write(bytes(1 << 20))\n    return 1"
    assert run_suite(executor, full, suite).passed is False


def test_the_prefix_of_a_suite_is_used(executor: Executor) -> None:
    prefix = "import math\ndef f(x):\n    'doc'\n"
    suite = Suite(tests=("assert f(4) == 2",), prefix=prefix, entry="f", names=("f",))
    for code in ("    return math.isqrt(x)\n", prefix + "    return math.isqrt(x)\n", "def f(x): return math.isqrt(x)"):
        assert run_suite(executor, code, suite).passed is True, code
    assert run_suite(executor, "    return x\n", suite).passed is False


def test_exchanges_may_be_lists_of_lines() -> None:
    suite = read_suite('{"stdin_tests": [{"input": ["3", "4"], "output": ["7\\n"]}]}')
    assert suite.exchanges[0].input == "3\n4" and suite.exchanges[0].output == "7"
    assert CodeChecker().name == "code"
