"""A request is looked at when it is made: what no server could answer is refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from burnish.errors import SettingsError
from burnish.llm.requests import Request
from burnish.records import Message, Sampling

USER = Message(role="user", content="Hello")


def asked(messages: Any = (USER,), text: str = "", **sampling: Any) -> Request:
    drawn = Sampling(**{"temperature": 0.0, "max_new_tokens": 9, **sampling})
    return Request(model="m", sampling=drawn, messages=messages, text=text)


def test_openai_s_objects_are_messages() -> None:
    roles = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "ipython"}
    said = [{"role": role, "content": "x"} for role in roles]
    ours = tuple(Message(role=role, content="x") for role in roles.values())
    assert asked(said).messages == ours and asked([USER]).messages == (USER,)
    assert asked(said).key() == asked(ours).key()


@pytest.mark.parametrize(
    ("messages", "why"),
    [
        ((), "needs messages, or a text to go on with"),
        (
            [{"role": "assitant", "content": "x"}],
            "message 1 of a request has the role 'assitant'; did you mean assistant",
        ),
        ((USER, Message(role="robot", content="x")), "message 2 .* role 'robot'; it must be one of system, user"),
        ([{"content": "x"}], "has the role 'None'"),
        ([{"role": "user", "content": [{"type": "text", "text": "x"}]}], "has the content .*needs a role and a text"),
        ([{"role": "user", "content": "x", "name": "Ann"}], "holds name besides"),
        (["Hello"], "message 1 of a request is a str"),
        ("Hello", "the messages of a request are a str; they must be several"),
        (USER, "the messages of a request are a Message; they must be several"),
        ({"role": "user", "content": "x"}, "are a dict"),
    ],
)
def test_messages_that_are_none_are_refused(messages: Any, why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        asked(messages)


@pytest.mark.parametrize(
    ("sampling", "why"),
    [
        ({"temperature": -1}, "the temperature is -1; it must be 0"),
        ({"temperature": float("nan")}, "the temperature is nan"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0; it must be 1 or more"),
        ({"top_p": 0}, "top_p is 0; it must be above 0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
    ],
)
def test_sampling_out_of_range_is_refused(sampling: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        asked(**sampling)


def test_a_text_alone_is_a_request() -> None:
    assert asked((), text="Once upon a time").messages == ()
    with pytest.raises(SettingsError, match="must be a Sampling"):
        Request(model="m", sampling={"temperature": 0}, messages=(USER,))  # type: ignore[arg-type]
