"""Raw text, and messages that say whether they are trained."""

from __future__ import annotations

from dataclasses import replace

import pytest

from burnish.errors import DataError
from burnish.records import (
    Demonstration,
    Document,
    Message,
    Prompt,
    content_id,
    dropped,
    from_plain,
    plain,
    read_demonstrations,
    read_documents,
    read_parquet,
    read_preferences,
    write_jsonl,
    write_parquet,
)
from tests.records.test_conventions import put

USER, SAID = {"role": "user", "content": "1 + 1"}, {"role": "assistant", "content": "2"}


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "parquet"])
def test_raw_text_is_read_from_any_file(tmp_path, ending):
    rows = [{"text": "one\ntext", "meta": 1}, {"text": "two"}, {"text": "one\ntext"}]
    path = tmp_path / f"a.{ending}"
    if ending == "parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        put(path, rows)
    found = read_documents(path)
    assert found.convention == "text"
    assert found.rows == (
        Document(text="one\ntext", corpus=path.name, source=f"{path.name}:1"),
        Document(text="two", corpus=path.name, source=f"{path.name}:2"),
    )
    assert [row.reason for row in found.dropped] == ["duplicate"]
    write_parquet(found.rows, tmp_path / "again.parquet")
    assert (
        tuple(read_parquet(tmp_path / "again.parquet")) == found.rows == read_documents(tmp_path / "again.parquet").rows
    )


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([], "is empty"),
        (
            [{"content": "x"}],
            r"has the columns content, which are no document file; rename the column that holds the text to text",
        ),
        ([{"text": "x"}, {"txt": "y"}], r":2: the column 'text' is missing"),
        ([{"text": "x"}, {"text": " \n"}], r":2: the text is blank"),
        ([{"text": 3}], r":1: the column text is a int; it must be text"),
        ([{"text": "\ud800"}], r":1: .*surrogate"),
    ],
)
def test_what_is_no_raw_text_is_refused(tmp_path, rows, words):
    with pytest.raises(DataError, match=words):
        read_documents(put(tmp_path / "a.jsonl", rows))


def test_a_file_of_text_is_no_file_of_dialogues_and_says_so(tmp_path):
    path = put(tmp_path / "a.jsonl", [{"text": "x"}])
    for read in (read_demonstrations, read_preferences):
        with pytest.raises(DataError, match="has the columns text"):
            read(path)


@pytest.mark.parametrize(("switch", "train"), [({}, True), ({"train": False}, False), ({"weight": 0}, False),
                                               ({"weight": 1}, True), ({"train": True, "weight": 1.0}, True),
                                               ({"train": None, "weight": 0}, False)])  # fmt: skip
@pytest.mark.parametrize("form", ["messages", "ShareGPT"])
def test_switches_are_read_from_either_convention(tmp_path, switch, train, form):
    if form == "messages":
        row = {"messages": [USER, SAID | switch, USER, SAID]}
    else:
        turns = [{"from": "human", "value": "1 + 1"}, {"from": "gpt", "value": "2", **switch}]
        row = {"conversations": [*turns, turns[0], {"from": "gpt", "value": "2"}]}
    (found,) = read_demonstrations(put(tmp_path / "a.jsonl", [row])).rows
    assert [m.train for m in (*found.context, *found.response)] == [True, train, True, True]


def test_a_call_keeps_its_switch(tmp_path):
    tool = {"role": "tool", "content": "2"}
    row = {"messages": [USER, {**SAID, "train": False}, tool, SAID]}
    (found,) = read_demonstrations(put(tmp_path / "a.jsonl", [row])).rows
    assert found.response[0] == Message(role="assistant", content="2", end="message", train=False)


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([USER, SAID | {"weight": 0.5}], "weight of a message must be 0 or 1, found 0.5"),
        ([USER, SAID | {"train": "no"}], "train of a message must be true or false, found 'no'"),
        ([USER, SAID | {"train": True, "weight": 0}], "train and weight, and they differ"),
        ([USER | {"train": True}, SAID], "a user message says train: True; only assistant messages are trained"),
    ],
)
def test_switches_that_mean_nothing_are_refused(tmp_path, messages, words):
    with pytest.raises(DataError, match=words):
        read_demonstrations(put(tmp_path / "a.jsonl", [{"messages": messages}]))


def test_rows_without_a_switch_keep_the_ids_they_had():
    """Ids of version 0.1.0 before messages had a switch: they key sampling, orders, and what a run reuses."""
    context, response = (Message(**USER),), (Message(**SAID),)
    row = Demonstration(prompt="p", context=context, response=response)
    assert Prompt(messages=context).id == "141d6d24f95e5199" and content_id(context) == "8437ac444f1041a2"
    assert row.id == "0e3c1b8f96ea0fd6"
    off = replace(row, id="", response=(replace(response[0], train=False),))
    assert off.id != row.id and replace(off, id="", response=response) == row


def test_a_switch_survives_on_disk(tmp_path):
    off = Demonstration(prompt="p", context=(Message(**USER),), response=(Message(**SAID, train=False),))
    on = replace(off, id="", response=(Message(**SAID),))
    write_parquet([on, off], tmp_path / "a.parquet")
    assert read_parquet(tmp_path / "a.parquet") == [on, off]
    write_jsonl([on, off], tmp_path / "a.jsonl")
    first, second = (tmp_path / "a.jsonl").read_text().splitlines()
    assert '"train"' not in first and '"train": false' in second
    assert [from_plain(Demonstration, plain(row)) for row in (on, off)] == [on, off]
    assert '"train": false' in dropped(off, "x").row
