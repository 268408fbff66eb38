"""Raw text as rows: documents cut to the context, and the epochs of a mix of corpora.

Pure functions of texts, settings and seed, like `batch`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from burnish.chat import Tokens
from burnish.errors import ModelError, SettingsError
from burnish.models import Row
from burnish.records import Document
from burnish.train.batch import Example, epoch_order


def cut_document(tokens: Tokens, row: Document, *, max_length: int) -> list[Example]:
    """A document as examples of at most `max_length` tokens.

        BOS? t1 t2 ... tn EOS    the first token is read, all others are trained
        one piece                [BOS t1 t2 t3] [t3 t4 t5 EOS]   max_length 4: a piece begins with the last token read

    So each token but the first is trained exactly once, however short the pieces are. BOS stands where the tokenizer
    puts one before plain text, as the base model saw it; else t1 is the first, and nothing predicts it. Special
    tokens that the text spells out stay text.

    Raises:
        ModelError: the tokenizer names no EOS.
        SettingsError: `max_length` is below 2.
    """
    if max_length < 2:
        raise SettingsError(f"max_length is {max_length}; a piece of raw text needs at least 2 tokens")
    eos = tokens.named("eos_token")
    if eos is None:
        raise ModelError(f"the tokenizer of {tokens.source.folder} names no eos_token, which ends a document; name one")
    ids = (*tokens.encode_text(row.text), eos)
    if len(ids) < 2:
        return []
    pieces = [ids[start : start + max_length] for start in range(0, len(ids) - 1, max_length - 1)]
    return [document_example(row.id, piece) for piece in pieces]


def document_example(row_id: str, ids: tuple[int, ...]) -> Example:
    trained = np.ones(len(ids) - 1, dtype=bool)
    return Example(
        id=row_id,
        row=Row(prompt=ids[:1], responses=(ids[1:],)),
        trained=trained,
        formatting=np.zeros_like(trained),
        tokens=len(ids),
    )


def check_shares(shares: Sequence[float], corpora: Sequence[str]) -> None:
    """Raises SettingsError unless there is one positive share a corpus, and they sum to 1."""
    if not all(math.isfinite(share) and share > 0 for share in shares):
        raise SettingsError(f"mix is {_listed(shares)}; each share must be above 0, so leave out a file that has none")
    if len(shares) != len(corpora):
        raise SettingsError(
            f"mix has {len(shares)} shares, and the data {len(corpora)} files ({', '.join(corpora)}); give one share a "
            "file, in their order"
        )
    if abs(sum(shares) - 1) > 1e-6:
        raise SettingsError(f"mix is {_listed(shares)}, which sums to {sum(shares):g}; shares must sum to 1")


def _listed(shares: Sequence[float]) -> str:
    return ",".join(f"{share:g}" for share in shares)


def _passes(examples: Sequence[Example], members: Sequence[int], seed: int) -> Iterator[int]:
    """The members in a seeded order, then all of them in another one, for ever."""
    number = 0
    while True:
        own = [examples[index] for index in members]
        yield from (members[place] for place in epoch_order(own, seed=seed, epoch=number))
        number += 1


def mixed_epochs(
    examples: Sequence[Example],
    corpora: Mapping[str, Sequence[int]],
    shares: Sequence[float],
    *,
    epochs: int,
    seed: int,
) -> list[list[int]]:
    """Indices of the examples of each epoch, where corpora have given shares of the trained tokens.

    An epoch is one pass over the corpus that runs out first: `min_c tokens(c) / share(c)` tokens in all. The others
    give their part in a seeded order, and the next epoch goes on where this one stopped, so that nothing comes twice
    before the whole corpus was seen. What an example is too long or too short for one epoch's part is made up in the
    next: the sum is within half an example at any time.

    Args:
        corpora: name -> indices of its examples.
        shares: of the trained tokens, in the order of `corpora`.
    """
    sizes = [sum(examples[index].trained_tokens for index in members) for members in corpora.values()]
    whole = min(size / share for size, share in zip(sizes, shares, strict=True))
    streams = [_passes(examples, members, seed) for members in corpora.values()]
    following = [next(stream) for stream in streams]
    given = [0] * len(streams)
    found = []
    for epoch in range(epochs):
        taken: list[int] = []
        for place, stream in enumerate(streams):
            target = (epoch + 1) * shares[place] * whole
            while given[place] + (size := examples[following[place]].trained_tokens) / 2 <= target:
                taken.append(following[place])
                given[place] += size
                following[place] = next(stream)
        order = epoch_order([examples[index] for index in taken], seed=seed, epoch=epoch)
        found.append([taken[place] for place in order])
    return found


def token_batches(examples: Sequence[Example], stream: Sequence[int], *, batch_tokens: int) -> list[list[int]]:
    """Cut a stream of examples into batches of at most `batch_tokens` trained tokens; a longer example is one alone."""
    batches: list[list[int]] = []
    room = 0
    for index in stream:
        size = examples[index].trained_tokens
        if not batches or size > room:
            batches.append([])
            room = batch_tokens
        batches[-1].append(index)
        room -= size
    return batches
