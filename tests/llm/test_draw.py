"""Tokens from logits, and the random numbers they are drawn with."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import ModelError
from burnish.llm.local import draw as local_draw
from burnish.llm.local.draw import Room, draw
from burnish.llm.local.randomness import key, uniforms

LOGITS = torch.tensor([2.0, 1.0, 0.5, -1.0, 0.0, -3.0, 1.5, -20.0])


def spread(count: int, **how: float) -> np.ndarray:
    """Counts of each token in `count` draws."""
    numbers = torch.from_numpy(uniforms([key(1, "p", s) for s in range(count)], 1)[:, 0])
    token, _ = draw(LOGITS.expand(count, -1), numbers, **how)
    return np.bincount(token.numpy(), minlength=len(LOGITS))


@pytest.mark.parametrize("temperature", [0.5, 1.0, 1.7])
def test_draws_follow_the_softmax(temperature: float) -> None:
    """Chi-square over the seven tokens that can be expected to occur; 22.46 is its 99.9 % quantile at 6 degrees."""
    count = 20_000
    expected = torch.softmax(LOGITS.double() / temperature, -1).numpy() * count
    seen = spread(count, temperature=temperature)
    usable = expected > 5
    assert usable.sum() >= 5
    statistic = (((seen - expected) ** 2) / expected)[usable].sum()
    assert statistic < 22.46


@pytest.mark.parametrize(
    ("top_p", "support"), [(0.4, {0}), (0.6, {0, 6}), (0.8, {0, 6, 1}), (0.999, {0, 1, 2, 3, 4, 5, 6})]
)
def test_top_p_draws_from_the_smallest_likeliest_set(top_p: float, support: set[int]) -> None:
    probabilities = torch.softmax(LOGITS.double(), -1)
    ordered = probabilities.sort(descending=True)
    reached = int((ordered.values.cumsum(0) < top_p).sum()) + 1
    assert {int(i) for i in ordered.indices[:reached]} == support
    seen = spread(4000, temperature=1.0, top_p=top_p)
    assert set(np.flatnonzero(seen)) == support
    expected = np.array([probabilities[i] if i in support else 0.0 for i in range(8)])
    assert np.abs(seen / 4000 - expected / expected.sum()).max() < 0.03


def test_logprobs_are_of_the_unscaled_untruncated_model() -> None:
    numbers = torch.linspace(0, 0.999, 50, dtype=torch.float64)
    for how in ({"temperature": 0.0}, {"temperature": 0.3}, {"temperature": 2.0, "top_p": 0.5}):
        token, logprob = draw(LOGITS.expand(50, -1), numbers, **how)
        assert torch.allclose(logprob, torch.log_softmax(LOGITS.double(), -1)[token], atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from([-math.inf, -700.0, -3.0, 0.0, 0.1, 5.0]), min_size=2, max_size=12), st.integers(0, 50))
def test_a_token_without_probability_is_never_drawn(values: list[float], extra: int) -> None:
    """Also at the ends of the interval: u = 0 and the largest number below 1."""
    if all(v == -math.inf for v in values):
        return
    logits = torch.tensor([values] * 3)
    numbers = torch.tensor([0.0, 1 - 2.0**-53, extra / 51], dtype=torch.float64)
    for top_p in (1.0, 0.7):
        token, logprob = draw(logits, numbers, temperature=1.0, top_p=top_p)
        assert torch.isfinite(logprob).all() and (token < len(values)).all()
        assert (torch.softmax(logits.double(), -1).gather(1, token[:, None]) > 0).all()


@pytest.mark.parametrize("how", [{}, {"temperature": 0.6}, {"top_p": 0.9}, {"temperature": 1.3, "top_p": 0.8}])
@pytest.mark.parametrize("vocabulary", [5, 128, 1000])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_blocks_and_few_rows_at_a_time_change_nothing(monkeypatch, how, vocabulary, dtype) -> None:
    """Against one cumulative sum over the whole row, written out; memory that held other draws is used again."""
    how = {"temperature": 1.0, "top_p": 1.0, **how}
    generator = torch.Generator().manual_seed(vocabulary)
    logits = (4 * torch.randn(200, vocabulary, generator=generator)).to(dtype)
    numbers = torch.rand(200, generator=generator, dtype=torch.float64)
    numbers[:2] = torch.tensor([0.0, 1 - 2.0**-53])
    weights = ((logits.double() - logits.double().amax(-1, keepdim=True)) / how["temperature"]).exp()
    if how["top_p"] < 1:
        weights = local_draw._nucleus(weights, how["top_p"])
    until = weights.cumsum(-1)
    expected = torch.searchsorted(until, (numbers * until[:, -1])[:, None], right=True)[:, 0].clamp(max=vocabulary - 1)
    monkeypatch.setattr(local_draw, "CELLS", 7 * 1024)
    room = Room()
    draw(torch.full((3, vocabulary), 7.0), torch.rand(3, dtype=torch.float64), **how, room=room)
    token, logprob = draw(logits, numbers, **how, room=room)
    keep = torch.arange(200) != 1  # the largest number below 1 may meet a last token without weight in the flat form
    assert torch.equal(token[keep], expected[keep]) and weights[1, token[1]] > 0
    assert torch.allclose(logprob, logits.double().log_softmax(-1).gather(1, token[:, None])[:, 0], atol=1e-12)
    greedy, _ = draw(logits, numbers, temperature=0.0, room=room)
    assert torch.equal(greedy, logits.argmax(-1))


def test_logits_that_are_no_numbers_are_an_error() -> None:
    for bad in (math.nan, math.inf):
        with pytest.raises(ModelError, match="not finite"):
            draw(torch.tensor([[0.0, bad, 1.0]]), torch.tensor([0.5], dtype=torch.float64), temperature=1.0)
        rows = torch.zeros(3, 400)
        rows[1, 390] = bad
        with pytest.raises(ModelError, match="not finite"):
            draw(rows, torch.full((3,), 0.999, dtype=torch.float64), temperature=0.7, top_p=0.9)


def test_random_numbers_depend_on_seed_prompt_sample_and_position_alone() -> None:
    keys = [key(seed, prompt, sample) for seed in (0, 1) for prompt in ("a", "b") for sample in (0, 1)]
    whole = uniforms(keys, 64)
    assert len({tuple(row) for row in whole}) == 8 and len(set(whole.ravel())) == whole.size
    assert (whole[3:5] == uniforms(keys[3:5], 64)).all()
    assert (whole[:, 10:20] == uniforms(keys, 10, start=10)).all()
    assert key(1, "2", 3) != key(12, "", 3)


def test_random_numbers_follow_the_published_stream() -> None:
    """SplitMix64 from state 0 begins with these (the reference implementation's)."""
    expected = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    assert uniforms([0], 3)[0].tolist() == [(value >> 11) * 2.0**-53 for value in expected]


def test_random_numbers_are_uniform_and_uncorrelated() -> None:
    whole = uniforms([key(7, "p", s) for s in range(1000)], 40)
    assert abs(whole.mean() - 0.5) < 0.005 and abs(whole.var() - 1 / 12) < 0.002
    counts = np.histogram(whole, 20, (0, 1))[0]
    assert ((counts - 2000) ** 2 / 2000).sum() < 43.8  # 99.9 % quantile at 19 degrees
    assert abs(np.corrcoef(whole[:-1].ravel(), whole[1:].ravel())[0, 1]) < 0.02
    assert abs(np.corrcoef(whole[:, :-1].ravel(), whole[:, 1:].ravel())[0, 1]) < 0.02
