"""SFT on every answer of a dialogue, and on those whose switch is on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from burnish.errors import DataError, SettingsError
from burnish.records import Candidate, Demonstration, Preference
from burnish.train import train_rows
from burnish.train.objectives import Imitation
from tests.train.material import LOOP, demonstrations, folders, said
from tests.train.test_whole_step import mine, whole

TURNS = (("1 + 1", "It is 2."), ("2 + 2?", "4"), ("and 3 + 3", "That is 6, I think."))


def dialogue(*off: int, until: int = 3) -> Demonstration:
    """The first turns as one row; the answers in `off` are switched off."""
    messages = []
    for number, (asked, answer) in enumerate(TURNS[:until]):
        messages += [said("user", asked), replace(said("assistant", answer), train=number not in off)]
    return Demonstration(prompt="p", context=tuple(messages[:-1]), response=(messages[-1],))


@pytest.mark.parametrize("off", [(), (0,), (1,), (0, 2)])
def test_all_is_the_sum_of_a_row_for_each_answer(base, off):
    """The loss of a dialogue is that of its beginnings, each trained on its last answer, weighed by their tokens."""
    found = mine(base, Imitation(train_on="all"), [dialogue(*off)], split=whole)
    parts = [dialogue(until=number + 1) for number in range(3) if number not in off]
    wanted = mine(base, Imitation(), parts, split=whole)
    assert found[0] == pytest.approx(wanted[0], rel=1e-6)
    for name, gradient in wanted[1].items():
        assert (found[1][name] - gradient).norm() <= 1e-6 * gradient.norm(), name
    if off != (0, 2):
        alone = mine(base, Imitation(), [dialogue()], split=whole)
        assert abs(alone[0] - found[0]) > 1e-3


def test_rows_in_which_nothing_is_trained_are_dropped_and_counted(base, tmp_path):
    """However many there are: their author switched them off."""
    rows = [*demonstrations(4), dialogue(2), dialogue(0, 1, 2)]
    outcome = train_rows(base, rows, method="sft", work=folders(tmp_path / "a"), **LOOP, refuse_above=0.0)
    assert (outcome.taken, outcome.kept) == (6, 4)
    assert [(row.reason, row.parents[0]) for row in outcome.dropped] == [
        ("nothing in it is trained", row.id) for row in rows[4:]
    ]
    more = {"train_on": "all", "refuse_above": 0.0}
    outcome = train_rows(base, rows, method="sft", work=folders(tmp_path / "b"), **LOOP, **more)
    assert outcome.kept == 5 and [row.parents[0] for row in outcome.dropped] == [rows[5].id]
    with pytest.raises(DataError, match=r"2 of 2 training rows were dropped.*nothing in it is trained"):
        train_rows(base, rows[4:], method="sft", **LOOP)


def test_a_preference_with_an_answer_that_is_switched_off_is_dropped(base):
    off = (replace(said("assistant", "no"), train=False),)
    answers = (Candidate(role="chosen", messages=(said("assistant", "2"),)), Candidate(role="rejected", messages=off))
    rows = [Preference(prompt="p", context=(said("user", "1 + 1"),), candidates=answers)]
    with pytest.raises(DataError, match=r"nothing in it is trained.*answer 2 is switched off"):
        train_rows(base, rows, method="dpo", **LOOP)


def test_an_unknown_choice_is_named_with_the_fix(base):
    with pytest.raises(SettingsError, match="train_on is 'first'; choose one of last, all"):
        train_rows(base, demonstrations(2), method="sft", train_on="first", **LOOP)
