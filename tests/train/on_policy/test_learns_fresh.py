"""The arithmetic of bench/learns_fresh.py: its start, its control, its larger teacher, and when a row holds."""

from __future__ import annotations

import json

import pytest
import torch
from bench import learns_fresh as bench
from bench.deepening import SILENT, deepen

from burnish import microworld
from burnish.chat import load_tokens
from burnish.errors import ModelError
from burnish.models import load_causal, save_model, tiny_model, tiny_model_folder, tiny_tokenizer
from burnish.records import Message, Response, Sampling
from burnish.runs import Compute, Run


def test_the_start_imitates_two_authors_on_other_tasks_than_those_of_the_rounds() -> None:
    shown, asked = bench.material(0)
    assert (len(shown), len(asked)) == (bench.SHOWN, bench.ASKED) and {p.ability for p in asked} == set(bench.ABILITIES)
    assert not {row.context for row in shown} & {prompt.messages for prompt in asked}
    words = ("Well, ", "Quick, ", "It is ", "Bueno, ", "Rápido, ", "Es ", "Also, ", "Schnell, ", "Das ist ")
    careless = sum(row.response[0].content.startswith(words) for row in shown) / len(shown)
    assert careless == pytest.approx(bench.CARELESS, abs=0.06)
    assert bench.material(0) == (shown, asked) != bench.material(1)


def test_a_deepened_model_is_a_plain_folder_begins_as_the_same_function_and_can_learn(tmp_path) -> None:
    base = tiny_model_folder(tmp_path / "base", layers=3)
    with Run(tmp_path / "run", compute=Compute(threads=1)) as run:
        larger = run.step("larger", deepen, base)
    small, large = load_causal(base), load_causal(larger)
    assert (small.config.num_hidden_layers, large.config.num_hidden_layers) == (3, 6)
    assert load_tokens(larger.path).vocabulary == load_tokens(base.path).vocabulary
    ids = torch.arange(40)[None]
    assert torch.equal(large(ids).logits, small(ids).logits)
    large(ids).logits.logsumexp(-1).sum().backward()
    for name in SILENT:
        weights = [layer.get_parameter(name) for layer in large.model.layers]
        assert [bool(w.any()) for w in weights] == [True, False] * 3 and all(w.grad.any() for w in weights)


def test_deepening_refuses_a_model_whose_layers_add_something_else(tmp_path) -> None:
    tiny_tokenizer(tmp_path / "base")
    base = save_model(tiny_model(attention_bias=True), tmp_path / "base")
    loud = load_causal(base)
    with torch.no_grad():
        for layer in loud.model.layers:
            layer.self_attn.o_proj.bias.fill_(0.5)
    base = save_model(loud, tmp_path / "loud", tokenizer_from=tmp_path / "base")
    with Run(tmp_path / "run", compute=Compute(threads=1)) as run, pytest.raises(ModelError, match="add nothing"):
        run.step("larger", deepen, base)


def answers(round_: int):
    """To four prompts, two right answers and two wrong ones each."""
    asked = microworld.prompts("train", 4, seed=0, families=bench.ABILITIES)
    found = []
    for prompt in asked:
        right = json.loads(prompt.reference)["answer"]
        for index, text in enumerate((right, "Who knows?", right, "No.")):
            how = {"model": f"m@{round_}", "sampling": Sampling(temperature=1.0, max_new_tokens=8), "index": index}
            found.append(Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),), **how))
    return {p.id: p for p in asked}, found


def test_the_control_deals_out_the_same_rewards_and_tells_the_truth_beside_them() -> None:
    prompts, given = answers(0)
    truth = [reward.value for reward in bench.checked().rewards(prompts, given)]
    assert truth == [1.0, 0.0] * 8
    dealt = bench.Shuffled(seed=0).rewards(prompts, given)
    values = [reward.value for reward in dealt]
    assert sorted(values) == sorted(truth) and values != truth
    assert [reward.parts["checker"] for reward in dealt] == truth
    assert values == [reward.value for reward in bench.Shuffled(seed=0).rewards(prompts, given)]
    assert values != [reward.value for reward in bench.Shuffled(seed=1).rewards(prompts, given)]
    assert values != [reward.value for reward in bench.Shuffled(seed=0).rewards(*answers(1))]


def found(before: list[float], after: list[float], **more):
    sides = (bench.Marks(greedy=dict(enumerate(s)), drawn=dict(enumerate(s)), answers={}) for s in (before, after))
    return bench.Found(**dict(zip(("before", "after"), sides, strict=True)), **more)


HALF, MORE = [0.0, 1.0] * 50, [0.0, 1.0] * 45 + [1.0] * 10  # 5 points more


@pytest.mark.parametrize(
    ("kind", "moves", "more", "holds"),
    [
        ("grpo", [(HALF, MORE), (HALF, MORE)], {}, True),
        ("grpo", [(HALF, MORE), (HALF, HALF)], {}, False),
        ("grpo", [(HALF, MORE)], {"seconds": 301.0}, False),
        ("grpo", [(HALF, MORE)], {"short": ["KL is above it"]}, False),
        ("distill", [(HALF, MORE)], {}, True),
        ("distill", [(HALF, HALF)], {}, False),
        ("shuffled", [(HALF, HALF)], {}, True),
        ("shuffled", [(MORE, HALF)], {}, True),
        ("shuffled", [(HALF, MORE)], {}, False),
        ("flawed", [(HALF, MORE)], {}, False),
    ],
)
def test_when_a_row_holds(kind, moves, more, holds) -> None:
    row = bench.row_of(kind, [found(*sides, **more) for sides in moves])
    assert row["holds"] is holds
    assert row["value"] == pytest.approx(100 * sum(sum(b) - sum(a) for a, b in moves) / 100 / len(moves))
