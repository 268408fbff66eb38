"""The recipe with an annotator and a judge behind a socket: killed, resumed, and nothing sent twice.

The microworld's oracle stands in for a language model; what it answers is simulated.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
import urllib.request
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from burnish.cli.servers.lost import told_lost
from burnish.cli.workers import Asked, annotator_of, pruning_judge
from burnish.errors import SettingsError
from burnish.judge import Pairwise, Quality
from burnish.microworld import prompts
from burnish.microworld.serving import Faults, Latency, oracle_server
from burnish.recipes import llama3
from burnish.runs import RunView
from burnish.verify import CHECKERS
from tests.conftest import ROOT, Called, burnish


def sent(url: str) -> int:
    return json.load(urllib.request.urlopen(url + "/faults"))["requests"]


def kept(folder: Path) -> int:
    count = 0
    for path in (folder / "requests").glob("*.sqlite"):
        with closing(sqlite3.connect(path)) as base:
            if base.execute("select 1 from sqlite_master where name = 'asked'").fetchone():
                count += base.execute("select count(*) from asked").fetchone()[0]
    return count


def test_a_server_annotates_and_grades_and_a_kill_costs_nothing_twice(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with oracle_server(latency=Latency(mean=0.3)) as url:
        words = ["run", "llama3", "--scale", "smoke", "--set", "rounds=1", "--annotator", f"{url}#oracle"]
        words += ["--out", str(run), "--json"]
        command = [sys.executable, "-m", "burnish", *words]
        process = subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)  # fmt: skip
        end = time.monotonic() + 120
        while (not (run / "requests").exists() or not kept(run)) and time.monotonic() < end:
            assert process.poll() is None, "the run ended before it asked anything"
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        time.sleep(0.5)
        before, lost = kept(run), sent(url) - kept(run)
        assert before and lost >= 0  # `lost`: on the way when it was killed

        done = burnish(*words)
        assert done.returncode == 0, done.stderr
        assert sent(url) == kept(run) + lost
        total = sent(url)
        assert burnish(*words).returncode == 0 and sent(url) == total
    steps = {step.name: step.note["metrics"] for step in RunView(run).steps}
    judged = next(metrics for name, metrics in steps.items() if name.endswith("-judgements"))
    assert judged["edited"] == 0 and judged["unscored"] == 0 and judged["comparisons"]
    assert judged["annotator"]["consistent"] == 1.0 and judged["annotator"]["requests"] == 2 * judged["comparisons"]
    assert next(metrics for name, metrics in steps.items() if name.endswith("-pruned"))["judge_unscored"] == 0
    assert json.loads((run / "run.json").read_text())["simulated"] == []


def kept_in(path: Path, query: str) -> list[tuple]:
    with closing(sqlite3.connect(path)) as base, base:
        return base.execute(query).fetchall()


@pytest.mark.slow
def test_a_broken_annotator_ends_no_step_and_a_mended_one_is_asked_what_failed(tmp_path: Path) -> None:
    run = tmp_path / "run"
    with oracle_server(faults=Faults(server_error=1.0)) as url:
        words = ["run", "llama3", "--scale", "smoke", "--set", "rounds=1", "--annotator", f"{url}#oracle"]
        words += ["--judge", "none", "--out", str(run)]
        done = burnish(*words)
        assert done.returncode == 2 and "got no answer: no answer after 6 tries: status 500" in done.stderr
        store = next((run / "requests").glob("r1-*-judgements.sqlite"))
        step = run / store.stem.replace("r1-", "r1/", 1)
        assert not step.exists()
        body = json.dumps({"server_error": 0.0}).encode()
        head = {"Content-Type": "application/json"}
        urllib.request.urlopen(urllib.request.Request(url + "/faults", data=body, headers=head))
        done = burnish(*words)
        assert done.returncode == 0 and step.exists(), done.stderr
        before = sent(url)

        # Two failures that this finished step was made with.
        kept_in(
            store, "update asked set failure = 'too long', text = '' where rowid in (select rowid from asked limit 2)"
        )
        told = burnish("requests", str(run), "--forget-failures")
        assert "2 failures forgotten" in told.stderr and f"again: r1/{step.name}, and" in told.stderr
        assert not step.exists() and (run / "superseded" / "r1" / f"{step.name}.1").exists()
        assert (step.parent / "02-answers-a").exists()  # what it was made of stays
        done = burnish(*words)
        assert done.returncode == 0 and step.exists() and sent(url) == before + 2, done.stderr


def test_the_end_of_a_run_says_what_has_no_verdict_and_why() -> None:
    def step(name: str, unscored: list[str], kept: int, ties: int = 0, **metrics: int) -> SimpleNamespace:
        left = [SimpleNamespace(unscored=True, detail=detail) for detail in unscored]
        counts = {"taken": len(unscored) + kept + ties, "kept": kept, "dropped": {"tie": ties} if ties else {}}
        counts["unscored"] = {"unscored comparison": len(unscored)} if unscored else {}
        return SimpleNamespace(name=name, note={"counts": counts, "metrics": metrics}, dropped=lambda: left)

    def told(*steps: SimpleNamespace) -> list[str]:
        return told_lost(SimpleNamespace(folder="RUN", steps=list(steps)))

    some = ["no reply: status 500: oops"] * 3 + ["inconsistent: another winner in each order"]
    (line,) = told(step("r1/04-preferences", some, 20))
    why = "3 no reply (status 500: oops), 1 inconsistent (another winner in each order)"
    assert line == f"4 of 24 comparisons are unscored: {why}"
    assert told(step("r1/04-preferences", [], 20)) == []
    *_, line = told(step("r1/04-preferences", some, 0, 1))
    assert "no comparison had a winner (4 unscored, 1 ties); mend the annotator (burnish requests RUN" in line
    *_, line = told(step("r1/04-preferences", [], 0, 5))
    assert "(5 ties); try a stronger --policy" in line
    assert "3 answers have no grade" in told(step("r1/20-pruned", [], 5, judge_unscored=3))[0]


def test_a_run_looks_at_its_servers_first_and_estimates_what_they_are_asked(called: Called, tmp_path: Path) -> None:
    words = ["run", "llama3", "--scale", "smoke", "--out", str(tmp_path / "run")]
    with oracle_server() as url:
        code, said, wrong = called(*words, "--annotator", f"{url}#nobody")
        assert code == 2 and "no model 'nobody'; it has oracle" in wrong and not (tmp_path / "run").exists()
        code, said, wrong = called(*words, "--annotator", f"{url}#nobody", "--dry-run")
        assert code == 2 and "no model 'nobody'; it has oracle" in wrong and not said
        code, said, wrong = called(
            *words, "--annotator", f"{url}#oracle", "--judge", "none", "--dry-run", "--budget-tokens", "99"
        )
        assert code == 0, wrong
        assert ", without asking again; about " in said and "above --budget-tokens 99" in said
        smoke = llama3.scale("smoke")
        asked = 2 * smoke.rounds * (smoke.annotated + smoke.heldout_pairs)  # both orders
        assert f"servers: {asked:,} requests, about " in said and "no price known" in said
    code, said, _ = called(*words, "--dry-run")
    assert code == 0 and "servers" not in said


def test_who_compares_and_who_grades() -> None:
    rows = prompts("train", 2, seed=1)
    server, other = "http://h:1/v1#one", "http://h:1/v1#two"
    annotator, judge, simulated = annotator_of(Asked(annotator=server, limits=(100, 0.0)), rows, CHECKERS)
    assert isinstance(annotator, Pairwise) and isinstance(judge, Quality) and simulated == []
    assert annotator.asker.identity == "openai:one" and annotator.asker.budget.tokens == 100
    assert pruning_judge(Asked(annotator=server, judge=other), CHECKERS).asker.identity == "openai:two"
    assert pruning_judge(Asked(annotator=server, judge="none"), CHECKERS) is None
    assert pruning_judge(Asked(annotator=server, judge="math"), CHECKERS).quality
    with pytest.raises(SettingsError, match="math"):
        pruning_judge(Asked(annotator=server, judge="mth"), CHECKERS)
