"""One pass over memory where plain PyTorch makes many on a GPU: tables of logits, and sums over copied rows.

The first two take the head's raw output, W h + b, in the model's dtype, and compute scale, cap and sums in float32
registers: one reads the table once, the other turns it into its own gradient. All need Triton, which comes with
PyTorch's CUDA builds; `serves` says whether it is there.
"""

from __future__ import annotations

import torch

try:
    import triton
    import triton.language as tl
except ImportError:  # PyTorch's CPU builds bring no Triton
    triton = None

BLOCK = 4096  # columns at a time
WARPS = 8


def serves(table: torch.Tensor) -> bool:
    """Whether the kernels compute this tensor."""
    return triton is not None and table.is_cuda and table.dtype != torch.float64


if triton is not None:

    @triton.jit
    def _shaped(raw, scale, cap, capped: tl.constexpr):
        """cap * tanh(scale * raw / cap), or scale * raw."""
        z = raw * scale
        if capped:
            z = cap * (2.0 / (1.0 + tl.exp(-2.0 * z / cap)) - 1.0)
        return z

    @triton.jit
    def _norms(table, targets, norms, chosen, columns, scale, cap, capped: tl.constexpr, block: tl.constexpr):
        """One row a program: its log-sum-exp (running maximum, running sum) and the logit of its target."""
        row = tl.program_id(0).to(tl.int64)
        start = table + row * columns
        lane = tl.arange(0, block)
        top = tl.full((block,), float("-inf"), tl.float32)
        total = tl.zeros((block,), tl.float32)
        for at in range(0, columns, block):
            inside = at + lane < columns
            raw = tl.load(start + at + lane, mask=inside, other=0.0).to(tl.float32)
            z = tl.where(inside, _shaped(raw, scale, cap, capped), float("-inf"))
            higher = tl.maximum(top, z)
            # A lane that has seen nothing yet, or only minus infinity, must not compute inf - inf.
            safe = tl.where(higher == float("-inf"), 0.0, higher)
            total = total * tl.exp(top - safe) + tl.exp(z - safe)
            top = higher
        peak = tl.max(top, 0)
        whole = tl.sum(total * tl.exp(top - peak), 0)
        target = tl.load(targets + row)
        tl.store(norms + row, peak + tl.log(whole))
        raw = tl.load(start + target).to(tl.float32)
        tl.store(chosen + row, _shaped(raw, scale, cap, capped))

    @triton.jit
    def _gradient(table, targets, norms, grads, columns, scale, cap, capped: tl.constexpr, block: tl.constexpr):
        """One block of one row a program: d log p(target) / d raw, times the row's gradient, over the raw logits."""
        row = tl.program_id(0).to(tl.int64)
        place = tl.program_id(1) * block + tl.arange(0, block)
        inside = place < columns
        at = table + row * columns + place
        z = _shaped(tl.load(at, mask=inside, other=0.0).to(tl.float32), scale, cap, capped)
        hit = (place == tl.load(targets + row)).to(tl.float32)
        slope = tl.load(grads + row) * scale * (hit - tl.exp(z - tl.load(norms + row)))
        if capped:
            slope *= 1.0 - (z / cap) * (z / cap)
        tl.store(at, slope.to(table.dtype.element_ty), mask=inside)

    @triton.jit
    def _sum_places(copied, order, ends, whole, width, block: tl.constexpr):
        """One block of one row a program: the sum of the places that hold copies of this row, in float32."""
        row = tl.program_id(0).to(tl.int64)
        lane = tl.program_id(1) * block + tl.arange(0, block)
        inside = lane < width
        total = tl.zeros((block,), tl.float32)
        for at in range(tl.load(ends + row), tl.load(ends + row + 1)):
            place = tl.load(order + at)
            total += tl.load(copied + place * width + lane, mask=inside, other=0.0).to(tl.float32)
        tl.store(whole + row * width + lane, total.to(whole.dtype.element_ty), mask=inside)


def table_norms(
    table: torch.Tensor, targets: torch.Tensor, *, scale: float, cap: float | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-sum-exp [n] of each row of shaped logits [n, V], and the shaped logit [n] of its target; float32."""
    rows, columns = table.shape
    norms, chosen = (torch.empty(rows, dtype=torch.float32, device=table.device) for _ in range(2))
    how = {"capped": cap is not None, "block": BLOCK, "num_warps": WARPS}
    _norms[(rows,)](table, targets, norms, chosen, columns, scale, cap or 1.0, **how)
    return norms, chosen


def table_gradient(
    table: torch.Tensor,
    targets: torch.Tensor,
    norms: torch.Tensor,
    grads: torch.Tensor,
    *,
    scale: float,
    cap: float | None,
) -> None:
    """Turn raw logits [n, V] into grads * d log p(target) / d raw, in place."""
    rows, columns = table.shape
    how = {"capped": cap is not None, "block": BLOCK, "num_warps": WARPS}
    _gradient[(rows, triton.cdiv(columns, BLOCK))](table, targets, norms, grads, columns, scale, cap or 1.0, **how)


def sum_places(copied: torch.Tensor, order: torch.Tensor, ends: torch.Tensor) -> torch.Tensor:
    """[T, ...] from copies [K, ...]: row t is the sum of the places order[ends[t] : ends[t + 1]], int64 both."""
    copied, rows = copied.contiguous(), len(ends) - 1
    whole = copied.new_empty(rows, *copied.shape[1:])
    width = whole[0].numel()
    block = min(1024, triton.next_power_of_2(width))
    _sum_places[(rows, triton.cdiv(width, block))](copied, order, ends, whole, width, block=block)
    return whole
