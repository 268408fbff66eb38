"""Anything that answers messages: a model in this process, or one behind a request.

Comes in: prompts, and weights in a folder. Goes out: responses with the ids that were drawn and their
log-probabilities. Called by recipes, `evaluate` and the command line. See docs/sampling.md.

    local       a model in this process
    sample      the step function `sample_responses`
    requests    what is asked of a model elsewhere, and what comes back
"""

from burnish.llm.local import Local
from burnish.llm.sample import sample_responses

__all__ = ["Local", "sample_responses"]
