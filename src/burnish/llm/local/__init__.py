"""A model in this process.

client         `Local(weights)`; batches over worker processes, each finished batch journaled
styles         chat, completion and few-shot: messages to ids, ids to messages, when an answer ends
batches        which rows are drawn together: a pure function of the whole request
randomness     uniform numbers keyed by seed, prompt, sample and token position
rows           the loop: draw, let the finished go, step
decode         the ways to step a model (chosen by a probe)
layers         a step of a Llama-like model without its modules
attention      keys and values of a batch whose rows share prompts
draw           a token from its logits
"""

from burnish.llm.local.client import Local

__all__ = ["Local"]
