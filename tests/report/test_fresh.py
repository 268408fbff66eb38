"""The page and `burnish show` of a training on fresh answers: curves, and the answers of its rounds."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from burnish.report import render, write_report
from burnish.report.browser import BYTES
from burnish.runs import Compute, Outcome, Run, RunView
from tests.report import toy_run as toy
from tests.report.test_browser import CHROMIUM, dataset, dump
from tests.report.test_report import Page

PROBE = """<script>
const root = document.documentElement, at = (id) => document.getElementById(id);
const note = (name, value) => { root.dataset[name] = String(value).trim(); };
const set = (id, value) => { at(id).value = value; at(id).dispatchEvent(new Event("input", { bubbles: true })); };
note("place", at("place").textContent);
set("by-round", "3"); note("round", at("place").textContent); note("text", at("sample").textContent);
set("by-round", ""); set("by-fate", "no reward"); note("missing", at("place").textContent);
note("why", at("sample").textContent.includes("unscored: the judge is away"));
set("by-fate", ""); set("find", "prompt 2 of"); note("found", at("place").textContent);
</script>"""


def row(number: int, pick: str, prompt: int, reward: float | None, **more: Any) -> dict[str, Any]:
    text = toy.HOSTILE if prompt == 0 else f"prompt {prompt} of round {number}"
    return {
        "round": number, "pick": pick, "prompt": f"p{prompt}", "source": "s", "ability": "sums", "route": "",
        "messages": [{"role": "user", "content": text}], "reference": "42", "index": 1,
        "answer": [{"role": "assistant", "content": f"answer {pick}"}], "tokens": 7, "finish": "length",
        "reward": reward, "why": "" if reward is not None else "the judge is away", "parts": {"checker": reward},
        "left_out": "", **more,
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class CheckerReward:
    """By the name of the one that is meant, which would load torch."""

    name: str = "checker"


def trained(*, rounds: int, text: str = "42", rewarder: Any = None, work: Any = None) -> Outcome:
    """Weights with what a training on fresh answers leaves beside them."""
    toy.weights(label=f"fresh {rounds}", work=work)
    lines, rows = [], []
    for number in range(1, rounds + 1):
        told = {"step": number, "loss": 0.1, "reward": 0.1 * number, "groups": 4.0, "reward_checker": 0.05 * number}
        told |= {"reward_length": 200.0 - number, "reference_kl": 0.01, "answer_tokens": 9.0, "entropy": 2.0}
        lines.append(json.dumps(told) + "\n")
        rows += [row(number, "best", 0, 0.75, reference=text), row(number, "worst", 1, 0.25, left_out="all are equal")]
        rows += [row(number, "missing", 2, None), row(number, "best", 0, 0.5, index=2)]
    (work.folder / "metrics.jsonl").write_text("".join(lines))
    (work.folder / "samples.jsonl").write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows))
    return Outcome(taken=4, kept=4, metrics={"steps": rounds, "all_groups": 4.0 * rounds, "notices": []})


def run_of(folder: Path, **how: Any) -> Path:
    with Run(folder, compute=Compute(threads=1), about={"recipe": "train grpo", "settings": {}}) as run:
        run.step("grpo", trained, **how)
    return folder


def entries(page: str) -> list[dict[str, Any]]:
    data = re.search(r'id="sample-data">(.*?)</script>', page, re.S)[1]
    return json.loads(data)["entries"]


def test_the_page_shows_curves_and_answers(tmp_path):
    page = render(RunView(run_of(tmp_path / "run", rounds=3)))
    words = Page(page).words
    for title in ("reward", "parts of the reward", "distance from the start", "length of answers", "entropy"):
        assert f"grpo: {title}" in words["training"]
    told = "reward from 0.1 to 0.3; checker, the share of right answers from 0.05 to 0.15"
    assert f"grpo: reward, all steps: {told}" in page
    assert "grpo: parts of the reward, all steps: length from 199 to 197" in page  # 600 times as far as the reward
    assert "9 of 12 sampled prompts, spread over rounds. Of a training on fresh answers" in " ".join(
        words["samples"].replace("\u202f", " ").split()
    )
    found = entries(page)
    assert [(e["round"], e["id"], len(e["answers"])) for e in found[:3]] == [(1, "p0", 2), (1, "p1", 1), (1, "p2", 1)]
    best, worst, missing = (found[i]["answers"][0] for i in range(3))
    assert (best["score"], best["pick"], best["detail"]) == (0.75, "best", "checker 0.75")
    assert worst["state"] == "left" and worst["detail"].endswith("not learned from: all are equal")
    assert (missing["score"], missing["unscored"], missing["state"]) == (None, "the judge is away", "unscored")
    assert missing["detail"] == "checker missing" and found[0]["reference"] == "42"


def test_the_reward_of_a_checker_alone_is_called_what_it_is(tmp_path):
    page = render(RunView(run_of(tmp_path / "run", rounds=3, rewarder=CheckerReward())))
    assert "grpo: reward, all steps: reward, the share of right answers from 0.1 to 0.3; " in page


def test_the_last_round_and_the_first_come_first_when_there_is_not_room_for_all(tmp_path):
    found = entries(render(RunView(run_of(tmp_path / "run", rounds=900, text="x" * 1900))))
    numbers = [entry["round"] for entry in found]
    assert numbers[0] == 1 and numbers[-1] == 900 and numbers == sorted(numbers) and len(set(numbers)) < 900
    assert len(json.dumps(found)) < 1.1 * BYTES


def test_rounds_of_two_trainings_have_names(tmp_path):
    with Run(tmp_path / "run", compute=Compute(threads=1), about={"recipe": "x", "settings": {}}) as run:
        with run.round(2):
            run.step("grpo", trained, rounds=1)
    view = RunView(tmp_path / "run")
    assert {entry["round"] for entry in entries(render(view))} == {"2, grpo 1"}


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium; apt install chromium")
def test_the_browser_finds_rounds_and_missing_rewards(tmp_path):
    run_of(tmp_path / "run", rounds=3)
    write_report(tmp_path / "run", tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text(encoding="utf-8").replace("</body>", PROBE + "</body>")
    (tmp_path / "probed.html").write_text(page, encoding="utf-8")
    seen = dataset(dump(tmp_path / "probed.html", tmp_path / "profile"))
    assert "script-error" not in seen and "hacked" not in seen
    assert seen["place"] == "1 of 9" and seen["round"] == "1 of 3" and "best of the round" in seen["text"]
    assert seen["missing"] == "1 of 3" and seen["why"] == "true" and seen["found"] == "1 of 3"


def test_show_prints_the_answers_of_the_last_round(tmp_path):
    from burnish.cli.inspecting import _sampled

    (step,) = RunView(run_of(tmp_path / "run", rounds=2)).steps
    assert _sampled(step.samples(), 1) == [
        "answers of round 2, with their rewards",
        f"  best     0.75     {' '.join(toy.HOSTILE.split())[:60]!r} -> 'answer best'",
        "  worst    0.25     'prompt 1 of round 2' -> 'answer worst'",
        "  missing  -        'prompt 2 of round 2' -> 'answer missing'  (the judge is away)",
    ]
    assert _sampled([], 1) == []
