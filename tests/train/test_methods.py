"""Each method against a flat second implementation and under every split; what it refuses, by row and with the fix.

The second implementation is that of `test_whole_step`: padded, eager, full logits, each answer with its prompt alone.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from burnish.chat import load_chat
from burnish.errors import DataError, ModelError, SettingsError
from burnish.models import load_causal, new_reward, prepare, save_model
from burnish.records import Attribute, Demonstration, Preference, Step
from burnish.train import METHODS, Example, encode_all, train_rows
from burnish.train.objectives import Method
from tests.train.material import (
    LOOP,
    demonstrations,
    folders,
    make_model,
    preferences,
    rated_demonstrations,
    rated_preferences,
    said,
)
from tests.train.test_whole_step import SPLITS, agree, eager, gradients, padded_logprobs, place_of, whole

COUNT = 8  # rows of a batch
ELSEWHERE = {"distill", "pretrain"}  # tests/train/test_distillation.py, test_pretraining.py


@dataclass
class World:
    """A policy and another model for its reference, each loaded once."""

    policy: Any
    reference: Any
    loaded: dict[tuple[str, int], torch.nn.Module] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.chat = load_chat(self.policy.path)

    def packed(self, method: Method) -> torch.nn.Module:
        """The product's model, without gradients; a reward head is set to `head`."""
        kind = (method.kind, method.heads)
        if kind not in self.loaded:
            if method.kind == "causal":
                model = load_causal(self.policy, dtype="float64")
            else:
                model = new_reward(self.policy, dtype="float64", heads=method.heads)
                with torch.no_grad():
                    model.score.weight.copy_(head(method.heads, model.config.hidden_size))
            assert prepare(model) is None
            self.loaded[kind] = model
        self.loaded[kind].zero_grad(set_to_none=True)
        return self.loaded[kind]


def head(heads: int, width: int) -> Tensor:
    """Small, so that no sigmoid is saturated."""
    return torch.linspace(-0.2, 0.2, heads * width, dtype=torch.float64).sin().view(heads, width)


@dataclass
class Product:
    """What the engine found on a whole batch: `found` is its loss and its gradient."""

    found: tuple[float, dict[str, Tensor]]
    sums: dict[str, float]
    method: Method
    examples: list[Example]


def product(world: World, name: str, settings: dict[str, Any], rows: list[Any], *, split=whole, step=0) -> Product:
    """One optimiser batch as the session plays it: encode, measure beforehand, begin, and the parts of a split."""
    known = METHODS[name]
    method = known.build(known.settings(**settings))
    if hasattr(method, "reference"):
        method.reference = world.reference
    model = world.packed(method)
    examples, lost = encode_all(method.encode, world.chat, rows, max_length=256, refuse_above=0.0)
    assert not lost
    method.before(model, examples, place_of(world.policy, world.chat, "float64"))
    method.begin(model, examples, step)
    units, total, sums = method.units(examples), 0.0, {}
    for part in split(examples):
        loss, counted = method.part(model, part, units)
        loss.backward()
        total += loss.item()
        for key, value in counted.items():
            sums[key] = sums.get(key, 0.0) + value.item()
    return Product((total, gradients(model)), sums, method, examples)


@dataclass
class Answer:
    """[N] over an answer's trained tokens: log p, the same less the reference's, and which are formatting."""

    logprobs: Tensor
    ratios: Tensor
    formatting: Tensor

    def ratio(self, *, masked: bool, mean: bool = False) -> Tensor:
        kept = self.ratios[~self.formatting] if masked else self.ratios
        return kept.mean() if mean else kept.sum()


def answers(world: World, model: torch.nn.Module, dialogues: list[tuple[Any, Any]]) -> list[Answer]:
    encoded = [world.chat.encode(context, response) for context, response in dialogues]
    logprobs, trained, formatting = padded_logprobs(model, encoded)
    with torch.no_grad():
        old, _, _ = padded_logprobs(eager(world.reference), encoded)
    return [Answer(p[t], (p - o)[t], f[t]) for p, o, t, f in zip(logprobs, old, trained, formatting, strict=True)]


def backward(model: torch.nn.Module, loss: Tensor) -> tuple[float, dict[str, Tensor]]:
    loss.backward()
    return loss.item(), gradients(model)


