"""Real data: the official verdicts on six models' answers, and every id and argument of the published prompts."""

from __future__ import annotations

import gzip
import json
import os
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from burnish.verify.constraints import CONSTRAINTS, Asked, check_constraint, check_loosely, conflicts, feasible
from burnish.verify.language import detect_language

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[4] / "shared" / "data"))
# docs/verify_constraints.md says of each why.
EXPLAINED = {
    "strict": {"keywords:letter_frequency": 4, "change_case:english_lowercase": 2, "change_case:english_capital": 2},
    "loose": {"keywords:letter_frequency": 5, "change_case:english_lowercase": 2, "change_case:english_capital": 2},
}
# Pairs that contradict each other in the published prompts: the prompt to repeat breaks the other rule, or the two
# shapes of the answer exclude each other.
CONTRADICTORY = {
    ("input_data", 1627), ("input_data", 3371), ("input_data", 3718), ("input_data", 374), ("m_ifeval_fr", 157),
    ("m_ifeval_fr", 181), ("m_ifeval_fr", 223), ("m_ifeval_fr", 238),
}  # fmt: skip


def rows(name: str) -> list[dict[str, Any]]:
    path = DATA / "ifeval" / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds ifeval/")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def test_official_verdicts():
    kwargs_of = {row["key"]: row["kwargs"] for row in rows("input_data")}
    differ: dict[str, Counter[str]] = {"strict": Counter(), "loose": Counter()}
    total = 0
    for row in rows("responses_with_verdicts"):
        text = row["response"] or ""
        for id, kwargs, strict, loose in zip(
            row["instruction_id_list"], kwargs_of[row["key"]], row["strict"], row["loose"], strict=True
        ):
            total += 1
            differ["strict"][id] += check_constraint(id, kwargs, text) is not strict
            differ["loose"][id] += check_loosely(id, kwargs, text) is not loose
    assert total == 2502
    for name, counts in differ.items():
        assert 1 - counts.total() / total >= 0.995, (name, counts)
        assert +counts == Counter(EXPLAINED[name]), name


@pytest.mark.parametrize("name", ["input_data", "m_ifeval_es", "m_ifeval_fr", "m_ifeval_ja"])
def test_every_published_id_and_argument_is_accepted(name):
    contradictory = set()
    for row in rows(name):
        asked = [Asked(id=id, kwargs=kwargs) for id, kwargs in zip(row["instruction_id_list"], row["kwargs"])]
        for one in asked:
            assert feasible(one.id, one.kwargs) == "", one
            for seed in range(3):
                assert check_constraint(one.id, one.kwargs, CONSTRAINTS[one.id].comply(one.kwargs, seed)), one
                assert not check_constraint(one.id, one.kwargs, CONSTRAINTS[one.id].violate(one.kwargs, seed)), one
            assert one.instruction()
        if any(conflicts(one, other) for one, other in combinations(asked, 2)):
            contradictory.add((name, row["key"]))
    assert contradictory == {pair for pair in CONTRADICTORY if pair[0] == name}


def test_no_model_ever_met_a_contradictory_pair():
    kwargs_of = {row["key"]: row["kwargs"] for row in rows("input_data")}
    for row in rows("responses_with_verdicts"):
        asked = [Asked(id=i, kwargs=k) for i, k in zip(row["instruction_id_list"], kwargs_of[row["key"]])]
        for (one, first), (other, second) in combinations(zip(asked, row["strict"]), 2):
            assert not (first and second and conflicts(one, other)), (one, other)


@pytest.mark.parametrize(("name", "code", "misses"), [("m_ifeval_es", "es", 0), ("m_ifeval_fr", "fr", 1),
                                                     ("m_ifeval_ja", "ja", 0)])  # fmt: skip
def test_language_of_published_prompts(name, code, misses):
    """The one French miss is a prompt that is in English."""
    long = [row["prompt"] for row in rows(name) if len(row["prompt"]) > 40]
    assert sum(detect_language(prompt).code != code for prompt in long) == misses and len(long) > 50
