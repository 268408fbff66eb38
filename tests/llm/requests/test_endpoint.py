"""The endpoint: what is sent, what comes back, several servers, and load."""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import random
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.llm import sample_responses
from burnish.llm.requests import Endpoint, Pacing, Request, Usage, run
from burnish.llm.requests.endpoint import client, line
from burnish.records import Message, Prompt, Sampling
from burnish.runs import Run, identity
from tests.llm.requests.conftest import QUICK, ask, ask_one, endpoint_of, question
from tests.llm.requests.server import Server, error, said, serving

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def test_what_is_sent() -> None:
    with serving(lambda *_: said("x")) as server:
        endpoint = endpoint_of(server, logprobs=True, token_ids=True)
        drawn = {"temperature": 0.5, "max_new_tokens": 7, "top_p": 0.9, "seed": 3}
        told = (Message(role="system", content="s"), Message(role="ipython", content="42"))
        whole = {"drawn": drawn, "schema": SCHEMA, "tools": [{"type": "function"}], "index": 2}
        ask_one(question(model=endpoint.identity, messages=told, **whole), endpoint)
        ask_one(
            Request(model=endpoint.identity, sampling=Sampling(temperature=0, max_new_tokens=1), text="Go"), endpoint
        )
    chat, plain = server.bodies
    assert chat == {
        "model": "toy",
        "temperature": 0.5,
        "max_tokens": 7,
        "top_p": 0.9,
        "seed": 3 * 1_000_003 + 2,
        "tools": [{"type": "function"}],
        "return_token_ids": True,
        "response_format": {"type": "json_schema", "json_schema": {"name": "reply", "strict": True, "schema": SCHEMA}},
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "tool", "content": "42", "tool_call_id": "call"},
        ],
        "logprobs": True,
    }
    assert (plain["prompt"], plain["logprobs"]) == ("Go", 1) and "messages" not in plain


