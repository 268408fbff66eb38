"""The gradient of a batch does not depend on its packs; the first update is at the weights that drew the answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import torch

from burnish.models import build_pack, load_causal, token_logprobs
from burnish.records import Sampling
from burnish.runs.compute import Compute, computing
from burnish.train.on_policy import FRESH, Reward, loop
from burnish.train.on_policy.groups import Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh
from burnish.train.on_policy.objectives import fresh
from tests.train.material import folders, make_model
from tests.train.on_policy.material import FAST, METHODS, Recorder, lines_of, prompts, share, stirred, train


def gradients(base: Any, name: str, pack_tokens: int, **how: Any) -> dict[str, torch.Tensor]:
    """Of one batch of four groups, of which some answers have no reward, at weights that are not those that drew it."""
    settings = {**FAST, "pack_tokens": pack_tokens, "updates": 2, **how}
    built, steps, exploring = planned_fresh(FRESH[name].settings(**settings), name)
    with computing(Compute(dtype="float64")):
        session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
        stirred(session.model, 1)
        groups = sampler.draw(
            prompts(4), n=5, sampling=Sampling(max_new_tokens=9, temperature=1.0, seed=0), first=0, number=0
        )
        rewarded = []
        for place, group in enumerate(groups):
            values = [share(r) for r in group.responses]
            values[place % 5] = None if place != 1 else values[1]
            one = Rewarded(group=group, rewards=tuple(Reward(value=v) for v in values))
            rewarded.append(session.method.picked(one))
        batch = [example_of(one) for one in rewarded]
        sampled = {e.id: loop._sampled(one) for e, one in zip(batch, rewarded, strict=True)}
        session.method.explored(session.model, [batch, []], sampled, session.place)
        stirred(session.model, 2)
        found = session._gradient(batch)
    told = {name: parameter.grad.clone() for name, parameter in session.model.named_parameters()}
    return {**told, "loss": torch.tensor(found["loss"]), "kl": torch.tensor(found.get("kl", 0.0))}


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("grpo", {}),
        ("grpo", {"over": "tokens"}),
        ("grpo", {"level": "sequence"}),
        ("rloo", {}),
        ("mdloo", {}),
        ("online-dpo", {}),
    ],
)
def test_gradients_are_equal_for_every_split_into_packs_and_without_shared_prompts(base, monkeypatch, name, how):
    whole = gradients(base, name, 10_000, **how)
    assert whole["model.embed_tokens.weight"].norm() > 1e-3
    splits = [gradients(base, name, 1, **how), gradients(base, name, 130, **how)]
    monkeypatch.setattr(fresh, "trained_logprobs", partial(fresh.trained_logprobs, share_prefix=False))
    monkeypatch.setattr(fresh, "build_pack", partial(fresh.build_pack, share_prefix=False))
    for other in [*splits, gradients(base, name, 10_000, **how)]:
        for key, value in whole.items():
            assert (other[key] - value).norm() <= 1e-6 * value.norm(), key


@pytest.mark.parametrize("key", METHODS)
def test_the_first_update_of_a_round_is_at_the_weights_that_drew(base, tmp_path, key):
    work = folders(tmp_path)
    train(base, work, **METHODS[key])
    steps, each = lines_of(work), METHODS[key].get("updates", 1)
    for line in steps[::each]:
        assert line.get("ratio", 1.0) == 1.0 and line.get("drift", 0.0) == 0.0 and line.get("kl_iterate", 0.0) == 0.0
    assert all(line["sampler_gap"] < 1e-4 for line in steps)  # of later updates too: it is of the weights that drew
    if each > 1 and key != "online-dpo":
        assert all(line["ratio"] != 1.0 for line in steps[1::each])
    assert steps[0]["reference_kl"] == 0.0 != steps[-1]["reference_kl"]  # the reference stays


def test_bfloat16_has_a_small_gap_and_learns_on_masters(base, tmp_path):
    with computing(Compute(dtype="bfloat16")):
        work = folders(tmp_path)
        train(base, work, method="grpo", updates=2)
    assert all(0 < line["sampler_gap"] < 0.02 for line in lines_of(work))
    assert [line["ratio"] for line in lines_of(work)[::2]] == [1.0] * 3


def test_a_first_step_of_grpo_is_the_policy_gradient(base):
    """Against plain autograd on one answer at a time: advantages of this test's own arithmetic."""
    built, steps, exploring = planned_fresh(FRESH["grpo"].settings(**FAST, beta=0.0), "grpo")
    with computing(Compute(dtype="float64")):
        session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
        sampling = Sampling(max_new_tokens=9, temperature=1.0, seed=0)
        groups = sampler.draw(prompts(2), n=4, sampling=sampling, first=0, number=0)
        rewarded = [Rewarded(group=g, rewards=tuple(Reward(value=share(r)) for r in g.responses)) for g in groups]
        batch = [example_of(one) for one in rewarded]
        sampled = {e.id: loop._sampled(one) for e, one in zip(batch, rewarded, strict=True)}
        session.method.explored(session.model, [batch], sampled, session.place)
        session._gradient(batch)
        plain = load_causal(base, dtype="float64")
        for group in groups:
            values = torch.tensor([share(r) for r in group.responses], dtype=torch.float64)
            advantages = (values - values.mean()) / values.std(correction=0)
            for advantage, response in zip(advantages, group.responses, strict=True):
                ids = torch.tensor([[*group.ids, *response.token_ids]])
                logprobs = plain(ids).logits[0, len(group.ids) - 1 : -1].log_softmax(-1)
                chosen = logprobs.gather(1, torch.tensor(response.token_ids)[:, None])
                (-advantage * chosen.mean() / 8).backward()
    mine, theirs = dict(session.model.named_parameters()), dict(plain.named_parameters())
    assert mine.keys() == theirs.keys()
    for key, parameter in theirs.items():
        assert (mine[key].grad - parameter.grad).norm() <= 1e-6 * parameter.grad.norm(), key


