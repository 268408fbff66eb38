"""Rewards by a Python function of the user's, in TRL's form."""

from __future__ import annotations

import importlib.util
import inspect
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError, WorkerError
from burnish.protocols import Work
from burnish.records import Prompt, Response, content_id
from burnish.train.on_policy.rewards.limits import SECONDS, held
from burnish.train.on_policy.rewards.reward import Reward, line_ends, missing, of_steps

COLUMNS = ("reference", "ability", "checker", "route")  # of the prompts
GIVEN = ("prompts", "completions", "completion_ids", *COLUMNS)


@dataclass(frozen=True, kw_only=True)
class FunctionReward:
    """A Python function of the user's, in TRL's form: `f(prompts=, completions=, **columns)` gives a list of numbers.

    `prompts` and `completions` are texts, `completion_ids` lists of token ids, and `reference`, `ability`,
    `checker`, `route` lists of what the prompts hold; so are the other columns of their rows (`Prompt.columns`). A
    function is given those that it has a parameter for. It may be `async`. None is missing. A list in the place of a
    number holds the rewards of an answer's steps, its lines that are not blank. It is trusted code: it runs in this
    process, in a thread.

    Args:
        spec: `file.py:function`; where it is, not what.
        content: of the file and the name, which is what it is; `FunctionReward.of` fills it in.
        seconds: for one call; then all its rewards are missing (see `limits.held`).
    """

    spec: str = field(metadata={"runtime": True})
    content: str
    seconds: float = field(default=SECONDS, metadata={"runtime": True})

    @classmethod
    def of(cls, spec: str, *, seconds: float = SECONDS) -> FunctionReward:
        """
        Raises:
            SettingsError: there is no such file.
        """
        name = spec.rpartition(":")[2]
        return cls(spec=spec, content=content_id([_path(spec).read_text(encoding="utf-8"), name]), seconds=seconds)

    @property
    def name(self) -> str:
        return self.spec.rpartition(":")[2]

    def within(self, seconds: float) -> FunctionReward:
        other = replace(self, seconds=seconds)
        other.__dict__.update(self.__dict__, seconds=seconds)  # a function that is loaded is not loaded again
        return other

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

    @property
    def columns(self) -> set[str] | None:
        """The columns of the data that the function has a parameter for, beside what it is given; None: any."""
        named = _parameters(self.function)
        return None if named is None or None in named.values() else set(named) - {*GIVEN}

    def check(self, prompts: Iterable[Prompt]) -> None:
        """
        Raises:
            SettingsError: the function must be given a column that no prompt has.
        """
        held = {name for prompt in prompts for name in _columns(prompt)}
        wanted = [name for name, must in (_parameters(self.function) or {}).items() if must]
        lacking = [name for name in wanted if name not in held and name not in GIVEN]
        if lacking:
            there = [*GIVEN, *sorted(held)]
            raise SettingsError(
                f"{self.spec} needs {lacking[0]!r}, which is no column of the prompts; it can have {', '.join(there)}"
            )

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
        columns |= {name: [getattr(prompt, name) for prompt in asked] for name in COLUMNS}
        more = [_columns(prompt) for prompt in asked]
        others = sorted({name for row in more for name in row} - {*GIVEN})
        columns |= {name: [row.get(name) for row in more] for name in others}
        function, wanted = self.function, _wanted(self.function, columns)
        given, why = held(lambda: _called(function, wanted), self.seconds, through=(), file=_path(self.spec))
        if why:
            return missing(f"{self.spec} {why}", len(responses))
        values = self._whole(given, len(responses))
        return [self._checked(value, response) for value, response in zip(values, responses, strict=True)]

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


def _called(function: Callable[..., Any], columns: dict[str, Any]) -> Any:
    import asyncio

    found = function(**columns)
    return asyncio.run(found) if inspect.iscoroutine(found) else found


def _parameters(function: Callable[..., Any]) -> dict[str, bool | None] | None:
    """Each parameter: whether it must be given, None for those that take any name. None: it does not tell."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return {p.name: None if p.kind is p.VAR_KEYWORD else p.default is p.empty for p in parameters
            if p.kind is not p.VAR_POSITIONAL}  # fmt: skip


def _wanted(function: Callable[..., Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that the function has a parameter for; all of them where it takes any."""
    named = _parameters(function)
    if named is None or None in named.values():
        return dict(columns)
    return {name: values for name, values in columns.items() if name in named}


def _columns(prompt: Prompt) -> dict[str, Any]:
    return json.loads(prompt.columns) if prompt.columns else {}


def _path(spec: str) -> Path:
    file, _, name = spec.rpartition(":")
    if not file or not name or not Path(file).is_file():
        raise SettingsError(f"--reward {spec}: there is no such file; write it as file.py:function")
    return Path(file)
