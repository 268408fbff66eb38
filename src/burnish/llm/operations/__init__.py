"""Typed questions to language models.

Comes in: a record and an asker. Goes out: `Answered`, a validated result or none and why. Called by judges and
synthesis. See docs/operations.md.

operation      `Operation`, the declaration; `Answered`
template       Jinja files to messages
forms          what a model fills in: types, schema, words
loose_json     JSON as models write it
reading        a reply's text to a form
asking         send, read, ask again, give up
kept           an asker whose replies are kept, within a budget
checks         what is wrong with the caller's own code
stages         many records; operations as stages of a flow
scripted       an engine without a model
pages          the documentation page
"""

from burnish.llm.operations.asking import REASKS, answer
from burnish.llm.operations.checks import Checked, check_asker
from burnish.llm.operations.forms import Form, Truth, Words, one_of, schema_of, whole
from burnish.llm.operations.operation import GREEDY, Answered, Operation
from burnish.llm.operations.pages import page
from burnish.llm.operations.reading import Unreadable, read_form
from burnish.llm.operations.scripted import Answerer, Scripted
from burnish.llm.operations.stages import answer_all, asking, run_asking

__all__ = [
    "GREEDY",
    "REASKS",
    "Answered",
    "Answerer",
    "Checked",
    "Form",
    "Operation",
    "Scripted",
    "Truth",
    "Unreadable",
    "Words",
    "answer",
    "answer_all",
    "asking",
    "check_asker",
    "one_of",
    "page",
    "read_form",
    "run_asking",
    "schema_of",
    "whole",
]
