from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate import apportion, composition, mix_rows, plan_mix, replay_rows
from burnish.errors import SettingsError
from burnish.records import Demonstration, Message

# The Llama 3 Herd of Models, Table 7: percent of examples, mean tokens in the context and in the final response.
TABLE_7 = {
    "General English": (52.66, 656.7, 317.1),
    "Code": (14.89, 378.8, 374.5),
    "Multilingual": (3.01, 230.8, 289.7),
    "Exam-like": (8.14, 124.4, 173.4),
    "Reasoning and tools": (21.19, 359.8, 301.9),
    "Long context": (0.11, 37395.2, 740.5),
}


def row(source: str, number: int, context: str = "a b c", final: str = "d e") -> Demonstration:
    return Demonstration(
        prompt=f"{source}{number}",
        context=(Message(role="user", content=context),),
        response=(Message(role="assistant", content=final),),
        ability=source,
    )


def number_itself(text: str) -> int:
    return int(text)


@settings(max_examples=200)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 100, allow_nan=False), min_size=1).filter(
        lambda d: sum(d.values()) > 0
    ),
    st.integers(0, 5000),
)
def test_apportion_sums_and_is_within_one(shares, total):
    counts = apportion(shares, total)
    norm = sum(Fraction(repr(share)) for share in shares.values())
    assert sum(counts.values()) == total
    for name, share in shares.items():
        assert abs(counts[name] - total * Fraction(repr(share)) / norm) < 1


def test_table_7_within_one_row_in_examples_and_in_tokens():
    total = 10_000
    rows = [
        row(name, i, str(round(context * 10)), str(round(final * 10)))
        for name, (share, context, final) in TABLE_7.items()
        for i in range(int(share * 60))
    ]
    shares = {name: share for name, (share, _, _) in TABLE_7.items()}
    outcome = mix_rows(rows, count=total, seed=0, shares=shares, count_tokens=number_itself)
    table = outcome.metrics["composition"]
    assert len(outcome.rows) == table["Total"]["examples"] == total
    for name, (share, context, final) in TABLE_7.items():
        line = table[name]
        assert abs(line["examples"] - share * total / 100) < 1
        assert line["context"] == pytest.approx(context * 10, abs=1) and line["final"] == pytest.approx(
            final * 10, abs=1
        )
        assert line["context"] + line["final"] == pytest.approx(line["tokens"])
    assert table["Long context"]["percent_examples"] == pytest.approx(0.11)
    assert table["Long context"]["percent_tokens"] == pytest.approx(5.0, abs=0.1)
    # The report's total of 846.1 follows from its rounded shares to 0.2 %: 0.005 % of long examples are 1.9 tokens.
    assert table["Total"]["tokens"] == pytest.approx(8461, rel=0.0023)
    assert sum(table[name]["percent_tokens"] for name in TABLE_7) == pytest.approx(100)


def test_epochs_and_down_sampling():
    rows = [row("a", i) for i in range(10)] + [row("b", i) for i in range(10)]
    outcome = mix_rows(rows, count=None, seed=1, epochs={"a": 2.5, "b": 0.3})
    times = Counter(r.id for r in outcome.rows)
    per_source = {s: sorted(times.get(r.id, 0) for r in rows if r.ability == s) for s in "ab"}
    assert per_source == {"a": [2] * 5 + [3] * 5, "b": [0] * 7 + [1] * 3}
    assert outcome.counts() == {"taken": 20, "kept": 13, "dropped": {"down-sampled": 7}, "unscored": {}}
    assert outcome.metrics["epochs"] == {"a": 2.5, "b": 0.3}


def test_shares_with_and_without_a_count():
    rows = [row("a", i) for i in range(30)] + [row("b", i) for i in range(10)]
    natural = plan_mix({"a": 30, "b": 10}, count=None, shares={"a": 0.5, "b": 0.5})
    assert natural == {"a": 10, "b": 10}
    assert plan_mix({"a": 30, "b": 10}, count=None, shares={"a": 1, "b": 1}, epochs={"b": 3}) == {"a": 30, "b": 30}
    assert plan_mix({"a": 30, "b": 10}, count=100, shares={"a": 1, "b": 1}) == {"a": 50, "b": 50}
    assert plan_mix({"a": 30, "b": 10}, count=20) == {"a": 15, "b": 5}
    assert plan_mix({"a": 30, "b": 10}, count=400) == {"a": 30, "b": 10}
    outcome = mix_rows(rows, count=30, seed=0, shares={"a": 0.4, "c": 0.6})
    assert len(outcome.rows) == 30 and outcome.metrics["absent"] == ["c"]
    assert outcome.counts()["dropped"] == {"source not in the mix": 10}
    assert mix_rows([], count=5, seed=0).rows == [] and mix_rows([], count=5, seed=0, shares={"a": 1}).rows == []


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.sampled_from("abc"), max_size=25),
    st.one_of(st.none(), st.integers(0, 60)),
    st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, 0.2, 1, 3.5]))),
    st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.sampled_from([0, 0.5, 1, 2]))),
    st.integers(0, 2),
)
def test_accounting_and_order_independence(sources, count, shares, epochs, seed):
    rows = [row(source, i) for i, source in enumerate(sources)]
    outcome = mix_rows(rows, count=count, seed=seed, shares=shares, epochs=epochs)
    counts = outcome.counts()
    assert counts["taken"] == len(rows) and counts["kept"] == len({r.id for r in outcome.rows})
    assert outcome.rows == mix_rows(rows[::-1], count=count, seed=seed, shares=shares, epochs=epochs).rows
    times = Counter(r.id for r in outcome.rows)
    for source in "abc":
        seen = [times.get(r.id, 0) for r in rows if r.ability == source]
        assert not seen or max(seen) - min(seen) <= 1
    if shares is None and count is not None:
        assert len(outcome.rows) <= count
    if count is None and shares is not None:
        most = {s: sources.count(s) * (epochs or {}).get(s, 1) for s in "abc"}
        assert all(sum(r.ability == s for r in outcome.rows) <= most[s] for s in "abc")