def log_sigmoid(value: Tensor) -> Tensor:
    return torch.log(torch.sigmoid(value))


def flat_sequences(world: World, rows: list[Demonstration], _: Product) -> tuple[float, dict[str, Tensor]]:
    model = eager(world.policy)
    said_here = answers(world, model, [(row.context, row.response) for row in rows])
    return backward(model, -sum(a.logprobs.mean() for a in said_here) / len(rows))


def flat_tokens(world: World, rows: list[Demonstration], _: Product) -> tuple[float, dict[str, Tensor]]:
    model = eager(world.policy)
    said_here = answers(world, model, [(row.context, row.response) for row in rows])
    return backward(model, -torch.cat([a.logprobs for a in said_here]).mean())


def flat_pairs(loss: Callable[[Answer, Answer, Preference], Tensor]) -> Callable[..., Any]:
    """The mean over rows of a loss of the best answer, the worst, and the row."""

    def flat(world: World, rows: list[Preference], _: Product) -> tuple[float, dict[str, Tensor]]:
        model, total = eager(world.policy), 0.0
        for row in rows:
            pair = [(row.context, row.candidates[place].messages) for place in (0, -1)]
            total = total + loss(*answers(world, model, pair), row) / len(rows)
        return backward(model, total)

    return flat


def gap(chosen: Answer, rejected: Answer, *, masked: bool, mean: bool = False) -> Tensor:
    return chosen.ratio(masked=masked, mean=mean) - rejected.ratio(masked=masked, mean=mean)


def flat_cdpo(chosen: Answer, rejected: Answer, _: Preference) -> Tensor:
    a = 0.03 * gap(chosen, rejected, masked=True)
    return -0.8 * log_sigmoid(a) - 0.2 * log_sigmoid(-a) - 0.3 * chosen.logprobs.mean()


def flat_dpo_sft(summed: bool, mean: bool) -> Callable[..., Tensor]:
    def loss(chosen: Answer, rejected: Answer, _: Preference) -> Tensor:
        a = 0.04 * gap(chosen, rejected, masked=False, mean=mean)
        return -log_sigmoid(a) - 0.01 * (chosen.logprobs.sum() if summed else chosen.logprobs.mean())

    return loss


def flat_ipo(masked: bool, mean: bool) -> Callable[..., Tensor]:
    return lambda chosen, rejected, _: (gap(chosen, rejected, masked=masked, mean=mean) - 1 / (2 * 0.3)) ** 2


def flat_critique(chosen: Answer, rejected: Answer, _: Preference) -> Tensor:
    return -0.7 * log_sigmoid(0.05 * gap(chosen, rejected, masked=False)) - 1.3 * chosen.logprobs.mean()


def flat_rpo(distance: str) -> Callable[..., Tensor]:
    def kl(first: Tensor, second: Tensor) -> Tensor:
        """Of Bernoulli(sigmoid(first)) from Bernoulli(sigmoid(second))."""
        p, q = torch.sigmoid(first), torch.sigmoid(second)
        return p * torch.log(p / q) + (1 - p) * torch.log((1 - p) / (1 - q))

    def loss(chosen: Answer, rejected: Answer, row: Preference) -> Tensor:
        a = 0.03 * gap(chosen, rejected, masked=False)
        b = torch.tensor(0.4 * (row.candidates[0].score - row.candidates[-1].score), dtype=torch.float64)
        apart = {"backward": lambda: kl(b, a), "forward": lambda: kl(a, b), "squared": lambda: (a - b) ** 2}
        return apart[distance]() - 0.02 * chosen.logprobs.sum()

    return loss


def flat_kto(masked: bool) -> Callable[..., Any]:
    def flat(world: World, rows: list[Demonstration], ours: Product) -> tuple[float, dict[str, Tensor]]:
        model, by_id = eager(world.policy), {row.id: row for row in rows}
        named = [other.id.split(" beside ") for other in ours.method.strangers.values()]
        beside = [(by_id[one].context, by_id[other].response) for one, other in named]
        z0 = sum(a.ratio(masked=masked).item() for a in answers(world, model, beside)) / len(rows)
        total = 0.0
        for row, said_here in zip(rows, answers(world, model, [(r.context, r.response) for r in rows]), strict=True):
            side, weight = (1, 1.5) if row.score > 0.5 else (-1, 0.6)
            u = 0.1 * side * (said_here.ratio(masked=masked) - max(z0, 0.0))
            total = total + weight * (1 - torch.sigmoid(u)) / len(rows)
        assert ours.method.z0.item() == pytest.approx(z0, rel=1e-6)
        return backward(model, total)

    return flat


