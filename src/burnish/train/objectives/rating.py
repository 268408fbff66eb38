"""Reward models from answers that are rated by themselves: graded attributes, or good and bad."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from burnish.chat import Chat
from burnish.errors import DataError
from burnish.losses import attribute_fit, attribute_loss, count_labels, pointwise_reward_loss
from burnish.records import Demonstration
from burnish.train.batch import Example, encode_demonstration, packs
from burnish.train.objectives.method import Method, Part, Place, column
from burnish.train.objectives.ranking import scores_of


@dataclass(slots=True, kw_only=True)
class Attributes(Method):
    """Regression on several attributes of an answer (HelpSteer2, spec A.2). Unit: the labels there are in the batch.

    Args:
        names: the attributes, in the order of the heads; a row without one of them has no label there.
    """

    names: tuple[str, ...]
    kind = "reward"

    @property
    def heads(self) -> int:
        return len(self.names)

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        given = {attribute.name: attribute.value for attribute in row.attributes}
        if not any(name in given for name in self.names):
            has = f"its attributes are {', '.join(given)}" if given else "it has no attribute"
            raise DataError(f"row {row.id} has none of the attributes {', '.join(self.names)}: {has}; set names=...")
        return replace(encode_demonstration(chat, row), values=tuple(given.get(n, math.nan) for n in self.names))

    def _labels(self, examples: Sequence[Example], device: torch.device) -> torch.Tensor:
        return column(examples, device).view(len(examples), self.heads)

    def units(self, examples: Sequence[Example]) -> int:
        return count_labels(self._labels(examples, torch.device("cpu")))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        predicted = scores_of(model, examples, share_prefix=True, isolate=True).view(len(examples), self.heads)
        return attribute_loss(predicted, self._labels(examples, predicted.device), labels_of_batch=units)

    def metrics(self, sums: Mapping[str, float], units: int) -> dict[str, float]:
        return {}

    def after(self, model: nn.Module, examples: Sequence[Example], place: Place) -> dict[str, Any]:
        """Squared error and Pearson correlation of each attribute, on the rows trained on."""
        parts = list(packs(examples, budget=place.pack_tokens))
        predicted = torch.cat(
            [
                scores_of(model, part, share_prefix=True, isolate=True).view(len(part), self.heads).cpu()
                for part in parts
            ]
        )
        error, pearson = attribute_fit(predicted, self._labels([e for p in parts for e in p], predicted.device))
        table = zip(self.names, error.tolist(), pearson.tolist(), strict=True)
        return {"attributes": {n: {"mse": _number(e), "pearson": _number(p)} for n, e, p in table}}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


@dataclass(slots=True, kw_only=True)
class Pointwise(Method):
    """Binary cross-entropy of answers that are good (1) or bad (0) by themselves (DeepSeek, D4). Unit: the rows."""

    kind = "reward"

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        return replace(encode_demonstration(chat, row), values=(label_of(row),))

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = scores_of(model, examples, share_prefix=True, isolate=True).flatten()
        loss, sums = pointwise_reward_loss(scores, column(examples, scores.device), responses=units)
        return loss, {name: sums[name] for name in ("accuracy", "brier")}


def label_of(row: Demonstration) -> float:
    """The label of an answer, 0 .. 1, from the column `label` or `score`.

    Raises:
        DataError: there is none, or it is outside.
    """
    if row.score is None or not 0 <= row.score <= 1:
        said = "no label" if row.score is None else f"the label {row.score:g}"
        raise DataError(f"row {row.id} has {said}; give a column label (true or false) or score (0 to 1)")
    return row.score
