"""The chunked head equals the model's own logits, whatever lies between hidden states and logits."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import transformers
from torch import nn

from burnish.models import build_pack, prepare, token_logprobs
from burnish.models.forward import CORES
from burnish.models.head import Head, selected_logprobs, shape_logits
from tests.models.flat import draw_rows, eager, flat_logprobs, gap

SMALL = {
    "vocab_size": 61,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "intermediate_size": 48,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "pad_token_id": None,
    "bos_token_id": None,
    "eos_token_id": None,
}
KINDS = {
    "phi": (SMALL | {"resid_pdrop": 0.0, "embd_pdrop": 0.0}, Head()),  # a bias
    "gemma2": (SMALL | {"head_dim": 8, "final_logit_softcapping": 3.0}, Head(cap=3.0)),  # a cap, tied
    "cohere": (SMALL | {"logit_scale": 0.25}, Head(scale=0.25)),  # multiplied, tied
    "granite": (SMALL | {"logits_scaling": 4.0}, Head(scale=0.25)),  # divided
    "llama": (SMALL | {"tie_word_embeddings": True}, Head()),
}


def make(kind: str, settings: dict[str, Any]) -> nn.Module:
    config = transformers.AutoConfig.for_model(kind, **settings)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = transformers.AutoModelForCausalLM.from_config(config).double().eval()
        with torch.no_grad():
            for name, weight in model.named_parameters():
                weight.mul_(3.0) if weight.ndim > 1 else None
                if name == "lm_head.bias":
                    weight.normal_()
    return model


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("chunk", [None, 1, 7])
def test_head_forms(kind: str, chunk: int | None) -> None:
    settings, form = KINDS[kind]
    model, rows = make(kind, settings), draw_rows(61, [(5, (6, 4)), (3, (8,))])
    twin = eager(model)
    assert prepare(model) is None
    assert CORES[model].head == form
    wanted = flat_logprobs(twin, rows)
    got = token_logprobs(model, build_pack(rows), chunk=chunk)
    assert gap(got, wanted) < 1e-6
    wanted.pow(2).sum().backward()
    got.pow(2).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert gap(mine.grad, theirs.grad) < 1e-6, name


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("form", [Head(), Head(scale=0.3), Head(cap=2.0), Head(scale=1.7, cap=2.5)])
def test_backward_by_finite_differences(form: Head, bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(5, 7, bias=bias, dtype=torch.float64)
    hidden = torch.randn(6, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    targets = torch.tensor([0, 6, 3, 3, 1, 2])
    for chunk in (2, 6):
        inputs = (hidden, *head.parameters())

        def run(states: torch.Tensor, *_: torch.Tensor, size: int = chunk) -> torch.Tensor:
            return selected_logprobs(head, states, targets, form, chunk=size)

        assert torch.autograd.gradcheck(run, inputs)


def test_low_precision_sums_in_float32() -> None:
    """In bfloat16 the log-probabilities are those of the model's own bfloat16 logits, summed in float32."""
    generator = torch.Generator().manual_seed(0)
    head = nn.Linear(16, 3000, bias=False, dtype=torch.bfloat16)
    hidden = torch.randn(40, 16, generator=generator).bfloat16().requires_grad_()
    targets = torch.randint(3000, (40,), generator=generator)
    got = selected_logprobs(head, hidden, targets, Head(), chunk=9)
    wanted = head(hidden).float().log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert got.dtype == torch.float32
    assert torch.allclose(got, wanted, atol=1e-5)
    got.sum().backward()
    exact = hidden.detach().double().requires_grad_()
    weight = head.weight.detach().double().requires_grad_()
    (exact @ weight.T).log_softmax(-1).gather(1, targets[:, None]).sum().backward()
    assert gap(head.weight.grad, weight.grad) < 1e-2
    assert gap(hidden.grad, exact.grad) < 1e-2


def test_foreign_head_module_is_called() -> None:
    """A head that is no plain linear layer (an adapter, say) is called chunk by chunk, with its own gradients."""

    class Wrapped(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(8, 11, dtype=torch.float64)
            self.low = nn.Linear(8, 11, bias=False, dtype=torch.float64)
            self.out_features = 11

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(x) + 0.5 * self.low(x)

    head, hidden = Wrapped(), torch.randn(9, 8, dtype=torch.float64, requires_grad=True)
    targets = torch.arange(9)
    got = selected_logprobs(head, hidden, targets, Head(cap=3.0), chunk=4)
    wanted = shape_logits(head(hidden), Head(cap=3.0)).log_softmax(-1).gather(1, targets[:, None])[:, 0]
    assert gap(got, wanted) < 1e-12
    mine = torch.autograd.grad(got.sum(), [hidden, *head.parameters()])
    theirs = torch.autograd.grad(wanted.sum(), [hidden, *head.parameters()])
    assert all(gap(a, b) < 1e-9 for a, b in zip(mine, theirs, strict=True))
