"""Soft labels by level and graded heads: the report's optima, hand values, a plain loop, and what is masked."""

import math

import pytest
import torch

from burnish.errors import DataError
from burnish.losses.graded import (
    LEVEL_TARGETS,
    UNGRADED,
    graded_reward_loss,
    level_sums,
    level_targets,
    optimum_margin,
)
from burnish.losses.reward import ordered_pairs, reward_loss
from burnish.records import GRADES, STRENGTHS

RANKS = [[0, 1], [0, 1, 2], [1, 0]]
LEVELS = [4, 1, 1, 1, 3]  # of the five pairs
SCORES = [1.0, -1.0, 2.0, 1.0, -1.0, 3.0, 0.0]
X = UNGRADED
GRADE = [[0, 1, 2, X], [X, X, X, X], [2, 2, 0, 1], [0, X, 1, 1], [1, 1, 1, 1], [X, 2, 0, 0], [0, 0, 2, 2]]


def least_loss(target):
    """The ranking loss at the optimum: the entropy of the label, nats; 0 at p = 1."""
    return -sum(p * math.log(p) for p in (target, 1 - target) if p > 0)


def wide(values):
    return torch.tensor(values, dtype=torch.float64)


def heads(seed=1):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(7, 4, 3, dtype=torch.float64, generator=generator)


def loss_of(scores, logits, *, grade_weight=0.1, targets=None, grades=GRADE, rows=3):
    targets = level_targets(LEVELS) if targets is None else targets
    return graded_reward_loss(
        scores,
        *ordered_pairs(RANKS),
        rows=rows,
        targets=targets,
        grade_logits=logits,
        grades=torch.tensor(grades),
        grade_weight=grade_weight,
    )


# level 4 is "significantly better"; the numbers are printed in spec §B.2
@pytest.mark.parametrize(
    ("level", "target", "margin", "loss"),
    [(4, 0.95, 2.944, 0.1985), (3, 0.85, 1.735, 0.4227), (2, 0.75, 1.099, 0.5623), (1, 0.65, 0.619, 0.6474)],
)
def test_the_optimum_of_each_level_is_logit_p_and_costs_its_entropy(level, target, margin, loss):
    assert LEVEL_TARGETS[level] == target
    assert optimum_margin(target) == pytest.approx(margin, abs=5e-4)
    assert least_loss(target) == pytest.approx(loss, abs=5e-5)
    best = optimum_margin(target)

    def at(difference):
        scores = wide([difference, 0.0]).requires_grad_()
        value, _ = graded_reward_loss(
            scores,
            *ordered_pairs([[0, 1]]),
            rows=1,
            targets=level_targets([level]),
            grade_logits=torch.zeros(2, 4, 3),
            grades=torch.full((2, 4), X),
            grade_weight=0.1,
        )
        return value.item(), torch.autograd.grad(value, scores)[0]

    value, gradient = at(best)
    assert value == pytest.approx(least_loss(target), rel=1e-12) and gradient.abs().max() < 1e-15
    for difference in (best - 1, best + 1, 0.0, -3.0, 40.0):
        value, gradient = at(difference)
        assert value > least_loss(target) + 1e-3
        by_hand = 1 / (1 + math.exp(-difference)) - target  # beyond the optimum the difference is pushed back
        assert gradient.tolist() == pytest.approx([by_hand, -by_hand], rel=1e-9)


def test_the_optimum_rises_with_the_level():
    assert set(LEVEL_TARGETS) == set(STRENGTHS)
    margins = [optimum_margin(LEVEL_TARGETS[level]) for level in sorted(STRENGTHS)]
    assert margins == sorted(margins) and len(set(margins)) == 4 and margins[0] > 0
    assert optimum_margin(1.0) == math.inf and least_loss(1.0) == 0


def test_three_rows_by_hand():
    logits = torch.zeros(7, 4, 3, dtype=torch.float64)
    loss, sums = loss_of(wide(SCORES), logits)

    def soft(p, d):
        return p * math.log1p(math.exp(-d)) + (1 - p) * math.log1p(math.exp(d))

    ranking = soft(0.95, 2) + (soft(0.65, 1) + soft(0.65, 3) + soft(0.65, 2)) / 3 + soft(0.85, -3)
    # a head that knows nothing costs ln 3 a grade: 3 + 0, then 2/3 of 4 + 3 + 4, then 3 + 4
    grading = math.log(3) * (3 + (2 / 3) * (4 + 3 + 4) + 3 + 4)
    assert loss.item() == pytest.approx((ranking + 0.1 * grading) / 3, rel=1e-12)
    assert sums["ranking"].item() == pytest.approx(ranking, rel=1e-12)
    assert sums["grading"].item() == pytest.approx(grading, rel=1e-12)
    assert sums["accuracy"].item() == pytest.approx(2) and sums["margin"].item() == pytest.approx(2 + 2 - 3)
    assert sums["graded"].item() == 3 + 4 + 3 + 4 + 3 + 4
    # equal logits say class 0, which is right where it was given
    assert sums["grade_accuracy"].item() == sum(row.count(0) for row in GRADE)


