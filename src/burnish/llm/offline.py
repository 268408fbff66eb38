"""vLLM in this process, as an `Asker` and a client: for a machine with a GPU and no server. Needs the extra `vllm`.

    messages -> ids by the model's own template (chat) -> vLLM's AsyncLLM -> drawn ids -> text (chat)

Ids go in and ids come out, so what is trained on later is what was drawn. One engine holds a GPU, so each (weights,
settings) pair has one, started at the first request, in a thread with an event loop of its own.
"""

from __future__ import annotations

import asyncio
import importlib
import itertools
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from burnish.chat import Chat, Tokens, load_chat, load_tokens
from burnish.errors import ChatError, ModelError, WorkerError
from burnish.llm.requests import Reply, Request, Usage
from burnish.llm.requests.answering import Unanswered, answers, plan
from burnish.protocols import Work
from burnish.records import Prompt, Response, Sampling, Weights, content_id, context_length

INSTALL = "pip install 'burnish[vllm]'"
_SEEDS = 2**31  # ids of random streams that every version of vLLM takes

_engines: dict[str, Engine] = {}
_lock = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class OfflineVLLM:
    """Answers requests with the weights in a folder, through vLLM.

    Args:
        weights: a causal language model in Hugging Face layout, with its tokenizer.
        format: a named chat format in place of the tokenizer's own template.
        engine: arguments of vLLM's `AsyncEngineArgs` (`tensor_parallel_size`, `gpu_memory_utilization`, `dtype`,
            `max_model_len`, ...). They say how, not what, so they are no part of the identity.
    """

    weights: Weights
    format: str | None = None
    engine: Mapping[str, Any] = field(default_factory=dict, metadata={"runtime": True})
    _unanswered: Unanswered = field(
        default_factory=dict, compare=False, repr=False, init=False, metadata={"runtime": True}
    )

    def __post_init__(self) -> None:
        if self.weights.kind != "causal":
            raise ModelError(f"{self.weights.path} is a {self.weights.kind} model; only a causal one can answer")

    @property
    def identity(self) -> str:
        """Who answers: the weights, and that vLLM draws, whose draws are not those of `Local`."""
        return f"vllm:{self.weights.id}" + (f"+{self.format}" if self.format else "")

    @property
    def most(self) -> int:
        """As many requests as are handed to vLLM at once; it batches them itself."""
        return 1024

    async def ask(self, request: Request) -> Reply:
        """The answer to one request, with ids and log-probabilities (at temperature 1, nats).

        What no retry would change (a dialogue that the template cannot carry, a prompt longer than the context) is a
        reply with a failure.

        Raises:
            WorkerError: vLLM is not installed, cannot start, or has died.
        """
        try:
            ids = self._ids(request)
        except ChatError as error:
            return Reply(failure=str(error))
        room = int(self.engine.get("max_model_len") or context_length(self.weights.path))
        wanted = request.sampling.max_new_tokens
        if not ids:
            return Reply(failure="empty prompt: its text has no token")
        if len(ids) + wanted > room:
            failure = f"prompt longer than the context: {len(ids)} tokens and {wanted} new ones, but it holds {room}"
            return Reply(failure=failure, usage=Usage(prompt=len(ids)))
        if request.tools:
            return Reply(failure="offline vLLM takes no tools; serve the model and ask it over HTTP")
        engine = _engines.get(_key(self)) or await asyncio.to_thread(engine_of, self)
        return await asyncio.wrap_future(engine.submit(self, ids, request))

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        """`n` answers to each prompt, prompts as given, then sample index; `protocols.Client`.

        A prompt that gets no answer has no row; `refuse` then tells why. With `work`, replies are kept in its store.

        Raises:
            WorkerError: as `ask`.
        """
        rows, unanswered = answers(self, plan(self.identity, prompts, n, sampling), work=work)
        self._unanswered.update(unanswered)
        return rows

    def refuse(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[Prompt, str, str]]:
        """Those of the prompts that `answer` got nothing for, each with a reason and a word of detail."""
        return [(p, *self._unanswered[p.id]) for p in prompts if p.id in self._unanswered]

    def _ids(self, request: Request) -> tuple[int, ...]:
        if request.text:
            return _tokens(self.weights.path).encode_text(request.text)
        return self._chat().encode_prompt(request.messages)

    def _chat(self) -> Chat:
        return _chat(self.weights.path, self.format)

    def stop_ids(self, request: Request) -> list[int]:
        """Ids that end an answer beside the model's EOS."""
        return [] if request.text else list(self._chat().stop_ids)

    def text(self, request: Request, ids: tuple[int, ...]) -> str:
        """What the drawn ids say, without stop tokens."""
        if request.text:
            return _tokens(self.weights.path).text(ids)
        said = [message.content for message in self._chat().decode(ids, completion=True)]
        return said[-1] if said else ""

    def close(self) -> None:
        """Stop the engine, if it runs, and free its GPU."""
        with _lock:
            engine = _engines.pop(_key(self), None)
        if engine is not None:
            engine.stop()


