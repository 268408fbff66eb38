"""Continued pre-training on raw text: every token of a document is trained, and no document sees another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from burnish.chat import Tokens
from burnish.errors import SettingsError
from burnish.records import Document, Dropped, dropped
from burnish.train.batch import Example, check_left, epoch_order
from burnish.train.documents import check_shares, cut_document, mixed_epochs, token_batches
from burnish.train.objectives.imitation import Imitation
from burnish.train.objectives.method import Place

UNDRAWN = "left out by the mix"


@dataclass(slots=True, kw_only=True)
class Pretraining(Imitation):
    """Next-token prediction on documents. Unit: the trained tokens of the batch.

    Documents are packed, each a row of its own, so that none sees another: Llama 3 masks attention between documents
    of one sequence (arXiv 2407.21783 §3.2).

    Args:
        mix: share of the trained tokens of each corpus, in the order in which corpora first come; () takes all of each.
        batch_tokens: trained tokens of an optimiser batch; 0 counts rows instead.
        epochs: how many epochs the mix is drawn for.
        counts: what `read` found, for the books.
    """

    mix: tuple[float, ...] = ()
    batch_tokens: int = 0
    epochs: int = 1
    drawn: list[list[int]] = field(default_factory=list)
    counts: dict[str, Any] = field(default_factory=dict)
    raw = True

    def __post_init__(self) -> None:
        if self.batch_tokens < 0:
            raise SettingsError(f"batch_tokens is {self.batch_tokens}; it must be 0 (count rows) or more")

    def read(
        self, codec: Tokens, rows: Sequence[Document], *, max_length: int, refuse_above: float
    ) -> tuple[list[Example], list[Dropped]]:
        """Documents as pieces, several a row, and those that the mix leaves out; plans the epochs on the way."""
        names = list(dict.fromkeys(row.corpus for row in rows))
        if self.mix:
            check_shares(self.mix, names)
        examples: list[Example] = []
        corpora: dict[str, list[int]] = {name: [] for name in names}
        cut = 0
        for row in rows:
            pieces = cut_document(codec, row, max_length=max_length)
            cut += len(pieces) > 1
            corpora[row.corpus] += range(len(examples), len(examples) + len(pieces))
            examples += pieces
        check_left(examples, [], rows=len(rows), refuse_above=refuse_above)
        if self.mix:
            self.drawn = mixed_epochs(examples, corpora, self.mix, epochs=self.epochs, seed=self.seed)
        else:
            self.drawn = [epoch_order(examples, seed=self.seed, epoch=epoch) for epoch in range(self.epochs)]
        self.counts = {"pieces": len(examples), "documents_cut": cut, "mix": self._composition(examples, corpora)}
        seen = {examples[index].id for epoch in self.drawn for index in epoch}
        return examples, [dropped(row, UNDRAWN, row.corpus) for row in rows if row.id not in seen]

    def _composition(self, examples: Sequence[Example], corpora: dict[str, list[int]]) -> dict[str, dict[str, float]]:
        """For each corpus the trained tokens that it holds, that all epochs take of it, and their share."""
        taken = dict.fromkeys(range(len(examples)), 0)
        for epoch in self.drawn:
            for index in epoch:
                taken[index] += examples[index].trained_tokens
        total = sum(taken.values())
        table = {}
        for name, members in corpora.items():
            trained = sum(taken[index] for index in members)
            held = sum(examples[index].trained_tokens for index in members)
            table[name] = {"tokens": held, "trained": trained, "share": trained / total, "passes": trained / held}
        return table

    def batches(
        self, examples: Sequence[Example], *, batch_rows: int, epochs: int, seed: int, length_group: int
    ) -> list[list[int]]:
        if length_group:
            raise SettingsError("the order of raw text is drawn by the mix; set length_group=0")
        stream = [index for epoch in self.drawn for index in epoch]
        if self.batch_tokens:
            return token_batches(examples, stream, batch_tokens=self.batch_tokens)
        return [stream[start : start + batch_rows] for start in range(0, len(stream), batch_rows)]

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Nothing: a text has no answer after which the model is to stop."""

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        return self.counts
