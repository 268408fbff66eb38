"""Verdicts as rewards: one function per checker for programs, and whole files of prompts with responses.

    from burnish.verify import rewards

    rewards.math("The answer is 72.", "72").correct          # True
    rewards.reward("math").scores(["72", "no idea"], ["72", 72])        # [1.0, 0.0]
    rewards.reward("math").trl(column="answer")                         # for TRL's reward_funcs

Every name in `CHECKERS` is such a function. It holds no state, so that it may be called from threads, from asyncio
(`asyncio.to_thread`) and from other processes (it pickles). A verdict that cannot be told is None, never a number.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from json import dumps  # not `json`: that is a checker's name here
from time import monotonic
from typing import Any

from burnish.errors import BurnishError, DataError, SettingsError
from burnish.protocols import Checker, Executor, Journal, Verdict, Work
from burnish.records import AnsweredRow, Prompt, Response, UnreadRow
from burnish.runs import parallel
from burnish.verify import CHECKERS, get_checker
from burnish.verify.constraints.checking import read_asked
from burnish.verify.inputs import Said, messages_of, reference_of

AUTO = "auto"
BAD = "unreadable row"
CHUNK = 64  # answers that a worker is handed at once, at most: handing over costs more than a quick check
KEPT_EVERY = 1.0  # seconds between two writes of the journal
MAX_KINDS = 40  # a column with more values than this is no type
PRELOAD = ("burnish.verify",)
COLUMNS = ("verdict", "reward", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """One checker as a function: `reward(response, reference, prompt)` gives a verdict, `scores` a list of numbers."""

    checker: Checker

    def __call__(self, response: Said, reference: Any = "", prompt: Said = "") -> Verdict:
        """The verdict on a response; the checker's own fault is unscored, with the reason.

        Args:
            response: what the model said: a text, one message (`{"role": "assistant", "content": "72"}`, or `Message`)
                or a list of messages, of which the last by the assistant is the answer.
            reference: what the checker compares with (`Prompt.reference`): a text as it is; a number, a list or an
                object as its JSON, as a column of a file is.
            prompt: what was asked, for checkers that look at it: as `response`.

        Raises:
            SettingsError: the checker cannot work here (no sandbox, say).
        """
        try:
            asked = Prompt(
                messages=messages_of(prompt, "user", "prompt"),
                checker=self.checker.name,
                reference=reference_of(reference),
            )
            answer = messages_of(response, "assistant", "response")
            if not any(message.role == "assistant" for message in answer):
                raise DataError("the response holds no message by the assistant; give what the model said")
            said = Response(prompt=asked.id, messages=answer)
        except DataError as error:
            return Verdict(correct=None, reason=str(error))
        return check(self.checker, asked, said)

    def scores(
        self, responses: Sequence[Said], references: Sequence[Any], prompts: Sequence[Said] = ()
    ) -> list[float | None]:
        """1.0 right, 0.0 wrong, None unscored, for each response.

        Args:
            responses: what the model said, each as in a single call.
            references: one for each response.
            prompts: one for each response, or none.

        Raises:
            DataError: the lists are not of one length, or one is no list.
            SettingsError: the checker cannot work here.
        """
        lists = {"responses": responses, "references": references} | ({"prompts": prompts} if prompts else {})
        for name, held in lists.items():
            if isinstance(held, str | bytes | Mapping) or not hasattr(held, "__len__"):
                raise DataError(f"{name} must be a list with one item for each response, found {type(held).__name__}")
        if len({len(held) for held in lists.values()}) > 1:
            counts = ", ".join(f"{len(held)} {name}" for name, held in lists.items())
            raise DataError(f"there are {counts}; give one of each for every response")
        found = [self(*one) for one in zip(*lists.values(), strict=True)]
        return [None if verdict.correct is None else float(verdict.correct) for verdict in found]

    def trl(self, column: str = "reference") -> TrlReward:
        """This reward as a function for the trainers of TRL (`reward_funcs=[reward("math").trl(column="answer")]`).

        Args:
            column: the column of the trainer's data set that holds the references.
        """
        return TrlReward(reward=self, column=column)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlReward:
    """A reward as TRL calls it: with `completions`, `prompts` and the data set's columns as keyword arguments.

    Returns 1.0, 0.0 or None for each completion; TRL leaves None out of the sum (GRPOTrainer, reward functions).
    """

    reward: Reward
    column: str = "reference"

    @property
    def __name__(self) -> str:  # the trainer logs a reward under its function's name
        return self.reward.checker.name

    def __call__(self, completions: Sequence[Said], prompts: Sequence[Said] = (), **columns: Any) -> list[float | None]:
        """The scores of a batch.

        Args:
            completions: texts, or lists of messages.
            prompts: texts, or lists of messages.
            columns: the other columns of the data set; `self.column` among them.

        Raises:
            DataError: the column is not among them, or is not as long as the completions.
        """
        if self.column not in columns:
            named = ", ".join(sorted(columns)) or "no other"
            raise DataError(f"the data set has no column {self.column!r} (there is {named}); give .trl(column=...)")
        return self.reward.scores(completions, columns[self.column], prompts)


def reward(kind: str) -> Reward:
    """The reward function of a checker.

    Args:
        kind: a name in `CHECKERS`.

    Raises:
        SettingsError: there is no such checker; the message names the nearest one.
    """
    return Reward(checker=get_checker(kind))


def __getattr__(name: str) -> Reward:
    if name in CHECKERS:
        return reward(name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *(name for name in CHECKERS if name.isidentifier())})


def check(checker: Checker, prompt: Prompt, response: Response) -> Verdict:
    """The checker's verdict. What it raises for a row is unscored, with the reason; a fault never becomes a score.

    Args:
        checker: one of `CHECKERS`, or any other.
        prompt: with the reference.
        response: the answer.

    Raises:
        SettingsError: the checker cannot work here, whatever the row.
    """
    try:
        return checker.check(prompt, response)
    except SettingsError:
        raise
    except BurnishError as error:
        return Verdict(correct=None, reason=str(error))
    except Exception as error:
        return Verdict(correct=None, reason=f"the checker {checker.name} failed: {type(error).__name__}: {error}")


def with_executor(checker: Checker, executor: Executor) -> Checker:
    """The checker with this executor, if it runs code at all.

    Args:
        checker: any.
        executor: what runs programs.
    """
    if is_dataclass(checker) and any(field.name == "executor" for field in fields(checker)):
        return replace(checker, executor=executor)
    return checker


# ---- files -------------------------------------------------------------------------------------------------------

Row = AnsweredRow | UnreadRow
Told = tuple[bool | None, str, list[tuple[str, bool | None]]]  # correct, reason, parts


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the table of results: `by` is the column that `name` is a value of."""

    by: str
    name: str
    n: int
    correct: int
    wrong: int
    unscored: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Verified:
    """A file's rows with verdicts, and the table.

    Args:
        rows: the columns of each row, one row an answer, with `verdict` (true, false, null), `reward` (1, 0, null) and
            `reason`; `answer` names the answer where a row has several, `parts` tells of each constraint.
        bad: rows that could not be read; they stand in `rows` with their reason.
        table: `all` first, then each type.
        reasons: why there is no verdict, for so many rows and answers; the commonest first.
    """

    rows: list[dict[str, Any]]
    bad: int
    table: list[Line]
    reasons: dict[str, int]


