"""`burnish judge`: verdicts on files, kept, resumed, and read by `burnish score`.

The microworld's oracle behind a socket stands in for a language model.
"""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import BudgetError, DataError, RunError, SettingsError, WorkerError
from burnish.microworld import Oracle, prompts
from burnish.microworld.serving import oracle_server
from burnish.models import new_reward, save_model, tiny_model_folder
from burnish.records import Sampling
from tests.cli.test_asking import called
from tests.llm.requests.server import error, said, serving

N = 6


@pytest.fixture(scope="module")
def oracle() -> Iterator[str]:
    with oracle_server() as url:
        yield url


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    """Right and wrong answers; every third row calls the wrong one chosen, and `human` says which is right."""
    asked = prompts("train", N, seed=5)
    sampling = Sampling(temperature=1.0, max_new_tokens=64)
    right, wrong = (Oracle(error=e).answer(asked, n=1, sampling=sampling) for e in (0.0, 1.0))
    rows = []
    for place, (prompt, *both) in enumerate(zip(asked, right, wrong, strict=True)):
        chosen, rejected = both[::-1] if place % 3 == 2 else both
        known = "rejected" if place % 3 == 2 else "chosen"
        said = {"prompt": prompt.messages[-1].content, "chosen": chosen.text, "rejected": rejected.text}
        rows.append({**said, "reference": json.loads(prompt.reference)["answer"], "human": known})
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def asked_of(url: str) -> int:
    return json.load(urllib.request.urlopen(url + "/faults"))["requests"]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_pairs_are_judged_once_and_score_reads_them(pairs: Path, oracle: str, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.jsonl"
    words = ["judge", pairs, "--judge", f"{oracle}#oracle", "--how", "pairwise", "--out", out]
    assert called(*words, "--dry-run").stdout.startswith(f"{2 * N} requests (0 are kept already)")
    before = asked_of(oracle)
    done = called(*words)
    assert asked_of(oracle) - before == 2 * N
    assert "consistent        1.000" in done.stdout and f"{N} of {N}" in done.stdout
    assert "unscored          0.000" in done.stdout and f"{2 * N} new ones" in done.stdout
    rows = read(out)
    assert [row["winner"] for row in rows] == [row["human"] for row in rows]
    assert all(row["strength"] in (1, 2, 3, 4) and row["transcript"] for row in rows)
    assert [(row["forward"], row["backward"]) for row in rows[:3]] == [("A", "B"), ("A", "B"), ("B", "A")]

    again = json.loads(called(*words, "--json").stdout)["metrics"]
    assert asked_of(oracle) - before == 2 * N and again["new"] == {"replies": 0, "tokens": 0}
    assert read(out) == rows
    assert called(*words, "--dry-run").stdout.startswith(f"0 requests ({2 * N} are kept already)")

    agreed = json.loads(called("score", "agreement", out, "--raters", "winner,human", "--json").stdout)
    assert agreed["rows"][0]["value"] == 1.0
    order = json.loads(called("score", "order", out, "--forward", "forward", "--backward", "backward", "--json").stdout)
    assert {row["name"]: row["value"] for row in order["rows"]}["consistent"] == 1.0
    won = json.loads(called("score", "winrate", out, "--win", "win", "--json").stdout)
    assert won["rows"][0]["value"] == pytest.approx(4 / 6)


def test_one_order_without_ties_beside_another_judge(pairs: Path, oracle: str, tmp_path: Path) -> None:
    first, second = tmp_path / "1.jsonl", tmp_path / "2.jsonl"
    called("judge", pairs, "--judge", f"{oracle}#oracle", "--out", first)
    words = ["judge", first, "--judge", f"{oracle}#oracle", "--one-order", "--no-ties", "--out", second]
    with pytest.raises(DataError, match="'winner' already"):
        called(*words)
    done = called(*words, "--prefix", "alone_", "--json")
    metrics = json.loads(done.stdout)["metrics"]
    assert metrics["requests"] == N and metrics["consistent"] is None and metrics["tie_share"] == 0
    agreed = json.loads(called("score", "agreement", second, "--raters", "winner,alone_winner", "--json").stdout)
    assert agreed["rows"][0]["value"] == 1.0


def test_answers_are_scored_one_by_one(pairs: Path, oracle: str, tmp_path: Path) -> None:
    rubric, out = tmp_path / "rubric.json", tmp_path / "scores.jsonl"
    criteria = [{"name": "worth", "question": "How good?", "levels": {"1": "bad", "2": "fair", "3": "good"}}]
    rubric.write_text(json.dumps({"name": "worth", "criteria": criteria}))
    best = {"golden": 10, "absolute": 10, "critique": 10, "quality": 3, "rubric": 3}
    for how, most in best.items():
        more = ["--rubric", rubric] if how == "rubric" else []
        called("judge", pairs, "--judge", f"{oracle}#oracle", "--how", how, "--out", out, *more)
        rows = read(out)
        assert [row["answer"] for row in rows[:2]] == ["chosen", "rejected"] and len(rows) == 2 * N
        assert all(row["score"] == most for row in rows if row["answer"] == row["human"]), how
        assert all(row["score"] < most for row in rows if row["answer"] != row["human"]), how


def test_what_cannot_be_judged_is_unscored_with_its_reason(oracle: str, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    turns = [{"role": "user", "content": "Who wrote it?"}, {"role": "assistant", "content": "She did."}]
    file.write_text(json.dumps({"messages": turns}) + "\n" + json.dumps({"messages": turns, "reference": "Ann."}))
    done = called("judge", file, "--judge", f"{oracle}#oracle", "--how", "golden", "--out", out)
    rows = read(out)
    assert rows[0]["unscored"] == "the prompt has no golden answer" and rows[1]["unscored"].startswith("unreadable")
    assert all(row["score"] is None for row in rows) and rows[1]["transcript"]
    assert "mean score        -, n = 0" in done.stdout and "2 of 2" in done.stdout


def test_a_list_of_completions_and_budgets(oracle: str, tmp_path: Path) -> None:
    file, out = tmp_path / "rows.jsonl", tmp_path / "out.jsonl"
    asked = {"prompt": "What is 17 + 84?", "completions": ["The answer is 101.", "The answer is 7."]}
    file.write_text(json.dumps(asked) + "\n")
    words = ["judge", file, "--judge", f"{oracle}#oracle", "--out", out]
    with pytest.raises(BudgetError, match="tokens"):
        called(*words, "--budget-tokens", 10)
    assert not out.exists()
    called(*words, "--budget-tokens", 100_000)
    assert read(out)[0]["winner"] == "1"


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["--judge", "nowhere"], "no server"),
        (["--judge", "http://h/v1"], "which model"),
        (["--judge", "http://h/v1#m", "--how", "pairwis"], "pairwise"),
        (["--judge", "http://h/v1#m", "--how", "rubric"], "--rubric FILE"),
        (["--judge", "http://h/v1#m", "--how", "quality", "--one-order"], "for --how pairwise"),
    ],
)
def test_what_does_not_go_together(pairs: Path, tmp_path: Path, words: list[str], match: str) -> None:
    with pytest.raises(SettingsError, match=match):
        called("judge", pairs, "--out", tmp_path / "o.jsonl", *words)