def flat_rewards(loss: Callable[[list[Tensor], Any], Tensor], heads: int = 1) -> Callable[..., Any]:
    """The sum over rows of a loss of the scores of its answers, best first, each read with its prompt alone."""
    return flat_states(lambda _, scores, row: loss(scores, row), heads)


def flat_states(loss: Callable[[list[Tensor], list[Tensor], Any], Tensor], heads: int = 1) -> Callable[..., Any]:
    """The same, of a loss that sees the answers' last hidden states too."""

    def flat(world: World, rows: list[Any], _: Product) -> tuple[float, dict[str, Tensor]]:
        from transformers import AutoModel

        body = AutoModel.from_pretrained(world.policy.path, dtype=torch.float64, attn_implementation="eager").eval()
        weight, total = head(heads, body.config.hidden_size).requires_grad_(), 0.0
        for row in rows:
            texts = [c.messages for c in row.candidates] if isinstance(row, Preference) else [row.response]
            ids = [torch.tensor([world.chat.encode(row.context, text).ids]) for text in texts]
            states = [body(input_ids=one).last_hidden_state[0, -1] for one in ids]
            total = total + loss(states, [weight @ state for state in states], row)
        value, gradient = backward(body, total)
        return value, {**{f"model.{name}": g for name, g in gradient.items()}, "score.weight": weight.grad}

    return flat


def flat_ranking(of_pair: Callable[[Tensor, Tensor, Preference, int, int], Tensor]) -> Callable[..., Any]:
    """The mean over rows of the mean over their ordered pairs; a pair's loss sees both scores and both places."""

    def loss(scores: list[Tensor], row: Preference) -> Tensor:
        pairs = list(itertools.combinations(range(len(scores)), 2))
        return sum(of_pair(scores[i][0], scores[j][0], row, i, j) for i, j in pairs) / len(pairs) / COUNT

    return flat_rewards(loss)


def flat_anchored(better: Tensor, worse: Tensor, row: Preference, i: int, j: int) -> Tensor:
    loss = -log_sigmoid(better - worse)
    for score, place in ((better, i), (worse, j)):
        if (given := row.candidates[place].score) is not None:
            loss = loss + 0.7 * (score - (given / 5 - 1)) ** 2
    return loss


def flat_soft(better: Tensor, worse: Tensor, row: Preference, *_: int) -> Tensor:
    p = {4: 0.95, 3: 0.85, 2: 0.75, 1: 0.65}[row.strength]
    return -p * log_sigmoid(better - worse) - (1 - p) * log_sigmoid(worse - better)


def flat_graded(world: World, rows: list[Preference], ours: Product) -> tuple[float, dict[str, Tensor]]:
    """`flat_soft` and 0.7 times the cross-entropies of the grades there are, in each pair that an answer stands in."""
    heads = {
        name: p.detach().clone().requires_grad_() for name, p in world.packed(ours.method).grades.named_parameters()
    }

    def grading(state: Tensor, candidate: Any) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for grade in candidate.grades:
            w0, b0, w2, b2 = (heads[f"{grade.name}.{part}"] for part in ("0.weight", "0.bias", "2.weight", "2.bias"))
            x = w0 @ state + b0
            logits = w2 @ (x * (1 + torch.erf(x / 2**0.5)) / 2) + b2
            total = total - logits[int(grade.value)] + torch.log(logits.exp().sum())
        return total

    def loss(states: list[Tensor], scores: list[Tensor], row: Preference) -> Tensor:
        pairs = list(itertools.combinations(range(len(scores)), 2))
        each = [grading(state, c) for state, c in zip(states, row.candidates, strict=True)]
        parts = [flat_soft(scores[i][0], scores[j][0], row) + 0.7 * (each[i] + each[j]) for i, j in pairs]
        return sum(parts) / len(pairs) / COUNT

    value, gradient = flat_states(loss)(world, rows, ours)
    return value, {**gradient, **{f"grades.{name}": weight.grad for name, weight in heads.items()}}


