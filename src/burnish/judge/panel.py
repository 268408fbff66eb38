"""Several judges as one: majority or mean, and how far they agree."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import Any, ClassVar

from burnish.errors import SettingsError
from burnish.judge.pairwise import Pair, facing, pair_key
from burnish.protocols import Work
from burnish.records import Judgement, Prompt, Response

RULES = ("majority", "mean")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Judges that vote. Members without a verdict are left out; more than half must have one.

    Args:
        members: judges (`judge`) or annotators (`rank`), two or more.
        rule: for comparisons, `majority` counts heads (a draw is a tie) and `mean` takes the mean of signed strengths.
            For scores, `majority` takes the commonest score and `mean` the mean; without a single commonest score
            there is none.
        votes: filled by `prepared`.
    """

    instant: ClassVar[bool] = True
    members: tuple[Any, ...]
    rule: str = "majority"
    votes: Mapping[str, tuple[Judgement, ...]] = field(default_factory=dict, repr=False, metadata={"runtime": True})

    def __post_init__(self) -> None:
        if len(self.members) < 2:
            raise SettingsError("a panel needs two or more judges")
        if self.rule not in RULES:
            raise SettingsError(f"a panel has no rule {self.rule!r}; its rules are {', '.join(RULES)}")
        if not any(all(hasattr(member, verb) for member in self.members) for verb in ("rank", "judge")):
            kinds = ", ".join(f"{type(member).__name__} {_does(member)}" for member in self.members)
            raise SettingsError(
                f"the members of a panel must all compare (`rank`) or all score (`judge`): {kinds}; make two panels, "
                "or an annotator of a judge that scores (JudgeAnnotator)"
            )

    @property
    def name(self) -> str:
        names = "; ".join(getattr(member, "name", type(member).__name__) for member in self.members)
        return f"panel, {self.rule}: {names}"

    def prepared(self, pairs: Sequence[Pair], work: Work | None = None) -> Panel:
        """The same panel, with all these comparisons made by every member."""
        self._all("rank")
        ready = tuple(
            member.prepared(pairs, work) if hasattr(member, "prepared") else member for member in self.members
        )
        votes = {pair_key(*pair): tuple(member.rank(*_by_id(pair)) for member in ready) for pair in pairs}
        return replace(self, members=ready, votes={**self.votes, **votes})

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement:
        """The panel's judgement on two responses."""
        self._all("rank")
        ordered = _by_id((prompt, responses))
        votes = self.votes.get(pair_key(prompt, responses)) or tuple(member.rank(*ordered) for member in self.members)
        first = ordered[1]
        told = self._told(prompt.id, tuple(response.id for response in first), votes)
        votes = tuple(facing(vote, first) for vote in votes)
        verdict = told if told.unscored else replace(told, **self._elected(votes), id="")
        return facing(verdict, responses)

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]:
        """The panel's score of each response."""
        return self.counted(responses, self.asked(prompts, responses, work=work))

    def asked(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[tuple[Judgement, ...]]:
        """The members' scores of each response."""
        self._all("judge")
        columns = [member.judge(prompts, responses, work=work) for member in self.members]
        return list(zip(*columns, strict=True))

    def counted(self, responses: Sequence[Response], votes: Sequence[tuple[Judgement, ...]]) -> list[Judgement]:
        """The panel's score of each response, from the members'."""
        rows = []
        for response, cast in zip(responses, votes, strict=True):
            told = self._told(response.prompt, (response.id,), cast)
            rows.append(told if told.unscored else replace(told, **self._scored(cast), id=""))
        return rows

    def metrics(self) -> dict[str, Any]:
        """Agreement over all comparisons that were prepared, and each member's own rates."""
        return {
            "agreement": agreement(list(self.votes.values())),
            "members": [
                {"name": getattr(member, "name", ""), **(member.metrics() if hasattr(member, "metrics") else {})}
                for member in self.members
            ],
        }

    def _all(self, verb: str) -> None:
        lacking = next((member for member in self.members if not hasattr(member, verb)), None)
        if lacking is not None:
            raise SettingsError(f"this panel has no `{verb}`: its member {type(lacking).__name__} {_does(lacking)}")

    def _told(self, prompt: str, ids: tuple[str, ...], votes: Sequence[Judgement]) -> Judgement:
        lost = [vote.unscored for vote in votes if vote.unscored]
        few = 2 * len(lost) >= len(votes)
        said = "\n".join(f"[{vote.judge}] {_vote(vote)}" for vote in votes)
        return Judgement(
            prompt=prompt, responses=ids, judge=self.name, parents=ids, transcript=said,
            unscored=f"{len(lost)} of {len(votes)} judges gave no verdict: {lost[0]}" if few else "",
        )  # fmt: skip

    def _elected(self, votes: Sequence[Judgement]) -> dict[str, Any]:
        cast = [vote for vote in votes if not vote.unscored]
        if self.rule == "mean":
            mean = math.fsum(_signed(vote) for vote in cast) / len(cast)
            strength = max(1, math.floor(abs(mean) + 0.5))
            return {"winner": -1} if mean == 0 else {"winner": int(mean < 0), "strength": strength}
        heads = Counter(vote.winner for vote in cast)
        (best, most), *rest = heads.most_common()
        if best == -1 or (rest and rest[0][1] == most):
            return {"winner": -1}
        strengths = sorted(vote.strength or 1 for vote in cast if vote.winner == best)
        return {"winner": best, "strength": strengths[(len(strengths) - 1) // 2]}  # the lower median

    def _scored(self, votes: Sequence[Judgement]) -> dict[str, Any]:
        scores = [vote.score for vote in votes if not vote.unscored and vote.score is not None]
        if not scores:
            return {"unscored": "the judges compare and do not score"}
        if self.rule == "mean":
            return {"score": math.fsum(scores) / len(scores)}
        (best, most), *rest = Counter(scores).most_common()
        if rest and rest[0][1] == most:
            return {"unscored": f"no majority: {', '.join(f'{score:g}' for score in sorted(scores))}"}
        return {"score": best}


def _does(member: Any) -> str:
    return {(True, False): "compares", (False, True): "scores", (True, True): "does both"}.get(
        (hasattr(member, "rank"), hasattr(member, "judge")), "does neither"
    )


def _by_id(pair: Pair) -> tuple[Prompt, list[Response]]:
    return pair[0], sorted(pair[1], key=lambda response: response.id)


def _signed(vote: Judgement) -> int:
    """The strength, below 0 for the second response."""
    return {0: 1, 1: -1}.get(vote.winner if vote.winner is not None else -1, 0) * (vote.strength or 1)


def _vote(vote: Judgement) -> str:
    if vote.unscored:
        return f"no verdict: {vote.unscored}"
    if vote.score is not None:
        return f"{vote.score:g}"
    return "tie" if vote.winner == -1 else f"answer {(vote.winner or 0) + 1}, strength {vote.strength}"


def agreement(votes: Sequence[Sequence[Judgement]]) -> float | None:
    """The share of pairs of verdicts on one item that are equal (same winner, or same score); None without a pair.

    Not corrected for chance; kappa and alpha are in `judge.measure`.
    """
    equal = pairs = 0
    for row in votes:
        cast = [(vote.winner, vote.score) for vote in row if not vote.unscored]
        for one, two in combinations(cast, 2):
            pairs += 1
            equal += one == two
    return equal / pairs if pairs else None
