"""Win rates: hand numbers, recovery of planted effects, AlpacaEval's rows against a flat script and its leaderboard."""

from __future__ import annotations

import csv
import math
from random import Random

import numpy as np
import pytest

from burnish.errors import DataError, SettingsError
from burnish.judge.intervals import wilson
from burnish.judge.measure import Duel, length_controlled, standard_error, style_controlled, win_rate
from burnish.judge.measure.logistic import fit_lasso, fit_ridge, log_loss, sigmoid
from burnish.judge.measure.style import style_counts, style_features
from tests.judge.real import place, rows

Z99 = 3.0


def planted(longer: float, quality: float, n: int = 400, seed: int = 0, model: str = "m") -> list[Duel]:
    """Duels of a judge that adds `longer` log odds a standard deviation of the length difference."""
    rng = Random(seed)
    made = []
    for item in range(n):
        mine, theirs = rng.randint(50, 250), rng.randint(50, 250)
        odds = quality + longer * math.tanh((mine - theirs) / 82)
        made.append(
            Duel(item=item, model=model, win=1 / (1 + math.exp(-odds)), answer="x" * mine, baseline="y" * theirs)
        )
    return made


def test_plain_by_hand() -> None:
    duels = [Duel(item=i, model="m", win=w) for i, w in enumerate((1.0, 0.0, 0.5, None))]
    found = win_rate(duels)
    assert (found.value, found.n, found.unscored) == (0.5, 3, 1) and found.low < 0.5 < found.high
    weighted = [Duel(item=0, model="m", win=1.0, weight=3), Duel(item=1, model="m", win=0.0)]
    assert win_rate(weighted).value == 0.75
    assert win_rate([]).value is None and win_rate([]).why
    assert win_rate(duels[3:]).value is None
    for bad in ({"win": 1.2}, {"win": 0.5, "weight": 0}):
        with pytest.raises(DataError):
            Duel(item=0, model="m", **bad)


def test_intervals_of_clusters_are_wider() -> None:
    """Each item judged eight times with the same result: the truth is in 30 items, not in 240 rows."""
    rng = Random(0)
    wins = [float(rng.random() < 0.5) for _ in range(30)]
    many = [Duel(item=i, model="m", win=w) for i, w in enumerate(wins) for _ in range(8)]
    one, several = win_rate([Duel(item=i, model="m", win=w) for i, w in enumerate(wins)]), win_rate(many)
    assert several.value == one.value
    assert several.high - several.low == pytest.approx(one.high - one.low, rel=0.15)
    flat = [d.win for d in many]
    items = [d.item for d in many]
    assert standard_error(flat, items) == pytest.approx(standard_error(wins), abs=1e-12)
    assert standard_error(flat) < 0.4 * standard_error(flat, items)
    assert standard_error([1.0]) is None


def test_length_is_taken_out() -> None:
    """Without length the win rate is sigmoid(quality); a judge that likes length, and one that does not."""
    for longer in (0.0, 2.0):
        found = length_controlled(planted(longer, -0.5), difficulty=dict.fromkeys(range(400), 0.0), draws=10)["m"]
        assert found.rate.value == pytest.approx(1 / (1 + math.exp(0.5)), abs=0.01)
        assert found.length == pytest.approx(longer, abs=0.1)
        if longer:
            assert found.rate.low <= found.rate.value + 0.01
        else:  # every verdict is the same number: refits say nothing of what was not seen
            assert found.rate.low is None and found.rate.why == "no interval: all verdicts are equal"


def test_length_control_of_few_rows_and_of_unjudged_ones() -> None:
    few = length_controlled(planted(1, 0, n=4))["m"].rate
    assert few.value is None and few.why
    equal = [Duel(item=i, model="m", win=0.5 + (i % 2) / 2, answer="aa", baseline="bb") for i in range(40)]
    assert length_controlled(equal, draws=5)["m"].rate.value == pytest.approx(0.75, abs=0.05)
    some = [*planted(1, 0, n=50), Duel(item=99, model="m", win=None, answer="aaa", baseline="b")]
    found = length_controlled(some, draws=5)["m"].rate
    assert (found.n, found.unscored) == (50, 1)
    with pytest.raises(DataError, match="difficulty"):
        length_controlled(some, difficulty={0: 1.0})


