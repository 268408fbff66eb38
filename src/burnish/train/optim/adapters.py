"""LoRA (Hu et al. 2021, arXiv:2106.09685) through peft: low-rank adapters are trained, and merged at the end."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import nn

from burnish.errors import SettingsError

FOLDER = "adapter"  # beside the merged weights, in peft's own layout
HEADS = ("score", "grades")  # of reward models; trained whole


def add_lora(model: nn.Module, *, rank: int, alpha: float | None, seed: int) -> list[str]:
    """Put an adapter on every linear layer but the heads, in place; all else but a reward head is frozen.

    Args:
        rank: r of W + (alpha / r) B A; B starts at 0, so the model starts as it was.
        alpha: None is twice the rank (ASSUMED).
        seed: draws A.

    Returns:
        Names of the layers that have one.

    Raises:
        SettingsError: a rank below 1, or peft is not installed.
    """
    if rank < 1:
        raise SettingsError(f"lora_rank is {rank}; it must be at least 1, or 0 to train all weights")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise SettingsError("lora_rank needs peft: pip install 'burnish[lora]'") from error
    head = model.get_output_embeddings()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and module is not head and not name.startswith(HEADS)
    ]
    if not names:
        raise SettingsError(f"{type(model).__name__} has no linear layer to put an adapter on; set lora_rank=0")
    config = LoraConfig(r=rank, lora_alpha=2 * rank if alpha is None else alpha, target_modules=names)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, model)
    for name in HEADS:
        if (module := getattr(model, name, None)) is not None:
            module.requires_grad_(True)
    return names


def save_lora(model: nn.Module, folder: Path, *, base: str) -> None:
    """Write the adapter as peft does, for those who keep one base and many adapters.

    Args:
        base: content id of the weights that it belongs to; kept as the config's revision.
    """
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    folder.mkdir(parents=True, exist_ok=True)
    state = get_peft_model_state_dict(model, adapter_name="default")
    told = {"revision": base, "inference_mode": True, "task_type": "CAUSAL_LM"}
    if hasattr(model, "score"):
        state |= {f"score.{name}": value for name, value in model.score.state_dict().items()}
        told |= {"task_type": "SEQ_CLS", "modules_to_save": ["score"]}
    # peft names layers as its own wrapper sees them.
    ready = {f"base_model.model.{name}": tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    save_file(ready, folder / "adapter_model.safetensors")
    (config,) = {id(c): c for c in model.peft_config.values()}.values()
    told = config.to_dict() | {"target_modules": sorted(config.target_modules)} | told
    (folder / "adapter_config.json").write_text(json.dumps(told, indent=2, sort_keys=True, default=str) + "\n", "utf-8")


def merge_lora(model: nn.Module) -> None:
    """W + (alpha / r) B A in the place of each adapted layer; the model is then a plain one again."""
    from peft.tuners.lora import LoraLayer

    for name, module in list(model.named_modules()):
        if isinstance(module, LoraLayer):
            module.merge(safe_merge=True)
            parent, _, leaf = name.rpartition(".")
            setattr(model.get_submodule(parent), leaf, module.get_base_layer())
    if hasattr(model, "peft_config"):
        del model.peft_config
