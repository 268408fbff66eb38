"""Length balance: exact in every bucket, the same draw in any order, and length no longer tells a model the winner."""

import random
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate.length_balance import balance_lengths, balanced
from burnish.errors import SettingsError
from burnish.losses.reward import ordered_pairs, penalised_reward_loss
from burnish.models import tiny_model_folder
from burnish.records import Candidate, Message, Preference


def books(lengths, width):
    """(longer wins, shorter wins) by bucket."""
    longer = Counter((winner - loser) // width for winner, loser in lengths if winner > loser)
    shorter = Counter((loser - winner) // width for winner, loser in lengths if winner < loser)
    return longer, shorter


PAIR = st.tuples(st.integers(0, 40), st.integers(0, 40))


@settings(max_examples=200, deadline=None)
@given(st.lists(PAIR, max_size=60), st.integers(1, 15), st.integers(0, 3))
def test_every_bucket_is_balanced_and_loses_no_more_than_it_must(lengths, width, seed):
    names = [f"row {n}" for n in range(len(lengths))]
    kept = balanced(lengths, names, width=width, seed=seed)
    assert kept == sorted(set(kept))
    longer, shorter = books([lengths[k] for k in kept], width)
    assert longer == shorter
    all_longer, all_shorter = books(lengths, width)
    wanted = Counter({bucket: min(n, all_shorter[bucket]) for bucket, n in all_longer.items()})
    assert longer == +wanted
    assert {n for n, (winner, loser) in enumerate(lengths) if winner == loser} <= set(kept)


def test_buckets_by_hand():
    # differences 1, 4 | 5, 9 | 10 with width 5: one side is alone in the last
    lengths = [(3, 2), (8, 4), (2, 6), (5, 10), (1, 10), (14, 5), (20, 10), (7, 7)]
    kept = balanced(lengths, [str(n) for n in range(8)], width=5, seed=0)
    assert {2, 5, 7} <= set(kept) and 6 not in kept and len(kept) == 5
    assert len({0, 1} & set(kept)) == 1 and len({3, 4} & set(kept)) == 1
    with pytest.raises(SettingsError, match="width is 0"):
        balanced(lengths, [str(n) for n in range(8)], width=0, seed=0)


def test_the_draw_depends_on_seed_and_name_and_not_on_the_order():
    rng = random.Random(1)
    lengths = [(rng.randint(1, 30), rng.randint(1, 20)) for _ in range(200)]
    names = [f"row {n}" for n in range(200)]
    kept = {names[k] for k in balanced(lengths, names, width=8, seed=0)}
    order = rng.sample(range(200), 200)
    shuffled = balanced([lengths[n] for n in order], [names[n] for n in order], width=8, seed=0)
    assert {names[order[k]] for k in shuffled} == kept
    other = {names[k] for k in balanced(lengths, names, width=8, seed=1)}
    assert other != kept and len(other) == len(kept) < 200


def preference(*texts):
    roles = ("edited", "chosen", "rejected")[-len(texts) :]
    said = [(Message(role="assistant", content=text),) for text in texts]
    return Preference(
        prompt="p",
        context=(Message(role="user", content="q"),),
        candidates=tuple(Candidate(role=role, messages=m) for role, m in zip(roles, said, strict=True)),
    )


def test_rows_go_with_their_two_lengths_and_the_counts_add_up():
    rows = [
        preference("long answer", "short"),
        preference("longer answer", "short"),
        preference("brief", "a long answer"),
        preference("even", "odds"),
        preference("alone"),
        preference("edited answer!", "middle", "short"),
    ]
    outcome = balance_lengths(rows, width=100, seed=0, tokenizer=None)
    counts = outcome.counts()
    assert counts["kept"] == 3 and counts["dropped"] == {"length balance": 2, "fewer than two candidates": 1}
    assert outcome.metrics == {"longer_wins": 1, "shorter_wins": 1, "longer_wins_before": 0.75}
    assert rows[2] in outcome.rows and rows[3] in outcome.rows
    details = {row.parents[0]: row.detail for row in outcome.dropped if row.reason == "length balance"}
    said = {rows[0].id: "11, the loser 5", rows[1].id: "13, the loser 5", rows[5].id: "14, the loser 5"}
    assert len(details) == 2 and all(details[id] == f"the winner has {said[id]}" for id in details)
    empty = balance_lengths([], width=1, seed=0, tokenizer=None)
    assert empty.rows == [] and empty.metrics["longer_wins_before"] == 0


def test_tokens_are_counted_by_the_tokenizer_and_malformed_rows_are_named(tmp_path):
    weights = tiny_model_folder(tmp_path / "model", specials=("<|im_start|>", "<|im_end|>"))
    # six characters either way, but é is two of the tokenizer's bytes
    rows = [preference("éééééé", "aaaaaa"), preference("bbbbbb", "éééééé"), preference("cccccc", "éééééé")]
    by_characters = balance_lengths(rows, width=4, seed=0, tokenizer=None)
    assert len(by_characters.rows) == 3
    by_tokens = balance_lengths(rows, width=4, seed=0, tokenizer=weights, format="chatml")
    assert len(by_tokens.rows) == 2 and rows[0] in by_tokens.rows
    (lost,) = by_tokens.dropped
    numbers = [int(word.rstrip(",")) for word in lost.detail.split() if word.rstrip(",").isdigit()]
    assert numbers[1] - numbers[0] == 6 and numbers[0] in (7, 8)  # terminators count, the prompt does not
    broken = Preference(
        prompt="p",
        context=(Message(role="user", content="q"),),
        candidates=(
            Candidate(role="chosen", messages=(Message(role="user", content="not an answer"),)),
            Candidate(role="rejected", messages=(Message(role="assistant", content="x"),)),
        ),
    )
    outcome = balance_lengths([*rows, broken], width=4, seed=0, tokenizer=weights, format="chatml")
    assert outcome.counts()["dropped"] == {"length balance": 1, "not a well-formed dialogue": 1}


def biased_pairs(count, generator):
    """Quality and length of (winner, loser): independent of each other, and the raters like both."""
    quality = 0.5 * torch.randn(count, 2, dtype=torch.float64, generator=generator)
    lengths = torch.randint(1, 100, (count, 2), generator=generator)
    logit = quality[:, 0] - quality[:, 1] + 0.18 * (lengths[:, 0] - lengths[:, 1]) / 28.6
    second = torch.rand(count, dtype=torch.float64, generator=generator) > logit.sigmoid()
    side = torch.stack([second, ~second], 1).long()
    return quality.gather(1, side), lengths.gather(1, side)


def trained(quality, lengths, *, penalty):
    """A linear reward of quality, length and a constant, which starts at 2."""
    features = torch.stack([quality, (lengths - 50) / 28.6, torch.ones_like(quality)], -1).flatten(0, 1)
    pairs = ordered_pairs([[0, 1]] * len(quality))
    weights = torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.SGD([weights], lr=1.0)
    for _ in range(100):
        optimiser.zero_grad()
        penalised_reward_loss(features @ weights, *pairs, rows=len(quality), penalty=penalty)[0].backward()
        optimiser.step()
    return weights.detach()


def test_a_reward_model_of_length_biased_pairs_forgets_length_and_keeps_its_mean_near_0():
    generator = torch.Generator().manual_seed(0)
    quality, lengths = biased_pairs(30_000, generator)
    kept = balanced([tuple(pair) for pair in lengths.tolist()], [str(n) for n in range(30_000)], width=5, seed=0)
    assert 15_000 < len(kept) < 29_000
    held_quality, held_lengths = biased_pairs(5_000, generator)

    def held_out(weights):
        """Correlation of score and length, and the mean score."""
        scores = weights[0] * held_quality + weights[1] * (held_lengths - 50) / 28.6 + weights[2]
        table = torch.stack([scores.flatten(), held_lengths.flatten().to(scores)])
        return torch.corrcoef(table)[0, 1].item(), scores.mean().item()

    biased, _ = held_out(trained(quality, lengths, penalty=0.05))
    fair, mean = held_out(trained(quality[kept], lengths[kept], penalty=0.05))
    assert biased > 0.3 and abs(fair) < 0.05 and abs(mean) < 0.05
    # without the penalty nothing pulls the constant back
    assert held_out(trained(quality[kept], lengths[kept], penalty=0.0))[1] == pytest.approx(2.0, abs=0.05)
