"""The step that grades: responses in, judgements with a score out, and a fate for every response."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from burnish.protocols import Judge, Work
from burnish.records import Judgement, Prompt, Response, dropped
from burnish.runs import Outcome


def grade_responses(
    prompts: Sequence[Prompt], responses: Sequence[Response], *, judge: Judge, work: Work | None = None
) -> Outcome:
    """A judgement for each response that has a score; one without is dropped, unscored, with its reason."""
    responses = list(responses)
    judged = judge.judge(prompts, responses, work=work)
    rows, drops = [], []
    for response, judgement in zip(responses, judged, strict=True):
        if judgement.score is None:
            reason, _, detail = judgement.unscored.partition(": ")
            drops.append(dropped(response, reason or "no score", detail, unscored=True))
        else:
            rows.append(judgement)
    scores = [row.score for row in rows if row.score is not None]
    mean = math.fsum(scores) / len(scores) if scores else None
    spread = math.sqrt(math.fsum((s - mean) ** 2 for s in scores) / len(scores)) if mean is not None else None
    metrics = {"mean": mean, "deviation": spread, "unscored": dict(Counter(drop.reason for drop in drops))}
    return Outcome(rows=rows, dropped=drops, taken=len(responses), metrics=metrics)


grade_responses.noun = Judgement
