import gzip
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from burnish.errors import DataError
from burnish.records import Message, Preference, Prompt, plain, write_jsonl, write_parquet
from burnish.records.conventions import read_demonstrations, read_preferences, read_prompts

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
GSM = {"question": "2 + 3?", "answer": "2 + 3 = <<2+3=5>>5\n#### 5"}
CHAT = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Hello"},
    {"role": "user", "content": "2 + 3?"},
    {"role": "assistant", "content": "5"},
]


def put(path: Path, rows: list) -> Path:
    text = "".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows)
    data = text.encode("utf-8", "surrogatepass")
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def said(messages) -> list[tuple[str, str]]:
    return [(m.role, m.content) for m in messages]


def test_gsm8k(tmp_path):
    path = put(tmp_path / "a.jsonl.gz", [GSM, {"question": "big", "answer": "#### 1,234"}])
    result = read_prompts(path)
    assert result.convention == "GSM8K" and not result.dropped
    first, second = result.rows
    assert said(first.messages) == [("user", "2 + 3?")]
    assert (first.checker, first.reference, first.source) == ("math", "5", "a.jsonl.gz:1")
    assert second.reference == "1234"
    (demonstration, _) = read_demonstrations(path).rows
    assert said(demonstration.response) == [("assistant", GSM["answer"])]
    with pytest.raises(DataError, match=r"b\.jsonl:2: the answer ends in no '#### N'"):
        read_prompts(put(tmp_path / "b.jsonl", [GSM, {"question": "q", "answer": "five"}]))


@pytest.mark.parametrize(
    ("row", "convention"),
    [
        ({"messages": CHAT}, "messages"),
        (
            {
                "conversations": [
                    {"from": {"user": "human", "assistant": "gpt"}.get(m["role"], m["role"]), "value": m["content"]}
                    for m in CHAT
                ]
            },
            "ShareGPT",
        ),
        (
            {
                "instruction": "2 + 3?",
                "input": "",
                "output": "5",
                "history": [["Hi", "Hello"]],
                "system": "Be brief.",
            },
            "Alpaca",
        ),
        ({"prompt": CHAT[:4], "completion": CHAT[4:]}, "prompt-completion"),
        ({"prompt": CHAT[:4], "completion": "5"}, "prompt-completion"),
    ],
    ids=["messages", "sharegpt", "alpaca", "trl-lists", "trl-text"],
)
def test_demonstrations_say_the_same_in_every_convention(tmp_path, row, convention):
    path = put(tmp_path / "a.jsonl", [row])
    result = read_demonstrations(path)
    assert result.convention == convention
    assert said(result.rows[0].context) == [(m["role"], m["content"]) for m in CHAT[:4]]
    assert said(result.rows[0].response) == [("assistant", "5")]
    prompt = read_prompts(path).rows[0]
    assert prompt.messages == result.rows[0].context and prompt.id == result.rows[0].prompt


def test_tool_calls_keep_the_turn(tmp_path):
    row = {
        "conversations": [
            {"from": "human", "value": "weather?"},
            {"from": "function_call", "value": "{}"},
            {"from": "observation", "value": "sunny"},
            {"from": "gpt", "value": "It is sunny."},
        ]
    }
    (demonstration,) = read_demonstrations(put(tmp_path / "a.jsonl", [row])).rows
    assert [(m.role, m.end) for m in demonstration.response] == [
        ("assistant", "message"),
        ("ipython", "turn"),
        ("assistant", "turn"),
    ]


@pytest.mark.parametrize(
    "row",
    [
        {"prompt": "Q", "chosen": "A", "rejected": "B"},
        {"prompt": [{"role": "user", "content": "Q"}], "chosen": [{"role": "assistant", "content": "A"}],
         "rejected": [{"role": "assistant", "content": "B"}]},
        {"chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
         "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]},
        {"prompt": "Q", "chosen": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "A"}],
         "rejected": [{"role": "user", "content": "Q"}, {"role": "assistant", "content": "B"}]},
        {"conversations": [{"from": "human", "value": "Q"}], "chosen": {"from": "gpt", "value": "A"},
         "rejected": {"from": "gpt", "value": "B"}},
        {"chosen": "\n\nHuman: Q\n\nAssistant: A", "rejected": "\n\nHuman: Q\n\nAssistant: B"},
        {"instruction": "Q", "input": "", "output": ["A", "B"]},
    ],
    ids=["text", "lists", "implicit", "whole-dialogues", "sharegpt", "hh", "alpaca"],
)  # fmt: skip
def test_preferences_say_the_same_in_every_convention(tmp_path, row):
    row = {**row, "strength": "significantly better", "margin": 2, "ability": "chat"}
    (preference,) = read_preferences(put(tmp_path / "a.jsonl", [row])).rows
    assert said(preference.context) == [("user", "Q")]
    assert [(c.role, said(c.messages)) for c in preference.candidates] == [
        ("chosen", [("assistant", "A")]),
        ("rejected", [("assistant", "B")]),
    ]
    assert (preference.strength, preference.margin, preference.capability) == (4, 2.0, "chat")


