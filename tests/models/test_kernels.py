"""The fused passes over a table of logits equal plain float64: in Triton's interpreter, or on a GPU."""

from __future__ import annotations

import os

import pytest
import torch
from torch import nn

from burnish.models import kernels
from burnish.models.head import Head, selected_logprobs, shape_logits

GPU = torch.cuda.is_available()
INTERPRETED = kernels.triton is not None and os.environ.get("TRITON_INTERPRET") == "1"
needs_triton = pytest.mark.skipif(
    not (GPU or INTERPRETED), reason="needs a CUDA device, or Triton with TRITON_INTERPRET=1: checks the fused head"
)
DEVICE = "cuda" if GPU else "cpu"
FORMS = [Head(), Head(scale=0.3), Head(cap=2.0), Head(scale=1.7, cap=2.5)]


def draw(rows: int, columns: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(rows + columns)
    table = (3 * torch.randn(rows, columns, generator=generator)).to(dtype)
    targets = torch.randint(columns, (rows,), generator=generator)
    targets[0], targets[-1] = 0, columns - 1
    return table.to(DEVICE), targets.to(DEVICE), torch.randn(rows, generator=generator).to(DEVICE)


@needs_triton
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("columns", [7, 4096, 4097, 10_001])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_norms_and_gradient(form: Head, columns: int, dtype: torch.dtype) -> None:
    if dtype == torch.bfloat16 and not GPU:
        pytest.skip("the interpreter has no bfloat16")
    table, targets, grads = draw(3, columns, dtype)
    raw = table.double().requires_grad_()
    logits = shape_logits(raw, form)
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (logprobs * grads.double()).sum().backward()
    norms, chosen = kernels.table_norms(table, targets, scale=form.scale, cap=form.cap)
    assert (norms - logits.logsumexp(1)).abs().max() < 1e-4
    assert (chosen - norms - logprobs).abs().max() < 1e-4
    kernels.table_gradient(table, targets, norms, grads, scale=form.scale, cap=form.cap)
    assert (table.double() - raw.grad).abs().max() < (1e-5 if dtype == torch.float32 else 2e-2)


@needs_triton
def test_minus_infinity_and_huge_logits_give_no_nan() -> None:
    table, targets, grads = draw(3, 9000, torch.float32)
    table[:, :5000], table[0, -1], targets[:] = float("-inf"), 1e4, 8999
    wanted = table.double().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    norms, chosen = kernels.table_norms(table, targets, scale=1.0, cap=None)
    assert torch.allclose((chosen - norms).double(), wanted, atol=1e-3)
    kernels.table_gradient(table, targets, norms, grads, scale=1.0, cap=None)
    assert torch.isfinite(table).all()


@needs_triton
@pytest.mark.parametrize("shape", [(3,), (2, 5), (8, 150)])
def test_sums_over_places(shape: tuple[int, ...]) -> None:
    gather = torch.tensor([0, 1, 2, 0, 1, 3, 4, 0, 1, 5], device=DEVICE)
    copied = torch.randn(len(gather), *shape, device=DEVICE)
    ends = torch.bincount(gather).cumsum(0)
    ends = torch.cat([ends.new_zeros(1), ends])
    got = kernels.sum_places(copied, gather.argsort(stable=True), ends)
    wanted = torch.zeros(6, *shape, dtype=torch.float64, device=DEVICE).index_add_(0, gather, copied.double())
    assert (got.double() - wanted).abs().max() < 1e-5


@pytest.mark.skipif(not GPU, reason="needs a CUDA device: the fused head from end to end")
@pytest.mark.parametrize("chunk", [None, 100])
@pytest.mark.parametrize("bias", [True, False])
def test_the_head_on_a_gpu(chunk: int | None, bias: bool) -> None:
    """bfloat16 on the GPU, in one table and in chunks, against float64."""
    head = nn.Linear(64, 5003, bias=bias, device="cuda", dtype=torch.bfloat16)
    hidden = torch.randn(333, 64, device="cuda", dtype=torch.bfloat16, requires_grad=True)
    targets = torch.randint(5003, (333,), device="cuda")
    got = selected_logprobs(head, hidden, targets, Head(), chunk=chunk)
    grads = torch.randn(333, device="cuda")
    (got * grads).sum().backward()
    wide, states = nn.Linear(64, 5003, bias=bias, device="cuda").double(), hidden.detach().double().requires_grad_()
    with torch.no_grad():
        for mine, theirs in zip(wide.parameters(), head.parameters(), strict=True):
            mine.copy_(theirs)
    wanted = wide(states).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    (wanted * grads.double()).sum().backward()
    assert (got - wanted).abs().max() < 3e-2
    for mine, theirs in [(hidden.grad, states.grad), (head.weight.grad, wide.weight.grad)]:
        assert (mine.double() - theirs).norm() / theirs.norm() < 1e-2
