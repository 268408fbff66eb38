"""What surrounds the losses: several rewards as one, WARP's anchor, and draws that a resumed run repeats."""

import math

import pytest
import torch

from burnish.errors import DataError, SettingsError
from burnish.losses.on_policy import combined, moved_anchor, on_policy_turn, replay_rows
from tests.losses.on_policy.material import drawn

# --- several rewards

HELPFUL, SAFE = torch.tensor([[1.0, 3.0], [5.0, 7.0]]).double(), torch.tensor([[0.0, 0.0], [1.0, 1.0]]).double()


def test_three_rewards_by_hand():
    parts, weights = {"helpful": HELPFUL, "safe": SAFE}, {"helpful": 2.0, "safe": 1.0}
    plain, known = combined(parts, weights, standardise=False)
    assert plain.tolist() == [[2, 6], [11, 15]] and known.all()
    std = math.sqrt(5)
    found, _ = combined(parts, weights)
    assert found.flatten().tolist() == pytest.approx([2 * a / std + b for a, b in ((-3, -1), (-1, -1), (1, 1), (3, 1))])
    # linear in its weights, and one coefficient alone orders as its own model does
    twice, _ = combined(parts, {name: 2 * w for name, w in weights.items()})
    torch.testing.assert_close(twice, 2 * found)
    alone, _ = combined(parts, {"helpful": 1.0, "safe": 0.0})
    assert alone.flatten().argsort().tolist() == HELPFUL.flatten().argsort().tolist()
    # the scale of one model does not drown the other
    scaled, _ = combined({"helpful": 1000 * HELPFUL + 7, "safe": SAFE}, weights)
    torch.testing.assert_close(scaled, found)


def test_a_missing_part_makes_the_reward_missing_and_is_in_no_mean():
    known = {"safe": torch.tensor([[True, True], [True, False]])}
    broken = SAFE.clone()
    broken[1, 1] = math.nan
    found, there = combined({"helpful": HELPFUL, "safe": broken}, {"helpful": 1.0, "safe": 1.0}, known=known)
    assert there.tolist() == known["safe"].tolist() and found[1, 1] == 0
    std = math.sqrt(2 / 9)
    assert (found[0, 0] - (-3 / math.sqrt(5))).item() == pytest.approx(-1 / 3 / std)
    # a part of no weight is not looked at
    there = combined({"helpful": HELPFUL, "safe": broken}, {"helpful": 1.0, "safe": 0.0}, known=known)[1]
    assert there.all()
    flat = combined({"helpful": HELPFUL, "safe": torch.full((2, 2), 1 / 3)}, {"helpful": 1.0, "safe": 1.0})[0]
    torch.testing.assert_close(flat, combined({"helpful": HELPFUL}, {"helpful": 1.0})[0])


def test_a_missing_model_is_refused():
    with pytest.raises(SettingsError, match="rule"):
        combined({"helpful": HELPFUL}, {"helpful": 1.0, "rule": 1.0})
    with pytest.raises(SettingsError, match="other than 0"):
        combined({"helpful": HELPFUL}, {"helpful": 0.0})
    with pytest.raises(DataError, match="safe holds"):
        combined({"helpful": HELPFUL, "safe": SAFE / 0}, {"helpful": 1.0, "safe": 1.0})
    with pytest.raises(DataError, match="shape"):
        combined({"helpful": HELPFUL, "safe": SAFE[:1]}, {"helpful": 1.0, "safe": 1.0})


# --- WARP's anchor


def test_the_anchor_after_some_steps_is_its_closed_form():
    policy = [drawn(1, 3, 2), drawn(2, 4)]
    anchor, path = [p.clone() for p in policy], []
    for step in range(6):
        policy = [p + 0.1 * drawn(10 + step, *p.shape) for p in policy]
        path.append(policy)
        anchor = moved_anchor(anchor, policy, mu=0.2)
    start = [drawn(1, 3, 2), drawn(2, 4)]
    for place in range(2):
        wanted = 0.8**6 * start[place] + sum(0.2 * 0.8 ** (5 - t) * p[place] for t, p in enumerate(path))
        torch.testing.assert_close(anchor[place], wanted, rtol=1e-12, atol=1e-14)


def test_mu_0_is_a_static_anchor_and_mu_1_the_policy_bit_for_bit():
    anchor, policy = [drawn(1, 50).float()], [drawn(2, 50).float()]
    assert torch.equal(moved_anchor(anchor, policy, mu=0.0)[0], anchor[0])
    assert torch.equal(moved_anchor(anchor, policy, mu=1.0)[0], policy[0])
    assert moved_anchor([a.bfloat16() for a in anchor], policy)[0].dtype == torch.float32
    kept = anchor[0].clone()
    moved_anchor(anchor, policy, mu=0.5)
    assert torch.equal(anchor[0], kept)  # it changes nothing in place


def test_it_is_the_optimisers_average_at_decay_1_less_mu():
    from burnish.train.optim.average import Average

    weights = [drawn(1, 5).float()]
    average, anchor = Average(weights, decay=0.99), [weights[0].clone()]
    for step in range(5):
        weights[0].add_(drawn(20 + step, 5).float())
        average.update()
        anchor = moved_anchor(anchor, weights, mu=0.01)
    torch.testing.assert_close(average.shadows[0], anchor[0], rtol=1e-6, atol=1e-7)


def test_an_anchor_that_does_not_fit_is_refused():
    with pytest.raises(DataError, match="same tensors"):
        moved_anchor([torch.zeros(2)], [torch.zeros(3)])
    with pytest.raises(SettingsError, match="mu"):
        moved_anchor([torch.zeros(2)], [torch.zeros(2)], mu=1.1)


# --- draws


def test_the_turn_of_a_batch_is_its_own_and_exact_at_the_ends():
    turns = [on_policy_turn(3, batch, share=0.3) for batch in range(5000)]
    assert sum(turns) / 5000 == pytest.approx(0.3, abs=0.02)
    assert turns == [on_policy_turn(3, batch, share=0.3) for batch in range(5000)]
    assert turns != [on_policy_turn(4, batch, share=0.3) for batch in range(5000)]
    assert all(on_policy_turn(0, b, share=1.0) for b in range(2000))
    assert not any(on_policy_turn(0, b, share=0.0) for b in range(2000))
    # a larger share only adds batches
    more = [on_policy_turn(3, batch, share=0.6) for batch in range(5000)]
    assert all(b for a, b in zip(turns, more) if a)
    with pytest.raises(SettingsError, match="share"):
        on_policy_turn(0, 0, share=1.5)


def test_a_tenth_of_a_batch_is_replayed():
    rows = replay_rows(90, 500, seed=1, round_number=2)
    assert len(rows) == 10 == len(set(rows)) and rows == sorted(rows) and max(rows) < 500
    assert rows == replay_rows(90, 500, seed=1, round_number=2) != replay_rows(90, 500, seed=1, round_number=3)
    assert replay_rows(90, 500, seed=1, round_number=2, share=0.0) == []
    counts = [0] * 20
    for round_number in range(400):
        for row in replay_rows(9, 20, seed=0, round_number=round_number, share=0.25):
            counts[row] += 1
    assert min(counts) > 30 and max(counts) < 95  # 3 of 20 each time: 60 in the mean, a deviation of 7
    with pytest.raises(DataError, match="there are 5"):
        replay_rows(90, 5, seed=1, round_number=2)
    with pytest.raises(SettingsError, match="replay share"):
        replay_rows(90, 500, seed=1, round_number=2, share=1.0)
