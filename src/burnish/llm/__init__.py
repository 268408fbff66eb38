"""Anything that answers messages: a model in this process, or one behind a request.

Comes in: prompts, and weights in a folder. Goes out: responses with the ids that were drawn and their
log-probabilities. Called by recipes, `evaluate` and the command line. See docs/sampling.md and docs/asking.md.

    local       a model in this process; loads torch, so it is imported on first use
    sample      the step function `sample_responses`
    requests    what is asked of a model elsewhere, and what comes back
    operations  typed questions: template, schema, reading
    flow        many items through several stages at once
"""

from collections.abc import Sequence
from typing import Any

from burnish.llm.sample import lost_answers, sample_responses

Local: type  # not assigned: `__getattr__` finds it


def __getattr__(name: str) -> Any:
    if name == "Local":
        from burnish.llm.local import Local

        return Local
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def styles_of(weights: Any, examples: Sequence[Any] = ()) -> list[Any]:
    """The weights as a client in each prompt style: chat, completion, and few-shot where there are examples."""
    from burnish.llm.local import Local

    found = [Local(weights=weights), Local(weights=weights, style="completion")]
    return [*found, Local(weights=weights, style="few-shot", examples=tuple(examples))] if examples else found


__all__ = ["Local", "lost_answers", "sample_responses", "styles_of"]