def test_what_comes_back() -> None:
    call = {"id": "1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call], "reasoning_content": "hm"}
    told = {"content": [{"token": "a", "logprob": -0.5}, {"token": "b", "logprob": -1.5}]}
    choice = {"message": message, "finish_reason": "tool_calls", "logprobs": told, "token_ids": [4, 5]}
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 8}}
    bodies = [
        {"model": "toy-7", "choices": [choice], "usage": usage},
        {"choices": [{"message": {"content": None, "refusal": "I will not."}}]},
        {"choices": [{"message": {"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}}]},
        {"choices": [{"text": "on", "logprobs": {"token_logprobs": [-0.25]}, "finish_reason": "length"}]},
    ]
    with serving(lambda *_: (200, {}, json.dumps(bodies.pop(0)).encode())) as server:
        endpoint = endpoint_of(server)
        called, refused, parts = [ask_one(question(str(i)), endpoint) for i in range(3)]
        text = ask_one(
            Request(model=endpoint.identity, sampling=Sampling(temperature=0, max_new_tokens=1), text="Go"), endpoint
        )
    assert (called.tool_calls, called.reasoning, called.served_by) == ((call,), "hm", "toy-7")
    assert (called.token_ids, called.logprobs) == ((4, 5), (-0.5, -1.5))
    assert called.usage == Usage(prompt=9, completion=2, cached=8) and called.seconds > 0
    assert (refused.finish, refused.text) == ("refusal", "I will not.") and refused.usage.estimated
    assert parts.text == "ab"
    assert (text.text, text.finish, text.logprobs) == ("on", "length", (-0.25,))


def test_token_ids_go_as_they_are_and_are_drawn_from_in_no_other_way() -> None:
    names = [{"tokens": ["token_id:4", "token_id:5"], "token_logprobs": [-0.5, -0.25]}]
    names += [{"tokens": ["4", "5"], "token_logprobs": [-0.5, -0.25]}]
    choices = [{"text": "", "finish_reason": "stop", "logprobs": told} for told in names]
    bodies = [{"choices": [choice]} for choice in choices]
    with serving(lambda *_: (200, {}, json.dumps(bodies.pop(0)).encode())) as server:
        endpoint = endpoint_of(server, logprobs=True, token_ids=True)
        sampling = Sampling(temperature=1.0, max_new_tokens=7, seed=2)
        ask = Request(model=endpoint.identity, sampling=sampling, ids=(1, 2, 3), stop_ids=(9,), index=5)
        named, unnamed = ask_one(ask, endpoint), ask_one(ask, endpoint)
    assert server.bodies[0] == {
        "model": "toy", "temperature": 1.0, "max_tokens": 7, "seed": 2 * 1_000_003 + 5, "prompt": [1, 2, 3],
        "top_p": 1.0, "top_k": -1, "min_p": 0.0, "repetition_penalty": 1.0, "stop_token_ids": [9], "logprobs": 1,
        "return_token_ids": True, "return_tokens_as_token_ids": True,
    }  # fmt: skip
    assert (named.token_ids, named.logprobs) == ((4, 5), (-0.5, -0.25)) and unnamed.token_ids == ()
    assert named.usage.prompt == 3 and named.usage.estimated
    others = [{"ids": (1, 2)}, {"ids": (1, 2, 3)}, {"ids": (1, 2, 3), "stop_ids": (8,)}, {"text": "x"}]
    keys = {Request(model="m", sampling=sampling, **other).key() for other in others}
    assert len(keys) == 4 and b"ids" not in Request(model="m", sampling=sampling, text="x").canonical()


def picky(body: dict[str, Any], server: Server) -> Any:
    """An old server: knows guided_json only, no seed, and max_completion_tokens."""
    for name in ("response_format", "structured_outputs", "seed"):
        if name in body:
            return error(400, f"Unrecognized request argument supplied: {name}")
    if "max_tokens" in body:
        return error(400, "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
    return said("x") if body.get("guided_json") == SCHEMA else error(400, "what?")


def test_the_form_a_server_takes_is_found_once_and_remembered() -> None:
    with serving(picky) as server:
        replies = [
            reply for _, reply in ask([question(str(i), schema=SCHEMA) for i in range(200)], endpoint_of(server))
        ]
        assert [reply.failure for reply in replies] == [""] * 200
        refused = server.statuses[400]
        assert 4 <= refused <= 4 * 17, "those under way at first learn together, nobody after them"
        assert max(reply.attempts for reply in replies) == 5


def test_a_request_to_another_model_is_refused() -> None:
    with serving(lambda *_: said("x")) as server:
        with pytest.raises(SettingsError, match="wrong name"):
            ask_one(question(model="openai:other"), endpoint_of(server))
        assert not server.bodies


def test_what_would_change_the_drawing_is_never_left_out() -> None:
    with serving(lambda *_: error(400, "top_p and temperature are not supported")) as server:
        assert "not supported" in ask_one(question(drawn={"top_p": 0.5}), endpoint_of(server)).failure
        assert len(server.bodies) == 1


def test_what_passes_is_tried_again_and_counted(tmp_path: Path) -> None:
    answers = [error(500, "boom"), b"", error(429, "slow", Retry_After="0.3"), said("well")]
    with serving(lambda *_: answers.pop(0)) as server:
        began = time.monotonic()
        reply = ask_one(question(), endpoint_of(server))
        assert (reply.text, reply.attempts) == ("well", 4) and time.monotonic() - began >= 0.3


def test_a_dead_server_is_left_for_its_replica_and_taken_back() -> None:
    limits = replace(QUICK, patience=20.0)

    async def slow(*_: Any) -> Any:
        await asyncio.sleep(0.01)
        return said("x")

    with serving(slow) as one:
        with serving(slow) as two:
            port = two.port
            endpoint = endpoint_of(one, two, limits=limits)
            assert not any(reply.failure for _, reply in ask([question(str(i)) for i in range(100)], endpoint))
            assert min(len(one.bodies), len(two.bodies)) > 25
            url = two.url
        endpoint, before = endpoint_of(one, url, limits=limits), len(one.bodies)
        assert not any(reply.failure for _, reply in ask([question(str(i)) for i in range(100)], endpoint))
        assert len(one.bodies) - before == 100

        async def scene() -> int:
            async with endpoint:
                await asyncio.gather(*(endpoint.ask(question(str(i))) for i in range(20)))
                with serving(slow, port=port) as back:
                    end = time.monotonic() + 15
                    while not back.bodies and time.monotonic() < end:
                        await asyncio.gather(*(endpoint.ask(question(str(i))) for i in range(20)))
                        await asyncio.sleep(0.1)
                    return len(back.bodies)

        assert run(scene()) > 0


def test_all_dead_waits_says_so_and_stops_with_everything_kept(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with serving(lambda body, server: said("x")) as server:
        endpoint = endpoint_of(server)
        path = tmp_path / "a.sqlite"
        done = 0

        def dies() -> Any:
            nonlocal done
            for number in range(1000):
                done += 1
                if number == 300:
                    server.script = lambda *_: b""
                    server.listening.call_soon_threadsafe(server.listener.close)
                yield question(str(number))

        with (
            caplog.at_level(logging.WARNING),
            pytest.raises(WorkerError, match="every reply that came is kept") as told,
        ):
            ask(dies(), endpoint, path, in_flight=16)
        assert "127.0.0.1" in str(told.value) and "waiting" in caplog.text
    with serving(lambda *_: said("x")) as again:
        assert len(ask((question(str(i)) for i in range(1000)), endpoint_of(again), path)) == 1000
        assert len(again.bodies) <= 720


def test_a_storm_on_real_sockets(tmp_path: Path) -> None:
    """A hidden capacity of 12: few refusals, everything answered, Retry-After obeyed by all."""

    async def script(body: dict[str, Any], server: Server) -> Any:
        if server.in_service > 12:
            return error(429, "too many", Retry_After="0.2")
        await asyncio.sleep(random.uniform(0.01, 0.03))
        return said("x")

    with serving(script) as server:
        pairs = ask((question(str(i)) for i in range(3000)), endpoint_of(server), tmp_path / "a.sqlite")
        assert Counter(reply.failure for _, reply in pairs) == {"": 3000}
        assert server.statuses[429] < 0.03 * 3000, server.statuses


def test_an_event_loop_leaves_only_what_its_paces_learnt() -> None:
    with serving(lambda *_: said("x")) as server:
        ask((question(str(i)) for i in range(300)), endpoint_of(server))
        gc.collect()
        assert not client._LINES and not line._PACES

        async def scene() -> float:
            return endpoint_of(server).line().replicas.lanes[0].pace.limit

        assert run(scene()) > 100


def test_one_pace_for_a_model_at_a_server_whoever_asks() -> None:
    async def scene() -> None:
        one, two = endpoint_of("http://h/v1"), endpoint_of("http://h/v1", logprobs=True)
        other = endpoint_of("http://i/v1")
        assert one.line().replicas.lanes[0].pace is two.line().replicas.lanes[0].pace
        assert one.line().replicas.lanes[0].pace is not other.line().replicas.lanes[0].pace

    run(scene())


def test_an_endpoint_is_a_client_and_its_step_is_not_paid_twice(tmp_path: Path) -> None:
    def script(body: dict[str, Any], server: Server) -> Any:
        text = body["messages"][0]["content"]
        return error(400, "context length exceeded") if text == "long" else said(f"{text}!")

    prompts = [Prompt(messages=(Message(role="user", content=text),)) for text in ("one", "two", "long")]
    sampling = Sampling(temperature=1.0, max_new_tokens=8)
    with serving(script) as server:
        endpoint = endpoint_of(server)
        for settings in ({"n": 2}, {"n": 3}):
            with Run(tmp_path / "run", on_change="rerun") as going:
                rows = going.step(
                    "responses", sample_responses, prompts, client=endpoint, sampling=sampling, **settings
                )
            count = settings["n"]
            assert [r.text for r in rows] == ["one!"] * count + ["two!"] * count
            assert len(server.bodies) == 3 * count
    assert {(row.model, row.index, row.prompt) for row in rows} >= {("openai:toy", 1, prompts[0].id)}
    note = json.loads((tmp_path / "run" / "01-responses" / "step.json").read_text())
    assert note["counts"]["unscored"] == {"request failed": 1}
    assert [file.name for file in (tmp_path / "run" / "requests").iterdir()] == ["01-responses.sqlite"]


def test_where_it_is_asked_is_no_part_of_a_steps_identity() -> None:
    here, there = Endpoint.parse("http://a/v1#m"), Endpoint.parse("http://b/v1,http://c/v1#m", pacing=Pacing(most=9))
    assert identity(here) == identity(there) != identity(Endpoint.parse("http://a/v1#n"))
    assert here.identity == there.identity == "openai:m"


def test_a_spec_can_say_how_much_is_asked_at_once_and_for_how_long() -> None:
    found = Endpoint.parse("http://a/v1,http://b/v1#m?concurrency=8&timeout=1.5&tries=2", pacing=Pacing(slow=3.0))
    assert (found.pacing, found.most) == (Pacing(start=8, most=8, slow=3.0), 16)
    assert (found.limits.total, found.limits.silence, found.limits.tries) == (1.5, 1.5, 2)
    assert identity(found) == identity(Endpoint.parse("http://a/v1#m")) and found.identity == "openai:m"
    assert Endpoint.parse("http://a/v1#m?timeout=600").limits.silence == 300.0
