"""Judges' test bench: prompts of the microworld with good and bad answers, and askers with known faults."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from burnish.llm.requests import Reply, Request
from burnish.microworld import Oracle, prompts
from burnish.records import Message, Prompt, Response, Sampling


def bench(count: int = 24, seed: int = 5) -> list[tuple[Prompt, tuple[Response, Response]]]:
    """Pairs of a right answer and a spoiled one, from two writers."""
    asked = prompts("train", count, seed=seed)
    sampling = Sampling(temperature=1.0, max_new_tokens=64)
    right = Oracle(error=0.0).answer(asked, n=1, sampling=sampling)
    wrong = Oracle(error=1.0).answer(asked, n=1, sampling=sampling)
    return [(prompt, (a, b)) for prompt, a, b in zip(asked, right, wrong, strict=True) if a.text != b.text]


def response(prompt: Prompt, text: str, model: str = "") -> Response:
    return Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),), model=model)


@dataclass
class Says:
    """Answers a request by a function of the request; keeps what was asked."""

    function: Callable[[Request], Any]
    identity: str = "says"
    requests: list[Request] = field(default_factory=list)

    async def ask(self, request: Request) -> Reply:
        await asyncio.sleep(0)
        self.requests.append(request)
        said = self.function(request)
        return said if isinstance(said, Reply) else Reply(text=said if isinstance(said, str) else json.dumps(said))


ALWAYS_FIRST = {"why": "It came first.", "winner": "A", "strength": "better"}
TIE = {"why": "No difference.", "winner": "tie", "strength": "equal"}