def test_gamed_twins_hold_the_length_coefficient() -> None:
    """Twins of the baseline that win by length alone pull phi up where a model's own rows say nothing of length."""
    flat = [Duel(item=i, model="m", win=0.5, answer="aaaa", baseline="bbbb") for i in range(200)]
    twins = [
        Duel(item=i, model="verbose", win=0.9 if i % 2 else 0.1, answer="b" * (8 if i % 2 else 2), baseline="bbbb")
        for i in range(200)
    ]
    gammas = dict.fromkeys(range(200), 0.0)
    alone, held = (length_controlled(flat, difficulty=gammas, gamed=g, draws=2)["m"] for g in ((), twins))
    assert alone.length == 0 and held.length > 1
    assert held.rate.value == pytest.approx(0.5, abs=0.01)


def test_logistic_fits_are_minima() -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(80, 3)), rng.uniform(0.5, 2, 80)
    y = sigmoid(x @ np.array([1.0, -2.0, 0.0]) + rng.normal(size=80))
    ridge = fit_ridge(x, y, weights=w, ridge=0.5)
    gradient = x.T @ (w * (sigmoid(x @ ridge) - y)) + 0.5 * ridge
    assert np.abs(gradient).max() < 1e-6
    lasso = fit_lasso(x, y, weights=w, strength=0.05)

    def cost(point: np.ndarray) -> float:
        return np.abs(point).sum() + 0.05 * log_loss(y, x @ point, w)

    assert (lasso == 0).any()
    for _ in range(200):
        assert cost(lasso + rng.normal(size=3) * 1e-3) >= cost(lasso) - 1e-12
    assert (fit_lasso(x, y, weights=w, strength=1e-6) == 0).all()
    assert isinstance(fit_ridge(np.array([[1.0], [-1.0]]), np.array([1.0, 0.0])), str)


def test_style_counts_and_features() -> None:
    text = "# Head\n\n1. one\n2. two\n- three\n\n**bold** and __bold__\n```python\n# no head\n- no item\n```\n"
    assert style_counts(text) == {"headers": 1, "lists": 3, "bold": 2}
    duel = Duel(item=0, model="m", win=1.0, answer="- a b c", baseline="a b c d")
    # Density 1 / 4 against 0: 0.25 / 1.25.
    assert style_features(duel) == {"length": 0.0, "headers": 0.0, "lists": 0.2, "bold": 0.0}
    assert style_features(Duel(item=0, model="m", win=1.0))["length"] == 0


def test_style_is_taken_out() -> None:
    """A judge that adds log odds for bold text: two models of equal strength differ in plain win rate only."""
    rng = Random(1)
    duels = []
    for item in range(600):
        for model, often in (("plain", 0.2), ("loud", 0.8)):
            bold = rng.random() < often
            win = float(rng.random() < 1 / (1 + math.exp(-(1.5 * bold - 0.75))))
            answer = "word " * 20 + ("**loud** " * 5 if bold else "soft " * 5)
            duels.append(Duel(item=item, model=model, win=win, answer=answer, baseline="word " * 25))
    plain = {m: win_rate([d for d in duels if d.model == m]).value for m in ("plain", "loud")}
    found = style_controlled(duels, features=("bold",))
    assert plain["loud"] - plain["plain"] > 0.12
    assert abs(found.rates["loud"].value - found.rates["plain"].value) < 0.09
    assert found.features["bold"] > 0.4
    assert found.rates["loud"].low < found.rates["loud"].value < found.rates["loud"].high
    with pytest.raises(SettingsError, match="style feature"):
        style_controlled(duels, features=("colour",))


