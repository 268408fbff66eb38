"""Candidate and tests in one interpreter, for tests that cannot be apart. Its text runs inside the sandbox.

    ["load", [module, ...], code]                   -> ["loaded"] or ["raise", text, where, names of classes]
    ["tests", [given code, its names, set-up], [code, ...], secret]
                                                    -> ["done", secret, [[passed, classes, text, where, whose], ...]]

The secret and the tests arrive after the candidate's top level has run. Comparisons and assertions of the tests are
rewritten by the host to `burnish_compare` and `burnish_true`, which ask no class of the candidate.
"""

import builtins
import contextlib
import importlib
import operator
import sys
import types

from burnish.verify.code.inside.plain import from_text, pack, to_text, unpack

PRISTINE = dict(vars(builtins))
SIGNS = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
    "is": lambda a, b: a is b,
    "is not": lambda a, b: a is not b,
}


BINARY = {
    "Add": operator.add, "Sub": operator.sub, "Mult": operator.mul, "Div": operator.truediv, "Mod": operator.mod,
    "FloorDiv": operator.floordiv, "Pow": operator.pow, "MatMult": operator.matmul, "LShift": operator.lshift,
    "RShift": operator.rshift, "BitOr": operator.or_, "BitXor": operator.xor, "BitAnd": operator.and_,
}  # fmt: skip


class Tampered(Exception):
    """A value of the candidate's own class where a test needs plain data, or a changed module."""


def _classes():
    """All classes there are, by id."""
    waiting, found = [object], {}
    while waiting:
        kind = waiting.pop()
        if id(kind) not in found:
            found[id(kind)] = kind
            waiting += type.__subclasses__(kind)
    return found


class Compare:
    """Comparisons that ask no class of the candidate."""

    def __init__(self, known):
        self.known = known

    def foreign(self, value):
        kind = type(value)
        return id(kind) not in self.known and kind.__module__ != "tests"

    def plain(self, value, boxes):
        """The value with each object of the candidate's own classes replaced by a box that is equal to itself only."""
        kept = {}

        def keep(item):
            kept[id(item)] = item
            return ["h", id(item)]

        def handle(_tag, number):
            return boxes.setdefault(number, object()) if self.foreign(kept[number]) else kept[number]

        if not isinstance(value, (int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict)):
            return value
        return unpack(pack(value, keep), handle)

    def equal(self, one, two):
        if self.foreign(one) and self.foreign(two):
            return bool(one == two)
        if self.foreign(one) or self.foreign(two):
            return False
        boxes = {}
        return bool(self.plain(one, boxes) == self.plain(two, boxes))

    def __call__(self, first, *rest):
        for sign, second in zip(rest[::2], rest[1::2], strict=True):
            if sign in ("==", "!="):
                good = self.equal(first, second) == (sign == "==")
            elif sign in ("in", "not in"):
                if self.foreign(second):
                    raise Tampered("`in` an object of the candidate's own class")
                parts = second if isinstance(second, str) else None
                found = first in parts if parts is not None else any(self.equal(first, item) for item in second)
                good = found == (sign == "in")
            else:
                if sign not in ("is", "is not") and self.foreign(first) != self.foreign(second):
                    raise Tampered("an order of objects of the candidate's own class")
                good = SIGNS[sign](first, second)
            if not good:
                return False
            first = second
        return True

    def binary(self, name, one, two):
        """An operation of a test; an object of the candidate's may not turn a value of the test into plain data."""
        value = BINARY[name](one, two)
        written = name == "Mod" and isinstance(one, str)
        if self.foreign(one) != self.foreign(two) and not self.foreign(value) and not written:
            raise Tampered("an operation with an object of the candidate's own class")
        return value

    def true(self, value):
        if self.foreign(value) and any(hasattr(type(value), name) for name in ("__bool__", "__len__")):
            raise Tampered("an assertion about an object of the candidate's own class")
        return bool(value)


def _state():
    """What the modules of the moment hold, to see whether the candidate changes one."""
    kinds = (types.FunctionType, types.BuiltinFunctionType, type)
    return {
        name: {key: id(value) for key, value in vars(module).items() if isinstance(value, kinds)}
        for name, module in list(sys.modules.items())
        if isinstance(module, types.ModuleType) and name not in ("candidate", "tests", "__main__")
    }


def _told(error):
    where, trace = "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename in ("<tests>", "<candidate>"):
            where = trace.tb_frame.f_code.co_filename.strip("<>") + " line " + str(trace.tb_lineno)
        trace = trace.tb_next
    try:
        text = str(error)[:2000]
    except BaseException:
        text = "(its message cannot be read)"
    return [[kind.__name__ for kind in type.mro(type(error))[:-1]], text, where]


def _changed(before):
    now = _state()
    for name, held in before.items():
        for key, value in held.items():
            if now.get(name, {}).get(key) != value:
                return name + "." + key
    return ""


def _test(code, space, before):
    try:
        exec(compile(code, "<tests>", "exec"), space)
    except BaseException as error:
        return [False, *_told(error)]
    changed = _changed(before)
    return [False, ["Tampered"], "the candidate changed " + changed, ""] if changed else [True, [], "", ""]


def serve(ask, answer):
    """The program's whole life."""
    before, candidate, known = {}, types.ModuleType("candidate"), {}
    while True:
        message = from_text(ask())
        if message[0] == "load":
            for name in message[1]:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
            before, known = _state(), _classes()
            sys.modules["candidate"] = candidate
            try:
                exec(compile(message[2], "<candidate>", "exec"), candidate.__dict__)
                reply = ["loaded"]
            except BaseException as error:
                classes, text, where = _told(error)
                reply = ["raise", text, where, classes]
            answer(to_text(reply))
            continue
        _, (given, own, setup), tests, secret = message
        module = types.ModuleType("tests")
        public = {k: v for k, v in candidate.__dict__.items() if not k.startswith("__") and k not in PRISTINE}
        compare = Compare(known)
        module.__dict__.update(__builtins__=dict(PRISTINE))
        exec(compile(given, "<given>", "exec"), module.__dict__)
        module.__dict__.update({k: v for k, v in public.items() if k not in own})
        module.__dict__.update(burnish_compare=compare, burnish_true=compare.true, burnish_binary=compare.binary)
        results = [[False, ["Tampered"], "the candidate changed " + _changed(before), ""]] if _changed(before) else []
        if not results:
            for code in (setup, *tests):
                results.append(_test(code, module.__dict__, before))
        answer(to_text(["done", secret, results]))