def verify_rows(
    rows: Sequence[Row],
    kind: str = AUTO,
    *,
    checkers: Mapping[str, Checker] = CHECKERS,
    prefix: str = "",
    workers: int = 1,
    work: Work | None = None,
) -> Verified:
    """A verdict on every answer of a file.

    Args:
        rows: of `walk_answered`.
        kind: the checker of all rows, or `auto`: each row's own (`checker`).
        checkers: by name.
        prefix: set before the names of the verdict's columns.
        workers: processes; one computes in this process.
        work: keeps verdicts in its journal as they come, and hears of progress.

    Raises:
        SettingsError: there is no such checker.
        DataError: a row has a column of the verdict's already.
        WorkerError: a worker process died; what was kept is not lost.
    """
    if kind != AUTO and kind not in checkers:
        get_checker(kind)  # raises with the nearest name
        raise SettingsError(f"there is no checker {kind!r} here")
    for row in rows:
        columns = row.columns or {}
        if taken := next((prefix + name for name in COLUMNS if prefix + name in columns), ""):
            raise DataError(f"the file has a column {taken!r} already; name the verdict's columns otherwise (--prefix)")
    answers = [(row, name) for row in rows if isinstance(row, AnsweredRow) for name in row.answers]
    calls = [(_chosen(row.prompt, kind, checkers), row.prompt, row.answers[name]) for row, name in answers]
    told = _told(calls, workers, work)
    made: list[dict[str, Any]] = []
    grouped: list[tuple[Mapping[str, str], Told]] = []
    place = 0
    for row in rows:
        if isinstance(row, UnreadRow):
            columns = row.columns if row.columns is not None else {"text": row.text}
            made.append({**columns, **_columns(prefix, (None, f"{BAD}: {row.place}: {row.reason}", []))})
            continue
        for name in row.answers:
            several = {prefix + "answer": name} if len(row.answers) > 1 else {}
            made.append({**row.columns, **several, **_columns(prefix, told[place])})
            grouped.append((_types(row, calls[place][0]), told[place]))
            place += 1
    unread = [row.reason for row in rows if isinstance(row, UnreadRow)]
    none = Counter([*unread, *(reason for correct, reason, _ in told if correct is None)])
    return Verified(rows=made, bad=len(unread), table=_table(grouped), reasons=dict(none.most_common()))


def _chosen(prompt: Prompt, kind: str, checkers: Mapping[str, Checker]) -> Checker | str:
    """The checker of a row, or the reason why there is none."""
    name = prompt.checker if kind == AUTO else kind
    if not name:
        return "the row names no checker; give one, or add a column checker"
    return checkers.get(name, f"there is no checker {name!r}; there are {', '.join(checkers)}")


