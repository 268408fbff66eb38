"""Candidate and tests in two programs, so that no candidate decides its own verdict.

Where a test is a call with literal arguments, compared with a literal, the host itself compares (`plain`): the
candidate's program gets the arguments, never the expected value, and what comes back is plain data. Other tests run in
a second program, and the host carries calls and results between the two (`apart`). Equality, truth of an assertion and
the order of tests are decided where the candidate's code is not: its `__eq__`, its builtins, its exit and its frames
are its own affair.

A candidate that ends, hangs or floods fails the test under way; a second pair of programs goes on after it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.errors import WorkerError
from burnish.protocols import Conversation, Executor, Limits, Ran
from burnish.verify.code.doubt import crossed, loaded_objects, shared_state
from burnish.verify.code.inside import begin
from burnish.verify.code.inside.plain import Malformed, from_text, pack, to_text, unpack
from burnish.verify.code.outcome import UNSCORED, Outcome, Result, ended_class, error_class
from burnish.verify.code.suite import Case, Suite, literal_cases

REPLY = 8 << 20  # ASSUMED: characters of one reply; more is a flood
SPARE = 10.0  # seconds beyond the candidate's own after which the sandbox ends both programs by itself
MESSAGE = 600  # characters of an error that are kept


class Ended(Exception):
    """The candidate's program is over before it answered: `kind` and `message` of the failure."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


class Kept:
    """Stands on the host for an object that stays with the candidate: true, and equal to nothing else."""


def failure(reply: Sequence[Any]) -> Result:
    """The result for a `raise` message of the candidate."""
    text, where, line = [*reply[1:4], "", "", []][:3]
    classes = [str(name) for name in line] if isinstance(line, list) else []
    kind = error_class(classes, str(text))
    # An AssertionError of the candidate's own is no comparison of ours.
    kind = "exception" if kind == "wrong_answer" else kind
    at = f" ({str(where)[:40]})" if where else ""
    return Result(kind=kind, message=f"{classes[0] if classes else 'error'}: {str(text)[:MESSAGE]}{at}")


@dataclass(slots=True)
class Program:
    """One program under way, with the time it has left."""

    talk: Conversation
    until: float
    ran: Ran | None = None

    def stop(self) -> Ran:
        if self.ran is None:
            self.ran = self.talk.stop()
        return self.ran

    def ask(self, text: str) -> str:
        left = self.until - time.monotonic()
        if left <= 0:
            raise Ended("timeout", "the time is up")
        try:
            reply = self.talk.ask(text, seconds=left)
        except WorkerError:
            out = time.monotonic() >= self.until - 0.01
            ran = self.stop()
            kind = "timeout" if out else ended_class(ran)
            why = {"timeout": "the time is up", "exit": f"the program ended by itself, with status {ran.status}"}
            raise Ended(kind, why.get(kind, f"the limit on {ran.limit or kind} was reached")) from None
        if len(reply) > REPLY:
            raise Ended("output", f"a reply of {len(reply)} characters")
        return reply


def start_candidate(
    executor: Executor, code: str, names: Sequence[str], *, limits: Limits
) -> tuple[Program, list[Any]]:
    """A program that has run the candidate's top level, and what it said: `loaded` or `raise`.

    Raises:
        WorkerError: the sandbox could not start it, before any of the candidate's code ran.
        Ended: the candidate's top level ended it.
    """
    talk = begin(executor, "candidate", limits=sandbox_limits(limits))
    candidate = Program(talk=talk, until=time.monotonic() + limits.seconds)
    try:
        return candidate, message_of(candidate.ask(to_text(["load", code, list(names)])))
    except BaseException:
        candidate.stop()
        raise


def sandbox_limits(limits: Limits) -> Limits:
    """The limits of a program that answers: time to spare, because the host itself ends it, and long replies."""
    return replace(limits, seconds=limits.seconds + SPARE, output_kib=max(limits.output_kib, REPLY >> 10))


def message_of(text: str) -> list[Any]:
    try:
        return from_text(text)
    except Malformed:
        raise Ended("exception", "the candidate forged a message") from None


def call(candidate: Program, case: Case) -> Any:
    """The value of one call, or the Result when it raised."""
    named = {name: pack(value, None) for name, value in case.named.items()}
    asked = ["call", ["name", case.name], [pack(argument, None) for argument in case.args], named]
    reply = message_of(candidate.ask(to_text(asked)))
    if reply[0] == "raise":
        return failure(reply)
    try:
        return unpack(reply[1] if reply[0] == "return" else None, lambda _tag, _number: Kept())
    except (Malformed, LookupError, RecursionError) as error:
        return Result(kind="type", message=f"no plain answer: {error}")


