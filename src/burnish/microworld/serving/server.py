"""The oracle as an OpenAI-compatible server: /v1/models, /v1/chat/completions, /v1/completions, and /faults.

    body -> read_call (wire) -> capacity -> fate (faults) -> answers -> latency -> the reply, or what went wrong

GET /faults tells what became of every request; POST /faults changes fault settings while the server runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson
from aiohttp import web

from burnish.errors import BurnishError
from burnish.microworld.serving.answers import OracleAnswers
from burnish.microworld.serving.faults import OF_CONTENT, Fate, Faults, Injector, Latency, Ledger, spoiled
from burnish.microworld.serving.wire import BadRequest, Call, Choice, chunks, finished, read_call, reply

_LARGEST_BODY = 64 * 1024 * 1024  # bytes of a request
_PROXY_PAGE = (
    "<html><head><title>502 Bad Gateway</title></head><body><center><h1>502 Bad Gateway</h1></center><hr>"
    "<center>proxy</center></body></html>"
)
_BLOCK = 65_536  # bytes written at once by `huge` and `endless`


def error_body(message: str, kind: str, code: str) -> bytes:
    """An error as OpenAI's servers write it."""
    return orjson.dumps({"error": {"message": message, "type": kind, "param": None, "code": code}})


def _json(body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers=headers, content_type="application/json")


