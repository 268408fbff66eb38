"""Anything that answers messages: a model in this process, or one behind a request.

Comes in: prompts, and weights in a folder. Goes out: responses with the ids that were drawn and their
log-probabilities. Called by recipes, `evaluate` and the command line. See docs/sampling.md and docs/asking.md.

    local       a model in this process; loads torch, so it is imported on first use
    sample      the step function `sample_responses`
    requests    what is asked of a model elsewhere, and what comes back
    operations  typed questions: template, schema, reading
    flow        many items through several stages at once
"""

from typing import Any

from burnish.llm.sample import lost_answers, sample_responses

Local: type  # not assigned: `__getattr__` finds it


def __getattr__(name: str) -> Any:
    if name == "Local":
        from burnish.llm.local import Local

        return Local
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = ["Local", "lost_answers", "sample_responses"]