def _told(value: Any) -> str:
    """A value in a message; the text of a very long number is not made."""
    if isinstance(value, Kept):
        return "an object"
    try:
        return f"{value!r:.120}" if not isinstance(value, int) or value.bit_length() < 400 else "a very long number"
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"


def _plain_test(candidate: Program, cases: Sequence[Case], loaded: Mapping[str, Any]) -> Result:
    for case in cases:
        if case.name not in loaded:
            return Result(kind="name", message=f"NameError: name {case.name!r} is not defined")
        value = call(candidate, case)
        if isinstance(value, Result):
            return value
        if not case.holds(value):
            # The message goes into feedback turns: it shows the call and the answer, as an assertion does.
            arguments = ", ".join(_told(argument) for argument in case.args)
            wanted = {"==": "", "is": "is ", "!=": "not "}.get(case.comparison)
            target = f"{wanted}{_told(case.expected)}" if wanted is not None else case.comparison
            told = f"AssertionError: {case.name}({arguments}) gave {_told(value)}, expected {target}"
            return Result(kind="wrong_answer", message=told[:MESSAGE])
    return Result()


@dataclass(slots=True)
class _Pair:
    """Candidate and tests, each in a program of its own."""

    candidate: Program
    tests: Program
    fault: str = ""
    answered: bool = field(default=False)
    doubt: str = ""

    def run(self, test: str) -> Result:
        """One test: the host carries each request across until the tests' side says that it is done."""
        self.answered = caught = False
        text = to_text(["test", test])
        while True:
            message = from_text(self._tests(text))
            if message[0] == "done":
                # An error of the candidate's that the test caught has lost its attributes.
                caught = caught and not message[6]
                return self._judged(_done(message), "the candidate raises" if caught else "")
            self.answered = True
            asked = to_text(message)
            text = self.candidate.ask(asked)
            caught = caught or text.startswith('["raise"')
            self.doubt = self.doubt or crossed(asked, tests=True) or crossed(text, tests=False)

    def _judged(self, result: Result, doubt: str) -> Result:
        """The result with the reason to doubt it. What the candidate says of itself can only make it more doubtful."""
        if not result.kind or result.kind == UNSCORED:
            return result
        self.doubt = self.doubt or doubt
        lost = message_of(self.candidate.ask(to_text(["printed"])))[2:3] == [True]
        return replace(result, doubt=self.doubt or ("a value lost its class" if lost else ""))

    def _tests(self, text: str) -> str:
        try:
            return self.tests.ask(text)
        except Ended as ended:
            if self.answered and ended.kind in ("timeout", "memory", "output"):
                # What the candidate answered made the tests run on: an endless stream, a monstrous value.
                raise Ended(ended.kind, f"with its answer the test ran into a limit ({ended.message})") from None
            raise Ended(UNSCORED, f"the tests' own program ended: {ended.message}") from None


def _done(message: Sequence[Any]) -> Result:
    _, passed, classes, text, where, whose, raised = message
    if passed:
        told = "the test passes without asking the candidate for anything"
        return Result() if whose == "candidate" else Result(kind=UNSCORED, message=told)
    at = f" ({where})" if where else ""
    told = f"{classes[0]}: {text[:MESSAGE]}{at}"
    if whose != "candidate":
        return Result(kind=UNSCORED, message=("unfit: " if whose == "unfit" else "fault of the test: ") + told)
    kind = error_class(classes, text)
    return Result(kind="exception" if raised and kind == "wrong_answer" else kind, message=told)


def _open_pair(
    executor: Executor, suite: Suite, candidate: Program, loaded: Mapping[str, Any], limits: Limits
) -> _Pair:
    talk = begin(executor, "tester", limits=sandbox_limits(limits))
    tests = Program(talk=talk, until=candidate.until + 0.25)
    lacking = [name for name in suite.names if name not in loaded]
    pair = _Pair(candidate=candidate, tests=tests, doubt=shared_state(suite) or loaded_objects(loaded))
    try:
        reply = from_text(pair._tests(to_text(["open", suite.given, dict(loaded), lacking])))
        pair.fault = str(reply[1]) if reply[0] == "fault" else ""
        if reply[0] == "opened" and suite.setup.strip():
            result = pair.run(suite.setup)
            if result.kind and not (result.kind == UNSCORED and "without asking" in result.message):
                raise Ended(result.kind, f"in the set-up: {result.message}")
        if reply[0] == "forged":
            raise Ended("exception", "the candidate forged a message")
    except BaseException:
        tests.stop()
        raise
    return pair


