"""Which answers are drawn together: a pure function of the whole request list.

Sums in a matrix product depend on what else is in the batch, in their last bits; so the same requests must make the
same batches, whatever was finished before a kill and however many processes share the work.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ROWS = 256  # rows of a batch: enough to keep one core's matrix products at full speed, few enough for a journal entry
KEY_BYTES = 2 << 30  # keys and values of a batch
LOGIT_CELLS = 1 << 25  # logits of a batch, held in float64 while tokens are chosen: 256 MiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """`prompts` are places in the request list, longest first; each gets samples first .. first + count - 1."""

    prompts: tuple[int, ...]
    first: int
    count: int

    @property
    def rows(self) -> int:
        return len(self.prompts) * self.count


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """What a model needs in memory: bytes of keys and values a token, and its vocabulary."""

    token_bytes: int
    vocabulary: int

    @property
    def rows(self) -> int:
        """Rows a batch may hold for its logits' sake."""
        return max(1, min(ROWS, LOGIT_CELLS // max(1, self.vocabulary)))


def size_of(config: Mapping[str, Any], item_bytes: int) -> Size:
    """The size of a model from its config.json; names that are missing count as for full multi-head attention."""
    text = config.get("text_config") or config
    layers = text.get("num_hidden_layers") or text.get("n_layer") or 1
    heads = text.get("num_attention_heads") or text.get("n_head") or 1
    width = text.get("hidden_size") or text.get("n_embd") or 1
    keys = text.get("num_key_value_heads") or heads
    head = text.get("head_dim") or -(-width // heads)
    return Size(token_bytes=2 * layers * keys * head * item_bytes, vocabulary=text.get("vocab_size") or 1)


def plan(lengths: Sequence[int], samples: int, new_tokens: int, size: Size) -> list[Batch]:
    """Batches for prompts of these lengths (tokens), longest first, so that the last to finish are short.

    A prompt's samples stay together unless they alone fill more than a batch.
    """
    order = sorted(range(len(lengths)), key=lambda i: (-lengths[i], i))
    batches: list[Batch] = []
    at = 0
    while at < len(order):
        longest = lengths[order[at]]
        fits = (KEY_BYTES // max(1, size.token_bytes) - longest) // new_tokens
        count = max(1, min(samples, size.rows, fits))
        if count < samples:
            starts = range(0, samples, count)
            batches += [Batch(prompts=(order[at],), first=s, count=min(count, samples - s)) for s in starts]
            at += 1
            continue
        each = longest + samples * new_tokens
        most = max(1, min(size.rows // samples, KEY_BYTES // max(1, each * size.token_bytes)))
        batches.append(Batch(prompts=tuple(order[at : at + most]), first=0, count=samples))
        at += most
    return batches
