import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.annotate import (
    CheckerAnnotator,
    JudgeAnnotator,
    Simulated,
    choose_pair,
    compare_pairs,
    desk_table,
    make_preferences,
    split_dialogue,
)
from burnish.errors import DataError, WorkerError
from burnish.records import Candidate, Judgement, Message, Preference, Prompt, Response
from burnish.runs import Outcome, identity
from burnish.runs.work import StepWork
from burnish.verify import MathChecker


def ask(text: str, reference: str = "5", **more) -> Prompt:
    more = {"checker": "math", "ability": "arithmetic", **more}
    return Prompt(messages=(Message(role="user", content=text),), reference=reference, **more)


def say(prompt: Prompt, text: str, model: str, index: int = 0) -> Response:
    message = Message(role="assistant", content=text)
    return Response(prompt=prompt.id, messages=(message,), model=model, index=index)


@dataclass(frozen=True)
class Longer:
    """The longer answer wins; it appends a word to the winner; it remembers in which order it was asked."""

    asked: list = field(default_factory=list)
    edits: bool = True
    name: str = "longer"

    def rank(self, prompt, responses):
        self.asked.append([r.text for r in responses])
        sizes = [len(r.text) for r in responses]
        ids = tuple(r.id for r in responses)
        if responses[0].text.startswith("?"):
            return Judgement(prompt=prompt.id, responses=ids, judge=self.name, unscored="could not read it")
        if sizes[0] == sizes[1]:
            return Judgement(prompt=prompt.id, responses=ids, judge=self.name, winner=-1)
        winner = sizes.index(max(sizes))
        return Judgement(prompt=prompt.id, responses=ids, judge=self.name, winner=winner, strength=2)

    def edit(self, prompt, response):
        return [Message(role="assistant", content=response.text + " more")] if self.edits else response.messages


def test_checker_annotator():
    annotator, prompt = CheckerAnnotator(checker=MathChecker()), ask("2 + 3?")
    right, wrong = say(prompt, "It is 5.", "a"), say(prompt, "It is 6.", "b")
    judged = annotator.rank(prompt, (wrong, right))
    assert (judged.winner, judged.strength, judged.unscored, judged.judge) == (1, 4, "", "math")
    assert annotator.rank(prompt, (right, wrong)).winner == 0
    for pair in ((right, say(prompt, "5", "b")), (wrong, say(prompt, "7", "a"))):
        tie = annotator.rank(prompt, pair)
        assert (tie.winner, tie.strength) == (-1, None)
    unknown = annotator.rank(ask("?", reference="none"), (right, wrong))
    assert unknown.winner is None and "holds no number" in unknown.unscored
    other = annotator.rank(ask("?", checker="code"), (right, wrong))
    assert other.winner is None and "no checker 'code'" in other.unscored
    assert annotator.rank(ask("?", checker=""), (right, wrong)).winner == 0
    assert not hasattr(annotator, "edit")
    with pytest.raises(ValueError):
        CheckerAnnotator()
    assert identity(annotator) == identity(CheckerAnnotator(checker=MathChecker()))


def desk(prompts, responses, *, work=None, **how):
    """Both steps; the accounting of the two together, in prompts."""
    judged = compare_pairs(prompts, responses, work=work, **how)
    made = make_preferences(prompts, responses, judged.rows, round=how["round"])
    left = [*judged.dropped, *made.dropped]
    return Outcome(rows=made.rows, dropped=left, taken=len(prompts), metrics=judged.metrics)


def test_edited_beats_chosen_beats_rejected():
    prompt = ask("2 + 3?")
    short, long = say(prompt, "5", "a"), say(prompt, "it is 5", "b")
    outcome = desk([prompt], [short, long], annotator=Longer(), round=2)
    (row,) = outcome.rows
    assert [(c.role, c.messages[0].content, c.model) for c in row.candidates] == [
        ("edited", "it is 5 more", "longer"),
        ("chosen", "it is 5", "b"),
        ("rejected", "5", "a"),
    ]
    assert (row.strength, row.round, row.capability, row.annotator) == (2, 2, "arithmetic", "longer")
    assert set(row.parents) > {prompt.id, short.id, long.id} and outcome.counts()["kept"] == 1
    for annotator, edits in ((Longer(edits=False), True), (Longer(), False)):
        (row,) = desk([prompt], [short, long], annotator=annotator, round=2, edits=edits).rows
        assert [c.role for c in row.candidates] == ["chosen", "rejected"]


