"""The program that holds the tests and nothing of the candidate's code. Its text runs inside the sandbox.

    ["open", given code, {name: what it is}, [name that the candidate lacks, ...]]
                    -> ["opened"], ["fault", text] (of the given code) or ["forged"] (what the candidate told)
    ["test", code]  -> ["done", passed, [class, ...], text, where, whose, raised], after any number of requests

`whose` is `candidate` when the candidate was asked before the test ended as it did, `unfit` when a test passes what
cannot be used from another program, and else `tests`; `raised` says that the error is the candidate's own.
"""

import builtins
import types

from burnish.verify.code.inside.peer import Peer, Remote
from burnish.verify.code.inside.plain import from_text, to_text

GIVEN = ("deque", "Counter", "OrderedDict", "defaultdict")
CALLABLE = (types.FunctionType, types.BuiltinFunctionType, types.MethodType)


class Unfit(Exception):
    """A test passes something that cannot be used from another program."""


def guard(value, operation, arguments=()):
    """What the candidate may do with an object that a test passes it. Raises Unfit or AttributeError."""
    kind = type(value)
    owner = value if isinstance(value, type) else kind
    own = owner.__module__ in ("tests", "collections") and (owner.__module__ == "tests" or owner.__name__ in GIVEN)
    stream = hasattr(kind, "__next__") and kind.__module__ in ("builtins", "itertools")
    if operation == "keep":
        if not (own or stream or isinstance(value, CALLABLE) or kind in (types.SimpleNamespace, object)):
            raise Unfit("a test passes a " + kind.__name__)
    elif operation == "call":
        if not (own or isinstance(value, CALLABLE)):
            raise AttributeError("not for calling")
    elif operation in ("iter", "next", "true", "str", "same") and (own or stream or kind is object):
        return
    elif not own or (operation in ("get", "set") and str(arguments[0]).startswith("_")):
        raise AttributeError("not for the candidate: " + operation)


class Missing:
    """Stands for a name that the candidate does not define."""

    def __init__(self, peer, name):
        self.__dict__.update(peer=peer, name=name)

    def __call__(self, *_args, **_named):
        self.peer.touched = True
        error = NameError("name " + repr(self.name) + " is not defined")
        error.burnish = ("NameError", str(error), "")
        raise error

    def __getattr__(self, _name):
        return self()


class Tests(Peer):
    """The side of the tests. `touched` says whether the candidate was asked for anything.

    `given` says that a name of the candidate is a plain value, which a test may use without asking.
    """

    def __init__(self, ask, answer):
        super().__init__(ask, answer, {}, guard)
        self.touched = self.given = False

    def request(self, message):
        self.touched = True
        return super().request(message)

    def call(self, target, args, named):
        self.touched = True
        return super().call(target, args, named)

    def function(self, name):
        def remote(*args, **named):
            return self.call(["name", name], args, named)

        remote.__name__ = remote.__qualname__ = name
        return remote

    def coroutine(self, name):
        async def remote(*args, **named):
            return self.call(["await", name], args, named)

        return remote

    def named(self, what, missing):
        """The candidate's names as the tests see them."""
        found = {name: Missing(self, name) for name in missing}
        for name, (kind, content) in what.items():
            if kind == "error":
                lines = [getattr(builtins, str(parent), None) for parent in content[1:]]
                known = [k for k in lines if isinstance(k, type) and issubclass(k, Exception)]
                self.errors[name] = found[name] = type(name, (known[0] if known else Exception,), {})
            else:
                made = {"function": self.function, "async": self.coroutine}.get(kind)
                found[name] = made(name) if made else self.unpack(content)
                self.given = self.given or (made is None and type(found[name]) is not Remote)
        return found


def run(peer, code, space):
    """One test, or the set-up of all."""
    peer.touched = peer.given
    try:
        exec(compile(code, "<tests>", "exec"), space)
    except BaseException as error:
        where, trace = "", error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<tests>":
                where = "line " + str(trace.tb_lineno)
            trace = trace.tb_next
        classes = [kind.__name__ for kind in type.mro(type(error))[:-1]]
        told = getattr(error, "burnish", None)
        if told is not None:
            classes.insert(0, told[0])
        whose = "unfit" if isinstance(error, Unfit) else "candidate" if peer.touched else "tests"
        text, place = (told[1], told[2]) if told else (str(error), where)
        return ["done", False, classes, text[:2000], place, whose, told is not None]
    return ["done", True, [], "", "", "candidate" if peer.touched else "tests", False]


def serve(ask, answer):
    """The program's whole life."""
    peer, space = Tests(ask, answer), {}
    while True:
        message = from_text(ask())
        if message[0] == "open":
            module = types.ModuleType("tests")
            space = module.__dict__
            try:
                exec(compile(message[1], "<given>", "exec"), space)
            except BaseException as error:
                answer(to_text(["fault", type(error).__name__ + ": " + str(error)[:500]]))
                continue
            try:
                space.update(peer.named(message[2], message[3]))
            except Exception:
                answer(to_text(["forged"]))
                continue
            answer(to_text(["opened"]))
        else:
            answer(to_text(run(peer, message[1], space)))
