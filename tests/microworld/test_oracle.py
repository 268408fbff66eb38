"""The oracle: error rate, strengths, edits of one step at most."""

from __future__ import annotations

import json

import pytest

from burnish.errors import WorkerError
from burnish.microworld import FAMILIES, Oracle, checkers, prompts
from burnish.microworld.oracle import one_step_edits, pieces
from burnish.microworld.prompting import as_prompt, response_to, tasks
from burnish.records import Message, Prompt, Sampling


def _drawn(count: int, seed: int = 1):
    streams = [tasks("train", family, seed=seed) for family in FAMILIES]
    drawn = [next(streams[number % len(streams)]) for number in range(count)]
    return [(task, as_prompt(task, "test")) for task in drawn]


def test_utility_puts_correctness_first_then_steps():
    oracle = Oracle()
    for task, prompt in _drawn(200):
        texts = {"answer": task.answer, "hasty": task.hasty, "terse": task.terse}
        values = {name: oracle.utility(prompt, response_to(prompt, text)) for name, text in texts.items()}
        assert values["answer"] == max(values.values()) == pytest.approx(6.0)
        right = checkers()[prompt.checker].check_text(prompt, task.hasty).correct
        assert right or values["hasty"] < values["terse"]


def test_longer_and_cut_off_answers_are_worth_less():
    ((task, prompt),) = _drawn(1)
    oracle, plain = Oracle(), response_to(prompt, task.answer)
    wordy = response_to(prompt, "so so so so so so so so so so so so so so so so so so. " + task.answer)
    assert oracle.utility(prompt, wordy) < oracle.utility(prompt, plain)


@pytest.mark.parametrize("error", [0.0, 0.2, 0.5])
def test_wrong_on_its_share_of_rows(error):
    wrong = rows = 0
    oracle = Oracle(seed=3, error=error)
    for task, prompt in _drawn(1000):
        pair = [response_to(prompt, task.hasty, model="a"), response_to(prompt, task.answer, model="b")]
        verdict = oracle.rank(prompt, pair)
        truth = Oracle(seed=3).rank(prompt, pair)
        rows += 1
        wrong += verdict.winner != truth.winner
    assert abs(wrong / rows - error) <= 3.5 * (error * (1 - error) / rows) ** 0.5


def test_verdicts_do_not_depend_on_the_order_of_the_rows():
    oracle = Oracle(seed=1, error=0.3)
    first_shown = 0
    for task, prompt in _drawn(200):
        a, b = response_to(prompt, task.hasty, model="a"), response_to(prompt, task.answer, model="b")
        one, two = oracle.rank(prompt, [a, b]), oracle.rank(prompt, [b, a])
        if one.winner == -1:
            assert two.winner == -1
        else:
            assert one.responses[one.winner] == two.responses[two.winner] and one.strength == two.strength
        assert [one.responses[i] for i in one.shown] == [two.responses[i] for i in two.shown]
        assert sorted(one.shown) == [0, 1] and one.parents == (a.id, b.id)
        first_shown += one.shown[0] == 0
    assert 60 < first_shown < 140


def test_strength_follows_the_margin_and_equal_answers_tie():
    oracle = Oracle()
    seen = set()
    for task, prompt in _drawn(300):
        same = [response_to(prompt, task.answer, model=m) for m in "ab"]
        assert oracle.rank(prompt, same).winner == -1 and oracle.rank(prompt, same).strength is None
        for other in (task.hasty, task.sloppy, task.terse):
            verdict = oracle.rank(prompt, [response_to(prompt, task.answer), response_to(prompt, other)])
            wrong = not checkers()[prompt.checker].check_text(prompt, other).correct
            assert verdict.winner in (0, -1)
            if wrong:
                assert verdict.strength in (3, 4)
            seen.add(verdict.strength)
    assert {3, 4} <= seen