def flat_attributes(scores: list[Tensor], row: Demonstration) -> Tensor:
    labels = sum(len(r.attributes) for r in rated_demonstrations(COUNT))
    given = {attribute.name: attribute.value for attribute in row.attributes}
    errors = [(scores[0][place] - given[n]) ** 2 for place, n in enumerate(("helpfulness", "verbosity")) if n in given]
    return sum(errors) / labels


def flat_pointwise(scores: list[Tensor], row: Demonstration) -> Tensor:
    return -(row.score * log_sigmoid(scores[0][0]) + (1 - row.score) * log_sigmoid(-scores[0][0])) / COUNT


def flat_steps(world: World, rows: list[Demonstration], _: Product) -> tuple[float, dict[str, Tensor]]:
    """Each step's prefix is a sequence of its own, cut at the step's end in the text; one character is one token."""
    from transformers import AutoModel

    body = AutoModel.from_pretrained(world.policy.path, dtype=torch.float64, attn_implementation="eager").eval()
    weight, total, count = head(1, body.config.hidden_size).requires_grad_(), 0.0, 0
    for row in rows:
        ids, text = world.chat.encode(row.context, row.response).ids, row.response[-1].content
        start = len(ids) - len(text) - 2  # the answer ends with <|im_end|> and a line break
        for step in row.steps:
            if step.label is not None:
                state = body(input_ids=torch.tensor([ids[: start + step.end]])).last_hidden_state[0, -1]
                z = weight[0] @ state
                total = total - step.label * log_sigmoid(z) - (1 - step.label) * log_sigmoid(-z)
                count += 1
    value, gradient = backward(body, total / count)
    return value, {**{f"model.{name}": g for name, g in gradient.items()}, "score.weight": weight.grad}


def partly_scored() -> list[Preference]:
    """Every second row lacks the score of its worst answer, and one row has none at all."""
    rows = rated_preferences(COUNT)
    for at, gone in ((0, (-1,)), (2, (-1,)), (3, (0, 1, 2)), (4, (-1,))):
        answers_here = list(rows[at].candidates)
        for place in gone:
            answers_here[place] = replace(answers_here[place], score=None)
        rows[at] = replace(rows[at], id="", candidates=tuple(answers_here))
    return rows


def softly_labelled() -> list[Demonstration]:
    return [replace(row, id="", score=(0.0, 1.0, 0.3)[i % 3]) for i, row in enumerate(demonstrations(COUNT))]


@dataclass
class Case:
    """A method with settings that are not its defaults, its rows, and the flat implementation."""

    name: str
    settings: dict[str, Any]
    rows: list[Any]
    flat: Callable[..., tuple[float, dict[str, Tensor]]]


