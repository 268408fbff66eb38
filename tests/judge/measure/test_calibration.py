"""Calibration against people, what the order does, and best of n: by hand, by a flat script on real labels."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.judge.measure import (
    best_of_n,
    calibrate_choices,
    calibrate_scale,
    cohen_kappa,
    krippendorff_alpha,
    order_rates,
)
from tests.judge.real import rows


def test_choices_by_hand() -> None:
    found = calibrate_choices([0, 0, 1, -1, None], [0, 1, 1, -1, 0])
    told = {name: (e.value, e.n, e.unscored) for name, e in found.measures.items()}
    assert told["accuracy"] == (0.75, 4, 1)
    assert told["accuracy without ties"] == (pytest.approx(2 / 3), 3, 1)
    assert told["tie rate of the judge"] == (0.25, 4, 1)
    assert told["Cohen's kappa"][0] == pytest.approx((12 / 16 - 5 / 16) / (1 - 5 / 16))
    assert found.table == {(-1, -1): 1, (0, 0): 1, (0, 1): 1, (1, 1): 1}
    assert found.by_verdict[0].value == 0.5


def test_scale_by_hand() -> None:
    found = calibrate_scale([1, 2, 3, 4], [2, 2, 4, 4])
    assert found.measures["bias"].value == -0.5
    assert found.measures["mean absolute error"].value == 0.5
    assert found.measures["exact agreement"].value == 0.5
    assert found.by_verdict[3].value == 4 and found.by_verdict[3].low is None and found.by_verdict[3].why
    with pytest.raises(DataError, match="finite number"):
        calibrate_scale(["good"], ["bad"])


def test_nothing_to_calibrate_is_none_throughout() -> None:
    for found in (calibrate_choices([], []), calibrate_scale([None], [3])):
        assert all(e.value is None and e.why for e in found.measures.values())


def test_order_by_hand() -> None:
    """Four pairs: the same answer wins twice, place 0 wins twice, a tie and a win, one unreadable."""
    found = order_rates([0, 0, -1, 1], [1, 0, 0, None])
    told = {name: e.value for name, e in found.items()}
    third = pytest.approx(1 / 3)
    assert told == {
        "consistent": third,
        "ties": pytest.approx(1 / 6),
        "first both times": third,
        "second both times": 0,
        "position bias": third,
    }
    assert all(e.unscored == 1 for e in found.values())
    with pytest.raises(DataError, match="choice"):
        order_rates([2], [0])


choices = st.sampled_from([0, 1, -1, None])


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(choices, choices), max_size=20))
def test_swapping_the_two_answers_changes_nothing(pairs: list[tuple[int | None, int | None]]) -> None:
    """Naming the other answer the first exchanges the two orders, and no rate may move."""
    one = order_rates([f for f, _ in pairs], [b for _, b in pairs], draws=2)
    other = order_rates([b for _, b in pairs], [f for f, _ in pairs], draws=2)
    assert {n: e.value for n, e in one.items()} == {n: e.value for n, e in other.items()}


def test_an_always_first_judge() -> None:
    found = order_rates([0] * 9, [0] * 9)
    assert (found["consistent"].value, found["position bias"].value, found["first both times"].value) == (0, 1, 1)


def flat_kappa(first: list, second: list) -> float:
    n = len(first)
    same = sum(1 for i in range(n) if first[i] == second[i]) / n
    chance = sum((first.count(label) / n) * (second.count(label) / n) for label in set(first) | set(second))
    return (same - chance) / (1 - chance)


def test_pandalm_labels() -> None:
    """Three annotators, GPT-3.5 and PandaLM on the same 521 pairs, against a flat script."""
    found = rows("pandalm/testset")
    people = [[int(row[f"annotator{k}"]) for row in found] for k in (1, 2, 3)]
    read = {"Tie": 0, "1": 1, "2": 2, "0": 0}
    for judge in ("gpt_result", "pandalm_result"):
        verdicts = [read.get(str(row[judge])) for row in found]
        for labels in people:
            kept = [(v, h) for v, h in zip(verdicts, labels, strict=True) if v is not None]
            flat = [v for v, _ in kept], [h for _, h in kept]
            told = calibrate_choices(verdicts, labels, tie=0, draws=2)
            assert told.measures["accuracy"].value == sum(v == h for v, h in kept) / len(kept)
            assert told.measures["Cohen's kappa"].value == pytest.approx(flat_kappa(*flat), abs=1e-12)
            assert told.measures["accuracy"].unscored == len(found) - len(kept)
    garbage = sum(row["gpt_result"] == "garbage" for row in found)
    assert garbage == sum(read.get(str(row["gpt_result"])) is None for row in found) > 0
    for a, b in ((0, 1), (0, 2), (1, 2)):
        kappa = cohen_kappa(people[a], people[b], draws=2).value
        assert kappa == pytest.approx(flat_kappa(people[a], people[b]), abs=1e-12)
        assert kappa > 0.75  # the annotators agree well
    # Pairs of three raters without a gap, from counts alone.
    n, counts = 3 * len(found), {x: sum(labels.count(x) for labels in people) for x in (0, 1, 2)}
    apart = sum(
        a != b for trio in zip(*people, strict=True) for i, a in enumerate(trio) for j, b in enumerate(trio) if i != j
    )
    chance = sum(counts[x] * counts[y] for x in counts for y in counts if x != y) / (n - 1)
    alpha = krippendorff_alpha(list(zip(*people, strict=True)), draws=2).value
    assert alpha == pytest.approx(1 - apart / 2 / chance, abs=1e-12)


def test_autoj_labels() -> None:
    """695 pairs with a label; a judge that takes the longer answer, against a flat script."""
    found = rows("autoj/pairwise")
    labels = [int(row["label"]) for row in found]
    sizes = [(len(row["response 1"]), len(row["response 2"])) for row in found]
    verdicts = [2 if a == b else int(b > a) for a, b in sizes]
    told = calibrate_choices(verdicts, labels, tie=2, draws=2).measures
    assert told["accuracy"].value == sum(v == h for v, h in zip(verdicts, labels, strict=True)) / len(found)
    assert told["Cohen's kappa"].value == pytest.approx(flat_kappa(verdicts, labels), abs=1e-12)
    decided = [(v, h) for v, h in zip(verdicts, labels, strict=True) if 2 not in (v, h)]
    assert told["accuracy without ties"].value == sum(v == h for v, h in decided) / len(decided) > 0.5


def test_best_of_n_by_hand() -> None:
    found = best_of_n([[1.0, 2.0, None], [1.5, 1.0, None], [1.0, 1.0, 1.0]], [{"a": 1}, {"a": 2}, {"a": 0, "b": 7}])
    assert (found["a"].picked.value, found["a"].chance.value, found["a"].best.value) == (1.5, 1.25, 1.5)
    assert (found["a"].picked.n, found["a"].picked.unscored) == (2, 1)
    assert found["b"].picked.value is None and found["b"].picked.why


def test_best_of_n_on_real_picks() -> None:
    """GPT-4's preference for the picks of six reward models, where they picked among samples 0 to 10."""
    found = rows("rewardbench_bon/tulu2_samples")
    preferences = [[s.get("preference") for s in row["samples"]] for row in found]
    told = best_of_n(preferences, [row["best_of_16"] for row in found])
    assert len(told) == 6
    for name, picks in told.items():
        flat = [
            p[row["best_of_16"][name]]
            for p, row in zip(preferences, found, strict=True)
            if row["best_of_16"][name] <= 10
        ]
        assert picks.picked.n == len(flat) and picks.picked.value == pytest.approx(sum(flat) / len(flat), abs=1e-12)
        assert picks.chance.value - 0.05 < picks.picked.value < picks.best.value
    assert told["openbmb/UltraRM-13b"].gain.low > 0


