"""Rewards that need a model: a reward model, or a language model that is asked.

Comes in: prompts and responses (or preferences), and reward weights or somebody to ask. Goes out: judgements with a
score or a winner, or unscored with the reason; the share of pairs a reward model orders as the annotator did. Called
by recipes, `evaluate` and the command line. torch is loaded when a reward model scores, not when this room is
imported. See docs/judging.md.

    reward_model   `RewardModel`, and the step `score_responses`
    pairs          the step `pair_accuracy`
    replies        what a judge's reply says: a rating, a choice, or unscored and why
    measure/       how judges are measured: agreement, calibration, win rates, RewardBench-style pairs
    intervals      Wilson's interval for shares of verdicts
    operations     what judges ask: the roles of the reports, as typed operations
    pairwise       `Pairwise`: two answers, in both orders
    pointwise      `Rubric`, `Golden`, `Critique`, `Quality`, `Absolute`, `Decision`: answers one by one
    same           `SameOrDifferent`
    panel          `Panel`: several judges as one
    steps          the step `grade_responses`
    files          rows of a file with verdicts beside their columns
"""

from burnish.judge.asking import How
from burnish.judge.files import judge_preferences, judge_rows, read_rubric
from burnish.judge.intervals import wilson
from burnish.judge.pairs import pair_accuracy
from burnish.judge.pairwise import Compared, Pairwise, comparison_metrics
from burnish.judge.panel import Panel, agreement
from burnish.judge.pointwise import Absolute, Critique, Decision, Golden, Quality, Rubric, gold_text
from burnish.judge.replies import Choice, Rating, read_choice, read_object, read_rating
from burnish.judge.reward_model import RewardModel, score_responses
from burnish.judge.same import SameOrDifferent, autorater_mode
from burnish.judge.steps import grade_responses

__all__ = [
    "Absolute",
    "Choice",
    "Compared",
    "Critique",
    "Decision",
    "Golden",
    "How",
    "Pairwise",
    "Panel",
    "Quality",
    "Rating",
    "RewardModel",
    "Rubric",
    "SameOrDifferent",
    "agreement",
    "autorater_mode",
    "comparison_metrics",
    "gold_text",
    "grade_responses",
    "judge_preferences",
    "judge_rows",
    "pair_accuracy",
    "read_choice",
    "read_object",
    "read_rating",
    "read_rubric",
    "score_responses",
    "wilson",
]