def test_every_prompt_has_a_fate():
    prompts = [ask(f"{i}?") for i in range(6)]
    responses = [
        say(prompts[0], "long answer", "a"), say(prompts[0], "short", "b"),
        say(prompts[1], "one", "a"), say(prompts[1], "two", "b"),
        say(prompts[2], "?1", "a"), say(prompts[2], "?22", "b"),
        say(prompts[3], "x", "a", 0), say(prompts[3], "xyz", "a", 1),
        say(prompts[4], "same", "a"), say(prompts[4], "same", "b"),
    ]  # fmt: skip
    outcome = desk(prompts, responses, annotator=Longer(), round=1)
    assert outcome.counts() == {
        "taken": 6,
        "kept": 1,
        "dropped": {"identical responses": 1, "no response": 1, "responses of one model only": 1, "tie": 1},
        "unscored": {"unscored comparison": 1},
    }
    fates = {row.reason: row.detail for row in outcome.dropped}
    assert fates["unscored comparison"] == "could not read it" and fates["responses of one model only"] == "model a"
    assert (outcome.metrics["ties"], outcome.metrics["unscored"], outcome.metrics["comparisons"]) == (1, 1, 3)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "xx", "?"])), max_size=4), max_size=6),
    st.randoms(use_true_random=False),
)
def test_accounting_and_order_independence(groups, rng):
    prompts = [ask(f"{i}?") for i in range(len(groups))]
    responses = [
        say(prompt, text, model, i)
        for prompt, group in zip(prompts, groups, strict=True)
        for i, (model, text) in enumerate(group)
    ]
    outcome = desk(prompts, responses, annotator=Longer(), round=1)
    assert outcome.counts()["taken"] == len(prompts) == len(outcome.rows) + len(outcome.dropped)
    for row in outcome.rows:
        models = [c.model for c in row.candidates if c.role != "edited"]
        assert len(set(models)) == 2 and row.strength in (1, 2, 3, 4)
        edited = [c for c in row.candidates if c.role == "edited"]
        assert all(c.messages != row.candidates[1].messages for c in edited)
    rng.shuffle(responses)
    again = desk(prompts, responses, annotator=Longer(), round=1)
    assert again.rows == outcome.rows and again.dropped == outcome.dropped


def test_placement_is_seeded_by_the_item_and_balanced():
    prompts = [ask(f"{i}?") for i in range(300)]
    responses = [say(p, text, model) for p in prompts for text, model in (("first", "a"), ("second!", "b"))]
    annotator = Longer()
    outcome = compare_pairs(prompts, responses, annotator=annotator, round=1)
    firsts = [texts[0] for texts in annotator.asked]
    assert 110 < firsts.count("first") < 190
    by_id = {response.id: response for response in responses}
    for texts, judgement in zip(annotator.asked, outcome.rows, strict=True):
        rows = [by_id[id].text for id in judgement.responses]
        assert [rows[i] for i in judgement.shown] == texts and rows[judgement.winner] == "second!"
    assert outcome.metrics["first_shown_wins"] == firsts.count("second!") / 300
    other_round = Longer()
    compare_pairs(prompts, responses, annotator=other_round, round=2)
    assert [texts[0] for texts in other_round.asked] != firsts


def test_several_models_and_samples():
    prompt = ask("?")
    responses = [say(prompt, f"{model}{i}", model, i) for model in "abc" for i in range(3)]
    seen = set()
    for round in range(40):
        pair = choose_pair(prompt, responses, round)
        assert pair[0].model != pair[1].model and pair == choose_pair(prompt, responses[::-1], round)
        seen |= {response.text for response in pair}
    assert len(seen) == 9


def test_two_steps_keep_the_verdict_in_the_lineage():
    prompts = [ask("a?"), ask("b?")]
    responses = [say(p, text, model) for p in prompts for text, model in (("first", "a"), ("second!", "b"))]
    judged = compare_pairs(prompts, responses, annotator=Longer(), round=3)
    made = make_preferences(prompts, responses, judged.rows, round=3)
    for row, judgement in zip(made.rows, judged.rows, strict=True):
        assert set(row.parents) == {row.prompt, *judgement.responses, judgement.id}
        assert set(judgement.parents) == set(judgement.responses)
    tie = replace(judged.rows[0], winner=-1, strength=None, id="")
    counts = make_preferences(prompts, responses, [tie, judged.rows[1]], round=3).counts()
    assert counts == {"taken": 2, "kept": 1, "dropped": {"tie": 1}, "unscored": {}}


