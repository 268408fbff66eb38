"""AutoIF's gates: verifier functions and test cases, both written by a model, check each other (arXiv:2406.13542).

Functions x cases is a matrix of `evaluate(case)`; cases on which the functions agree stay, functions that are right on
them stay, responses that the functions pass stay. The paper and its released code set different gates: both are here
(spec §5.4). Expected values and results that are texts (`"True"`, `"false"`) are read as the booleans they mean; the
released code compares them as they are and loses such cases.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from burnish.errors import SettingsError
from burnish.protocols import Executor
from burnish.verify.code.apart import call_all
from burnish.verify.code.extract import fenced_blocks
from burnish.verify.code.outcome import Result

ENTRY = "evaluate"
SECONDS = 5.0  # a call, released code
_NETWORK = re.compile(r"download|requests")
_SCORE = re.compile(r"score\s*:?\s*\**\s*(\d+(?:\.\d+)?)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A lower bound; `inclusive` says whether its own value passes."""

    value: float
    inclusive: bool

    def met(self, value: float) -> bool:
        return value >= self.value if self.inclusive else value > self.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """One profile of spec §5.4's table.

    Args:
        functions: distinct functions that run, at least.
        cases: distinct test cases, at least.
        case: share of the functions that agree with a kept case's expected value.
        function: share of the kept cases on which a kept function is right.
        response: mean pass of a response that is kept for demonstrations.
        relevance: mean score, 0 to 10, of a kept response.
        positive: mean pass of a preferred response; the rejected one has exactly 0.
        per_side: at most so many preferred and so many rejected responses make pairs.
        without_network: lines that mention a download or `requests` are left out of the functions.
        errors_fail: whether a function that fails on a response counts as 0 in its mean, or not at all.
    """

    functions: int
    cases: int
    case: Bar
    function: Bar
    response: Bar
    relevance: Bar
    positive: Bar
    per_side: int
    without_network: bool
    errors_fail: bool


GATES: dict[str, Gates] = {
    "paper": Gates(
        functions=1,
        cases=1,
        case=Bar(value=0.5, inclusive=False),
        function=Bar(value=0.5, inclusive=False),
        response=Bar(value=0.5, inclusive=False),
        relevance=Bar(value=8.0, inclusive=True),
        positive=Bar(value=0.5, inclusive=False),
        per_side=1,  # ASSUMED: the paper does not tell
        without_network=False,
        errors_fail=True,  # ASSUMED: the paper does not tell
    ),
    "code": Gates(
        functions=3,
        cases=10,
        case=Bar(value=0.0, inclusive=False),
        function=Bar(value=0.8, inclusive=True),
        response=Bar(value=0.0, inclusive=False),
        relevance=Bar(value=8.0, inclusive=False),
        positive=Bar(value=0.5, inclusive=True),
        per_side=2,
        without_network=True,
        errors_fail=False,
    ),
}


def find_gates(profile: str) -> Gates:
    """The gates of `paper` or `code`. Raises SettingsError for any other."""
    if profile not in GATES:
        raise SettingsError(f"there are no AutoIF gates {profile!r}; choose one of {', '.join(GATES)}")
    return GATES[profile]


def as_boolean(value: Any) -> bool | None:
    """A boolean, or the text of one in any case; None for anything else, numbers included."""
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.strip().strip("\"'.").lower())
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A response and whether it follows the instruction; `expected` is None when the model wrote no boolean."""

    text: str
    expected: bool | None


def _loads(text: str) -> Any:
    """JSON of a model: as it is, with Python's True and False, with backslashes that escape nothing."""
    mended = re.sub(r"(?<=[:\[,\s])(True|False)(?=\s*[,}\]])", lambda m: m[0].lower(), text)
    for candidate in (text, mended, re.sub(r'\\(?![\\"/bfnrtu])', r"\\\\", mended)):
        try:
            return json.loads(candidate, strict=False)
        except (ValueError, RecursionError):
            continue
    return None


def read_answer(reply: str) -> tuple[str, list[Case]] | None:
    """Function and cases of one reply `{"func": code, "cases": [{"input": text, "output": boolean}]}`.

    None when there is no such JSON in it. Never raises.
    """
    texts = [block.code for block in fenced_blocks(reply)] or [reply]
    start, end = reply.find("{"), reply.rfind("}")
    for text in (*texts, reply[start : end + 1] if 0 <= start < end else ""):
        row = _loads(text.strip())
        if isinstance(row, dict) and isinstance(row.get("func"), str) and isinstance(row.get("cases"), list):
            pairs = [c for c in row["cases"] if isinstance(c, dict) and isinstance(c.get("input"), str)]
            return row["func"], [Case(text=c["input"], expected=as_boolean(c.get("output"))) for c in pairs]
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifier:
    """A function that passed its gate, and the share of the kept cases on which it is right."""

    code: str
    accuracy: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossValidated:
    """What the gates leave of one instruction.

    Args:
        functions: the distinct functions that run; the rows of `matrix`.
        cases: the distinct cases with a boolean; its columns.
        matrix: results as booleans, None where a function failed or gave none.
        kept_cases: indices of columns.
        verifiers: kept functions; empty when the instruction is dropped.
        reason: why it is dropped.
        broken: reason -> how many functions did not run.
    """

    functions: tuple[str, ...]
    cases: tuple[Case, ...]
    matrix: tuple[tuple[bool | None, ...], ...]
    kept_cases: tuple[int, ...]
    verifiers: tuple[Verifier, ...]
    reason: str
    broken: Mapping[str, int]