PAIRS, SINGLES = rated_preferences(COUNT), rated_demonstrations(COUNT)
KTO = {"beta": 0.1, "desirable_weight": 1.5, "undesirable_weight": 0.6}
RPO = {"beta": 0.03, "eta": 0.4, "sft_weight": 0.02}
CASES = {
    "sft-token": Case("sft", {"noise": 0.0}, SINGLES, flat_tokens),
    "sft-sequence": Case("sft", {"weighting": "sequence"}, SINGLES, flat_sequences),
    "reward": Case("reward", {}, PAIRS, flat_ranking(lambda a, b, *_: -log_sigmoid(a - b))),
    "reward-margin": Case(
        "reward", {"margin": True}, PAIRS, flat_ranking(lambda a, b, row, *_: -log_sigmoid(a - b - row.margin))
    ),
    "reward-penalty": Case(
        "reward", {"penalty": 0.7}, PAIRS, flat_ranking(lambda a, b, *_: -log_sigmoid(a - b) + 0.7 * (a**2 + b**2))
    ),
    "reward-soft": Case("reward-soft", {"grade_weight": 0.0}, PAIRS, flat_ranking(flat_soft)),
    "reward-soft, graded": Case("reward-soft", {"grade_weight": 0.7}, PAIRS, flat_graded),
    "reward-anchored": Case(
        "reward-anchored", {"alpha": 0.7, "low": 0.0, "high": 10.0}, partly_scored(), flat_ranking(flat_anchored)
    ),
    "reward-attributes": Case(
        "reward-attributes", {"names": ("helpfulness", "verbosity")}, SINGLES, flat_rewards(flat_attributes, heads=2)
    ),
    "reward-pointwise": Case("reward-pointwise", {}, softly_labelled(), flat_rewards(flat_pointwise)),
    "reward-steps": Case("reward-steps", {}, SINGLES, flat_steps),
    "ipo": Case("ipo", {"beta": 0.3}, PAIRS, flat_pairs(flat_ipo(masked=False, mean=True))),
    "ipo-sums": Case(
        "ipo",
        {"beta": 0.3, "normalise": False, "mask_formatting": True},
        PAIRS,
        flat_pairs(flat_ipo(masked=True, mean=False)),
    ),
    "critique-dpo": Case(
        "critique-dpo", {"beta": 0.05, "dpo_weight": 0.7, "ce_weight": 1.3}, PAIRS, flat_pairs(flat_critique)
    ),
    "cdpo": Case("dpo", {"beta": 0.03, "nll_weight": 0.3, "label_smoothing": 0.2}, PAIRS, flat_pairs(flat_cdpo)),
    "dpo-sft-sum": Case(
        "dpo",
        {"beta": 0.04, "nll_weight": 0.0, "sft_weight": 0.01, "mask_formatting": False},
        PAIRS,
        flat_pairs(flat_dpo_sft(summed=True, mean=False)),
    ),
    "dpo-sft-mean": Case(
        "dpo",
        {
            "beta": 0.04,
            "nll_weight": 0.0,
            "sft_weight": 0.01,
            "sft_sum": False,
            "normalise": True,
            "mask_formatting": False,
        },
        PAIRS,
        flat_pairs(flat_dpo_sft(summed=False, mean=True)),
    ),
    **{
        f"rpo-{distance}": Case("rpo", {**RPO, "distance": distance}, PAIRS, flat_pairs(flat_rpo(distance)))
        for distance in ("backward", "forward", "squared")
    },
    "kto": Case("kto", KTO, SINGLES, flat_kto(masked=False)),
    "kto-masked": Case("kto", {**KTO, "mask_formatting": True}, SINGLES, flat_kto(masked=True)),
}


@pytest.fixture(scope="module")
def world(base, tmp_path_factory) -> World:
    return World(base, make_model(tmp_path_factory.mktemp("reference"), seed=9))


@pytest.fixture(scope="module")
def wholes(world) -> Callable[[str], Product]:
    """The product's answer to a case in one pack, found once."""
    kept: dict[str, Product] = {}

    def of(name: str) -> Product:
        case = CASES[name]
        if name not in kept:
            kept[name] = product(world, case.name, case.settings, case.rows)
        return kept[name]

    return of


@pytest.mark.parametrize("name", CASES)
def test_every_method_agrees_with_the_flat_implementation(world, wholes, name):
    case = CASES[name]
    agree(wholes(name).found, case.flat(world, case.rows, wholes(name)))


@pytest.mark.parametrize("split", SPLITS.values(), ids=SPLITS)
@pytest.mark.parametrize("name", CASES)
def test_every_split_gives_the_same_loss_gradient_and_sums(world, wholes, name, split):
    case = CASES[name]
    here = product(world, case.name, case.settings, case.rows, split=split)
    agree(here.found, wholes(name).found)
    assert here.sums == pytest.approx(wholes(name).sums, rel=1e-6, abs=1e-9)


def test_every_method_has_a_case():
    assert {case.name for case in CASES.values()} == set(METHODS) - ELSEWHERE


def test_settings_that_name_other_losses_give_other_losses(wholes):
    losses = {name: wholes(name).found[0] for name in CASES}
    assert len({round(loss, 6) for loss in losses.values()}) == len(CASES), losses