@dataclass(slots=True)
class OracleServer:
    """One server and its books.

    Args:
        answers: what is said.
        models: names under which the oracle answers; each has its own capacity.
        faults, latency: what goes wrong, and how long a reply takes.
        api_key: a request without this key is refused with 401; empty asks for none.
        context: tokens that prompt and reply may have together; more is refused with 400. 0: no limit.
    """

    answers: OracleAnswers = field(default_factory=OracleAnswers)
    models: Sequence[str] = ("oracle",)
    faults: Faults = field(default_factory=Faults)
    latency: Latency = field(default_factory=Latency)
    api_key: str = ""
    context: int = 0
    ledger: Ledger = field(default_factory=Ledger)
    injector: Injector = field(init=False)
    number: int = 0

    def __post_init__(self) -> None:
        self.injector = Injector(self.faults)

    def app(self) -> web.Application:
        """The routes; each stands under /v1 and, for the books, under / too."""
        app = web.Application(client_max_size=_LARGEST_BODY)
        app.router.add_get("/v1/models", self._models)
        app.router.add_post("/v1/chat/completions", self._chat)
        app.router.add_post("/v1/completions", self._completions)
        for path in ("/faults", "/v1/faults"):
            app.router.add_get(path, self._books)
            app.router.add_post(path, self._change)
        return app

    def books(self) -> dict[str, Any]:
        """What GET /faults tells: the ledger and the settings in force."""
        self.ledger.known, self.ledger.unknown = self.answers.known, self.answers.unknown
        return {**self.ledger.plain(), "settings": asdict(self.injector.faults)}

    async def _models(self, request: web.Request) -> web.Response:
        rows = [{"id": name, "object": "model", "created": 0, "owned_by": "burnish"} for name in self.models]
        return _json(orjson.dumps({"object": "list", "data": rows}))

    async def _books(self, request: web.Request) -> web.Response:
        return _json(orjson.dumps(self.books()))

    async def _change(self, request: web.Request) -> web.Response:
        try:
            settings = orjson.loads(await request.read())
            self.injector.faults = self.injector.faults.changed(settings)
        except (ValueError, TypeError, BurnishError) as error:
            return _json(error_body(str(error), "invalid_request_error", "invalid_value"), 400)
        return await self._books(request)

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=True)

    async def _completions(self, request: web.Request) -> web.StreamResponse:
        return await self._complete(request, chat=False)

    async def _complete(self, request: web.Request, *, chat: bool) -> web.StreamResponse:
        body = await request.read()
        try:
            self._admit(request)
            call = read_call(body, chat=chat, models=self.models)
            self._fits(call)
        except BadRequest as bad:
            self.ledger.count("refused", "")
            return _json(error_body(bad.message, "invalid_request_error", bad.code), bad.status)
        faults, outcome = self.injector.faults, "left"
        limit = faults.capacity_at(call.model, self.ledger.age)
        if limit and self.ledger.in_flight[call.model] >= limit:
            self.ledger.count("over_capacity", call.model)
            return self._slow_down(429)
        self.ledger.enter(call.model)
        try:
            fate = self.injector.fate(body)
            outcome = fate.fault or outcome
            response = await self._meet(request, call, fate)
            outcome = fate.fault or "answered"
            return response
        finally:
            self.ledger.count(outcome, call.model)
            self.ledger.leave(call.model)

    def _admit(self, request: web.Request) -> None:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if self.api_key and given != self.api_key:
            raise BadRequest(401, "incorrect API key provided" if given else "no API key provided", "invalid_api_key")

    def _fits(self, call: Call) -> None:
        total = call.prompt_tokens + (call.limit or 0)
        if self.context and total > self.context:
            message = (
                f"This model's maximum context length is {self.context} tokens. However, you requested {total} tokens "
                f"({call.prompt_tokens} in the messages, {call.limit or 0} in the completion)."
            )
            raise BadRequest(400, message, "context_length_exceeded")

    def _slow_down(self, status: int) -> web.Response:
        wait = self.injector.faults.retry_after
        headers = {"Retry-After": f"{wait:g}"} if wait is not None else None
        told = {429: ("Rate limit reached", "rate_limit_error", "rate_limit_exceeded")}
        busy = ("The server is overloaded", "server_error", "overloaded")
        return _json(error_body(*told.get(status, busy)), status, headers)

    async def _meet(self, request: web.Request, call: Call, fate: Fate) -> web.StreamResponse:
        """The reply, or the fault in its place. A fault of content that has nothing to spoil counts as no fault."""
        fault, faults = fate.fault, self.injector.faults
        if fault in ("rate_limited", "unavailable"):
            return self._slow_down(429 if fault == "rate_limited" else 503)
        if fault == "hang":
            await asyncio.sleep(faults.hang_seconds)
            return _json(error_body("timed out", "server_error", "timeout"), 504)
        choices = self._choices(call, fate)
        wait = self.latency.seconds(fate.rng, sum(len(choice.tokens) for choice in choices))
        wait += faults.slow_seconds if fault == "slow" else 0
        if wait:
            await asyncio.sleep(wait)
        if fault == "server_error":
            return _json(error_body("The server had an error", "server_error", "internal_error"), 500)
        if fault == "html":
            return web.Response(text=_PROXY_PAGE, status=502, content_type="text/html")
        if fault in ("huge", "endless"):
            return await self._flood(request, faults.huge_bytes if fault == "huge" else None)
        self.number += 1
        ident = f"oracle-{self.number}"
        if call.stream:
            return await self._stream(request, call, choices, ident, cut=fault == "cut")
        body = _broken(orjson.dumps(reply(call, choices, ident)), fault)
        if fault == "cut":
            return await self._cut(request, body, fate)
        self.ledger.tokens += sum(len(choice.tokens) for choice in choices)
        return _json(body)

    def _choices(self, call: Call, fate: Fate) -> list[Choice]:
        texts = [self.answers.answer(asked) for asked in call.asked]
        if fate.fault in OF_CONTENT:
            bad = [spoiled(text, fate.fault, fate.rng) for text in texts]
            fate.fault = fate.fault if bad != texts else ""
            texts = bad
        return [finished(call, text) for text in texts]

    async def _stream(
        self, request: web.Request, call: Call, choices: Sequence[Choice], ident: str, *, cut: bool
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        await response.prepare(request)
        events = [b"data: " + orjson.dumps(event) + b"\n\n" for event in chunks(call, choices, ident)]
        for event in events[: len(events) // 2] if cut else events:
            await response.write(event)
        if cut:
            return _abort(request, response)
        await response.write(b"data: [DONE]\n\n")
        self.ledger.tokens += sum(len(choice.tokens) for choice in choices)
        return response

    async def _cut(self, request: web.Request, body: bytes, fate: Fate) -> web.StreamResponse:
        """Ends the connection: before the first byte, or in the middle of the body."""
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(body))})
        if fate.rng.random() < 0.5:
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
        return _abort(request, response)

    async def _flood(self, request: web.Request, size: int | None) -> web.StreamResponse:
        """A body of `size` bytes that is no reply; without a size, one that never ends."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        block, sent = b" " * _BLOCK, 0
        ends = time.monotonic() + self.injector.faults.hang_seconds
        while sent < size if size is not None else time.monotonic() < ends:
            await response.write(block)
            sent += _BLOCK
            if size is None:
                await asyncio.sleep(0.01)
        return response


def _broken(body: bytes, fault: str) -> bytes:
    if fault == "not_json":
        return body[: len(body) * 2 // 3]
    if fault == "broken_unicode":
        place = body.index(b'"choices"') + 12
        return body[:place] + b"\xff\xfe\xc3\x28" + body[place:]
    return body


def _abort(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response