def prepared(code: str, gates: Gates) -> str:
    """A function as it is run: line ends of one kind, and without the lines that the released code leaves out."""
    lines = code.replace("\r\n", "\n").strip("\n").split("\n")
    if gates.without_network:
        lines = [line for line in lines if not _NETWORK.search(line)]
    return "\n".join(lines)


def cross_validate(
    executor: Executor,
    functions: Sequence[str],
    cases: Sequence[Case],
    *,
    profile: str,
    seconds: float = SECONDS,
) -> CrossValidated:
    """Let functions and cases check each other, by the gates of `paper` or `code`.

    Raises:
        WorkerError: the sandbox failed.
        SettingsError: an unknown profile.
    """
    gates = find_gates(profile)
    inputs = tuple(dict.fromkeys(case for case in cases if case.expected is not None))
    kept: dict[str, tuple[bool | None, ...]] = {}
    broken: dict[str, int] = {}
    for code in dict.fromkeys(prepared(code, gates) for code in functions):
        row = call_all(executor, code, ENTRY, [(case.text,) for case in inputs], seconds=seconds)
        if isinstance(row, Result):
            broken[row.kind] = broken.get(row.kind, 0) + 1
        else:
            kept[code] = tuple(as_boolean(value) for value in row)
    matrix = tuple(kept.values())
    columns, reason = (), ""
    if len(kept) < gates.functions or len(inputs) < gates.cases:
        reason = f"{len(kept)} functions run and {len(inputs)} cases; {gates.functions} and {gates.cases} are needed"
    else:
        agree = [sum(row[j] is case.expected for row in matrix) / len(matrix) for j, case in enumerate(inputs)]
        columns = tuple(j for j, share in enumerate(agree) if gates.case.met(share))
    verifiers = []
    for code, row in kept.items():
        right = sum(row[j] is inputs[j].expected for j in columns)
        if columns and gates.function.met(right / len(columns)):
            verifiers.append(Verifier(code=code, accuracy=right / len(columns)))
    if not reason and not verifiers:
        reason = "no function passes" if columns else "no case is kept"
    return CrossValidated(
        functions=tuple(kept),
        cases=inputs,
        matrix=matrix,
        kept_cases=columns,
        verifiers=tuple(verifiers),
        reason=reason,
        broken=broken,
    )


def response_scores(
    executor: Executor, verifiers: Sequence[str], responses: Sequence[str], *, profile: str, seconds: float = SECONDS
) -> list[float | None]:
    """The mean pass of each response over the verifiers, in [0, 1]; None where no verifier gave a boolean.

    Raises:
        WorkerError: the sandbox failed.
    """
    gates, rows = find_gates(profile), []
    for code in verifiers:
        row = call_all(executor, prepared(code, gates), ENTRY, [(response,) for response in responses], seconds=seconds)
        rows.append([None] * len(responses) if isinstance(row, Result) else [as_boolean(value) for value in row])
    found: list[float | None] = []
    for given in zip(*rows, strict=True) if rows else ():
        told = [value for value in given if value is not None]
        total = len(given) if gates.errors_fail else len(told)
        found.append(sum(told) / total if told else None)
    return found or [None] * len(responses)


def kept_responses(scores: Sequence[float | None], *, profile: str) -> list[int]:
    """Indices of the responses that become demonstrations. A response without a score is not kept."""
    gates = find_gates(profile)
    return [index for index, score in enumerate(scores) if score is not None and gates.response.met(score)]


def relevance_score(reply: str) -> float | None:
    """The score of a judge's reply that ends in `Score: N`, the last one in it; None when there is none in 0..10."""
    found = _SCORE.findall(reply)
    value = float(found[-1]) if found else None
    return value if value is not None and 0 <= value <= 10 else None


def relevant(replies: Sequence[str], *, profile: str) -> bool | None:
    """Whether the mean of the judges' scores meets the gate; None when no reply holds a score."""
    scores = [score for reply in replies if (score := relevance_score(reply)) is not None]
    return find_gates(profile).relevance.met(sum(scores) / len(scores)) if scores else None


def pairs(scores: Sequence[float | None], *, profile: str) -> list[tuple[int, int]]:
    """(preferred, rejected) indices: the best that meet the gate, against those that every verifier fails.

    Ties go to the first; at most `per_side` x `per_side` pairs.
    """
    gates = find_gates(profile)
    told = [(index, score) for index, score in enumerate(scores) if score is not None]
    good = sorted((i for i, s in told if gates.positive.met(s)), key=lambda i: (-(scores[i] or 0), i))
    bad = [i for i, s in told if s == 0]
    return list(itertools.product(good[: gates.per_side], bad[: gates.per_side]))
