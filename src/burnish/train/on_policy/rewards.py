"""What an answer is worth: from a checker, a judge or reward model, a function of one's own, or a weighted sum of such.

A reward that nobody gave is *missing*: it has a reason, it is counted, and it is never 0.
"""

from __future__ import annotations

import importlib.util
import inspect
import math
import queue
import statistics
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Checker, Judge, Work
from burnish.records import Prompt, Response, Step, content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What one answer is worth.

    Args:
        value: None where it is missing.
        why: the reason why it is missing.
        parts: the rewards that it was summed from, by name, before weights; None where one is missing.
        steps: the rewards of its reasoning steps, by the characters of its text that they end on; all or none.
    """

    value: float | None
    why: str = ""
    parts: Mapping[str, float | None] = field(default_factory=dict)
    steps: tuple[Step, ...] = ()


NO_STEP = "the answer has no step"


def line_ends(text: str) -> list[int]:
    """Where an answer's steps end, in characters: its lines that are not blank, without the space after them."""
    ends, place = [], 0
    for line in text.split("\n"):
        if line.strip():
            ends.append(place + len(line.rstrip()))
        place += len(line) + 1
    return ends


def of_steps(values: Sequence[float | None], text: str) -> Reward:
    """The reward of an answer from those of its steps: their mean (ASSUMED; process advantages read the steps alone).

    Args:
        values: one a step of `line_ends`; where one is missing, so is the reward.
    """
    if not values:
        return Reward(value=None, why=NO_STEP)
    if any(value is None for value in values):
        number = [value is None for value in values].index(True) + 1
        return Reward(value=None, why=f"step {number} of the answer has no reward")
    steps = tuple(Step(end=end, label=value) for end, value in zip(line_ends(text), values, strict=True))
    return Reward(value=statistics.fmean(v for v in values if v is not None), steps=steps)


class Rewarder(Protocol):
    """Gives each answer its reward. `name` stands in metrics."""

    name: str

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        """One a response; `prompts` by id."""
        ...


@dataclass(frozen=True, kw_only=True)
class CheckerReward:
    """1 for an answer that its checker finds right, 0 for a wrong one; missing where it cannot tell.

    Args:
        checkers: by name; each prompt names its own.
        default: the name for prompts that name none.
    """

    checkers: Mapping[str, Checker]
    default: str = ""
    name: str = "checker"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        return [self._one(prompts[response.prompt], response) for response in responses]

    def _one(self, prompt: Prompt, response: Response) -> Reward:
        name = prompt.checker or self.default
        if name not in self.checkers:
            return Reward(value=None, why=f"there is no checker {name!r}" if name else "the prompt names no checker")
        verdict = self.checkers[name].check(prompt, response)
        if verdict.correct is None:
            return Reward(value=None, why=verdict.reason or "unscored")
        return Reward(value=float(verdict.correct))


@dataclass(frozen=True, kw_only=True)
class JudgeReward:
    """The score of a judge or of a reward model; missing where it is unscored."""

    judge: Judge
    name: str = "judge"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        judged = self.judge.judge(list(prompts.values()), responses, work=work)
        return [Reward(value=one.score, why=one.unscored if one.score is None else "") for one in judged]


