"""NEFTune: bounds by each sequence's own length, the same numbers in every pack and after a resume, none in eval."""

import contextlib
import math

import pytest
import torch

from burnish.errors import ModelError, SettingsError
from burnish.losses.sft import sft_loss
from burnish.models import Row, build_pack, prepare, tiny_model, token_logprobs
from burnish.train.optim.noise import noise_bound, noisy_embeddings, sequence_spans

ROWS = (Row((5, 6, 7), (tuple(range(8, 20)),)), Row((9,), ((3, 4),)), Row((1, 2, 3, 4), (tuple(range(30, 70)),)))
WIDTH = 32


def make(dtype="float64", **overrides):
    model = tiny_model("llama", dtype=dtype, scale=4.0, **overrides)
    model.eval()
    assert prepare(model) is None
    return model


@pytest.fixture(scope="module")
def model():
    return make()


@contextlib.contextmanager
def recorded(model):
    """What the embedding gives to the first layer, less the plain look-up: one [B, S, d] a forward."""
    embedding, seen = model.get_input_embeddings(), []
    hook = embedding.register_forward_hook(lambda m, args, out: seen.append((out - m.weight[args[0]]).detach()))
    try:
        yield seen
    finally:
        hook.remove()


def noise_of(model, rows, *, alpha=5.0, seed=0, step=3):
    """The noise on each row's sequence [L, d], through the packed core."""
    pack = build_pack(rows)
    with noisy_embeddings(model, alpha=alpha, seed=seed, step=step), recorded(model) as seen:
        token_logprobs(model, pack)
    (flat,) = seen
    spans = sequence_spans(pack.positions)
    found = {tuple(pack.ids[first:last].tolist()): flat[0, first:last] for first, last, _ in spans}
    return [found[(*row.prompt, *row.responses[0])] for row in rows]


def test_spans_by_hand():
    # two plain sequences, then a prompt of two tokens with answers of two, two and one
    positions = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 2, 3, 2, 0])
    told = [(first, last, lengths.tolist()) for first, last, lengths in sequence_spans(positions)]
    assert told == [(0, 4, [4] * 4), (4, 11, [4, 4, 4, 4, 4, 4, 3]), (11, 12, [1])]
    assert noise_bound(5.0, tokens=16, width=25) == 0.25


def test_each_sequence_has_the_bound_of_its_own_length_and_its_variance():
    model = make(width=64, max_position_embeddings=2048)
    rows = [Row((1,), (tuple(n % 250 for n in range(length - 1)),)) for length in (1600, 100, 7)]
    for row, noise in zip(rows, noise_of(model, rows, alpha=45.0), strict=True):
        length = 1 + len(row.responses[0])
        bound = 45 / math.sqrt(length * 64)
        assert noise.shape == (length, 64)
        # drawn in float32, added in float64: one rounding of the bound, and one of the sum
        assert noise.abs().max().item() <= bound * (1 + 1e-6)
        assert noise.abs().max().item() > 0.95 * bound
        if length >= 100:
            # 6,400 and 102,400 draws: the standard error of a uniform variance is 0.89 / sqrt(n), 1.1 % and 0.3 %
            within = 0.02 if length == 1600 else 0.04
            assert noise.square().mean().item() == pytest.approx(bound**2 / 3, rel=within)
            assert abs(noise.mean().item()) < 4 * bound / math.sqrt(3 * noise.numel())


def test_the_noise_is_the_same_in_every_pack_order_and_in_padded_batches(model):
    together = noise_of(model, ROWS)
    assert all(torch.equal(a, b) for a, b in zip(together, reversed(noise_of(model, ROWS[::-1])), strict=True))
    for row, noise in zip(ROWS, together, strict=True):
        assert torch.equal(noise_of(model, [row])[0], noise)
    ids = [torch.tensor([*row.prompt, *row.responses[0]]) for row in ROWS]
    longest = max(map(len, ids))
    for left in (False, True):
        table, mask = torch.zeros(3, longest, dtype=torch.int64), torch.zeros(3, longest, dtype=torch.int64)
        places = [slice(longest - len(one), longest) if left else slice(0, len(one)) for one in ids]
        for number, (one, place) in enumerate(zip(ids, places, strict=True)):
            table[number, place], mask[number, place] = one, 1
        with noisy_embeddings(model, alpha=5.0, seed=0, step=3), recorded(model) as seen:
            model(input_ids=table, attention_mask=mask)
        for number, place in enumerate(places):
            assert torch.equal(seen[0][number, place], together[number])
            assert (seen[0][number][mask[number] == 0] == 0).all()


