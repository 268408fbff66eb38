"""No rule takes long over a text that is made of one mark over and over: all of them are linear, or nearly so."""

from __future__ import annotations

import time
from random import Random

import pytest

from burnish.verify.constraints import CONSTRAINTS
from burnish.verify.format import markdown_faults
from burnish.verify.language import detect_language
from burnish.verify.refusal import refuses
from burnish.verify.repetition import loops, within_turn

UNITS = [
    "a", ". ", "*", "* *", "「", "「a", "『", "<<", "<<a>", "[", "```\n", "```a\n", "|", "|a|\n", "#", "# \n", "¿", "¡",
    ".", "?!", '"', "1",
    "1. ", "1.", "-", "- \n", "\n", " ", " \n", "***", "P.", "第1", "《", "川", "川（", "'s", "n't ",
    "I cannot help ", "、", "<a>", ";", "a,b\n", "\u3000", "\n```", "** ", "x\n\n",
]  # fmt: skip
LETTERS = 12_000
SECONDS = 1.0  # quadratic rules took 2 to 30 s at 20,000 letters


@pytest.mark.parametrize("unit", UNITS, ids=repr)
def test_every_rule_is_quick(unit):
    text = (unit * LETTERS)[:LETTERS]
    for id, kind in CONSTRAINTS.items():
        if kind.language in ("en", "ja") or id.partition(":")[2] not in CONSTRAINTS:
            kwargs = kind.sample(Random(3))
            start = time.perf_counter()
            kind.check(text, kwargs)
            assert time.perf_counter() - start < SECONDS, id
    for measure in (detect_language, loops, within_turn, refuses, markdown_faults):
        start = time.perf_counter()
        measure(text)
        assert time.perf_counter() - start < SECONDS, measure
