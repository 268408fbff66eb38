"""Programs of the code family: what the interpreter cannot run goes to the sandbox, and both agree on what it can."""

from __future__ import annotations

import shutil
from random import Random

import pytest

from burnish.microworld.families import programs
from burnish.microworld.tasks import Dials
from burnish.verify.code import call_all
from burnish.verify.sandbox import find_executor, probe

needs_sandbox = pytest.mark.skipif(
    shutil.which("bwrap") is None or not probe(tools=False).isolated, reason="needs bubblewrap: apt install bubblewrap"
)
GOLD = {"program": "(x + 3) * 4"}
OUTSIDE = "def f(x):\n    found = {x + 3}\n    return found.pop() * 4"  # the interpreter knows no sets


@needs_sandbox
def test_programs_outside_the_interpreters_language_run_in_the_sandbox():
    assert programs._check(GOLD, OUTSIDE) == ""
    wrong = programs._check(GOLD, OUTSIDE.replace("* 4", "* 5"))
    assert wrong.startswith("f(0) gives 15")
    for hostile in ("import os\ndef f(x):\n    os._exit(0)", "def f(x):\n    s = {1}\n    while s: pass"):
        assert programs._check(GOLD, hostile).startswith("f(0) ")


def test_without_a_sandbox_such_programs_fail(monkeypatch):
    monkeypatch.setattr(programs, "_executor", lambda: None)
    assert programs._check(GOLD, OUTSIDE).startswith("f(0) fails: ")


@needs_sandbox
def test_interpreter_and_sandbox_agree():
    rng, executor = Random(3), find_executor()
    for _ in range(12):
        task = programs._draw(rng, Dials())
        for text in (task.answer, task.sloppy, f"def f(x):\n    return {task.terse}"):
            given = call_all(executor, text, "f", [[x] for x in programs.INPUTS], seconds=2.0)
            assert given == [programs.call_function(text, "f", [x]) for x in programs.INPUTS]
