"""What an answer is worth: from a checker, a judge or reward model, a function of one's own, or a weighted sum of such.

A reward that nobody gave is *missing*: it has a reason, it is counted, and it is never 0.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Checker, Judge, Work
from burnish.records import Prompt, Response, content_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Reward:
    """What one answer is worth.

    Args:
        value: None where it is missing.
        why: the reason why it is missing.
        parts: the rewards that it was summed from, by name, before weights; None where one is missing.
    """

    value: float | None
    why: str = ""
    parts: Mapping[str, float | None] = field(default_factory=dict)


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
    """A Python function of the user's, in TRL's form: `f(prompts, completions, **columns)` gives a list of numbers.

    `prompts` and `completions` are texts, `columns` lists of `reference`, `ability`, `checker`; None is missing. It is
    trusted code: it runs in this process, in a thread.

    Args:
        spec: `file.py:function`; where it is, not what.
        content: of the file and the name, which is what it is; `FunctionReward.of` fills it in.
        seconds: for one call; then all its rewards are missing.
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
        columns = {name: [getattr(prompt, name) for prompt in asked] for name in ("reference", "ability", "checker")}
        texts = [prompt.messages[-1].content for prompt in asked]
        pool = ThreadPoolExecutor(1, thread_name_prefix="reward")
        try:
            given = pool.submit(self.function, texts, [r.text for r in responses], **columns).result(self.seconds)
        except Late:
            return [Reward(value=None, why=f"{self.spec} took more than {self.seconds:g} s")] * len(responses)
        except Exception as error:
            return [Reward(value=None, why=f"{self.spec} raised {type(error).__name__}: {error}")] * len(responses)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
        return [self._checked(value) for value in self._whole(given, len(responses))]

    def _whole(self, given: Any, count: int) -> Sequence[Any]:
        if not isinstance(given, Sequence) and not hasattr(given, "tolist"):
            raise WorkerError(f"{self.spec} gave a {type(given).__name__}; it must give a list of {count} numbers")
        values = given.tolist() if hasattr(given, "tolist") else list(given)
        if len(values) != count:
            raise WorkerError(f"{self.spec} gave {len(values)} rewards for {count} answers; it must give one each")
        return values

    def _checked(self, value: Any) -> Reward:
        if value is None:
            return Reward(value=None, why=f"{self.spec} gave none")
        if isinstance(value, str) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise WorkerError(
                f"{self.spec} gave the reward {value!r}; give a finite number, or None where there is none"
            )
        return Reward(value=float(value))


@dataclass(frozen=True, kw_only=True)
class WeightedReward:
    """c_1 r_1 + c_2 r_2 + ... (DeepSeek-V2 §4.2, spec D7); missing where one of them is.

    Args:
        parts: (c, rewarder) each.
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
            why = "; ".join(f"{n}: {one[place].why}" for n, one in zip(names, given, strict=True) if one[place].why)
            if any(value is None for value in parts.values()):
                rows.append(Reward(value=None, why=why or "a part is missing", parts=parts))
                continue
            total = math.fsum(c * one[place] for (c, _), one in zip(self.parts, scaled, strict=True))
            rows.append(Reward(value=total, parts=parts))
        return rows


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