def test_a_resumed_run_draws_the_same_and_another_step_or_seed_does_not(model):
    first = noise_of(model, ROWS, seed=1, step=17)
    torch.manual_seed(99)  # the noise owes nothing to the global state
    again = noise_of(make(), ROWS, seed=1, step=17)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    for other in ({"seed": 2, "step": 17}, {"seed": 1, "step": 18}, {"seed": 11, "step": 7}):
        changed = noise_of(model, ROWS, **other)
        assert all((a - b).abs().max() > 1e-3 for a, b in zip(first, changed, strict=True))
    state = torch.get_rng_state()
    noise_of(model, ROWS)
    assert torch.equal(torch.get_rng_state(), state)


def test_no_noise_in_eval_mode_outside_or_at_alpha_0(model):
    pack = build_pack(ROWS)
    plain = token_logprobs(model, pack)
    with noisy_embeddings(model, alpha=5.0, seed=0, step=0):
        noisy = token_logprobs(model, pack)
        model.eval()
        switched = token_logprobs(model, pack)
    assert (noisy - plain).abs().max() > 1e-3
    with noisy_embeddings(model, alpha=0.0, seed=0, step=0):
        nothing = token_logprobs(model, pack)
    for quiet in (switched, nothing, token_logprobs(model, pack)):
        assert torch.equal(quiet, plain)


def test_the_context_leaves_nothing_behind_even_when_it_fails(model):
    embedding = model.get_input_embeddings()
    with pytest.raises(RuntimeError, match="stop"), noisy_embeddings(model, alpha=5.0, seed=0, step=0):
        assert embedding.training and not model.training and not model.model.layers[0].training
        raise RuntimeError("stop")
    assert not embedding.training and not embedding._forward_hooks and not model.model._forward_pre_hooks
    embedding.train()
    with noisy_embeddings(model, alpha=5.0, seed=0, step=0):
        pass
    assert embedding.training
    embedding.eval()


def gradient(model, packs, selected):
    """Gradient of the batch's mean loss over the selected tokens, pack by pack, under noise."""
    model.zero_grad()
    tokens, total = sum(int(s.sum()) for s in selected), 0.0
    with noisy_embeddings(model, alpha=5.0, seed=4, step=1):
        for rows, select in zip(packs, selected, strict=True):
            loss, _ = sft_loss(token_logprobs(model, build_pack(rows), select=select), tokens=tokens)
            loss.backward()
            total += loss.item()
    return total, torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]).clone()


def test_any_split_into_packs_has_one_loss_and_one_gradient():
    model = make()
    sizes = [len(row.responses[0]) for row in ROWS]
    selected = [torch.arange(size) % 3 != 0 for size in sizes]  # every third answer token is masked
    one, wanted = gradient(model, [ROWS], [torch.cat(selected)])
    three, parts = gradient(model, [[row] for row in ROWS], selected)
    assert three == pytest.approx(one, rel=1e-12) and (parts - wanted).norm() < 1e-10 * wanted.norm()


def test_masked_tokens_do_not_change_the_loss(model):
    pack = build_pack(ROWS)
    select = torch.arange(len(pack.targets)) % 2 == 0
    with noisy_embeddings(model, alpha=5.0, seed=0, step=0):
        whole = token_logprobs(model, pack)
        some = token_logprobs(model, pack, select=select)
    loss = sft_loss(some, tokens=int(select.sum()))[0]
    assert loss.item() == pytest.approx(-whole[select].mean().item(), rel=1e-12)
    assert abs(loss.item() + whole.mean().item()) > 1e-6


@pytest.mark.parametrize(("dtype", "rounding"), [("float32", 1e-6), ("bfloat16", 2e-2)])
def test_the_draws_do_not_depend_on_the_models_type(model, dtype, rounding):
    for wide, narrow in zip(noise_of(model, ROWS), noise_of(make(dtype), ROWS), strict=True):
        assert narrow.dtype == getattr(torch, dtype)
        assert (wide - narrow.to(wide)).abs().max() < rounding


def test_what_cannot_be_told_apart_or_makes_no_sense_is_refused(model):
    for alpha in (-1.0, math.nan, math.inf):
        with pytest.raises(SettingsError, match="alpha"), noisy_embeddings(model, alpha=alpha, seed=0, step=0):
            raise AssertionError("the context must not open")
    ids = torch.tensor([[1, 2, 3]])
    with noisy_embeddings(model, alpha=5.0, seed=0, step=0):
        with pytest.raises(ModelError, match="call the model with input_ids"):
            model.get_input_embeddings()(ids)
        with pytest.raises(ModelError, match="not 0"):
            model(input_ids=ids, position_ids=torch.tensor([[4, 5, 6]]))
        with pytest.raises(ModelError, match="has gaps"):
            model(input_ids=ids, attention_mask=torch.tensor([[1, 0, 1]]))
