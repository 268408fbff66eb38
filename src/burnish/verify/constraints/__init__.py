"""Countable constraints: IFEval's 25 types in five languages, M-IFEval's own, CFBench- and FollowBench-style ones.

In: the id and arguments of a constraint, and a text. Out: whether it complies, strictly or loosely. Each kind also
says how to ask for it, draws its arguments, writes texts that comply and that violate, and says what it contradicts.
"""

from __future__ import annotations

from burnish.verify.constraints.checking import (
    CHECKERS,
    Asked,
    ConstraintsChecker,
    check_constraint,
    check_loosely,
    followed,
    get_constraint,
    loose_variants,
    read_asked,
)
from burnish.verify.constraints.combine import conflicts, feasible, sample_constraints
from burnish.verify.constraints.kind import RELATIONS, Argument, Constraint, Demands, validate
from burnish.verify.constraints.library import CONSTRAINTS, COUNTABLE_KINDS, IFEVAL_KINDS
from burnish.verify.constraints.library.locale import LANGUAGES
from burnish.verify.constraints.metrics import (
    Accuracies,
    ConstraintMetrics,
    ItemScores,
    accuracies,
    constraint_metrics,
    item_scores,
)

__all__ = [
    "CHECKERS",
    "CONSTRAINTS",
    "COUNTABLE_KINDS",
    "IFEVAL_KINDS",
    "LANGUAGES",
    "RELATIONS",
    "Accuracies",
    "Argument",
    "Asked",
    "Constraint",
    "ConstraintMetrics",
    "ConstraintsChecker",
    "Demands",
    "ItemScores",
    "accuracies",
    "check_constraint",
    "check_loosely",
    "conflicts",
    "constraint_metrics",
    "feasible",
    "followed",
    "get_constraint",
    "item_scores",
    "loose_variants",
    "read_asked",
    "sample_constraints",
    "validate",
]
