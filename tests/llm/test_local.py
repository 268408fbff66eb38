"""The client: every prompt a fate, equal rows for equal requests, whatever was killed or shared out in between."""

from __future__ import annotations

import re
import string
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from burnish.chat import load_chat, load_tokens
from burnish.errors import ModelError, SettingsError
from burnish.llm import Local, sample_responses
from burnish.llm.local import batches, styles
from burnish.llm.local import client as llm_local
from burnish.llm.local.batches import Size, plan, size_of
from burnish.llm.local.client import TOO_LONG
from burnish.llm.local.styles import ChatStyle, CompletionStyle, render
from burnish.models import load_causal
from burnish.records import Demonstration, Message, Prompt, Sampling, Weights
from burnish.runs import Compute, Run, computing, stop_workers
from tests.llm.conftest import Bench, ask, prompts

SAMPLING = Sampling(temperature=1.0, max_new_tokens=12, seed=3)


def client(folders: Any, style: str = "chat", **fields: Any) -> Local:
    return Local(folders(), style, format="chatml" if style == "chat" else None, **fields)


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "ROWS", 12)


def test_answers_come_in_order_with_what_was_drawn(folders: Any) -> None:
    asked = prompts(7)
    rows = client(folders).answer(asked, n=3, sampling=SAMPLING)
    assert [(r.prompt, r.index) for r in rows] == [(p.id, i) for p in asked for i in range(3)]
    chat, model = load_chat(folders().path, format="chatml"), load_causal(folders())
    model.set_attn_implementation("eager")
    for prompt, row in zip([p for p in asked for _ in range(3)], rows, strict=True):
        assert row.model == folders().id and row.sampling == SAMPLING and row.parents == (prompt.id,)
        assert row.messages == chat.decode(row.token_ids)
        ended = row.token_ids[-1] in chat.stop_ids
        assert row.finish == ("stop" if ended else "length") and (ended or len(row.token_ids) == 12)
        ids = list(chat.encode_prompt(prompt.messages))
        with torch.no_grad():
            logits = model(torch.tensor([ids + list(row.token_ids)]), use_cache=False).logits[0].log_softmax(-1)
        reference = [logits[len(ids) - 1 + i, t].item() for i, t in enumerate(row.token_ids)]
        assert np.abs(np.array(reference) - np.array(row.logprobs)).max() < 1e-4
    assert len({row.token_ids for row in rows}) == 21


def test_equal_requests_give_equal_rows_and_another_seed_does_not(folders: Any) -> None:
    first = client(folders).answer(prompts(4), n=2, sampling=SAMPLING)
    assert first == client(folders).answer(prompts(4), n=2, sampling=SAMPLING)
    other = client(folders).answer(prompts(4), n=2, sampling=replace(SAMPLING, seed=4))
    assert all(a.token_ids != b.token_ids for a, b in zip(first, other, strict=True))


def test_a_prompt_is_answered_alike_in_any_company(folders: Any, small_batches: None) -> None:
    with computing(Compute(dtype="float64")):
        whole = client(folders).answer(prompts(9), n=4, sampling=SAMPLING)
        alone = client(folders).answer(prompts(9)[5:6], n=2, sampling=SAMPLING)
        backwards = client(folders).answer(prompts(9)[::-1], n=4, sampling=SAMPLING)
        many = client(folders).answer(prompts(9)[5:6], n=30, sampling=SAMPLING)  # more than a batch holds
    assert [r.token_ids for r in alone] == [r.token_ids for r in whole[20:22]]
    assert {(r.prompt, r.index, r.token_ids) for r in backwards} == {(r.prompt, r.index, r.token_ids) for r in whole}
    assert [r.index for r in many] == list(range(30)) and [r.token_ids for r in many[:4]] == [
        r.token_ids for r in whole[20:24]
    ]


@pytest.mark.parametrize("style", ["chat", "completion"])
def test_a_killed_call_goes_on_bitwise(folders: Any, small_batches: None, bench: Bench, style: str) -> None:
    local = client(folders, style)
    whole = local.answer(prompts(10), n=4, sampling=SAMPLING, work=bench)
    keys = list(bench.journal.entries)
    assert len(keys) == 4 and bench.said[0] == (0, 40, "samples") and bench.said[-1] == (40, 40, "samples")
    for key in keys[::2]:
        del bench.journal.entries[key]
    bench.journal.puts = 0
    assert local.answer(prompts(10), n=4, sampling=SAMPLING, work=bench) == whole
    assert bench.journal.puts == 2 and whole == local.answer(prompts(10), n=4, sampling=SAMPLING)
    other = local.answer(
        prompts(10), n=4, sampling=replace(SAMPLING, seed=9), work=bench
    )  # another request, other keys
    assert [r.token_ids for r in other] != [r.token_ids for r in whole]


