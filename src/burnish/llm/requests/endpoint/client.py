"""An OpenAI-compatible server, or several that hold the same model, as an `Asker` and as a `protocols.Client`.

http://host:8000/v1#model                    one server
http://one:8000/v1,http://two:8000/v1#model  replicas
http://host:8000/v1#model?concurrency=64&timeout=120&tries=3   never more at once, seconds a request, tries of one
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from weakref import WeakKeyDictionary

from burnish.errors import SettingsError
from burnish.llm.requests import answering
from burnish.llm.requests.asking import run
from burnish.llm.requests.budget import Budget
from burnish.llm.requests.endpoint.line import Line
from burnish.llm.requests.endpoint.pace import Pacing
from burnish.llm.requests.endpoint.transport import Limits
from burnish.llm.requests.request import Reply, Request
from burnish.protocols import Work
from burnish.records import Prompt, Response, Sampling

_LINES: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[Endpoint, Line]] = WeakKeyDictionary()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """One model behind OpenAI's chat and completions routes.

    Its key comes from the environment: `BURNISH_API_KEY`, or `OPENAI_API_KEY` for OpenAI's own servers.

    Args:
        model: the server's name for the model.
        urls: addresses up to and with `/v1`; they are where, not what, so no part of a step's identity.
        logprobs: ask for the log-probabilities of what is drawn.
        token_ids: ask for the drawn ids, which vLLM can tell.
        limits: timeouts, sizes, tries.
        pacing: how much is asked at once.
        budget: what `answer` may spend.
    """

    model: str
    urls: tuple[str, ...] = field(metadata={"runtime": True})
    logprobs: bool = False
    token_ids: bool = False
    limits: Limits = field(default=Limits(), metadata={"runtime": True})
    pacing: Pacing = field(default=Pacing(), metadata={"runtime": True})
    budget: Budget | None = field(default=None, metadata={"runtime": True})
    _unanswered: dict[str, tuple[str, str]] = field(
        default_factory=dict, compare=False, repr=False, init=False, metadata={"runtime": True}
    )

    def __post_init__(self) -> None:
        if not self.urls or not self.model:
            raise SettingsError("an endpoint needs a URL and a model, as in http://host:8000/v1#model")
        for url in self.urls:
            _check_url(url)

    @classmethod
    def parse(cls, spec: str, **settings: Any) -> Endpoint:
        """The endpoint of a spec such as `http://host:8000/v1#model`.

        Raises:
            SettingsError: the spec is none; the error says what is missing.
        """
        addresses, mark, named = spec.partition("#")
        model, asked, words = named.partition("?")
        urls = tuple(part.strip().rstrip("/") for part in addresses.split(",") if part.strip())
        if not urls:
            raise SettingsError(f"{spec!r} is no endpoint; write it as http://host:8000/v1#model")
        for url in urls:
            _check_url(url)
        if not mark or not model.strip():
            raise SettingsError(
                f"{spec!r} does not say which model; add #name (curl {urls[0]}/models lists those there are)"
            )
        made = cls(model=model.strip(), urls=urls, **settings)
        return _paced(made, words) if asked else made

    @property
    def identity(self) -> str:
        """What `Request.model` and `Response.model` hold: who answers and what is told of the answer, not where."""
        more = "+logprobs" * self.logprobs + "+ids" * self.token_ids
        return f"openai{more}:{self.model}"

    @property
    def most(self) -> int:
        """As many requests as may ever be in flight."""
        return self.pacing.most * len(self.urls)

    def line(self) -> Line:
        """What is alive of this endpoint in the running event loop: connections, paces, what the server can do."""
        loop = asyncio.get_running_loop()
        lines = _LINES.get(loop)
        if lines is None:
            lines = _LINES[loop] = {}
        line = lines.get(self)
        if line is None:
            line = lines[self] = Line(self)
        return line

    async def ask(self, request: Request) -> Reply:
        """Answer one request; a failure for good is a reply with `failure`.

        Raises:
            SettingsError: the request is to another model.
            WorkerError: nothing can be asked of this endpoint (no such model, a refused key, no server for too long).
        """
        return await self.line().ask(request)

    def look(self) -> None:
        """Look whether a server answers and has the model, before anything else is done.

        Raises:
            WorkerError: none does, or it cannot be asked; the error says why and what to do.
        """

        async def once() -> None:
            async with self:
                await self.line().ready()

        run(once())

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        """`n` answers to each prompt, prompts as given, then sample index; `protocols.Client`.

        A prompt that gets no answer has no row; `refuse` then tells why. With `work`, every reply is kept in the step's
        request store and is not paid for again.

        Raises:
            WorkerError, BudgetError: see `ask_all`.
        """
        asked = self.plan(prompts, n, sampling)
        rows, unanswered = answering.answers(self, asked, work=work, budget=self.budget)
        self._unanswered.update(unanswered)
        return rows

    def plan(self, prompts: Sequence[Prompt], n: int, sampling: Sampling) -> list[tuple[Prompt, Request]]:
        """What `answer` asks."""
        return answering.plan(self.identity, prompts, n, sampling)

    def refuse(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[Prompt, str, str]]:
        """Those of the prompts that `answer` got nothing for, each with a reason and a word of detail."""
        return [(p, *self._unanswered[p.id]) for p in prompts if p.id in self._unanswered]

    async def __aenter__(self) -> Endpoint:
        self.line().users += 1
        return self

    async def __aexit__(self, *exception: Any) -> None:
        await self.line().leave()


HOW = ("concurrency", "timeout", "tries")


def _paced(endpoint: Endpoint, words: str) -> Endpoint:
    """The endpoint with what stands behind the `?` of a spec: each of `HOW` at most once."""
    limits, pacing, seen = endpoint.limits, endpoint.pacing, set()
    for word in words.split("&"):
        name, _, told = word.partition("=")
        if name not in HOW or name in seen:
            said = f"{name!r} stands there twice" if name in seen else f"{name!r} is no setting of a server"
            example = f"#{endpoint.model}?concurrency=64&timeout=120"
            raise SettingsError(f"{said}; there are {', '.join(HOW)}, as in {example}")
        seen.add(name)
        try:
            number = float(told) if name == "timeout" else int(told)
        except ValueError:
            number = 0
        if not 0 < number < 10**7:
            kind = "a time in seconds" if name == "timeout" else "a whole number from 1 on"
            raise SettingsError(f"{name}={told} behind #{endpoint.model} is not {kind}")
        if name == "concurrency":
            pacing = replace(pacing, most=int(number), start=min(pacing.start, int(number)))
        elif name == "timeout":
            limits = replace(limits, total=number, silence=min(limits.silence, number))
        else:
            limits = replace(limits, tries=int(number))
    return replace(endpoint, limits=limits, pacing=pacing)


_BARE = re.compile(r"[\w.-]+(:\d+)?(/v\d+)?/?#|[\w.-]+:\d+(/|$)")  # host:8000/v1#model, host:8000/v1


def _check_url(url: str) -> None:
    """Refuse what is no address, and secrets in one: specs are written to run.json."""
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"an endpoint's URL cannot be read ({error}); write it as http://host:8000/v1") from error
    if parts.username or parts.password or parts.query:
        raise SettingsError(
            f"the URL of {parts.hostname} holds a user, a password or a query; put the key into BURNISH_API_KEY instead"
        )
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise SettingsError(f"{url!r} is no http address; write it as http://host:8000/v1#model")


def parse_endpoint(spec: str) -> Endpoint | None:
    """The endpoint of a command-line word, None when the word is no URL.

    Raises:
        SettingsError: it is one without http:// before it.
    """
    if _BARE.match(spec) and not Path(spec).exists():
        raise SettingsError(f"{spec!r} has no http:// or https:// before it; write http://{spec}")
    return Endpoint.parse(spec) if spec.startswith(("http://", "https://")) else None
