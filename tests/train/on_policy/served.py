"""A tiny model behind OpenAI's completions route, as vLLM and SGLang serve one: ids in, ids and log-probabilities out.

It draws from a folder of weights, reads it again when it is told to, and can be made to fail in several ways.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import torch
from aiohttp import web

from burnish.llm.local.decode import Limits, open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.microworld.serving.faults import Faults, Injector
from burnish.microworld.serving.running import serve
from burnish.models import load_causal


@dataclass
class Host:
    """The server.

    Args:
        folder: where it was started, and what `reload_weights` reads again.
        hides: fields that it does not tell: token_ids, logprobs.
        reloads: `well`; `never` says that it did and did not; `fails` gives a status 500 from call `fails_at` on, and
            `refuses` a success of false.
        extra: tokens that it puts before every prompt.
        script: what it says, as tokens, by the ids of the prompt; None draws. Log-probabilities are the model's own.
        named: tells ids as vLLM's names of tokens, and in no other way.
        sent: what was drawn, by place of the request.
    """

    folder: Path
    hides: tuple[str, ...] = ()
    reloads: str = "well"
    fails_at: int = 0
    extra: tuple[int, ...] = ()
    named: bool = False
    script: Callable[[list[int]], list[int]] | None = None
    faults: Faults = field(default_factory=Faults)
    told: list[tuple[str, Any]] = field(default_factory=list)
    asked: list[dict[str, Any]] = field(default_factory=list)
    sent: list[tuple[int, ...]] = field(default_factory=list)
    met: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.injector = Injector(self.faults)
        self.read(self.folder)

    def read(self, folder: Path) -> None:
        torch.set_num_threads(1)
        self.decoder = open_decoder(load_causal(folder).eval())

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/completions", self._complete)
        for path in ("/update_weights_from_disk", "/sleep", "/wake_up", "/collective_rpc", "/mine"):
            app.router.add_post(path, self._reload)
        return app

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "policy"}]})

    async def _reload(self, request: web.Request) -> web.Response:
        body = await request.json() if request.can_read_body else None
        self.told.append((str(request.rel_url), body))
        if self.reloads == "fails" and len(self.told) >= self.fails_at:
            return web.json_response({"error": {"message": "out of memory"}}, status=500)
        if self.reloads == "refuses":
            return web.json_response({"success": False, "message": "no such folder"})
        folder = (body or {}).get("model_path") or (body or {}).get("folder")
        if folder or (body or {}).get("method") == "reload_weights":
            if self.reloads != "never":
                self.read(Path(folder or self.folder))
            return web.json_response({"success": True})
        return web.Response()

    async def _complete(self, request: web.Request) -> web.StreamResponse:
        data = await request.read()
        body = orjson.loads(data)
        self.asked.append(body)
        fault = self.injector.fate(data).fault
        self.met[fault] = self.met.get(fault, 0) + 1
        if fault == "server_error":
            return web.json_response({"error": {"message": "overloaded"}}, status=500)
        if fault == "cut":
            request.transport.abort()
            return web.Response()
        if fault == "not_json":
            return web.Response(text='{"choices": [')
        prompt = [*self.extra, *body["prompt"]]
        limits = Limits(
            max_new_tokens=body["max_tokens"],
            temperature=body["temperature"],
            top_p=body["top_p"],
            stop_ids=tuple(body["stop_token_ids"]),
        )
        numbers = uniforms([key(body["seed"], "host", 0)], limits.max_new_tokens)
        if self.script is not None:
            ids = self.script(prompt)
            logprobs, finish = spoken(self.decoder.model, prompt, ids), "stop"
        else:
            drawn = self.decoder.generate([prompt], 1, numbers, limits)
            ids, logprobs, finish = drawn.token_ids[0], drawn.logprobs[0], drawn.finish[0]
        self.sent.append(tuple(ids))
        if fault == "malformed":
            logprobs = logprobs[1:]
        if fault == "wrong_schema":
            logprobs = [None] * len(ids)
        names = [f"token_id:{token}" for token in ids] if self.named else [str(token) for token in ids]
        choice = {"index": 0, "text": "", "finish_reason": finish}
        choice |= {"token_ids": ids, "logprobs": {"tokens": names, "token_logprobs": logprobs}}
        for hidden in (*self.hides, *(("token_ids",) if self.named else ())):
            choice[hidden] = None
        usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids)}
        return web.json_response({"model": "policy", "choices": [choice], "usage": usage})


def spoken(model: Any, prompt: list[int], ids: list[int]) -> list[float]:
    """Log-probabilities of ids after a prompt, by the model's plain forward."""
    model.set_attn_implementation("eager")
    with torch.no_grad():
        found = model(torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0].double().log_softmax(-1)
    return [float(found[len(prompt) - 1 + place, token]) for place, token in enumerate(ids)]


@contextlib.contextmanager
def hosted(host: Host) -> Iterator[str]:
    """The host in a thread; its address up to and with /v1."""
    found, opened = {}, threading.Event()

    def ready(url: str) -> None:
        found["url"] = url
        opened.set()

    async def whole() -> None:
        found["loop"], found["stop"] = asyncio.get_running_loop(), asyncio.Event()
        await serve(host, host="127.0.0.1", port=0, ready=ready, stop=found["stop"])

    thread = threading.Thread(target=lambda: asyncio.run(whole()), daemon=True)
    thread.start()
    assert opened.wait(30)
    try:
        yield found["url"]
    finally:
        found["loop"].call_soon_threadsafe(found["stop"].set)
        thread.join(30)
