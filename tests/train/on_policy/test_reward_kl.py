"""Baichuan's GRPO against a flat loop, under every split, with rows to stay close on, over kills; refusals."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import SettingsError
from burnish.models import load_causal
from burnish.records import Sampling
from burnish.runs.compute import Compute, computing
from burnish.train.on_policy import FRESH, Reward, RewardKl, loop
from burnish.train.on_policy.groups import Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh
from tests.train.material import check_killed, demonstrations, folders
from tests.train.on_policy.material import (
    FAST,
    agree,
    gradients_of,
    lines_of,
    prompts,
    share,
    stirred,
    train,
)

HOW: dict[str, Any] = {"method": "grpo-reward-kl", "through_kl": True}
KEEP = demonstrations(5)


def batch_of(base: Any, pack_tokens: int, **how: Any) -> tuple[Any, list[Any], list[list[float | None]], list[Any]]:
    """A session whose policy is not its reference, with the batch of a first round."""
    chosen = FRESH["grpo-reward-kl"].settings(**{**FAST, "pack_tokens": pack_tokens, **how})
    built, steps, exploring = planned_fresh(chosen, "grpo-reward-kl")
    assert isinstance(built, RewardKl)
    built = replace(built, keep=KEEP if chosen.keep_weight else ())
    session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
    session.method.opened(sampler.style.chat, most=200, refuse_above=0.0)
    stirred(session.model, 1)
    sampling = Sampling(max_new_tokens=9, temperature=1.0, seed=0)
    groups = sampler.draw(prompts(3), n=4, sampling=sampling, first=0, number=0)
    values = [[None if i == place else share(r) for i, r in enumerate(g.responses)] for place, g in enumerate(groups)]
    kept = [Rewarded(group=g, rewards=tuple(Reward(value=v) for v in vs)) for g, vs in zip(groups, values, strict=True)]
    batch = [example_of(one) for one in kept]
    sampled = {e.id: loop._sampled(one) for e, one in zip(batch, kept, strict=True)}
    session.method.explored(session.model, [batch], sampled, session.place)
    (whole,) = session.method.joined([batch], 0)
    session.method.begin(session.model, whole, 0)
    return session, groups, values, whole


def top_kl(q: torch.Tensor, p: torch.Tensor, k: int) -> torch.Tensor:
    """[T] over the k likeliest tokens of p, both renormalised, from probabilities."""
    ids = p.topk(k).indices
    q, p = q.gather(1, ids), p.gather(1, ids)
    q, p = q / q.sum(-1, keepdim=True), p / p.sum(-1, keepdim=True)
    return (q * (q / p).log()).sum(-1)


@pytest.mark.parametrize(
    "how",
    [
        {"through_kl": True, "top_k": 7},
        {"through_kl": False, "top_k": 500, "over": "tokens"},
        {"through_kl": True, "top_k": 7, "keep_weight": 0.5, "keep_rows": 3},
        {"through_kl": False, "beta": 0.0, "keep_weight": 0.5, "keep_rows": 7},
    ],
)
def test_value_and_gradient_are_those_of_a_flat_loop_for_every_split(base, how):
    with computing(Compute(dtype="float64")):
        found = []
        for pack_tokens in (10_000, 1, 130):
            session, groups, values, whole = batch_of(base, pack_tokens, **how)
            told = session._gradient(whole)
            found.append((told, gradients_of(session.model)))
        plain, start = load_causal(base, dtype="float64"), load_causal(base, dtype="float64")
        stirred(plain, 1)
        beta, k = how.get("beta", 0.04), min(how.get("top_k", 500), plain.config.vocab_size)
        answers = [
            (g.ids, r.token_ids, v)
            for g, vs in zip(groups, values, strict=True)
            for r, v in zip(g.responses, vs, strict=True)
        ]
        used = [(p, a) for p, a, v in answers if v is not None]
        unit = sum(len(a) for _, a in used) if how.get("over") == "tokens" else len(used)
        total = 0.0
        for group, given in zip(groups, values, strict=True):
            there = torch.tensor([v for v in given if v is not None], dtype=torch.float64)
            for response, value in zip(group.responses, given, strict=True):
                if value is None:
                    continue
                ids, answer = torch.tensor([[*group.ids, *response.token_ids]]), torch.tensor(response.token_ids)
                q = plain(ids).logits[0, len(group.ids) - 1 : -1].softmax(-1)
                with torch.no_grad():
                    p = start(ids).logits[0, len(group.ids) - 1 : -1].softmax(-1)
                kl = top_kl(q, p, k)
                ahead = torch.stack([kl[t:].sum() for t in range(len(answer))]).detach()
                advantage = (value - there.mean()) / there.std(correction=0) - beta * ahead
                logprobs = q.gather(1, answer[:, None])[:, 0].log()
                each = -(logprobs - logprobs.detach()).exp() * advantage
                if how["through_kl"]:
                    each = each + beta * kl
                total = total + (each.sum() if how.get("over") == "tokens" else each.mean()) / unit
        if how.get("keep_weight"):
            chat, by_id = load_chat(base.path), {row.id: row for row in KEEP}
            rows = [by_id[e.id] for e in whole[3:]]
            assert len(rows) == how["keep_rows"] and len({row.id for row in rows}) == min(5, len(rows))
            encoded = [chat.encode(row.context, row.response) for row in rows]
            tokens = sum(sum(e.trained) for e in encoded)
            for one in encoded:
                ids, trained = torch.tensor([one.ids]), torch.tensor(one.trained[1:])
                q = plain(ids).logits[0, :-1][trained].softmax(-1)
                with torch.no_grad():
                    p = start(ids).logits[0, :-1][trained].softmax(-1)
                total = total + how["keep_weight"] * top_kl(q, p, k).sum() / tokens
        total.backward()
    for told, gradients in found:
        assert told["loss"] == pytest.approx(total.item(), rel=1e-9)
        agree(gradients, gradients_of(plain))


@pytest.mark.parametrize("updates", [1, 2])
def test_the_first_ratios_of_a_round_are_1_and_the_rows_are_told(base, tmp_path, updates):
    work = folders(tmp_path)
    train(base, work, **HOW, updates=updates, keep_weight=0.1, keep_rows=2, keep=KEEP)
    lines = lines_of(work)
    assert all(line["ratio"] == 1.0 and line["drift"] == 0.0 for line in lines[::updates])
    assert all(line["sampler_gap"] < 1e-4 for line in lines) and lines[0]["kl"] == 0.0 == lines[0]["kept_kl"]
    assert lines[-1]["kl"] > 0 and lines[-1]["kept_kl"] > 0 and lines[-1]["reference_kl"] != 0


def test_rows_to_stay_close_on_hold_the_policy_there(base, tmp_path):
    ends = {}
    for weight in (0.0, 20.0):
        work = folders(tmp_path / str(weight))
        more = {"keep": KEEP, "keep_weight": weight, "keep_rows": 5} if weight else {}
        trained = train(base, work, **HOW, **more, rounds=8, beta=0.0).weights
        with computing(Compute(dtype="float64")):
            chat, one, other = (
                load_chat(base.path),
                load_causal(trained, dtype="float64"),
                load_causal(base, dtype="float64"),
            )
            far = 0.0
            for row in KEEP:
                encoded = chat.encode(row.context, row.response)
                ids = torch.tensor([encoded.ids])
                with torch.no_grad():
                    q, p = (m(ids).logits[0].log_softmax(-1) for m in (one, other))
                far += (q.exp() * (q - p)).sum(-1).mean().item()
        ends[weight] = far
    assert ends[20.0] < 0.5 * ends[0.0]


def test_killed_is_bitwise_equal(base, tmp_path, monkeypatch):
    how = {**HOW, "updates": 2, "keep_weight": 0.1, "keep_rows": 3, "keep": KEEP, "reference": "every:2", "rounds": 4}
    check_killed(partial(train, base, **how), tmp_path, (3, 6), monkeypatch)


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"through_kl": None}, "through_kl must be given"),
        ({"top_k": 1}, "top_k is 1; a divergence over fewer than two tokens"),
        ({"keep_weight": -0.1, "keep": KEEP}, "keep_weight is -0.1; below 0 it would reward leaving"),
        ({"keep_weight": 0.1}, "keep_weight is 0.1, and there are no rows to stay close on: --keep FILE"),
        ({"keep": KEEP}, "--keep is for grpo-reward-kl"),
        ({"method": "grpo", "keep": KEEP}, "grpo has no setting 'through_kl'"),
        ({"keep_rows": 0}, "keep_rows is 0"),
        ({"ratio_clip": 2.0}, "ratio_clip is 2.0"),
        ({"level": "sequence"}, "has no setting 'level'"),
    ],
)
def test_refusals(base, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, **{**HOW, **how})
