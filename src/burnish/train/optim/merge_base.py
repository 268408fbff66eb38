"""Online merging as a setting: its words, and the weights that the starting ones were tuned from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor

from burnish.errors import ModelError, SettingsError
from burnish.models import load_causal
from burnish.records import Weights
from burnish.runs import compute, nearest
from burnish.train.optim.online_merging import OnlineMerging

OFF = "none"
_BOOLEANS = {"true": True, "false": False}
_VALUES: dict[str, Callable[[str], Any]] = {
    "keep": float,
    "alpha": float,
    "rescale": str,
    "remask": lambda word: _BOOLEANS[word.lower()],
    "vote": str,
    "every": int,
}


def read_merging(text: str, *, seed: int) -> OnlineMerging | None:
    """From the setting `merging`: `none`, or a method and values of `OnlineMerging` (`dare,keep=0.01,alpha=1e-7`).

    Args:
        seed: of the masks.

    Raises:
        SettingsError: naming the word.
    """
    if text == OFF:
        return None
    method, *pairs = text.split(",")
    chosen: dict[str, Any] = {}
    for pair in pairs:
        name, _, value = pair.partition("=")
        if name not in _VALUES:
            raise SettingsError(f"merging is {text!r}: there is no {name!r}; {nearest(name, _VALUES)}")
        try:
            chosen[name] = _VALUES[name](value)
        except (ValueError, KeyError) as error:
            raise SettingsError(f"merging is {text!r}: {name} cannot be {value!r}") from error
    try:
        return OnlineMerging(method=method, seed=seed, **chosen)  # type: ignore[arg-type]
    except SettingsError as error:
        raise SettingsError(f"merging is {text!r}: {error}") from error


def check_merging(text: str, *, base: Any, lora_rank: int) -> None:
    """Refuse a setting `merging` that cannot be read, or that lacks what it needs.

    Args:
        base: the weights to merge away from, or None.

    Raises:
        SettingsError: naming the setting.
    """
    asked = read_merging(text, seed=0) is not None
    if asked != (base is not None):
        raise SettingsError(
            "merging needs the model that the starting weights were tuned from: --merge-base DIR_OR_HUB_ID"
            if asked
            else "--merge-base is for online merging: --set merging=dare, or merging=ties,keep=0.01,alpha=1e-7"
        )
    if asked and lora_rank:
        raise SettingsError(f"merging moves all weights, and lora_rank is {lora_rank}; set lora_rank=0 or merging=none")


def base_tensors(base: Weights, *, start: Weights) -> dict[str, Tensor]:
    """The weights by the names that a model in training has for them, rounded as the starting ones are.

    Raises:
        ModelError: they are the starting weights themselves, from which there is no step to merge.
    """
    if base.id == start.id:
        raise ModelError(
            f"--merge-base {base.path} is the model that training starts from; give the one that it was tuned from"
        )
    found = load_causal(base, dtype=compute().dtype, device=compute().device)
    return {name: parameter.detach().clone() for name, parameter in found.named_parameters()}
