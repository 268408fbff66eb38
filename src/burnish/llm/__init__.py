"""Anything that answers messages. So far: a model in this process.

Comes in: prompts, and weights in a folder. Goes out: responses with the ids that were drawn and their
log-probabilities. Called by recipes, `evaluate` and the command line. See docs/sampling.md.

    local             the client: `Local(weights)`; batches over worker processes, each finished batch journaled
    sample            the step function `sample_responses`
    styles            chat, completion and few-shot: messages to ids, ids to messages, when an answer ends
    batches           which rows are drawn together: a pure function of the whole request
    randomness        uniform numbers keyed by seed, prompt, sample and token position
    local_decode      the loop, and the ways to step a model (chosen by a probe)
    local_attention   keys and values of a batch whose rows share prompts
    local_draw        a token from its logits
"""

from burnish.llm.local import Local
from burnish.llm.sample import sample_responses

__all__ = ["Local", "sample_responses"]
