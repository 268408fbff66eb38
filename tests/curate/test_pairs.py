import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate import edit_distance, edit_similarity, gate_pairs, ordered_pairs
from burnish.records import Candidate, Message, Preference


def flat_distance(one: str, two: str) -> int:
    row = list(range(len(two) + 1))
    for i, a in enumerate(one, 1):
        new = [i]
        for j, b in enumerate(two, 1):
            new.append(min(row[j] + 1, new[j - 1] + 1, row[j - 1] + (a != b)))
        row = new
    return row[-1]


def prefer(*texts: str, strength: int | None = 4) -> Preference:
    roles = ("edited", "chosen", "rejected")[-len(texts) :]
    said = [(Message(role="assistant", content=text),) for text in texts]
    return Preference(
        prompt="p",
        context=(Message(role="user", content="q"),),
        candidates=tuple(Candidate(role=role, messages=m) for role, m in zip(roles, said, strict=True)),
        strength=strength,
    )


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="abcé", max_size=70), st.text(alphabet="abcé", max_size=70), st.integers(0, 80))
def test_edit_distance_equals_the_table(one, two, most):
    distance = flat_distance(one, two)
    assert edit_distance(one, two) == distance
    assert edit_distance(one, two, most) == (distance if distance <= most else most + 1)


def test_edit_similarity():
    assert (
        edit_similarity("", "") == 1
        and edit_similarity("abc", "") == 0
        and edit_similarity("kitten", "sitten") == 5 / 6
    )
    rng = random.Random(0)
    long = "".join(rng.choices("abcdefgh ", k=3000))
    assert edit_similarity(long, long[:-30]) == pytest.approx(0.99)


def test_strength_gate_alone():
    rows = [prefer("good", "bad", strength=s) for s in (1, 2, 3, 4, None)]
    outcome = gate_pairs(rows, strength=3, similarity=None)
    assert [row.strength for row in outcome.rows] == [3, 4]
    assert outcome.counts()["dropped"] == {"no strength": 1, "weak preference": 2}
    assert outcome.dropped[0].detail == "marginally better"
    assert len(gate_pairs(rows, strength=None, similarity=None).rows) == 5


def test_similarity_gate_alone():
    base = "a" * 20
    rows = [
        prefer(base + "b", base + "c", strength=1),  # 20 of 21 alike
        prefer("a" * 9 + "b", "a" * 10),  # exactly 0.9 stays: only above goes
        prefer("entirely", "different"),
        prefer("  one   two ", "one two"),  # equal after collapsing blanks
        prefer(base + "edit", base, "other words here"),  # an edit is near its original by nature
        prefer(base, "other words here", base + "x"),  # the edit is near the rejected one
    ]
    outcome = gate_pairs(rows, strength=None, similarity=0.9)
    assert outcome.rows == [rows[1], rows[2], rows[4]]
    assert outcome.counts()["dropped"] == {"similar responses": 3}
    assert outcome.dropped[0].detail == "chosen and rejected are 0.952 alike"
    assert outcome.dropped[2].detail.startswith("edited and rejected")
    assert outcome.metrics["ordered_pairs"] == 1 + 1 + 3


def test_three_way_rows_are_three_ordered_pairs():
    pairs = ordered_pairs(prefer("e", "c", "r"))
    assert [(better.role, worse.role) for better, worse in pairs] == [
        ("edited", "chosen"),
        ("edited", "rejected"),
        ("chosen", "rejected"),
    ]
    assert len(ordered_pairs(prefer("c", "r"))) == 1


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text("ab", min_size=1, max_size=12), st.text("ab", max_size=12), st.sampled_from([1, 2, 3, 4, None])
        )
    ),
    st.sampled_from([None, 1, 3, 4]),
    st.sampled_from([None, 0.0, 0.5, 0.9, 1.0]),
)
def test_in_is_kept_plus_dropped(rows, strength, similarity):
    preferences = [prefer(one, two, strength=level) for one, two, level in rows]
    outcome = gate_pairs(preferences, strength=strength, similarity=similarity)
    counts = outcome.counts()
    assert counts["taken"] == len(preferences) == counts["kept"] + sum(counts["dropped"].values())
    for row in outcome.rows:
        assert strength is None or row.strength >= strength
        texts = [c.messages[0].content for c in row.candidates]
        assert similarity is None or edit_similarity(*texts) <= similarity
    assert gate_pairs(outcome.rows, strength=strength, similarity=similarity).rows == outcome.rows
