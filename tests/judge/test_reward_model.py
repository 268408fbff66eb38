"""A reward model as a judge: shared, journaled and packed scores equal those of separate rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from burnish.chat import load_chat
from burnish.errors import DataError, ModelError
from burnish.judge import RewardModel, pair_accuracy, reward_model, score_responses, wilson
from burnish.models import load_reward, new_reward, save_model, tiny_model_folder
from burnish.records import Candidate, Message, Preference, Prompt, Response, Weights
from burnish.runs import Compute, Run, stop_workers

torch.set_num_threads(1)
SPECIALS = ("<|begin|>", "<|end|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
ROOM = 200


@pytest.fixture(scope="module")
def reward(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    folder = tmp_path_factory.mktemp("reward")
    base = tiny_model_folder(folder / "base", "llama", specials=SPECIALS, scale=6.0, max_position_embeddings=ROOM)
    model = new_reward(base, seed=1)
    return save_model(model, folder / "model", tokenizer_from=base, pad_id=258)


def said(text: str, role: str = "assistant") -> tuple[Message, ...]:
    return (Message(role=role, content=text),)


PROMPTS = [Prompt(messages=said("q" * (3 + 5 * i), "user"), source=str(i)) for i in range(6)]
RESPONSES = [
    Response(prompt=p.id, messages=said("answer " + "ab" * (i + 3 * k)), index=k, parents=(p.id,))
    for i, p in enumerate(PROMPTS)
    for k in range(3)
][::-1]


class Bench:
    """`protocols.Work` in memory."""

    def __init__(self) -> None:
        self.entries: dict[str, str] = {}
        self.journal, self.said = self, []

    def get(self, key: str) -> Any:
        return json.loads(self.entries[key]) if key in self.entries else None

    def put(self, key: str, value: Any) -> None:
        self.entries[key] = json.dumps(value, allow_nan=False)

    def progress(self, done: int, total: int, note: str = "") -> None:
        self.said.append((done, total))


def reference(reward: Weights, context: tuple[Message, ...], response: tuple[Message, ...]) -> float:
    """One row alone through `AutoModelForSequenceClassification`."""
    model = load_reward(reward)
    ids = load_chat(reward.path, format="chatml").encode(context, response).ids
    with torch.no_grad():
        return float(model(torch.tensor([ids])).logits[0, 0])


def test_scores_equal_separate_rows(reward: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_model, "PACK_TOKENS", 300)  # several packs, several rows a pack
    judge = RewardModel(reward, "chatml")
    rows = judge.judge(PROMPTS, RESPONSES)
    contexts = {p.id: p.messages for p in PROMPTS}
    for response, row in zip(RESPONSES, rows, strict=True):
        assert row.responses == (response.id,) == row.parents and row.prompt == response.prompt
        assert row.judge == f"reward-model:{reward.id}" and not row.unscored
        assert abs(row.score - reference(reward, contexts[response.prompt], response.messages)) < 1e-4
    assert len({round(row.score, 4) for row in rows}) == len(rows)


def test_what_cannot_be_scored_is_unscored_with_the_reason(reward: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    long = Response(prompt=PROMPTS[0].id, messages=said("w" * ROOM))
    empty = Response(prompt=PROMPTS[0].id, messages=())
    mine = [RESPONSES[-1], long, empty]
    judge = RewardModel(reward, "chatml")
    good, over, none = judge.judge(PROMPTS, mine)
    assert good.score is not None and over.score is None and over.unscored.startswith("longer than the context: ")
    assert none.score is None and none.unscored.startswith("cannot be encoded: ")
    monkeypatch.setattr(reward_model, "RewardModel", lambda weights, mix: judge)
    outcome = score_responses(PROMPTS, mine, reward=reward)
    assert outcome.counts() == {
        "taken": 3, "kept": 1, "dropped": {}, "unscored": {"cannot be encoded": 1, "longer than the context": 1}
    }  # fmt: skip
    assert outcome.dropped[0].parents == (long.id,) and "200" in outcome.dropped[0].detail
    monkeypatch.setattr(reward_model, "score_pack", lambda weights, pack, mix: [float("nan")])
    work = Bench()
    for _ in range(2):  # fresh, and read back from the journal
        assert judge.judge(PROMPTS, mine[:1], work=work)[0].unscored == reward_model.NOT_FINITE


def test_a_killed_scoring_goes_on_bitwise(reward: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reward_model, "PACK_TOKENS", 200)
    judge, work = RewardModel(reward, "chatml"), Bench()
    whole = judge.judge(PROMPTS, RESPONSES, work=work)
    keys = list(work.entries)
    assert len(keys) > 3 and work.said[-1] == (len(keys), len(keys))
    for key in keys[::2]:
        del work.entries[key]
    again = judge.judge(PROMPTS, RESPONSES, work=work)
    assert again == whole and sorted(work.entries) == sorted(keys)


def chat_reward(reward: Weights, folder: Path) -> Weights:
    """The same weights with a template in their tokenizer, as trained models have one."""
    import shutil

    from burnish.records import weights_in

    shutil.copytree(reward.path, folder)
    template = (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\\n' + m.content + '<|im_end|>' + '\\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
    )
    (folder / "chat_template.jinja").write_text(template)
    return weights_in(folder)


def test_workers_change_nothing(reward: Weights, tmp_path: Path) -> None:
    weights = chat_reward(reward, tmp_path / "model")
    many = [Response(prompt=p.id, messages=said("ab" * k), index=k) for p in PROMPTS for k in range(1, 70)]
    found = []
    try:
        for workers in (1, 2):
            with Run(tmp_path / f"run-{workers}", compute=Compute(workers=workers)) as run:
                rows = run.step("rewards", score_responses, PROMPTS, many, reward=weights)
                found.append([(row.responses, row.score) for row in rows.load()])
    finally:
        stop_workers()
    assert found[0] == found[1] and len(found[0]) == len(many)


def preference(number: int, texts: list[str], strength: int | None, roles: tuple[str, ...]) -> Preference:
    candidates = tuple(Candidate(role=r, messages=said(t)) for r, t in zip(roles, texts, strict=True))
    return Preference(prompt=str(number), context=said("q", "user"), candidates=candidates, strength=strength)


def test_pair_accuracy_counts_ties_and_strengths(monkeypatch: pytest.MonkeyPatch) -> None:
    """Against hand counts, with scores that are known: a text's score is its number."""

    class Known:
        def __init__(self, weights: Weights) -> None: ...

        def score(self, texts: list, *, work: Any = None) -> list[float | str]:
            found = [response[0].content for _, response in texts]
            return ["longer than the context: 9 tokens" if t == "long" else float(t) for t in found]

    monkeypatch.setattr("burnish.judge.pairs.RewardModel", Known)
    two, three = ("chosen", "rejected"), ("edited", "chosen", "rejected")
    rows = [
        preference(0, ["2", "1"], 4, two),
        preference(1, ["2", "1"], 4, two),
        preference(2, ["1", "2"], 3, two),
        preference(3, ["1", "1"], 3, two),
        preference(4, ["3", "2", "1"], 4, three),
        preference(5, ["0", "2", "long"], 1, three),
        preference(6, ["long", "1"], 2, two),
    ]
    outcome = pair_accuracy(rows, reward=Weights(path="x", id="r", kind="reward"))
    scores = {row.task: (row.value, row.n, row.unscored) for row in outcome.rows}
    assert scores == {
        "all": (5 / 8, 8, 3),
        "chosen > rejected": (3 / 5, 5, 2),
        "edited > chosen": (1 / 2, 2, 0),
        "edited > rejected": (1.0, 1, 1),
        "round 0": (0.625, 8, 3),
        "strength 1": (None, 0, 1),
        "strength 2": (None, 0, 1),
        "strength 3": (0.0, 2, 0),
        "strength 4": (1.0, 3, 0),
    }
    assert outcome.metrics["ties"]["all"] == 1 and outcome.metrics["accuracy"] == 5 / 8
    assert outcome.metrics["by_strength"]["strength 4"] == 1.0
    assert outcome.metrics["by_round"] == {"round 0": 0.625}
    assert (outcome.rows[0].low, outcome.rows[0].high) == wilson(5, 8) and outcome.rows[0].model == "r"
    assert outcome.counts() == {"taken": 7, "kept": 6, "dropped": {}, "unscored": {"longer than the context": 1}}


def test_what_is_no_reward_model_and_what_has_no_prompt(reward: Weights) -> None:
    with pytest.raises(ModelError, match="without a reward head"):
        RewardModel(Weights(path="x", id="y"))
    with pytest.raises(DataError, match="not among the prompts"):
        RewardModel(reward, "chatml").judge(PROMPTS[:1], RESPONSES)
