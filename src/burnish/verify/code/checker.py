"""One candidate and one suite -> an outcome; and the checker of prompts whose reference is a suite."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

from burnish.errors import DataError, SettingsError, WorkerError
from burnish.protocols import Executor, Limits, Verdict
from burnish.records import Prompt, Response
from burnish.verify.code.apart import run_apart
from burnish.verify.code.extract import extract_code, whole_program
from burnish.verify.code.languages import ALIASES, run_compiled, run_exchanges
from burnish.verify.code.lint import syntax_error
from burnish.verify.code.outcome import UNSCORED, Outcome, failed
from burnish.verify.code.suite import Suite, read_suite
from burnish.verify.code.together import needs_together, run_together
from burnish.verify.sandbox import find_executor


def run_suite(
    executor: Executor,
    code: str,
    suite: Suite,
    *,
    every: bool = False,
    together: bool = True,
    limits: Limits | None = None,
) -> Outcome:
    """Run all tests of a suite on a program; a suite's prefix goes before code that does not bring it.

    Python that does not parse fails before anything is started. Tests that cannot be run from another program are run
    in the candidate's interpreter, which the outcome's `mode` says; `together=False` leaves them unscored.

    Args:
        every: run all tests even after one failed.

    Raises:
        WorkerError: the sandbox failed, which says nothing about the candidate.
        DataError: the suite is in a language that is not known.
    """
    language = ALIASES.get(suite.language, suite.language)
    python = language == "python"
    code = whole_program(code, prefix=suite.prefix, entry=suite.entry if python else "", language=language)
    if python:
        wrong = syntax_error(code)
        if wrong is not None:
            asked = len(suite.tests) + len(suite.exchanges)
            return failed("syntax", str(wrong), asked=asked, mode="static")
    parts = []
    if suite.tests:
        if python:
            part = _python(executor, code, suite, every=every, together=together, limits=limits)
        else:
            part = run_compiled(executor, code, suite, limits=limits)
        parts.append(part)
    if suite.exchanges and (every or not parts or parts[0].passed):
        parts.append(run_exchanges(executor, code, suite, every=every, limits=limits))
    if len(parts) == 1:
        return replace(parts[0], asked=len(suite.tests) + len(suite.exchanges))
    return Outcome(
        results=parts[0].results + parts[1].results,
        asked=len(suite.tests) + len(suite.exchanges),
        mode=f"{parts[0].mode}+{parts[1].mode}",
        printed=parts[0].printed,
        seconds=parts[0].seconds + parts[1].seconds,
    )


def _python(
    executor: Executor, code: str, suite: Suite, *, every: bool, together: bool, limits: Limits | None
) -> Outcome:
    if needs_together(suite):
        told = "the tests use a class of the candidate's as only its own interpreter can"
        unscored = failed(UNSCORED, told, asked=len(suite.tests), mode="apart")
        return run_together(executor, code, suite, limits=limits) if together else unscored
    part = run_apart(executor, code, suite, every=every, limits=limits)
    # The tests alone decide what they pass: no candidate can bring this about.
    if together and part.kind == UNSCORED and any(r.message.startswith("unfit: ") for r in part.results):
        return run_together(executor, code, suite, limits=limits)
    if any(result.doubt for result in part.results):
        return _second_look(executor, code, suite, part, together=together, limits=limits)
    return part


def _second_look(
    executor: Executor, code: str, suite: Suite, part: Outcome, *, together: bool, limits: Limits | None
) -> Outcome:
    """The outcome when failures in two programs may be the wall's: what one interpreter says of these tests."""
    if together:
        other = run_together(executor, code, suite, limits=limits, fallback=True)
    else:
        other = failed(UNSCORED, "it may take one interpreter", asked=part.asked, mode="apart")
    whole = len(other.results) == len(suite.tests)
    results = []
    for index, result in enumerate(part.results):
        if result.doubt:
            first, result = result, other.results[index if whole else 0]
            if result.kind == UNSCORED:
                told = f"{first.doubt}, so that this failure may be no fault of its own: {first.message}; "
                result = replace(result, message=told + result.message)
        results.append(result)
    results += other.results[len(results) :] if whole and results[-1].passed else []
    return replace(part, results=tuple(results), mode=f"{part.mode}+{other.mode}" if together else part.mode)


def candidate_of(reply: str, suite: Suite) -> str:
    """The whole program of a chat reply or completion: its code, with the suite's prefix before it where it has one."""
    language = ALIASES.get(suite.language, suite.language)
    if suite.prefix and "```" not in reply and "~~~" not in reply and reply[:1] in (" ", "\t"):
        return suite.prefix + reply  # a bare continuation of the prompt
    code = extract_code(reply, language=language, entry=suite.entry)
    return whole_program(
        code, prefix=suite.prefix, entry=suite.entry if language == "python" else "", language=language
    )


@cache
def _found() -> Executor:
    """The executor of this machine, looked for once. Raises SettingsError with what is missing and how to get it."""
    return find_executor()


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeChecker:
    """Right when the code of the answer passes the tests of `Prompt.reference` (JSON, see `read_suite`).

    An answer without code, one that does not parse and one that runs out of time are wrong. A suite that cannot be
    run here (no sandbox, no compiler, a test at fault) is unscored, with the reason.

    Args:
        executor: where foreign code runs; None looks for one when the first answer is checked.
        together: whether tests that need the candidate's own interpreter are run there or left unscored.
    """

    executor: Executor | None = None
    together: bool = True
    name: str = "code"

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        """Raises DataError when the reference is no suite: that is a fault of the file, not of the answer."""
        suite = read_suite(prompt.reference)
        code = candidate_of(response.text, suite)
        if not code.strip():
            return Verdict(correct=False, reason="the answer holds no code")
        try:
            executor = self.executor if self.executor is not None else _found()
            outcome = run_suite(executor, code, suite, together=self.together)
        except DataError as error:
            raise DataError(f"prompt {prompt.id}: {error}") from None
        except (WorkerError, SettingsError) as error:
            return Verdict(correct=None, reason=str(error))
        return outcome.verdict()
