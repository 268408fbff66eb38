"""Rows to examples, orders and packs."""

import numpy as np
import pytest

from burnish.chat import load_chat
from burnish.errors import DataError
from burnish.records import Candidate, Demonstration, Preference
from burnish.train.batch import (
    encode_all,
    encode_demonstration,
    encode_pair,
    encode_ranking,
    epoch_order,
    optimiser_batches,
    packs,
)
from tests.train.material import demonstrations, preferences, said


@pytest.fixture(scope="module")
def chat(base):
    return load_chat(base.path)


def all_of(encode, chat, rows, max_length=256, refuse_above=1.0):
    return encode_all(encode, chat, rows, max_length=max_length, refuse_above=refuse_above)


CALL = (said("assistant", "call", "message"), said("ipython", "tool says"), said("assistant", "done"))


def test_only_the_assistant_is_trained_and_tool_output_nowhere(chat):
    row = Demonstration(prompt="p", context=(said("user", "hi"),), response=CALL)
    example = encode_demonstration(chat, row)
    ids = np.array(example.row.responses[0])
    stop = chat.stop_ids[0]
    trained = chat.text(ids[example.trained & ~example.formatting])
    assert trained == "calldone" and "tool says" in chat.text(ids)
    terminators = ids[example.trained & example.formatting]
    assert stop in terminators and len(terminators) >= 2
    # the second assistant header is in the response, formatting, and not trained
    header = ids[~example.trained & example.formatting]
    assert "assistant" in chat.text(header)


def test_three_ranked_answers_are_shuffled_with_their_ranks(chat):
    rows = preferences(40, ways=(3,))
    orders = set()
    for row in rows:
        example = encode_ranking(chat, row)
        orders.add(example.ranks)
        assert sorted(example.ranks) == [0, 1, 2]
        for place, rank in enumerate(example.ranks):
            encoded = chat.encode(row.context, row.candidates[rank].messages)
            assert example.row.responses[place] == tuple(encoded.ids[encoded.prompt_length :])
    assert len(orders) == 6
    assert [encode_ranking(chat, row).ranks for row in rows] == [encode_ranking(chat, row).ranks for row in rows]


def test_a_pair_is_the_best_against_the_worst(chat):
    row = preferences(2)[1]
    assert len(row.candidates) == 3
    example = encode_pair(chat, row)
    texts = [chat.text(r) for r in example.row.responses]
    assert texts[0].startswith(row.candidates[0].messages[-1].content)
    assert texts[1].startswith(row.candidates[2].messages[-1].content)


def test_long_and_malformed_rows_come_back_with_a_reason(chat):
    rows = demonstrations(6)
    rows[1] = Demonstration(prompt="long", context=(said("user", "x" * 300),), response=(said("assistant", "y"),))
    rows[3] = Demonstration(prompt="odd", context=(said("user", "x"),), response=(said("ipython", "y"),))
    examples, lost = all_of(encode_demonstration, chat, rows)
    assert len(examples) == 4 and [d.parents[0] for d in lost] == [rows[1].id, rows[3].id]
    assert lost[0].reason == "longer than the context" and "256 fit" in lost[0].detail
    assert lost[1].reason == "not a well-formed dialogue" and lost[1].detail
    single = Preference(prompt="p", context=rows[0].context, candidates=preferences(1)[0].candidates[:1])
    assert all_of(encode_pair, chat, [*preferences(2), single])[1][0].reason == "fewer than two candidates"


def test_too_many_lost_rows_are_refused_and_none_left_always(chat):
    rows = demonstrations(4)
    rows[1] = Demonstration(prompt="long", context=(said("user", "x" * 300),), response=(said("assistant", "y"),))
    assert len(all_of(encode_demonstration, chat, rows, refuse_above=0.25)[0]) == 3
    with pytest.raises(DataError, match=r"1 of 4 training rows were dropped.*longer than the context"):
        all_of(encode_demonstration, chat, rows, refuse_above=0.2)
    with pytest.raises(DataError, match="4 of 4"):
        all_of(encode_demonstration, chat, rows, max_length=3)
    with pytest.raises(DataError, match="0 are left"):
        all_of(encode_demonstration, chat, [])


def test_a_row_without_a_trained_token_is_an_error(chat):
    rows = demonstrations(1)
    empty = Preference(
        prompt="p",
        context=rows[0].context,
        candidates=(Candidate(role="chosen", messages=rows[0].response), Candidate(role="rejected", messages=())),
    )
    with pytest.raises(DataError, match=f"{empty.id}.*no trained token"):
        all_of(encode_pair, chat, [empty])


def test_epochs_are_seeded_permutations_whatever_order_rows_come_in(chat):
    rows = demonstrations(9)
    rows.append(rows[4])  # mixed in twice
    examples, _ = all_of(encode_demonstration, chat, rows)
    first = epoch_order(examples, seed=1, epoch=0)
    assert sorted(first) == list(range(10)) and first != list(range(10))
    assert first != epoch_order(examples, seed=1, epoch=1) and first != epoch_order(examples, seed=2, epoch=0)
    backwards = examples[::-1]
    again = [backwards[i].id for i in epoch_order(backwards, seed=1, epoch=0)]
    assert again == [examples[i].id for i in first]


def test_batches_cut_the_stream_of_epochs_and_only_the_last_is_small(chat):
    examples, _ = all_of(encode_demonstration, chat, demonstrations(10))
    batches = optimiser_batches(examples, batch_rows=4, epochs=3, seed=0)
    assert [len(b) for b in batches] == [4] * 7 + [2]
    stream = [i for b in batches for i in b]
    assert all(sorted(stream[e * 10 : e * 10 + 10]) == list(range(10)) for e in range(3))


def test_packs_keep_every_example_and_the_budget(chat):
    examples, _ = all_of(encode_demonstration, chat, demonstrations(10))
    budget = max(e.tokens for e in examples) + 20
    parts = list(packs(examples, budget=budget))
    assert sorted(e.id for part in parts for e in part) == sorted(e.id for e in examples)
    assert all(sum(e.tokens for e in part) <= budget for part in parts) and len(parts) < 10
    assert [len(part) for part in packs(examples, budget=1)] == [1] * 10


def test_tokens_count_the_prompt_once(chat):
    row = preferences(2)[1]
    example = encode_ranking(chat, row)
    assert example.tokens == len(chat.encode_prompt(row.context)) + sum(map(len, example.row.responses))
