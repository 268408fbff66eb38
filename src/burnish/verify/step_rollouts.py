"""Labels for the steps of a solution without people: complete each prefix several times and see what comes out.

Math-Shepherd (Wang et al. 2023, arXiv:2312.08935 §3.2), as Llama 3 trains its step-wise reward models (arXiv:2407.21783
§4.3.3; spec §3.13): from the prefix s_1..s_j N completions are drawn; the hard label of s_j is 1 when any of them ends
in the right answer, the soft label is the share that does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from burnish.errors import DataError, WorkerError
from burnish.protocols import Checker, Client, Journal, Work
from burnish.records import Message, Prompt, Response, Sampling, Step, content_id, plain

COMPLETIONS = 8  # N of arXiv:2312.08935 §3.2 [spec §3.13: S]
ASK = "Continue this solution from where it stops, and give the final answer. Do not repeat what is there."


@dataclass(frozen=True, slots=True, kw_only=True)
class StepLabel:
    """What the completions of one prefix say about its last step.

    Args:
        end: characters of the solution up to the end of the step.
        verdicts: one for each completion: right, wrong, or None where the checker could not tell.
    """

    end: int
    verdicts: tuple[bool | None, ...]

    @property
    def told(self) -> int:
        """Completions with a verdict."""
        return sum(verdict is not None for verdict in self.verdicts)

    @property
    def hard(self) -> float | None:
        """1 when any completion is right, else 0; None when no completion has a verdict."""
        return None if not self.told else float(any(self.verdicts))

    @property
    def soft(self) -> float | None:
        """The share of right ones among the completions with a verdict; None when there is none."""
        return sum(verdict is True for verdict in self.verdicts) / self.told if self.told else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """A solution and the labels of its steps, in their order."""

    prompt: str
    solution: str
    labels: tuple[StepLabel, ...]

    def steps(self, *, soft: bool) -> tuple[Step, ...]:
        """As a `Demonstration` keeps them."""
        return tuple(Step(end=label.end, label=label.soft if soft else label.hard) for label in self.labels)

    @property
    def score(self) -> float | None:
        """The trace's score: the least soft label of its steps (unverified, spec §3.13); None when one is missing."""
        soft = [label.soft for label in self.labels]
        return None if not soft or None in soft else min(s for s in soft if s is not None)


def line_steps(solution: str) -> tuple[int, ...]:
    """Where the steps of a solution end when each line that is not blank is one (Math-Shepherd's own format)."""
    ends, place = [], 0
    for line in solution.splitlines(keepends=True):
        place += len(line)
        if line.strip():
            ends.append(place - len(line) + len(line.rstrip()))
    return tuple(ends)


def _asked(prompt: Prompt, prefix: str) -> Prompt:
    """The prompt that asks to go on: an assistant's turn that stopped, and a user's that says so."""
    turns = (Message(role="assistant", content=prefix, train=False), Message(role="user", content=ASK))
    return replace(prompt, messages=(*prompt.messages, *turns), parents=(prompt.id,), id="")


def _verdicts(prompt: Prompt, prefix: str, responses: Sequence[Response], checker: Checker) -> tuple[bool | None, ...]:
    found = []
    for response in responses:
        whole = Message(role="assistant", content=f"{prefix}\n{response.text}")
        found.append(checker.check(prompt, replace(response, messages=(whole,), id="")).correct)
    return tuple(found)


def label_steps(
    prompt: Prompt,
    solution: str,
    ends: Sequence[int],
    *,
    client: Client,
    checker: Checker,
    sampling: Sampling,
    n: int = COMPLETIONS,
    journal: Journal | None = None,
    work: Work | None = None,
) -> Labelled:
    """Label the steps of one solution.

    The last step's prefix is the whole solution: it is not completed but checked as it stands, N times the same.

    Args:
        prompt: with the `reference` that the checker needs.
        ends: where each step ends, in characters of the solution, rising (`line_steps`).
        checker: verifies a final answer.
        n: completions a prefix.
        journal: prefixes that it holds are not completed again.

    Raises:
        DataError: `ends` do not rise within the solution, or `n` is less than 1.
        WorkerError: the client failed, or gave another number of completions; labels so far are in the journal.
    """
    if not ends or list(ends) != sorted(set(ends)) or ends[0] < 1 or ends[-1] > len(solution):
        raise DataError(f"steps must end at rising places from 1 to {len(solution)}, not at {list(ends)[:8]}")
    if n < 1:
        raise DataError(f"n is {n}; a label needs at least one completion a prefix")
    labels = []
    for place, end in enumerate(ends):
        last_step = place == len(ends) - 1
        key = content_id(["step_rollouts", prompt.id, solution[:end], last_step, n, plain(sampling), checker.name])
        kept = journal.get(key) if journal is not None else None
        if kept is None:
            if last_step:
                last = Response(prompt=prompt.id, messages=(Message(role="assistant", content=solution[:end]),))
                kept = [checker.check(prompt, last).correct] * n
            else:
                prefix = solution[:end]
                drawn = client.answer([_asked(prompt, prefix)], n=n, sampling=sampling, work=work)
                if len(drawn) != n:
                    raise WorkerError(f"the client gave {len(drawn)} completions of a prefix where {n} were asked for")
                kept = list(_verdicts(prompt, prefix, drawn, checker))
            if journal is not None:
                journal.put(key, kept)
        labels.append(StepLabel(end=end, verdicts=tuple(kept)))
    return Labelled(prompt=prompt.id, solution=solution, labels=tuple(labels))