def test_three_way_rows_and_equal_answers(tmp_path):
    rows = [
        {"prompt": "Q", "chosen": "A", "rejected": "B", "edited": "A+"},
        {"prompt": "Q", "chosen": "A", "rejected": "A"},
    ]
    result = read_preferences(put(tmp_path / "a.jsonl", rows))
    assert [c.role for c in result.rows[0].candidates] == ["edited", "chosen", "rejected"]
    assert [row.reason for row in result.dropped] == ["equal answers"]


def test_plain_prompts_carry_their_extras(tmp_path):
    row = {"prompt": "Q", "reference": "7", "checker": "math", "tags": ["a"], "difficulty": 0.5, "language": "de"}
    (prompt,) = read_prompts(put(tmp_path / "a.jsonl", [row])).rows
    assert (prompt.reference, prompt.checker, prompt.tags, prompt.difficulty, prompt.language) == (
        "7", "math", ("a",), 0.5, "de",
    )  # fmt: skip


def test_our_own_nouns_and_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    prompts = read_prompts(put(tmp_path / "a.jsonl", [GSM, {**GSM, "question": "2 + 4?"}])).rows
    write_parquet(prompts, tmp_path / "p.parquet")
    write_jsonl(prompts, tmp_path / "p.jsonl")
    for name in ("p.parquet", "p.jsonl"):
        result = read_prompts(tmp_path / name)
        assert result.rows == prompts and result.convention == "burnish"
        with pytest.raises(DataError, match="holds Prompt rows, not Demonstration rows"):
            read_demonstrations(tmp_path / name)
    pq.write_table(pa.Table.from_pylist([{"prompt": "Q", "chosen": "A", "rejected": "B"}]), tmp_path / "q.parquet")
    assert isinstance(read_preferences(tmp_path / "q.parquet").rows[0], Preference)
    (tmp_path / "a.json").write_text(json.dumps([GSM]))
    assert read_prompts(tmp_path / "a.json").rows[0].reference == "5"


BAD = {
    "broken": ('{"question": "a", "answ', "not valid JSON"),
    "array": ([1, 2], "must be a JSON object"),
    "missing": ({"question": "a"}, "column 'answer' is missing; found question"),
    "number": ({"question": 3, "answer": "#### 1"}, "the column question is a int"),
    "surrogate": ('{"question": "\\ud800", "answer": "#### 1"}', "surrogate"),
    "blank": ({"question": " ", "answer": "#### 1"}, "blank"),
    "deep": ("[" * 100_000, "not valid JSON"),
    "tags": ({**GSM, "question": "z", "tags": "a"}, "tags must be a list"),
    "difficulty": ('{"question": "a", "answer": "#### 1", "difficulty": NaN}', "finite number"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_row_names_file_and_line_or_is_dropped_and_counted(tmp_path, name):
    row, message = BAD[name]
    path = put(tmp_path / "a.jsonl", [GSM, "", row, {**GSM, "question": "last"}])
    with pytest.raises(DataError) as caught:
        read_prompts(path)
    assert message in str(caught.value) and "a.jsonl:3: " in str(caught.value) and "\n" not in str(caught.value)
    result = read_prompts(path, on_error="drop")
    assert len(result.rows) == 2
    (left,) = result.dropped
    assert left.reason == "malformed row" and message in left.detail and "a.jsonl:3" in left.detail


def test_bad_encoding_names_the_line(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(json.dumps(GSM).encode() + b'\n{"question": "\xff", "answer": "#### 1"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl:2: the line is not UTF-8"):
        read_prompts(path)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.jsonl", b"", "is empty"),
        ("a.json", b"[]", "is empty"),
        ("a.json", b"[{]", r"a\.json:1 is not valid JSON"),
        ("a.jsonl.gz", b"no gzip", "cannot be read"),
        ("a.parquet", b"no parquet", "cannot be read as Parquet"),
        ("a.csv", b"x", "no known ending"),
        ("a.jsonl", b'{"text": "x"}', "has the columns text, which are no prompt file"),
        ("a.jsonl", b'{"promt": "x"}', r"are no prompt file \(did you mean prompt by promt\?\); rename them"),
        ("a.jsonl", b'{"prompt": "x", "completion": "y"', "not valid JSON"),
    ],
)
def test_bad_files(tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message):
        read_prompts(tmp_path / name)


def test_missing_file_folder_and_wrong_kind(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        read_prompts(tmp_path / "none.jsonl")
    (tmp_path / "folder.jsonl").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_prompts(tmp_path / "folder.jsonl")
    with pytest.raises(DataError, match=r"of a demonstration file .GSM8K., which burnish train reads for sft"):
        read_preferences(put(tmp_path / "a.jsonl", [GSM]))
    with pytest.raises(DataError, match="no usable row; the first one"):
        read_prompts(put(tmp_path / "b.jsonl", ["{", "{"]), on_error="drop")
    for row, message in [
        ({"prompt": "Q", "chosen": "A", "rejected": "B", "strength": "huge"}, "strength must be 1 to 4"),
        ({"chosen": "A", "rejected": "B"}, "add a column prompt"),
        ({"instruction": "Q", "output": ["A", "B", "C"]}, "a list of 3"),
        ({"prompt": "Q", "chosen": [{"role": "alien", "content": "A"}], "rejected": "B"}, "unknown role 'alien'"),
    ]:
        with pytest.raises(DataError, match=message):
            read_preferences(put(tmp_path / "c.jsonl", [row]))


def test_duplicates_are_counted_whichever_line_they_stand_on(tmp_path):
    result = read_prompts(put(tmp_path / "a.jsonl", [GSM, GSM, {**GSM, "question": "other"}, GSM]))
    assert len(result.rows) == 2 and [row.reason for row in result.dropped] == ["duplicate"] * 2
    assert all(row.parents for row in result.dropped)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["{", "[]", '{"question": "q"}']),
            st.builds(lambda q, n: {"question": q, "answer": f"#### {n}"}, st.sampled_from("abc"), st.integers(0, 2)),
        ),
        max_size=8,
    )
)
def test_every_line_has_a_fate(tmp_path_factory, rows):
    path = put(tmp_path_factory.mktemp("rows") / "a.jsonl", [GSM, *rows])
    result = read_prompts(path, on_error="drop")
    assert len(result.rows) + len(result.dropped) == 1 + len(rows)
    assert len({row.id for row in result.rows}) == len(result.rows)


