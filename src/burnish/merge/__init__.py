"""Several weights to one: streamed over safetensors, whole models are never loaded.

Comes in: folders of weights of one architecture and tokenizer. Goes out: a complete folder. Called by recipes (Llama 3
averages at every RM, SFT and DPO stage, spec §3.6) and by `burnish merge`.
"""

from burnish.merge.linear import average, combine, greedy_soup

__all__ = ["average", "combine", "greedy_soup"]
