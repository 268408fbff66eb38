"""What all judges that ask a language model share: how they ask, and what becomes of an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import DataError
from burnish.llm.operations import REASKS, Answered, Operation, answer_all, check_asker
from burnish.llm.requests import Asker, Budget, Store
from burnish.protocols import Work
from burnish.records import Judgement, Prompt, Response, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a judge asks.

    Args:
        sampling: in place of the operation's own (greedy).
        reasks: how often an unreadable reply is asked for again.
        at_once: questions under way; an endpoint paces itself below that.
        store: where replies are kept when the judge works outside a step; judges may share one file. In a step, the
            step's own is used.
        budget: what may be spent, in place of the asker's own; what the store holds already counts.
    """

    sampling: Sampling | None = None
    reasks: int = REASKS
    at_once: int = field(default=256, metadata={"runtime": True})
    store: Path | str | Store | None = field(default=None, metadata={"runtime": True})
    budget: Budget | None = field(default=None, metadata={"runtime": True})

    def ask(
        self, operation: Operation[Any, Any], records: Sequence[Any], asker: Asker, work: Work | None
    ) -> list[Answered[Any]]:
        """One answer for each record."""
        return answer_all(
            operation, records, asker=asker, sampling=self.sampling, reasks=self.reasks, at_once=self.at_once,
            work=work, store=self.store if work is None else None, budget=self.budget,
        )  # fmt: skip


class Asking:
    """Parent of judges: their asker is looked at when they are made."""

    __slots__ = ()
    asker: Asker

    def __post_init__(self) -> None:
        check_asker(self.asker, type(self).__name__)


def prompts_of(prompts: Sequence[Prompt], responses: Sequence[Response]) -> list[Prompt]:
    """The prompt of each response.

    Raises:
        DataError: it is not among the prompts.
    """
    known = {prompt.id: prompt for prompt in prompts}
    missing = next((response for response in responses if response.prompt not in known), None)
    if missing is not None:
        raise DataError(f"the prompt {missing.prompt} of response {missing.id} is not among the prompts")
    return [known[response.prompt] for response in responses]


def judge_each(
    responses: Sequence[Response],
    records: Sequence[Any],
    ask: Callable[[list[Any]], list[Answered[Any]]],
    *,
    name: str,
    score: Callable[[Any], float],
) -> list[Judgement]:
    """A judgement for each response.

    Args:
        responses: in the order of the judgements.
        records: what is asked about each, or a text: why it cannot be asked.
        ask: asks about the records that can be.
        name: who judges.
        score: the number in a result.
    """
    answers = iter(ask([record for record in records if not isinstance(record, str)]))
    rows = []
    for response, record in zip(responses, records, strict=True):
        told: dict[str, Any] = {"prompt": response.prompt, "responses": (response.id,), "judge": name}
        told["parents"] = (response.id,)
        if isinstance(record, str):
            rows.append(Judgement(unscored=record, **told))
            continue
        got = next(answers)
        told["transcript"] = got.transcript
        value = None if got.record is None else score(got.record)
        rows.append(Judgement(score=value, unscored=got.unscored, **told))
    return rows
