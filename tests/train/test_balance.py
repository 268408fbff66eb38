"""Length balance as a setting of the reward model, and batches of prompts with all their pairs (Self-Contrast)."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from burnish.chat import load_chat
from burnish.errors import DataError, SettingsError
from burnish.records import Candidate, Preference
from burnish.train import encode_all, optimiser_batches, train_rows
from burnish.train.batch import encode_pair, prompt_batches
from tests.train.material import LOOP, folders, preferences, said


def pair(asked: str, chosen: str, rejected: str) -> Preference:
    answers = (("chosen", chosen), ("rejected", rejected))
    return Preference(
        prompt=asked,
        context=(said("user", asked),),
        candidates=tuple(Candidate(role=role, messages=(said("assistant", text),)) for role, text in answers),
    )


def lengths(count: int) -> list[Preference]:
    """Of the pairs that differ in length seven in ten have the longer winner; every sixth pair is of one length."""
    rows = []
    for i in range(count):
        short, long = "n" + str(i % 10), "y" + str(i % 10) + "." * (2 + i % 2)
        if i % 6 == 5:
            rows.append(pair(f"q{i}", "ab", "cd"))
        else:
            rows.append(pair(f"q{i}", short, long) if i % 4 == 0 else pair(f"q{i}", long, short))
    return rows


def test_balance_trains_on_as_many_longer_as_shorter_winners(base, tmp_path) -> None:
    rows = lengths(48)
    done = train_rows(base, rows, method="reward", balance=8, work=folders(tmp_path), **LOOP)
    counts = done.counts()
    assert done.metrics["longer_wins"] == done.metrics["shorter_wins"] == 12
    assert done.metrics["longer_wins_before"] == pytest.approx(28 / 40)
    assert counts["taken"] == 48 and counts["kept"] == 12 + 12 + 8 and counts["dropped"] == {"length balance": 16}
    lines = [json.loads(line) for line in (tmp_path / "artifact/metrics.jsonl").read_text().splitlines()]
    assert sum(line["rows"] for line in lines) == 2 * 32
    assert "the winner has" in done.dropped[0].detail
    # what is left trains exactly as a file that holds these rows alone would
    lost = {one.parents[0] for one in done.dropped}
    kept = [row for row in rows if row.id not in lost]
    alone = train_rows(base, kept, method="reward", work=folders(tmp_path / "alone"), **LOOP)
    assert alone.weights.id == done.weights.id
    assert train_rows(base, rows, method="reward", **LOOP).counts()["kept"] == 48


def test_the_score_penalty_and_the_balance_are_one_reward_model(base) -> None:
    """ChatGLM-RLHF has both (G10); the squares keep scores nearer to 0."""
    rows, loop = lengths(24), LOOP | {"epochs": 6, "lr": 1e-2, "schedule": "constant"}
    free = train_rows(base, rows, method="reward", balance=8, **loop).metrics
    held = train_rows(base, rows, method="reward", balance=8, penalty=0.5, **loop).metrics
    assert held["longer_wins"] == free["longer_wins"] > 0 and held["margin"] < 0.8 * free["margin"]


def test_rows_that_cannot_be_read_are_still_counted_by_the_loop(base) -> None:
    alone = Preference(prompt="p", context=(said("user", "q"),), candidates=lengths(1)[0].candidates[:1])
    rows = [*lengths(24), alone]
    counts = train_rows(base, rows, method="reward", balance=8, refuse_above=0.2, **LOOP).counts()
    assert counts["dropped"]["fewer than two candidates"] == 1 and counts["taken"] == 25
    with pytest.raises(DataError, match=r"1 of .* training rows were dropped"):
        train_rows(base, rows, method="reward", balance=8, refuse_above=0.0, **LOOP)


def test_a_balance_that_leaves_nothing_is_refused(base) -> None:
    rows = [pair(f"q{i}", "long answer", "no") for i in range(4)]
    with pytest.raises(DataError, match=r"no pair is left of 4: the longer answer always wins.*set balance=0"):
        train_rows(base, rows, method="reward", balance=8, **LOOP)
    with pytest.raises(SettingsError, match="width is -1"):
        train_rows(base, rows, method="reward", balance=-1, **LOOP)


def contrasted(prompts: int, k: int) -> list[Preference]:
    """k pairs of each prompt, spread over the file."""
    return [pair(f"{i} + 2", f"{i + 2}", f"no {j}") for j in range(k) for i in range(prompts)]


@pytest.mark.parametrize("k", [1, 2, 4])
def test_a_batch_of_prompts_holds_all_their_pairs_next_to_each_other(base, k) -> None:
    rows = contrasted(10, k)
    examples, _ = encode_all(encode_pair, load_chat(base.path), rows, max_length=256, refuse_above=0.0)
    how = {"epochs": 2, "seed": 3}
    batches = prompt_batches(examples, batch_prompts=4, **how)
    assert [len(batch) for batch in batches] == [4 * k] * 5  # as many steps for any k
    flat = [index for batch in batches for index in batch]
    assert Counter(flat) == dict.fromkeys(range(10 * k), 2)
    for start in range(0, len(flat), k):
        assert len({rows[index].prompt for index in flat[start : start + k]}) == 1
    # the order comes from the ids, not from the file
    back = prompt_batches(examples[::-1], batch_prompts=4, **how)
    assert [[examples[::-1][i].id for i in batch] for batch in back] == [[examples[i].id for i in b] for b in batches]
    if k == 1:
        assert batches == optimiser_batches(examples, batch_rows=4, **how)


def test_steps_do_not_grow_with_the_number_of_negatives(base, tmp_path) -> None:
    loop = LOOP | {"batch_rows": 4, "epochs": 1, "batch_of": "prompts"}
    for k in (1, 3):
        work = folders(tmp_path / str(k))
        assert train_rows(base, contrasted(8, k), method="dpo", work=work, **loop).metrics["steps"] == 2
        lines = [json.loads(line) for line in (work.folder / "metrics.jsonl").read_text().splitlines()]
        assert [line["rows"] for line in lines] == [4 * k, 4 * k]
        # the loss is a mean over pairs, so it is as large for any k
        assert lines[0]["dpo"] == pytest.approx(0.6931, abs=1e-3)
    with pytest.raises(SettingsError, match="batch_of is 'prompt'; a batch is of rows or of prompts"):
        train_rows(base, preferences(), method="dpo", **LOOP, batch_of="prompt")
