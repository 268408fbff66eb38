"""What the loop asks of a training method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from burnish.chat import Chat
from burnish.models import build_pack, token_logprobs
from burnish.records import Dropped, Weights
from burnish.train.batch import Example, encode_all, optimiser_batches
from burnish.train.prepare_chat import stop_probability

Part = tuple[Tensor, dict[str, Tensor]]

# ASSUMED: a reward head that starts small, so that the first steps learn an order instead of unlearning a random one.
HEAD_SPREAD = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a method works: the starting weights, the settings of the pass, and a folder that outlives a kill."""

    base: Weights
    stop_ids: tuple[int, ...]
    pack_tokens: int
    seed: int
    dtype: str
    device: str
    scratch: Path | None


class Method:
    """One training method, as the loop sees it: a loss plus a collation. A subclass says what differs.

    `kind` is what is trained, a `causal` model or a `reward` model with `heads` numbers a `response`, or a `step` of it
    (`reads`). `isolate` False reads a row as one causal run, where an answer sees those before it. `raw`
    rows are text without a chat format.
    """

    kind = "causal"
    heads = 1
    reads = "response"
    isolate = True
    raw = False

    def encode(self, chat: Chat, row: Any) -> Example:
        """A row as tokens, with what the loss reads of it in `Example.values`.

        Raises:
            ChatError: the chat format cannot carry the row, which is then dropped.
            DataError: the row lacks what the method needs.
        """
        raise NotImplementedError

    def read(
        self, codec: Any, rows: Sequence[Any], *, max_length: int, refuse_above: float
    ) -> tuple[list[Example], list[Dropped]]:
        """Rows as examples, and those that do not fit; `codec` is a `Chat`, or `Tokens` for `raw` rows."""
        limits = {"max_length": max_length, "refuse_above": refuse_above, "isolate": self.isolate}
        return encode_all(self.encode, codec, rows, **limits)

    def batches(
        self, examples: Sequence[Example], *, batch_rows: int, epochs: int, seed: int, length_group: int
    ) -> list[list[int]]:
        """The optimiser batches of the whole training, as indices of the examples; see `epoch_order`."""
        how = {"epochs": epochs, "seed": seed, "length_group": length_group}
        return optimiser_batches(examples, batch_rows=batch_rows, **how)

    def warnings(self, examples: Sequence[Example]) -> list[str]:
        """What a person should know of the rows before training; kept among the step's notices."""
        return []

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Measure with the starting weights; runs again after a kill, before the checkpoint is read."""

    def begin(self, model: nn.Module, batch: Sequence[Example], step: int) -> None:
        """At the start of each optimiser batch."""

    def units(self, examples: Sequence[Example]) -> int:
        """Units of an optimiser batch: what its loss is a mean over."""
        return len(examples)

    def apart(self, batch: Sequence[Example]) -> list[Sequence[Example]]:
        """A batch in kinds that share no pack, none of them empty. A pack is one forward pass of the policy."""
        return [batch]

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        """Loss of one pack of a batch of `units` units, and detached sums."""
        raise NotImplementedError

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        """What a step reports beside its loss; `sums` are over the batch."""
        return {name: value / units for name, value in sums.items()}

    def stepped(self, optimiser: Any) -> None:
        """After each optimiser step, with the optimiser that took it."""

    def state(self) -> dict[str, Tensor]:
        """What a checkpoint must hold besides the optimiser's state; names begin with a word of their own."""
        return {}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit; `before` ran already."""

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        """Examine the trained model; may refuse it."""
        return {}


def stopping(model: nn.Module, examples: Sequence[Example], place: Place) -> float:
    """`stop_probability` with the settings of the pass."""
    return stop_probability(model, examples, stop_ids=place.stop_ids, seed=place.seed, pack_tokens=place.pack_tokens)


def selection(examples: Sequence[Example]) -> Tensor:
    """[N] bool over all response tokens of a pack, in its order (row, response, token): the trained ones."""
    return torch.from_numpy(np.concatenate([e.trained for e in examples]))


def formatting(examples: Sequence[Example]) -> Tensor:
    """[N] bool over the trained tokens of a pack: headers and terminators."""
    return torch.from_numpy(np.concatenate([e.formatting for e in examples]))[selection(examples)]


def trained_logprobs(
    model: nn.Module, examples: Sequence[Example], *, share_prefix: bool = True
) -> tuple[Tensor, Tensor]:
    """[N] log-probabilities of the trained tokens of a pack, and the number of each one's response."""
    pack = build_pack([e.row for e in examples], share_prefix=share_prefix)
    chosen = selection(examples)
    logprobs = token_logprobs(model, pack, select=chosen)
    return logprobs, pack.token_response[chosen].to(logprobs.device)


def column(examples: Sequence[Example], device: torch.device) -> Tensor:
    """The values of the examples end to end, on the device."""
    return torch.tensor([v for e in examples for v in e.values], dtype=torch.float64, device=device)
