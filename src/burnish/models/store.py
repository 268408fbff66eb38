"""Writing a model so that plain transformers reads the same one back, and naming weights by their content."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError

from burnish.errors import ModelError
from burnish.models.load import check_finite, locate, quiet, read_config
from burnish.models.tensors import INDEX, SINGLE, stream_tensors, tensor_files
from burnish.records import Weights, weights_in

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# What a tokenizer may consist of; copied as it is.
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "spiece.model",
)


def weights_of(source: Weights | str | Path) -> Weights:
    """The weights in a folder, named by content (`records.weights_in`): tensors, config and tokenizer, without paths.

    Streams the files; loads no model. The kind is `reward` where the config names a sequence classifier.

    Raises:
        ModelError: not a folder of safetensors with a config.
    """
    folder = locate(source)
    read_config(folder)  # says what is wrong with the folder, if anything is
    found = weights_in(folder)
    if found is None:
        raise ModelError(f"{folder} holds no safetensors; write them with save_pretrained first")
    return found


def copy_tokenizer(source: str | Path, folder: str | Path) -> None:
    """Copy the tokenizer's files from one model folder to another; files that are absent are skipped."""
    source, folder = locate(str(source)), Path(folder)
    if source.resolve() == folder.resolve():
        return
    for name in TOKENIZER_FILES:
        if (source / name).exists():
            shutil.copyfile(source / name, folder / name)


def _compare(model: PreTrainedModel, folder: Path) -> None:
    """The file holds what the model holds, bit for bit; tied weights may be left out of it."""
    held = model.state_dict(keep_vars=False)
    seen = set()
    for name, tensor in stream_tensors(folder):
        if name not in held:
            return _compare_reloaded(model, folder)  # an architecture that is stored under other names
        mine = held[name].detach().cpu()
        if mine.dtype != tensor.dtype or not torch.equal(mine, tensor):
            raise ModelError(f"{name} in {folder} differs from the model; the disk or the writer is at fault")
        seen.add(mine.data_ptr() if held[name].device.type == "cpu" else name)
    tied = set(getattr(model, "all_tied_weights_keys", None) or ())
    for name, tensor in held.items():
        known = tensor.data_ptr() if tensor.device.type == "cpu" else name
        if known not in seen and name not in tied:
            raise ModelError(f"{name} was not written to {folder}; the architecture cannot be saved as it is")
    return None


def _compare_reloaded(model: PreTrainedModel, folder: Path) -> None:
    again = type(model).from_pretrained(folder, dtype=model.dtype, use_safetensors=True)
    other = again.state_dict()
    for name, tensor in model.state_dict().items():
        if name not in other or not torch.equal(tensor.cpu(), other[name]):
            raise ModelError(f"{name} in {folder} differs from the model; the architecture cannot be saved")


def save_model(
    model: PreTrainedModel,
    folder: str | Path,
    *,
    tokenizer_from: str | Path | Weights | None = None,
    pad_id: int | None = None,
) -> Weights:
    """Write safetensors (shards of at most 5 GB), config, generation config and tokenizer; read back and compare.

    Args:
        model: what to write; every weight must be finite.
        folder: made if it is missing. Files appear in it when all are written and compared; other files stay.
        tokenizer_from: folder whose tokenizer files are copied.
        pad_id: padding id for the config. A reward model needs one that no text holds: its class finds the last token
            of a response as the last that is not padding.

    Raises:
        ModelError: a weight is not finite, the folder cannot be written, a reward model has no padding id, or what was
            written is not what the model holds.
    """
    folder = Path(folder)
    check_finite(model, folder)
    reward = type(model).__name__.endswith("ForSequenceClassification")
    if pad_id is not None:
        model.config.pad_token_id = pad_id
        model.config.get_text_config().pad_token_id = pad_id
    if reward and model.config.get_text_config().pad_token_id is None:
        raise ModelError("a reward model needs a padding id that no text holds; pass `pad_id`")
    model.config.architectures = [type(model).__name__]
    made, part = not folder.exists(), folder / ".writing"
    try:
        part.mkdir(parents=True, exist_ok=True)
        with quiet():
            model.save_pretrained(part, max_shard_size="5GB", save_original_format=True)
        if tokenizer_from is not None:
            copy_tokenizer(tokenizer_from.path if isinstance(tokenizer_from, Weights) else tokenizer_from, part)
        tensor_files(part)
        _compare(model, part)
        for stale in (SINGLE, INDEX):  # a folder that held another model must not end up with two
            (folder / stale).unlink(missing_ok=True)
        for path in sorted(part.iterdir()):
            path.replace(folder / path.name)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{folder} cannot be written: {getattr(error, 'strerror', None) or error}") from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
        if made and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return weights_of(folder)


def stop_ids(folder: str | Path) -> tuple[int, ...]:
    """End-of-text ids of a folder's generation config, else of its config; empty where neither names one."""
    for name in ("generation_config.json", "config.json"):
        path = Path(folder) / name
        if path.exists():
            given = json.loads(path.read_text("utf-8")).get("eos_token_id")
            if given is not None:
                return tuple(given) if isinstance(given, list) else (int(given),)
    return ()