@dataclass(frozen=True, kw_only=True)
class FunctionReward:
    """A Python function of the user's, in TRL's form: `f(prompts=, completions=, **columns)` gives a list of numbers.

    `prompts` and `completions` are texts, `completion_ids` lists of token ids, and `reference`, `ability`, `checker`
    lists of what the prompts hold; a function is given those that it has a parameter for. None is missing. A list in
    the place of a number holds the rewards of an answer's steps, its lines that are not blank. It is trusted code: it
    runs in this process, in a thread.

    Args:
        spec: `file.py:function`; where it is, not what.
        content: of the file and the name, which is what it is; `FunctionReward.of` fills it in.
        seconds: for one call; then all its rewards are missing. A thread cannot be ended: a function that hangs goes
            on hanging in it, and keeps nobody from leaving.
    """

    spec: str = field(metadata={"runtime": True})
    content: str
    seconds: float = field(default=60.0, metadata={"runtime": True})

    @classmethod
    def of(cls, spec: str, *, seconds: float = 60.0) -> FunctionReward:
        """
        Raises:
            SettingsError: there is no such file.
        """
        name = spec.rpartition(":")[2]
        return cls(spec=spec, content=content_id([_path(spec).read_text(encoding="utf-8"), name]), seconds=seconds)

    @property
    def name(self) -> str:
        return self.spec.rpartition(":")[2]

    @cached_property
    def function(self) -> Callable[..., Sequence[float | None]]:
        """The function, loaded on first use.

        Raises:
            SettingsError: no such file or function, or its file raises.
        """
        path = _path(self.spec)
        module_spec = importlib.util.spec_from_file_location(f"burnish_reward_{path.stem}", path)
        if module_spec is None or module_spec.loader is None:
            raise SettingsError(f"{path} is no Python file; write --reward file.py:function")
        module = importlib.util.module_from_spec(module_spec)
        try:
            module_spec.loader.exec_module(module)
        except Exception as error:
            raise SettingsError(f"{path} cannot be loaded: {type(error).__name__}: {error}") from error
        found = getattr(module, self.name, None)
        if not callable(found):
            raise SettingsError(f"{path} has no function {self.name!r}")
        return found

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        """
        Raises:
            WorkerError: the function gives another number of rewards than there are answers, or something else than
                finite numbers and None.
        """
        asked = [prompts[response.prompt] for response in responses]
        columns: dict[str, list[Any]] = {
            "prompts": [prompt.messages[-1].content for prompt in asked],
            "completions": [response.text for response in responses],
            "completion_ids": [list(response.token_ids) for response in responses],
        }
        columns |= {name: [getattr(prompt, name) for prompt in asked] for name in ("reference", "ability", "checker")}
        given, why = self._call(_wanted(self.function, columns))
        if why:
            return [Reward(value=None, why=why)] * len(responses)
        values = self._whole(given, len(responses))
        return [self._checked(value, response) for value, response in zip(values, responses, strict=True)]

    def _call(self, columns: Mapping[str, Any]) -> tuple[Any, str]:
        """What the function gives, or why it gives nothing."""
        function, box = self.function, queue.SimpleQueue()

        def work() -> None:
            try:
                box.put((function(**columns), ""))
            except BaseException as error:  # whatever it raises, exit() too, is no reward
                box.put((None, f"{self.spec} raised {type(error).__name__}: {error}"))

        # A daemon: the end of the process does not wait for a function that hangs, as a pool's threads would.
        threading.Thread(target=work, name="reward", daemon=True).start()
        try:
            return box.get(timeout=self.seconds)
        except queue.Empty:
            return None, f"{self.spec} took more than {self.seconds:g} s"

    def _whole(self, given: Any, count: int) -> Sequence[Any]:
        if not isinstance(given, Sequence) and not hasattr(given, "tolist"):
            raise WorkerError(f"{self.spec} gave a {type(given).__name__}; it must give a list of {count} numbers")
        values = given.tolist() if hasattr(given, "tolist") else list(given)
        if len(values) != count:
            raise WorkerError(f"{self.spec} gave {len(values)} rewards for {count} answers; it must give one each")
        return values

    def _checked(self, value: Any, response: Response) -> Reward:
        if isinstance(value, (list, tuple)):  # of the answer's steps
            if len(value) != (lines := len(line_ends(response.text))):
                raise WorkerError(
                    f"{self.spec} gave {len(value)} rewards of steps to answer {response.index + 1} of prompt "
                    f"{response.prompt}, which has {lines} lines that are not blank; give one each"
                )
            return of_steps([self._checked(one, response).value for one in value], response.text)
        value = value.item() if hasattr(value, "item") else value  # NumPy's and torch's numbers
        if value is None:
            return Reward(value=None, why=f"{self.spec} gave none")
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            raise WorkerError(
                f"{self.spec} gave the reward {value!r} to answer {response.index + 1} of prompt {response.prompt}; "
                "give a finite number, or None where there is none"
            )
        return Reward(value=float(value))


@dataclass(frozen=True, kw_only=True)
class WeightedReward:
    """c_1 r_1 + c_2 r_2 + ... (DeepSeek-V2 §4.2, spec D7); missing where one of them is.

    Args:
        parts: (c, rewarder) each; one of weight 0 is told and not counted, nor is it missed.
        standardise: each r has mean 0 and standard deviation 1 over the answers of a call before it is weighted
            (ASSUMED; the coefficients are not published).
    """

    parts: tuple[tuple[float, Rewarder], ...]
    standardise: bool = False
    name: str = "reward"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        names = distinct([part.name for _, part in self.parts])
        given = [part.rewards(prompts, responses, work=work) for _, part in self.parts]
        scaled = [standardised(one) if self.standardise else [r.value for r in one] for one in given]
        rows = []
        for place in range(len(responses)):
            parts = {name: one[place].value for name, one in zip(names, given, strict=True)}
            gone = [n for n, (c, _) in zip(names, self.parts, strict=True) if c and parts[n] is None]
            if gone:
                whys = {name: one[place].why or "unscored" for name, one in zip(names, given, strict=True)}
                rows.append(Reward(value=None, why="; ".join(f"{n}: {whys[n]}" for n in gone), parts=parts))
                continue
            total = math.fsum(c * one[place] for (c, _), one in zip(self.parts, scaled, strict=True) if c)
            rows.append(Reward(value=total, parts=parts))
        return rows


def _wanted(function: Callable[..., Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the function has a parameter for; all of them where it takes any."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return dict(columns)
    if any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters):
        return dict(columns)
    names = {parameter.name for parameter in parameters}
    return {name: values for name, values in columns.items() if name in names}


def standardised(rewards: Sequence[Reward]) -> list[float | None]:
    """Values with mean 0 and standard deviation 1 over those that are there; all 0 where they are equal."""
    values = [reward.value for reward in rewards if reward.value is not None]
    mean = statistics.fmean(values) if values else 0.0
    spread = statistics.pstdev(values) if len(values) > 1 else 0.0
    return [None if r.value is None else (r.value - mean) / spread if spread else 0.0 for r in rewards]


def distinct(names: Sequence[str]) -> list[str]:
    """The names, with a number where one comes again."""
    seen: dict[str, int] = {}
    told = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        told.append(name if seen[name] == 1 else f"{name}_{seen[name]}")
    return told


def _path(spec: str) -> Path:
    file, _, name = spec.rpartition(":")
    if not file or not name or not Path(file).is_file():
        raise SettingsError(f"--reward {spec}: there is no such file; write it as file.py:function")
    return Path(file)