def test_a_reward_model_folder_scores(pairs: Path, tmp_path: Path) -> None:
    specials = ("<|begin|>", "<|end|>", "<|pad|>", "<|im_start|>", "<|im_end|>")
    base, rewards, out = (
        tiny_model_folder(tmp_path / "base", "llama", specials=specials),
        tmp_path / "rm",
        tmp_path / "o",
    )
    save_model(new_reward(base, seed=1), rewards, tokenizer_from=base, pad_id=258)
    done = called("judge", pairs, "--judge", rewards, "--chat", "chatml", "--out", out, "--device", "cpu")
    assert len(read(out)) == 2 * N and all(isinstance(row["score"], float) for row in read(out))
    assert f"n = {2 * N}" in done.stdout
    with pytest.raises(SettingsError, match="costs nothing"):
        called("judge", pairs, "--judge", rewards, "--out", out, "--dry-run")
    with pytest.raises(SettingsError, match="leave out --how"):
        called("judge", pairs, "--judge", rewards, "--out", out, "--how", "golden")


def test_pairs_by_rewardbench_rules_with_a_judge_who_must_choose(pairs: Path, oracle: str) -> None:
    words = ["score", "pairs", pairs, "--judge", f"{oracle}#oracle", "--json"]
    before = asked_of(oracle)
    done = json.loads(called(*words).stdout)
    assert asked_of(oracle) - before == N  # one order each
    assert done["rows"][0]["name"] == "overall" and done["rows"][0]["value"] == pytest.approx(4 / 6)
    assert json.loads(called(*words).stdout) == done and asked_of(oracle) - before == N
    both = json.loads(called(*words, "--both", "--ties").stdout)
    assert both["rows"][0]["value"] == pytest.approx(4 / 6) and asked_of(oracle) - before == 3 * N
    for panel, match in ((["--judge", f"{oracle}#two"], "odd number"), (["--reward", "x"], "name who scores")):
        with pytest.raises(SettingsError, match=match):
            called(*words, *panel)


