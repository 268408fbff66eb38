"""From hidden states to log-probabilities of chosen tokens, without the full table of logits.

    hidden [N, H] -> chunks of logits [n, V] (bias, scale, cap as the model has them) -> log p of the target [N]

The backward computes each chunk's logits again, so that memory holds one chunk; a table that fits in one chunk is kept
instead, in the model's dtype, and becomes its own gradient. Sums run in promote_types(dtype, float32).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from burnish.models import kernels

CHUNK_BYTES = 1 << 26  # logits of one chunk
CHUNK_SHARE = 16  # on a GPU, a chunk may take this part of its memory: few large products, and often nothing twice
PASS_CELLS = 1 << 24  # cells of a table that plain PyTorch widens at a time: 64 MiB in float32


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


def _chunk_bytes(device: torch.device) -> int:
    if device.type != "cuda":
        return CHUNK_BYTES
    return torch.cuda.get_device_properties(device).total_memory // CHUNK_SHARE


def _chosen(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p of the targets, [n], in at least float32."""
    wide = logits.to(torch.promote_types(logits.dtype, torch.float32))
    return wide.gather(1, targets[:, None])[:, 0] - wide.logsumexp(1)


def _norms(table: torch.Tensor, targets: torch.Tensor, form: Head) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-sum-exp [n] of the shaped logits of a raw table [n, V], and the target's [n], in at least float32."""
    if kernels.serves(table):
        return kernels.table_norms(table, targets, scale=form.scale, cap=form.cap)
    wide, norms, chosen = torch.promote_types(table.dtype, torch.float32), [], []
    rows = max(1, PASS_CELLS // table.shape[1])
    for part, wanted in zip(table.split(rows), targets.split(rows), strict=True):
        logits = shape_logits(part, form).to(wide)
        norms.append(logits.logsumexp(1))
        chosen.append(logits.gather(1, wanted[:, None])[:, 0])
    return torch.cat(norms), torch.cat(chosen)


def _into_gradient(
    table: torch.Tensor, targets: torch.Tensor, norms: torch.Tensor, grad: torch.Tensor, form: Head
) -> torch.Tensor:
    """Turn raw logits [n, V] into grad * d log p(target) / d raw, in place.

    d/dz = onehot - p; through the cap times 1 - (z/cap)^2; through the scale times scale.
    """
    if kernels.serves(table):
        kernels.table_gradient(table, targets, norms, grad.contiguous(), scale=form.scale, cap=form.cap)
        return table
    wide, rows = norms.dtype, max(1, PASS_CELLS // table.shape[1])
    for at in range(0, table.shape[0], rows):
        part = slice(at, at + rows)
        raw, g = table[part], grad[part, None]
        logits = shape_logits(raw, form).to(wide)  # the raw table itself where form and dtype leave it alone
        slope = None if form.cap is None else 1 - (logits / form.cap) ** 2
        dz = logits.sub_(norms[part, None]).exp_().mul_(-g)
        dz.scatter_add_(1, targets[part, None], g)
        if slope is not None:
            dz *= slope
        if form.scale != 1.0:
            dz *= form.scale
        if dz.data_ptr() != raw.data_ptr():
            raw.copy_(dz)
    return table


class _Selected(torch.autograd.Function):
    """log softmax(head(h))[target] with the backward written out; a table of logits is turned into its own gradient."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        how: tuple[Head, int, bool],
    ) -> torch.Tensor:
        form, chunk, keep = how
        kept, out, norms = None, [], []
        for rows, wanted in zip(hidden.split(chunk), targets.split(chunk), strict=True):
            table = F.linear(rows, weight, bias)
            norm, chosen = _norms(table, wanted, form)
            out.append(chosen - norm)
            norms.append(norm)
            kept = table if keep and hidden.shape[0] <= chunk else None
        ctx.save_for_backward(hidden, weight, bias, targets, torch.cat(norms))
        ctx.form, ctx.chunk, ctx.kept = form, chunk, kept
        return torch.cat(out)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        hidden, weight, bias, targets, norms = ctx.saved_tensors
        kept, ctx.kept = ctx.kept, None  # it is consumed here; a second backward computes it again
        wide, need = norms.dtype, ctx.needs_input_grad
        several = hidden.shape[0] > ctx.chunk
        dh = torch.empty_like(hidden) if need[0] and several else None
        dw = torch.zeros_like(weight, dtype=wide) if need[1] and several else None
        db = torch.zeros(weight.shape[0], dtype=wide, device=weight.device) if bias is not None and need[2] else None
        for at in range(0, hidden.shape[0], ctx.chunk):
            part = slice(at, at + ctx.chunk)
            rows = hidden[part]
            table = F.linear(rows, weight, bias) if kept is None else kept
            dz = _into_gradient(table, targets[part], norms[part], grad[part], ctx.form)
            if db is not None:
                db += dz.sum(0, dtype=wide)
            if need[0]:
                dh = _into(dh, part, dz @ weight)
            if need[1]:
                dw = dz.T @ rows if dw is None else dw.add_(dz.T @ rows)
        dw = None if dw is None else dw.to(weight.dtype)
        return dh, dw, None if db is None else db.to(bias.dtype), None, None


def _into(whole: torch.Tensor | None, part: slice, value: torch.Tensor) -> torch.Tensor:
    if whole is None:
        return value
    whole[part] = value
    return whole


def selected_logprobs(
    head: nn.Module, hidden: torch.Tensor, targets: torch.Tensor, form: Head, *, chunk: int | None = None
) -> torch.Tensor:
    """log p(target | hidden) in at least float32.

    Args:
        head: the output embedding; an `nn.Linear` takes the fused path, anything else is called chunk by chunk.
        hidden: [N, H] last hidden states.
        targets: [N] token ids.
        form: what the architecture does to the head's output.
        chunk: rows at a time; None picks it by memory.

    Returns:
        [N] log-probabilities, each at most 0.
    """
    if not targets.numel():
        return hidden.new_zeros(0, dtype=torch.promote_types(hidden.dtype, torch.float32)) + 0.0 * hidden.sum()
    vocabulary = getattr(head, "out_features", None) or head.weight.shape[0]
    chunk = chunk or max(1, _chunk_bytes(hidden.device) // (vocabulary * hidden.element_size()))
    if type(head) is nn.Linear and not head._forward_hooks and not head._forward_pre_hooks:
        keep = torch.is_grad_enabled()
        return _Selected.apply(hidden, head.weight, head.bias, targets, (form, chunk, keep))

    def one(rows: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        return _chosen(shape_logits(head(rows), form), wanted)

    parts = zip(hidden.split(chunk), targets.split(chunk), strict=True)
    return torch.cat([checkpoint(one, rows, wanted, use_reentrant=False) for rows, wanted in parts])


def table_logprobs(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """log p(target) from finished logits [N, V]: the plain path."""
    return _chosen(logits, targets)
