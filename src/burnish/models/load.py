"""Models from folders in Hugging Face layout: causal ones, reward models on top of them, larger vocabularies.

Safetensors only, no code from the hub, and weights that are not numbers are refused by name.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from burnish.errors import ModelError
from burnish.models.tensors import read_tensor, tensor_files
from burnish.records import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
HUB_FILES = ["*.safetensors", "*.json", "*.jinja", "*.model", "tokenizer*"]


def dtype_named(name: str) -> torch.dtype | str:
    """The torch dtype of a name; `auto` is what the checkpoint was saved in.

    Raises:
        ModelError: no such dtype.
    """
    if name == "auto":
        return "auto"
    if name not in DTYPES:
        raise ModelError(f"there is no dtype {name!r}; choose auto, {', '.join(DTYPES)}")
    return DTYPES[name]


def device_named(name: str) -> torch.device:
    """The device of a name; `auto` is the first accelerator, else the CPU.

    Raises:
        ModelError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"the device {name!r} is not available here; try --device cpu") from error
    return device


def locate(source: Weights | str | Path) -> Path:
    """The folder of weights; a hub id (`owner/name`) is fetched first, safetensors and tokenizer only.

    Raises:
        ModelError: neither a folder nor a hub id that can be fetched.
    """
    text = source.path if isinstance(source, Weights) else str(source)
    folder = Path(text)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{text} is a file; give the model folder that holds it")
    if text.count("/") != 1 or text.startswith((".", "/", "~")):
        raise ModelError(f"there is no model folder {text}; give such a folder or a hub id owner/name")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(text, allow_patterns=HUB_FILES))
    except Exception as error:  # the hub client raises a dozen kinds; each means the same here
        raise ModelError(
            f"{text} is neither a folder here nor a model that the hub lets us fetch ({type(error).__name__})"
        ) from error


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a model folder.

    Raises:
        ModelError: it is missing or is no JSON object that names a model type.
    """
    path = folder / "config.json"
    if not path.exists():
        if (folder / "adapter_config.json").exists():
            raise ModelError(_adapter(folder))
        raise ModelError(f"{folder} has no config.json, so it is no model folder in Hugging Face layout")
    try:
        config = json.loads(path.read_text("utf-8"))
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(config, dict) or "model_type" not in config:
        raise ModelError(f"{path} names no model_type; is it the config of a Hugging Face model?")
    return config


def _adapter(folder: Path) -> str:
    """What to say of a folder that holds an adapter and no model."""
    try:
        told = json.loads((folder / "adapter_config.json").read_text("utf-8"))
    except ValueError:
        told = {}
    base = told.get("base_model_name_or_path") or told.get("revision") or "a base it does not name"
    if (folder.parent / "config.json").exists():
        fix = f"the merged weights are in {folder.parent}"
    else:
        fix = "merge it into that base first (peft: PeftModel.from_pretrained(base, folder).merge_and_unload())"
    return f"{folder} holds an adapter of {base} and no model of its own; {fix}"


def check_finite(model: nn.Module, folder: Path | str) -> None:
    """Refuse weights that are NaN or infinite.

    Raises:
        ModelError: names the first such tensor.
    """
    for name, tensor in model.named_parameters():
        if not torch.isfinite(tensor).all():
            bad = int((~torch.isfinite(tensor)).sum())
            raise ModelError(
                f"{bad} of {tensor.numel()} weights of {name} in {folder} are NaN or infinite; retrain or refetch it"
            )


@contextmanager
def quiet() -> Iterator[None]:
    """Within it transformers prints no bars and no warnings; what matters is raised or returned by our own checks."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _load(auto: str, source: Weights | str | Path, dtype: str, device: str, **extra: Any) -> tuple[Any, Any]:
    import transformers

    folder, kind, place = locate(source), dtype_named(dtype), device_named(device)
    read_config(folder)
    tensor_files(folder)
    try:
        with quiet():
            model, info = getattr(transformers, auto).from_pretrained(
                folder, dtype=kind, use_safetensors=True, trust_remote_code=False, output_loading_info=True, **extra
            )
    except Exception as error:  # transformers and safetensors raise many kinds; each means that the folder will not do
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        what = auto.removeprefix("AutoModelFor")
        raise ModelError(f"{folder} cannot be loaded as a {what} model: {first}") from error
    check_finite(model, folder)
    embedding = model.get_input_embeddings()
    if getattr(embedding, "padding_idx", None) is not None:
        # torch gives the padding row no gradient; where pad = eos that would freeze a token we train.
        embedding.padding_idx = None
    model.to(place)
    with torch.no_grad():
        for weight in model.parameters():
            # Loaded tensors are views into the file at any offset. Matrix products round by the alignment of their
            # operands, so bits would depend on the file's layout; a copy is aligned, and outlives the file.
            weight.data = weight.data.clone()
    return model.eval(), info


def load_causal(source: Weights | str | Path, *, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """A causal language model in eval mode.

    Args:
        source: weights, a folder, or a hub id.
        dtype: float64, float32, bfloat16, float16 or auto (as saved).
        device: cpu, cuda, cuda:1, ... or auto.

    Raises:
        ModelError: not a folder of such a model, pickled weights only, missing or non-finite weights, no such dtype or
            device.
    """
    model, info = _load("AutoModelForCausalLM", source, dtype, device)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{locate(source)} lacks the weights {missing[0]} (of {len(missing)} missing); is it a language model?"
        )
    return model