def test_a_file_of_one_order_says_so() -> None:
    for sides in (([0, 1, -1], [None] * 3), ([0, None, 1], [None, 1, None])):
        found = order_rates(*sides)
        assert {(e.value, e.low, e.n, e.unscored) for e in found.values()} == {(None, None, 0, 3)}
        assert all(e.why.startswith("judged in one order only") for e in found.values())
    assert list(found) == list(order_rates([0], [1]))
    assert order_rates([None], [None])["consistent"].why == "there is no item"


def test_equal_values_have_no_interval_without_width() -> None:
    always = order_rates([0] * 30, [0] * 30)["position bias"]
    assert always.value == 1 and always.high == 1 and always.low == pytest.approx(2 * 0.8865 - 1, abs=1e-3)
    alike = calibrate_scale([1, 2, 3, 4] * 5, [2, 3, 4, 5] * 5).measures["bias"]
    assert (alike.value, alike.low) == (-1, None) and "same in every draw" in alike.why


def test_a_rater_with_one_label_has_no_interval_about_chance() -> None:
    for rate in (cohen_kappa([0] * 20, [0, 1] * 10), cohen_kappa([0, 1] * 10, [0, 1] * 10)):
        assert rate.value in (0, 1) and rate.low is rate.high is None and "same in every draw" in rate.why