@pytest.mark.parametrize("name", CASES)
def test_the_loss_falls_in_a_toy_run(base, name):
    case = CASES[name]
    loop = LOOP | {"batch_rows": COUNT, "epochs": 8, "schedule": "constant"}
    told = train_rows(base, case.rows, method=case.name, **loop | case.settings).metrics
    assert told["steps"] == 8 and told["loss"] < 0.95 * told["first_loss"]


# KTO's reference point


def test_the_reference_point_counts_and_is_clamped_at_zero(world):
    """Swapping policy and reference turns its sign, and both ways agree with the flat implementation."""
    points = []
    for one in (world, World(world.reference, world.policy)):
        ours = product(one, "kto", KTO, SINGLES)
        agree(ours.found, flat_kto(masked=False)(one, SINGLES, ours))
        points.append(ours.method.z0.item())
    assert points[0] == pytest.approx(-points[1], rel=1e-6) and max(points) > 0.3


def test_every_prompt_has_the_answer_to_another_prompt_beside_it(world):
    """Also where rows that share a prompt are neighbours, and where the next answer does not fit into the context."""

    def row(asked: str, answer: str) -> Demonstration:
        return Demonstration(prompt="p", context=(said("user", asked),), response=(said("assistant", answer),), score=1)

    rows = [row(f"{i} + 2", f"{i + 2}" + "." * more) for i in range(3) for more in range(4)]
    rows += [row("x" * (190 + i), "y") for i in range(4)] + [row("x", "y" * (190 + i)) for i in range(4)]
    ours = product(world, "kto", KTO, rows)
    by_id = {row.id: row for row in rows}
    assert set(ours.method.strangers) == set(by_id)
    for other in ours.method.strangers.values():
        one, its = (by_id[name] for name in other.id.split(" beside "))
        assert one.context != its.context
        encoded = world.chat.encode(one.context, its.response)
        assert other.row.prompt + other.row.responses[0] == tuple(encoded.ids)
        assert other.trained.tolist() == list(encoded.trained[encoded.prompt_length :])
        assert other.tokens == len(encoded.ids) <= 256
    agree(ours.found, flat_kto(masked=False)(world, rows, ours))


def test_rows_that_leave_no_room_for_another_answer_train_without_a_reference_point(world):
    rows = [
        Demonstration(prompt="a", context=(said("user", "x" * 200),), response=(said("assistant", "y"),), score=1.0),
        Demonstration(prompt="b", context=(said("user", "x"),), response=(said("assistant", "y" * 200),), score=0.0),
    ]
    ours = product(world, "kto", KTO, rows)
    assert list(ours.method.strangers) == [rows[1].id]
    assert ours.method.z0.item() != 0
    ours.method.begin(world.packed(ours.method), [e for e in ours.examples if e.id == rows[0].id], 0)
    assert ours.method.z0.item() == 0


def test_the_reference_point_starts_at_zero_and_moves(base, tmp_path):
    work = folders(tmp_path)
    train_rows(base, rated_demonstrations(), method="kto", work=work, **LOOP | {"batch_rows": 10, "lr": 1e-2})
    first, second = (json.loads(line)["z0"] for line in (work.folder / "metrics.jsonl").read_text().splitlines())
    assert abs(first) < 1e-3 < abs(second)


# NEFTune's noise


def test_noise_0_is_no_noise_and_noise_is_the_same_under_every_split_of_its_step(world):
    def sft(split=whole, step=0, **settings):
        return product(world, "sft", settings, SINGLES, split=split, step=step)

    plain, quiet = sft(), sft(noise=0.0, step=5)
    assert plain.found[0] == quiet.found[0]
    assert all(torch.equal(gradient, quiet.found[1][name]) for name, gradient in plain.found[1].items())
    noisy = sft(noise=5.0, step=1)
    for split in SPLITS.values():
        agree(sft(split, noise=5.0, step=1).found, noisy.found)
    for other in (plain, sft(noise=5.0, step=2), sft(noise=5.0, step=1, seed=1), sft(noise=4.0, step=1)):
        assert abs(other.found[0] - noisy.found[0]) > 1e-3
        for name, gradient in noisy.found[1].items():
            assert (other.found[1][name] - gradient).norm() > 1e-3 * gradient.norm(), name


