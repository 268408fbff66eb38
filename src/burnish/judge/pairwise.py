"""A judge that compares two answers, in both orders (Nemotron-4, spec A.12), and counts its own faults.

    pair -> (first, second) and (second, first) -> two verdicts -> one judgement

Both verdicts must name the same answer, or both a tie. A verdict does not depend on the order in which the answers
come: they are put in the order of their ids before anything is drawn.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any, ClassVar

from burnish.errors import SettingsError
from burnish.judge.asking import How
from burnish.judge.intervals import wilson
from burnish.judge.operations import PAIRWISE, PAIRWISE_NO_TIE
from burnish.judge.operations.records import Comparison, Preferred
from burnish.llm.operations import Answered, check_asker
from burnish.llm.requests import Asker
from burnish.protocols import Work
from burnish.records import Judgement, Prompt, Response

Pair = tuple[Prompt, Sequence[Response]]
INCONSISTENT = "inconsistent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """One comparison: the judgement, and the answers it was made of, with the order each was shown in."""

    judgement: Judgement
    answers: tuple[Answered[Preferred], ...]
    shown: tuple[tuple[int, int], ...]
    self_judged: bool = False


def pair_key(prompt: Prompt, responses: Sequence[Response]) -> str:
    """The same for both orders of a pair."""
    return "/".join([prompt.id, *sorted(response.id for response in responses)])


FIRST = re.compile(r"\(answer (\d+) shown first\)")


def facing(judgement: Judgement, responses: Sequence[Response]) -> Judgement:
    """The same judgement with its responses in this order."""
    ids = tuple(response.id for response in responses)
    if judgement.responses == ids:
        return judgement
    place = [ids.index(id) for id in judgement.responses]
    winner = judgement.winner
    winner = place[winner] if winner is not None and winner >= 0 else winner
    shown = tuple(place[number] for number in judgement.shown)
    # The transcript counts the answers, too.
    told = FIRST.sub(lambda found: f"(answer {place[int(found[1]) - 1] + 1} shown first)", judgement.transcript)
    return replace(judgement, responses=ids, winner=winner, shown=shown, transcript=told, parents=ids, id="")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairwise:
    """Compares two answers with one of four strengths, or a tie. An `Annotator`; asks in bulk when `prepared`.

    Args:
        asker: who is asked.
        both: ask in both orders; without it, in one that is drawn from `seed` and the ids.
        seed: of the placement.
        inconsistent: what two verdicts that contradict each other come to: `unscored`, or `tie`.
        ties: the judge may call a pair a tie; without it, it must name one (RewardBench, spec C.2).
        how: sampling, asking again, questions under way.
        known: filled by `prepared`.
    """

    instant: ClassVar[bool] = True  # the store keeps every reply
    asker: Asker
    both: bool = True
    seed: int = 0
    inconsistent: str = "unscored"
    ties: bool = True
    how: How = field(default_factory=How)
    known: Mapping[str, Compared] = field(default_factory=dict, repr=False, metadata={"runtime": True})

    def __post_init__(self) -> None:
        check_asker(self.asker, "Pairwise")
        if self.inconsistent not in ("unscored", "tie"):
            raise SettingsError(f"inconsistent={self.inconsistent!r}; it must be 'unscored' or 'tie'")

    @property
    def name(self) -> str:
        orders = "both orders" if self.both else "one order"
        return f"pairwise, {orders}{'' if self.ties else ', no ties'}: {self.asker.identity}"

    def prepared(self, pairs: Sequence[Pair], work: Work | None = None) -> Pairwise:
        """The same judge, with all these comparisons made."""
        found = self.compare(pairs, work=work)
        made = {pair_key(*pair): row for pair, row in zip(pairs, found, strict=True)}
        return replace(self, known={**self.known, **made})

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        """The judgement on two responses; asked now unless it was prepared."""
        found = self.known.get(pair_key(prompt, responses)) or self.compare([(prompt, responses)])[0]
        return facing(found.judgement, responses)

    def metrics(self) -> dict[str, Any]:
        """Rates over all comparisons that were prepared."""
        return comparison_metrics(list(self.known.values()))

    def compare(self, pairs: Sequence[Pair], *, work: Work | None = None) -> list[Compared]:
        """One comparison for each pair, in their order."""
        records: list[Comparison] = []
        orders: list[list[tuple[int, int]]] = []
        for prompt, responses in pairs:
            if len(responses) != 2:
                raise SettingsError(f"a pairwise judge compares two responses, not {len(responses)}")
            by_id = sorted(responses, key=lambda response: response.id)
            first = Random(f"burnish/pairwise/{self.seed}/{pair_key(prompt, responses)}").randrange(2)
            shown = [(first, 1 - first), (1 - first, first)][: 2 if self.both else 1]
            orders.append(shown)
            records += [Comparison(prompt=prompt, first=by_id[a], second=by_id[b]) for a, b in shown]
        answers = iter(self.how.ask(PAIRWISE if self.ties else PAIRWISE_NO_TIE, records, self.asker, work))
        return [
            self._joined(pair, shown, [next(answers) for _ in shown]) for pair, shown in zip(pairs, orders, strict=True)
        ]

    def _joined(self, pair: Pair, shown: list[tuple[int, int]], answers: list[Answered[Preferred]]) -> Compared:
        prompt, responses = pair
        ids = tuple(sorted(response.id for response in responses))
        told: dict[str, Any] = {
            "prompt": prompt.id, "responses": ids, "judge": self.name, "parents": ids, "shown": shown[0],
            "transcript": "\n".join(
                f"(answer {a + 1} shown first) {got.transcript}"
                for (a, _), got in zip(shown, answers, strict=True)
            ),
        }  # fmt: skip
        judgement = Judgement(**told, **self._verdict(shown, answers))
        return Compared(
            judgement=facing(judgement, responses), answers=tuple(answers), shown=tuple(shown),
            self_judged=any(response.model == self.asker.identity for response in responses),
        )  # fmt: skip

    def _verdict(self, shown: list[tuple[int, int]], answers: list[Answered[Preferred]]) -> dict[str, Any]:
        lost = next((got.unscored for got in answers if got.record is None), "")
        if lost:
            return {"unscored": lost}
        winners = {named(order, got) for order, got in zip(shown, answers, strict=True)}
        if len(winners) > 1:
            return {"winner": -1} if self.inconsistent == "tie" else {"unscored": f"{INCONSISTENT}: {_told(winners)}"}
        winner = winners.pop()
        if winner == -1:
            return {"winner": -1}
        # ASSUMED: two verdicts of unlike strength are worth the weaker.
        return {"winner": winner, "strength": min(got.record.strength or 1 for got in answers if got.record)}


def named(order: tuple[int, int], got: Answered[Preferred]) -> int | None:
    """The answer that a verdict names, by its place in the order of ids; -1 for a tie, None for no verdict."""
    if got.record is None:
        return None
    return order[got.record.winner] if got.record.winner >= 0 else -1


def _told(winners: set[int | None]) -> str:
    if -1 in winners:
        return "a winner in one order, a tie in the other"
    return "another winner in each order"


def comparison_metrics(rows: Sequence[Compared]) -> dict[str, Any]:
    """Counts and rates. `first_shown_wins` is 0.5 for a judge without position bias; its interval is Wilson's.

    `consistent` is the share of pairs with a verdict in both orders in which both name the same answer or a tie.
    """
    verdicts = [
        (order, got)
        for row in rows
        for order, got in zip(row.shown, row.answers, strict=True)
        if got.record is not None
    ]
    decided = [got.record.winner for _, got in verdicts if got.record is not None and got.record.winner >= 0]
    double = [row for row in rows if len(row.answers) == 2 and all(got.record is not None for got in row.answers)]
    agreed = sum(
        len({named(order, got) for order, got in zip(row.shown, row.answers, strict=True)}) == 1 for row in double
    )
    first = sum(winner == 0 for winner in decided)
    low, high = wilson(first, len(decided))
    answers = [got for row in rows for got in row.answers]
    return {
        "comparisons": len(rows),
        "won": sum(not row.judgement.unscored and row.judgement.winner != -1 for row in rows),
        "ties": sum(not row.judgement.unscored and row.judgement.winner == -1 for row in rows),
        "inconsistent": len(double) - agreed,
        "unscored": sum(any(got.record is None for got in row.answers) for row in rows),
        "both_orders_read": len(double),
        "consistent": agreed / len(double) if double else None,
        "tie_share": (len(verdicts) - len(decided)) / len(verdicts) if verdicts else None,
        "decided": len(decided),
        "first_won": first,
        "first_shown_wins": first / len(decided) if decided else None,
        "first_shown_interval": [low, high],
        "self_judged": sum(row.self_judged for row in rows),
        "requests": sum(len(got.requests) for got in answers),
        "asked_again": sum(got.asked_again for got in answers),
        "tokens_in": sum(got.usage.prompt for got in answers),
        "tokens_out": sum(got.usage.completion for got in answers),
    }
