"""AutoIF's gates on made-up matrices and on the authors' own samples."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from burnish.errors import SettingsError
from burnish.protocols import Executor
from burnish.verify.code import GATES, cross_validate, response_scores
from burnish.verify.code.autoif import (
    Case,
    as_boolean,
    kept_responses,
    pairs,
    read_answer,
    relevance_score,
    relevant,
)

Rows = Callable[[str], list[dict[str, Any]]]


def function(body: str) -> str:
    return f"def evaluate(response):\n    return {body}"


def cases(**given: Any) -> list[Case]:
    return [Case(text=text, expected=as_boolean(expected)) for text, expected in given.items()]


@pytest.mark.parametrize(
    ("value", "meant"),
    [(True, True), (False, False), ("True", True), ("false", False), (" TRUE ", True), ('"false"', False),
     ("yes", None), (1, None), (0, None), (None, None), ([], None)],
)  # fmt: skip
def test_texts_of_booleans_are_booleans(value: Any, meant: bool | None) -> None:
    assert as_boolean(value) is meant


def test_the_gates_are_the_papers_and_the_codes() -> None:
    paper, code = GATES["paper"], GATES["code"]
    assert (paper.functions, paper.cases, code.functions, code.cases) == (1, 1, 3, 10)
    for bar, below, above in (
        (paper.case, 0.5, 0.51),
        (paper.function, 0.5, 0.51),
        (paper.response, 0.5, 0.51),
        (paper.relevance, 7.9, 8.0),
        (paper.positive, 0.5, 0.51),
        (code.case, 0.0, 0.01),
        (code.function, 0.79, 0.8),
        (code.response, 0.0, 0.01),
        (code.relevance, 8.0, 8.1),
        (code.positive, 0.49, 0.5),
    ):
        assert not bar.met(below) and bar.met(above)


def test_the_papers_gates_on_a_matrix(executor: Executor) -> None:
    """Three functions, two of which agree with three of four cases."""
    functions = [function("'a' in response"), function("response.count('a') > 0"), function("'b' in response")]
    found = cross_validate(
        executor, [*functions, functions[0]], cases(a="True", xa=True, b="false", ab=False), profile="paper"
    )
    assert found.functions == tuple(functions) and not found.reason
    assert found.matrix == ((True, True, False, True), (True, True, False, True), (False, False, True, True))
    assert found.kept_cases == (0, 1, 2)  # `ab` is True for all, and nobody agrees with False
    assert [(v.code, v.accuracy) for v in found.verifiers] == [(functions[0], 1.0), (functions[1], 1.0)]


def test_the_codes_gates_on_a_matrix(executor: Executor) -> None:
    """Any function that agrees keeps a case; 0.8 of the kept cases keeps a function; lines with a network go."""
    given = {f"{'a' * (n + 1)}": "True" for n in range(5)} | {"b" * (n + 1): "False" for n in range(5)}
    functions = [
        function("'a' in response"),
        "import requests\n" + function("str('a' in response)"),
        function("len(response) > 1"),
        function("1 / 0"),
        "def other(response): return True",
        "def evaluate(response:",
    ]
    found = cross_validate(executor, functions, cases(**given), profile="code")
    assert len(found.functions) == 4 and found.broken == {"name": 1, "syntax": 1}
    assert found.kept_cases == tuple(range(10)) and [v.accuracy for v in found.verifiers] == [1.0, 1.0]
    assert found.matrix[3] == (None,) * 10
    few = cross_validate(executor, functions[:2], cases(**given), profile="code")
    assert few.verifiers == () and "2 functions run and 10 cases; 3 and 10 are needed" in few.reason
    short = cross_validate(executor, functions, cases(**dict(list(given.items())[:9])), profile="code")
    assert short.verifiers == () and "9 cases" in short.reason
    assert cross_validate(executor, functions[:2], cases(**given), profile="paper").reason == ""


def test_nothing_left_has_a_reason(executor: Executor) -> None:
    assert "no case" in cross_validate(executor, [function("True")], cases(a=False), profile="paper").reason
    half = [function("True"), function("False")]
    assert "no case" in cross_validate(executor, half, cases(a=True, b=False), profile="paper").reason
    assert "0 functions" in cross_validate(executor, ["x = ("], cases(a=True), profile="paper").reason
    assert "0 cases" in cross_validate(executor, [function("True")], cases(a="maybe"), profile="paper").reason
    with pytest.raises(SettingsError, match="paper, code"):
        cross_validate(executor, [], [], profile="papers")


def test_a_function_that_hangs_costs_its_time_only(executor: Executor) -> None:
    hang = "def evaluate(response):\n    while response == 'a': pass\n    return True"
    found = cross_validate(executor, [hang], cases(a=True, b=True, c=True), profile="paper", seconds=0.5)
    assert found.matrix == ((None, True, True),)
    assert found.kept_cases == (1, 2) and found.verifiers[0].accuracy == 1.0


def test_responses(executor: Executor) -> None:
    verifiers = [function("'a' in response"), function("response.isupper()"), function("1 / (response != '')")]
    verifiers[2] = "def evaluate(response):\n    1 / len(response)\n    return 'true'"
    scores = response_scores(executor, verifiers, ["aA", "A", "x", ""], profile="paper")
    assert scores == [2 / 3, 2 / 3, 1 / 3, 0.0]
    assert response_scores(executor, verifiers, [""], profile="code") == [0.0]
    assert response_scores(executor, ["x = ("], ["a"], profile="code") == [None]
    assert response_scores(executor, [], ["a"], profile="code") == [None]
    assert kept_responses([2 / 3, 0.5, 0.1, 0.0, None], profile="paper") == [0]
    assert kept_responses([2 / 3, 0.5, 0.1, 0.0, None], profile="code") == [0, 1, 2]
    assert pairs([0.5, 0.0, 1.0, 0.0, 0.0, 0.6, None], profile="code") == [(2, 1), (2, 3), (5, 1), (5, 3)]
    assert pairs([0.5, 0.0, 1.0], profile="paper") == [(2, 1)]
    assert pairs([0.5, 0.0], profile="paper") == [] and pairs([0.5, 0.0], profile="code") == [(0, 1)]


@pytest.mark.parametrize(
    ("reply", "score"),
    [("Good.\nScore: 8", 8.0), ("Score: 3 at first. Score: **9.5**", 9.5), ("Score: 11", None), ("8", None)],
)
def test_relevance(reply: str, score: float | None) -> None:
    assert relevance_score(reply) == score


def test_answers_are_read() -> None:
    text = '{"func": "def evaluate(response):\\n    return True", "cases": [{"input": "a", "output": "True"}]}'
    wanted = ("def evaluate(response):\n    return True", [Case(text="a", expected=True)])
    python = text.replace('"True"}', "True}")
    for reply in (text, f"```json\n{text}\n```", f"Sure:\n{text}\nDone.", python, f"```\n{python}```"):
        assert read_answer(reply) == wanted
    for reply in ("", "no", "[1]", '{"func": 3, "cases": []}', '{"func": "x"}', "{" * 9999):
        assert read_answer(reply) is None


def test_the_authors_accuracies_are_reproduced(executor: Executor, rows: Rows) -> None:
    """The accuracy beside each released function is ours, where cases are booleans; as texts they count as 0 there."""
    kept = rows("autoif_samples/back_trans")
    told, recovered = 0, 0
    for row in kept + rows("autoif_samples/query_rft"):
        given = [Case(text=text, expected=as_boolean(expected)) for text, expected in row["cases"]]
        codes = [code for code, _ in row["eval_func"]]
        found = cross_validate(executor, codes, given, profile="code")
        assert len(found.cases) == len(given) and set(found.functions) == set(codes)
        for code, accuracy in row["eval_func"]:
            line = found.matrix[found.functions.index(code)]
            as_they_are = sum(a is expected for a, (_, expected) in zip(line, row["cases"], strict=True)) / len(given)
            ours = sum(a is case.expected for a, case in zip(line, given, strict=True)) / len(given)
            assert as_they_are == pytest.approx(accuracy), (row["instruction"], code)
            told += 1
            recovered += ours > accuracy
        if row in kept and len(codes) >= 3 and len(given) >= 10:
            assert len(found.verifiers) == len(codes) and len(found.kept_cases) == len(given)
    assert told == 66 and recovered > 0


def test_the_string_booleans_of_the_samples_are_recovered(executor: Executor, rows: Rows) -> None:
    """Of the authors' 40 raw answers some hold texts for booleans: compared as they are, they are lost."""
    texts = recovered = read = 0
    for row in rows("autoif_samples/eval_func_rft"):
        answers = [found for reply in row["gpt-answer"] if (found := read_answer(reply))]
        read += len(answers)
        raw = [reply for reply in row["gpt-answer"] if '"output": "True"' in reply or '"output": "False"' in reply]
        texts += sum(reply.count('"output": "True"') + reply.count('"output": "False"') for reply in raw)
        given = [case for _, found in answers for case in found]
        assert all(case.expected is not None for case in given)
        from_texts = {case for reply in raw if (a := read_answer(reply)) for case in a[1]}
        found = cross_validate(executor, [code for code, _ in answers], given, profile="code")
        recovered += sum(found.cases[j] in from_texts for j in found.kept_cases)
        assert len(found.functions) >= 3 and len(found.cases) >= 10 and not found.broken.get("syntax")
    # 37 answers are strict JSON; three more hold Python's True or an escape that JSON does not know.
    assert read == 40 and texts == 18 and recovered >= 10


def test_the_authors_relevance_gate_is_reproduced(rows: Rows) -> None:
    scored, kept = rows("autoif_samples/query_rft_score"), rows("autoif_samples/query_score_filter")
    ours = [row["beam_unique_id"] for row in scored if relevant(row["gen"], profile="code")]
    assert ours == [row["beam_unique_id"] for row in kept] and len(ours) == 16
    papers = [row for row in scored if relevant(row["gen"], profile="paper")]
    assert len(papers) > 16  # a score of 8 meets the paper's gate and not the code's
    assert relevant(["no score"], profile="code") is None


def test_the_authors_pairs_have_both_sides(rows: Rows) -> None:
    found = {}
    for row in rows("autoif_samples/dpo_query_eval_score_results"):
        scores = [score for _, score in row["response"]]
        found[row["query"]] = made = pairs(scores, profile="code")
        assert all(scores[a] >= 0.5 and scores[b] == 0 for a, b in made) and len(made) <= 4
        assert bool(made) == (0 < sum(map(bool, scores)) < len(scores))
    assert sum(map(bool, found.values())) == 3
