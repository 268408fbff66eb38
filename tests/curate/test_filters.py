import gzip
import json
import math
import os
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate import Pattern, Rule, cap, clean, openers, pattern_rules
from burnish.errors import SettingsError
from burnish.records import Demonstration, Message
from burnish.runs import identity

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


def row(text: str, score: float | None = None, number: int = 0) -> Demonstration:
    return Demonstration(
        prompt=f"p{number}",
        context=(Message(role="user", content="I'm sorry!!! \U0001f600"),),
        response=(Message(role="assistant", content=text),),
        score=score,
        parents=("r",),
    )


def texts(rows) -> list[str]:
    return [r.response[0].content for r in rows]


SORRY = Pattern(regex="sorry")


@pytest.mark.parametrize(
    ("unmatched", "share", "room"),
    [
        (9, 0.1, 1),
        (99, 0.01, 1),
        (98, 0.01, 0),
        (97, 0.03, 3),
        (96, 0.03, 2),
        (7, 0.3, 3),
        (10, 0, 0),
        (1, 0.5, 1),
        (3, 0.99, 297),
    ],
)
def test_cap_is_exact(unmatched, share, room):
    assert cap(unmatched, share) == room


@given(st.integers(0, 10**6), st.integers(0, 999))
def test_cap_is_the_greatest_count_whose_share_is_at_most_the_target(unmatched, thousandths):
    t = Fraction(thousandths, 1000)
    room = cap(unmatched, thousandths / 1000)
    assert room <= t * (unmatched + room)
    assert not room + 1 <= t * (unmatched + room + 1)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.booleans(), st.one_of(st.none(), st.integers(-3, 3).map(float))), max_size=40),
    st.sampled_from([0.0, 0.03, 0.1, 0.25, 0.5, 0.9]),
)
def test_capping(rows, share):
    given_rows = [row("sorry" if bad else "fine", score, i) for i, (bad, score) in enumerate(rows)]
    rules = [Rule(name="sorry", detector=SORRY, action="cap", share=share)]
    outcome = clean(given_rows, rules=rules)
    fine = [r for r in given_rows if "fine" in texts([r])]
    kept = [r for r in outcome.rows if "sorry" in texts([r])]
    assert len(kept) == min(
        len(given_rows) - len(fine), math.floor(Fraction(str(share)) * len(fine) / (1 - Fraction(str(share))))
    )
    assert [r for r in outcome.rows if r in fine] == fine
    assert outcome.counts()["taken"] == len(given_rows)
    assert not kept or len(kept) <= share * len(outcome.rows) + 1e-9
    gone = [r for r in given_rows if r not in outcome.rows]
    if kept and gone:
        lowest = min(-math.inf if r.score is None else r.score for r in kept)
        assert all((-math.inf if r.score is None else r.score) <= lowest for r in gone)
    again = clean(outcome.rows, rules=rules)
    assert again.rows == outcome.rows and not again.dropped


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from(["sorry", "!!!", "spam", "damn", "fine"]), min_size=1, max_size=3), max_size=30)
)
def test_several_rules_end_where_none_changes_anything(answers):
    rows = [row(" ".join(words), float(i % 5), i) for i, words in enumerate(answers)]
    rules = [
        Rule(name="sorry", detector=SORRY, action="cap", share=0.2),
        Rule(name="marks", detector=Pattern(regex="!", least=3), action="cap", share=0.3),
        Rule(name="spam", detector=Pattern(regex="spam"), action="drop"),
        Rule(name="damn", detector=Pattern(regex="damn"), action="rewrite", rewrite=without_damn),
    ]
    outcome = clean(rows, rules=rules)
    assert outcome.counts()["taken"] == len(rows)
    again = clean(outcome.rows, rules=rules)
    assert again.rows == outcome.rows and not again.dropped
    for name, share in (("sorry", 0.2), ("!!!", 0.3)):
        assert sum(name in text for text in texts(outcome.rows)) <= share * len(outcome.rows) + 1e-9
    assert not any("spam" in text or "damn" in text for text in texts(outcome.rows))


def without_damn(text: str) -> str:
    return text.replace("damn", "").strip()


def test_rewriting_keeps_the_lineage_and_drops_what_it_cannot_mend():
    rule = Rule(name="damn", detector=Pattern(regex="damn"), action="rewrite", rewrite=without_damn)
    rows = [row("damn good"), row("damn", number=1), row("DAMN it", number=2), row("clean", number=3)]
    outcome = clean(rows, rules=[rule])
    assert texts(outcome.rows) == ["good", "clean"]
    assert outcome.rows[0].parents == (rows[0].id, "r") and outcome.rows[0].id != rows[0].id
    assert outcome.rows[1] == rows[3]
    assert outcome.counts()["dropped"] == {"rule: damn": 2}


def test_detectors_look_at_the_answer_only():
    rules = pattern_rules(emoji=0.0, exclamation=0.0, apology=0.0)
    assert [rule.name for rule in rules] == ["emoji", "exclamation marks", "apology"]
    assert len(clean([row("plain text! two marks!")], rules=rules).rows) == 1
    for text in ("nice \U0001f389", "wow! wow! wow!", "I\u2019m so sorry, no.", "I apologise.", "My apologies"):
        assert not clean([row(text)], rules=rules).rows, text
    for text in ("He is sorry.", "\u5b57 \u00e9 \u2013 1\ufe0f", "! !"):
        assert clean([row(text)], rules=rules).rows, text
    assert pattern_rules() == () and identity(rules)
    outcome = clean([row("fine", number=i) for i in range(9)] + [row("sorry", number=9)],
                    rules=[Rule(name="s", detector=SORRY, action="cap", share=0.1)])  # fmt: skip
    assert outcome.metrics["rules"]["s"] == {"matched": 1, "kept": 1, "share": 0.1, "target": 0.1}


def test_duplicates_are_counted_and_bad_rules_refused():
    outcome = clean([row("a"), row("a")], rules=[])
    assert len(outcome.rows) == 1 and outcome.counts()["dropped"] == {"duplicate": 1}
    for more in ({"action": "delete"}, {"action": "cap"}, {"action": "cap", "share": 1.0}, {"action": "rewrite"}):
        with pytest.raises(SettingsError):
            Rule(name="x", detector=SORRY, **more)


def test_opener_discovery_ranks_planted_phrases_first():
    people = ["the cat sat", "a dog ran", "we went home", "it rained today", "they left early", "she sings well"] * 20
    ours = [f"{text} again" for text in people[:90]] + ["As an AI I cannot"] * 20 + ["Great question my friend"] * 10
    found = openers(ours, people)
    assert [opener.words for opener in found[:6:3]] == ["as an ai", "great question my"]
    assert found[0].count == 20 and found[0].reference == 0 and found[0].z > 2
    rare = openers([*people, "once upon time"], people)
    assert "once upon time" not in [opener.words for opener in rare]


def test_opener_discovery_on_real_answers():
    path = DATA / "alpaca" / "alpaca_5000.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds it")
    with gzip.open(path, "rt") as lines:
        answers = [answer for answer in (json.loads(line)["output"] for line in lines) if answer]
    planted = ["Certainly! Here is " + text for text in answers[:60]]
    assert openers(planted + answers[60:1000], answers[1000:])[0].words == "certainly here is"