def _columns(prefix: str, told: Told) -> dict[str, Any]:
    correct, reason, parts = told
    found: dict[str, Any] = {"verdict": correct, "reward": None if correct is None else int(correct), "reason": reason}
    if parts:
        found["parts"] = [{"id": id, "verdict": verdict} for id, verdict in parts]
    return {prefix + name: value for name, value in found.items()}


def _verdicts(calls: Sequence[tuple[Checker | str, Prompt, Response]]) -> list[Told]:
    """What a worker does: the verdicts on a few answers."""
    return [_verdict(*call) for call in calls]


def _verdict(checker: Checker | str, prompt: Prompt, response: Response) -> Told:
    if isinstance(checker, str):
        return None, checker, []
    verdict = check(checker, prompt, response)
    asked = _parts(prompt.reference) if checker.name.startswith("constraints") else []
    if len(asked) == 1:
        return verdict.correct, verdict.reason, [(asked[0][0], verdict.correct)]
    parts = [(id, check(checker, replace(prompt, reference=one, id=""), response).correct) for id, one in asked]
    return verdict.correct, verdict.reason, parts


def _parts(reference: str) -> list[tuple[str, str]]:
    """(id, the reference that asks for it alone) of each constraint; a list of {id, ...}, or IFEval's columns."""
    try:
        asked = read_asked(reference)
        return [(one.id, dumps([{"id": one.id, "kwargs": one.kwargs}], ensure_ascii=False)) for one in asked]
    except (DataError, TypeError, RecursionError):
        return []


def _told(calls: Sequence[tuple[Checker | str, Prompt, Response]], workers: int, work: Work | None) -> list[Told]:
    """The verdicts on all answers, those that the journal holds not asked for again."""
    kept = _Kept(work.journal if work is not None else None)
    say: Callable[[int, int, str], None] = work.progress if work is not None else lambda done, total, note: None
    left = [place for place in range(len(calls)) if place not in kept.found]
    # Few at a time where there are few: what was handed over and did not come back is lost to a kill.
    size = max(1, min(CHUNK, len(left) // (CHUNK * max(workers, 1))))
    chunks = [left[start : start + size] for start in range(0, len(left), size)]
    began, done, before = monotonic(), 0, len(calls) - len(left)
    say(before, len(calls), "")
    try:
        handed = [([calls[place] for place in chunk],) for chunk in chunks]
        for index, found in parallel(_verdicts, handed, workers=workers, threads=1, preload=PRELOAD):
            kept.take(zip(chunks[index], found, strict=True))
            done += len(found)
            rate = done / max(monotonic() - began, 1e-9)
            say(before + done, len(calls), f"{rate:,.0f} a second" if rate >= 10 else f"{rate:.2f} a second")
    finally:
        kept.flush()
    return [kept.found[place] for place in range(len(calls))]


class _Kept:
    """Verdicts by place, written to the journal about once a second: each write is a wait for the disk."""

    def __init__(self, journal: Journal | None) -> None:
        self.journal = journal
        self.found: dict[int, Told] = {}
        self._new: list[tuple[int, Told]] = []
        self._count, self._written = 0, monotonic()
        while journal is not None and (entry := journal.get(str(self._count))) is not None:
            self.found |= {place: (told[0], told[1], [(id, part) for id, part in told[2]]) for place, told in entry}
            self._count += 1

    def take(self, found: Iterator[tuple[int, Told]]) -> None:
        for place, told in found:
            self.found[place] = told
            self._new.append((place, told))
        if monotonic() - self._written >= KEPT_EVERY:
            self.flush()

    def flush(self) -> None:
        if self.journal is not None and self._new:
            self.journal.put(str(self._count), self._new)
            self._count += 1
        self._new, self._written = [], monotonic()


def _types(row: AnsweredRow, checker: Checker | str) -> dict[str, str]:
    named = {"checker": "" if isinstance(checker, str) else checker.name}
    named |= {"ability": row.prompt.ability, "task": row.prompt.task}
    return {by: name for by, name in named.items() if name}


def _table(grouped: Sequence[tuple[Mapping[str, str], Told]]) -> list[Line]:
    """All answers, then those of each checker, ability and task, then each constraint by its own verdict."""
    found: dict[str, dict[str, list[bool | None]]] = defaultdict(lambda: defaultdict(list))
    for types, (correct, _, parts) in grouped:
        for by, name in types.items():
            found[by][name].append(correct)
        for id, verdict in parts:
            found["constraint"][id].append(verdict)
    lines = [_line("all", "", [told[0] for _, told in grouped])]
    for by in ("checker", "ability", "task", "constraint"):
        if len(found[by]) <= MAX_KINDS:
            lines += [_line(by, name, verdicts) for name, verdicts in sorted(found[by].items())]
    return lines


def _line(by: str, name: str, verdicts: Sequence[bool | None]) -> Line:
    counts = [sum(verdict is which for verdict in verdicts) for which in (True, False, None)]
    return Line(by=by, name=name, n=len(verdicts), correct=counts[0], wrong=counts[1], unscored=counts[2])
