"""Give a base model a chat format, and see to it that it learns to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from burnish.errors import ModelError
from burnish.models import build_pack, token_logprobs
from burnish.records import Weights
from burnish.train.batch import Example, epoch_order

SAMPLE = 32  # responses whose end is looked at (ASSUMED: enough to tell never from sometimes)


def _ends(example: Example, stop_ids: Sequence[int]) -> np.ndarray:
    """[tokens of all responses] bool: the last trained stop token of each response."""
    ends = np.zeros(len(example.trained), dtype=bool)
    start = 0
    for response in example.row.responses:
        stops = [start + i for i, token in enumerate(response) if token in stop_ids and example.trained[start + i]]
        if stops:
            ends[stops[-1]] = True
        start += len(response)
    return ends


def stop_probability(model: nn.Module, examples: Sequence[Example], *, stop_ids: Sequence[int], seed: int) -> float:
    """Geometric mean of the probability that the model stops where a sample of the responses stops.

    Args:
        examples: tokenised rows; at most `SAMPLE` of them are looked at, drawn by `seed`.
        stop_ids: tokens at which sampling stops.

    Raises:
        ModelError: a response does not end in a trained stop token, so nothing would ever teach the model to stop.
    """
    sample = [examples[index] for index in epoch_order(examples, seed=seed, epoch=-1)[:SAMPLE]]
    ends = [_ends(e, stop_ids) for e in sample]
    for example, found in zip(sample, ends, strict=True):
        if found.sum() < len(example.row.responses):
            raise ModelError(
                f"row {example.id}: the answer does not end in a stop token that is trained (stop tokens: "
                f"{list(stop_ids)}); the chat template must close each turn with one. Choose another with --chat "
                "llama3 or --chat chatml, or name the token as eos_token_id in generation_config.json"
            )
    with torch.no_grad():
        logprobs = token_logprobs(
            model, build_pack([e.row for e in sample]), select=torch.from_numpy(np.concatenate(ends))
        )
    return math.exp(logprobs.double().mean().item())


def verify_stop(*, before: float, after: float, base: Weights) -> None:
    """Refuse a model that training did not teach to stop.

    Criterion (ASSUMED): the geometric mean of the stop token's probability at the ends of a sample of training
    responses is below one half, so that it is not sure to be the first choice, and is not above what it was before
    training. A weak model after few steps passes, since any training of the token raises it; a token that is masked,
    frozen or shared with padding does not.

    Raises:
        ModelError: with both probabilities.
    """
    if after < 0.5 and not after > before:
        raise ModelError(
            f"the model trained from {base.path} has not learned to stop: the stop token's probability where answers "
            f"end is {after:.2g} after training and was {before:.2g} before. Look whether the chat template trains its "
            "terminator, or give the model another format with --chat chatml"
        )