def test_the_loop_draws_new_noise_each_step(base):
    """Next to nothing is learned at this rate and each batch holds all rows: only the noise can move the loss."""
    loop = LOOP | {"batch_rows": 10, "epochs": 2, "lr": 1e-7}
    quiet = train_rows(base, demonstrations(), method="sft", **loop).metrics
    noisy = train_rows(base, demonstrations(), method="sft", noise=5.0, **loop).metrics
    assert quiet["loss"] == pytest.approx(quiet["first_loss"], abs=1e-3)
    assert abs(noisy["loss"] - noisy["first_loss"]) > 1e-2


# What is refused


def changed(rows: list[Any], at: int = 3, **changes: Any) -> list[Any]:
    rows[at] = replace(rows[at], id="", **changes)
    return rows


def scored(at: int, place: int, score: float | None) -> list[Preference]:
    rows = rated_preferences()
    answers_here = list(rows[at].candidates)
    answers_here[place] = replace(answers_here[place], score=score)
    return changed(rows, at, candidates=tuple(answers_here))


def graded(at: int, grade: Attribute) -> list[Preference]:
    rows = rated_preferences()
    answers_here = list(rows[at].candidates)
    answers_here[0] = replace(answers_here[0], grades=(grade,))
    return changed(rows, at, candidates=tuple(answers_here))


SCALE = {"low": 0.0, "high": 10.0}
LABELS = ("give a column label", "score")
BAD_ROWS = {
    "margin missing": ("reward", {"margin": True}, changed(rated_preferences(), margin=None), ("no margin", "give")),
    "margin negative": ("reward", {"margin": True}, changed(rated_preferences(), margin=-0.5), ("-0.5", "0 or more")),
    "strength missing": ("reward-soft", {}, changed(rated_preferences(), strength=None), ("level None", "1, 2, 3, 4")),
    "grade unknown": (
        "reward-soft",
        {},
        graded(3, Attribute(name="wit", value=1.0)),
        ("the grade wit = 1", "0, 1 or 2 for instruction_following"),
    ),
    "grade out of range": (
        "reward-soft",
        {},
        graded(3, Attribute(name="truthfulness", value=3.0)),
        ("the grade truthfulness = 3", "0, 1 or 2"),
    ),
    "strength unknown": ("reward-soft", {}, changed(rated_preferences(), strength=5), ("level 5", "1, 2, 3, 4")),
    "score too high": ("reward-anchored", SCALE, scored(3, 0, 10.5), ("10.5 is outside the scale", "mend the row")),
    "score too low": ("reward-anchored", SCALE, scored(3, -1, -1.0), ("-1 is outside the scale", "mend the row")),
    "no attribute": (
        "reward-attributes",
        {"names": ("helpfulness",)},
        changed([row for row in rated_demonstrations() if row.attributes[0].name == "helpfulness"], attributes=()),
        ("it has no attribute", "set names"),
    ),
    "other attributes": (
        "reward-attributes",
        {"names": ("helpfulness", "verbosity")},
        changed(rated_demonstrations(), attributes=(Attribute(name="wit", value=1.0),)),
        ("its attributes are wit", "set names"),
    ),
    "no steps": ("reward-steps", {}, changed(rated_demonstrations(), steps=()), ("no labelled step", "completions")),
    "no labelled step": (
        "reward-steps",
        {},
        changed(rated_demonstrations(), steps=(Step(end=1),)),
        ("no labelled step", "give the columns"),
    ),
    "step label": (
        "reward-steps",
        {},
        changed(rated_demonstrations(), steps=(Step(end=1, label=1.0), Step(end=2, label=2.0))),
        ("step 2 has the label 2", "0 to 1"),
    ),
    "no chosen reward": ("rpo", {}, scored(3, 0, None), ("no reward for an answer", "_score")),
    "no rejected reward": ("rpo", {}, scored(3, -1, None), ("no reward for an answer", "rejected_score")),
    **{
        f"{name}, label {label}": (name, {}, changed(rated_demonstrations(), score=label), (said_here, *LABELS))
        for name in ("reward-pointwise", "kto")
        for label, said_here in ((None, "no label"), (1.5, "the label 1.5"), (-1.0, "the label -1"))
    },
}


