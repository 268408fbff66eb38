"""A small safe subset of Python, walked step by step in this process within limits; nothing is compiled or executed.

For the microworld's programs where there is no sandbox. Called by the microworld; imports nothing heavy.
"""

from burnish.verify.expression.evaluate import call_function, evaluate
from burnish.verify.expression.limits import ExpressionError

__all__ = ["ExpressionError", "call_function", "evaluate"]
