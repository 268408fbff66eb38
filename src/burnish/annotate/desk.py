"""The preference desk (Llama 3, arXiv 2407.21783 §4.2.1; specification §3.7): two models answer, one is preferred.

    prompts + responses -> compare_pairs -> judgements -> make_preferences -> preferences

People, checkers, judges and simulators are interchangeable behind `protocols.Annotator`.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

from burnish.errors import DataError, WorkerError
from burnish.protocols import Annotator, Work
from burnish.records import (
    STRENGTHS,
    Candidate,
    Dropped,
    Judgement,
    Message,
    Preference,
    Prompt,
    Response,
    content_id,
    dropped,
    from_plain,
    plain,
)
from burnish.runs import Outcome

Pair = tuple[Prompt, tuple[Response, Response]]


def _by_prompt(prompts: Sequence[Prompt], responses: Sequence[Response]) -> dict[str, list[Response]]:
    found: dict[str, list[Response]] = {prompt.id: [] for prompt in prompts}
    if len(found) < len(prompts):
        twice = next(id for id, n in Counter(prompt.id for prompt in prompts).items() if n > 1)
        raise DataError(f"the prompt {twice} comes twice; drop one of them")
    for response in responses:
        if response.prompt not in found:
            raise DataError(f"response {response.id} answers prompt {response.prompt}, which is not among the prompts")
        found[response.prompt].append(response)
    return found


def _seeded(*key: object) -> random.Random:
    return random.Random(int(content_id(list(key)), 16))


def choose_pair(
    prompt: Prompt, responses: Sequence[Response], round: int, *, models: int = 2
) -> tuple[Response, Response] | Dropped:
    """One response of each of two different models, in the order to show; or the prompt, dropped with the reason.

    With `models=1` two responses of one model will do where there is no second one.

    Which two of several models, which response of a model and which is shown first is drawn from the prompt's id and
    the round, so it depends neither on the order of the rows nor on the annotator.
    """
    if not responses:
        return dropped(prompt, "no response")
    names = sorted({response.model for response in responses})
    if len(names) < 2 and (models > 1 or len(responses) < 2):
        return dropped(prompt, "responses of one model only", f"model {names[0] or '(unnamed)'}")
    draw = _seeded("pair", prompt.id, round)
    if len(names) < 2:
        pair = draw.sample(sorted(responses, key=lambda r: r.id), 2)
    else:
        pair = [
            draw.choice(sorted((r for r in responses if r.model == name), key=lambda r: r.id))
            for name in draw.sample(names, 2)
        ]
    if pair[0].messages == pair[1].messages:
        return dropped(prompt, "identical responses", pair[0].text[:80])
    return pair[0], pair[1]


def _checked(judgement: Judgement, prompt: Prompt, pair: Sequence[Response]) -> Judgement:
    """Refuse a judgement that is none: it must speak of these responses, and a winner must come with a strength."""
    if sorted(judgement.responses) != sorted(response.id for response in pair):
        raise WorkerError(f"the annotator's judgement on prompt {prompt.id} is about other responses")
    if judgement.unscored:
        return judgement
    if judgement.winner not in (-1, 0, 1):
        raise WorkerError(f"the annotator named no winner on prompt {prompt.id}; it must name one, a tie or a reason")
    if judgement.winner >= 0 and judgement.strength not in STRENGTHS:
        raise WorkerError(f"the annotator gave prompt {prompt.id} the strength {judgement.strength!r}, not 1 to 4")
    return judgement


def _edited(annotator: Annotator, prompt: Prompt, chosen: Response) -> tuple[Message, ...]:
    """The annotator's better version of the chosen answer; empty when it has none or it says the same."""
    edit = getattr(annotator, "edit", None)
    version = tuple((edit(prompt, chosen) if edit else None) or ())
    said = [message.content.strip() for message in version]
    return () if said == [message.content.strip() for message in chosen.messages] else version


def _judge_pair(
    annotator: Annotator, prompt: Prompt, pair: Sequence[Response], rows: Sequence[str], edits: bool
) -> Judgement:
    """Ask for one comparison and put it into the order of the rows; `shown` keeps the order shown."""
    judgement = _checked(annotator.rank(prompt, pair), prompt, pair)
    winner = judgement.winner
    edited: tuple[Message, ...] = judgement.edited
    if winner is not None and winner >= 0:
        best = judgement.responses[winner]
        chosen = next(response for response in pair if response.id == best)
        edited = (edited or _edited(annotator, prompt, chosen)) if edits else ()
        winner = rows.index(best)
    shown = tuple(rows.index(response.id) for response in pair)
    return replace(
        judgement, responses=tuple(rows), winner=winner, shown=shown, edited=edited, parents=tuple(rows), id=""
    )