@pytest.mark.parametrize("what", BAD_ROWS)
def test_a_row_that_lacks_what_its_method_needs_is_named_with_the_fix(base, what):
    name, settings, rows, words = BAD_ROWS[what]
    with pytest.raises(DataError) as refused:
        train_rows(base, rows, method=name, **LOOP, **settings)
    for word in (f"row {rows[3].id}", *words):
        assert word in str(refused.value)


def test_equal_answers_are_dropped_and_counted(base):
    rows = rated_preferences()
    rows[3] = replace(
        rows[3],
        id="",
        candidates=tuple(replace(c, messages=rows[3].candidates[0].messages) for c in rows[3].candidates),
    )
    for name in ("reward", "reward-soft", "dpo", "rpo"):
        counts = train_rows(base, rows, method=name, refuse_above=0.1, **LOOP).counts()
        assert counts["dropped"] == {"equal answers": 1} and counts["kept"] == 9
        with pytest.raises(DataError, match=f"1 of 10 .* equal answers .*row {rows[3].id}"):
            train_rows(base, rows, method=name, refuse_above=0.05, **LOOP)


@pytest.mark.parametrize(
    ("name", "settings", "words"),
    [
        ("sft", {"weighting": "row"}, ("weighting is 'row'", "token, sequence")),
        ("sft", {"noise": -1.0}, ("noise is -1.0", "0 or more")),
        ("sfft", {}, ("no method 'sfft'", "sft, reward")),
        ("sft", {"epoch": 3}, ("no setting 'epoch'", "'epochs'")),
        ("reward", {"margin": True, "penalty": 0.1}, ("margin and penalty", "set one")),
        ("reward-anchored", {}, ("need a scale", "--set low=0 --set high=10")),
        ("reward-anchored", {"low": 0.0}, ("need a scale", "--set low=0 --set high=10")),
        ("reward-anchored", {"low": 10.0, "high": 0.0}, ("from 10.0 to 0.0 is empty", "low must be below high")),
        ("reward-soft", {"grade_weight": -0.1}, ("grade_weight is -0.1", "0 (no graded heads) or more")),
        ("rpo", {"distance": "sideways"}, ("distance is 'sideways'", "backward, forward, squared")),
        ("ipo", {"beta": 0.0}, ("beta is 0.0", "above 0")),
        ("dpo", {"label_smoothing": 1.5}, ("label_smoothing is 1.5", "from 0 to 1")),
    ],
)
def test_settings_that_make_no_sense_are_named_with_the_fix(base, name, settings, words):
    rows = SINGLES if name.startswith("sf") else PAIRS
    with pytest.raises(SettingsError) as refused:
        train_rows(base, rows, method=name, **LOOP, **settings)
    assert all(word in str(refused.value) for word in words), refused.value


def test_kto_on_one_prompt_has_no_reference_point(base):
    rows = [replace(row, id="", context=(said("user", "2 + 2"),)) for row in rated_demonstrations()]
    with pytest.raises(DataError, match=r"answers to other prompts.*give rows with several prompts"):
        train_rows(base, rows, method="kto", **LOOP)


@pytest.fixture(scope="module")
def judge(base, tmp_path_factory):
    place = tmp_path_factory.mktemp("judge")
    return save_model(new_reward(base), place, tokenizer_from=Path(base.path))


@pytest.mark.parametrize("name", ["sft", "dpo", "ipo", "critique-dpo", "rpo", "kto"])
def test_a_causal_method_refuses_a_reward_model(judge, name):
    rows = SINGLES if METHODS[name].noun is Demonstration else PAIRS
    with pytest.raises(ModelError, match=f"{judge.path} is a reward model; {name} trains a causal one"):
        train_rows(judge, rows, method=name, **LOOP)


def test_a_reward_model_goes_on_with_as_many_heads_as_it_has(judge, base, tmp_path):
    assert train_rows(judge, preferences(), method="reward", **LOOP).metrics["steps"] == 5
    five = train_rows(base, SINGLES, method="reward-attributes", work=folders(tmp_path), **LOOP).weights
    for start, name, rows in ((judge, "reward-attributes", SINGLES), (five, "reward", PAIRS)):
        with pytest.raises(ModelError, match=f"{start.path} gives an answer .* start from a reward model of the same"):
            train_rows(start, rows, method=name, **LOOP)
