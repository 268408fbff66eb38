"""Rewards for code. A candidate program and a suite of tests come in, an outcome goes out.

Foreign code runs nowhere but in a sandbox.
`run_suite` keeps candidate and tests in two programs, so that no candidate decides its own verdict; `CodeChecker` does
it for prompts whose reference is a suite. Around it: the code in a chat reply, the static stage, the matrix of
solutions and tests with its guard against vacuous tests, pass@k, and the repair loop.
"""

from burnish.verify.code.apart import call_all
from burnish.verify.code.autoif import GATES, CrossValidated, Gates, cross_validate, response_scores
from burnish.verify.code.checker import CodeChecker, candidate_of, run_suite
from burnish.verify.code.extract import Block, extract_code, fenced_blocks, whole_program
from burnish.verify.code.languages import probe
from burnish.verify.code.lint import Finding, lint
from burnish.verify.code.matrix import Cluster, Matrix, differences, pass_at_k, pass_matrix
from burnish.verify.code.mutants import Guard, Mutant, guard, mutants
from burnish.verify.code.outcome import KINDS, Outcome, Result, error_class
from burnish.verify.code.repair import Attempt, Loop, State, repair_rate, run_repair
from burnish.verify.code.suite import Exchange, Suite, humaneval_suite, mbpp_suite, multipl_e_suite, read_suite

__all__ = [
    "GATES",
    "KINDS",
    "Attempt",
    "Block",
    "Cluster",
    "CodeChecker",
    "CrossValidated",
    "Exchange",
    "Finding",
    "Gates",
    "Guard",
    "Loop",
    "Matrix",
    "Mutant",
    "Outcome",
    "Result",
    "State",
    "Suite",
    "call_all",
    "candidate_of",
    "cross_validate",
    "differences",
    "error_class",
    "extract_code",
    "fenced_blocks",
    "guard",
    "humaneval_suite",
    "lint",
    "mbpp_suite",
    "multipl_e_suite",
    "mutants",
    "pass_at_k",
    "pass_matrix",
    "probe",
    "read_suite",
    "repair_rate",
    "response_scores",
    "run_repair",
    "run_suite",
    "whole_program",
]