def test_a_judge_who_says_nothing_counts_a_half_and_a_long_dialogue_is_not_shown(oracle: str, tmp_path: Path) -> None:
    said = [{"role": role, "content": f"{n}?"} for n, role in enumerate(["user", "assistant"] * 2 + ["user"])]
    answers = {name: [{"role": "assistant", "content": name}] for name in ("chosen", "rejected")}
    file = tmp_path / "pairs.jsonl"
    file.write_text(json.dumps({"prompt": said, **answers}) + "\n" + json.dumps({"prompt": "Who?", **answers}))
    before = asked_of(oracle)
    done = json.loads(called("score", "pairs", file, "--judge", f"{oracle}#oracle", "--json").stdout)
    assert done["rows"][0]["value"] == 0.5 and done["reasons"] == {
        "more than 4 messages": 1,
        "no verdict that can be read": 1,
    }
    assert asked_of(oracle) - before == 3  # one pair, asked again twice


def test_a_judge_that_talks_nonsense_is_stopped_and_one_that_fails_ends_with_an_error(tmp_path: Path) -> None:
    file, out = tmp_path / "pairs.jsonl", tmp_path / "out.jsonl"
    row = {"chosen": "Yes.", "rejected": "No."}
    file.write_text("".join(json.dumps({"prompt": f"Question {n}?", **row}) + "\n" for n in range(60)))
    with serving(lambda body, _: said("I like cheese.")) as server:
        words = ["judge", file, "--judge", f"{server.url}#toy", "--out", out]
        with pytest.raises(WorkerError, match=r"none of the first 30 replies .*'I like cheese\.'"):
            called(*words)
        assert not out.exists() and len(server.bodies) <= 360
        done = called("requests", out, "--forget-unreadable")
        assert "unreadable replies and their re-asks forgotten" in done.stderr
    with serving(lambda body, _: error(400, "no such field: foo")) as server:
        words[3] = f"{server.url}#toy"
        with pytest.raises(WorkerError, match="no such field: foo"):
            called(*words)
    file.write_text("".join(json.dumps({"prompt": f"Question {n}?", **row}) + "\n" for n in range(4)))
    with serving(lambda body, _: said("I like cheese.")) as server:
        done = called("judge", file, "--judge", f"{server.url}#toy", "--out", tmp_path / "four.jsonl")
        assert "4 rows, 0 verdicts, 4 unscored" in done.stderr


