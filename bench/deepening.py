"""A larger model that begins as the same function: each layer of a Llama-like model twice (LLaMA Pro, 2401.02415).

    x -> layer 1 -> copy of 1 -> layer 2 -> copy of 2 -> ...; o_proj and down_proj of a copy are 0: it adds nothing yet

DEVIATION: LLaMA Pro trains the copies alone, on new text; here all layers are trained afterwards, as in any SFT.
"""

from __future__ import annotations

import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import torch

from burnish.errors import ModelError
from burnish.models import load_causal, save_model
from burnish.protocols import Work
from burnish.records import Weights
from burnish.runs import Outcome

LAYER = re.compile(r"(.*\blayers\.)(\d+)(\..*)")
SILENT = ("self_attn.o_proj.weight", "mlp.down_proj.weight")  # what a layer adds to the stream comes out of these two


def deepened(tensors: dict[str, Any]) -> dict[str, Any]:
    """The tensors of a model, by name, as those of one with twice the layers."""
    found = {}
    for name, tensor in tensors.items():
        if match := LAYER.fullmatch(name):
            before, number, after = match[1], int(match[2]), match[3]
            found[f"{before}{2 * number}{after}"] = tensor
            silent = after.removeprefix(".") in SILENT
            found[f"{before}{2 * number + 1}{after}"] = torch.zeros_like(tensor) if silent else tensor.clone()
        else:
            found[name] = tensor
    return found


def deepen(base: Weights, *, work: Work) -> Outcome:
    """Step: `base` with each layer twice, in Hugging Face layout with its tokenizer; it computes what `base` does."""
    import transformers

    small = load_causal(base, dtype="auto")
    config = deepcopy(small.config)
    config.num_hidden_layers *= 2
    large = transformers.AutoModelForCausalLM.from_config(config, dtype=small.dtype).eval()
    large.load_state_dict(deepened(small.state_dict()))
    large.generation_config = small.generation_config
    ids = torch.arange(64)[None] % config.vocab_size
    with torch.no_grad():
        moved = (large(ids).logits - small(ids).logits).abs().max().item()
    if moved > 1e-5:
        raise ModelError(f"{base.path}: layers that add nothing moved the logits by {moved:.2g}; is it Llama-like?")
    weights = save_model(large, Path(work.folder), tokenizer_from=base)
    sizes = {"parameters": large.num_parameters(), "of": small.num_parameters(), "layers": config.num_hidden_layers}
    return Outcome(taken=0, kept=0, metrics=sizes, weights=weights)
