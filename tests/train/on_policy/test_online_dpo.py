"""Online DPO against a flat loop: which pair a group gives, what it costs, the gate, refusals."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from burnish.errors import SettingsError
from burnish.models import load_causal
from burnish.records import Sampling
from burnish.runs.compute import Compute, computing
from burnish.train.on_policy import FRESH, Reward, loop
from burnish.train.on_policy.groups import Rewarded, example_of
from burnish.train.on_policy.methods import planned_fresh
from tests.train.material import folders
from tests.train.on_policy.material import (
    FAST,
    Recorder,
    agree,
    gradients_of,
    lines_of,
    prompts,
    share,
    stirred,
    train,
)


def logprob(model: Any, prompt: Any, answer: Any) -> torch.Tensor:
    """log p of a whole answer, from full logits of one row."""
    ids = torch.tensor([[*prompt, *answer]])
    logits = model(ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
    return logits.gather(1, torch.tensor(answer)[:, None]).sum()


def test_value_and_gradient_are_those_of_a_flat_loop(base):
    """Python's own max and min, full logits, one answer at a time; some answers without a reward."""
    built, steps, exploring = planned_fresh(FRESH["online-dpo"].settings(**FAST, beta=0.3, updates=1), "online-dpo")
    with computing(Compute(dtype="float64")):
        session, sampler = loop.open_fresh(base, method=built, loop=steps, exploring=exploring, work=None)
        sampling = Sampling(max_new_tokens=9, temperature=1.0, seed=0)
        groups = sampler.draw(prompts(3), n=5, sampling=sampling, first=0, number=0)
        rewards = [
            [None if i == place else share(r) for i, r in enumerate(g.responses)] for place, g in enumerate(groups)
        ]
        stirred(session.model, 1)
        picked = [
            session.method.picked(Rewarded(group=g, rewards=tuple(Reward(value=v) for v in values)))
            for g, values in zip(groups, rewards, strict=True)
        ]
        batch = [example_of(one) for one in picked]
        assert all(len(example.row.responses) == 2 for example in batch)  # the others are not computed
        sampled = {e.id: loop._sampled(one) for e, one in zip(batch, picked, strict=True)}
        session.method.explored(session.model, [batch], sampled, session.place)
        found = session._gradient(batch)
        plain, reference = load_causal(base, dtype="float64"), load_causal(base, dtype="float64")
        stirred(plain, 1)
        total, spreads = 0.0, []
        for group, values in zip(groups, rewards, strict=True):
            there = [(value, i) for i, value in enumerate(values) if value is not None]
            best = next(i for value, i in there if value == max(there)[0])
            worst = next(i for value, i in there if value == min(there)[0])
            spreads.append(values[best] - values[worst])
            margins = []
            for place in (best, worst):
                answer = group.responses[place].token_ids
                with torch.no_grad():
                    before = logprob(reference, group.ids, answer)
                margins.append(logprob(plain, group.ids, answer) - before)
            total = total - torch.log(torch.sigmoid(0.3 * (margins[0] - margins[1]))) / 3
        total.backward()
    assert found["loss"] == pytest.approx(total.item(), rel=1e-9) and found["loss"] != pytest.approx(0.6931, abs=1e-3)
    assert found["spread"] == pytest.approx(sum(spreads) / 3)
    agree(gradients_of(session.model), gradients_of(plain))


def test_the_first_loss_of_a_round_at_the_reference_is_ln_2_and_the_margin_grows(base, tmp_path):
    work = folders(tmp_path)
    train(base, work, method="online-dpo", updates=1, rounds=4)
    lines = lines_of(work)
    assert lines[0]["loss"] == pytest.approx(0.6931471805599453) and lines[0]["margin"] == 0.0
    assert lines[-1]["reference_kl"] != 0 and all(line["spread"] > 0 and line["rows"] == 4 for line in lines)


def test_groups_below_the_gate_are_replaced_and_counted_as_flat(base, tmp_path):
    """Rewards of a step of 1/4: with three answers some groups are apart by a step, others by more."""

    def worth(response: Any) -> float:
        return round(4 * share(response)) / 4

    counts = {}
    for gate in (0.0, 0.3):
        rewarder, work = Recorder(worth=worth), folders(tmp_path / str(gate))
        train(base, work, rewarder=rewarder, method="online-dpo", updates=1, refills=0, least_spread=gate)
        counts[gate] = [line["groups_flat"] for line in lines_of(work)]
        groups = [rewarder.answers[at : at + 3] for at in range(0, len(rewarder.answers), 3)]
        narrow = [max(map(worth, g)) - min(map(worth, g)) for g in groups]
        wanted = [sum(s == 0 or s < gate for s in narrow[at : at + 4]) for at in range(0, 12, 4)]
        assert counts[gate] == wanted
        assert all(line["spread"] >= max(gate, 0.25) for line in lines_of(work) if line["rows"])
    assert sum(counts[0.3]) > sum(counts[0.0])


@pytest.mark.parametrize(
    ("how", "said_of_it"),
    [
        ({"beta": 0.0}, "beta is 0.0; the loss of online-dpo needs one above 0"),
        ({"least_spread": -1.0}, "least_spread is -1.0; it is a difference of rewards"),
        ({"least_spread": float("nan")}, "least_spread is nan"),
        ({"samples": 1}, "samples is 1; answers are compared within a group, which takes two"),
        ({"clip_low": 0.1}, "online-dpo has no setting 'clip_low'"),
    ],
)
def test_refusals(base, how, said_of_it):
    with pytest.raises(SettingsError, match=said_of_it):
        train(base, method="online-dpo", **how)
