"""A task that arrives as text is read back with the truth that it was written with."""

from __future__ import annotations

import json

import pytest

from burnish import microworld
from burnish.microworld.corpus import completion_text
from burnish.microworld.serving.reading import dialogue_in, read_prompt
from burnish.records import Message


@pytest.mark.parametrize("family", microworld.FAMILIES)
def test_every_task_is_read_back_with_its_reference(family: str) -> None:
    dials = microworld.Dials(digits=3) if family == "arithmetic" else microworld.Dials(records=(5, 40))
    for chosen in (None, dials):
        for prompt in microworld.prompts("train", 300, seed=5, families=[family], dials=chosen):
            read = read_prompt(prompt.messages)
            assert read is not None, prompt.messages
            assert (read.ability, read.language, read.checker) == (prompt.ability, prompt.language, prompt.checker)
            assert read.difficulty == prompt.difficulty, prompt.messages
            assert json.loads(read.reference) == json.loads(prompt.reference)
            raw = read_prompt(dialogue_in(completion_text(prompt.messages)))
            assert raw is not None and raw.reference == read.reference


def test_a_foreign_system_prompt_and_earlier_turns_change_nothing() -> None:
    said = [("system", "You are helpful."), ("user", "Hello"), ("assistant", "Hi."), ("user", "What is 12 + 30?")]
    read = read_prompt([Message(role=role, content=text) for role, text in said])
    assert read is not None and json.loads(read.reference)["number"] == 42


@pytest.mark.parametrize("text", ["", "What is love?", "Who is the oldest?", "Ann is older than Bob. Who is the best?"])
def test_what_is_not_of_this_world_is_not_read(text: str) -> None:
    assert read_prompt([Message(role="user", content=text)]) is None