def test_edit_changes_at_most_one_step_and_never_writes_the_answer_out():
    oracle, edits = Oracle(), 0
    for task, prompt in _drawn(1500, seed=9):
        assert oracle.edit(prompt, response_to(prompt, task.answer)) is None
        for text in (task.hasty, task.sloppy, task.terse):
            mended = oracle.edit(prompt, response_to(prompt, text))
            if mended is None:
                continue
            edits += 1
            (message,) = mended
            before, after = pieces(text)[0], pieces(message.content)[0]
            bare = lambda row: [piece.rstrip(". ") for piece in row]  # noqa: E731
            kept = _longest_common(bare(before), bare(after))
            assert max(len(before), len(after)) - kept == 1, (text, message.content)
            assert kept >= 1
            worth = [oracle.utility(prompt, response_to(prompt, t)) for t in (text, message.content)]
            assert worth[1] > worth[0]
    assert edits > 50


def _longest_common(a: list[str], b: list[str]) -> int:
    table = [[0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i, x in enumerate(a):
        for j, y in enumerate(b):
            table[i + 1][j + 1] = table[i][j] + 1 if x == y else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def test_edits_by_hand():
    answer = "7+8=15, 4+3+1=8. The answer is 85."
    assert one_step_edits("It is 75.", answer) == []
    assert one_step_edits("7+8=15, 4+3+1=8. The answer is 75.", answer) == [answer]
    assert "7+8=15, 4+3=7. The answer is 85." in one_step_edits("7+8=15, 4+3=7. The answer is 75.", answer)
    assert one_step_edits("7+8=15. The answer is 85.", answer) == ["7+8=15. 4+3+1=8. The answer is 85."]


def test_quality_has_four_values_and_its_noise():
    quiet, loud = Oracle(noise=0.0), Oracle(noise=0.4)
    off = 0
    drawn = _drawn(600)
    for task, prompt in drawn:
        good = response_to(prompt, task.answer)
        assert quiet.quality(prompt, good) >= 2
        assert 0 <= quiet.quality(prompt, response_to(prompt, "?")) <= 1
        off += loud.quality(prompt, good) != quiet.quality(prompt, good)
    assert 0.1 < off / len(drawn) < 0.45


@pytest.mark.parametrize("error", [0.0, 0.25])
def test_teacher_is_wrong_on_its_share_of_answers(error):
    rows = prompts("train", 500, seed=6)
    oracle, sampling = Oracle(seed=2, error=error), Sampling(temperature=1.0, max_new_tokens=48, seed=4)
    answers = oracle.answer(rows, n=2, sampling=sampling)
    assert [a.prompt for a in answers] == [p.id for p in rows for _ in range(2)]
    by_id = {prompt.id: prompt for prompt in rows}
    wrong = sum(not checkers()[by_id[a.prompt].checker].check(by_id[a.prompt], a).correct for a in answers)
    assert abs(wrong / 1000 - error) <= 3.5 * (error * (1 - error) / 1000) ** 0.5
    assert answers == oracle.answer(rows, n=2, sampling=sampling)
    assert all("simulated" in a.model for a in answers)


def test_foreign_prompts_are_unscored_not_guessed():
    foreign = Prompt(messages=(Message(role="user", content="?"),), checker="math", reference="42")
    answer = response_to(foreign, "42")
    assert Oracle().rank(foreign, [answer, answer]).unscored
    assert Oracle().judge([foreign], [answer])[0].unscored and Oracle().judge([foreign], [answer])[0].score is None
    assert Oracle().edit(foreign, answer) is None
    with pytest.raises(WorkerError, match="real teacher"):
        Oracle().answer([foreign], n=1, sampling=Sampling(temperature=0.0, max_new_tokens=8))


def test_judge_scores_each_response_by_its_utility():
    (prompt,) = prompts("train", 1, seed=8, families=["records"])
    rows = [response_to(prompt, json.loads(prompt.reference)["answer"]), response_to(prompt, "It is 0.")]
    scores = [row.score for row in Oracle().judge([prompt], rows)]
    assert scores[0] == pytest.approx(6.0) and scores[1] < 1
