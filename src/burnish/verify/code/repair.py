"""The repair loop: generate, parse and lint, execute, tell what went wrong, generate again; bounded and journaled.

The state machine of spec §3.11a for Llama 3's execution feedback (arXiv:2407.21783 §4.3.1):

    draft -> static -> tests -> pass
               |         |
               +----+----+--> repair (at most `limit` times) -> static ...
                    +-------> reject, when the repairs are used up

No model is inside: `Loop` says what to ask next and takes replies; `run_repair` asks a `Client`. After failed tests a
reply may change the code or the tests, as in the paper; changed tests must notice a planted fault (`mutants.guard`).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.errors import DataError
from burnish.protocols import Client, Journal, Work
from burnish.records import Message, Prompt, Sampling, content_id, plain
from burnish.verify.code.checker import candidate_of
from burnish.verify.code.extract import Block, fenced_blocks, parsed, parses
from burnish.verify.code.lint import Finding, errors
from burnish.verify.code.mutants import guard
from burnish.verify.code.outcome import UNSCORED, Outcome
from burnish.verify.code.suite import Suite

REPAIRS = 3  # ASSUMED (spec §3.11a): the paper does not tell
SHOWN = 1500  # ASSUMED: characters of stdout or of an error that a feedback turn shows
STAGES = ("draft", "static", "tests", "repair", "pass", "reject", "unscored")
_MARK = "# tests"

_STATIC = """The program does not pass the static checks, so it was not run:

{remarks}

Write the whole corrected program in one fenced code block."""
_TESTS = """The program was run on its tests and failed ({kind}):

{message}
{printed}
Explain in a sentence what is wrong. Then write the whole corrected program in one fenced code block.{tests}"""
_MAY_EDIT = """
If it is a test that is wrong, write the corrected tests in a second fenced code block whose first line is `# tests`,
one `assert` a line."""
_VACUOUS = """The changed tests were not taken: {reason}. A test must fail when the program is wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One program, how far it came, and what was wrong: `kind` of KINDS, or empty."""

    stage: str
    code: str
    kind: str
    feedback: str


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Where one dialogue stands.

    Args:
        stage: one of STAGES; `draft` and `repair` wait for a reply, `pass`, `reject` and `unscored` are ends.
        messages: the dialogue so far, failed attempts and feedback included.
        attempts: one for each reply.
        tests: the tests as they are now, when a reply changed them; empty when none did.
    """

    stage: str
    messages: tuple[Message, ...]
    attempts: tuple[Attempt, ...] = ()
    tests: tuple[str, ...] = ()
    reason: str = ""

    @property
    def waits(self) -> bool:
        return self.stage in ("draft", "repair")

    @property
    def repairs(self) -> int:
        """How many times it was asked to repair."""
        return max(len(self.attempts) - 1, 0)

    @property
    def code(self) -> str:
        """The last program."""
        return self.attempts[-1].code if self.attempts else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loop:
    """The machine.

    Args:
        suite: the tests.
        check: (program, suite) -> its outcome; each call in a sandbox of its own.
        limit: repairs at most.
        edit_tests: whether a reply may change the tests.
    """

    suite: Suite
    check: Callable[[str, Suite], Outcome] = field(repr=False)
    limit: int = REPAIRS
    edit_tests: bool = False

    def begin(self, messages: Sequence[Message]) -> State:
        """The state that waits for the first draft."""
        return State(stage="draft", messages=tuple(messages))

    def advance(self, state: State, reply: str) -> State:
        """Take one reply: the next state, which waits for another one or is an end.

        Raises:
            DataError: the state is an end.
            WorkerError: the sandbox failed; the state before is still good.
        """
        if not state.waits:
            raise DataError(f"the dialogue has ended ({state.stage}); it takes no further reply")
        said = (*state.messages, Message(role="assistant", content=reply))
        suite = replace(self.suite, tests=state.tests) if state.tests else self.suite
        code = candidate_of(_without_tests(reply) if self.edit_tests else reply, suite)
        state = replace(state, messages=said)
        if suite.language == "python":
            found = errors(code) if code.strip() else [Finding(kind="syntax", line=0, message="there is no code")]
            if found:
                feedback = _STATIC.format(remarks="\n".join(map(str, found[:10])))
                return self._again(state, Attempt(stage="static", code=code, kind=found[0].kind, feedback=feedback))
        refused = ""
        if self.edit_tests and state.stage == "repair" and (changed := edited_tests(reply)):
            suite, refused = self._changed(suite, changed, code)
            state = state if refused else replace(state, tests=suite.tests)
        outcome = self.check(code, suite)
        attempt = Attempt(stage="tests", code=code, kind=outcome.kind, feedback=self._told(outcome, refused))
        if outcome.passed:
            done = replace(attempt, feedback="")
            return replace(state, stage="pass", attempts=(*state.attempts, done))
        if outcome.passed is None or outcome.kind in (UNSCORED, "environment"):
            # Not the model's fault: nothing to repair and nothing to learn from.
            ended = (*state.attempts, attempt)
            return replace(state, stage="unscored", attempts=ended, reason=f"{outcome.kind}: {outcome.message}")
        return self._again(state, attempt)

    def _changed(self, suite: Suite, tests: tuple[str, ...], code: str) -> tuple[Suite, str]:
        """The suite with other tests, or the old one and why they are refused."""
        try:
            new = replace(suite, tests=tests)
        except DataError as error:
            return suite, str(error)
        outcome = self.check(code, new)
        if outcome.passed is None:
            return suite, outcome.message
        if not outcome.passed:
            return new, ""  # they fail: nothing is gained by them
        found = guard(code, new, self.check, enough=1)
        return (suite, found.reason) if found.vacuous else (new, "")

    def _told(self, outcome: Outcome, refused: str) -> str:
        printed = f"\nIt printed:\n{outcome.printed[:SHOWN]}\n" if outcome.printed.strip() else ""
        text = _TESTS.format(
            kind=outcome.kind,
            message=outcome.message[:SHOWN],
            printed=printed,
            tests=_MAY_EDIT if self.edit_tests else "",
        )
        return f"{_VACUOUS.format(reason=refused)}\n\n{text}" if refused else text

    def _again(self, state: State, attempt: Attempt) -> State:
        attempts = (*state.attempts, attempt)
        if len(attempts) > self.limit:
            return replace(state, stage="reject", attempts=attempts, reason=f"{self.limit} repairs did not mend it")
        asked = (*state.messages, Message(role="user", content=attempt.feedback))
        return replace(state, stage="repair", attempts=attempts, messages=asked)


