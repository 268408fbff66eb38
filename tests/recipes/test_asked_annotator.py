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

import pytest

from burnish.cli.workers import Asked, annotator_of, pruning_judge
from burnish.errors import SettingsError
from burnish.judge import Pairwise, Quality
from burnish.microworld import prompts
from burnish.microworld.serving import Latency, oracle_server
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


def test_a_run_looks_at_its_servers_first_and_estimates_what_they_are_asked(called: Called, tmp_path: Path) -> None:
    words = ["run", "llama3", "--scale", "smoke", "--out", str(tmp_path / "run")]
    with oracle_server() as url:
        code, said, wrong = called(*words, "--annotator", f"{url}#nobody")
        assert code == 2 and "no model 'nobody'; it has oracle" in wrong and not (tmp_path / "run").exists()
        code, said, wrong = called(*words, "--annotator", f"{url}#oracle", "--judge", "none", "--dry-run")
        assert code == 0, wrong
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
