"""Tool use: functions as tools, calls in all syntaxes, whether they are the right ones, and what they give.

Comes in: Python functions or tool descriptions, and what a model said. Goes out: schemas, calls or typed failures,
results, verdicts. Called by synthesis, evaluation and `verify`. See docs/verify_tools.md.

call       the nouns             literals    values in JSON and Python, within bounds
syntaxes   calls read            rendering   calls written
schema     JSON schemas          signature   Python functions as tools
registry   functions by name     runner      calls run within limits
matching   right or not          scoring     a response, and metrics of many
cases      parallel, distractors checker     `ToolsChecker`
builtins   calculator, Python session, search, browser
"""

from burnish.verify.tools.call import Call, CallFailure, Parsed, Tool
from burnish.verify.tools.cases import ToolCase, draw_parallel, merge_parallel, with_distractors, without_oracle
from burnish.verify.tools.checker import ToolsChecker
from burnish.verify.tools.matching import Difference, call_violations, match_call, same_call, same_result
from burnish.verify.tools.registry import Registry
from burnish.verify.tools.rendering import render_calls
from burnish.verify.tools.runner import Result, converse, run_call, run_calls
from burnish.verify.tools.schema import json_schema, tool_of, violations
from burnish.verify.tools.scoring import CallMetrics, Scored, Wanted, metrics, score
from burnish.verify.tools.signature import tool_from
from burnish.verify.tools.syntaxes import SYNTAXES, calls_of, parse_calls

__all__ = [
    "SYNTAXES",
    "Call",
    "CallFailure",
    "CallMetrics",
    "Difference",
    "Parsed",
    "Registry",
    "Result",
    "Scored",
    "Tool",
    "ToolCase",
    "ToolsChecker",
    "Wanted",
    "call_violations",
    "calls_of",
    "converse",
    "draw_parallel",
    "json_schema",
    "match_call",
    "merge_parallel",
    "metrics",
    "parse_calls",
    "render_calls",
    "run_call",
    "run_calls",
    "same_call",
    "same_result",
    "score",
    "tool_from",
    "tool_of",
    "violations",
    "with_distractors",
    "without_oracle",
]
