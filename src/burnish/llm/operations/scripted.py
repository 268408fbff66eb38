"""An engine without a model: answers operations with plain functions, by id.

The microworld's oracle is one; tests write their own. What a function returns goes out as the text of a reply, and is
read like any other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from burnish.llm.operations.checks import own_code
from burnish.llm.requests import Reply, Request, Usage

# record -> the fields of the form, or a text; None where the function does not know.
Answerer = Callable[[Any], "Mapping[str, Any] | str | None"]
TOKEN = 4  # characters, for the books of an engine that has no tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Scripted:
    """An `Asker` in this process.

    Args:
        identity: who it says it is; must change when its answers do.
        answers: operation id -> function.
    """

    instant: ClassVar[bool] = True  # asking again is cheaper than keeping
    identity: str
    answers: Mapping[str, Answerer] = field(repr=False, metadata={"runtime": True})

    async def ask(self, request: Request) -> Reply:
        """The function's answer; a failure where there is no such function, or it does not know.

        Raises:
            SettingsError: the function has a fault (see `own_code`).
        """
        function = self.answers.get(request.operation)
        if function is None:
            asked = request.operation or "a request without an operation"
            return Reply(failure=f"{self.identity} has no answer to {asked}")
        with own_code(f"the answer of {self.identity} to {request.operation}", request.record):
            said = function(request.record)
        if said is None:
            return Reply(failure=f"{self.identity} does not know the answer")
        text = said if isinstance(said, str) else json.dumps(dict(said), ensure_ascii=False)
        length = sum(len(message.content) for message in request.messages)
        used = Usage(prompt=length // TOKEN + 1, completion=len(text) // TOKEN + 1, estimated=True)
        return Reply(text=text, usage=used, served_by=self.identity)