def test_flat_second_implementation_agrees_in_value_and_gradient():
    scores = wide([0.3, 0.1, -2.0, 1.5, 0.2, -0.4, 3.0]).requires_grad_()
    logits = heads().requires_grad_()
    loss, _ = loss_of(scores, logits, grade_weight=0.35)
    flat, start = torch.zeros((), dtype=torch.float64), 0
    levels = iter(LEVELS)

    def graded(response):
        total = torch.zeros((), dtype=torch.float64)
        for head in range(4):
            if GRADE[response][head] != X:
                cells = logits[response, head]
                total = total - torch.log(cells[GRADE[response][head]].exp() / cells.exp().sum())
        return total

    for row in RANKS:
        pairs = [(i, j) for i in range(len(row)) for j in range(len(row)) if row[i] < row[j]]
        for i, j in pairs:
            p = {4: 0.95, 3: 0.85, 2: 0.75, 1: 0.65}[next(levels)]
            right = 1 / (1 + torch.exp(scores[start + j] - scores[start + i]))
            rank = -p * torch.log(right) - (1 - p) * torch.log(1 - right)
            flat = flat + (rank + 0.35 * (graded(start + i) + graded(start + j))) / len(pairs) / 3
        start += len(row)
    assert abs((loss - flat).item()) < 1e-12
    for mine, second in zip(
        torch.autograd.grad(loss, (scores, logits)), torch.autograd.grad(flat, (scores, logits)), strict=True
    ):
        assert (mine - second).norm() < 1e-12 * second.norm()


def test_target_1_is_bradley_terry():
    scores = wide([0.3, 0.1, -2.0, 1.5, 0.2, -0.4, 3.0]).requires_grad_()
    loss, _ = loss_of(scores, heads(), grade_weight=0.0, targets=torch.ones(5, dtype=torch.float64))
    plain, _ = reward_loss(scores, *ordered_pairs(RANKS), rows=3)
    assert loss.item() == pytest.approx(plain.item(), rel=1e-15)
    (mine,), (second,) = torch.autograd.grad(loss, scores), torch.autograd.grad(plain, scores)
    assert (mine - second).abs().max() < 1e-15


def test_missing_grades_get_a_gradient_of_exactly_zero_whatever_their_logits():
    missing = torch.tensor(GRADE) == X
    logits = heads()
    clean, sums = loss_of(wide(SCORES), logits)
    dirty = torch.where(missing[..., None], torch.tensor([math.inf, -math.inf, math.nan]), logits).requires_grad_()
    loss, counted = loss_of(wide(SCORES), dirty)
    loss.backward()
    assert loss.item() == clean.item() and counted["grade_accuracy"].item() == sums["grade_accuracy"].item()
    assert torch.equal((dirty.grad == 0).all(-1), missing)


def test_a_batch_without_grades_is_the_ranking_alone():
    loss, sums = loss_of(wide(SCORES), heads(), grades=[[X] * 4] * 7)
    assert loss.item() == pytest.approx(sums["ranking"].item() / 3, rel=1e-15) and sums["graded"].item() == 0


def test_one_right_class_is_named_right():
    logits = torch.nn.functional.one_hot(torch.tensor(GRADE).clamp(min=0), 3).to(torch.float64) * 9
    sums = loss_of(wide(SCORES), logits)[1]
    assert sums["grade_accuracy"].item() == sums["graded"].item() == 21
    assert len(GRADES) == 4 and all(len(names) == 3 for names in GRADES.values())


def test_ties_and_unknown_levels_are_refused():
    assert level_targets([1, 4]).tolist() == [0.65, 0.95]
    for level in (None, 0, 5):
        with pytest.raises(DataError, match=r"pair 1 has preference level .*drop ties"):
            level_targets([2, level])


def test_accuracy_by_level():
    sums = level_sums(wide(SCORES), *ordered_pairs(RANKS)[:2], torch.tensor(LEVELS))
    told = {name: value.item() for name, value in sums.items()}
    assert [told[f"right_level_{level}"] for level in (1, 2, 3, 4)] == [3, 0, 0, 1]
    assert [told[f"pairs_level_{level}"] for level in (1, 2, 3, 4)] == [3, 0, 1, 1]
    assert [told[f"margin_level_{level}"] for level in (1, 2, 3, 4)] == [1 + 3 + 2, 0, -3, 2]
    tied = level_sums(torch.zeros(2), *ordered_pairs([[0, 1]])[:2], torch.tensor([2]))
    assert tied["right_level_2"].item() == 0 and tied["pairs_level_2"].item() == 1


def test_parts_add_up():
    logits, scores = heads(), wide(SCORES)
    whole, sums = loss_of(scores, logits)
    parts, targets = [], level_targets(LEVELS)
    for row, at, of in ([RANKS[0], slice(0, 2), slice(0, 1)], [RANKS[1], slice(2, 5), slice(1, 4)],
                        [RANKS[2], slice(5, 7), slice(4, 5)]):  # fmt: skip
        parts.append(
            graded_reward_loss(
                scores[at],
                *ordered_pairs([row]),
                rows=3,
                targets=targets[of],
                grade_logits=logits[at],
                grades=torch.tensor(GRADE)[at],
                grade_weight=0.1,
            )
        )
    assert sum(loss.item() for loss, _ in parts) == pytest.approx(whole.item(), rel=1e-12)
    for name, value in sums.items():
        assert sum(part[name].item() for _, part in parts) == pytest.approx(value.item(), rel=1e-12), name


def test_half_precision_is_summed_in_float32():
    scores = torch.tensor([1.0, 0.0] * 3000, dtype=torch.bfloat16)
    loss, sums = graded_reward_loss(
        scores,
        *ordered_pairs([[0, 1]] * 3000),
        rows=3000,
        targets=torch.ones(3000),
        grade_logits=torch.zeros(6000, 4, 3, dtype=torch.bfloat16),
        grades=torch.zeros(6000, 4, dtype=torch.int64),
        grade_weight=0.5,
    )
    assert loss.dtype == torch.float32 and sums["graded"].item() == 24000
    assert loss.item() == pytest.approx(math.log1p(math.exp(-1)) + 0.5 * 8 * math.log(3), rel=1e-5)