@pytest.mark.parametrize("grouped", [True, False])
def test_attention_is_handed_back_to_the_packed_core(base, tmp_path, monkeypatch, grouped):
    """Also where the sampler has to fall back to the model's own cache."""
    from burnish.llm.local import decode

    if not grouped:
        real = decode._disagreement
        monkeypatch.setattr(
            decode,
            "_disagreement",
            lambda model, path, *more: "no" if path is decode.Grouped else real(model, path, *more),
        )
    built, steps, exploring = planned_fresh(FRESH["grpo"].settings(**FAST), "grpo")
    session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
    before = session.model.config._attn_implementation
    sampling = Sampling(max_new_tokens=5, temperature=1.0, seed=0)
    groups = sampler.draw(prompts(3), n=2, sampling=sampling, first=0, number=0)
    assert sampler.decoder.path is (decode.Grouped if grouped else decode.Plain)
    assert session.model.config._attn_implementation == before
    for group in groups:
        example = example_of(Rewarded(group=group, rewards=(Reward(value=0.0), Reward(value=1.0))))
        found = token_logprobs(session.model, build_pack([example.row]))
        told = torch.tensor([p for r in group.responses for p in r.logprobs])
        assert torch.allclose(found.detach().double(), told.double(), atol=1e-4)


def test_without_beta_no_reference_is_loaded(base, tmp_path, monkeypatch):
    monkeypatch.setattr(fresh, "load_causal", lambda *a, **k: pytest.fail("a reference was loaded"))
    for name in ("grpo", "rloo", "mdloo", "warp"):
        work = folders(tmp_path / name)
        train(base, work, method=name, beta=0.0, updates=2, reference="fixed")
        assert not {"reference_kl", "kl"} & set(lines_of(work)[0])


def test_weights_that_are_not_tied_train_too(tmp_path):
    import json
    from pathlib import Path

    from burnish.models import weights_of

    tied = make_model(tmp_path / "base")
    model = load_causal(tied)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    model.save_pretrained(tied.path)
    assert json.loads((Path(tied.path) / "config.json").read_text())["tie_word_embeddings"] is False
    free = weights_of(tied.path)
    work = folders(tmp_path / "work")
    outcome = train(free, work, rewarder=Recorder())
    trained = load_causal(outcome.weights)
    assert not torch.equal(trained.lm_head.weight, trained.get_input_embeddings().weight)
    assert all(line["sampler_gap"] < 1e-4 for line in lines_of(work))
