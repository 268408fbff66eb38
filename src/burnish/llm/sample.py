"""The step that samples: prompts in, responses out, and a fate for every prompt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from burnish.protocols import Client, Work
from burnish.records import Dropped, Prompt, Response, Sampling, dropped
from burnish.runs import Outcome

UNANSWERED = "no answer"


def sample_responses(
    prompts: Sequence[Prompt], *, client: Client, n: int, sampling: Sampling, work: Work | None = None
) -> Outcome:
    """`n` responses to each prompt.

    The accounting is in prompts: a prompt that the client refuses (longer than the context) or leaves without any
    answer is dropped, unscored, with its reason.
    """
    prompts = list(prompts)
    responses = client.answer(prompts, n=n, sampling=sampling, work=work)
    drops = unanswered(prompts, responses, client, sampling)
    lost = lost_answers(prompts, responses, client, sampling, n)
    return Outcome(
        rows=responses,
        dropped=drops,
        taken=len(prompts),
        kept=len(prompts) - len(drops),
        metrics={**_metrics(responses), **({"lost": lost.total()} if lost else {})},
    )


def unanswered(
    prompts: Sequence[Prompt], responses: Sequence[Response], client: Client, sampling: Sampling
) -> list[Dropped]:
    """A dropped row for each prompt without a response, with the client's reason where it gives one."""
    answered = {response.prompt for response in responses}
    missing = [prompt for prompt in prompts if prompt.id not in answered]
    refuse = getattr(client, "refuse", None)
    told = refuse(missing, sampling) if refuse is not None else []
    reasons = {prompt.id: (reason, detail) for prompt, reason, detail in told}
    return [dropped(prompt, *reasons.get(prompt.id, (UNANSWERED, "")), unscored=True) for prompt in missing]


def lost_answers(
    prompts: Sequence[Prompt], responses: Sequence[Response], client: Client, sampling: Sampling, n: int
) -> Counter[tuple[str, str]]:
    """How many answers are missing for each (reason, word of detail), also of prompts that have some of their `n`."""
    got = Counter(response.prompt for response in responses)
    short = [prompt for prompt in prompts if got[prompt.id] < n]
    refuse = getattr(client, "refuse", None)
    told = {prompt.id: (reason, detail) for prompt, reason, detail in (refuse(short, sampling) if refuse else [])}
    lost: Counter[tuple[str, str]] = Counter()
    for prompt in short:
        lost[told.get(prompt.id, (UNANSWERED, ""))] += n - got[prompt.id]
    return lost


def _metrics(responses: Sequence[Response]) -> dict[str, Any]:
    lengths = [len(response.token_ids) for response in responses]
    return {
        "responses": len(responses),
        "tokens": sum(lengths),
        "mean_tokens": sum(lengths) / len(lengths) if lengths else None,
        "cut_short": sum(response.finish == "length" for response in responses),
    }
