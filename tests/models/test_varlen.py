"""A pack in one attention call over runs: a plain reference in the place of the kernel here, the kernel on a GPU."""

from __future__ import annotations

import pytest
import torch

from burnish.models import Row, build_pack, prepare, tiny_model, token_logprobs
from burnish.models.attention import packed, varlen
from tests.models.flat import draw_rows, eager, flat_logprobs, gap

VOCABULARY = 61
SETTINGS = {
    "llama": {},
    "qwen2": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
    "qwen3": {"use_sliding_window": True, "sliding_window": 6, "max_window_layers": 1},
}
SHAPES = [(9, (7, 12)), (5, (8,)), (9, (7, 12)), (1, (3, 3, 3)), (14, (0, 6)), (4, (9, 2, 5)), (7, (6,)), (21, (1, 1))]


def reference(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_ends: torch.Tensor,
    key_ends: torch.Tensor,
    longest_query: int,
    longest_key: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool = False,
) -> torch.Tensor:
    """What PyTorch documents of `varlen_attn`: [T, H, D]; a run's last query is level with its last key."""
    outs, left = [], window_size[0]
    assert window_size[1] == 0
    for q0, q1, k0, k1 in zip(query_ends, query_ends[1:], key_ends, key_ends[1:], strict=False):
        assert q1 - q0 <= longest_query and k1 - k0 <= longest_key
        q, k, v = query[q0:q1], key[k0:k1], value[k0:k1]
        if q.shape[1] != k.shape[1]:
            k, v = (x.repeat_interleave(q.shape[1] // k.shape[1], 1) for x in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) * scale
        at = torch.arange(len(k) - len(q), len(k))[:, None] - torch.arange(len(k))[None]
        seen = at >= 0
        if left >= 0:
            seen &= at <= left
        weights = scores.masked_fill(~seen, float("-inf")).softmax(-1)
        outs.append(torch.einsum("hqk,khd->qhd", weights, v))
    return torch.cat(outs)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The varlen path on a CPU, in any dtype; holds the number of runs of each call."""
    calls: list[int] = []

    def counted(query: torch.Tensor, key: torch.Tensor, *rest: object, **options: object) -> torch.Tensor:
        calls.append(len(rest[1]) - 1)
        return reference(query, key, *rest, **options)

    monkeypatch.setattr(packed, "serves", lambda query, value, cap, dropout: cap is None and not dropout)
    monkeypatch.setattr(varlen, "kernel", lambda: counted)
    return calls


def sharp(architecture: str) -> torch.nn.Module:
    settings = SETTINGS[architecture]
    return tiny_model(architecture, vocabulary=VOCABULARY, scale=4.0, dtype="float64", **settings)


@pytest.mark.parametrize("share", [True, False])
@pytest.mark.parametrize("architecture", SETTINGS)
def test_runs_equal_the_plain_forward(architecture: str, share: bool, served: list[int]) -> None:
    model, rows = sharp(architecture), draw_rows(VOCABULARY, SHAPES)
    twin = eager(model)
    assert prepare(model) is None
    got, wanted = token_logprobs(model, build_pack(rows, share_prefix=share)), flat_logprobs(twin, rows)
    assert gap(got, wanted) < 1e-6
    weights = torch.randn(len(wanted), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    (wanted * weights).sum().backward()
    (got * weights).sum().backward()
    for (name, mine), theirs in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert gap(mine.grad, theirs.grad) < 1e-6, name
    # One call a layer; a run for each prompt and each response that is not empty.
    branches = sum(1 for row in rows for response in row.responses if response)
    alone = sum(len(row.responses) == 1 for row in rows)
    assert served[-1] == (len(rows) + branches - alone if share else sum(len(row.responses) for row in rows))


def test_negative_controls(served: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """A window that is one position off, or keys without the prompt's first token, move log-probabilities."""
    model, rows = sharp("qwen2"), draw_rows(VOCABULARY, SHAPES)
    prepare(model)
    with torch.no_grad():
        wanted, real = token_logprobs(model, build_pack(rows)), packed.attend_runs
        wider = lambda *args, window, **how: real(*args, window=window and window + 1, **how)  # noqa: E731
        monkeypatch.setattr(packed, "attend_runs", wider)
        assert float((token_logprobs(model, build_pack(rows)) - wanted).abs().max()) > 1e-3
        monkeypatch.setattr(packed, "attend_runs", real)
        pack = build_pack(rows)
        runs = varlen.runs_of(pack, torch.device("cpu"))
        assert runs.gather is not None
        runs.gather[int(runs.key_ends[1])] += 1  # the second run reads one wrong key
        assert float((token_logprobs(model, pack) - wanted).abs().max()) > 1e-3


def test_places_are_ordered_by_what_they_read() -> None:
    pack = build_pack(draw_rows(VOCABULARY, SHAPES))
    runs = varlen.runs_of(pack, torch.device("cpu"))
    assert runs.gather is not None and runs.order is not None and runs.place_ends is not None
    assert runs.order.sort().values.tolist() == list(range(len(runs.gather)))
    for token in range(pack.tokens):
        places = runs.order[runs.place_ends[token] : runs.place_ends[token + 1]]
        assert len(places) and (runs.gather[places] == token).all()


def test_a_pack_without_shared_prompts_gathers_nothing() -> None:
    runs = varlen.runs_of(build_pack([Row((1, 2), ((3,),)), Row((1,), ((2, 3),))]), torch.device("cpu"))
    assert runs.gather is None and runs.order is None and runs.query_ends.tolist() == [0, 3, 6]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device: checks the flash kernel itself")
@pytest.mark.parametrize("architecture", SETTINGS)
def test_kernel_on_a_gpu(architecture: str) -> None:
    """bfloat16 on the GPU against float32 of the same rounded weights on the CPU, values and gradients."""
    model = tiny_model(architecture, vocabulary=VOCABULARY, dtype="float32", head_dim=32, **SETTINGS[architecture])
    half = tiny_model(architecture, vocabulary=VOCABULARY, dtype="float32", head_dim=32, **SETTINGS[architecture])
    half.to(torch.bfloat16).to("cuda")
    with torch.no_grad():
        for mine, theirs in zip(model.parameters(), half.parameters(), strict=True):
            mine.copy_(theirs)
    rows = draw_rows(VOCABULARY, SHAPES)
    assert prepare(half) is None
    pack = build_pack(rows)
    got, wanted = token_logprobs(half, pack), flat_logprobs(eager(model), rows)
    assert ("runs", torch.device("cuda", 0)) in pack.plans
    assert gap(got.cpu(), wanted) < 2e-2
    got.sum().backward()
    flat = eager(model)
    flat_logprobs(flat, rows).sum().backward()
    for (name, mine), theirs in zip(half.named_parameters(), flat.parameters(), strict=True):
        assert gap(mine.grad.float().cpu(), theirs.grad) < 5e-2, name
