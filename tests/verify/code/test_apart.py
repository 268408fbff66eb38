"""Two programs behave as one: arguments change in place, exceptions have their class, objects and callbacks work."""

from __future__ import annotations

import contextlib
import math
import string
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.protocols import Executor, Limits
from burnish.verify.code import Result, Suite, call_all, run_suite
from burnish.verify.code.inside.plain import Malformed, from_text, pack, to_text, unpack

# ruff: noqa: E501
# (candidate, tests) that pass only if two programs do what one does.
SAME = {
    "in place": ("def f(a): a.sort(); a.append(9)", "x = [3, 1]\nassert f(x) is None\nassert x == [1, 3, 9]"),
    "dict in place": ("def f(d): d.pop('a'); d['b'] = {2}", "x = {'a': 1}\nf(x)\nassert x == {'b': {2}}"),
    "untouched": ("def f(a): return sorted(a)", "x = [3, 1]\nassert f(x) == [1, 3] and x == [3, 1]"),
    "keywords": ("def f(a, *, b=1, **c): return a, b, c", "assert f(1, b=2, d=3) == (1, 2, {'d': 3})"),
    "exception": (
        "def f(x):\n    if x: raise ValueError('no ' + x)",
        "try:\n    f('way')\nexcept ValueError as e:\n    assert str(e) == 'no way'\nelse:\n    assert False\nassert f('') is None",
    ),
    "own exception": (
        "class Bad(KeyError): pass\ndef f(): raise Bad('k')",
        "for kind in (Bad, KeyError, LookupError):\n    try: f()\n    except kind: pass\n    else: assert False",
    ),
    "object": (
        "class Node:\n    def __init__(self, v): self.v, self.left = v, None\ndef f(n): return n.left.v + n.v",
        "n = Node(1)\nn.left = Node(2)\nassert f(n) == 3\nassert n.left.v == 2 and isinstance(n, Node)\nassert n is not None",
    ),
    "same object": ("class A: pass\ndef f(a): return a", "a = A()\nassert f(a) is a and f(a) == a and f(a) != A()"),
    "own equality": (
        "class P:\n    def __init__(s, x): s.x = x\n    def __eq__(s, o): return s.x == o.x\ndef f(x): return P(x)",
        "assert f(1) == P(1) and f(1) != P(2)",
    ),
    "text of an object": ("class P:\n    def __str__(s): return 'P!'\ndef f(): return P()", "assert str(f()) == 'P!'"),
    "callback": ("def f(k, xs): return sorted(xs, key=k)", "assert f(lambda x: -x, [1, 3, 2]) == [3, 2, 1]"),
    "nested callbacks": (
        "def f(k): return k(lambda n: n * 2)",
        "assert f(lambda g: g(g(3)) + 1) == 13",
    ),
    "decorator": (
        "def twice(g):\n    def inner(*a): return g(*a) * 2\n    return inner",
        "@twice\ndef three(x): return x + 3\nassert three(1) == 8",
    ),
    "test's own object": (
        "def f(t): return t.left.value + t.total(1)",
        "class T:\n    def __init__(s, v): s.value, s.left = v, None\n    def total(s, n): return s.value + n\n"
        "t = T(1)\nt.left = T(5)\nassert f(t) == 7",
    ),
    "generator": ("def f(n):\n    for i in range(n): yield i", "assert list(f(3)) == [0, 1, 2] and sum(f(4)) == 6"),
    "test's generator": ("def f(xs): return sum(xs)", "assert f(x * x for x in range(4)) == 14"),
    "map": ("def f(xs): return map(str, xs)", "assert ','.join(f([1, 2])) == '1,2'"),
    "match object": ("import re\ndef f(s): return re.search('b+', s)", "assert f('abbc') and not f('ac')\nassert f('abbc').group() == 'bb'"),
    "big numbers": ("def f(n): return n ** 2", "assert f(10**30) == 10**60 and f(-2.5) == 6.25 and f(1j) == -1"),
    "huge number": ("def f(n): return 3 ** n", "assert f(20000) == 3 ** 20000"),
    "strange text": ("def f(s): return s[::-1]", "assert f('a\\ud800\\n\\x00é') == 'é\\x00\\n\\ud800a'"),
    "values": (
        "from fractions import Fraction\nfrom decimal import Decimal\nimport datetime, collections\n"
        "def f(): return [Fraction(1, 3), Decimal('0.1'), datetime.date(2024, 2, 29), datetime.timedelta(days=1),\n"
        "    collections.deque([1]), collections.Counter('aab'), range(3), b'x', bytearray(b'y'), frozenset({1})]",
        "from fractions import Fraction\nfrom decimal import Decimal\nimport datetime, collections\n"
        "assert f() == [Fraction(1, 3), Decimal('0.1'), datetime.date(2024, 2, 29), datetime.timedelta(days=1),\n"
        "    collections.deque([1]), {'a': 2, 'b': 1}, range(3), b'x', bytearray(b'y'), frozenset({1})]",
    ),
    "types": ("def f(t): return t, int", "assert f(str) == (str, int)"),
    "named tuple": (
        "import typing\nclass P(typing.NamedTuple):\n    x: int\ndef f(): return P(1)", "assert f() == (1,)"
    ),
    "enum": ("import enum\nclass E(enum.IntEnum):\n    A = 3\ndef f(): return E.A", "assert f() == 3"),
    "counter given": (
        "def f(c): return c.most_common(1)", "import collections\nassert f(collections.Counter('aab')) == [('a', 2)]"
    ),
    "context manager": (
        "class C:\n    def __enter__(s): return 5\n    def __exit__(s, *a): return False", "with C() as c:\n    assert c == 5"
    ),
    "class methods": ("class C:\n    @classmethod\n    def f(cls, x): return x + 1\n    k = 7", "assert C.f(1) == 2 and C.k == 7"),
    "a constant": ("LIMIT = 3\ndef f(): return LIMIT", "assert f() == LIMIT == 3"),
    "state": ("n = 0\ndef f():\n    global n\n    n += 1\n    return n", "assert f() == 1\nassert f() == 2"),
    "a builtin's name": ("def sum(a, b): return a * b", "assert sum(3, 4) == 12"),
    "prints": ("def f(): print('x' * 10**6); return 1", "assert f() == 1"),
    "unittest": (
        "def f(x): return x + 1",
        "import unittest\nclass T(unittest.TestCase):\n    def test(self):\n        self.assertEqual(f(1), 2)\n"
        "        self.assertRaises(TypeError, f, 'a')\n"
        "r = unittest.TestResult()\nunittest.defaultTestLoader.loadTestsFromTestCase(T).run(r)\nassert r.wasSuccessful()",
    ),
    "almost equal": ("def f(x): return x / 3", "assert abs(f(1.0) - 1 / 3) < 1e-12"),
    "main guard": ("def f(): return 1\nif __name__ == '__main__':\n    raise SystemExit", "assert f() + 0 == 1"),
    "dataclass": ("import dataclasses\n@dataclasses.dataclass\nclass D:\n    x: int\ndef f(): return D(4)", "assert f() == D(4) and f().x == 4"),
}  # fmt: skip