def test_workers_change_nothing(folders: Any, tmp_path: Path) -> None:
    """Through `run.step`: the client is fingerprinted, prompts are accounted for, two processes share the batches."""
    asked = [*prompts(60), ask("y" * 250, source="long")]
    found = []
    try:
        for workers in (1, 2):
            with Run(tmp_path / f"run-{workers}", compute=Compute(workers=workers)) as run:
                rows = run.step("samples", sample_responses, asked, client=client(folders), n=8, sampling=SAMPLING)
                found.append((rows.id, rows.load(), rows.metrics))
    finally:
        stop_workers()
    assert found[0] == found[1] and len(found[0][1]) == 480


def test_prompts_beyond_the_context_are_dropped_with_the_reason(folders: Any) -> None:
    room = 256 - SAMPLING.max_new_tokens
    chat = load_chat(folders().path, format="chatml")
    size = len(chat.encode_prompt(ask("").messages))
    fits, long = ask("z" * (room - size), source="fits"), ask("z" * (room - size + 1), source="long")
    asked = [prompts(1)[0], long, fits]
    outcome = sample_responses(asked, client=client(folders), n=2, sampling=SAMPLING)
    assert [r.prompt for r in outcome.rows] == [asked[0].id] * 2 + [fits.id] * 2
    (drop,) = outcome.dropped
    assert drop.reason == TOO_LONG and drop.unscored and drop.parents == (long.id,)
    assert drop.detail == "245 tokens and 12 new ones, but the model holds 256"
    assert outcome.counts() == {"taken": 3, "kept": 2, "dropped": {}, "unscored": {TOO_LONG: 1}}
    nothing = sample_responses([long], client=client(folders), n=2, sampling=SAMPLING)
    assert not nothing.rows and nothing.counts()["kept"] == 0
    assert sample_responses([], client=client(folders), n=2, sampling=SAMPLING).counts()["taken"] == 0


def test_settings_that_cannot_be_drawn_with(folders: Any) -> None:
    for wrong in (
        {"temperature": -1.0},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"max_new_tokens": 0},
        {"temperature": float("nan")},
    ):
        with pytest.raises(SettingsError):
            client(folders).answer(prompts(1), n=1, sampling=replace(SAMPLING, **wrong))
    with pytest.raises(SettingsError, match="n \\(0\\)"):
        client(folders).answer(prompts(1), n=0, sampling=SAMPLING)
    with pytest.raises(SettingsError, match="prompt style"):
        Local(folders(), "poem")
    with pytest.raises(SettingsError, match="examples"):
        Local(folders(), "few-shot")
    with pytest.raises(ModelError, match="only a causal one"):
        Local(Weights(path="x", id="y", kind="reward"))


DIALOGUE = (
    Message(role="system", content="Be terse."),
    Message(role="user", content="2+2?"),
    Message(role="assistant", content="add(2, 2)", end="message"),
    Message(role="ipython", content="4"),
    Message(role="assistant", content="Four."),
    Message(role="user", content="3+3?"),
)


def test_completion_writes_labelled_lines(folders: Any) -> None:
    text = "System: Be terse.\nQuestion: 2+2?\nCall: add(2, 2)\nResult: 4\nAnswer: Four.\nQuestion: 3+3?\n"
    assert render(DIALOGUE) == text
    tokens = load_tokens(folders().path)
    prompt = Prompt(messages=DIALOGUE)
    assert CompletionStyle(tokens).encode(prompt) == (256, *(text + "Answer:").encode())
    example = Demonstration(prompt="", context=DIALOGUE[1:2], response=(Message(role="assistant", content="4"),))
    ids = CompletionStyle(tokens, (example, example)).encode(ask("<|end|>?"))
    shot = "Question: 2+2?\nAnswer: 4\n\n"
    assert ids == (256, *f"{shot}{shot}Question: <|end|>?\nAnswer:".encode())  # a marker in the text stays text


