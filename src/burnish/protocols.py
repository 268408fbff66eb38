"""The verbs. One method each; every implementation is a frozen dataclass whose fields are its settings, so that it
can be printed, fingerprinted and rebuilt. This module holds no logic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

    from burnish.records import Judgement, Message, Prompt, Response, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a checker says: `correct`, or None with the reason why it cannot be told."""

    correct: bool | None
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What an executed program left: exit status, output, and whether a limit ended it."""

    status: int
    stdout: str
    stderr: str
    limit: str = ""


class Journal(Protocol):
    """Work that is paid for and must survive a kill: a durable map from a key to a JSON value."""

    def get(self, key: str) -> Any | None: ...

    def put(self, key: str, value: Any) -> None: ...


class Work(Protocol):
    """What a running step lends to the function that does its work (a parameter named `work`).

    `folder` becomes the artifact; `scratch` outlives a kill and vanishes when the step ends. `requests` is the file of
    what the step asks of models: it outlives the step and its settings, so that nothing is paid twice.
    """

    folder: Path
    scratch: Path
    requests: Path
    journal: Journal

    def progress(self, done: int, total: int, note: str = "") -> None: ...


class Client(Protocol):
    """Anything that answers messages: a model in this process, an endpoint, the oracle."""

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]: ...


class Checker(Protocol):
    """Verifies a final answer without a model. `name` is what `Prompt.checker` holds."""

    name: str

    def check(self, prompt: Prompt, response: Response) -> Verdict: ...


class Judge(Protocol):
    """Scores responses one by one; each gives a judgement with a score, or one that is unscored and says why."""

    def judge(
        self, prompts: Sequence[Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Judgement]: ...


class Filter(Protocol):
    """Answers an empty string to keep a row, or the reason to drop it."""

    def keep(self, row: Any) -> str: ...


class Embedder(Protocol):
    """Texts to vectors of one length."""

    def embed(self, texts: Sequence[str]) -> Sequence[Sequence[float]]: ...


class Executor(Protocol):
    """Runs a program in isolation."""

    def run(self, code: str, *, stdin: str = "", seconds: float = 5.0) -> Ran: ...


class Annotator(Protocol):
    """Compares two responses to a prompt, with one of four strengths, and may edit the better one."""

    def rank(self, prompt: Prompt, responses: Sequence[Response]) -> Judgement: ...


class Objective(Protocol):
    """One training objective over a packed batch: what it needs of a row, and its loss."""

    def __call__(self, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, Mapping[str, float]]: ...


class Merger(Protocol):
    """Combines tensors of one name from several models into one."""

    def combine(self, tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor: ...


class Repair(Protocol):
    """Writes a better version of an answer, or None when it has nothing to mend (annotation's edit step)."""

    def edit(self, prompt: Prompt, response: Response) -> Iterable[Message] | None: ...
