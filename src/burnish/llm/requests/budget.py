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

from burnish.errors import BudgetError, SettingsError
from burnish.llm.requests.books import spent_in
from burnish.llm.requests.prices import Price, price_of
from burnish.llm.requests.request import Reply, Request, prompt_tokens
from burnish.llm.requests.store import Store

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
                raise SettingsError(f"the budget's {name} must be more than 0, not {value}; leave it out for no limit")

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
                "BURNISH_PRICES, or limit tokens instead"
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
        return BudgetError(
            f"the budget's {name} for this {where} is used up ({_of(spent, limit)}, and the next reply may pass it); "
            f"every reply that came is kept: raise {name} and run the same command again"
        )


def _of(spent: float, limit: float) -> str:
    return f"{spent:,.6g} of {limit:,.6g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What asking would cost, before anything is sent. Replies are counted at their longest.

    `money` is None where a model has no price.
    """

    requests: int = 0
    reused: int = 0
    prompt_tokens: int = 0
    most_completion_tokens: int = 0
    most_money: float | None = 0.0

    def costs(self) -> str:
        """Tokens and money in words."""
        money = "no price known" if self.most_money is None else f"at most ${self.most_money:,.2f}"
        replies = f"at most {self.most_completion_tokens:,} of replies"
        return f"about {self.prompt_tokens:,} tokens of prompts, {replies}, {money}"


def estimate(requests: Iterable[Request], store: Store | None = None) -> Estimate:
    """Count what is not in the store: prompts by their length, replies by `max_new_tokens`."""
    count = reused = prompt = completion = 0
    money: float | None = 0.0
    seen: set[str] = set()
    for request in requests:
        key = request.key()
        if key in seen or (store is not None and store.get(key) is not None):
            reused += 1
            continue
        seen.add(key)
        count += 1
        asked, most = prompt_tokens(request), request.sampling.max_new_tokens
        prompt += asked
        completion += most
        price = price_of(request.model)
        money = None if price is None or money is None else money + price.of(asked, 0, most)
    return Estimate(
        requests=count, reused=reused, prompt_tokens=prompt, most_completion_tokens=completion, most_money=money
    )
