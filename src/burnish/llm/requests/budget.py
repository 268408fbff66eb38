"""What may be spent, in tokens and US dollars, for a run and for each of its steps.

Spent is what the request stores of the run say, so a killed run and its resumption share one budget. At `soft` of a
limit there is a warning; at the limit nothing more is sent, what is in flight is waited for and kept, and a
`BudgetError` names the setting to raise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from burnish.errors import BudgetError, SettingsError
from burnish.llm.requests.again import SHOWN_BACK
from burnish.llm.requests.books import spent_in
from burnish.llm.requests.prices import Price, price_of
from burnish.llm.requests.request import CHARACTERS_A_TOKEN, Reply, Request, prompt_tokens
from burnish.llm.requests.store import Store

_NOTE_TOKENS = 100  # ASSUMED: of what is said about a reply that could not be read

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits; None is no limit.

    Args:
        tokens: of prompts and replies together, for the whole run.
        money: US dollars for the whole run.
        step_tokens, step_money: the same for each step.
        soft: share of a limit at which to warn.
    """

    tokens: int | None = None
    money: float | None = None
    step_tokens: int | None = None
    step_money: float | None = None
    soft: float = 0.8

    def __post_init__(self) -> None:
        for name in ("tokens", "money", "step_tokens", "step_money"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                option = "" if name.startswith("step") else f" (--budget-{name})"
                raise SettingsError(
                    f"the budget's {name}{option} must be more than 0, not {value}; leave it out for no limit"
                )

    def open(self, store: Store | None = None) -> Purse:
        """The live count, starting from what the stores beside this one hold."""
        return Purse(self, store.path if store is not None else None)


class Purse:
    """What is spent so far. Several askers of one step may share it."""

    def __init__(self, budget: Budget, path: Path | None = None) -> None:
        self.budget = budget
        self.run_tokens = self.step_tokens = 0
        self.run_money = self.step_money = 0.0
        self._warned: set[str] = set()
        self._answers = self._outstanding = 0
        self._tokens = self._money = 0.0  # of the answers counted here
        self._prices: dict[str, Price | None] = {}
        for file in sorted(path.parent.glob("*.sqlite")) if path is not None else []:
            tokens, money = spent_in(file)
            self.run_tokens += tokens
            self.run_money += money
            if file == path:
                self.step_tokens, self.step_money = tokens, money

    def price(self, model: str) -> Price | None:
        """`price_of`, remembered."""
        if model not in self._prices:
            self._prices[model] = price_of(model)
        return self._prices[model]

    def check_price(self, model: str) -> None:
        """
        Raises:
            SettingsError: there is a limit in money, and no price for this model.
        """
        if (self.budget.money or self.budget.step_money) and self.price(model) is None:
            raise SettingsError(
                f"the budget limits money, and there is no price for {model}; put one into a file and its path into "
                "BURNISH_PRICES, or limit tokens instead (--budget-tokens)"
            )

    def take(self, request: Request) -> bool:
        """Reserve a request; False when those outstanding may use up a limit, by the mean of the answers so far.

        Before the first answer the mean is a guess at its longest, and one request is always let through.
        """
        tokens, money = self._mean(request)
        if self._short(tokens * (self._outstanding + 1), money * (self._outstanding + 1)):
            return False
        self._outstanding += 1
        return True

    def idle(self) -> bool:
        """Nothing is reserved: when `take` says no now, it is for good."""
        return self._outstanding <= 0

    def _mean(self, request: Request) -> tuple[float, float]:
        if self._answers:
            return self._tokens / self._answers, self._money / self._answers
        if self.idle():
            return 0.0, 0.0
        asked, most = prompt_tokens(request), request.sampling.max_new_tokens
        price = self.price(request.model)
        return asked + most, price.of(asked, 0, most) if price else 0.0

    def give_back(self) -> None:
        """A reserved request ended without an answer."""
        self._outstanding -= 1

    def charge(self, model: str, reply: Reply) -> float:
        """Count a reply of a reserved request; its dollars."""
        self._outstanding -= 1
        usage = reply.usage
        tokens = usage.prompt + usage.completion
        price = self.price(model)
        money = price.of(usage.prompt, usage.cached, usage.completion) if price else 0.0
        self.run_tokens += tokens
        self.step_tokens += tokens
        self.run_money += money
        self.step_money += money
        self._answers += 1
        self._tokens += tokens
        self._money += money
        return money

    def _short(self, tokens: float, money: float) -> str:
        """The limit that so much more would pass, empty for none; warns once at each one's soft share."""
        wanted = {"tokens": tokens, "money": money}
        for name, limit, spent in self._limits():
            if spent >= self.budget.soft * limit and name not in self._warned:
                self._warned.add(name)
                logger.warning("%.0f %% of the budget's %s is spent (%s)", 100 * spent / limit, name, _of(spent, limit))
            if spent >= limit or spent + wanted[name.removeprefix("step_")] > limit:
                return name
        return ""

    def _limits(self) -> Iterable[tuple[str, float, float]]:
        """(name, limit, spent) of each limit that is set."""
        for name in ("tokens", "money"):
            for where in ("run_", "step_"):
                setting = name if where == "run_" else where + name
                if (limit := getattr(self.budget, setting)) is not None:
                    yield setting, limit, getattr(self, where + name)

    def spent(self) -> bool:
        """Whether a limit is reached."""
        return any(spent >= limit for _, limit, spent in self._limits())

    def share(self, count: int) -> Budget:
        """What is left of every limit, divided among so many who spend at the same time."""
        left: dict[str, float] = {}
        for name, limit, spent in self._limits():
            kind = name.removeprefix("step_")
            left[kind] = min(left.get(kind, limit), max(0.0, limit - spent) / count)
        tokens = max(1, int(left["tokens"])) if "tokens" in left else None
        return Budget(tokens=tokens, money=max(left["money"], 1e-9) if "money" in left else None)

    def error(self) -> BudgetError:
        """What to raise when `take` said no and nothing is outstanding."""
        count = max(1, self._answers)
        name = self._short(self._tokens / count, self._money / count)
        limit, spent = next((limit, spent) for found, limit, spent in self._limits() if found == name or not name)
        where = "step" if name.startswith("step") else "run"
        told = name if where == "step" else f"--budget-{name} (Budget({name}=) in Python)"
        return BudgetError(
            f"the budget's {name} for this {where} is used up ({_of(spent, limit)}, and the next reply may pass it); "
            f"every reply that came is kept: raise {told} and run the same command again"
        )


def _of(spent: float, limit: float) -> str:
    return f"{spent:,.6g} of {limit:,.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What asking would cost, before anything is sent. Replies are counted at their longest.

    Args:
        reused: not sent, since they are kept or equal another.
        most_money: US dollars; None where a model has no price.
        reasks: how often a reply that cannot be read would be asked for again.
        worst_tokens, worst_money: prompts and replies together, when every one is.
    """

    requests: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    most_completion_tokens: int = 0
    most_money: float | None = 0.0
    reasks: int = 0
    worst_tokens: int = 0
    worst_money: float | None = 0.0

    def times(self, count: int) -> Estimate:
        """Of so many such."""
        return Estimate(**{name: _times(getattr(self, name), count) for name in _SUMMED}, reasks=self.reasks)

    def plus(self, other: Estimate) -> Estimate:
        """Of both."""
        summed = {name: _plus(getattr(self, name), getattr(other, name)) for name in _SUMMED}
        return Estimate(**summed, reasks=max(self.reasks, other.reasks))

    def costs(self) -> str:
        """Tokens and money in words."""
        replies = f"at most {self.most_completion_tokens:,} of replies"
        said = f"about {self.prompt_tokens:,} tokens of prompts, {replies}, {_dollars(self.most_money)}"
        if not (self.reasks and self.requests):
            return said
        worst = "" if self.worst_money is None else f", {_dollars(self.worst_money)}"
        return (
            f"{said}, without asking again; about {self.worst_tokens:,} tokens{worst}, if no reply could be read and "
            f"each were asked for {self.reasks} times more"
        )

    def above(self, budget: Budget, spent: tuple[int, float] = (0, 0.0)) -> str:
        """One sentence where this may pass the limit for the whole run; empty where it cannot.

        Args:
            spent: tokens and US dollars so far.
        """
        so_far = dict(zip(("tokens", "money"), spent, strict=True))
        most = {"tokens": self.prompt_tokens + self.most_completion_tokens, "money": self.most_money}
        worst = {"tokens": self.worst_tokens, "money": self.worst_money}
        for found, what in ((most, "the estimate is"), (worst, "with every reply asked for again, the estimate is")):
            for name, value in found.items():
                limit = getattr(budget, name)
                if limit is not None and value is not None and value + so_far[name] > limit:
                    said = f"{limit:,}" if name == "tokens" else f"{limit:,.2f}"
                    return f"{what} above --budget-{name} {said}, at which the asking stops, with everything kept"
        return ""


_SUMMED = (
    "requests", "reused", "prompt_tokens", "most_completion_tokens", "most_money", "worst_tokens", "worst_money",
)  # fmt: skip


def _times(value: Any, count: int) -> Any:
    return None if value is None else value * count


def _plus(one: Any, two: Any) -> Any:
    return None if one is None or two is None else one + two


def _dollars(money: float | None) -> str:
    return "no price known" if money is None else f"at most ${money:,.2f}"


def estimate(requests: Iterable[Request], store: Store | None = None, *, reasks: int = 0) -> Estimate:
    """Count what is not in the store: prompts by their length, replies by `max_new_tokens`.

    Args:
        reasks: how often each reply may be asked for again, with itself and a note of what was wrong.
    """
    count = reused = prompt = completion = worst = 0
    money: float | None = 0.0
    worst_money: float | None = 0.0
    seen: set[str] = set()
    for request in requests:
        key = request.key()
        if key in seen or (store is not None and store.get(key) is not None):
            reused += 1
            continue
        seen.add(key)
        count += 1
        asked, most = prompt_tokens(request), request.sampling.max_new_tokens
        again = reasks * (asked + min(most, SHOWN_BACK // CHARACTERS_A_TOKEN) + _NOTE_TOKENS)
        prompt, completion = prompt + asked, completion + most
        worst += asked + again + (1 + reasks) * most
        price = price_of(request.model)
        money = _plus(money, price.of(asked, 0, most) if price else None)
        worst_money = _plus(worst_money, price.of(asked + again, 0, (1 + reasks) * most) if price else None)
    return Estimate(
        requests=count, reused=reused, prompt_tokens=prompt, most_completion_tokens=completion, most_money=money,
        reasks=reasks, worst_tokens=worst, worst_money=worst_money,
    )  # fmt: skip