def test_verdicts_are_counted_and_so_are_wins_of_the_first(pairs: Path, oracle: str, tmp_path: Path) -> None:
    words = ["judge", pairs, "--judge", f"{oracle}#oracle", "--out", tmp_path / "o.jsonl"]
    done = called(*words)
    assert f"{N} rows, {N} verdicts, 0 unscored" in done.stderr
    assert "chosen wins       0.667 [0.300, 0.903], 4 of 6" in done.stdout
    told = called(*words[:-1], tmp_path / "new.jsonl", "--dry-run", "--budget-tokens", 10).stdout
    assert ", without asking again; about " in told and "2 times more" in told
    assert "the estimate is above --budget-tokens 10," in told


def test_what_a_new_user_trips_over_is_told(pairs: Path, tmp_path: Path) -> None:
    server, out = ["--judge", "http://h:1/v1#m"], ["--out", tmp_path / "o.jsonl"]
    refused: list[tuple[list[Any], type[Exception], str]] = [
        ([pairs, *server, "--out", pairs], RunError, "would be overwritten"),
        ([pairs, *server, "--out", tmp_path / "o.parquet"], SettingsError, r"JSON lines; name it o\.jsonl"),
        ([pairs, *server, "--judge", "http://i:1/v1#m", *out], SettingsError, "two votes"),
        ([pairs, *server, *out, "--how", "xyz"], SettingsError, "pairwise, golden, rubric, quality, absolute, criti"),
        ([pairs, "--judge", "h:8000/v1#m", *out], SettingsError, "write http://h:8000/v1#m"),
        ([pairs, *server, *out, "--budget-tokens", -1], SettingsError, "--budget-tokens"),
    ]
    for row, match in (
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "the column chosen is empty"),
        ({"prompt": "a", "chosen": "b"}, "no column rejected"),
        ({"prompt": "a"}, "a prompt and no answer"),
        ({"a": "b"}, "rename them"),
    ):
        file = tmp_path / f"{len(refused)}.jsonl"
        file.write_text(json.dumps(row) + "\n")
        refused.append(([file, *server, *out], DataError, match))
    bare = tmp_path / "bare.jsonl"
    bare.write_text(json.dumps({"prompt": "a", "completion": "b"}) + "\n")
    refused += [([bare, *server, *out, "--how", how], DataError, f"a {how} judge") for how in ("golden", "critique")]
    for words, kind, match in refused:
        with pytest.raises(kind, match=match):
            called("judge", *words)


def test_a_panel_votes_and_the_transcript_holds_each_vote(pairs: Path, tmp_path: Path) -> None:
    out, scores = tmp_path / "panel.jsonl", tmp_path / "scores.jsonl"
    with oracle_server(models=("one", "two", "three")) as url:
        panel = [word for name in ("one", "two", "three") for word in ("--judge", f"{url}#{name}")]
        words = ["judge", pairs, *panel, "--out", out]
        assert called(*words, "--dry-run").stdout.startswith(f"{6 * N} requests")
        done = called(*words)
        assert "judges agree      1.000" in done.stdout and done.stdout.count("consistent 1.000") == 3
        rows = read(out)
        assert [row["winner"] for row in rows] == [row["human"] for row in rows]
        assert all(row["transcript"].count("openai:") == 3 and row["forward"] is None for row in rows)
        told = json.loads(called(*words, "--json").stdout)["metrics"]
        assert told["agreement"] == 1.0 and told["won"] == N and told["new"]["replies"] == 0
        called("judge", pairs, *panel, "--how", "absolute", "--out", scores)
        assert all(row["score"] == 10 for row in read(scores) if row["answer"] == row["human"])
        with pytest.raises(SettingsError, match="two votes"):
            called("judge", pairs, *panel, "--judge", f"{url}#two", "--out", out)
        with pytest.raises(SettingsError, match="no rule 'most'"):
            called(*words, "--panel", "most")
        with pytest.raises(SettingsError, match="repeat --judge"):
            called("judge", pairs, "--judge", f"{url}#one", "--panel", "mean", "--out", out)
