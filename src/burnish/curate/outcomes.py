"""Reward data from outcomes (DeepSeek-V2, arXiv:2405.04434 §4.2; specification D3), and rows by their ability.

In: answers with the verdicts of a compiler or of a gold answer. Out: right over wrong, in proportion.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

from burnish.errors import DataError
from burnish.records import (
    Candidate,
    Demonstration,
    Dropped,
    Judgement,
    Preference,
    Prompt,
    Response,
    content_id,
    dropped,
)
from burnish.runs import Outcome

CLEAR = 4  # strength of a right answer over a wrong one: as clear as a comparison can be (ASSUMED)


def ability_of(row: Any) -> str:
    """The ability that a row declares; of a preference it is called capability."""
    return getattr(row, "ability", "") or getattr(row, "capability", "")


def group_of(row: Any, *, groups: Mapping[str, Sequence[str]], rest: str) -> str:
    """The group that holds the row's ability, or `rest`."""
    return next((name for name, members in groups.items() if ability_of(row) in members), rest)


def only(rows: Sequence[Any], *, abilities: Sequence[str], inverse: bool = False) -> Outcome:
    """Step: the rows of some abilities, or with `inverse` all others."""
    kept, left = [], []
    for row in rows:
        if (ability_of(row) in abilities) != inverse:
            kept.append(row)
        else:
            left.append(dropped(row, "another ability", ability_of(row) or "none is declared"))
    return Outcome(rows=kept, dropped=left, taken=len(rows))


def outcome_pairs(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    judgements: Sequence[Judgement],
    *,
    round: int,
    seed: int,
) -> Outcome:
    """Step: right answers over wrong ones to the same prompt (spec D3); no pair has equal outcomes.

    An answer stands in one pair at most (ASSUMED), so a prompt gives as many pairs as it has answers of the rarer
    outcome; who meets whom is drawn from the seed and the prompt's id. Equal answers to a prompt count once. The
    accounting is in responses.

    Args:
        judgements: with the score 1 (right) or 0 (wrong) of a response each; a response without one is unscored.
        round: written into the rows.

    Raises:
        DataError: a response answers none of the prompts, or a score is neither 1 nor 0.
    """
    asked = {prompt.id: prompt for prompt in prompts}
    verdicts = {judgement.responses[0]: judgement for judgement in judgements}
    groups: dict[str, list[Response]] = {prompt.id: [] for prompt in prompts}
    for response in responses:
        if response.prompt not in groups:
            raise DataError(f"response {response.id} answers prompt {response.prompt}, which is not among the prompts")
        groups[response.prompt].append(response)
    made: list[Preference] = []
    left: list[Dropped] = []
    for id, answers in groups.items():
        right, wrong = _by_outcome(answers, verdicts, left)
        draw = random.Random(int(content_id(["outcomes", seed, id]), 16))
        for side in (right, wrong):
            draw.shuffle(side)
        pairs = list(zip(right, wrong, strict=False))
        made += [_preference(asked[id], a, b, verdicts, round) for a, b in pairs]
        left += [dropped(r, "no answer of the other outcome") for r in (*right[len(pairs) :], *wrong[len(pairs) :])]
    metrics = {"pairs": len(made), "prompts": sum(bool(v) for v in groups.values()), **_counted(made)}
    return Outcome(rows=made, dropped=left, taken=len(responses), kept=2 * len(made), metrics=metrics)


def _by_outcome(
    answers: Sequence[Response], verdicts: Mapping[str, Judgement], left: list[Dropped]
) -> tuple[list[Response], list[Response]]:
    """(right, wrong) by id, each text once; what is neither goes to `left` with the reason."""
    sides: dict[float, list[Response]] = {1.0: [], 0.0: []}
    said: set[Any] = set()
    for response in sorted(answers, key=lambda row: row.id):
        verdict = verdicts.get(response.id)
        if verdict is None or verdict.score is None:
            why = verdict.unscored if verdict is not None else ""
            left.append(dropped(response, "not checked", why, unscored=True))
        elif verdict.score not in sides:
            raise DataError(f"judgement {verdict.id} gives {verdict.score:g}; an outcome is 1 (right) or 0 (wrong)")
        elif response.messages in said:
            left.append(dropped(response, "said before"))
        else:
            said.add(response.messages)
            sides[verdict.score].append(response)
    return sides[1.0], sides[0.0]


def _preference(
    prompt: Prompt, right: Response, wrong: Response, verdicts: Mapping[str, Judgement], round: int
) -> Preference:
    ranked = [("chosen", right), ("rejected", wrong)]
    return Preference(
        prompt=prompt.id,
        context=prompt.messages,
        candidates=tuple(
            Candidate(role=role, messages=r.messages, response=r.id, model=r.model, score=verdicts[r.id].score)
            for role, r in ranked
        ),
        strength=CLEAR,
        annotator=verdicts[right.id].judge,
        capability=prompt.ability,
        round=round,
        parents=(prompt.id, right.id, wrong.id, verdicts[right.id].id, verdicts[wrong.id].id),
    )


def _counted(rows: Sequence[Preference]) -> dict[str, int]:
    found: dict[str, int] = {}
    for row in rows:
        name = f"ability {ability_of(row) or '(none)'}"
        found[name] = found.get(name, 0) + 1
    return dict(sorted(found.items()))


def proportioned(rows: Sequence[Any], *, most: float, seed: int) -> Outcome:
    """Step: of each ability at most `most` times as many rows as of the rarest one.

    DeepSeek-V2 adjusts the proportions of its reward data and does not say to what (spec D3); the rule is ASSUMED.
    Which rows of an ability go is drawn from the seed and their ids.
    """
    groups: dict[str, list[Any]] = {}
    for row in rows:
        groups.setdefault(ability_of(row), []).append(row)
    limit = int(most * min(map(len, groups.values()), default=0))
    gone = set()
    for members in groups.values():
        ranked = sorted(members, key=lambda row: content_id(["proportion", seed, row.id]))
        gone |= {row.id for row in ranked[limit:]}
    kept = [row for row in rows if row.id not in gone]
    left = [dropped(row, "over the proportion", ability_of(row)) for row in rows if row.id in gone]
    return Outcome(rows=kept, dropped=left, taken=len(rows), metrics=_counted(kept))


def labelled(preferences: Sequence[Preference]) -> Outcome:
    """Step: each best and worst answer as a row of its own, labelled 1 and 0: what a point-wise loss reads (D4).

    The accounting is in preferences; one with a single answer is dropped.
    """
    rows, left = [], []
    for preference in preferences:
        if len(preference.candidates) < 2:
            left.append(dropped(preference, "fewer than two answers"))
            continue
        for label, one in ((1.0, preference.candidates[0]), (0.0, preference.candidates[-1])):
            rows.append(
                Demonstration(
                    prompt=preference.prompt,
                    context=preference.context,
                    response=one.messages,
                    ability=preference.capability,
                    source="preference",
                    model=one.model,
                    score=label,
                    round=preference.round,
                    parents=(preference.id,),
                )
            )
    return Outcome(rows=rows, dropped=left, taken=len(preferences), kept=len(preferences) - len(left))


outcome_pairs.noun = Preference
labelled.noun = Demonstration
