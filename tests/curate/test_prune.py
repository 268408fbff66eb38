import random
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate import prune, top_of
from burnish.errors import DataError
from burnish.records import Demonstration, Judgement, Message, Prompt


def world(rows):
    """(topic, reward, grade) of each row -> prompts, demonstrations, and a judge that knows the grades."""
    prompts = [
        Prompt(messages=(Message(role="user", content=f"q{i}"),), ability=topic) for i, (topic, _, _) in enumerate(rows)
    ]
    made = [
        Demonstration(
            prompt=p.id,
            context=p.messages,
            response=(Message(role="assistant", content=f"a{i}"),),
            ability=topic,
            score=reward,
        )
        for i, (p, (topic, reward, _)) in enumerate(zip(prompts, rows, strict=True))
    ]
    return prompts, made, {p.id: grade for p, (_, _, grade) in zip(prompts, rows, strict=True)}


@dataclass(frozen=True)
class Grades:
    points: dict

    def quality(self, prompt, response):
        assert response.prompt == prompt.id and response.text
        return self.points[prompt.id]


@dataclass(frozen=True)
class Scores:
    points: dict
    calls: list = field(default_factory=list)

    def judge(self, prompts, responses, *, work=None):
        self.calls.append(len(responses))
        found = []
        for r in responses[::-1]:
            points = self.points[r.prompt]
            told = {"prompt": r.prompt, "responses": (r.id,), "judge": "j"}
            found.append(Judgement(**told, unscored="garbled") if points is None else Judgement(**told, score=points))
        return found


ROW = st.tuples(
    st.sampled_from("ab"), st.one_of(st.none(), st.integers(0, 9).map(float)), st.sampled_from([None, 0, 1, 2, 3])
)


@settings(max_examples=100, deadline=None)
@given(st.lists(ROW, max_size=24), st.sampled_from([0.0, 0.25, 0.5, 1.0]), st.sampled_from([Grades, Scores]))
def test_union_and_accounting(rows, share, kind):
    prompts, made, points = world(rows)
    outcome = prune(made, prompts, share=share, judge=kind(points))
    counts = outcome.counts()
    assert counts["taken"] == len(rows)
    high = set()
    for topic in "ab":
        high |= top_of({d.id: d.score for d in made if d.ability == topic and d.score is not None}, share)
    expected = [d for d in made if d.id in high or points[d.prompt] == 3]
    assert outcome.rows == expected
    m = outcome.metrics
    assert (
        m["either"]
        == len(expected)
        == m["reward_high"] + m["judge_high"] - m["both"]
        >= max(m["reward_high"], m["judge_high"])
    )
    assert m["judge_unscored"] == sum(grade is None for _, _, grade in rows)
    blind = sum(reward is None and grade is None for _, reward, grade in rows)
    assert counts["unscored"] == ({"no quality signal": blind} if blind else {})
    assert sum(topic["kept"] for topic in m["topics"].values()) == len(expected)


def test_top_of_is_per_share_with_ties():
    scores = {f"r{i}": float(i) for i in range(8)}
    assert top_of(scores, 0.25) == {"r6", "r7"} and top_of(scores, 0.26) == {"r5", "r6", "r7"}
    assert top_of({**scores, "t": 6.0}, 0.25) == {"r6", "r7", "t"} and top_of({}, 0.25) == set()
    assert top_of(scores, 0) == set() and len(top_of(scores, 1)) == 8
    assert len(top_of({str(i): float(i) for i in range(10)}, 0.1)) == 1


def test_the_quartile_is_per_topic():
    rows = [("easy", 100.0 + i, 0) for i in range(4)] + [("hard", float(i), 0) for i in range(4)]
    prompts, made, points = world(rows)
    outcome = prune(made, prompts, share=0.25, judge=Grades(points))
    assert [(d.ability, d.score) for d in outcome.rows] == [("easy", 103.0), ("hard", 3.0)]
    flat = prune(made, prompts, share=0.25, judge=Grades(points), topic=one_topic)
    assert {d.ability for d in flat.rows} == {"easy"}


def one_topic(row):
    return "all"


def test_an_unscored_judge_is_no_zero():
    prompts, made, points = world(
        [("a", 9.0, None), ("a", 1.0, None), ("a", 1.0, 0), ("a", None, None), ("a", None, 3)]
    )
    outcome = prune(made, prompts, share=0.25, judge=Scores(points))
    assert outcome.rows == [made[0], made[4]]
    assert [(d.reason, d.unscored, d.detail) for d in outcome.dropped] == [
        ("low quality", False, "reward 1, unscored by the judge"),
        ("low quality", False, "reward 1, grade 0"),
        ("no quality signal", True, "garbled"),
    ]
    alone = prune(made, prompts, share=0.25)
    assert alone.rows == [made[0]] and alone.counts()["unscored"] == {"no quality signal": 2}
    assert alone.metrics["judge_unscored"] == 0 and alone.metrics["overlap"] == 0.0


def test_the_judge_is_asked_once_about_all_and_needs_the_prompts():
    prompts, made, points = world([("a", 1.0, 3)] * 3)
    judge = Scores(points)
    prune(made, prompts, share=0.25, judge=judge)
    assert judge.calls == [3]
    with pytest.raises(DataError, match="not among the prompts"):
        prune(made, prompts[:1], share=0.25, judge=judge)
    half = prune(made, prompts, share=0.0, judge=judge, maximum=4)
    assert not half.rows


def test_the_union_recovers_more_of_the_truly_good_than_either_signal():
    rng = random.Random(0)
    good = [rng.random() < 0.3 for _ in range(600)]
    rows = [("a", g + rng.gauss(0, 0.7), 3 if rng.random() < (0.7 if g else 0.1) else 1) for g in good]
    prompts, made, points = world(rows)
    recall = {}
    for name, more in {
        "union": {"share": 0.25, "judge": Grades(points)},
        "reward": {"share": 0.25},
        "judge": {"share": 0.0, "judge": Grades(points)},
    }.items():
        kept = {d.id for d in prune(made, prompts, **more).rows}
        recall[name] = sum(d.id in kept for d, g in zip(made, good, strict=True) if g) / sum(good)
    assert recall["union"] > max(recall["reward"], recall["judge"]) + 0.05


def test_random_control_keeps_as_many_of_each_topic():
    rows = [("ab"[i % 2], float(i), 3 if i % 5 == 0 else 0) for i in range(40)]
    prompts, made, points = world(rows)
    real = prune(made, prompts, share=0.25, judge=Grades(points))
    control = [prune(made, prompts, share=0.25, judge=Grades(points), selection="random", seed=s) for s in (0, 0, 1)]
    assert control[0].rows == control[1].rows != control[2].rows and control[0].rows != real.rows
    for topic in "ab":
        assert sum(d.ability == topic for d in control[0].rows) == sum(d.ability == topic for d in real.rows)
    assert control[0].counts()["dropped"] == {"not drawn": 40 - len(real.rows)}
