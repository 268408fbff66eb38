"""How long a reward may take. One that takes longer is missing, with the reason, and the run goes on."""

from __future__ import annotations

import contextvars
import math
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import BurnishError, SettingsError
from burnish.protocols import Work
from burnish.records import Prompt, Response
from burnish.train.on_policy.rewards.reward import Reward, Rewarder, missing
from burnish.verify.tools.runner import limited

SECONDS = 300.0  # plumbing: of one answer for a checker, of all answers of a call for everybody else
MOST_LATE = 3  # answers to a prompt in a row that a checker may be late for, before it is asked of no other of them
ALL_LATE = 9  # answers in a row, whatever the prompt, before it is asked no more in that call


def held(
    function: Callable[[], Any],
    seconds: float,
    *,
    through: tuple[type[BaseException], ...] = (BurnishError,),
    file: Path | None = None,
) -> tuple[Any, str]:
    """(value, "") of a function of this process, or (None, why): it raised, or took longer.

    It runs in a thread of its own, which is ended at the limit as far as it is Python code; a call into C goes on until
    it returns, and what it gives is lost. The end of the process does not wait for it.

    Args:
        through: what is no fault of the reward, and is raised here; what is no `Exception` but an exit is so too.
        file: whose last line on the way to an error is told.
    """
    context = contextvars.copy_context()  # device and dtype of the run are in it

    def work() -> tuple[Any, BaseException | None]:
        try:
            return context.run(function), None
        except BaseException as error:
            return None, error

    found, late = limited(work, seconds)
    if late:
        return None, f"took more than {seconds:g} s"
    value, error = found
    if error is None:
        return value, ""
    if isinstance(error, through) or not isinstance(error, (Exception, SystemExit)):
        raise error
    return None, f"raised {type(error).__name__}: {error}{_line(error, file)}"


def _line(error: BaseException, file: Path | None) -> str:
    frames = traceback.extract_tb(error.__traceback__)
    met = [frame for frame in frames if file and Path(frame.filename).resolve() == file.resolve()]
    return f" (line {met[-1].lineno}: {met[-1].line})" if met else ""


def check_seconds(seconds: float) -> None:
    """Raises SettingsError: the limit is none."""
    if not (seconds > 0 and math.isfinite(seconds)):
        raise SettingsError(f"reward_seconds is {seconds}; it is how long a reward may take, above 0")


def timed(rewarder: Rewarder, seconds: float) -> Rewarder:
    """The rewarder within this limit: its own way of keeping it (`within`), or `Timed` around it.

    Raises:
        SettingsError: the limit is none.
    """
    check_seconds(seconds)
    own = getattr(rewarder, "within", None)
    return own(seconds) if own is not None else Timed(rewarder=rewarder, seconds=seconds)


@dataclass(frozen=True, kw_only=True)
class Timed:
    """Any rewarder, with a limit for all answers of a call."""

    rewarder: Rewarder
    seconds: float = field(metadata={"runtime": True})

    @property
    def name(self) -> str:
        return self.rewarder.name

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Work | None = None
    ) -> list[Reward]:
        found, why = held(lambda: self.rewarder.rewards(prompts, responses, work=work), self.seconds)
        return missing(f"{self.name} {why}", len(responses)) if why else found