def test_a_killed_step_asks_nobody_twice(tmp_path: Path):
    prompts = [ask(f"{i}?") for i in range(5)]
    responses = [say(p, text, model) for p in prompts for text, model in (("first", "a"), ("second!", "b"))]

    @dataclass(frozen=True)
    class Dies(Longer):
        def rank(self, prompt, responses):
            if len(self.asked) == 3:
                raise KeyboardInterrupt
            return super().rank(prompt, responses)

    work = StepWork(tmp_path / "step", "f")
    with pytest.raises(KeyboardInterrupt):
        desk(prompts, responses, annotator=Dies(), round=1, work=work)
    work.close()
    rest, work = Longer(), StepWork(tmp_path / "step", "f")
    resumed = desk(prompts, responses, annotator=rest, round=1, work=work)
    work.close()
    assert len(rest.asked) == 2
    assert resumed.rows == desk(prompts, responses, annotator=Longer(), round=1).rows


def test_an_instant_annotator_needs_no_journal(tmp_path: Path):
    prompt = ask("?")
    pair = [say(prompt, "5", "a"), say(prompt, "6", "b")]
    work = StepWork(tmp_path / "step", "f")
    assert desk([prompt], pair, annotator=CheckerAnnotator(checker=MathChecker()), round=1, work=work).rows
    work.close()
    assert not list(tmp_path.rglob("journal*"))


def test_refused_input_and_annotators():
    prompt = ask("?")
    pair = [say(prompt, "first", "a"), say(prompt, "second!", "b")]
    with pytest.raises(DataError, match="not among the prompts"):
        desk([ask("other")], pair, annotator=Longer(), round=1)
    with pytest.raises(DataError, match="comes twice"):
        desk([prompt, prompt], pair, annotator=Longer(), round=1)

    @dataclass(frozen=True)
    class Bad:
        answer: dict

        def rank(self, prompt, responses):
            told = {"prompt": prompt.id, "responses": tuple(r.id for r in responses), "judge": "bad"}
            return Judgement(**{**told, **self.answer})

    for answer, message in [
        ({"winner": 0}, "strength None"),
        ({"winner": 0, "strength": 7}, "strength 7"),
        ({}, "named no winner"),
        ({"winner": 2, "strength": 1}, "named no winner"),
        ({"responses": ("x", "y"), "winner": 0, "strength": 1}, "other responses"),
    ]:
        with pytest.raises(WorkerError, match=message):
            desk([prompt], pair, annotator=Bad(answer), round=1)


def test_simulated_signs_and_refuses_what_it_cannot_know():
    prompt, unknown = ask("?"), ask("??", reference="", source="file.jsonl:3")
    pair = (say(prompt, "first", "a"), say(prompt, "second!", "b"))
    simulated = Simulated(oracle=Longer())
    assert simulated.rank(prompt, pair).judge == "simulated"
    assert next(iter(simulated.edit(prompt, pair[1]))).content == "second! more"
    with pytest.raises(WorkerError, match=rf"{unknown.id} \(file\.jsonl:3\)"):
        simulated.rank(unknown, pair)
    with pytest.raises(WorkerError):
        simulated.edit(unknown, pair[0])

    @dataclass(frozen=True)
    class Knowing(Longer):
        def knows(self, prompt):
            return prompt.source == "file.jsonl:3"

    assert Simulated(oracle=Knowing()).rank(unknown, pair).winner == 1
    with pytest.raises(WorkerError):
        Simulated(oracle=Knowing()).rank(prompt, pair)
    bare = Simulated(oracle=CheckerAnnotator(checker=MathChecker()))
    assert bare.edit(prompt, pair[0]) is None


@dataclass(frozen=True)
class ByLength:
    calls: list = field(default_factory=list)

    def judge(self, prompts, responses, *, work=None):
        self.calls.append(len(responses))
        assert len({prompt.id for prompt in prompts}) == len(prompts)
        return [
            Judgement(prompt=r.prompt, responses=(r.id,), judge="length", unscored="unreadable")
            if r.text.startswith("?")
            else Judgement(prompt=r.prompt, responses=(r.id,), judge="length", score=float(len(r.text)))
            for r in responses[::-1]
        ]


