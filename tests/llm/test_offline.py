"""Offline vLLM, against a stand-in module that checks what is passed to it: no vLLM runs here."""

from __future__ import annotations

import asyncio
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from burnish.chat import load_chat
from burnish.errors import WorkerError
from burnish.llm.offline import OfflineVLLM, seed_of
from burnish.llm.requests import Request
from burnish.llm.sample import sample_responses
from burnish.records import Message, Prompt, Sampling, Weights
from burnish.runs.work import StepWork

SAMPLING = Sampling(temperature=0.7, max_new_tokens=8, top_p=0.9, seed=3)
SCHEMA = {"type": "object", "properties": {"grade": {"type": "integer"}}}


class Refused(Exception):
    """vLLM's error for a request of the wrong kind; it is no ValueError there."""


@dataclass
class StandIn:
    """What the stand-in was given, and what it says."""

    said: tuple[int, ...] = ()
    args: list[dict[str, Any]] = field(default_factory=list)
    calls: list[tuple[Any, Any, str]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    error: Exception | None = None
    finish: str = "stop"
    stopped: int = 0


@pytest.fixture
def vllm(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The names of vLLM's V1 engine, as they stand in the source of 0.33; any other name of a setting is refused.

    `AsyncEngineArgs(model=..., ...)`, `AsyncLLM.from_engine_args(args)`, and `generate(prompt, sampling_params,
    request_id)` as an async generator of outputs.
    """
    seen = StandIn()

    def settings(*known: str) -> type:
        class Settings(SimpleNamespace):
            def __init__(self, **given: Any) -> None:
                assert set(given) <= set(known), set(given) - set(known)
                super().__init__(**given)

        return Settings

    engine_args = settings(
        "model", "disable_log_stats", "logprobs_mode", "trust_remote_code", "tensor_parallel_size", "max_model_len",
    )  # fmt: skip
    params = settings(
        "n", "temperature", "top_p", "max_tokens", "seed", "logprobs", "stop_token_ids", "detokenize", "output_kind",
        "structured_outputs",
    )  # fmt: skip

    class AsyncLLM:
        @classmethod
        def from_engine_args(cls, args: Any) -> AsyncLLM:
            asyncio.get_running_loop()  # the real one starts its output handler here
            if args.model == "broken":
                raise RuntimeError("no GPU")
            seen.args.append(vars(args))
            return cls()

        async def generate(self, prompt: Any, sampling_params: Any, request_id: str) -> Any:
            seen.calls.append((prompt, sampling_params, request_id))
            seen.threads.add(threading.get_ident())
            await asyncio.sleep(0.001)
            if seen.error is not None:
                raise seen.error
            rows = [{token: SimpleNamespace(logprob=-0.5 - n)} for n, token in enumerate(seen.said)]
            out = SimpleNamespace(token_ids=list(seen.said), logprobs=rows, finish_reason=seen.finish)
            yield SimpleNamespace(outputs=[out], num_cached_tokens=2, finished=True)

        def shutdown(self) -> None:
            seen.stopped += 1

    names: dict[str, dict[str, Any]] = {
        "vllm": {"SamplingParams": params},
        "vllm.engine": {},
        "vllm.engine.arg_utils": {"AsyncEngineArgs": engine_args},
        "vllm.v1": {},
        "vllm.v1.engine": {},
        "vllm.v1.engine.async_llm": {"AsyncLLM": AsyncLLM},
        "vllm.sampling_params": {
            "RequestOutputKind": SimpleNamespace(FINAL_ONLY="final"),
            "StructuredOutputsParams": settings("json"),
        },
        "vllm.exceptions": {"VLLMClientError": Refused},
    }
    for name, held in names.items():
        module = ModuleType(name)
        module.__dict__.update(held)
        monkeypatch.setitem(sys.modules, name, module)
    return seen


@pytest.fixture
def client(folders: Any) -> Any:
    made = OfflineVLLM(weights=folders(), format="chatml", engine={"tensor_parallel_size": 2})
    yield made
    made.close()


def question(client: OfflineVLLM, text: str = "count x", **fields: Any) -> Request:
    said = (Message(role="user", content=text),)
    return Request(model=client.identity, sampling=SAMPLING, messages=said, **fields)


def test_ids_go_in_and_ids_and_logprobs_come_out(vllm: StandIn, client: OfflineVLLM) -> None:
    chat = load_chat(client.weights.path, format="chatml")
    request = question(client)
    vllm.said = (*chat.tokens.encode_text("hello", bos=False), chat.stop_ids[0])
    reply = asyncio.run(client.ask(request))
    prompt, params, _ = vllm.calls[0]
    assert prompt == {"prompt_token_ids": list(chat.encode_prompt(request.messages))}
    assert (params.temperature, params.top_p, params.max_tokens, params.n) == (0.7, 0.9, 8, 1)
    assert params.stop_token_ids == list(chat.stop_ids) and params.logprobs == 0
    assert params.output_kind == "final" and params.seed == seed_of(request)
    assert not hasattr(params, "structured_outputs")
    assert (reply.text, reply.token_ids, reply.finish) == ("hello", vllm.said, "stop")
    assert reply.logprobs == tuple(-0.5 - n for n in range(len(vllm.said)))
    assert (reply.usage.prompt, reply.usage.completion, reply.usage.cached) == (
        len(prompt["prompt_token_ids"]), len(vllm.said), 2,
    )  # fmt: skip
    assert vllm.args[0]["model"] == client.weights.path and vllm.args[0]["tensor_parallel_size"] == 2
    assert vllm.args[0]["logprobs_mode"] == "raw_logprobs" and vllm.args[0]["trust_remote_code"] is False


def test_a_schema_is_passed_and_raw_text_has_no_template(vllm: StandIn, client: OfflineVLLM) -> None:
    asyncio.run(client.ask(question(client, schema=SCHEMA)))
    assert vllm.calls[0][1].structured_outputs.json == SCHEMA
    asyncio.run(client.ask(Request(model=client.identity, sampling=SAMPLING, text="Once upon")))
    prompt, params, _ = vllm.calls[1]
    assert load_chat(client.weights.path, format="chatml").text(prompt["prompt_token_ids"]) == "Once upon"
    assert params.stop_token_ids == []


def test_one_engine_serves_many_requests_from_several_loops(vllm: StandIn, client: OfflineVLLM) -> None:
    async def many() -> Any:
        return await asyncio.gather(*(client.ask(question(client, index=i)) for i in range(20)))

    for _ in range(2):
        asyncio.run(many())
    assert len(vllm.args) == 1 and len(vllm.threads) == 1 and threading.get_ident() not in vllm.threads
    assert len({name for _, _, name in vllm.calls}) == 40
    assert len({params.seed for _, params, _ in vllm.calls}) == 20
    client.close()
    assert vllm.stopped == 1


def test_it_is_a_client_like_any_other(vllm: StandIn, client: OfflineVLLM, tmp_path: Path) -> None:
    """K answers a prompt in order, kept in the step's store, and a reason for the prompt that got none."""
    chat = load_chat(client.weights.path, format="chatml")
    vllm.said = (*chat.tokens.encode_text("hello", bos=False), chat.stop_ids[0])
    prompts = [Prompt(messages=(Message(role="user", content=text),)) for text in ("count x", "x" * 400)]
    work = StepWork(tmp_path / "work", "f")
    outcome = sample_responses(prompts, client=client, n=3, sampling=SAMPLING, work=work)
    assert [(row.prompt, row.index, row.text) for row in outcome.rows] == [
        (prompts[0].id, i, "hello") for i in range(3)
    ]
    assert outcome.rows[0].token_ids == vllm.said and outcome.rows[0].model == client.identity
    (lost,) = outcome.dropped
    assert lost.parents == (prompts[1].id,) and "longer than the context" in lost.detail
    again = sample_responses(prompts, client=client, n=3, sampling=SAMPLING, work=StepWork(tmp_path / "work", "f"))
    assert again.rows == outcome.rows and len(vllm.calls) == 3


def test_what_no_retry_would_change_is_a_kept_failure(vllm: StandIn, client: OfflineVLLM) -> None:
    def failure(request: Request) -> str:
        return asyncio.run(client.ask(request)).failure

    assert "longer than the context" in failure(question(client, "x" * 400))
    assert "tools" in failure(question(client, tools=[{"type": "function"}]))
    assert not vllm.calls
    for error in (ValueError("top_p is odd"), Refused("top_p is odd")):
        vllm.error = error
        assert failure(question(client)) == "vLLM refuses the request: top_p is odd"


def test_a_reply_that_vllm_broke_off_is_asked_again_by_the_next_run(vllm: StandIn, client: OfflineVLLM) -> None:
    vllm.finish = "abort"
    reply = asyncio.run(client.ask(question(client)))
    assert reply.failure == "vLLM ended the reply early (abort)" and reply.passing and not reply.text


def test_a_dead_or_missing_engine_ends_the_asking(
    vllm: StandIn, client: OfflineVLLM, monkeypatch: pytest.MonkeyPatch
) -> None:
    vllm.error = RuntimeError("engine core died")
    with pytest.raises(WorkerError, match="engine core died"):
        asyncio.run(client.ask(question(client)))
    real = client.weights
    broken = OfflineVLLM(weights=Weights(path=real.path, id="other"), format="chatml", engine={"model": "broken"})
    with pytest.raises(WorkerError, match=r"cannot start.*no GPU"):
        asyncio.run(broken.ask(question(broken)))


def test_without_vllm_the_error_says_how_to_install_it(client: OfflineVLLM, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(WorkerError, match=r"not installed; run pip install 'burnish\[vllm\]'"):
        asyncio.run(client.ask(question(client)))
