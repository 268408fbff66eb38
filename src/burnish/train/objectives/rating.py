"""Reward models from answers that are rated by themselves: graded attributes, good and bad, or step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from burnish.chat import Chat
from burnish.errors import DataError, ModelError
from burnish.losses import attribute_fit, attribute_loss, count_labels, pointwise_reward_loss, step_reward_loss
from burnish.models import build_pack, token_scores
from burnish.records import Demonstration
from burnish.train.batch import Example, encode_demonstration, named, packs
from burnish.train.objectives.method import Method, Part, Place, column, selection
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
            raise DataError(f"{named(row)} has none of the attributes {', '.join(self.names)}: {has}; set names=...")
        return replace(encode_demonstration(chat, row), values=tuple(given.get(n, math.nan) for n in self.names))

    def before(self, model: nn.Module, examples: Sequence[Example], place: Place) -> None:
        """Name the heads in the config, where transformers keeps the names of classes.

        Raises:
            ModelError: the model it starts from has heads of other names.
        """
        named = tuple(model.config.id2label.values())
        if not all(name.startswith("LABEL_") for name in named) and named != self.names:
            raise ModelError(
                f"{place.base.path} has heads for {', '.join(named)}, and names is {','.join(self.names)}; set names "
                "to the former, in that order, or start from a causal model"
            )
        model.config.id2label = dict(enumerate(self.names))
        model.config.label2id = {name: number for number, name in enumerate(self.names)}

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


@dataclass(slots=True, kw_only=True)
class Steps(Method):
    """Binary cross-entropy of reasoning steps (Llama 3, spec §3.13.3). Unit: the labelled steps of the batch.

    A step's score is read on the token that its text ends with (ASSUMED), so it sees the prompt, the steps before it
    and itself. `Example.trained` marks these tokens; a step without a label has no gradient.
    """

    kind = "reward"
    reads = "step"

    def encode(self, chat: Chat, row: Demonstration) -> Example:
        if all(step.label is None for step in row.steps):
            raise DataError(f"{named(row)} has no labelled step; give the columns prompt, completions and labels")
        for number, step in enumerate(row.steps, 1):
            if step.label is not None and not 0 <= step.label <= 1:
                raise DataError(f"{named(row)}: step {number} has the label {step.label:g}; give true, false or 0 to 1")
        example = encode_demonstration(chat, row)
        ends = chat.step_ends(row.context, row.response, [step.end for step in row.steps])
        marked = np.zeros_like(example.trained)
        marked[np.array(ends) - len(example.row.prompt)] = True
        labels = tuple(math.nan if step.label is None else step.label for step in row.steps)
        return replace(example, trained=marked, values=labels)

    def units(self, examples: Sequence[Example]) -> int:
        return sum(not math.isnan(value) for example in examples for value in example.values)

    def part(self, model: nn.Module, examples: Sequence[Example], units: int) -> Part:
        scores = token_scores(model, build_pack([e.row for e in examples]), select=selection(examples))
        loss, sums = step_reward_loss(scores, column(examples, scores.device), steps=units)
        return loss, {name: sums[name] for name in ("accuracy", "brier")}


def label_of(row: Demonstration) -> float:
    """The label of an answer, 0 .. 1, from the column `label` or `score`.

    Raises:
        DataError: there is none, or it is outside.
    """
    if row.score is None or not 0 <= row.score <= 1:
        said = "no label" if row.score is None else f"the label {row.score:g}"
        raise DataError(f"{named(row)} has {said}; give a column label (true or false) or score (0 to 1)")
    return row.score
