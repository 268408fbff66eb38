"""Rewards that would need a person. In: prompts and the responses of two models. Out: preferences with a strength.

`desk` asks any `protocols.Annotator` and keeps the books; `checker_annotator`, `judge_annotator` and `simulated`
stand in for people. Called by the recipes; never imports torch, and never another room of its own line.
"""

from burnish.annotate.checker_annotator import CheckerAnnotator
from burnish.annotate.desk import choose_pair, compare_pairs, make_preferences, split_dialogue
from burnish.annotate.desk_table import DeskRow, count_words, desk_table
from burnish.annotate.judge_annotator import JudgeAnnotator
from burnish.annotate.simulated import Simulated

__all__ = [
    "CheckerAnnotator",
    "DeskRow",
    "JudgeAnnotator",
    "Simulated",
    "choose_pair",
    "compare_pairs",
    "count_words",
    "desk_table",
    "make_preferences",
    "split_dialogue",
]
