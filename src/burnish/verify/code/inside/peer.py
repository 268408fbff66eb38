"""Two programs that use each other's objects through messages. Its text runs inside the sandbox, on both sides.

A message is a request or an answer to one; the host carries each from one side to the other, so that calls may nest:

    ["call", target, [argument, ...], {name: argument}]    target: ["name" | "await", text] or ["object", handle]
    ["get" | "set" | "item" | "put" | "drop" | "next" | "iter" | "len" | "str" | "true" | "same" | "isa", ...]
    ["return", value, [[place, argument as it is now], ...]]       ["raise", text, where, names of its classes]

The side that holds the tests gives away nothing but what a test passes itself, and of that only calls, items and the
public attributes of objects whose class the tests define: never frames, globals or code.
"""

import builtins

from burnish.verify.code.inside.plain import Malformed, from_text, pack, to_text, unpack

MUTABLE = (list, dict, set, bytearray)
TEXT = 2000  # characters of an exception's message that cross


class Foreign(Exception):
    """The other side's exception that is no built-in `Exception`: an exit, an interrupt, a class of its own."""


class Remote:
    """An object of the other side. Equality with anything of this side is never asked of it."""

    __slots__ = ("_burnish",)

    def __init__(self, peer, number):
        object.__setattr__(self, "_burnish", (peer, number))

    def __call__(self, *args, **named):
        return self._burnish[0].call(["object", self._burnish[1]], args, named)

    def __getattr__(self, name):
        return _ask(self, "get", name)

    def __setattr__(self, name, value):
        _ask(self, "set", name, value)

    def __getitem__(self, key):
        return _ask(self, "item", key)

    def __setitem__(self, key, value):
        _ask(self, "put", key, value)

    def __delitem__(self, key):
        _ask(self, "drop", key)

    def __iter__(self):
        return _ask(self, "iter")

    def __next__(self):
        return _ask(self, "next")

    def __len__(self):
        return _exact(_ask(self, "len"), int)

    def __bool__(self):
        return _exact(_ask(self, "true"), bool)

    def __str__(self):
        return _exact(_ask(self, "str", 0), str)

    def __repr__(self):
        return _exact(_ask(self, "str", 1), str)

    def __eq__(self, other):
        if type(other) is not Remote:
            return NotImplemented
        return self._burnish == other._burnish or _exact(_ask(self, "same", other), bool)

    def __hash__(self):
        return hash(self._burnish[1])

    def __instancecheck__(self, value):
        return _exact(_ask(self, "isa", value), bool)

    def __enter__(self):
        return self.__getattr__("__enter__")()

    def __exit__(self, *_):
        self.__getattr__("__exit__")(None, None, None)


def _exact(value, kind):
    if type(value) is not kind:
        raise TypeError("expected " + kind.__name__)
    return value


def _ask(remote, operation, *arguments):
    peer, number = remote._burnish
    return peer.request([operation, number, *[peer.pack(argument) for argument in arguments]])