def load_reward(source: Weights | str | Path, *, dtype: str = "float32", device: str = "cpu") -> PreTrainedModel:
    """A reward model (`AutoModelForSequenceClassification` with its trained head, and its graded heads) in eval mode.

    Raises:
        ModelError: as `load_causal`; also when the folder holds no trained head.
    """
    model, info = _load("AutoModelForSequenceClassification", source, dtype, device)
    missing = sorted(info["missing_keys"])
    if missing:
        raise ModelError(
            f"{locate(source)} lacks {missing[0]}, so it is no reward model; `new_reward` makes one from a base"
        )
    if names := getattr(model.config, "grades", None):
        folder = locate(source)
        classes = len(read_tensor(folder, f"grades.{names[0]}.2.bias"))
        add_grades(model, names, classes=classes, seed=0, spread=0.0)
        with torch.no_grad():
            for name, weight in model.grades.named_parameters():
                weight.copy_(read_tensor(folder, f"grades.{name}"))
        check_finite(model.grades, folder)
    return model


def add_grades(model: PreTrainedModel, names: Sequence[str], *, classes: int, seed: int, spread: float) -> None:
    """Give a reward model a classification head for each name, beside its score, in place.

    A head is a perceptron: linear, GELU, linear, as wide as the model (ASSUMED: AFM, spec B.2, says MLP only). They are
    saved with the model under `grades.`; `AutoModelForSequenceClassification` leaves them aside and gives the score.

    Args:
        classes: of each head.
        seed: draws the weights, N(0, 1/(d+1)) in the first layer and N(0, spread^2/(d+1)) in the second; biases are 0.
    """
    width, generator = model.score.in_features, torch.Generator().manual_seed(seed)
    like = {"dtype": model.score.weight.dtype, "device": model.score.weight.device}
    heads = nn.ModuleDict()
    for name in names:
        first, second = nn.Linear(width, width, **like), nn.Linear(width, classes, **like)
        with torch.no_grad():
            for layer, scale in ((first, 1.0), (second, spread)):
                draw = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
                layer.weight.copy_(draw * (scale / (width + 1) ** 0.5))
                layer.bias.zero_()
        heads[name] = nn.Sequential(first, nn.GELU(), second)
    model.grades = heads.train(model.training)
    model.config.grades = list(names)


def grade_logits(model: PreTrainedModel, states: torch.Tensor) -> torch.Tensor:
    """[R, heads, classes] of the graded heads on `response_states`, in the order of `model.config.grades`.

    Raises:
        ModelError: the model has no graded heads.
    """
    heads = getattr(model, "grades", None)
    if heads is None:
        raise ModelError(f"this {type(model).__name__} has no graded heads; train them with reward-soft")
    logits = torch.stack([head(states) for head in heads.values()], 1)
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def new_reward(
    base: Weights | str | Path,
    *,
    seed: int = 0,
    heads: int = 1,
    spread: float = 1.0,
    dtype: str = "float32",
    device: str = "cpu",
) -> PreTrainedModel:
    """A reward model from a causal base: the same body, and a fresh linear head in place of the language head.

    The head is drawn from N(0, spread^2/(d+1)) with d the hidden size (Stiennon et al. 2020, arXiv:2009.01325, appendix
    B.1, with spread 1; ASSUMED for the reports that are silent), from `seed` alone.

    Raises:
        ModelError: as `load_causal`; also when the architecture has no sequence classifier.
    """
    model, info = _load("AutoModelForSequenceClassification", base, dtype, device, num_labels=heads)
    head = getattr(model, "score", None)
    if not isinstance(head, nn.Linear):
        raise ModelError(f"{type(model).__name__} has no linear head named score; choose another architecture")
    other = sorted(name for name in info["missing_keys"] if not name.startswith("score."))
    if other:
        raise ModelError(f"{locate(base)} lacks the weights {other[0]} that a reward model needs")
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(head.weight.shape, generator=generator, dtype=torch.float64)
    draw *= spread / (head.in_features + 1) ** 0.5
    with torch.no_grad():
        head.weight.copy_(draw.to(head.weight.dtype))
        if head.bias is not None:
            head.bias.zero_()
    return model


def _fill(rows: torch.Tensor, old: int) -> None:
    wide = torch.promote_types(rows.dtype, torch.float32)
    rows[old:] = rows[:old].to(wide).mean(0).to(rows.dtype)


def resize_vocabulary(model: PreTrainedModel, size: int) -> None:
    """Grow the vocabulary of a causal model to `size` rows, in place; tied heads stay tied.

    The mean keeps a new token's logit near the average, so that no new token starts out likely (Hewitt 2021,
    "Initializing New Word Embeddings for Pretrained Language Models").

    Raises:
        ModelError: `size` is smaller than the vocabulary.
    """
    embedding = model.get_input_embeddings()
    old = embedding.weight.shape[0]
    if size < old:
        raise ModelError(f"the vocabulary has {old} tokens and cannot shrink to {size}; rows would be lost")
    if size == old:
        return
    state = torch.get_rng_state()  # transformers draws the new rows at random before they are filled here
    try:
        embedding = model.resize_token_embeddings(size, mean_resizing=False)
    finally:
        torch.set_rng_state(state)
    embedding.padding_idx = None
    head = model.get_output_embeddings()
    with torch.no_grad():
        _fill(embedding.weight, old)
        if isinstance(head, nn.Linear):
            if head.weight is not embedding.weight:
                _fill(head.weight, old)
            if head.bias is not None:
                _fill(head.bias, old)
