"""How often a reward model agrees with the annotator, on pairs it was not trained on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from burnish.judge.intervals import wilson
from burnish.judge.reward_model import RewardModel, split_reason
from burnish.protocols import Work
from burnish.records import Dropped, Preference, Score, Weights, dropped
from burnish.runs import Outcome

METRIC = "pair accuracy"


def pair_accuracy(preferences: Sequence[Preference], *, reward: Weights, work: Work | None = None) -> Outcome:
    """Step: the share of pairs whose better answer scores strictly higher. An equal score is not agreement; ties are
    counted beside it.

    Rows are scores for `all` pairs, for each pair kind (`chosen > rejected`, `edited > chosen`, `edited > rejected`),
    for each round and, of the pairs chosen > rejected, for each strength (`strength 1` to `strength 4`; an edit has no
    strength). A preference with an answer that has no score gives the pairs that it can; one that gives none is
    dropped, unscored.
    """
    preferences = list(preferences)
    texts = [(p.context, candidate.messages) for p in preferences for candidate in p.candidates]
    values = iter(RewardModel(reward).score(texts, work=work))
    outcomes: dict[str, list[float | None]] = {"all": []}
    drops: list[Dropped] = []
    for preference in preferences:
        scores = [next(values) for _ in preference.candidates]
        pairs = list(_pairs(preference, scores))
        for names, margin in pairs:
            for name in ("all", *names):
                outcomes.setdefault(name, []).append(margin)
        if all(margin is None for _, margin in pairs):
            why = next((s for s in scores if isinstance(s, str)), "fewer than two answers")
            drops.append(dropped(preference, *split_reason(why), unscored=True))
    rows = [_score(reward.id, name, margins) for name, margins in sorted(outcomes.items(), key=_rank)]
    shares = {row.task: row.value for row in rows}
    metrics = {
        "accuracy": shares["all"],
        "by_kind": {k: v for k, v in shares.items() if ">" in k},
        "by_strength": {k: v for k, v in shares.items() if k.startswith("strength")},
        "by_round": {k: v for k, v in shares.items() if k.startswith("round")},
        "pairs": {row.task: row.n for row in rows},
        "ties": {name: sum(m == 0 for m in margins) for name, margins in outcomes.items()},
    }
    return Outcome(
        rows=rows, dropped=drops, taken=len(preferences), kept=len(preferences) - len(drops), metrics=metrics
    )


pair_accuracy.noun = Score


def _pairs(preference: Preference, scores: Sequence[float | str]) -> Iterator[tuple[list[str], float | None]]:
    """(what the pair counts under, score of the better minus score of the worse, None when either has none)."""
    for better, worse in combinations(range(len(preference.candidates)), 2):
        roles = (preference.candidates[better].role, preference.candidates[worse].role)
        names = [" > ".join(roles), f"round {preference.round}"]
        if roles == ("chosen", "rejected") and preference.strength is not None:
            names.append(f"strength {preference.strength}")
        known = isinstance(scores[better], float) and isinstance(scores[worse], float)
        yield names, scores[better] - scores[worse] if known else None


def _score(model: str, name: str, margins: Sequence[float | None]) -> Score:
    known = [margin for margin in margins if margin is not None]
    right = sum(margin > 0 for margin in known)
    low, high = wilson(right, len(known))
    return Score(
        model=model,
        task=name,
        metric=METRIC,
        value=right / len(known) if known else None,
        low=low,
        high=high,
        n=len(known),
        unscored=len(margins) - len(known),
    )


def _rank(item: tuple[str, list]) -> tuple[int, str]:
    return (0 if item[0] == "all" else 1 if ">" in item[0] else 2, item[0])
