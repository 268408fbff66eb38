"""Accuracy of a model on prompts that can be checked. Unscored is never wrong: it leaves the mean and is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from burnish.evaluate.stats import bootstrap, mean, pass_at_k, wilson
from burnish.protocols import Checker, Client, Verdict, Work
from burnish.records import Dropped, Judgement, Prompt, Response, Sampling, Score, dropped, write_parquet
from burnish.runs import Outcome

ALL = "all"
METRIC = "accuracy"
RESPONSES, VERDICTS = "responses.parquet", "verdicts.parquet"


def score_model(
    prompts: Sequence[Prompt],
    *,
    client: Client,
    checkers: Mapping[str, Checker],
    sampling: Sampling,
    n: int = 1,
    work: Work | None = None,
) -> Outcome:
    """Step: `n` answers to each prompt, checked. Rows are one `Score` an ability, and one for `all`.

    A prompt's value is the share of its scored answers that are right; a score is the mean over prompts with a scored
    answer, with Wilson's interval for one answer a prompt and a bootstrap over prompts for several. A prompt without
    any scored answer is dropped, unscored. The answers and the verdicts on them are kept beside the rows, in
    `responses.parquet` and `verdicts.parquet`.
    """
    prompts = list(prompts)
    responses = client.answer(prompts, n=n, sampling=sampling, work=work)
    verdicts = grade(prompts, responses, checkers)
    if work is not None:
        write_parquet(responses, Path(work.folder) / RESPONSES, Response)
        write_parquet(verdicts, Path(work.folder) / VERDICTS, Judgement)
    by_prompt: dict[str, list[Judgement]] = {}
    for verdict in verdicts:
        by_prompt.setdefault(verdict.prompt, []).append(verdict)
    model = next((response.model for response in responses), getattr(client, "name", ""))
    abilities = {ALL: prompts}
    for prompt in prompts:
        if prompt.ability:
            abilities.setdefault(prompt.ability, []).append(prompt)
    rows = [_score(model, name, members, by_prompt, n) for name, members in abilities.items()]
    drops = _drops(prompts, by_prompt, client, sampling)
    whole = rows[0]
    metrics = {
        "accuracy": whole.value,
        "low": whole.low,
        "high": whole.high,
        "n": whole.n,
        "unscored": whole.unscored,
        "by_ability": {row.task: row.value for row in rows[1:] if row.value is not None},
        "cut_short": sum(response.finish == "length" for response in responses),
    }
    if n > 1:
        metrics[f"pass@{n}"] = _best_of_all(by_prompt, n)
    return Outcome(rows=rows, dropped=drops, taken=len(prompts), kept=len(prompts) - len(drops), metrics=metrics)


score_model.noun = Score


def grade(prompts: Sequence[Prompt], responses: Sequence[Response], checkers: Mapping[str, Checker]) -> list[Judgement]:
    """One judgement a response: score 1 or 0, or unscored with the checker's reason. Equal answers are checked once."""
    known = {prompt.id: prompt for prompt in prompts}
    checked: dict[tuple[Any, ...], Verdict] = {}
    rows = []
    for response in responses:
        prompt = known[response.prompt]
        score, reason, transcript = None, "", ""
        if not prompt.checker:
            reason = "the prompt names no checker"
        elif prompt.checker not in checkers:
            reason = f"there is no checker {prompt.checker!r} here"
        else:
            said = (prompt.id, response.messages, response.finish)
            if said not in checked:
                checked[said] = checkers[prompt.checker].check(prompt, response)
            verdict = checked[said]
            if verdict.correct is None:
                reason = verdict.reason or "the checker cannot tell"
            else:
                score, transcript = float(verdict.correct), verdict.reason
        rows.append(
            Judgement(
                prompt=prompt.id,
                responses=(response.id,),
                judge=prompt.checker or "none",
                score=score,
                unscored=reason,
                transcript=transcript,
                parents=(response.id,),
            )
        )
    return rows


def check_responses(
    prompts: Sequence[Prompt], responses: Sequence[Response], *, checkers: Mapping[str, Checker]
) -> Outcome:
    """Step: a judgement for each response, 1 right or 0 wrong; one that cannot be told is dropped, unscored."""
    judged = grade(prompts, responses, checkers)
    rows = [judgement for judgement in judged if judgement.score is not None]
    drops = [
        dropped(response, "no verdict", judgement.unscored, unscored=True)
        for response, judgement in zip(responses, judged, strict=True)
        if judgement.score is None
    ]
    right = [judgement.score for judgement in rows if judgement.score is not None]
    return Outcome(rows=rows, dropped=drops, taken=len(judged), metrics={"right": mean(right)})


check_responses.noun = Judgement


def _values(members: Sequence[Prompt], verdicts: Mapping[str, Sequence[Judgement]]) -> list[float]:
    """A value for each prompt that has a scored answer: the share of them that are right."""
    scored = [[v.score for v in verdicts.get(p.id, ()) if v.score is not None] for p in members]
    return [sum(scores) / len(scores) for scores in scored if scores]


def _score(
    model: str, name: str, members: Sequence[Prompt], verdicts: Mapping[str, Sequence[Judgement]], n: int
) -> Score:
    values = _values(members, verdicts)
    low, high = wilson(sum(values), len(values)) if n == 1 else bootstrap(values)
    scored = sum(v.score is not None for p in members for v in verdicts.get(p.id, ()))
    return Score(
        model=model,
        task=name,
        metric=METRIC,
        value=mean(values),
        low=low,
        high=high,
        n=len(values),
        unscored=n * len(members) - scored,
    )


def _drops(
    prompts: Sequence[Prompt], verdicts: Mapping[str, Sequence[Judgement]], client: Client, sampling: Sampling
) -> list[Dropped]:
    silent = [prompt for prompt in prompts if prompt.id not in verdicts]
    refuse = getattr(client, "refuse", None)
    told = {p.id: (reason, detail) for p, reason, detail in (refuse(silent, sampling) if refuse else [])}
    drops = []
    for prompt in prompts:
        found = verdicts.get(prompt.id, ())
        if not found:
            drops.append(dropped(prompt, *told.get(prompt.id, ("no answer", "")), unscored=True))
        elif all(verdict.score is None for verdict in found):
            drops.append(dropped(prompt, "no verdict", found[0].unscored, unscored=True))
    return drops


def _best_of_all(verdicts: Mapping[str, Sequence[Judgement]], n: int) -> float | None:
    """pass@n over prompts all of whose n answers are scored."""
    full = [found for found in verdicts.values() if len(found) == n and all(v.score is not None for v in found)]
    return mean([pass_at_k(n, int(sum(v.score for v in found)), n) for found in full])
