"""Judges that ask: both orders, scores or reasons, panels; with an oracle, and with askers of known faults."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from burnish.annotate import JudgeAnnotator, compare_pairs, make_preferences
from burnish.errors import BudgetError, DataError, SettingsError
from burnish.judge import (
    Absolute,
    Critique,
    Decision,
    Golden,
    How,
    Pairwise,
    Panel,
    Quality,
    Rubric,
    SameOrDifferent,
    agreement,
    autorater_mode,
    gold_text,
    grade_responses,
)
from burnish.judge.operations import RUBRIC
from burnish.llm.requests import Budget, Reply, Request, Store, Usage
from burnish.microworld import Oracle, scripted_judge
from burnish.records import Judgement, Message, Prompt, Response
from burnish.runs.identity import identity
from tests.judge.asked import ALWAYS_FIRST, TIE, Says, bench, response

PAIRS = bench(32)
ASKED = [prompt for prompt, _ in PAIRS]
RIGHT = [right for _, (right, _) in PAIRS]
WRONG = [wrong for _, (_, wrong) in PAIRS]
SWAPPED = [(prompt, pair[::-1]) for prompt, pair in PAIRS]


def named(judgement: Judgement) -> str:
    """The id of the winner, or what else it came to."""
    if judgement.unscored:
        return judgement.unscored.partition(":")[0]
    return "tie" if judgement.winner == -1 else judgement.responses[judgement.winner or 0]


def ranked(judge: Any, pairs: Any = PAIRS) -> list[str]:
    ready = judge.prepared(pairs)
    return [named(ready.rank(*pair)) for pair in pairs]


def test_an_oracle_yields_all_pairs() -> None:
    judge = Pairwise(asker=scripted_judge()).prepared(PAIRS)
    rows = [judge.rank(*pair) for pair in PAIRS]
    assert [named(row) for row in rows] == [right.id for right in RIGHT]
    assert all(row.strength in (1, 2, 3, 4) for row in rows)
    counted = judge.metrics()
    assert counted["won"] == counted["comparisons"] == len(PAIRS) and counted["consistent"] == 1.0
    assert counted["first_shown_wins"] == 0.5 and counted["requests"] == 2 * len(PAIRS)


@pytest.mark.parametrize("pairs", [PAIRS, SWAPPED])
def test_the_transcript_counts_answers_as_the_row_does(pairs: Any) -> None:
    judge = Pairwise(asker=scripted_judge()).prepared(pairs)
    for prompt, pair in pairs:
        judgement = judge.rank(prompt, pair)
        said = re.findall(r'\(answer (\d) shown first\).*?"winner": ?"([AB])"', judgement.transcript, re.DOTALL)
        assert sorted(number for number, _ in said) == ["1", "2"]
        for number, place in said:
            shown_first = int(number) - 1
            assert (shown_first if place == "A" else 1 - shown_first) == judgement.winner


def test_an_always_first_judge_yields_no_pair() -> None:
    judge = Pairwise(asker=Says(lambda request: ALWAYS_FIRST)).prepared(PAIRS)
    assert {named(judge.rank(*pair)) for pair in PAIRS} == {"inconsistent"}
    counted = judge.metrics()
    assert (counted["won"], counted["ties"], counted["inconsistent"]) == (0, 0, len(PAIRS))
    assert counted["consistent"] == 0.0 and counted["first_shown_wins"] == 1.0
    assert counted["first_shown_interval"][0] > 0.9
    assert ranked(replace(judge, known={}, inconsistent="tie")) == ["tie"] * len(PAIRS)


def test_in_one_order_the_placement_is_drawn_and_the_bias_shows() -> None:
    judge = Pairwise(asker=Says(lambda request: ALWAYS_FIRST), both=False).prepared(PAIRS)
    rows = [judge.rank(*pair) for pair in PAIRS]
    wins = sum(named(row) == right.id for row, right in zip(rows, RIGHT, strict=True))
    assert 0.2 < wins / len(PAIRS) < 0.8, "a biased judge must not favour one side of the rows"
    assert all(row.shown[0] == row.winner for row in rows)
    assert judge.metrics()["first_shown_wins"] == 1.0 and judge.metrics()["consistent"] is None
    other = ranked(replace(judge, known={}, seed=1))
    assert other != [named(row) for row in rows]


@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("error", [0.0, 0.4])
def test_swapping_labels_leaves_results_unchanged(both: bool, error: float) -> None:
    judge = Pairwise(asker=scripted_judge(Oracle(error=error)), both=both)
    assert ranked(judge, PAIRS) == ranked(judge, SWAPPED)
    assert judge.prepared(PAIRS).metrics() == judge.prepared(SWAPPED).metrics()
    biased = Pairwise(asker=Says(lambda request: ALWAYS_FIRST), both=both)
    assert ranked(biased, PAIRS) == ranked(biased, SWAPPED)


def test_the_requests_are_the_same_in_both_orders_of_the_rows() -> None:
    seen = []
    for pairs in (PAIRS, SWAPPED, PAIRS[::-1]):
        asker = Says(lambda request: TIE)
        Pairwise(asker=asker).prepared(pairs)
        seen.append({request.key() for request in asker.requests})
    assert seen[0] == seen[1] == seen[2] and len(seen[0]) == 2 * len(PAIRS)


def test_two_runs_give_identical_verdicts_and_prepared_asks_nothing_again() -> None:
    asker = Says(lambda request: ALWAYS_FIRST if len(request.record.first.text) % 2 else TIE)
    one, two = (Pairwise(asker=asker).prepared(PAIRS) for _ in range(2))
    sent = len(asker.requests)
    assert [one.rank(*pair) for pair in PAIRS] == [two.rank(*pair) for pair in PAIRS]
    assert len(asker.requests) == sent == 4 * len(PAIRS)


def verdict(*words: dict[str, Any] | str | Reply) -> Judgement:
    """The judgement on one pair: the first word where the right answer is shown first, the second where it is not."""
    (prompt, (right, wrong)) = PAIRS[0]
    asker = Says(lambda request: words[request.record.first.id != right.id])
    return Pairwise(asker=asker, how=How(reasks=0)).rank(prompt, (right, wrong))


def said(winner: str, strength: str) -> dict[str, Any]:
    return {"why": "x", "winner": winner, "strength": strength}


def test_two_verdicts_become_one_or_none() -> None:
    got = verdict(said("A", "significantly better"), said("B", "slightly better"))
    assert (got.winner, got.strength, got.unscored) == (0, 2, "")
    assert verdict(TIE, TIE).winner == -1
    assert "a tie in the other" in verdict(said("A", "better"), TIE).unscored
    assert verdict(said("A", "better"), "no idea").unscored.startswith("unreadable")
    lost = verdict(said("A", "better"), Reply(text=json.dumps(said("B", "better")), failure="the line is cut"))
    assert lost.unscored == "no reply: the line is cut" and lost.winner is None and lost.strength is None


def test_a_judge_that_answered_itself_is_counted() -> None:
    prompt, (right, wrong) = PAIRS[0]
    mine = replace(right, model="says", id="")
    judge = Pairwise(asker=Says(lambda request: TIE)).prepared([(prompt, (mine, wrong)), PAIRS[1]])
    assert judge.metrics()["self_judged"] == 1


def test_at_the_desk_it_makes_preferences_and_its_rates_stand_in_the_metrics() -> None:
    responses = [
        replace(answer, model=model, id="") for _, pair in PAIRS for model, answer in zip("ab", pair, strict=True)
    ]
    judge = Pairwise(asker=scripted_judge())
    outcome = compare_pairs(ASKED, responses, annotator=judge, round=1)
    assert outcome.metrics["annotator"]["consistent"] == 1.0
    assert outcome.metrics["annotator"]["comparisons"] == len(PAIRS)
    made = make_preferences(ASKED, responses, outcome.rows, round=1)
    assert len(made.rows) == len(PAIRS)
    assert {row.candidates[0].model for row in made.rows} == {"a"}
    first = Pairwise(asker=Says(lambda request: ALWAYS_FIRST))
    outcome = compare_pairs(ASKED, responses, annotator=first, round=1)
    made = make_preferences(ASKED, responses, outcome.rows, round=1)
    assert not made.rows and len(made.dropped) == len(PAIRS)
    assert {drop.unscored for drop in made.dropped} == {True}


def test_bad_settings_are_refused() -> None:
    with pytest.raises(SettingsError, match="'unscored' or 'tie'"):
        Pairwise(asker=scripted_judge(), inconsistent="first")
    with pytest.raises(SettingsError, match="two responses, not 1"):
        Pairwise(asker=scripted_judge()).rank(ASKED[0], [RIGHT[0]])
    with pytest.raises(DataError, match="not among the prompts"):
        Golden(asker=scripted_judge()).judge([], RIGHT[:1])


@pytest.mark.parametrize(
    "judge",
    [Absolute(asker=scripted_judge()), Golden(asker=scripted_judge()), Critique(asker=scripted_judge()),
     Quality(asker=scripted_judge()), Rubric(asker=scripted_judge(), rubric=RUBRIC.example.rubric)],
    ids=lambda judge: type(judge).__name__,
)  # fmt: skip
def test_pointwise_judges_score_right_answers_higher(judge: Any) -> None:
    good = judge.judge(ASKED, RIGHT)
    bad = judge.judge(ASKED, WRONG)
    assert all(row.score is not None and not row.unscored for row in good + bad)
    assert all(a.score >= b.score for a, b in zip(good, bad, strict=True))
    assert sum(a.score for a in good) > 1.2 * sum(b.score for b in bad)
    assert [row.responses for row in good] == [(answer.id,) for answer in RIGHT]
    assert json.loads(good[0].transcript)["why"]


def test_quality_adds_up_the_points_of_the_oracle() -> None:
    oracle = Oracle(noise=0.0)
    rows = Quality(asker=scripted_judge(oracle)).judge(ASKED, RIGHT + WRONG)
    asked = {prompt.id: prompt for prompt in ASKED}
    assert [row.score for row in rows] == [oracle.quality(asked[r.prompt], r) for r in RIGHT + WRONG]


def test_a_critique_can_be_split_hard() -> None:
    rows = Critique(asker=scripted_judge(), bound=5.0).judge(ASKED, RIGHT + WRONG)
    assert [row.score for row in rows] == [1.0] * len(RIGHT) + [0.0] * len(WRONG)


def test_without_a_golden_answer_nothing_is_asked_and_nothing_scored() -> None:
    prompt = Prompt(messages=(Message(role="user", content="Write a poem."),))
    answer = response(prompt, "Roses.")
    asker = Says(lambda request: {"why": "x", "score": 5})
    for judge in (Golden(asker=asker), Critique(asker=asker), SameOrDifferent(asker=asker)):
        (row,) = judge.judge([prompt], [answer])
        assert row.score is None and row.unscored == "the prompt has no golden answer"
    assert not asker.requests
    assert gold_text(replace(prompt, reference="42")) == "42"
    assert gold_text(replace(prompt, reference='{"answer": "It is 42.", "number": 42}')) == "It is 42."


def test_the_golden_answer_is_shown_to_those_who_may_see_it_only() -> None:
    prompt = replace(ASKED[0], reference='{"answer": "THE-GOLD"}', id="")
    answer = response(prompt, "x")
    for judge, sees in ((Golden, True), (Critique, True), (Absolute, False), (Quality, False)):
        asker = Says(lambda request: "no idea")
        judge(asker=asker).judge([prompt], [answer])
        assert asker.requests and all(("THE-GOLD" in r.messages[-1].content) == sees for r in asker.requests[:1])


def test_decisions_are_ones_and_noughts() -> None:
    rows = Decision(asker=scripted_judge(), question="solution").judge(ASKED, RIGHT + WRONG)
    assert [row.score for row in rows] == [1.0] * len(RIGHT) + [0.0] * len(WRONG)
    asker = Says(lambda request: {"why": "x", "yes": "no"})
    (row,) = Decision(asker=asker, question="correctness").judge(ASKED[:1], RIGHT[:1])
    assert row.score == 0.0 and row.unscored == ""
    with pytest.raises(SettingsError, match="not asked about one answer"):
        Decision(asker=asker, question="tag")


def test_a_second_run_from_the_store_gives_identical_verdicts(tmp_path: Path) -> None:
    moods = Random(1)
    asker = Says(lambda request: moods.choice([ALWAYS_FIRST, TIE, "no idea"]))
    work = SimpleNamespace(requests=tmp_path / "requests.sqlite", progress=lambda *words: None)
    judge = Pairwise(asker=asker)
    first = judge.prepared(PAIRS, work)
    sent = len(asker.requests)
    second = judge.prepared(SWAPPED, work)
    assert len(asker.requests) == sent > 2 * len(PAIRS)
    assert [first.rank(*pair) for pair in PAIRS] == [second.rank(*pair) for pair in PAIRS]
    assert first.metrics() == second.metrics()


def flaky(request: Request) -> Any:
    """Of ten answers one cannot be read, one is refused and one raises."""
    kind = int(request.record.response.id, 16) % 10
    if kind == 0:
        return "I would give it 9 out of 10."
    if kind == 1:
        return Reply(text='{"why": "x", "score": 9}', finish="content_filter")
    if kind == 2:
        raise OSError("the line is cut")
    return {"why": "x", "score": 7}


def test_no_failure_becomes_a_number_and_the_counts_add_up() -> None:
    prompt = ASKED[0]
    answers = [response(prompt, f"answer {n}") for n in range(200)]
    outcome = grade_responses([prompt], answers, judge=Absolute(asker=Says(flaky)))
    assert outcome.taken == len(outcome.rows) + len(outcome.dropped) == 200
    kinds = [int(answer.id, 16) % 10 for answer in answers]
    assert len(outcome.dropped) == sum(kind < 3 for kind in kinds) and all(drop.unscored for drop in outcome.dropped)
    assert {row.score for row in outcome.rows} == {7.0} and outcome.metrics["mean"] == 7.0
    assert outcome.metrics["unscored"] == {
        "unreadable": kinds.count(0), "refused": kinds.count(1), "no reply": kinds.count(2),
    }  # fmt: skip


def test_same_or_different_is_symmetric_or_unscored() -> None:
    judge = SameOrDifferent(asker=scripted_judge())
    same = judge.judge(ASKED, RIGHT)
    other = judge.compare(PAIRS)
    assert {row.score for row in same} == {1.0} and all(row.winner is None for row in other)
    assert [row.score for row in other] == [row.score for row in judge.compare(SWAPPED)]
    assert sum(row.score or 0 for row in other) < 0.2 * len(other)

    def lopsided(request: Request) -> Any:
        same = request.record.first.id < request.record.second.id
        return {"why": "x", "same_method": True, "same_result": same}

    (row,) = SameOrDifferent(asker=Says(lopsided)).compare(PAIRS[:1])
    assert row.score is None and row.unscored.startswith("inconsistent")
    says = Says(lambda request: {"why": "x", "same_method": False, "same_result": True})
    assert SameOrDifferent(asker=says).compare(PAIRS[:1])[0].score == 0.0
    assert SameOrDifferent(asker=says, method=False).compare(PAIRS[:1])[0].score == 1.0


def test_the_three_modes_of_the_autorater() -> None:
    prompt = Prompt(messages=(Message(role="user", content="?"),), ability="mathematics")
    assert autorater_mode(prompt) == "same" and autorater_mode(ASKED[0]) == "golden"
    assert autorater_mode(replace(prompt, ability="writing", id="")) == "absolute"


class Fixed:
    """An annotator and judge with one opinion, of the answers in the order of their ids."""

    def __init__(self, winner: int | None, strength: int | None = None, score: float | None = None) -> None:
        self.winner, self.strength, self.score = winner, strength, score
        self.name = f"fixed {winner} {score}"

    def rank(self, prompt: Prompt, responses: Any) -> Judgement:
        ids = tuple(sorted(r.id for r in responses))
        unscored = "no idea" if self.winner is None else ""
        return Judgement(prompt=prompt.id, responses=ids, judge=self.name, winner=self.winner, strength=self.strength,
                         unscored=unscored)  # fmt: skip

    def judge(self, prompts: Any, responses: Any, *, work: Any = None) -> list[Judgement]:
        unscored = "no idea" if self.score is None else ""
        return [
            Judgement(prompt=r.prompt, responses=(r.id,), judge=self.name, score=self.score, unscored=unscored)
            for r in responses
        ]


@pytest.mark.parametrize(
    ("rule", "members", "winner", "strength"),
    [
        ("majority", [(0, 1), (0, 4), (1, 4)], 0, 1),
        ("majority", [(0, 2), (0, 3), (0, 4)], 0, 3),
        ("majority", [(0, 2), (1, 3)], -1, None),
        ("majority", [(-1, None), (-1, None), (1, 4)], -1, None),
        ("majority", [(0, 2), (None, None), (0, 3)], 0, 2),
        ("mean", [(0, 1), (0, 1), (1, 4)], 1, 1),
        ("mean", [(0, 4), (0, 3), (-1, None)], 0, 2),
        ("mean", [(0, 2), (1, 2)], -1, None),
    ],
)
def test_a_panel_elects(rule: str, members: list, winner: int, strength: int | None) -> None:
    prompt, pair = PAIRS[0]
    ordered = sorted(pair, key=lambda answer: answer.id)
    panel = Panel(members=tuple(Fixed(*member) for member in members), rule=rule)
    for responses in (ordered, ordered[::-1]):
        got = panel.rank(prompt, responses)
        assert got.responses == tuple(r.id for r in responses) and got.unscored == ""
        assert (got.winner, got.strength) == (
            1 - winner if responses is not ordered and winner >= 0 else winner,
            strength,
        )
    assert got.transcript.count("[fixed") == len(members)


def test_a_panel_needs_more_than_half_its_members() -> None:
    prompt, pair = PAIRS[0]
    got = Panel(members=(Fixed(0, 3), Fixed(None))).rank(prompt, pair)
    assert got.unscored == "1 of 2 judges gave no verdict: no idea" and got.winner is None
    with pytest.raises(SettingsError, match="two or more"):
        Panel(members=(Fixed(0, 1),))
    with pytest.raises(SettingsError, match="majority, mean"):
        Panel(members=(Fixed(0, 1), Fixed(0, 1)), rule="median")


@pytest.mark.parametrize(
    ("rule", "scores", "score", "unscored"),
    [
        ("mean", [1.0, 2.0, 6.0], 3.0, ""),
        ("mean", [1.0, None, 2.0], 1.5, ""),
        ("majority", [1.0, 2.0, 2.0], 2.0, ""),
        ("majority", [1.0, 2.0, 3.0], None, "no majority: 1, 2, 3"),
        ("mean", [1.0, None, None], None, "2 of 3 judges gave no verdict: no idea"),
    ],
)
def test_a_panel_scores(rule: str, scores: list, score: float | None, unscored: str) -> None:
    panel = Panel(members=tuple(Fixed(0, 1, value) for value in scores), rule=rule)
    (got,) = panel.judge(ASKED[:1], RIGHT[:1])
    assert (got.score, got.unscored) == (score, unscored)


def test_a_panel_of_asked_judges_tells_how_far_they_agree() -> None:
    good = Pairwise(asker=scripted_judge())
    noisy = [Pairwise(asker=scripted_judge(Oracle(seed=seed, error=0.3))) for seed in (1, 2)]
    panel = Panel(members=(good, *noisy)).prepared(PAIRS)
    assert ranked(panel) == ranked(panel, SWAPPED)
    counted = panel.metrics()
    assert 0.3 < counted["agreement"] < 1.0 and len(counted["members"]) == 3
    assert counted["members"][0]["consistent"] == 1.0
    right = sum(named(panel.rank(*pair)) == answer.id for pair, answer in zip(PAIRS, RIGHT, strict=True))
    alone = sum(name == answer.id for name, answer in zip(ranked(noisy[0]), RIGHT, strict=True))
    assert right >= alone


def test_agreement_by_hand() -> None:
    def row(*winners: int | None) -> list[Judgement]:
        return [
            Judgement(prompt="p", responses=("a", "b"), judge="j", winner=w, unscored="" if w is not None else "why")
            for w in winners
        ]

    assert agreement([row(0, 0, 1), row(1, 1, None)]) == 2 / 4
    assert agreement([row(None, 0)]) is None


def test_a_judge_that_scores_serves_as_annotator() -> None:
    annotator = JudgeAnnotator(judge=Golden(asker=scripted_judge()), name="golden").prepared(PAIRS)
    assert [named(annotator.rank(*pair)) for pair in PAIRS] == [right.id for right in RIGHT]


def test_judges_have_a_stable_identity_without_what_they_know() -> None:
    judge = Pairwise(asker=scripted_judge())
    before = identity(judge)
    assert identity(judge.prepared(PAIRS)) == before
    assert identity(replace(judge, how=How(at_once=3))) == before
    assert identity(replace(judge, seed=1)) != before
    assert identity(Pairwise(asker=scripted_judge(Oracle(error=0.1)))) != before
    panel = Panel(
        members=(Golden(asker=scripted_judge()), Rubric(asker=scripted_judge(), rubric=RUBRIC.example.rubric))
    )
    assert "rubric" in json.dumps(identity(panel))


def test_responses_are_shown_with_all_their_messages() -> None:
    prompt, (right, _) = PAIRS[0]
    called = Response(prompt=prompt.id, messages=(
        Message(role="assistant", content="add(1, 2)", end="message"), Message(role="ipython", content="3"),
        Message(role="assistant", content="It is three."),
    ))  # fmt: skip
    asker = Says(lambda request: TIE)
    Pairwise(asker=asker).rank(prompt, (right, called))
    shown = asker.requests[0].messages[-1].content
    assert "Assistant: add(1, 2)\n\nTool: 3\n\nAssistant: It is three." in shown


def test_a_panel_of_judges_that_compare_and_judges_that_score_is_refused() -> None:
    compares, scores = Pairwise(asker=scripted_judge()), Golden(asker=scripted_judge())
    with pytest.raises(SettingsError, match="Pairwise compares, Golden scores"):
        Panel(members=(compares, scores))
    with pytest.raises(SettingsError, match="str does neither"):
        Panel(members=("http://gpu1:8000/v1#m", scores))
    Panel(members=(compares, JudgeAnnotator(judge=scores, name="golden"))).prepared(PAIRS).rank(*PAIRS[0])
    prompt, responses = PAIRS[0]
    with pytest.raises(SettingsError, match="no `judge`: its member Pairwise compares"):
        Panel(members=(compares, compares)).judge([prompt], responses)
    for call in (lambda panel: panel.rank(prompt, responses), lambda panel: panel.prepared(PAIRS)):
        with pytest.raises(SettingsError, match="no `rank`: its member Golden scores"):
            call(Panel(members=(scores, scores)))


def test_judges_outside_a_step_share_a_store_and_a_budget(tmp_path: Path) -> None:
    def member(identity: str, tokens: int) -> Pairwise:
        asker = Says(lambda request: Reply(text=json.dumps(TIE), usage=Usage(prompt=40, completion=10)), identity)
        return Pairwise(asker=asker, how=How(store=tmp_path / "kept" / "p.sqlite", budget=Budget(tokens=tokens)))

    few = PAIRS[:10]
    with pytest.raises(BudgetError, match="1,500"):  # the first spends 1,000, the second what is left
        Panel(members=(member("one", 1_500), member("two", 1_500))).prepared(few)
    members = (member("one", 9_000), member("two", 9_000))
    panel = Panel(members=members).prepared(few)
    assert panel.metrics()["agreement"] == 1.0
    sent = [len(one.asker.requests) for one in members]
    assert sent[0] == 0 and 0 < sent[1] < 20, "what was paid for before the budget was spent is not paid again"
    with Store(tmp_path / "kept" / "p.sqlite") as store:
        assert len(store) == 40
