"""One token of every row through the layers of a Llama-like model, as plain tensor operations.

What transformers' modules compute for Llama, Mistral, Qwen2 and Qwen3, in far fewer calls: queries, keys and
values come from one product, gate and up from another, a product adds into the residual stream, and rotary angles are
looked up in a table made once a batch. For a small model much of a step's time is calls, not arithmetic.

    x += O attend(rotate(norm(x) [Q K V]))
    x += D (act(g) * u),   [g u] = norm(x) [G U]

Only the step is here; prompts are read by the model's own code, which also tells how it attends (window, scale).
Weights are read anew for every batch, since training changes them in place.

What stands before and after attention can be compiled (`compiled`): once a process and form, for any number of rows.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional

from burnish.errors import SettingsError
from burnish.llm.local.attention import KeyValues, attend_drawn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

JOINED_BYTES = 64 << 20  # weights that a batch may copy to have them side by side
LAYERS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
_PARTS = {
    "layer": {"self_attn", "mlp", "input_layernorm", "post_attention_layernorm"},
    "attention": {"q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"},
    "mlp": {"gate_proj", "up_proj", "down_proj", "act_fn"},
}


@dataclass(frozen=True, slots=True)
class Product:
    """x W^T + b, of one linear map or of several side by side."""

    weights: tuple[torch.Tensor, ...]
    biases: tuple[torch.Tensor | None, ...]

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        outs = [functional.linear(x, w, b) for w, b in zip(self.weights, self.biases, strict=True)]
        return outs[0] if len(outs) == 1 else torch.cat(outs, dim=-1)

    def add(self, to: torch.Tensor, x: torch.Tensor) -> None:
        """Into `to`, in place."""
        to.addmm_(x, self.weights[0].t())
        if self.biases[0] is not None:
            to.add_(self.biases[0])


@dataclass(frozen=True, slots=True)
class Norm:
    """Root mean square, computed in float32 as transformers does whatever the dtype."""

    weight: torch.Tensor
    floor: float

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        if x.dtype == torch.float32:
            return functional.rms_norm(x, self.weight.shape, self.weight, self.floor)
        return self.weight * functional.rms_norm(x.float(), self.weight.shape, None, self.floor).to(x.dtype)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """Weights of one layer. `turned` are the norms of queries and keys, where there are any."""

    before: Norm
    mixed: Product
    turned: tuple[Norm, Norm] | None
    out: Product
    between: Norm
    wide: Product
    act: Callable[[torch.Tensor], torch.Tensor]
    down: Product


def enter(
    layer: Layer, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, sizes: tuple[int, int]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Turned queries and keys [R, H + G, D] and values [R, G, D] of states [R, N].

    Args:
        cos, sin: [R, 1, D].
        sizes: H, and H + G.
    """
    (heads, both), size = sizes, cos.shape[-1]
    mixed = layer.mixed(layer.before(x)).view(x.shape[0], -1, size)
    turned = mixed[:, :both]
    if layer.turned is not None:
        of_query, of_key = layer.turned
        turned = torch.cat([of_query(mixed[:, :heads]), of_key(mixed[:, heads:both])], dim=1)
    return (turned * cos).addcmul_(turned.roll(size // 2, -1), sin), mixed[:, both:]


def leave(layer: Layer, x: torch.Tensor, out: torch.Tensor) -> None:
    """What attention gave, [R, H, D], and what the rest of the layer makes of it, into the states in place."""
    layer.out.add(x, out.flatten(1))
    gate, up = layer.wide(layer.between(x)).chunk(2, dim=-1)
    layer.down.add(x, layer.act(gate) * up)


@lru_cache(maxsize=1)
def compiled() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """`enter` and `leave` through `torch.compile`."""
    return torch.compile(enter), torch.compile(leave)


def check_compiler() -> None:
    """Raises SettingsError: there is no C++ compiler, which `torch.compile` starts."""
    name = os.environ.get("CXX") or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(name) is None:
        raise SettingsError(
            f"compiling a token's step needs a C++ compiler, and {name} is not there; install one, name it in CXX, or "
            "sample without compiling"
        )


class Layers:
    """All that a step needs, for the prompts of one batch."""

    def __init__(self, model: PreTrainedModel, longest: int, *, compile: bool = False) -> None:
        """Args:
        model: one that `why_not` says nothing against.
        longest: tokens of the longest row, prompt and answer.
        compile: step through `compiled`.
        """
        self.compile = compile
        self.enter, self.leave = compiled() if compile else (enter, leave)
        body = model.model
        modules = list(body.layers)[: model.config.num_hidden_layers]
        joined = sum(m.weight.nbytes for layer in modules for m in _linear(layer)[:5])
        self.layers = [_read(layer, join=joined <= JOINED_BYTES) for layer in modules]
        self.embedding, self.norm = body.embed_tokens.weight, _norm(body.norm)
        self.head = Product((model.lm_head.weight,), (model.lm_head.bias,))
        attention = modules[0].self_attn
        self.size = attention.head_dim
        self.heads = attention.q_proj.out_features // self.size
        self.keys = attention.k_proj.out_features // self.size
        positions = torch.arange(longest, device=self.embedding.device)[None]
        cos, sin = body.rotary_emb(self.embedding[:1], position_ids=positions)
        # rotate_half(x) sin is a turn of x by half its width times a sine whose first half is negated.
        half = self.size // 2
        self.cos, self.sin = cos[0], torch.cat([-sin[0, :, :half], sin[0, :, half:]], dim=-1)

    def step(self, state: KeyValues, tokens: torch.Tensor, positions: torch.Tensor) -> torch.Tensor:
        """Logits [R, V] after one more token of each row, [R], at its position [R]."""
        x = functional.embedding(tokens, self.embedding)
        cos, sin = (table.index_select(0, positions)[:, None] for table in (self.cos, self.sin))
        heads, sizes = self.heads, (self.heads, self.heads + self.keys)
        self._any_rows(x, cos, sin)
        for index, layer in enumerate(self.layers):
            turned, values = self.enter(layer, x, cos, sin, sizes)
            state.store_drawn(index, turned[:, heads:], values)
            out = attend_drawn(state, state.layers[index], turned[:, :heads])
            self._any_rows(out)
            self.leave(layer, x, out)
        return self.head(self.norm(x))

    def _any_rows(self, *given: torch.Tensor) -> None:
        """Let what is compiled serve any number of rows above one, and no other size be open."""
        if self.compile and len(given[0]) > 1:
            for tensor in given:
                torch._dynamo.maybe_mark_dynamic(tensor, 0)


def why_not(model: PreTrainedModel) -> str:
    """Empty when `Layers` knows the model's form, else what it does not know."""
    body = getattr(model, "model", None)
    layers = list(getattr(body, "layers", ()))
    if not layers or not all(hasattr(body, name) for name in ("embed_tokens", "norm", "rotary_emb")):
        return "its body has another form"
    if type(body.embed_tokens) is not nn.Embedding or type(getattr(model, "lm_head", None)) is not nn.Linear:
        return "its embedding or its head is of another kind"
    for layer in layers:
        kind = type(layer)
        if kind.__name__ not in LAYERS or not kind.__module__.startswith("transformers.models."):
            return f"a layer is a {kind.__name__}"
        found = (layer, layer.self_attn, layer.mlp)
        for part, (name, known) in zip(found, _PARTS.items(), strict=True):
            if strange := {child for child, m in part.named_children() if any(True for _ in m.parameters())} - known:
                return f"its {name} has a part {min(strange)!r}"
        if any(type(m) is not nn.Linear or type(m.weight) is not nn.Parameter for m in _linear(layer)):
            return "its linear maps are of another kind"
        size = layer.self_attn.head_dim
        if any(layer.self_attn.get_submodule(n).out_features % size for n in ("q_proj", "k_proj", "v_proj")):
            return "its heads are of several sizes"
    if any(m._forward_hooks or m._forward_pre_hooks for m in model.modules()):
        return "a module of it has a hook"
    return ""


def _linear(layer: nn.Module) -> list[nn.Module]:
    """Q, K, V, gate, up; then out and down."""
    attention, mlp = layer.self_attn, layer.mlp
    mixed = [attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj]
    return [*mixed, attention.o_proj, mlp.down_proj]


def _norm(module: Any) -> Norm:
    return Norm(module.weight, module.variance_epsilon)


def _product(modules: list[nn.Module], *, join: bool) -> Product:
    weights, biases = [m.weight for m in modules], [m.bias for m in modules]
    if join and len(modules) > 1 and len({b is None for b in biases}) == 1:
        weights = [torch.cat(weights)]
        biases = [None if biases[0] is None else torch.cat(biases)]
    return Product(tuple(weights), tuple(biases))


def _read(layer: Any, *, join: bool) -> Layer:
    linear, attention = _linear(layer), layer.self_attn
    norms = (getattr(attention, "q_norm", None), getattr(attention, "k_norm", None))
    return Layer(
        before=_norm(layer.input_layernorm),
        mixed=_product(linear[:3], join=join),
        turned=None if norms[0] is None else (_norm(norms[0]), _norm(norms[1])),
        out=_product(linear[5:6], join=join),
        between=_norm(layer.post_attention_layernorm),
        wide=_product(linear[3:5], join=join),
        act=layer.mlp.act_fn,
        down=_product(linear[6:], join=join),
    )