@pytest.mark.parametrize("which", SAME)
def test_two_programs_do_what_one_does(executor: Executor, which: str) -> None:
    code, test = SAME[which]
    names = ("sum",) if which == "a builtin's name" else ()
    outcome = run_suite(executor, code, Suite(tests=(test,), names=names), together=False)
    assert outcome.passed is True, outcome


@pytest.mark.parametrize(
    ("code", "kind", "words"),
    [
        ("def f(x): return x", "wrong_answer", "f(2) gave 2, expected 4"),
        ("def f(x: return x", "syntax", ""),
        ("def f(x): return y", "name", "name 'y' is not defined (line 1)"),
        ("def g(x): return 4", "name", "name 'f' is not defined"),
        ("def f(): return 4", "type", "positional argument"),
        ("def f(x): return x.y", "type", "attribute"),
        ("def f(x): return [][x]", "exception", "IndexError"),
        ("def f(x): assert x == 3", "exception", "AssertionError"),
        ("import math\nfrom math import tau2", "import", "tau2"),
        ("import json2", "environment", "json2"),
        ("def f(x):\n    import socket\n    socket.create_connection(('127.0.0.1', 9), 1)", "environment", ""),
        ("def f(x):\n    while x: pass", "timeout", "time is up"),
        ("def f(x): return [x] * 10**10", "memory", ""),
        ("def f(x): raise SystemExit", "exit", ""),
        ("import os\ndef f(x): os._exit(3)", "exit", "status 3"),
        ("def f(x): return f(x)", "exception", "Recursion"),
        ("f = 4", "type", "not callable"),
        ("class f: pass", "type", ""),
        ("def f(x):\n    yield 4", "wrong_answer", "an object"),
    ],
)
@pytest.mark.parametrize(
    "test", ["assert f(2) == 4", "for n in (2, 3):\n    assert f(n) == 2 * n, 'f(2) gave 2, expected 4'"]
)
def test_failures_have_classes(executor: Executor, code: str, kind: str, words: str, test: str) -> None:
    outcome = run_suite(executor, code, Suite(tests=(test,), seconds=1.0))
    assert outcome.passed is (None if kind == "environment" else False) and outcome.kind == kind, outcome
    assert words in outcome.message or (kind == "wrong_answer" and "for" in test), outcome


