"""The verbs. One method each; every implementation is a frozen dataclass whose fields are its settings, so that it
can be printed, fingerprinted and rebuilt. This module holds no logic.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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
class Limits:
    """What a program may use. All of them are enforced from outside the program, by kill.

    Args:
        seconds: by the clock, from start to end.
        memory_mib: of the program and all that it starts, tmpfs included.
        processes: at one time, threads included.
        output_kib: of stdout and stderr together.
        disk_mib: of the files that it writes.
    """

    seconds: float = 5.0
    memory_mib: int = 512
    processes: int = 32
    output_kib: int = 256
    disk_mib: int = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What an executed program left.

    Args:
        status: exit status; minus the signal that ended it.
        limit: which limit ended it: `time`, `memory`, `processes`, `output` or `disk`; empty when none did.
        seconds: by the clock.
        files: the files that were asked for and are there, by name.
    """

    status: int
    stdout: str
    stderr: str
    limit: str = ""
    seconds: float = 0.0
    files: Mapping[str, bytes] = field(default_factory=dict)


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
    """Runs foreign code in isolation; each call in a world of its own, which is gone afterwards."""

    def run(self, code: str, *, stdin: str = "", files: Mapping[str, bytes] = {}, limits: Limits = Limits()) -> Ran:
        """A Python program, to its end."""
        ...

    def command(
        self,
        argv: Sequence[str],
        *,
        stdin: str = "",
        files: Mapping[str, bytes] = {},
        keep: Sequence[str] = (),
        limits: Limits = Limits(),
    ) -> Ran:
        """Any command of the machine, in a folder that holds `files`; `keep` names what is brought back."""
        ...

    def start(self, code: str, *, files: Mapping[str, bytes] = {}, limits: Limits = Limits()) -> Conversation:
        """A Python program that goes on living and is asked: it reads `ask()` and writes `answer(text)`."""
        ...


class Conversation(Protocol):
    """A program under way, of `Executor.start`. A limit or an exit ends it; from then on `ask` raises WorkerError."""

    def ask(self, message: str, *, seconds: float = 5.0) -> str: ...

    def interrupt(self) -> None:
        """Ctrl-C: KeyboardInterrupt in the program, which may go on."""
        ...

    def stop(self) -> Ran: ...


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