@pytest.mark.parametrize(
    ("text", "answer", "ended"),
    [
        (" 7 + 5 = 12", "7 + 5 = 12", False),
        (" 12\n\nQ", "12", True),
        (" 12\n  \nmore", "12", True),
        (" 12\nQuestion: 3", "12", True),
        (" a Question: b", "a Question: b", False),
        ("\n\n 12\nthen 13\n\n", "12\nthen 13", True),
        ("\nQuestion: 3", "", True),
    ],
)
def test_a_completion_ends_at_a_blank_line_or_a_new_question(folders: Any, text: str, answer: str, ended: bool) -> None:
    style = CompletionStyle(load_tokens(folders().path))
    ids = list(text.encode())
    assert style.messages(ids) == (Message(role="assistant", content=answer),)
    assert style.messages([*ids, 257]) == (Message(role="assistant", content=answer),)  # a terminator is no text
    assert style.ended(ids) is ended
    if ended:  # the sampler asks only after these
        first = next(i for i in range(1, len(ids) + 1) if style.ended(ids[:i]))
        assert ids[first - 1] in style.watched
    assert style.stop_ids == (257,)


def test_completions_stop_where_their_text_ends(folders: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """No template is needed; ids are kept up to the token that completed the stop text; the text is cut.

    Random bytes hold too few blank lines, so two letters end a text here.
    """
    weights, ends = folders(), re.compile("[eE]+[a-z]|[A-Z][e]")
    monkeypatch.setattr(styles, "_END", ends)
    monkeypatch.setattr(styles, "_ENDING_CHARACTERS", string.ascii_lowercase)
    monkeypatch.setattr(llm_local, "_style", llm_local._style.__wrapped__)
    asked = prompts(30)
    local = Local(weights, "completion")
    rows = local.answer(asked, n=8, sampling=replace(SAMPLING, max_new_tokens=40, temperature=3.0))
    tokens = load_tokens(weights.path)
    cut = [r for r in rows if r.finish == "stop" and r.token_ids[-1] != 257]
    for row in rows:
        text = tokens.text(row.token_ids).lstrip()
        found = ends.search(text)
        assert row.model == f"{weights.id}@completion"
        assert row.text == (text[: found.start()] if found else text).strip()
        assert bool(found) == (row in cut) and (not found or not ends.search(tokens.text(row.token_ids[:-1]).lstrip()))
    assert len(cut) > 5 and {r.finish for r in rows} == {"stop", "length"}


def test_few_shot_prompts_carry_their_examples(folders: Any) -> None:
    example = Demonstration(
        prompt="", context=(Message(role="user", content="a"),), response=(Message(role="assistant", content="b"),)
    )
    local = Local(folders(), "few-shot", (example,))
    assert local.name.endswith("@few-shot")
    rows = local.answer(prompts(2), n=2, sampling=SAMPLING)
    plain = Local(folders(), "completion").answer(prompts(2), n=2, sampling=SAMPLING)
    assert [r.logprobs for r in rows] != [r.logprobs for r in plain]
    assert len(local.refuse([ask("x" * 215)], SAMPLING)) == 1 and not Local(folders(), "completion").refuse(
        [ask("x" * 215)], SAMPLING
    )


def test_the_chat_style_stops_at_its_own_tokens(folders: Any) -> None:
    style = ChatStyle(load_chat(folders().path, format="chatml"))
    assert set(style.stop_ids) >= {260} and style.encode(ask("hi")) == style.chat.encode_prompt(ask("hi").messages)


def test_batches_cover_the_request_once_and_fit() -> None:
    generator = np.random.default_rng(0)
    for samples, size in ((1, Size(token_bytes=1, vocabulary=10)), (10, Size(token_bytes=1, vocabulary=10)),
                          (600, Size(token_bytes=1, vocabulary=10)), (4, Size(token_bytes=1 << 22, vocabulary=10)),
                          (8, Size(token_bytes=1, vocabulary=1 << 22))):  # fmt: skip
        lengths = generator.integers(1, 60, 150).tolist()
        made = plan(lengths, samples, 20, size)
        seen = [(p, b.first + s) for b in made for p in b.prompts for s in range(b.count)]
        assert sorted(seen) == [(p, s) for p in range(150) for s in range(samples)]
        assert max(b.rows for b in made) <= size.rows <= batches.ROWS
        longest = [lengths[b.prompts[0]] for b in made]
        assert longest == sorted(longest, reverse=True)
        for b in made:
            need = len(b.prompts) * lengths[b.prompts[0]] + b.rows * 20
            assert need * size.token_bytes <= batches.KEY_BYTES or b.rows == 1


def test_the_size_of_a_model_comes_from_its_config() -> None:
    config = {"num_hidden_layers": 4, "num_attention_heads": 8, "hidden_size": 64, "vocab_size": 100}
    assert size_of(config, 4) == Size(token_bytes=2 * 4 * 64 * 4, vocabulary=100)
    assert size_of({**config, "num_key_value_heads": 2, "head_dim": 16}, 2).token_bytes == 2 * 4 * 2 * 16 * 2
    assert size_of({"text_config": config}, 4) == size_of(config, 4)