@pytest.mark.parametrize(
    ("name", "read", "convention", "bad"),
    [
        ("gsm8k/train", read_prompts, "GSM8K", 0),
        ("alpaca/alpaca_5000", read_demonstrations, "Alpaca", 2),
        ("lima/lima", read_demonstrations, "Alpaca", 0),
        ("hh_rlhf/harmless_base", read_preferences, "preference", 0),
        ("llama_factory_demo/dpo_en_demo", read_preferences, "preference", 0),
        ("llama_factory_demo/glaive_toolcall_en_demo", read_demonstrations, "ShareGPT", 0),
        ("llama_factory_demo/kto_en_demo", read_demonstrations, "messages", 0),
    ],
)
def test_real_files(name, read, convention, bad):
    path = DATA / f"{name}.jsonl.gz"
    if not path.exists():
        pytest.skip(f"{path} is absent; point BURNISH_DATA at a folder that holds it")
    with gzip.open(path) as lines:
        count = sum(1 for _ in lines)
    result = read(path, on_error="drop")
    assert result.convention == convention and len(result.rows) + len(result.dropped) == count
    assert sum(row.reason == "malformed row" for row in result.dropped) == bad
    assert len({row.id for row in result.rows}) == len(result.rows)
    assert all(isinstance(m, Message) for row in result.rows[:50] for m in getattr(row, "context", ()))


def test_rows_do_not_depend_on_the_folder(tmp_path):
    (tmp_path / "other").mkdir()
    rows = [read_prompts(put(folder / "a.jsonl", [GSM])).rows for folder in (tmp_path, tmp_path / "other")]
    assert rows[0] == rows[1] and isinstance(rows[0][0], Prompt) and plain(rows[0][0])


COLUMNS = [
    "question", "answer", "prompt", "completion", "chosen", "rejected", "edited", "messages", "conversations",
    "instruction", "input", "output", "history", "system", "strength", "margin", "tags", "difficulty", "id", "parents",
]  # fmt: skip
MESSAGE = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "alien", 3]),
        "from": st.sampled_from(["human", "gpt", "function_call", "observation"]),
        "content": st.one_of(st.none(), st.text(max_size=3), st.just([{"type": "text", "text": "a"}])),
        "value": st.text(max_size=3),
        "tool_calls": st.just([{"name": "f"}]),
    },
)
VALUE = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 5), st.floats(), st.text(max_size=4), MESSAGE, st.just("#### 4"),
    st.lists(st.one_of(MESSAGE, st.text(max_size=2), st.lists(st.text(max_size=2), max_size=2)), max_size=3),
)  # fmt: skip


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.dictionaries(st.sampled_from(COLUMNS), VALUE, max_size=6), min_size=1, max_size=4),
    st.sampled_from([read_prompts, read_demonstrations, read_preferences]),
)
def test_whatever_the_file_holds_it_is_rows_or_one_clear_error(tmp_path_factory, rows, read):
    path = tmp_path_factory.getbasetemp() / "fuzz.jsonl"
    put(path, rows)
    try:
        result = read(path, on_error="drop")
    except DataError as error:
        assert "fuzz.jsonl" in str(error)
        return
    assert len(result.rows) + len(result.dropped) == len(rows)
    write_parquet(result.rows, path.with_suffix(".parquet"))
    assert tuple(read(path.with_suffix(".parquet")).rows) == result.rows