def test_the_seed_decides():
    rows = [row("a", i) for i in range(40)]
    one, same, other = (mix_rows(rows, count=20, seed=seed).rows for seed in (0, 0, 1))
    assert one == same != other and {r.id for r in one} != {r.id for r in other}


def test_duplicates_and_bad_settings():
    outcome = mix_rows([row("a", 1), row("a", 1)], count=None, seed=0)
    assert len(outcome.rows) == 1 and outcome.counts()["dropped"] == {"duplicate": 1}
    for more in ({"shares": {"a": -1}}, {"epochs": {"a": float("nan")}}, {"count": -1}):
        with pytest.raises(SettingsError):
            mix_rows([row("a", 1)], **{"count": None, "seed": 0, **more})
    with pytest.raises(SettingsError, match="sum to 0"):
        apportion({"a": 0}, 3)
    assert composition([]) == {}


def stages(first: int, second: int) -> tuple[list[Demonstration], list[Demonstration]]:
    return [row("code", i) for i in range(first)], [row("general", i) for i in range(second)]


def test_two_percent_of_the_blend_are_replayed_and_every_other_row_goes_on_once():
    """Nemotron-4's proportion, 4,000 of 200K, at a hundredth of its size."""
    code, general = stages(8000, 1960)
    mixed = replay_rows(general, code, share=0.02, seed=0)
    assert Counter(r.ability for r in mixed.rows) == {"code": 40, "general": 1960}
    assert {r.id for r in mixed.rows if r.ability == "general"} == {r.id for r in general}
    assert len({r.id for r in mixed.rows}) == 2000
    assert mixed.counts()["dropped"] == {"down-sampled": 7960} and mixed.taken == 9960
    assert mixed.metrics["replayed"] == 40 and mixed.metrics["share"] == 0.02
    assert mixed.metrics["composition"]["first"]["percent_examples"] == pytest.approx(2)
    # the other reading of the report: of the code samples
    assert replay_rows(general, code, share=0.02, seed=0, of_first=True).metrics["replayed"] == 160


def test_a_replay_is_seeded_shuffled_and_blind_to_the_order_of_rows():
    code, general = stages(50, 60)
    drawn = [r.id for r in replay_rows(general, code, share=0.25, seed=0).rows]
    assert drawn == [r.id for r in replay_rows(general[::-1], code[::-1], share=0.25, seed=0).rows]
    other = [r.id for r in replay_rows(general, code, share=0.25, seed=1).rows]
    chosen = {r.id for r in code}
    assert chosen & set(drawn) != chosen & set(other)
    places = [i for i, name in enumerate(drawn) if name in chosen]
    assert len(places) == 20 and places[0] < 20 and places[-1] >= 60  # not in a block


def test_a_row_of_both_stages_is_one_of_the_second():
    code, general = stages(4, 3)
    mixed = replay_rows([*general, code[0]], code, share=0.2, seed=0)
    assert Counter(r.ability for r in mixed.rows) == {"general": 3, "code": 2}
    assert mixed.counts()["dropped"] == {"duplicate": 1, "down-sampled": 2}


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (1.0, "from 0 to below 1"),
        (-0.1, "from 0 to below 1"),
        (float("nan"), "from 0 to below 1"),
        (0.5, "is 6 rows of the first stage, which has 4; lower the share"),
    ],
)
def test_shares_that_cannot_be_replayed_are_refused(share, words):
    code, general = stages(4, 6)
    with pytest.raises(SettingsError, match=words):
        replay_rows(general, code, share=share, seed=0)
    assert replay_rows(general, code, share=0.0, seed=0).metrics["replayed"] == 0