class Peer:
    """One side of the talk.

    Args:
        ask, answer: the program's line to the host.
        names: text -> object that the other side may call by name.
        guard: object -> which operations the other side may ask of it; None allows all.
    """

    def __init__(self, ask, answer, names, guard=None):
        self.ask, self.answer, self.names, self.guard = ask, answer, names, guard
        self.objects, self.numbers, self.remotes, self.errors = {}, {}, {}, {}

    def keep(self, value):
        """The handle of an object of this side, or the one of the other side that goes home."""
        if type(value) is Remote:
            return ["o", value._burnish[1]]
        if self.guard is not None:
            self.guard(value, "keep")
        number = self.numbers.setdefault(id(value), len(self.numbers) + 1)
        self.objects[number] = value
        return ["h", number]

    def pack(self, value):
        return pack(value, self.keep, exact=self.guard is not None)

    def _handle(self, tag, number):
        if tag == "o":
            return self.objects[number]
        if number not in self.remotes:
            self.remotes[number] = Remote(self, number)
        return self.remotes[number]

    def unpack(self, data):
        return unpack(data, self._handle)

    def request(self, message):
        """Ask the other side and wait, serving what it asks in between."""
        self.answer(to_text(message))
        while True:
            reply = from_text(self.ask())
            if reply[0] == "return":
                return self.unpack(reply[1])
            if reply[0] == "raise":
                raise self.error(reply)
            self.answer(to_text(self.serve(reply)))

    def call(self, target, args, named):
        """A call of the other side's object. Lists, dicts and sets among the arguments change as it changes them."""
        self.answer(
            to_text(["call", target, [self.pack(a) for a in args], {k: self.pack(v) for k, v in named.items()}])
        )
        while True:
            reply = from_text(self.ask())
            if reply[0] == "return":
                for place, state in reply[2] if len(reply) > 2 else ():
                    _become(args[place], self.unpack(state))
                return self.unpack(reply[1])
            if reply[0] == "raise":
                raise self.error(reply)
            self.answer(to_text(self.serve(reply)))

    def error(self, reply):
        """The exception that a reply tells of: the first class of its line that is known here and can be made."""
        text, where, line = [*reply[1:4], "", "", []][:3]
        names = [str(name) for name in line] if type(line) is list else []
        error = Foreign((names[0] if names else "?") + ": " + str(text))
        for name in names:
            kind = self.errors.get(name) or getattr(builtins, name, None)
            if isinstance(kind, type) and issubclass(kind, Exception):
                try:
                    error = kind(str(text))
                except Exception:
                    continue
                break
        error.burnish = (names[0] if names else "?", str(text), str(where))
        return error

    def serve(self, message):
        """Do what the other side asks; the answer to it as a message."""
        try:
            return self._do(message)
        except Malformed as error:
            return ["raise", "malformed: " + str(error), "", ["TypeError"]]
        except BaseException as error:
            return self.told(error)

    def told(self, error):
        """An exception of this side as a message."""
        where, trace = "", error.__traceback__
        while trace is not None:
            if trace.tb_frame.f_code.co_filename == "<candidate>":
                where = "line " + str(trace.tb_lineno)
            trace = trace.tb_next
        try:
            one = len(error.args) == 1 and type(error.args[0]) is str
            text = (error.args[0] if one else str(error))[:TEXT]
        except BaseException:
            text = "(its message cannot be read)"
        return ["raise", str(text), where, [kind.__name__ for kind in type.mro(type(error))[:-1]]]

    def _do(self, message):
        operation = message[0]
        if operation == "call":
            return self._call(message)
        target = self.objects[message[1]]
        if self.guard is not None:
            self.guard(target, operation, message[2:])
        arguments = [self.unpack(part) for part in message[2:]]
        value = OPERATIONS[operation](target, *arguments)
        return ["return", self.pack(value)]

    def _call(self, message):
        _, (kind, which), packed, named = message
        target = self.objects[which] if kind == "object" else self.names[which]
        if self.guard is not None:
            self.guard(target, "call")
        args = [self.unpack(part) for part in packed]
        value = target(*args, **{str(k): self.unpack(v) for k, v in named.items()})
        if kind == "await":
            import asyncio

            value = asyncio.run(value)
        changed = []
        for place, given in enumerate(args):
            if type(given) in MUTABLE:
                state = self.pack(given)
                if state != packed[place]:
                    changed.append([place, state])
        return ["return", self.pack(value), changed]


def _become(given, now):
    if type(given) is not type(now) or type(given) not in MUTABLE:
        return
    given.clear()
    (given.extend if type(given) in (list, bytearray) else given.update)(now)


def _put(target, key, value):
    target[key] = value


def _drop(target, key):
    del target[key]


OPERATIONS = {
    "get": getattr,
    "set": setattr,
    "item": lambda target, key: target[key],
    "put": _put,
    "drop": _drop,
    "iter": iter,
    "next": next,
    "len": len,
    "true": bool,
    "str": lambda target, exactly: repr(target) if exactly else str(target),
    "same": lambda target, other: bool(target == other),
    "isa": lambda target, value: isinstance(value, target),
}
