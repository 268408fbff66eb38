"""Whatever a server does: a clear word, bounded, and kept."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from burnish.errors import SettingsError, WorkerError
from burnish.llm.requests import Endpoint, Store
from tests.llm.requests.conftest import QUICK, ask, ask_one, endpoint_of, question
from tests.llm.requests.server import Server, error, said, serving

PATIENT = replace(QUICK, patience=30.0, tries=2)
HTML = b"<!DOCTYPE html><html><head><title>Proxy says no</title></head></html>"


def kept(path: Path) -> list[Any]:
    with Store(path) as store:
        return store._read.execute("select failure, passing from asked").fetchall()


@pytest.mark.parametrize(
    "spec, told",
    [
        ("localhost:8000/v1#m", "http"),
        ("http://h:8000/v1", "which model"),
        ("http://h:8000/v1#", "which model"),
        ("#m", "no endpoint"),
        ("http://h:port/v1#m", "cannot be read"),
        ("http://me:secret@h/v1#m", "BURNISH_API_KEY"),
        ("http://h/v1?key=secret#m", "BURNISH_API_KEY"),
        ("http://h/v1#m?key=secret", "'key' is no setting of a server; there are concurrency, timeout, tries"),
        ("http://h/v1#m?", "'' is no setting"),
        ("http://h/v1#m?tries=2&tries=3", "'tries' stands there twice"),
        ("http://h/v1#m?concurrency=0", "concurrency=0 behind #m is not a whole number from 1 on"),
        ("http://h/v1#m?tries=2.5", "is not a whole number"),
        ("http://h/v1#m?timeout=nan", "timeout=nan behind #m is not a time in seconds"),
    ],
)
def test_a_bad_spec_is_refused_and_no_secret_is_repeated(spec: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told) as found:
        Endpoint.parse(spec)
    assert "secret" not in str(found.value)


def test_nobody_there_is_told_soon_with_the_address() -> None:
    began = time.monotonic()
    with pytest.raises(WorkerError, match=r"127\.0\.0\.1:9/v1 \(Connect.*Is the server running"):
        ask_one(question(), endpoint_of("http://127.0.0.1:9/v1"))
    with pytest.raises(WorkerError, match=r"no-such-host\.invalid"):
        ask_one(question(), endpoint_of("http://no-such-host.invalid/v1"))
    assert time.monotonic() - began < 10


def test_a_model_that_is_not_there_lists_those_that_are() -> None:
    with serving(lambda *_: said("x"), models=("qwen", "llama")) as server:
        with pytest.raises(WorkerError, match="no model 'toy'; it has qwen, llama"):
            ask_one(question(), endpoint_of(server))
        assert not server.bodies


def test_a_server_without_a_list_says_so_itself() -> None:
    with serving(lambda *_: error(404, "The model `toy` does not exist"), models=None) as server:
        with pytest.raises(WorkerError, match=r"toy.*does not exist.*ends in /v1"):
            ask_one(question(), endpoint_of(server))


def test_a_missing_key_names_the_variable_and_a_wrong_one_is_not_repeated(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def script(body: dict[str, Any], server: Server) -> Any:
        return error(401, f"bad key: {server.headers[-1]}")

    with serving(script) as server:
        with pytest.raises(WorkerError, match="BURNISH_API_KEY is missing"):
            ask_one(question(), endpoint_of(server))
        monkeypatch.setenv("BURNISH_API_KEY", "sk-very-secret")
        with pytest.raises(WorkerError, match="is not the right one") as found:
            ask_one(question(), endpoint_of(server), tmp_path / "a.sqlite")
        assert "Authorization: Bearer sk-very-secret" in server.headers[-1]
        assert "secret" not in str(found.value)


def test_a_key_in_a_refusal_does_not_reach_the_store(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BURNISH_API_KEY", "sk-very-secret")
    with serving(lambda body, server: error(400, f"no: {server.headers[-1]}")) as server:
        assert "***" in ask_one(question(), endpoint_of(server), tmp_path / "a.sqlite").failure
    assert b"secret" not in b"".join(file.read_bytes() for file in tmp_path.iterdir())


def test_openais_key_goes_to_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-very-secret")
    with serving(lambda *_: said("x")) as server:
        ask_one(question(), endpoint_of(server))
        assert "secret" not in server.headers[-1]


def test_a_context_overflow_is_a_kept_failure_and_is_sent_once(tmp_path: Path) -> None:
    told = "This model's maximum context length is 16 tokens, however you requested 20"
    with serving(lambda *_: error(400, told)) as server:
        for _ in range(2):
            reply = ask_one(question(), endpoint_of(server), tmp_path / "a.sqlite")
            assert told in reply.failure and not reply.text and not reply.passing
        assert len(server.bodies) == 1


def raw(data: bytes) -> Any:
    return 200, {"Content-Type": "application/json"}, data


async def endless(body: dict[str, Any], server: Server) -> Any:
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    "answer, told",
    [
        (raw(HTML), "an HTML page titled 'Proxy says no'"),
        (raw(b"upstream reset"), "no JSON but 'upstream reset'"),
        (raw(b""), "an empty body"),
        (raw(b"[" * 100_000), "no JSON"),
        (raw(b"\xff\xfe\x00"), "no JSON"),
        (raw(b'{"choices": []}'), "JSON without a choice"),
        (raw(b'{"choices": [{"message": {"content": 7}}]}'), "JSON without a choice"),
        (raw(b'{"error": {"message": "overloaded inside"}}'), "status 200: overloaded inside"),
        (error(500, "boom"), "status 500: boom"),
        ((502, {}, HTML), "status 502: an HTML page"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{", "broke"),
        (b"", "broke"),
        (b"garbage\r\n\r\n", "broke"),
    ],
)
def test_what_may_pass_is_tried_again_then_kept_and_asked_for_anew(answer: Any, told: str, tmp_path: Path) -> None:
    def script(body: dict[str, Any], server: Server) -> Any:
        return answer if server.port else None

    with serving(script) as server:
        reply = ask_one(question(), endpoint_of(server), tmp_path / "a.sqlite")
        assert told in reply.failure and "3 tries" in reply.failure, reply.failure
        assert len(server.bodies) == 3 == reply.attempts
        assert kept(tmp_path / "a.sqlite") == [(reply.failure, 1)]
        server.script = lambda *_: said("well")
        assert ask_one(question(), endpoint_of(server), tmp_path / "a.sqlite").text == "well"
        assert kept(tmp_path / "a.sqlite") == [("", 0)]


def test_silence_is_given_up() -> None:
    with serving(endless) as server:
        began = time.monotonic()
        assert "silent for 1 s" in ask_one(question(), endpoint_of(server, limits=PATIENT)).failure
        assert time.monotonic() - began < 8


def test_a_trickle_without_end_ends_at_the_total() -> None:
    async def answer(line: str, head: str, body: Any, writer: asyncio.StreamWriter) -> bool:
        if line.startswith("GET"):
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            return True
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"1\r\n \r\n")
            await writer.drain()
            await asyncio.sleep(0.05)
        return False

    with serving(endless) as server:
        server.answer = answer  # type: ignore[method-assign]
        assert "no whole reply within 2 s" in ask_one(question(), endpoint_of(server, limits=PATIENT)).failure


@pytest.mark.parametrize("chunked", [False, True])
def test_a_reply_of_100_megabytes_is_not_held(chunked: bool) -> None:
    sent = 0

    async def answer(line: str, head: str, body: Any, writer: asyncio.StreamWriter) -> bool:
        nonlocal sent
        if line.startswith("GET"):
            writer.write(b"HTTP/1.1 404 X\r\nContent-Length: 0\r\n\r\n")
            return True
        size, chunk = 100 * 2**20, b"x" * 2**20
        framed = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % size
        writer.write(b"HTTP/1.1 200 OK\r\n" + framed + b"\r\n\r\n")
        for _ in range(100):
            writer.write((b"100000\r\n" + chunk + b"\r\n") if chunked else chunk)
            await writer.drain()
            sent += 1
        return False

    with serving(endless) as server:
        server.answer = answer  # type: ignore[method-assign]
        assert ask_one(question(), endpoint_of(server)).failure == "a reply of more than 32 MiB"
        assert 32 <= sent < 60


def test_broken_unicode_is_mended_and_kept(tmp_path: Path) -> None:
    lone = json.dumps({"choices": [{"message": {"content": "a \ud83d b \x00 c"}}]}).encode()
    bad = b'\xef\xbb\xbf{"choices": [{"message": {"content": "caf\xe9 \xf0\x9f"}}]}'
    answers = [raw(lone), raw(bad)]
    with serving(lambda *_: answers.pop(0)) as server:
        first = ask_one(question("one"), endpoint_of(server), tmp_path / "a.sqlite")
        second = ask_one(question("two \ud83d"), endpoint_of(server), tmp_path / "a.sqlite")
        assert (first.text, second.text) == ("a \ufffd b \x00 c", "caf\ufffd \ufffd")
        again = [ask_one(question(t), endpoint_of(server), tmp_path / "a.sqlite") for t in ("one", "two \ud83d")]
        assert again == [first, second] and len(server.bodies) == 2


def test_a_used_up_quota_ends_the_asking() -> None:
    body = json.dumps({"error": {"message": "You exceeded your quota", "code": "insufficient_quota"}}).encode()
    with serving(lambda *_: (429, {}, body)) as server:
        with pytest.raises(WorkerError, match="no money or quota left"):
            ask([question(str(i)) for i in range(5)], endpoint_of(server))


def test_a_server_that_refuses_everything_is_not_asked_ten_thousand_times() -> None:
    with serving(lambda *_: error(400, "temperature must be 1")) as server:
        with pytest.raises(WorkerError, match=r"refused the first 100 requests.*temperature must be 1"):
            ask((question(str(i)) for i in range(10_000)), endpoint_of(server))
        assert len(server.bodies) < 700


def test_a_redirect_is_not_followed_with_the_key() -> None:
    with serving(lambda *_: (307, {"Location": "http://elsewhere/"}, b"")) as server:
        with pytest.raises(WorkerError, match="give the address it ends at"):
            ask_one(question(), endpoint_of(server))


def test_only_429s_end_at_the_patience_with_what_came_kept(tmp_path: Path) -> None:
    def script(body: dict[str, Any], server: Server) -> Any:
        return said("x") if len(server.bodies) <= 3 else error(429, "slow down")

    with serving(script) as server:
        with pytest.raises(WorkerError, match=r"has not answered for 2 s \(status 429: slow down\)"):
            ask([question(str(i)) for i in range(10)], endpoint_of(server), tmp_path / "a.sqlite")
        assert len(kept(tmp_path / "a.sqlite")) == 3
        assert QUICK.patience < 2
