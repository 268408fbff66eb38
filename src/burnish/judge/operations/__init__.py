"""What judges ask: the roles of the reports, in our words.

rubrics     rubrics from rows and files
records     what goes in and comes out
comparing   two things side by side
grading     one answer, and points for it
deciding    one thing, and yes or no
templates/  one Jinja file for each
"""

from typing import Any

from burnish.judge.operations.comparing import (
    COMPARING,
    EQUALITY,
    PAIRWISE,
    PAIRWISE_NO_TIE,
    PRINCIPLE,
    PROMPT_QUALITY,
    SAME,
)
from burnish.judge.operations.deciding import DECIDING, deciding
from burnish.judge.operations.grading import (
    ABSOLUTE,
    BANDS,
    CODE_QUALITY,
    CODE_STYLE,
    COMPLEXITY,
    CRITIQUE,
    DIFFICULTY,
    GOLDEN,
    GRADING,
    LONG_CONTEXT,
    QUALITY,
    RELEVANCE,
    RUBRIC,
)
from burnish.judge.operations.rubrics import rubric_of
from burnish.llm.operations import Operation

OPERATIONS: tuple[Operation[Any, Any], ...] = (*COMPARING, *GRADING, *DECIDING)

__all__ = [
    "ABSOLUTE",
    "BANDS",
    "CODE_QUALITY",
    "CODE_STYLE",
    "COMPARING",
    "COMPLEXITY",
    "CRITIQUE",
    "DECIDING",
    "DIFFICULTY",
    "EQUALITY",
    "GOLDEN",
    "GRADING",
    "LONG_CONTEXT",
    "OPERATIONS",
    "PAIRWISE",
    "PAIRWISE_NO_TIE",
    "PRINCIPLE",
    "PROMPT_QUALITY",
    "QUALITY",
    "RELEVANCE",
    "RUBRIC",
    "SAME",
    "deciding",
    "rubric_of",
]
