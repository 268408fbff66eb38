"""From hidden states to log-probabilities of chosen tokens, without the full table of logits.

    hidden [N, H] -> chunks of logits [n, V] (bias, scale, cap as the model has them) -> log p of the target [N]

The backward computes each chunk's logits again, so that memory holds one chunk; a table that fits in one chunk is kept
instead. Sums run in promote_types(dtype, float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

CHUNK_CELLS = 1 << 24  # logits of one chunk: 64 MiB in float32


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What lies between the last hidden state and the logits: cap * tanh(scale * (W h + b) / cap).

    Args:
        scale: 1.0 where the architecture has none.
        cap: None where the architecture has none.
    """

    scale: float = 1.0
    cap: float | None = None


def heads_of(config: Any) -> tuple[Head, ...]:
    """The forms that a configuration may mean; the probe tells which one it does (names vary between architectures)."""
    cap = getattr(config, "final_logit_softcapping", None) or getattr(config, "logits_soft_cap", None)
    scales = [1.0]
    for name in ("logit_scale", "logits_scaling", "lm_head_multiplier"):
        given = getattr(config, name, None)
        if isinstance(given, (int, float)) and given not in (0, 1):
            scales = [float(given), 1.0 / float(given), *scales]  # Cohere multiplies, Granite divides
    return tuple(Head(scale=scale, cap=cap) for scale in scales)


def shape_logits(raw: torch.Tensor, form: Head) -> torch.Tensor:
    """The model's logits from W h + b."""
    out = raw if form.scale == 1.0 else raw * form.scale
    return out if form.cap is None else torch.tanh(out / form.cap) * form.cap


def _chosen(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p of the targets, [n], in at least float32."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.gather(1, targets[:, None])[:, 0] - wide.logsumexp(1)


class _Selected(torch.autograd.Function):
    """log softmax(head(h))[target] with the backward written out.

    d/dz = onehot - p; through the cap times 1 - (z/cap)^2; through the scale times scale; then h W and bias.
    """

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        how: tuple[Head, int],
    ) -> torch.Tensor:
        form, chunk = how
        kept, out, norms = None, [], []
        for rows, wanted in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            logits = shape_logits(F.linear(rows, weight, bias), form)
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
            norm = wide.logsumexp(1)
            out.append(wide.gather(1, wanted[:, None])[:, 0] - norm)
            norms.append(norm)
            kept = logits if hidden.shape[0] <= chunk else None
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(norms), kept)
        ctx.form, ctx.chunk = form, chunk
        return torch.cat(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, norms, kept = ctx.saved_tensors
        wide, need = torch.promote_types(hidden.dtype, torch.float32), ctx.needs_input_grad
        several = kept is None
        dh = torch.empty_like(hidden) if need[0] else None
        dw = torch.zeros_like(weight, dtype=wide) if need[1] and several else None
        db = torch.zeros(weight.shape[0], dtype=wide, device=weight.device) if bias is not None and need[2] else None
        for at in range(0, hidden.shape[0], ctx.chunk):
            part = slice(at, at + ctx.chunk)
            rows = hidden[part]
            logits = shape_logits(F.linear(rows, weight, bias), ctx.form) if several else kept
            logits = logits.to(wide)
            dz = (logits - norms[part, None]).exp_().mul_(-grad[part, None])
            dz[torch.arange(rows.shape[0], device=dz.device), targets[part]] += grad[part]
            if ctx.form.cap is not None:
                dz *= 1 - (logits / ctx.form.cap) ** 2
            if ctx.form.scale != 1.0:
                dz *= ctx.form.scale
            if db is not None:
                db += dz.sum(0)
            dz = dz.to(hidden.dtype)
            if dh is not None:
                dh[part] = dz @ weight
            if need[1]:
                dw = dw.add_(dz.T @ rows) if several else dz.T @ rows
        dw = None if dw is None else dw.to(weight.dtype)
        return dh, dw, None if db is None else db.to(bias.dtype), None, None


def selected_logprobs(
    head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, form: Head, *, chunk: int | None = None
) -> torch.Tensor:
    """log p(target | hidden) in at least float32.

    Args:
        head: the output embedding; an `nn.Linear` takes the fused path, anything else is called chunk by chunk.
        hidden: [N, H] last hidden states.
        targets: [N] token ids.
        form: what the architecture does to the head's output.
        chunk: rows at a time; None picks it by `CHUNK_CELLS`.

    Returns:
        [N] log-probabilities, each at most 0.
    """
    if not targets.numel():
        return hidden.new_zeros(0, dtype=torch.promote_types(hidden.dtype, torch.float32)) + 0.0 * hidden.sum()
    vocabulary = getattr(head, "out_features", None) or head.weight.shape[0]
    chunk = chunk or max(1, CHUNK_CELLS // vocabulary)
    if type(head) is nn.Linear and not head._forward_hooks and not head._forward_pre_hooks:
        return _Selected.apply(hidden, head.weight, head.bias, targets, (form, chunk))

    def one(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return _chosen(shape_logits(head(rows), form), wanted)

    parts = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.cat([checkpoint(one, rows, wanted, use_reentrant=False) for rows, wanted in parts])


def table_logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p(target) from finished logits [N, V]: the plain path."""
    return _chosen(logits, targets)
