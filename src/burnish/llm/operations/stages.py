"""Operations as stages of a flow: generate, judge and filter overlap item by item, over one store and one budget."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError
from burnish.llm.flow import Fate, Left, Pace, Stage, stream
from burnish.llm.operations.asking import REASKS, answer
from burnish.llm.operations.checks import check_asker, own_code
from burnish.llm.operations.kept import Kept, purse_of
from burnish.llm.operations.operation import Answered, Operation
from burnish.llm.requests import Asker, Budget, Purse, Store, run
from burnish.protocols import Work
from burnish.records import Sampling

AT_ONCE = 64


def asking(
    operation: Operation[Any, Any],
    asker: Asker,
    *,
    record: Callable[[Any], Any],
    then: Callable[[Any, Answered[Any]], Any],
    sampling: Sampling | None = None,
    reasks: int = REASKS,
    at_once: int = AT_ONCE,
) -> Stage:
    """A stage that asks one operation about each item; one without a result leaves, unscored, with its reason.

    Args:
        operation: what is asked.
        asker: whom, as `run_asking` hands it on.
        record: item -> what is asked about it.
        then: (item, answer) -> the item for the next stage, or `Left` to drop it.

    A ValueError of `record` or `then` is the item's fate; any other error of theirs is a fault of the code and ends the
    flow.

    Raises:
        SettingsError: there is nobody to ask, or the template cannot be used; told before the flow begins.
    """
    check_asker(asker, operation.id)
    operation.check()

    async def work(item: Any) -> Any:
        with own_code(f"`record` of the stage {operation.id}", item):
            made = record(item)
        got = await answer(operation, made, asker=asker, sampling=sampling, reasks=reasks)
        if got.record is None:
            reason, _, detail = got.unscored.partition(": ")
            return Left(reason=f"{operation.id}: {reason}", detail=detail, unscored=True)
        with own_code(f"`then` of the stage {operation.id}", item, got.transcript):
            return then(item, got)

    return Stage(name=operation.id, work=work, at_once=at_once)


@asynccontextmanager
async def keeping(
    askers: Sequence[Asker],
    *,
    work: Work | None,
    at_once: int,
    store: Store | Path | str | None = None,
    budget: Budget | None = None,
) -> AsyncIterator[tuple[list[Kept], Purse]]:
    """The askers, entered, with one store and one purse between them.

    The store is the step's, or `store`; the purse is of `budget`, or of the first budget that one of them has. An
    `instant` asker keeps nothing; without a store, none does.

    Raises:
        SettingsError: nobody can be asked; a step's store and another one.
    """
    if not askers:
        raise SettingsError("there is nobody to ask: give one asker or more")
    for asker in askers:
        check_asker(asker)
    if work is not None and store is not None:
        raise SettingsError("in a step, replies are kept in the step's store; leave out `store`")
    if budget is not None and not isinstance(budget, Budget):
        raise SettingsError(f"the budget is {budget!r}; give burnish.llm.requests.Budget(tokens=..., money=...)")
    async with AsyncExitStack() as stack:
        lasting = [asker for asker in askers if not getattr(asker, "instant", False)]
        path = work.requests if work is not None else store
        if isinstance(store, Store):
            held: Store | None = store
        else:
            held = stack.enter_context(Store(path)) if path is not None and lasting else None
        limited = next((asker for asker in askers if getattr(asker, "budget", None) is not None), askers[0])
        purse = budget.open(held) if budget is not None else purse_of(limited, held)
        kept = []
        for asker in askers:
            where = held if any(asker is one for one in lasting) else None
            kept.append(await stack.enter_async_context(Kept(asker, store=where, purse=purse, at_once=at_once)))
        yield kept, purse


def run_asking(
    source: Iterable[Any] | AsyncIterable[Any],
    stages: Callable[[Sequence[Asker]], Sequence[Stage]],
    *,
    askers: Sequence[Asker],
    total: int | None = None,
    at_once: int = 256,
    work: Work | None = None,
    store: Store | Path | str | None = None,
    budget: Budget | None = None,
) -> list[Fate]:
    """A flow of questions, from ordinary code: the fate of each item, in the order of the source.

    Args:
        source: the items.
        stages: the askers, now kept -> the stages, in their order.
        askers: who is asked, one or more.
        total: how many items there are, for the time left.
        at_once: questions in flight of each asker.
        work: a step's: replies are kept and not paid for again, progress is told.
        store: the same outside a step: a file (or an open `Store`) for the replies.
        budget: what may be spent, in place of the askers' own; what its store and those beside it hold counts.

    Raises:
        SettingsError, RunError, WorkerError, BudgetError: what is wrong with the whole run (see `flow.FATAL`); with
            `work`, also that too many questions failed (see `Watch`), after everything that came is kept.
    """

    def report(pace: Pace) -> None:
        if work is not None:
            work.progress(pace.done, pace.total or pace.done, str(pace))

    async def whole() -> list[Fate]:
        async with keeping(askers, work=work, at_once=at_once, store=store, budget=budget) as (kept, purse):
            flow = stream(source, stages(kept), total=total, report=report, cost=lambda: purse.step_money)
            fates = [fate async for fate in flow]
        for one in kept if work is not None else ():
            one.watch.check()
        return fates

    return run(whole())


def answer_all(
    operation: Operation[Any, Any],
    records: Sequence[Any],
    *,
    asker: Asker,
    sampling: Sampling | None = None,
    reasks: int = REASKS,
    at_once: int = AT_ONCE,
    work: Work | None = None,
    store: Store | Path | str | None = None,
    budget: Budget | None = None,
) -> list[Answered[Any]]:
    """One answer for each record, in their order, `at_once` at a time. For ordinary code: it runs the loop itself.

    With `work` in a step, or with `store` (a file) elsewhere, replies are kept and are not paid for again, unless the
    asker is `instant`; `budget`, or the asker's own, holds (see `run_asking`). What an asker raises for one record is
    that record's reason. An asker that can be entered (`async with`) is, for the time of the call.

    Raises:
        SettingsError, RunError, WorkerError, BudgetError: what is wrong with the whole run (see `flow.FATAL`), and
            any error of `build` but a ValueError.
    """

    def stages(kept: Sequence[Asker]) -> list[Stage]:
        async def one(record: Any) -> Answered[Any]:
            return await answer(operation, record, asker=kept[0], sampling=sampling, reasks=reasks)

        return [Stage(name=operation.id, work=one, at_once=at_once)]

    check_asker(asker, operation.id)
    operation.check()
    if not records:
        return []
    fates = run_asking(
        records, stages, askers=[asker], total=len(records), at_once=at_once, work=work, store=store, budget=budget
    )
    return [_answered(operation, fate) for fate in fates]


def _answered(operation: Operation[Any, Any], fate: Fate) -> Answered[Any]:
    if fate.left is None:
        return fate.value
    return Answered(operation=operation.id, record=None, unscored=f"{fate.left.reason}: {fate.left.detail}")