def compare_pairs(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    *,
    annotator: Annotator,
    round: int,
    edits: bool = True,
    models: int = 2,
    work: Work | None = None,
) -> Outcome:
    """One comparison for each prompt that two different models answered: judgements, ties and unscored ones included.

    With `models=1` two answers of one model are compared where there is no other.

    With `edits` the annotator is asked for a better version of the chosen answer, too. The accounting is in prompts.
    Each comparison is journaled, so a killed step asks nobody twice, unless the annotator says that it is `instant`.

    Raises:
        DataError: a response answers none of the prompts, or a prompt comes twice.
        WorkerError: the annotator's judgement is none.
    """
    by_prompt = _by_prompt(prompts, responses)
    pairs: list[Pair] = []
    left: list[Dropped] = []
    for prompt in prompts:
        pair = choose_pair(prompt, by_prompt[prompt.id], round, models=models)
        if isinstance(pair, Dropped):
            left.append(pair)
        else:
            pairs.append((prompt, pair))
    prepare = getattr(annotator, "prepared", None)
    if prepare:
        annotator = prepare(pairs, work)
    # Asking again is cheaper than a durable write where the annotator is a function at hand.
    journal = work.journal if work is not None and not getattr(annotator, "instant", False) else None
    judged = []
    for done, (prompt, pair) in enumerate(pairs, 1):
        rows = sorted(response.id for response in pair)
        key = content_id(["comparison", prompt.id, rows, round])
        kept = journal.get(key) if journal is not None else None
        judgement = from_plain(Judgement, kept) if kept else _judge_pair(annotator, prompt, pair, rows, edits)
        if journal is not None and not kept:
            journal.put(key, plain(judgement))
        if work is not None:
            work.progress(done, len(pairs), "comparisons")
        judged.append(judgement)
    metrics = _desk_metrics(judged)
    if counted := getattr(annotator, "metrics", None):
        metrics["annotator"] = counted()
    return Outcome(rows=judged, dropped=left, taken=len(prompts), metrics=metrics)


def _desk_metrics(judged: Sequence[Judgement]) -> dict[str, object]:
    won = [judgement for judgement in judged if not judgement.unscored and judgement.winner != -1]
    first = sum(judgement.shown[:1] == (judgement.winner,) for judgement in won)
    strengths = Counter(judgement.strength for judgement in won)
    return {
        "comparisons": len(judged),
        "ties": sum(judgement.winner == -1 for judgement in judged),
        "unscored": sum(bool(judgement.unscored) for judgement in judged),
        "edited": sum(bool(judgement.edited) for judgement in won),
        # Position bias: 0.5 is none, since the placement is drawn.
        "first_shown_wins": first / len(won) if won else None,
        "strengths": {STRENGTHS[level]: strengths.get(level, 0) for level in sorted(STRENGTHS)},
    }


def make_preferences(
    prompts: Sequence[Prompt],
    responses: Sequence[Response],
    judgements: Sequence[Judgement],
    *,
    round: int,
    work: Work | None = None,
) -> Outcome:
    """Judgements to preference rows ranked edited > chosen > rejected. The accounting is in judgements.

    A tie and an unscored comparison are dropped with that reason.
    """
    asked: Mapping[str, Prompt] = {prompt.id: prompt for prompt in prompts}
    answers: Mapping[str, Response] = {response.id: response for response in responses}
    made, left = [], []
    for judgement in judgements:
        if judgement.prompt not in asked or any(id not in answers for id in judgement.responses):
            raise DataError(f"judgement {judgement.id} is about rows that are not among the prompts and responses")
        prompt = asked[judgement.prompt]
        if judgement.unscored:
            left.append(dropped(judgement, "unscored comparison", judgement.unscored, unscored=True))
        elif judgement.winner == -1:
            left.append(dropped(judgement, "tie", judgement.transcript))
        else:
            pair = [answers[id] for id in judgement.responses]
            made.append(_preference(prompt, pair, judgement, round))
    return Outcome(rows=made, dropped=left, taken=len(judgements), metrics=_desk_metrics(judgements))


def _preference(prompt: Prompt, pair: Sequence[Response], judgement: Judgement, round: int) -> Preference:
    chosen, rejected = pair[judgement.winner or 0], pair[1 - (judgement.winner or 0)]
    candidates = [
        Candidate(role=role, messages=response.messages, response=response.id, model=response.model)
        for role, response in (("chosen", chosen), ("rejected", rejected))
    ]
    if judgement.edited:
        candidates.insert(0, Candidate(role="edited", messages=judgement.edited, model=judgement.judge))
    return Preference(
        prompt=prompt.id,
        context=prompt.messages,
        candidates=tuple(candidates),
        strength=judgement.strength,
        annotator=judgement.judge,
        capability=prompt.ability,
        round=round,
        parents=(prompt.id, chosen.id, rejected.id, judgement.id),
    )


def split_dialogue(dialogue: Prompt) -> tuple[Prompt, ...]:
    """A dialogue with T user turns as T prompts, each of which ends in one of them (§3.7: turn-level examples)."""
    return tuple(
        replace(dialogue, messages=dialogue.messages[: index + 1], parents=(dialogue.id,), id="")
        for index, message in enumerate(dialogue.messages)
        if message.role == "user"
    )
