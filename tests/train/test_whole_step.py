"""A whole optimiser step against a flat second implementation, and against itself under every split.

The second implementation pads, runs the eager forward of a freshly loaded model on every prompt with each of its
answers, takes `log_softmax` of full logits, and reads masks straight from the chat room: no pack, no prefix sharing,
no selection.
"""

from __future__ import annotations

import itertools
from functools import partial

import pytest
import torch

from burnish.chat import load_chat
from burnish.losses import dpo_loss
from burnish.models import load_causal, new_reward, prepare
from burnish.runs.compute import Compute, computing
from burnish.train.batch import encode_ranking, packs
from burnish.train.objectives import Contrast, Imitation, Place, Ranking
from tests.train.material import demonstrations, make_model, preferences

DTYPE = "float64"


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("reference"), seed=9)


def place_of(base, chat, dtype):
    return Place(
        base=base, stop_ids=tuple(chat.stop_ids), pack_tokens=500, seed=0, dtype=dtype, device="cpu", scratch=None
    )


def mine(base, method, rows, *, split, share=True, dtype=DTYPE):
    """Loss and gradient of the whole batch through the product, in the given split."""
    chat = load_chat(base.path)
    with computing(Compute(dtype=dtype)):
        model = load_causal(base, dtype=dtype)
        if method.kind == "reward":
            model = new_reward(base, dtype=dtype)
            settle_head(model)
        prepare(model)
        method.share_prefix = share
        examples = [method.encode(chat, row) for row in rows]
        method.before(model, examples, place_of(base, chat, dtype))
        units = method.units(examples)
        total = 0.0
        for part in split(examples):
            loss, _ = method.part(model, part, units)
            loss.backward()
            total += loss.item()
    return total, gradients(model)


def dpo(nll_weight, **more):
    return Contrast(loss=partial(dpo_loss, beta=0.1, nll_weight=nll_weight), **more)


def settle_head(model):
    with torch.no_grad():
        model.score.weight.copy_(torch.linspace(-1, 1, model.score.weight.numel()).view_as(model.score.weight))


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def padded_logprobs(model, encoded):
    """[R, L - 1] log p of each next token, from full logits of a right-padded batch, and the padded masks."""
    length = max(len(e.ids) for e in encoded)

    def pad(values):
        return torch.tensor([list(v) + [0] * (length - len(v)) for v in values])

    ids = pad([e.ids for e in encoded])
    attention = pad([[1] * len(e.ids) for e in encoded])
    logits = model(input_ids=ids, attention_mask=attention).logits
    logprobs = torch.log_softmax(logits, -1)[:, :-1].gather(-1, ids[:, 1:, None]).squeeze(-1)
    trained = pad([e.trained for e in encoded])[:, 1:].bool()
    formatting = pad([e.formatting for e in encoded])[:, 1:].bool()
    return logprobs, trained, formatting


def eager(base):
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base.path, dtype=torch.float64, attn_implementation="eager").eval()


def flat_sft(base, rows):
    model, chat = eager(base), load_chat(base.path)
    logprobs, trained, _ = padded_logprobs(model, [chat.encode(r.context, r.response) for r in rows])
    loss = -logprobs[trained].sum() / trained.sum()
    loss.backward()
    return loss.item(), gradients(model)


def flat_dpo(base, reference, rows, beta, nll_weight):
    model, frozen, chat = eager(base), eager(reference), load_chat(base.path)
    loss = 0.0
    for row in rows:
        pair = [chat.encode(row.context, row.candidates[k].messages) for k in (0, -1)]
        logprobs, trained, formatting = padded_logprobs(model, pair)
        with torch.no_grad():
            old, _, _ = padded_logprobs(frozen, pair)
        ratio = [(logprobs - old)[k][trained[k] & ~formatting[k]].sum() for k in (0, 1)]
        dpo = -torch.log(torch.sigmoid(beta * (ratio[0] - ratio[1])))
        loss = loss + (dpo - nll_weight * logprobs[0][trained[0]].mean()) / len(rows)
    loss.backward()
    return loss.item(), gradients(model)


