"""No change to a counting rule that flips a verdict goes unnoticed (issue 5: mutation testing of the checkers)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from burnish.verify import constraints
from burnish.verify.constraints.rules import lengths
from tests.verify.constraints.mutation import MODULES, PACKAGE, killed, loaded, mutants, survivors, whole_corpus

_LONGEST = "return max((len(words(sentence)) for sentence in sentences(text)), default=0)"
_LETTERS = "return max(map(len, words(text)), default=0)"
_BEFORE = "before = text[max(0, mark.start() - 60) : mark.start()]"
# Mutants that give the same verdict on every text, and why.
EQUIVALENT = {
    "rules.countable | 0 -> -1 | at = 0": "a search from -1 begins at 0",
    f"rules.countable | 0 -> 1 | {_LONGEST}": "only a blank text has no sentence, and none comes to a rule",
    f"rules.countable | 0 -> -1 | {_LONGEST}": "as above",
    f"rules.countable | 0 -> 1 | {_LETTERS}": "the limit is 1 or more",
    f"rules.countable | 0 -> -1 | {_LETTERS}": "as above",
    "rules.sentences | 1 -> 0 | closed[-1] += lead.group().strip()": "closing marks move, which no rule counts",
    f"rules.sentences | 60 -> 61 | {_BEFORE}": "no abbreviation has 60 letters",
    f"rules.sentences | 60 -> 59 | {_BEFORE}": "as above",
    "library.build | without operand 1 | return found is not None and RELATIONS[asked(kwargs)](found, kwargs[n])":
        "None is only ever compared with `exactly`, and equals no number",
}  # fmt: skip


def test_a_sample_of_mutants_is_found_out():
    tried, left = survivors(share=0.03, seed=7)
    assert tried >= 12 and {str(mutant) for mutant in left} <= set(EQUIVALENT)


@pytest.mark.slow
def test_every_mutant_is_found_out():
    """About 530 mutants; two to four minutes."""
    tried, left = survivors()
    assert tried > 400 and {str(mutant) for mutant in left} == set(EQUIVALENT)


def test_the_mutator_itself():
    """A planted change is found, and the true room stays in place for everyone else."""
    module = f"{PACKAGE}.rules.lengths"
    every, source = mutants(module), Path(lengths.__file__).read_text(encoding="utf-8")
    assert len(every) > 20 and module in MODULES and all(one.line in source for one in every)
    first = next(one for one in every if "nth > total" in one.line and one.change == "Gt -> GtE")
    room = loaded(first)
    kwargs = {"num_paragraphs": 1, "nth_paragraph": 1, "first_word": "a"}
    id = "length_constraints:nth_paragraph_first_word"
    assert room.check_constraint(id, kwargs, "a b") is False and constraints.check_constraint(id, kwargs, "a b") is True
    assert sys.modules[PACKAGE] is constraints and killed(first, whole_corpus())
