"""A folder of weights by its files alone: content id, config, context (no tensor library is loaded)."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from burnish.errors import ModelError
from burnish.records.nouns import Weights, content_id

# Keys of config.json that say who wrote it, not what it computes.
_VOLATILE = ("_name_or_path", "transformers_version", "_commit_hash", "_attn_implementation", "use_cache")
# Files beside the tensors that change what the model reads and says.
_SPEECH = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja")


def _tensor_digests(path: Path) -> dict[str, Any]:
    """Name -> (dtype, shape, digest of the bytes) of every tensor of one safetensors file, streamed."""
    found = {}
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            begin, end = entry["data_offsets"]
            file.seek(8 + size + begin)
            digest = hashlib.blake2b(digest_size=16)
            left = end - begin
            while left > 0:
                chunk = file.read(min(left, 1 << 22))
                digest.update(chunk)
                left -= len(chunk)
            found[name] = [entry["dtype"], entry["shape"], digest.hexdigest()]
    return found


def _sane(value: Any) -> Any:
    """JSON without NaN and infinities, which configs may hold and canonical JSON may not."""
    if isinstance(value, float) and value - value != 0.0:
        return str(value)
    if isinstance(value, dict):
        return {key: _sane(item) for key, item in value.items()}
    return [_sane(item) for item in value] if isinstance(value, list) else value


def weights_in(folder: Path) -> Weights | None:
    """The weights a folder holds, or None when it holds none.

    The id covers tensor names, dtypes, shapes, bytes, the model's config and its tokenizer: it is the same wherever
    the folder lies and however the tensors are spread over files.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files or not (folder / "config.json").exists():
        return None
    tensors: dict[str, Any] = {}
    for path in files:
        tensors |= _tensor_digests(path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    config = {key: _sane(value) for key, value in config.items() if key not in _VOLATILE}
    if "torch_dtype" in config:  # the older name of the same field
        config.setdefault("dtype", config.pop("torch_dtype"))
    kinds = [name for name in config.get("architectures") or [] if name.endswith("ForSequenceClassification")]
    kind = "reward" if kinds else "causal"
    speech = {
        name: hashlib.blake2b((folder / name).read_bytes(), digest_size=16).hexdigest()
        for name in _SPEECH
        if (folder / name).exists()
    }
    return Weights(path=str(folder), id=content_id({"tensors": tensors, "config": config, "speech": speech}), kind=kind)


def model_config(folder: Path | str) -> dict[str, Any]:
    """config.json of a model folder.

    Raises:
        ModelError: it is missing or is no JSON object.
    """
    file = Path(folder) / "config.json"
    try:
        config = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{file} cannot be read ({error}); give a model folder in Hugging Face layout") from error
    if not isinstance(config, dict):
        raise ModelError(f"{file} is no JSON object; give a model folder in Hugging Face layout")
    return config


def context_length(folder: Path | str) -> int:
    """How many tokens the model of a folder holds, prompt and answer together; 2^62 where its config names no limit."""
    config = model_config(folder)
    text = config.get("text_config") or config
    found = [text.get(name) for name in ("max_position_embeddings", "n_positions", "n_ctx") if text.get(name)]
    return int(found[0]) if found else 1 << 62