def flat_reward(base, rows, *, isolate=True):
    from transformers import AutoModel

    chat = load_chat(base.path)
    body = AutoModel.from_pretrained(base.path, dtype=torch.float64, attn_implementation="eager").eval()
    head = torch.linspace(-1, 1, body.config.hidden_size, dtype=torch.float64).requires_grad_()
    loss = 0.0
    for row in rows:
        scores = {}
        before = chat.encode_prompt(row.context)
        for rank in encode_ranking(chat, row).ranks:  # the shuffled order matters only where answers see each other
            ids = chat.encode(row.context, row.candidates[rank].messages).ids
            ids = ids if isolate else (*before, *ids[len(chat.encode_prompt(row.context)) :])
            before = before if isolate else ids
            scores[rank] = body(input_ids=torch.tensor([ids])).last_hidden_state[0, -1] @ head
        scores = [scores[rank] for rank in sorted(scores)]
        pairs = [-torch.log(torch.sigmoid(a - b)) for a, b in itertools.combinations(scores, 2)]
        loss = loss + sum(pairs) / len(pairs) / len(rows)
    loss.backward()
    found = {f"model.{n}": g for n, g in gradients(body).items()}
    return loss.item(), {**found, "score.weight": head.grad[None]}


def agree(first, second, tolerance=1e-6):
    assert first[0] == pytest.approx(second[0], rel=tolerance)
    assert set(first[1]) == set(second[1])
    for name, gradient in first[1].items():
        assert gradient.norm() > 0, name
        assert (gradient.double() - second[1][name]).norm() <= tolerance * second[1][name].norm(), name


def whole(examples):
    return [examples]


PRECISIONS = pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-6), ("float32", 1e-4)])


@PRECISIONS
def test_sft_agrees_with_the_flat_implementation(base, dtype, tolerance):
    product = mine(base, Imitation(), demonstrations(), split=whole, dtype=dtype)
    agree(product, flat_sft(base, demonstrations()), tolerance)


@PRECISIONS
def test_dpo_agrees_with_the_flat_implementation(base, other, dtype, tolerance):
    method = dpo(0.2, reference=other)
    product = mine(base, method, preferences(), split=whole, dtype=dtype)
    agree(product, flat_dpo(base, other, preferences(), 0.1, 0.2), tolerance)


@PRECISIONS
def test_reward_agrees_with_the_flat_implementation(base, dtype, tolerance):
    product = mine(base, Ranking(), preferences(), split=whole, dtype=dtype)
    agree(product, flat_reward(base, preferences()), tolerance)


def test_a_row_read_as_one_causal_run_agrees_too_and_differs_from_isolation(base):
    rows = preferences()
    product = mine(base, Ranking(isolate=False), rows, split=whole)
    # transformers' norms and rotary angles are float32 in any dtype; longer rows gather more of their rounding
    agree(product, flat_reward(base, rows, isolate=False), 1e-5)
    assert abs(product[0] - flat_reward(base, rows)[0]) > 1e-3


SPLITS = {
    "one by one": lambda examples: [[e] for e in examples],
    "reversed halves": lambda examples: [examples[5:][::-1], examples[:5][::-1]],
    "packs of 150 tokens": lambda examples: list(packs(examples, budget=150)),
}


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("share", [True, False], ids=["shared", "repeated"])
@pytest.mark.parametrize("name", ["sft", "reward", "dpo"])
def test_every_split_gives_the_same_loss_and_gradient(base, other, name, share, split):
    make = {
        "sft": Imitation,
        "reward": Ranking,
        "dpo": lambda: dpo(0.2, reference=other),
    }[name]
    rows = demonstrations() if name == "sft" else preferences()
    agree(mine(base, make(), rows, split=split, share=share), mine(base, make(), rows, split=whole))


def test_at_the_reference_dpo_costs_ln_2_and_a_fifth_of_the_nll(base):
    chat = load_chat(base.path)
    loss, _ = mine(base, dpo(0.2), preferences(), split=whole)
    model, nll = eager(base), 0.0
    with torch.no_grad():
        for row in preferences():
            logprobs, trained, _ = padded_logprobs(model, [chat.encode(row.context, row.candidates[0].messages)])
            nll -= logprobs[trained].mean().item() / 10
    assert loss == pytest.approx(0.6931471805599453 + 0.2 * nll, rel=1e-9)


def test_equal_answers_give_no_dpo_gradient(base):
    from burnish.records import Candidate, Preference

    rows = [
        Preference(
            prompt=r.prompt,
            context=r.context,
            candidates=(
                Candidate(role="chosen", messages=r.candidates[0].messages),
                Candidate(role="rejected", messages=r.candidates[0].messages),
            ),
        )
        for r in preferences(4)
    ]
    _, none = mine(base, dpo(0.0), rows, split=whole)
    _, some = mine(base, dpo(0.0), preferences(4), split=whole)
    assert all(none[name].norm() < 1e-12 * some[name].norm() for name in some)