def _is_tests(block: Block) -> bool:
    return block.code.lstrip().lower().startswith(_MARK)


def _without_tests(reply: str) -> str:
    """A reply without its block of tests."""
    blocks = fenced_blocks(reply)
    if not any(map(_is_tests, blocks)):
        return reply
    return "\n".join(f"```{b.language}\n{b.code}\n```" for b in blocks if not _is_tests(b))


def edited_tests(reply: str) -> tuple[str, ...]:
    """The tests of a reply: the statements of its last block that begins with `# tests`; empty when there is none."""
    for block in reversed(fenced_blocks(reply)):
        if _is_tests(block) and parses(block.code):
            return tuple(ast.unparse(node) for node in parsed(block.code).body)
    return ()


def _restored(row: dict[str, Any]) -> State:
    return State(
        stage=row["stage"],
        messages=tuple(Message(**message) for message in row["messages"]),
        attempts=tuple(Attempt(**attempt) for attempt in row["attempts"]),
        tests=tuple(row["tests"]),
        reason=row["reason"],
    )


def run_repair(
    loop: Loop,
    prompt: Prompt,
    client: Client,
    *,
    sampling: Sampling,
    journal: Journal | None = None,
    work: Work | None = None,
) -> State:
    """Ask a client until the dialogue ends.

    Args:
        journal: each state is put there as it comes; a killed loop goes on from the last one.

    Raises:
        WorkerError: the client or the sandbox failed; states so far are in the journal.
    """
    identity = [prompt.id, plain(loop.suite), loop.limit, loop.edit_tests, plain(sampling)]
    key, state = content_id(["repair", identity]), loop.begin(prompt.messages)
    for turn in range(loop.limit + 1):
        kept = journal.get(f"{key}:{turn}") if journal is not None else None
        if kept is not None:
            state = _restored(kept)
        else:
            asked = replace(prompt, messages=state.messages, parents=(prompt.id,), id="") if turn else prompt
            reply = client.answer([asked], n=1, sampling=sampling, work=work)[0].text
            state = loop.advance(state, reply)
            if journal is not None:
                journal.put(f"{key}:{turn}", plain(state))
        if not state.waits:
            break
    return state


def repair_rate(states: Sequence[State]) -> float | None:
    """The share of all scored dialogues that were wrong at first and pass in the end (the paper: about 20 %).

    None without a scored dialogue.
    """
    scored = [state for state in states if state.stage in ("pass", "reject")]
    return sum(s.stage == "pass" and s.repairs > 0 for s in scored) / len(scored) if scored else None