def _some(executor: Executor, code: str, suite: Suite, *, limits: Limits, start: int, every: bool) -> _Part:
    """Tests from `start` on in one pair of programs, until one of them ends."""
    cases = literal_cases(suite)
    part = _Part(mode="plain" if cases else "apart")
    candidate: Program | None = None
    pair: _Pair | None = None
    try:
        candidate, said = start_candidate(executor, code, suite.names, limits=limits)
        if said[0] != "loaded":
            part.results, part.loaded = [failure(said)], False
            return part
        loaded = said[1] if isinstance(said[1], dict) else {}
        if not cases:
            pair = _open_pair(executor, suite, candidate, loaded, limits)
            if pair.fault:
                part.results = [Result(kind=UNSCORED, message=f"fault of the tests: {pair.fault}")]
                part.loaded = False
                return part
        for index in range(start, len(suite.tests)):
            plain = cases[index] if cases else None
            result = _plain_test(candidate, plain, loaded) if plain else pair.run(suite.tests[index])  # type: ignore[union-attr]
            part.results.append(result)
            if result.kind and not every:
                break
        part.printed = str(message_of(candidate.ask(to_text(["printed"])))[1])
    except Ended as ended:
        if len(part.results) < len(suite.tests) - start and not (part.results and part.results[-1].kind and not every):
            part.results.append(Result(kind=ended.kind, message=ended.message))
        part.loaded = candidate is not None
    finally:
        for running in (candidate, pair.tests if pair else None):
            if running is not None:
                running.stop()
    return part


@dataclass(slots=True)
class _Part:
    """`loaded` is False when nothing can be run after this: the top level fails, or the tests' set-up does."""

    mode: str
    results: list[Result] = field(default_factory=list)
    loaded: bool = True
    printed: str = ""


def run_apart(
    executor: Executor, code: str, suite: Suite, *, every: bool = False, limits: Limits | None = None
) -> Outcome:
    """Run a suite of Python tests on a candidate.

    Args:
        code: the candidate's whole program (a completion with its prompt before it).
        every: run all tests even after one failed, each with the suite's seconds of its own after a program ended.
        limits: of each program; the seconds are the suite's.

    Raises:
        WorkerError: the sandbox failed, which says nothing about the candidate.
    """
    begun, limits = time.monotonic(), replace(limits or Limits(), seconds=suite.seconds)
    results: list[Result] = []
    while True:
        part = _some(executor, code, suite, limits=limits, start=len(results), every=every)
        results += part.results
        if not part.loaded and results:
            results += [results[-1]] * (len(suite.tests) - len(results) if every else 0)
        if not every or len(results) >= len(suite.tests):
            break
    took = time.monotonic() - begun
    return Outcome(results=tuple(results), asked=len(suite.tests), mode=part.mode, printed=part.printed, seconds=took)


def call_all(
    executor: Executor, code: str, name: str, arguments: Sequence[Sequence[Any]], *, seconds: float
) -> list[Any] | Result:
    """What a function of the candidate gives for each list of plain arguments.

    Each call has `seconds`; one that ends the program is a Result of its class, and a new program goes on with the
    next. A Result instead of the list says that the code itself does not load or lacks the name.

    Raises:
        WorkerError: the sandbox failed.
    """
    found: list[Any] = []
    while len(found) < len(arguments):
        limits = Limits(seconds=seconds)
        try:
            candidate, said = start_candidate(executor, code, [name], limits=limits)
        except Ended as ended:
            return Result(kind=ended.kind, message=ended.message)
        try:
            if said[0] != "loaded":
                return failure(said)
            if not isinstance(said[1], dict) or name not in said[1]:
                return Result(kind="name", message=f"the code does not define {name!r}")
            # A program lives for the seconds of one call and SPARE more; a long list goes over several programs.
            end = time.monotonic() + SPARE / 2
            while len(found) < len(arguments) and time.monotonic() < end:
                candidate.until = time.monotonic() + seconds
                found.append(call(candidate, Case(name=name, args=tuple(arguments[len(found)]))))
        except Ended as ended:
            found.append(Result(kind=ended.kind, message=ended.message))
        finally:
            candidate.stop()
    return found


__all__ = ["Ended", "Program", "call_all", "run_apart", "start_candidate"]
