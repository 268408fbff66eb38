from itertools import combinations
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.curate import best_of_k, expected_best, steer
from burnish.errors import DataError
from burnish.records import Judgement, Message, Prompt, Response


def ask(text: str) -> Prompt:
    return Prompt(messages=(Message(role="user", content=text),), ability="math", difficulty=2.0)


def say(prompt: Prompt, index: int, text: str | None = None, finish: str = "stop") -> Response:
    message = Message(role="assistant", content=f"answer {index}" if text is None else text)
    return Response(prompt=prompt.id, messages=(message,), model="m", index=index, finish=finish)


def score(response: Response, value: float | None) -> Judgement:
    told = {"prompt": response.prompt, "responses": (response.id,), "judge": "rm"}
    return Judgement(**told, score=value) if value is not None else Judgement(**told, unscored="too long")


def world(rewards: list[list[float | None]]):
    prompts = [ask(f"q{i}") for i in range(len(rewards))]
    responses = [say(p, k) for p, row in zip(prompts, rewards, strict=True) for k in range(len(row))]
    judgements = [score(r, v) for r, v in zip(responses, [v for row in rewards for v in row], strict=True)]
    return prompts, responses, judgements


@settings(max_examples=80, deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(-3, 3).map(float)), max_size=5), max_size=5),
    st.sampled_from(["reward", "random"]),
    st.integers(0, 3),
)
def test_one_row_a_prompt_and_every_response_has_a_fate(rewards, selection, seed):
    prompts, responses, judgements = world(rewards)
    outcome = best_of_k(prompts, responses, judgements, round=1, selection=selection, seed=seed)
    counts = outcome.counts()
    assert counts["taken"] == len(responses)
    assert counts["kept"] == sum(any(v is not None for v in row) for row in rewards)
    assert sum(counts["unscored"].values()) == sum(v is None for row in rewards for v in row)
    for row in outcome.rows:
        mine = [v for v in rewards[prompts.index(next(p for p in prompts if p.id == row.prompt))] if v is not None]
        assert row.score in mine and (selection == "random" or row.score == max(mine))
    shuffled = best_of_k(prompts, responses[::-1], judgements[::-1], round=1, selection=selection, seed=seed)
    assert shuffled.rows == outcome.rows


def test_the_row_keeps_where_it_comes_from_and_ties_break_by_id():
    prompts, responses, judgements = world([[1.0, 3.0, 3.0, 2.0]])
    (row,) = best_of_k(prompts, responses, judgements, round=4).rows
    best = min(responses[1:3], key=lambda r: r.id)
    verdict = next(j for j in judgements if j.responses == (best.id,))
    assert row.response == best.messages and row.parents == (best.id, verdict.id, prompts[0].id)
    assert (row.score, row.source, row.round, row.model, row.ability, row.difficulty) == (
        3.0, "rejection sampling", 4, "m", "math", 2.0,
    )  # fmt: skip


def test_gain_and_the_curve_of_k():
    prompts, responses, judgements = world([[0.0, 1.0, 2.0, 5.0], [1.0, 1.0, 1.0, 1.0], [None] * 4])
    outcome = best_of_k(prompts, responses, judgements, round=1)
    metrics = outcome.metrics
    assert (metrics["best"], metrics["mean"], metrics["gain"], metrics["chosen"]) == (3.0, 1.5, 1.5, 3.0)
    assert (metrics["prompts"], metrics["prompts_scored"], metrics["k"]) == (3, 2, 4)
    curve = list(metrics["expected_best"].values())
    assert curve == sorted(curve) and curve[0] == pytest.approx(1.5) and curve[-1] == pytest.approx(3.0)
    assert outcome.counts()["unscored"] == {"unscored response": 4}


@given(st.lists(st.integers(-5, 5), min_size=1, max_size=7), st.data())
def test_expected_best_is_the_mean_over_all_draws(rewards, data):
    k = data.draw(st.integers(1, len(rewards)))
    assert expected_best(rewards, k) == pytest.approx(mean(max(draw) for draw in combinations(rewards, k)))


def test_random_selection_is_a_seeded_control():
    prompts, responses, judgements = world([[float(k) for k in range(8)]] * 60)
    picks = [best_of_k(prompts, responses, judgements, round=1, selection="random", seed=s) for s in (0, 0, 1)]
    assert picks[0].rows == picks[1].rows != picks[2].rows
    assert 2.5 < picks[0].metrics["chosen"] < 4.5 and picks[0].metrics["best"] == 7
    assert picks[0].rows[0].source == "random selection"
    with pytest.raises(ValueError):
        best_of_k(prompts, responses, judgements, round=1, selection="worst")


def test_what_cannot_be_chosen():
    prompt = ask("q")
    responses = [say(prompt, 0, " "), say(prompt, 1, finish="length"), say(prompt, 2), say(prompt, 3)]
    judgements = [score(responses[1], 9.0), score(responses[2], 1.0)]
    (row,) = best_of_k([prompt], responses, judgements, round=1).rows
    assert row.score == 9.0
    outcome = best_of_k([prompt], responses, judgements, round=1, keep_cut=False)
    assert [row.score for row in outcome.rows] == [1.0]
    assert outcome.counts()["dropped"] == {"blank response": 1, "cut at the length limit": 1}
    assert outcome.counts()["unscored"] == {"not judged": 1}
    low = best_of_k([prompt], responses, judgements, round=1, minimum=10.0)
    assert not low.rows and low.counts()["dropped"]["below the minimum reward"] == 1
    none = best_of_k([prompt], responses, [], round=1)
    assert not none.rows and none.counts()["unscored"] == {"not judged": 3}


def test_steering_is_stripped_by_default():
    prompt = Prompt(messages=(Message(role="system", content="own"), Message(role="user", content="q")))
    steered = steer([prompt], system="Be formal.").rows[0]
    assert steered.parents == (prompt.id,) and steered.messages[0].content == "Be formal."
    response = say(steered, 0)
    stored = best_of_k([steered], [response], [score(response, 1.0)], round=1).rows[0]
    assert stored.context == prompt.messages
    kept = best_of_k([steered], [response], [score(response, 1.0)], round=1, strip_steering=False).rows[0]
    assert kept.context == steered.messages
    plain = say(prompt, 0)
    assert best_of_k([prompt], [plain], [score(plain, 1.0)], round=1).rows[0].context == prompt.messages


def test_refuses_rows_that_do_not_belong_together():
    prompts, responses, judgements = world([[1.0, 2.0]])
    with pytest.raises(DataError, match="not among the prompts"):
        best_of_k([], responses, judgements, round=1)
    with pytest.raises(DataError, match="not among the responses"):
        best_of_k(prompts, responses[:1], judgements, round=1)
    with pytest.raises(DataError, match="two judgements"):
        best_of_k(prompts, responses, [*judgements, score(responses[0], 5.0)], round=1)
    comparison = Judgement(prompt="p", responses=(responses[0].id, responses[1].id), judge="j", winner=0, strength=1)
    with pytest.raises(DataError, match="compares responses"):
        best_of_k(prompts, responses, [comparison], round=1)
