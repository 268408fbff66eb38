"""The oracle as a judge that is asked: its answers to judging operations, by id.

Each is a plain function from an operation's record to the fields of its reply, or None where the oracle does not know
the truth. With `error`, comparisons are false as often as the oracle is told to err; the rest is without error.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from burnish.judge.operations.records import (
    Comparison,
    OneAnswer,
    OnePrompt,
    ReferencedAnswer,
    RubricAnswer,
)
from burnish.llm.operations import Answerer, Scripted
from burnish.microworld.oracle import Oracle, pieces
from burnish.microworld.prompting import checks_known_truth
from burnish.records import STRENGTHS

BEST = 6.0  # the highest utility
Fields = Mapping[str, Any]


def scripted_judge(oracle: Oracle | None = None) -> Scripted:
    """The oracle as an `Asker`, without a socket: what judges ask of it, it answers."""
    oracle = oracle or Oracle()
    return Scripted(identity=oracle.name, answers=oracle_answers(oracle))


def oracle_answers(oracle: Oracle) -> dict[str, Answerer]:
    """Operation id -> function, for all judging operations that the oracle can answer."""
    told: dict[str, Callable[[Oracle, Any], Fields]] = {
        "judge/pairwise": _pairwise,
        "judge/pairwise_no_tie": _better,
        "judge/same_or_different": _same,
        "judge/quality": _quality,
        "judge/absolute": _absolute,
        "judge/golden": _absolute,
        "judge/critique": _critique,
        "judge/rubric": _rubric,
        "judge/relevance": _relevance,
        "judge/difficulty": _difficulty,
        "judge/complexity": _complexity,
        "judge/correctness": _right,
        "judge/solution": _right,
        "judge/passes": _right,
        "judge/reasonable_path": _sound,
        "judge/informativeness": _informative,
        "judge/solvable": _solvable,
    }
    return {id: partial(_known, oracle, function) for id, function in told.items()}


def _known(oracle: Oracle, function: Callable[[Oracle, Any], Fields], record: Any) -> Fields | None:
    return function(oracle, record) if checks_known_truth(record.prompt) else None


def _pairwise(oracle: Oracle, record: Comparison) -> Fields:
    judgement = oracle.rank(record.prompt, [record.first, record.second])
    worth = [oracle.utility(record.prompt, response) for response in (record.first, record.second)]
    why = f"A is worth {worth[0]:.2f}, B {worth[1]:.2f}."
    if judgement.winner == -1 or judgement.strength is None:
        return {"why": why, "winner": "tie", "strength": "equal"}
    return {"why": why, "winner": "AB"[judgement.winner or 0], "strength": STRENGTHS[judgement.strength]}


def _better(oracle: Oracle, record: Comparison) -> Fields:
    """Of two alike, the one shown first: a judge that must name one has nothing else to go by."""
    fields = _pairwise(oracle, record)
    return {**fields, "winner": "A", "strength": STRENGTHS[1]} if fields["winner"] == "tie" else fields


def _same(oracle: Oracle, record: Comparison) -> Fields:
    one, two = (pieces(response.text)[0] for response in (record.first, record.second))
    right = [oracle.points(record.prompt, response)[0] for response in (record.first, record.second)]
    ends = all(right) or (not any(right) and bool(one) and bool(two) and one[-1] == two[-1])
    return {"why": f"{len(one)} and {len(two)} steps.", "same_method": one[:-1] == two[:-1], "same_result": ends}


def _quality(oracle: Oracle, record: OneAnswer) -> Fields:
    right, steps, form = oracle.points(record.prompt, record.response)
    return {"why": "The oracle's three points.", "accuracy": right, "instruction": steps, "presentation": form}


def _share(oracle: Oracle, record: Any) -> float:
    return min(1.0, max(0.0, oracle.utility(record.prompt, record.response) / BEST))


def _absolute(oracle: Oracle, record: Any) -> Fields:
    return {"why": "By utility.", "score": 1 + round(9 * _share(oracle, record))}


def _critique(oracle: Oracle, record: ReferencedAnswer) -> Fields:
    right, steps, form = oracle.points(record.prompt, record.response)
    why = f"The result is {'right' if right else 'wrong'}; the steps {'are' if steps else 'are not'} there."
    if right:
        flawless = steps and form
        return {"why": why, "band": "fully right" if flawless else "result right, method partly flawed",
                "score": 10 if flawless else 6 + steps + form}  # fmt: skip
    if steps:
        return {"why": why, "band": "method partly right, result wrong", "score": 4 + form}
    return {"why": why, "band": "all wrong", "score": 1}


def _rubric(oracle: Oracle, record: RubricAnswer) -> Fields:
    share = _share(oracle, record)
    scores = {c.field: c.low + round(share * (c.high - c.low)) for c in record.rubric.criteria}
    return {"why": "By utility.", **scores}


def _relevance(oracle: Oracle, record: OneAnswer) -> Fields:
    return {"why": "By form.", "score": 10 if oracle.utility(record.prompt, record.response) > 0 else 0}


def _difficulty(oracle: Oracle, record: OneAnswer) -> Fields:
    return {"why": "As it was drawn.", "difficulty": round(record.prompt.difficulty or 1)}


def _complexity(oracle: Oracle, record: OnePrompt) -> Fields:
    return {"why": "As it was drawn.", "complexity": 2 * round(record.prompt.difficulty or 1) - 1}


def _right(oracle: Oracle, record: Any) -> Fields:
    return {"why": "Checked.", "yes": oracle.points(record.prompt, record.response)[0]}


def _sound(oracle: Oracle, record: ReferencedAnswer) -> Fields:
    return {"why": "By the steps.", "yes": oracle.points(record.prompt, record.response)[1]}


def _informative(oracle: Oracle, record: OneAnswer) -> Fields:
    return {"why": "By what it says.", "yes": oracle.utility(record.prompt, record.response) > 0}


def _solvable(oracle: Oracle, record: OnePrompt) -> Fields:
    return {"why": "It was drawn with its answer.", "yes": True}