class Engine:
    """One `AsyncLLM`, in an event loop of its own: callers may live in any loop, or in several."""

    def __init__(self, client: OfflineVLLM) -> None:
        self._vllm = load_vllm()
        self._numbers = itertools.count()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="vllm", daemon=True)
        self._thread.start()
        started = asyncio.run_coroutine_threadsafe(self._start(client), self._loop)
        try:
            self._engine = started.result()
        except Exception as error:
            self._end_loop()
            raise WorkerError(f"vLLM cannot start with {client.weights.path}: {error}") from error

    async def _start(self, client: OfflineVLLM) -> Any:
        settings = {
            "model": client.weights.path, "disable_log_stats": True, **client.engine,
            # Log-probabilities before temperature and top-p, as `Response.logprobs` has them.
            "logprobs_mode": "raw_logprobs", "trust_remote_code": False,
        }  # fmt: skip
        return self._vllm.AsyncLLM.from_engine_args(self._vllm.AsyncEngineArgs(**settings))

    def submit(self, client: OfflineVLLM, ids: tuple[int, ...], request: Request) -> Any:
        """A future of the reply (`concurrent.futures`)."""
        return asyncio.run_coroutine_threadsafe(self._draw(client, ids, request), self._loop)

    async def _draw(self, client: OfflineVLLM, ids: tuple[int, ...], request: Request) -> Reply:
        began, final = time.perf_counter(), None
        params = self._vllm.SamplingParams(**self._params(client, request))
        name = f"burnish-{next(self._numbers)}"
        try:
            async for output in self._engine.generate({"prompt_token_ids": list(ids)}, params, name):
                final = output
        except (ValueError, self._vllm.ClientError) as error:  # vLLM's own check of the request
            return Reply(failure=f"vLLM refuses the request: {error}", usage=Usage(prompt=len(ids)))
        except Exception as error:
            raise WorkerError(f"vLLM has stopped: {error or type(error).__name__}; see its log") from error
        if final is None:
            return Reply(failure="vLLM gave no output", usage=Usage(prompt=len(ids)))
        return _reply(client, request, ids, final, time.perf_counter() - began)

    def _params(self, client: OfflineVLLM, request: Request) -> dict[str, Any]:
        sampling = request.sampling
        params = {
            "n": 1, "temperature": sampling.temperature, "top_p": sampling.top_p,
            "max_tokens": sampling.max_new_tokens, "seed": seed_of(request), "logprobs": 0,
            "stop_token_ids": client.stop_ids(request), "detokenize": False,
            "output_kind": self._vllm.RequestOutputKind.FINAL_ONLY,
        }  # fmt: skip
        if request.schema is not None:
            # The schema is enforced on text, so vLLM must have its tokenizer; `detokenize` only spares the reply's.
            params["structured_outputs"] = self._vllm.StructuredOutputsParams(json=dict(request.schema))
        return params

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._engine.shutdown)
        self._end_loop()

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(60)


def _reply(client: OfflineVLLM, request: Request, ids: tuple[int, ...], final: Any, seconds: float) -> Reply:
    drawn = final.outputs[0]
    if drawn.finish_reason in ("abort", "error"):
        return Reply(
            failure=f"vLLM ended the reply early ({drawn.finish_reason})", passing=True, usage=Usage(prompt=len(ids))
        )
    token_ids = tuple(int(token) for token in drawn.token_ids)
    told = drawn.logprobs or []
    # A row holds the drawn token and, where others are likelier, perhaps more: ours is found by its id.
    logprobs = tuple(float(row[token].logprob) for row, token in zip(told, token_ids, strict=True)) if told else ()
    return Reply(
        text=client.text(request, token_ids), finish=drawn.finish_reason or "stop", token_ids=token_ids,
        logprobs=logprobs, served_by=client.identity, seconds=seconds,
        usage=Usage(prompt=len(ids), completion=len(token_ids), cached=int(final.num_cached_tokens or 0)),
    )  # fmt: skip


def seed_of(request: Request) -> int:
    """The random stream of a request: its question, seed and index decide, never its place in a batch."""
    return int(content_id([request.sampling.seed, request.key()]), 16) % _SEEDS


class _Names:
    """What is used of vLLM, under the names of its V1 engine, as of 0.33."""

    def __init__(self) -> None:
        self.SamplingParams = _find("vllm", "SamplingParams")
        self.AsyncEngineArgs = _find("vllm.engine.arg_utils", "AsyncEngineArgs")
        self.AsyncLLM = _find("vllm.v1.engine.async_llm", "AsyncLLM")
        self.ClientError = _find("vllm.exceptions", "VLLMClientError")
        self.RequestOutputKind = _find("vllm.sampling_params", "RequestOutputKind")
        self.StructuredOutputsParams = _find("vllm.sampling_params", "StructuredOutputsParams")


def _find(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def load_vllm() -> Any:
    """What is used of vLLM.

    Raises:
        WorkerError: it is not installed, or of another age.
    """
    try:
        return _Names()
    except ModuleNotFoundError as error:
        if error.name == "vllm":
            raise WorkerError(f"offline vLLM is not installed; run {INSTALL} on a machine with a GPU") from None
        raise WorkerError(f"this version of vLLM lacks {error.name}; run {INSTALL} --upgrade") from error
    except (ImportError, AttributeError) as error:
        raise WorkerError(f"this version of vLLM cannot be used ({error}); run {INSTALL} --upgrade") from error


def engine_of(client: OfflineVLLM) -> Engine:
    """The running engine of these weights and settings, started on first use.

    Raises:
        WorkerError: vLLM is not installed, or cannot start.
    """
    with _lock:
        name = _key(client)
        if name not in _engines:
            _engines[name] = Engine(client)
        return _engines[name]


def _key(client: OfflineVLLM) -> str:
    return content_id([client.weights.id, client.weights.path, {k: repr(v) for k, v in client.engine.items()}])


@lru_cache(maxsize=4)
def _chat(path: str, format: str | None) -> Chat:
    return load_chat(path, format=format)


@lru_cache(maxsize=4)
def _tokens(path: str) -> Tokens:
    return load_tokens(path)