def test_a_model_that_wins_everything_has_no_strength() -> None:
    duels = [
        Duel(item=i, model=m, win=w, answer="a", baseline="b")
        for i in range(20)
        for m, w in (("top", 1.0), ("even", float(i % 2)))
    ]
    found = style_controlled(duels).rates
    assert found["top"].value is None and found["top"].why
    assert found["even"].value == pytest.approx(0.5)
    assert style_controlled([]).rates == {}


def test_a_clear_verdict_counts_three_times() -> None:
    duels = [Duel(item=0, model="m", win=1.0, weight=3), Duel(item=1, model="m", win=0.0)]
    tripled = [Duel(item=0, model="m", win=1.0)] * 3 + [Duel(item=1, model="m", win=0.0)]
    one, other = (style_controlled(d, draws=2).rates["m"].value for d in (duels, tripled))
    assert one == pytest.approx(other) == pytest.approx(0.75)


@pytest.fixture(scope="module")
def alpaca() -> list[Duel]:
    return [
        Duel(item=i, model=m, win=o["preference"] - 1, answer=o["output"], baseline=row["baseline_output"])
        for i, row in enumerate(rows("alpaca_eval/annotations"))
        for m, o in row["outputs"].items()
        if o is not None
    ]


def test_alpaca_win_rates(alpaca: list[Duel]) -> None:
    """Equal to a flat script to 1e-9, within three standard errors of the leaderboard (which has all 805 rows)."""
    with place("alpaca_eval/weighted_alpaca_eval_gpt4_turbo_leaderboard.csv").open() as lines:
        board = {row[""]: row for row in csv.DictReader(lines)}
    total: dict[str, list[float]] = {}
    for row in rows("alpaca_eval/annotations"):
        for name, output in row["outputs"].items():
            total.setdefault(name, []).append(output["preference"] - 1) if output else None
    assert len(total) == 10
    for name, wins in total.items():
        found = win_rate([d for d in alpaca if d.model == name], draws=200)
        assert abs(found.value - sum(wins) / len(wins)) < 1e-9 and found.n == len(wins)
        assert abs(100 * found.value - float(board[name]["win_rate"])) < Z99 * float(board[name]["standard_error"])
        assert found.low < found.value < found.high


def test_length_control_on_verbose_and_concise_twins(alpaca: list[Duel]) -> None:
    """Asked to be verbose or concise, the same model's win rate spreads by length; control takes most of that away."""
    trio = ("gpt-3.5-turbo-1106_concise", "gpt-3.5-turbo-1106", "gpt-3.5-turbo-1106_verbose")
    plain = [win_rate([d for d in alpaca if d.model == m], draws=2).value for m in trio]
    held = length_controlled(alpaca, draws=2)
    rates = [held[m].rate.value for m in trio]
    assert plain == sorted(plain) and plain[2] / plain[0] > 1.5
    assert max(rates) / min(rates) < 1.4
    assert all(held[m].length > 0 for m in trio)  # GPT-4 prefers length
    # Published: 15.8, 19.3 and 22.0 with the whole set and its own difficulties.
    assert all(abs(100 * r - p) < 6 for r, p in zip(rates, (15.8, 19.3, 22.0), strict=True))
    assert abs(100 * held["NullModel"].rate.value - 86.5) < 2


@pytest.mark.parametrize("win", [0.0, 0.5, 1.0])
def test_a_win_rate_of_equal_verdicts_has_wilson_s_interval(win: float) -> None:
    duels = [Duel(item=item, model="m", win=win) for item in range(30)]
    found = win_rate(duels)
    assert (found.value, found.low, found.high) == (win, *wilson(30 * win, 30))
    assert found.high - found.low > 0.1
    # Five verdicts on each of six instructions are worth six items, not thirty; so are weighted ones.
    grouped = [Duel(item=item % 6, model="m", win=win) for item in range(30)]
    heavy = [Duel(item=item % 6, model="m", win=win, weight=3.0) for item in range(30)]
    assert [(e.low, e.high) for e in (win_rate(grouped), win_rate(heavy))] == [wilson(6 * win, 6)] * 2
