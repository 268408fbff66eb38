"""Weighted averages of weights, one tensor at a time.

    average = sum_i w_i x_i,  sum_i w_i = 1     (Llama 3 spec §3.6; Wortsman et al. 2022, Model soups, arXiv:2203.05482)

computed as x_0 + sum_{i>0} w_i (x_i - x_0), which is the same number and exact where members agree: the average of N
copies is the copy, bit for bit. Members are taken in the order of their content ids, so that the order they are given
in does not matter. Sums run in promote_types(dtype, float32) and are cast to the members' dtype.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from burnish.errors import ModelError, SettingsError
from burnish.models import TensorWriter, copy_tokenizer, stream_tensors, tensor_files, weights_of
from burnish.models.store import TOKENIZER_FILES
from burnish.protocols import Work
from burnish.records import Weights, model_config
from burnish.runs import Outcome

_PASSING = ("_name_or_path", "transformers_version", "_commit_hash", "use_cache")  # they compute nothing
_CARRIED = ("config.json", "generation_config.json")


def combine(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """The weighted average of tensors of one shape and dtype; tensors that are no floats must be equal.

    Args:
        tensors: x_i, all of one shape and dtype.
        weights: w_i, summing to 1.

    Raises:
        ValueError: whole-number tensors that differ.
    """
    first = tensors[0]
    if not first.is_floating_point():
        if not all(torch.equal(first, other) for other in tensors[1:]):
            raise ValueError("whole numbers that differ have no average")
        return first
    wide = torch.promote_types(first.dtype, torch.float32)
    anchor = first.to(wide)
    total = anchor.clone()
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total.add_(tensor.to(wide).sub_(anchor) if tensor.dtype != wide else tensor - anchor, alpha=weight)
    return total.to(first.dtype)


def average(
    weights: Sequence[Weights],
    *,
    coefficients: Sequence[float] | None = None,
    folder: str | Path | None = None,
    work: Work | None = None,
) -> Outcome:
    """Step: the weighted average of models of one architecture and tokenizer, as a complete Hugging Face folder.

    Args:
        weights: the members, causal or reward models.
        coefficients: one for each, summing to 1; equal ones without.
        folder: where to write outside a step.

    Raises:
        SettingsError: no members, or coefficients that do not fit or do not sum to 1.
        ModelError: a tensor, a config or a tokenizer file that differs, named with the folders.
    """
    target = Path(folder) if folder is not None else work.folder if work is not None else None
    if target is None:
        raise ValueError("average needs a folder or a step's work")
    members = _ordered(weights, coefficients)
    folders = [Path(member.path) for member, _ in members]
    _check_beside(folders)
    total = len(_check_names(folders))
    target.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        writer = stack.enter_context(TensorWriter(target))
        streams = [stream_tensors(path) for path in folders]
        for done, parts in enumerate(zip(*streams, strict=True), 1):
            name, tensors = parts[0][0], [tensor for _, tensor in parts]
            _check_shapes(name, tensors, folders)
            try:
                writer.add(name, combine(tensors, [share for _, share in members]))
            except ValueError as error:
                raise ModelError(f"{name} cannot be averaged over {_names(folders)}: {error}") from error
            if work is not None:
                work.progress(done, total, "tensors")
    for file in _CARRIED:
        if (folders[0] / file).exists():
            shutil.copyfile(folders[0] / file, target / file)
    copy_tokenizer(folders[0], target)
    metrics = {"members": [m.id for m, _ in members], "coefficients": [c for _, c in members]}
    return Outcome(weights=weights_of(target), metrics=metrics)


def greedy_soup(
    members: Sequence[Weights],
    *,
    score: Callable[[Weights], float],
    folder: str | Path | None = None,
    work: Work | None = None,
) -> Outcome:
    """Step: the greedy soup (Wortsman et al. 2022, Recipe 1; spec §3.6).

    Members are tried from the best score down; one joins the uniform average when the average's score does not fall.
    The result scores at least as high as every single member.

    Args:
        members: candidates; those with equal ids count once.
        score: weights -> a number on development data, higher is better; called once for each member and each trial.
        folder: where to write outside a step.
    """
    target = Path(folder) if folder is not None else work.folder if work is not None else None
    if target is None:
        raise ValueError("greedy_soup needs a folder or a step's work")
    candidates = list({member.id: member for member in members}.values())
    if not candidates:
        raise SettingsError("a soup needs at least one member")
    scratch = work.scratch if work is not None else target.parent

    def scored(candidate: Weights) -> float:
        known = work.journal.get(f"soup/{candidate.id}") if work is not None else None
        if known is None:
            known = float(score(candidate))
            if math.isnan(known):
                raise ValueError(f"the score of {candidate.path} is not a number")
            if work is not None:
                work.journal.put(f"soup/{candidate.id}", known)
        return known

    ranked = sorted(((scored(c), c) for c in candidates), key=lambda pair: (-pair[0], pair[1].id))
    best, soup, trail = ranked[0][0], [ranked[0][1]], []
    for number, (alone, candidate) in enumerate(ranked[1:]):
        place = scratch / f"{target.name}.trial-{number}"
        shutil.rmtree(place, ignore_errors=True)
        reached = scored(average([*soup, candidate], folder=place).weights)
        shutil.rmtree(place)
        trail.append({"member": candidate.id, "alone": alone, "together": reached, "joined": reached >= best})
        if reached >= best:
            best, soup = reached, [*soup, candidate]
    made = average(soup, folder=target)
    return Outcome(weights=made.weights, metrics={**made.metrics, "score": best, "trail": trail})


def _ordered(weights: Sequence[Weights], coefficients: Sequence[float] | None) -> list[tuple[Weights, float]]:
    """Members with their coefficients, in the order of content ids."""
    members = list(weights)
    if not members:
        raise SettingsError("an average needs at least one member")
    shares = list(coefficients) if coefficients is not None else [1 / len(members)] * len(members)
    if len(shares) != len(members):
        raise SettingsError(f"{len(members)} members need as many coefficients, not {len(shares)}")
    if not all(math.isfinite(share) for share in shares) or abs(math.fsum(shares) - 1) > 1e-6:
        raise SettingsError(f"the coefficients {shares} sum to {math.fsum(shares):g}; they must sum to 1")
    return sorted(zip(members, shares, strict=True), key=lambda pair: (pair[0].id, pair[1]))


def _names(folders: Sequence[Path]) -> str:
    return " and ".join(map(str, dict.fromkeys(folders)))


def _check_names(folders: Sequence[Path]) -> set[str]:
    first = set(tensor_files(folders[0]))
    for other in folders[1:]:
        names = set(tensor_files(other))
        for missing, here, there in ((first - names, other, folders[0]), (names - first, folders[0], other)):
            if missing:
                raise ModelError(f"{here} lacks the tensor {min(missing)} of {there}; average one architecture")
    return first


def _check_shapes(name: str, tensors: Sequence[torch.Tensor], folders: Sequence[Path]) -> None:
    first = tensors[0]
    for tensor, folder in zip(tensors[1:], folders[1:], strict=True):
        pairs = {"shape": (tuple(first.shape), tuple(tensor.shape)), "dtype": (first.dtype, tensor.dtype)}
        for what, (mine, theirs) in pairs.items():
            if mine != theirs:
                raise ModelError(f"{name} has {what} {mine} in {folders[0]} but {theirs} in {folder}: no average")


def _check_beside(folders: Sequence[Path]) -> None:
    """Config and tokenizer must say the same, else the average would mean something else in each folder."""
    first = folders[0]
    for other in folders[1:]:
        mine, theirs = (_config(path) for path in (first, other))
        for field in sorted(set(mine) | set(theirs)):
            if mine.get(field) != theirs.get(field):
                raise ModelError(
                    f"{field} in config.json is {mine.get(field)!r} in {first} but {theirs.get(field)!r} in {other}; "
                    "average models of one architecture"
                )
        for file in TOKENIZER_FILES:
            if _content(first / file) != _content(other / file):
                raise ModelError(f"{file} differs between {first} and {other}; average models with one tokenizer")


def _config(folder: Path) -> dict[str, Any]:
    config = {name: value for name, value in model_config(folder).items() if name not in _PASSING}
    if "torch_dtype" in config:  # the older name of the same field
        config.setdefault("dtype", config.pop("torch_dtype"))
    return config


def _content(path: Path) -> Any:
    """What a file says: its data when it is JSON, else its bytes; None when it is absent."""
    if not path.exists():
        return None
    data = path.read_bytes()
    try:
        return json.loads(data) if path.suffix == ".json" else data
    except ValueError:
        return data
