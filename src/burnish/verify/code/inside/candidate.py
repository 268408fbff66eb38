"""The program that holds the candidate's code and nothing of the tests. Its text runs inside the sandbox.

["load", code, [name, ...]]     -> ["loaded", {name: what it is}] or ["raise", ...]
["printed"]                     -> ["printed", the first characters of its stdout, whether a value lost its class]
every request of `peer`         -> its answer
"""

import sys
import types

from burnish.verify.code.inside.peer import Peer
from burnish.verify.code.inside.plain import LOST, from_text, to_text

ASYNC = 0x80  # the flag of `async def` without `yield`
SHOWN = 4000  # characters of stdout that are kept for feedback


class Sink:
    """A stdout that keeps its beginning and forgets the rest, so that a talkative program is no flood."""

    encoding, errors, closed = "utf-8", "replace", False

    def __init__(self):
        self.kept, self.size = [], 0

    def write(self, text):
        if self.size < SHOWN:
            self.kept.append(str(text)[: SHOWN - self.size])
            self.size += len(self.kept[-1])
        return len(text)

    def writelines(self, lines):
        for line in lines:
            self.write(line)

    def flush(self):
        pass

    def isatty(self):
        return False

    def writable(self):
        return True


def _what(peer, value):
    """What a name of the candidate is: a function, an exception class with its line, or any other object, packed."""
    if isinstance(value, type) and issubclass(value, BaseException):
        return ["error", [kind.__name__ for kind in type.mro(value)[:-1]]]
    if type(value) is types.FunctionType and value.__code__.co_flags & ASYNC:
        return ["async", None]
    if type(value) is types.FunctionType:
        return ["function", None]
    return ["object", peer.pack(value)]


def load(peer, code, names):
    """Run the candidate's top level in a module of its own."""
    module = types.ModuleType("candidate")
    sys.modules["candidate"] = module
    try:
        exec(compile(code, "<candidate>", "exec"), module.__dict__)
    except BaseException as error:
        return peer.told(error)
    peer.names.update((name, module.__dict__[name]) for name in names if name in module.__dict__)
    try:
        return ["loaded", {name: _what(peer, value) for name, value in peer.names.items()}]
    except BaseException as error:
        return peer.told(error)


def serve(ask, answer):
    """The program's whole life."""
    sink = sys.stdout = Sink()
    peer = Peer(ask, answer, {})
    while True:
        message = from_text(ask())
        if message[0] == "load":
            reply = load(peer, message[1], message[2])
        elif message[0] == "printed":
            reply = ["printed", "".join(sink.kept), bool(LOST)]
        else:
            reply = peer.serve(message)
        answer(to_text(reply))
