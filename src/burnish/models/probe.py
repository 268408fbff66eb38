"""The probe at load: may this model use the packed core, and what does its head do?

Reference is `eager` attention in eval mode, one response after another, without padding. What is compared is the last
hidden state at each response token, and the logits made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from burnish.models.attention import NAME, Unserved, register
from burnish.models.forward import CORES, Core, body, packed_forward
from burnish.models.head import Head, heads_of, shape_logits
from burnish.models.pack import Pack, Row, build_pack

if TYPE_CHECKING:
    from transformers import PreTrainedModel

# Largest difference over largest value. Rounding of one forward in the model's dtype; a wrong mask is far above.
TOLERANCE = {torch.float64: 1e-5, torch.float32: 1e-3, torch.float16: 2e-2, torch.bfloat16: 5e-2}
_KNOWN_LAYERS = {"full_attention", "sliding_attention"}


@contextmanager
def _evaluating(model: PreTrainedModel) -> Iterator[None]:
    """Eval mode without gradients; afterwards each module is in the mode it was in."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def _probe_rows(model: PreTrainedModel) -> list[Row]:
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    extra = window if isinstance(window, int) and 0 < window <= 64 else 0  # rows longer than a small window
    limit = getattr(config, "max_position_embeddings", None) or 10**9
    generator = torch.Generator().manual_seed(0)

    def some(count: int) -> tuple[int, ...]:
        count = max(1, min(count, limit // 2))
        return tuple(torch.randint(config.vocab_size, (count,), generator=generator).tolist())

    three = (some(6), some(6), some(2))
    return [Row(some(5 + extra), (some(7), some(4))), Row(some(3), three), Row(some(4), (some(9),))]


def _one_by_one(model: PreTrainedModel, pack: Pack, *, logits: bool = False) -> torch.Tensor:
    """Reference states [N, H] (or logits [N, V]) that predict the response tokens."""
    device, out = model.get_input_embeddings().weight.device, []
    for row in pack.rows:
        for response in row.responses:
            ids = torch.tensor([[*row.prompt, *response]], device=device)
            states = model(ids, use_cache=False).logits if logits else body(model)(ids, use_cache=False)[0]
            out.append(states[0, len(row.prompt) - 1 : -1])
    return torch.cat(out)


def _distance(one: torch.Tensor, other: torch.Tensor) -> float:
    """Largest difference over the largest value; infinite where either is not a number."""
    wide = torch.promote_types(one.dtype, torch.float32)
    gap = (one.to(wide) - other.to(wide)).abs().max() / other.to(wide).abs().max().clamp_min(1e-30)
    return float(gap) if torch.isfinite(gap) else float("inf")


def _rotary_threshold(config: Any) -> tuple[int | None, str]:
    """Length from which frequencies depend on the longest row, and a reason to refuse packing altogether."""
    parameters = getattr(config, "rope_parameters", None) or {}
    kinds = [parameters, *(v for v in parameters.values() if isinstance(v, dict))]
    for one in kinds:
        kind = one.get("rope_type", "default")
        if kind == "longrope":
            limit = one.get("original_max_position_embeddings") or config.max_position_embeddings
            return int(limit), ""
        if "dynamic" in kind:
            return None, "its rotary frequencies depend on the lengths seen before (rope type 'dynamic')"
    return None, ""


def _refusal(model: PreTrainedModel) -> str:
    config = model.config.get_text_config()
    kinds = set(getattr(config, "layer_types", None) or ()) - _KNOWN_LAYERS
    if kinds:
        return f"it has layers of kind {sorted(kinds)[0]!r}"
    if not model._can_set_attn_implementation():
        return "its attention does not go through the attention registry"
    return _rotary_threshold(config)[1]


def _try_packed(model: PreTrainedModel, pack: Pack, wanted: torch.Tensor) -> str:
    """Switch to packed attention and compare; the reason why not, or an empty string."""
    try:
        model.set_attn_implementation(NAME)
        if model.config.get_text_config()._attn_implementation != NAME:
            return "it keeps its own attention"
        if not getattr(model.config, "is_causal", True):
            return "its attention is not causal"
        got = packed_forward(model, pack)[pack.read.to(wanted.device)]
    except Unserved as refusal:
        return str(refusal)
    except Exception as error:  # foreign model code: whatever goes wrong here, plain batches remain
        first = (str(error).splitlines() or [""])[0]
        return f"the packed forward failed with {type(error).__name__}: {first}"
    gap = _distance(got, wanted)
    limit = TOLERANCE.get(wanted.dtype, 1e-3)
    if gap <= limit:
        return ""
    return f"packed and plain hidden states differ by {gap:.1e} (at most {limit:.0e} is rounding)"


def _find_head(model: PreTrainedModel, pack: Pack, states: torch.Tensor) -> tuple[Head | None, str]:
    logits, head = _one_by_one(model, pack, logits=True), model.get_output_embeddings()
    if head is None:
        return None, "it has no output embedding to call"
    for form in heads_of(model.config.get_text_config()):
        if _distance(shape_logits(head(states), form), logits) <= TOLERANCE.get(states.dtype, 1e-3):
            return form, ""
    return None, "something unknown lies between its hidden states and its logits"


def prepare(model: PreTrainedModel) -> str | None:
    """Switch a model to packed attention if that is exact for it, in its own dtype; otherwise say why not.

    Idempotent; works in either mode and leaves the mode as it was.

    Returns:
        None, or one sentence for the user: which part takes the plain path, and why. Numbers are right either way.
    """
    register()
    before = model.config.get_text_config()._attn_implementation
    name = type(model).__name__
    language = hasattr(model, "lm_head") or not hasattr(model, "score")
    pack = build_pack(_probe_rows(model))
    with _evaluating(model):
        if model._can_set_attn_implementation():
            model.set_attn_implementation("eager")
        wanted = _one_by_one(model, pack)
        head, odd = _find_head(model, pack, wanted) if language else (None, "")
        reason = _refusal(model) or _try_packed(model, pack, wanted)
        if reason and model._can_set_attn_implementation():
            model.set_attn_implementation("eager" if before == NAME else before)
    notices = []
    if reason:
        notices.append(f"{name} is computed in plain padded batches, without packing and prefix sharing: {reason}.")
    if odd:
        notices.append(f"{name} is computed with full logits: {odd}.")
    notice = " ".join(notices)
    threshold = _rotary_threshold(model.config.get_text_config())[0]
    CORES[model] = Core(packed=not reason, head=head, notice=notice, threshold=threshold)
    return notice or None
