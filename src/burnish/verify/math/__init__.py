"""Mathematical answers: extraction, equality, and the equations of a worked solution.

`equivalent` compares two answers and says equal, different or unparsable, with the reason; `extract_answer` finds the
answer in a solution; `MathChecker` does both for a prompt's reference; `check_trace` evaluates the steps. Exact paths
decide nearly everything in microseconds; what they leave open goes to math-verify in processes that can be killed.
Model text is never evaluated as code.
"""

from burnish.verify.math.checker import MathChecker
from burnish.verify.math.equality.values import Rules
from burnish.verify.math.equivalent import equivalent
from burnish.verify.math.extract import extract_answer
from burnish.verify.math.numbers import final_number
from burnish.verify.math.result import MathResult
from burnish.verify.math.trace import Step, Trace, check_trace

__all__ = [
    "MathChecker",
    "MathResult",
    "Rules",
    "Step",
    "Trace",
    "check_trace",
    "equivalent",
    "extract_answer",
    "final_number",
]
