"""How the base's weights begin: small and random, but with a copying circuit laid out in a few heads.

Looking up what followed the last occurrence of a token (an induction head: Olsson et al. 2022, arXiv 2209.11895) is
what every family needs first, and what appears last when a model of this size learns by itself: after 300,000
tokens of nothing but copying there was no trace of it. Laid out at the start, it works after 100,000. Training is
free to change all of it; nothing in it knows a word of the corpus.

- layer 0, heads 0 to 2: look one, two and three tokens back (a constant feature makes query and key, rotary angles do
  the rest) and write a random projection of what stands there.
- layer 1, two heads: compare the token here with the one before elsewhere (the token before with the one two before),
  and copy what stands where they agree.
"""

from __future__ import annotations

from typing import Any

import torch

CONSTANT = 0.25  # the value of feature 0 in every embedding, so that a head can tell position without content
SHARPNESS = 7.0  # of the look back: the neighbours get about 2 % of the attention
MATCH, COPY, WRITE = 1.2, 0.1, 0.05  # strengths, in the scale of the embeddings; ASSUMED
LOOKS = (1, 2, 3)  # how far back the first three heads look
FAST, SLOW = 4, 7  # rotary pairs below FAST tell neighbours apart; those from SLOW on hardly turn within a document


@torch.no_grad()
def lay_out(model: Any, generator: torch.Generator) -> None:
    """Wire a fresh Llama in place: every block begins silent (zero output), but for the copying circuit.

    Args:
        generator: the source of the random projections.
    """
    for layer in model.model.layers:
        layer.self_attn.o_proj.weight.zero_()
        layer.mlp.down_proj.weight.zero_()
    first, second = (model.model.layers[i].self_attn for i in (0, 1))
    width, size = model.config.hidden_size, first.head_dim
    half = size // 2
    slow = [*range(SLOW, half), *range(half + SLOW, size)]

    def projection(rows: int) -> torch.Tensor:  # [rows, width - 1], orthonormal rows; feature 0 stays out of it
        return torch.linalg.qr(torch.randn(width - 1, rows, generator=generator))[0].T

    here = projection(len(slow))
    back = [projection(len(slow)) for _ in LOOKS]  # what stands one, two, three tokens before
    _look_back(model, first, half)
    first.v_proj.weight[:size].zero_()
    first.v_proj.weight[: len(slow), 1:] = here
    for head, written in enumerate(back):
        first.o_proj.weight[1:, head * size : head * size + len(slow)] = WRITE * written.T
    group = model.config.num_attention_heads // model.config.num_key_value_heads
    for number, (query, key) in enumerate(((here, back[0]), (back[0], back[1]))):
        copied = projection(size)
        for weight, at, rows in ((second.k_proj.weight, number, key), (second.q_proj.weight, number * group, query)):
            weight[at * size : (at + 1) * size].zero_()
            for row, dimension in enumerate(slow):
                weight[at * size + dimension, 1:] = MATCH * rows[row]
        second.v_proj.weight[number * size : (number + 1) * size].zero_()
        second.v_proj.weight[number * size : (number + 1) * size, 1:] = copied
        at = number * group * size
        second.o_proj.weight[1:, at : at + size] = COPY * copied.T


def _look_back(model: Any, attention: Any, half: int) -> None:
    """Key head 0 and its query heads: head h attends to the token LOOKS[h] places before."""
    embeddings = model.model.embed_tokens.weight
    embeddings[:, 0] = CONSTANT
    level = CONSTANT / float(embeddings.pow(2).mean(-1).sqrt().mean())  # of feature 0 after the norm
    angles = 1.0 / model.config.rope_parameters["rope_theta"] ** (torch.arange(FAST) / half)
    size = 2 * half
    attention.k_proj.weight[:size].zero_()
    attention.k_proj.weight[:FAST, 0] = SHARPNESS / level
    for head, back in enumerate(LOOKS):
        query = attention.q_proj.weight[head * size : (head + 1) * size]
        query.zero_()
        query[:FAST, 0] = SHARPNESS / level * torch.cos(back * angles)
        query[half : half + FAST, 0] = -SHARPNESS / level * torch.sin(back * angles)
