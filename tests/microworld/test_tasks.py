"""Families, split, leaks and determinism of the microworld."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from random import Random

import pytest

from burnish.errors import SettingsError
from burnish.llm.local.styles import render
from burnish.microworld import FAMILIES, Dials, checkers, checks_known_truth, export_gsm8k, few_shot, prompts
from burnish.microworld.authors import SHARES, SHRUGS
from burnish.microworld.corpus import completion_text, document
from burnish.microworld.families import REGISTRY
from burnish.microworld.families.numbers import columns
from burnish.microworld.pretraining.loop import POOL, PretrainSettings
from burnish.microworld.prompting import response_to, tasks
from burnish.microworld.split import split_of
from burnish.records import Message, Prompt
from burnish.verify import final_number

# Wrong on purpose, per family: what a verifier must refuse for every task.
PLANTED = ("", " ", "?", "No idea, ask someone else.", "It is -1.", "I am sure.", "def f(x):\n    return", "12345")


@pytest.mark.parametrize("family", FAMILIES)
def test_verifier_accepts_every_reference_and_terse_answer(family):
    stream = tasks("train", family, seed=11)
    for _ in range(600):
        task = next(stream)
        assert REGISTRY[family].check(task.gold, task.answer) == "", task
        assert REGISTRY[family].check(task.gold, task.terse) == "", task


@pytest.mark.parametrize("family", FAMILIES)
def test_verifier_rejects_planted_answers_and_those_of_other_tasks(family):
    stream = tasks("train", family, seed=12)
    many = [next(stream) for _ in range(200)]
    for number, task in enumerate(many):
        for text in (*PLANTED, *SHRUGS.values()):
            assert REGISTRY[family].check(task.gold, text), (task, text)
        other = many[number - 1]
        if family in ("code", "steering", "records", "arithmetic") and other.gold != task.gold:
            assert REGISTRY[family].check(task.gold, other.answer)


@pytest.mark.parametrize("family", FAMILIES)
def test_careless_rules_fail_on_traps_and_only_there(family):
    stream = tasks("train", family, seed=13)
    many = [next(stream) for _ in range(400)]
    easy = [t for t in many if t.difficulty == 1.0]
    hasty = [not REGISTRY[family].check(t.gold, t.hasty) for t in many]
    assert 0.15 <= sum(hasty) / len(hasty) <= 0.45
    assert easy and all(not REGISTRY[family].check(t.gold, t.hasty) for t in easy)


@pytest.mark.parametrize("family", FAMILIES)
def test_family_has_five_thousand_tasks_and_short_texts(family):
    rng, keys, long = Random(3), set(), 0
    for _ in range(40_000):
        task = REGISTRY[family].draw(rng, Dials())
        keys.add(task.key)
        long += len(task.answer) > 110
        if len(keys) >= 5_000:
            break
    assert len(keys) >= 5_000
    assert long == 0


def test_columns_by_hand():
    assert columns(47, "+", 38, careless=False) == (["7+8=15", "4+3+1=8"], 85)
    assert columns(47, "+", 38, careless=True) == (["7+8=15", "4+3=7"], 75)
    assert columns(85, "-", 38, careless=False) == (["15-8=7", "8-1-3=4"], 47)
    assert columns(85, "-", 38, careless=True) == (["15-8=7", "8-3=5"], 57)
    assert columns(405, "-", 38, careless=False)[1] == 367
    rng = Random(0)
    for _ in range(2000):
        a, b = sorted((rng.randint(100, 99_999), rng.randint(1, 99)), reverse=True)
        assert columns(a, "+", b, careless=False)[1] == a + b
        assert columns(a, "-", b, careless=False)[1] == a - b


def test_split_is_by_key_alone_and_disjoint():
    train, heldout = prompts("train", 1000, seed=5), prompts("heldout", 700, seed=5)
    assert not {p.task for p in train} & {p.task for p in heldout}
    assert {split_of(p.task) for p in heldout} == {"heldout"}
    for rows in (train, heldout):
        assert len({p.task for p in rows}) == len(rows)
        counts = [sum(p.ability == family for p in rows) for family in FAMILIES]
        assert max(counts) - min(counts) == 0 and min(counts) >= 60
    assert {p.task.split("/")[0] for p in heldout if p.ability == "multilingual"} == {"arithmetic", "ordering"}


def test_heldout_tasks_do_not_occur_in_the_corpus_or_among_examples():
    heldout = {p.task for seed in range(3) for p in prompts("heldout", 1200, seed=seed)}
    settings = PretrainSettings()
    numbers = range(0, settings.pools * POOL, 13)  # every 13th document of the base's own corpus
    seen = {key for number in numbers for key in document(settings.seed, number).keys}
    assert len(seen) > 3000
    assert not seen & heldout
    for seed in range(20):
        assert not {row.source.split("few-shot/")[1] for row in few_shot(seed)} & heldout


def test_equal_across_processes_and_hash_seeds():
    code = (
        "from burnish.microworld import prompts, few_shot; from burnish.microworld.corpus import document;"
        "from burnish.records import content_id;"
        "print(content_id([prompts('heldout', 60, seed=3), few_shot(1), document(20, 7).text]))"
    )
    seen = set()
    for hash_seed in ("0", "1234"):
        env = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
        seen.add(done.stdout)
    assert len(seen) == 1


def test_prompts_depend_on_the_seed_and_carry_their_provenance():
    first, again, other = (prompts("train", 40, seed=seed) for seed in (1, 1, 2))
    assert first == again and first != other
    for prompt in first:
        assert prompt.checker in checkers() and prompt.source == "microworld/train/1"
        assert checks_known_truth(prompt) and prompt.difficulty in (1.0, 2.0, 3.0) and prompt.tags
        gold = json.loads(prompt.reference)["answer"]
        assert checkers()[prompt.checker].check(prompt, response_to(prompt, gold)).correct is True


def test_checker_leaves_a_foreign_reference_unscored():
    foreign = Prompt(messages=(Message(role="user", content="?"),), checker="microworld/arithmetic", reference="42")
    assert checkers()["microworld/arithmetic"].check(foreign, response_to(foreign, "42")).correct is None
    assert not checks_known_truth(foreign)


def test_unknown_names_are_refused_with_the_choices():
    with pytest.raises(SettingsError, match="arithmetic"):
        prompts("train", 1, seed=0, families=["arithmetics"])
    with pytest.raises(SettingsError, match="heldout"):
        prompts("test", 1, seed=0)
    with pytest.raises(SettingsError, match="no fresh task left"):
        prompts("heldout", 5_000, seed=0, families=["facts"])


def test_dials_turn():
    long = prompts("train", 4, seed=1, families=["records"], dials=Dials(records=(100, 110)))
    assert all(len(p.messages[0].content.split()) > 250 for p in long)
    spanish = prompts("train", 20, seed=1, families=["multilingual"], dials=Dials(languages=("es",)))
    assert {p.language for p in spanish} == {"es"}
    easy = prompts("train", 30, seed=1, families=["arithmetic"], dials=Dials(traps=0.0, hard=0.0))
    assert {p.difficulty for p in easy} == {1.0}
    big = prompts("train", 5, seed=1, families=["arithmetic"], dials=Dials(digits=4))
    for prompt in big:
        answer = json.loads(prompt.reference)
        assert final_number(answer["answer"]) == answer["number"]


def test_language_of_the_answer_counts():
    (prompt,) = prompts("train", 1, seed=4, families=["multilingual"], dials=Dials(languages=("de",)))
    checker, gold = checkers()[prompt.checker], json.loads(prompt.reference)
    said = gold.get("number", gold.get("name"))
    assert checker.check(prompt, response_to(prompt, f"Die Antwort ist {said}.")).correct
    assert not checker.check(prompt, response_to(prompt, f"The answer is {said}.")).correct


def test_export_in_gsm8k_form(tmp_path):
    rows = prompts("heldout", 30, seed=2, families=["arithmetic"])
    assert export_gsm8k(rows, tmp_path / "rows.jsonl") == 30
    for prompt, line in zip(rows, (tmp_path / "rows.jsonl").read_text().splitlines(), strict=True):
        row = json.loads(line)
        assert set(row) == {"question", "answer"} and row["question"] == prompt.messages[-1].content
        assert final_number(row["answer"]) == json.loads(prompt.reference)["number"]
        assert "=" in row["answer"] and "####" in row["answer"].splitlines()[-1]
    with pytest.raises(SettingsError, match="arithmetic"):
        export_gsm8k(prompts("train", 1, seed=0, families=["code"]), tmp_path / "x")


def test_completion_text_by_hand():
    messages = (
        Message(role="system", content="S"), Message(role="user", content="U"),
        Message(role="assistant", content="f(1)", end="message"), Message(role="ipython", content="2"),
        Message(role="assistant", content="two"), Message(role="user", content="V"),
    )  # fmt: skip
    wanted = "System: S\nQuestion: U\nCall: f(1)\nResult: 2\nAnswer: two\nQuestion: V\nAnswer:"
    assert completion_text(messages) == wanted
    assert render(messages) + "Answer:" == wanted  # what `Local(style="completion")` gives to a base


def test_authors_keep_their_shares_and_the_corpus_knows_no_chat_format():
    documents = [document(20, number) for number in range(4000)]
    authors = [author for d in documents for author in d.authors]
    for name, share in SHARES.items():
        assert abs(authors.count(name) / len(authors) - share) < 0.03
    text = "\n".join(d.text for d in documents)
    for marker in ("<|", "|>", "[INST]", "<start_of_turn>", "assistant", "### "):
        assert marker not in text