@pytest.mark.parametrize(
    "test",
    ["import nosuchpackage\nassert f(1) + 0 == 1", "assert g[0] == f(1)", "assert 1 == 2\nf(1)", "while True: pass\nf(1)",
     "x = f\nassert x", "raise ValueError(f)"],
)  # fmt: skip
def test_a_fault_of_the_tests_is_unscored(executor: Executor, test: str) -> None:
    outcome = run_suite(executor, "def f(x): return x", Suite(tests=(test,), names=("f",), seconds=1.0))
    assert outcome.passed is None and outcome.kind == "unscored", outcome
    assert outcome.verdict().correct is None and outcome.verdict().reason


def test_all_tests_run_when_asked_to(executor: Executor) -> None:
    """What ends the program fails its own test only, in both modes."""
    code = "import os\ndef f(n):\n    if n == 2: os._exit(0)\n    if n == 3:\n        while True: pass\n    return n"
    tests = tuple(f"assert f({n}) == {n if n != 4 else 5}" for n in range(6))
    for extra in ("", "\nassert abs(0) == 0"):
        suite = Suite(tests=tuple(test + extra for test in tests), seconds=0.7)
        outcome = run_suite(executor, code, suite, every=True)
        assert [r.kind for r in outcome.results] == ["", "", "exit", "timeout", "wrong_answer", ""], outcome
        assert outcome.fraction == 0.5 and outcome.passed is False
        first = run_suite(executor, code, suite)
        assert len(first.results) == 3 and first.asked == 6 and first.fraction == 2 / 6


def test_a_broken_top_level_fails_all(executor: Executor) -> None:
    suite = Suite(tests=("assert f(1) == 1", "assert f(2) == 2"))
    for code in ("1 / 0", "import os\nos._exit(0)"):
        outcome = run_suite(executor, code, suite, every=True)
        assert len(outcome.results) == 2 and not any(r.passed for r in outcome.results)


def test_what_is_printed_is_kept_for_feedback(executor: Executor) -> None:
    outcome = run_suite(executor, "def f(x): print('was', x); return x", Suite(tests=("assert f(3) == 4",)))
    assert outcome.printed == "was 3\n"