def test_a_judge_as_annotator_has_quartile_strengths():
    prompts = [ask(f"{i}?") for i in range(10)]
    margins = [1, 2, 3, 4, 5, 6, 7, 8]
    responses = [
        r for p, m in zip(prompts, margins, strict=False) for r in (say(p, "x", "a"), say(p, "x" + "y" * m, "b"))
    ]
    responses += [say(prompts[8], "ab", "a"), say(prompts[8], "cd", "b")]
    responses += [say(prompts[9], "?", "a"), say(prompts[9], "cd", "b")]
    judge = ByLength()
    outcome = desk(prompts, responses, annotator=JudgeAnnotator(judge=judge, name="length"), round=1)
    assert judge.calls == [20]
    assert [row.strength for row in outcome.rows] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert all(row.candidates[0].model == "b" and row.annotator == "length" for row in outcome.rows)
    assert outcome.counts()["dropped"] == {"tie": 1} and outcome.counts()["unscored"] == {"unscored comparison": 1}
    by_hand = JudgeAnnotator(judge=ByLength(), cuts=(1.5, 2.5, 3.5))
    assert by_hand.rank(prompts[2], responses[4:6]).strength == 3
    with pytest.raises(WorkerError, match="quartiles"):
        JudgeAnnotator(judge=judge).rank(prompts[0], responses[:2])
    assert desk([], [], annotator=JudgeAnnotator(judge=judge), round=1).rows == []


def test_desk_table_in_the_form_of_table_6():
    def row(capability: str, turns: int, chosen: str) -> Preference:
        context = tuple(Message(role=("user", "assistant")[i % 2], content="q q") for i in range(2 * turns - 1))
        answers = [("edited", "e e e"), ("chosen", chosen), ("rejected", "r")]
        candidates = tuple(
            Candidate(role=role, messages=(Message(role="assistant", content=text),)) for role, text in answers
        )
        return Preference(prompt="p", context=context, candidates=candidates, capability=capability)

    rows = [row("general", 2, "c c"), row("general", 1, "c c c c"), row("code", 1, "c c")]
    table = desk_table(rows, count_tokens=lambda text: len(text.split()))
    assert [(line.name, line.comparisons, line.share) for line in table] == [
        ("code", 1, 33.33),
        ("general", 2, 66.67),
        ("Total", 3, 100.0),
    ]
    general = table[1]
    # (6 + 2 + 2 + 4) / 2 tokens an example; the last user message has 2; answers of 3, 2 or 4, and 1 token.
    assert (general.turns, general.tokens, general.tokens_prompt) == (1.5, 7.0, 2.0)
    assert general.tokens_response == pytest.approx((6 / 3 + 8 / 3) / 2)
    assert desk_table([]) == []


@settings(max_examples=60, deadline=None)
@given(st.lists(st.sampled_from("abcdefg"), min_size=1, max_size=60))
def test_shares_sum_to_100(names):
    message = Message(role="user", content="q")
    answer = (Message(role="assistant", content="a"),)
    candidates = (Candidate(role="chosen", messages=answer), Candidate(role="rejected", messages=answer))
    rows = [Preference(prompt="p", context=(message,), candidates=candidates, capability=name) for name in names]
    assert sum(round(line.share * 100) for line in desk_table(rows)[:-1]) == 10_000


def test_a_dialogue_of_t_turns_is_t_prompts():
    texts = [("system", "s"), ("user", "1"), ("assistant", "a"), ("user", "2"), ("assistant", "b"), ("user", "3")]
    dialogue = Prompt(messages=tuple(Message(role=r, content=c) for r, c in texts), ability="chat")
    prompts = split_dialogue(dialogue)
    assert [p.messages[-1].content for p in prompts] == ["1", "2", "3"]
    assert [len(p.messages) for p in prompts] == [2, 4, 6] and all(p.parents == (dialogue.id,) for p in prompts)


def test_back_ends_are_interchangeable_on_the_same_desk():
    prompts = [ask(f"{i}?") for i in range(4)]
    responses = [r for p in prompts for r in (say(p, "5", "a"), say(p, "it is 66", "b"))]
    for annotator in (
        CheckerAnnotator(checker=MathChecker()),
        JudgeAnnotator(judge=ByLength()),
        Simulated(oracle=Longer()),
    ):
        outcome = desk(prompts, responses, annotator=annotator, round=1)
        assert len(outcome.rows) == 4 and json.dumps(outcome.metrics)


def test_a_checker_grades_for_pruning():
    prompt, annotator = ask("2 + 3?"), CheckerAnnotator(checker=MathChecker())
    assert annotator.quality(prompt, say(prompt, "5", "a")) == 3.0
    assert annotator.quality(prompt, say(prompt, "6", "a")) == 0.0
    assert annotator.quality(ask("?", reference=""), say(ask("?", reference=""), "5", "a")) is None
