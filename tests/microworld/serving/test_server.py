"""The oracle over a real socket: OpenAI's routes, and every fault as a client sees it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from typing import Any

import aiohttp
import pytest

from burnish import microworld
from burnish.errors import RunError, SettingsError
from burnish.microworld.serving import KINDS, UNKNOWN, Faults, Latency, OracleAnswers, oracle_server

QUESTION = {"model": "oracle", "messages": [{"role": "user", "content": "What is 17 + 84?"}]}
SCHEMA = {
    "type": "object",
    "properties": {
        "answer": {"type": "string"},
        "grade": {"$ref": "#/$defs/Grade"},
        "score": {"type": "integer", "minimum": 1, "maximum": 5},
        "tags": {"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2},
    },
    "required": ["answer", "grade", "score", "tags"],
    "$defs": {"Grade": {"enum": ["good", "bad"]}},
}
SHAPED = {**QUESTION, "response_format": {"type": "json_schema", "json_schema": {"name": "op", "schema": SCHEMA}}}


async def _post(url: str, data: Any, **options: Any) -> tuple[int, bytes, Any]:
    async with aiohttp.ClientSession() as session, session.post(url, json=data, **options) as response:
        return response.status, await response.read(), response.headers


def post(url: str, data: Any, route: str = "/chat/completions", **options: Any) -> tuple[int, bytes, Any]:
    return asyncio.run(_post(url + route, data, **options))


def ask(url: str, data: Any, route: str = "/chat/completions") -> Any:
    status, body, _ = post(url, data, route)
    assert status == 200, body
    return json.loads(body)


def books(url: str) -> Any:
    async def get() -> Any:
        async with aiohttp.ClientSession() as session, session.get(url + "/faults") as response:
            return await response.json()

    return asyncio.run(get())


def test_a_question_of_the_world_is_answered_and_another_gets_the_honest_sentence() -> None:
    with oracle_server() as url:
        reply = ask(url, QUESTION)
        assert reply["choices"][0]["message"]["content"] == "7+4=11, 1+8+1=10. The answer is 101."
        assert reply["usage"]["total_tokens"] == reply["usage"]["prompt_tokens"] + reply["usage"]["completion_tokens"]
        other = ask(url, {**QUESTION, "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]})
        assert other["choices"][0]["message"]["content"] == UNKNOWN
        assert books(url)["prompts"] == {"known": 1, "unknown": 1}


def test_samples_seeds_and_errors() -> None:
    answers = OracleAnswers(oracle=microworld.Oracle(error=0.5))
    with oracle_server(answers=answers) as url:
        eight = [c["message"]["content"] for c in ask(url, {**QUESTION, "n": 8, "seed": 3})["choices"]]
        assert eight == [c["message"]["content"] for c in ask(url, {**QUESTION, "n": 8, "seed": 3})["choices"]]
        assert len(set(eight)) > 1
        greedy = ask(url, {**QUESTION, "n": 8, "temperature": 0})["choices"]
        assert len({c["message"]["content"] for c in greedy}) == 1


def test_completions_logprobs_token_ids_limit_and_stop() -> None:
    text = "Question: What is 17 + 84?\nAnswer:"
    with oracle_server() as url:
        asked = {"model": "oracle", "prompt": [text, text], "max_tokens": 64, "logprobs": 1, "return_token_ids": True}
        reply = ask(url, asked, "/completions")
        assert len(reply["choices"]) == 2
        choice = reply["choices"][0]
        assert choice["text"].endswith("is 101.") and choice["finish_reason"] == "stop"
        told = choice["logprobs"]
        assert len(told["tokens"]) == len(told["token_logprobs"]) == len(choice["token_ids"])
        assert all(value < 0 for value in told["token_logprobs"])
        assert "".join(told["tokens"]) == choice["text"]
        short = ask(url, {**QUESTION, "max_tokens": 3, "logprobs": True})["choices"][0]
        assert short["finish_reason"] == "length" and len(short["logprobs"]["content"]) == 3
        assert ask(url, {**QUESTION, "stop": "="})["choices"][0]["message"]["content"] == "7+4"


def test_a_stream_says_the_same() -> None:
    with oracle_server() as url:
        asked = {**QUESTION, "stream": True, "stream_options": {"include_usage": True}, "n": 2}
        status, body, headers = post(url, asked)
        assert status == 200 and headers["Content-Type"].startswith("text/event-stream")
        events = [line[6:] for line in body.decode().split("\n\n") if line]
        assert events[-1] == "[DONE]"
        rows = [json.loads(event) for event in events[:-1]]
        said = "".join(c["delta"].get("content", "") for r in rows for c in r["choices"] if c["index"] == 1)
        assert said == "7+4=11, 1+8+1=10. The answer is 101."
        assert rows[-1]["usage"]["completion_tokens"] > 0


def test_a_schema_is_kept_and_a_script_may_answer_first() -> None:
    with oracle_server() as url:
        said = json.loads(ask(url, SHAPED)["choices"][0]["message"]["content"])
        assert said == {"answer": said["answer"], "grade": "good", "score": 1, "tags": ["a", "a"]}
        assert said["answer"].endswith("is 101.")
        other = ask(url, {**SHAPED, "messages": [{"role": "user", "content": "Grade me."}]})
        assert other["choices"][0]["message"]["content"] == UNKNOWN  # and no invented grade
    with oracle_server(answers=OracleAnswers(respond=lambda messages, schema: "17!" if not schema else "")) as url:
        assert ask(url, QUESTION)["choices"][0]["message"]["content"] == "17!"
        assert "101" in ask(url, SHAPED)["choices"][0]["message"]["content"]


def test_a_tool_is_called_with_its_own_parameter_names() -> None:
    tools = [
        {"type": "function", "function": {"name": "lookup", "parameters": {"properties": {"who": {}, "what": {}}}}}
    ]
    said = [
        {"role": "system", "content": "Tools: calculator, lookup."},
        {"role": "user", "content": "What is the phone number of Ann Lee?"},
    ]
    with oracle_server() as url:
        choice = ask(url, {"model": "oracle", "messages": said, "tools": tools})["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        call = choice["message"]["tool_calls"][0]["function"]
        assert call["name"] == "lookup" and json.loads(call["arguments"]) == {"who": "Ann Lee", "what": "phone"}


def test_wrong_requests_are_refused_as_openai_refuses_them() -> None:
    with oracle_server(models=("a", "b"), api_key="k", context=20) as url:
        key = {"headers": {"Authorization": "Bearer k"}}
        assert post(url, QUESTION)[0] == 401
        status, body, _ = post(url, QUESTION, **key)
        assert status == 404 and "a, b" in json.loads(body)["error"]["message"]
        status, body, _ = post(url, {**QUESTION, "model": "a", "max_tokens": 50}, **key)
        assert status == 400 and json.loads(body)["error"]["code"] == "context_length_exceeded"
        assert post(url, {"model": "a", "messages": "none"}, **key)[0] == 400
        assert post(url, {"model": "a"}, **key)[0] == 400
        assert post(url, [], **key)[0] == 400
        assert books(url)["outcomes"] == {"refused": 6}


def one(fault: str, data: Any = QUESTION, **settings: Any) -> tuple[int, bytes, Any]:
    with oracle_server(faults=Faults(**{fault: 1.0}, **settings)) as url:
        try:
            return post(url, data, timeout=aiohttp.ClientTimeout(total=1))
        finally:
            time.sleep(0.05)  # the server hears that we left
            assert books(url)["outcomes"] == {fault: 1}


@pytest.mark.parametrize(("fault", "status"), [("rate_limited", 429), ("server_error", 500), ("unavailable", 503)])
def test_faults_of_status(fault: str, status: int) -> None:
    got, body, headers = one(fault, retry_after=7)
    assert got == status and "error" in json.loads(body)
    assert headers.get("Retry-After") == (None if status == 500 else "7")


def test_faults_of_the_connection() -> None:
    with pytest.raises(asyncio.TimeoutError):
        one("hang")
    for seed in range(4):
        with pytest.raises(aiohttp.ClientError):
            one("cut", seed=seed)
    with pytest.raises(aiohttp.ClientError):
        one("cut", {**QUESTION, "stream": True})
    with pytest.raises(asyncio.TimeoutError):
        one("endless")
    start = time.monotonic()
    assert one("slow", slow_seconds=0.4)[0] == 200
    assert time.monotonic() - start > 0.4


def test_faults_of_the_body() -> None:
    status, body, headers = one("html")
    assert status == 502 and headers["Content-Type"].startswith("text/html") and b"<html>" in body
    with pytest.raises(ValueError):
        json.loads(one("not_json")[1])
    with pytest.raises(UnicodeDecodeError):
        one("broken_unicode")[1].decode()
    assert len(one("huge", huge_bytes=3_000_000)[1]) >= 3_000_000


def test_faults_of_the_content() -> None:
    for seed in range(8):
        said = json.loads(one("malformed", SHAPED, seed=seed)[1])["choices"][0]["message"]["content"]
        with pytest.raises(ValueError):
            json.loads(said)
        said = json.loads(one("wrong_schema", SHAPED, seed=seed)[1])["choices"][0]["message"]["content"]
        value = json.loads(said)
        assert not isinstance(value, dict) or "answer" not in value
    with oracle_server(faults=Faults(malformed=1.0)) as url:  # a plain text has nothing to spoil
        assert ask(url, QUESTION)["choices"][0]["message"]["content"].endswith("is 101.")
        assert books(url)["outcomes"] == {"answered": 1}


async def _storm(url: str, models: list[str], at_once: int, count: int) -> list[int]:
    gate = asyncio.Semaphore(at_once)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:

        async def go(number: int) -> int:
            data = {**QUESTION, "model": models[number % len(models)], "seed": number}
            async with gate:
                try:
                    async with session.post(url + "/chat/completions", json=data) as response:
                        await response.read()
                        return response.status
                except aiohttp.ClientError:
                    return 0

        return await asyncio.gather(*map(go, range(count)))


def test_hidden_capacity_is_per_model_and_may_change_mid_run() -> None:
    with oracle_server(models=("a", "b"), faults=Faults(capacity=4), latency=Latency(mean=0.1)) as url:
        got = asyncio.run(_storm(url, ["a", "b"], 16, 16))
        assert (got.count(200), got.count(429)) == (8, 8)
        assert books(url)["peak"] == {"a": 4, "b": 4}
        assert post(url, {"capacity": 0, "capacities": {"b": 2}}, "/faults")[0] == 200
        got = asyncio.run(_storm(url, ["a", "b"], 16, 16))
        assert (got.count(200), got.count(429)) == (10, 6)
        assert post(url, {"capacityy": 0}, "/faults")[0] == 400
    assert Faults(capacity=9, later=((5.0, 3),)).capacity_at("a", 4.9) == 9
    assert Faults(capacity=9, later=((5.0, 3),)).capacity_at("a", 5.0) == 3


def test_faults_are_seeded_whatever_the_concurrency_and_the_counts_add_up() -> None:
    faults = Faults(rate_limited=0.1, server_error=0.1, cut=0.1, html=0.1, seed=5)
    seen = []
    for at_once in (1, 32):
        with oracle_server(faults=faults) as url:
            seen.append(asyncio.run(_storm(url, ["oracle"], at_once, 200)))
            told = books(url)
        assert told["requests"] == 200 == sum(told["outcomes"].values())
        assert sum(row.get("ended", 0) + row.get("rejected", 0) for row in told["timeline"]) == 200
        assert told["in_flight"] == {}
        met = {"rate_limited": 429, "server_error": 500, "cut": 0, "html": 502, "answered": 200}
        assert told["outcomes"] == {name: seen[-1].count(status) for name, status in met.items()}
        assert all(8 <= seen[-1].count(status) <= 35 for status in (429, 500, 502, 0))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("shape", ["constant", "uniform", "exponential", "lognormal"])
def test_latency_keeps_its_mean(shape: str) -> None:
    from random import Random

    rng, latency = Random(0), Latency(mean=2.0, shape=shape, per_token=0.1)
    drawn = [latency.seconds(rng, 10) for _ in range(4000)]
    assert abs(sum(drawn) / len(drawn) - 3.0) < 0.1


def test_wrong_settings_and_a_taken_port_are_told() -> None:
    with pytest.raises(SettingsError):
        Faults(cut=0.6, hang=0.6)
    with pytest.raises(SettingsError):
        Latency(shape="normal")
    with oracle_server() as url:
        port = int(url.split(":")[2].split("/")[0])
        with pytest.raises(RunError, match="choose another --port"), oracle_server(port=port):
            pass
    assert "cut" in KINDS


def test_the_command_says_where_it_listens_and_ends_quietly() -> None:
    command = [sys.executable, "-m", "burnish", "serve-oracle", "--port", "0", "--fault", "rate_limited=1"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stderr is not None
    try:
        line = child.stdout.readline()
        assert line.startswith("listening on http://127.0.0.1:"), child.stderr.read()
        assert post(line.split()[-1], QUESTION)[0] == 429
    finally:
        os.kill(child.pid, signal.SIGINT)
        child.wait(10)
    told = child.stderr.read()
    assert child.returncode == 130 and "Traceback" not in told and told.strip() == "burnish: interrupted"


@pytest.mark.parametrize(
    "flags", [["--fault", "nonsense=1"], ["--fault", "cut=x"], ["--capacity", "many"], ["--fault", "cut=2"]]
)
def test_wrong_flags_give_one_sentence(flags: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "burnish", "serve-oracle", "--port", "0", *flags], capture_output=True, text=True
    )
    assert done.returncode == 2 and done.stderr.startswith("burnish: error: ") and done.stderr.count("\n") == 1