def test_limits_are_the_executors(executor: Executor) -> None:
    code = "def f(n): return len(bytearray(n << 20))"
    suite = Suite(tests=("assert f(300) == 300 << 20", "assert f(3) == 3 << 20"))
    kinds = [r.kind for r in run_suite(executor, code, suite, limits=Limits(memory_mib=128), every=True).results]
    assert kinds[0] == "memory"


def test_call_all(executor: Executor) -> None:
    code = (
        "import os\ndef f(x, y=0):\n    if x == 'hang':\n        while True: pass\n"
        "    if x == 'end': os._exit(0)\n    return x + y"
    )
    found = call_all(executor, code, "f", [(1, 2), ("hang",), (3,), ("end",), ("a", 1), ((), (1,))], seconds=0.5)
    assert isinstance(found, list)
    assert [v.kind if isinstance(v, Result) else v for v in found] == [3, "timeout", 3, "exit", "type", (1,)]
    lacking = call_all(executor, code, "g", [(1,)], seconds=1.0)
    assert isinstance(lacking, Result) and lacking.kind == "name"
    assert call_all(executor, code, "f", [], seconds=1.0) == []


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=2**52, max_value=2**80)
    | st.floats(allow_nan=False)
    | st.complex_numbers(allow_nan=False)
    | st.text(max_size=8)
    | st.binary(max_size=8)
    | st.fractions()
    | st.decimals(allow_nan=False)
    | st.dates()
    | st.timedeltas()
    | st.sampled_from([int, str, list, range(3), range(5, -9, -2), "\ud800"])
)
HASHED = (
    st.integers() | st.text(max_size=4) | st.floats(allow_nan=False) | st.tuples(st.integers(), st.text(max_size=2))
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.lists(inner, max_size=4).map(tuple)
        | st.lists(inner, max_size=4).map(deque)
        | st.dictionaries(HASHED, inner, max_size=4)
        | st.sets(HASHED, max_size=4)
        | st.frozensets(HASHED, max_size=4)
    ),
    max_leaves=12,
)


def same(one: Any, two: Any) -> bool:
    if type(one) is not type(two):
        return False
    if isinstance(one, (list, tuple, deque)):
        return len(one) == len(two) and all(map(same, one, two))
    if isinstance(one, float):
        return math.copysign(1, one) == math.copysign(1, two) and one == two
    return bool(one == two)


@settings(max_examples=300, deadline=None)
@given(VALUES)
def test_plain_data_crosses_as_it_is(value: Any) -> None:
    text = to_text(["x", pack(value, None)])
    assert text.isascii()
    assert same(unpack(from_text(text)[1], lambda *_: None), value)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(alphabet=string.printable, max_size=4),
    lambda inner: (
        st.lists(st.sampled_from(list("ltszqdibycrnFDTho")) | inner, max_size=5)
        | st.dictionaries(st.text(max_size=2), inner, max_size=2)
    ),
    max_leaves=10,
)


@settings(max_examples=500, deadline=None)
@given(JUNK)
def test_a_forged_message_is_malformed_or_plain(junk: Any) -> None:
    with contextlib.suppress(Malformed):
        unpack(junk, lambda *_: None)


@pytest.mark.parametrize("text", ["", "{}", "3", "[]", "[3]", "nul", "[" * 100_000, '["a"', "\ud800"])
def test_no_message(text: str) -> None:
    with pytest.raises(Malformed):
        from_text(text)


def test_a_subclass_crosses_as_the_plain_value_below_it() -> None:
    class Number(int):
        def __eq__(self, other: object) -> bool:
            return True

        __hash__ = int.__hash__

    class Text(str):
        def __str__(self) -> str:
            return "other"

    class Rows(list):  # type: ignore[type-arg]
        def __iter__(self) -> Any:
            return iter(())

    assert pack([Number(5), Text("a"), Rows([1])], None) == ["l", 5, "a", ["l", 1]]
    assert pack(Fraction(1, 3), None) and pack(Decimal("1"), None)
    with pytest.raises(TypeError):
        pack(object(), None)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    with pytest.raises(Malformed):
        pack(cyclic, None)
