"""Which assistant messages are trained: `train_on`, and the switch of each message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from burnish.chat import load_chat
from burnish.errors import ChatError
from burnish.records import Message

CONTEXT = (
    Message(role="system", content="Be brief."),
    Message(role="user", content="Hello?"),
    Message(role="assistant", content="add(1)", end="message"),
    Message(role="ipython", content="printed"),
    Message(role="assistant", content="First."),
    Message(role="user", content="More?"),
)
RESPONSE = (Message(role="assistant", content="Second."),)
# Earlier answers lose what stands before a bar.
FORGETS = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('|')[-1] }}{% else %}{{ m.content }}{% endif %}"
    "<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def said(chat, encoded, *, formatting: bool = False) -> str:
    """The trained content, or (`formatting`) the names of the trained structure."""
    chosen = [
        number
        for number, trained, structure in zip(encoded.ids, encoded.trained, encoded.formatting, strict=True)
        if trained and structure == formatting
    ]
    return chat.tokens.text(chosen) if not formatting else " ".join(chat.tokens.special_names[i] for i in chosen)


@pytest.mark.parametrize("format", ["llama3", "chatml"])
def test_all_trains_what_the_assistant_says_and_nothing_else(folders, format):
    chat = load_chat(folders(), format=format)
    last, every = (chat.encode(CONTEXT, RESPONSE, train_on=how) for how in ("last", "all"))
    assert last == chat.encode(CONTEXT, RESPONSE)
    assert every.ids == last.ids and every.prompt_length == last.prompt_length
    assert said(chat, last) == "Second." and said(chat, every) == "add(1)First.Second."
    stops = said(chat, every, formatting=True).split()
    wanted = ["<|python_tag|>", "<|eom_id|>", "<|eot_id|>", "<|eot_id|>"] if format == "llama3" else ["<|im_end|>"] * 3
    assert stops == wanted
    assert all(role == "assistant" for role, trained in zip(every.roles, every.trained, strict=True) if trained)


@pytest.mark.parametrize("train_on", ["last", "all"])
def test_a_message_that_is_switched_off_is_context(folders, train_on):
    chat = load_chat(folders(), format="llama3")
    off = [replace(m, train=False) if m.content == "First." else m for m in CONTEXT]
    encoded = chat.encode(off, RESPONSE, train_on=train_on)
    assert encoded.ids == chat.encode(CONTEXT, RESPONSE).ids
    assert said(chat, encoded) == ("add(1)Second." if train_on == "all" else "Second.")
    response = [replace(m, train=m.content != "add(1)") for m in CONTEXT[2:5]]
    assert said(chat, chat.encode(CONTEXT[:2], response, train_on=train_on)) == "First."
    nothing = chat.encode(off, [replace(m, train=False) for m in RESPONSE])
    assert not any(nothing.trained)


def test_a_template_that_rewrites_earlier_turns_cannot_train_them(folders):
    chat = load_chat(folders(template=FORGETS))
    dialogue = (CONTEXT[1], Message(role="assistant", content="thought|First."), CONTEXT[5])
    assert said(chat, chat.encode(dialogue, RESPONSE)) == "Second."
    with pytest.raises(ChatError, match=r"message 2 \(assistant\) in another way once the dialogue goes on"):
        chat.encode(dialogue, RESPONSE, train_on="all")
    plain = (CONTEXT[1], Message(role="assistant", content="First."), CONTEXT[5])
    assert said(chat, chat.encode(plain, RESPONSE, train_on="all")) == "First.Second."
