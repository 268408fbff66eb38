"""Which tools an answer may call: words such as `calculator`, `python` and `tools.py:lookup`."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from burnish.errors import SettingsError
from burnish.protocols import Executor
from burnish.records import content_id
from burnish.runs import nearest
from burnish.verify.sandbox import find_executor
from burnish.verify.tools import SYNTAXES, Registry
from burnish.verify.tools.builtins import PythonSession, calculator

BUILTIN = ("calculator", "python")


class Desk:
    """The tools of one answer. A Python session is its own, and ends with it."""

    def __init__(self, functions: Sequence[Callable[..., Any]], executor: Executor | None) -> None:
        self.registry = Registry(*functions)
        self.session = PythonSession(executor) if executor is not None else None
        if self.session is not None:
            self.registry.add(self.session.python)

    def close(self) -> None:
        if self.session is not None:
            self.session.close()


@dataclass(frozen=True, kw_only=True)
class Tools:
    """Functions that answers may call, and how far that goes.

    Args:
        words: `calculator`, `python` (a session in the sandbox), or `file.py:function`.
        content: of the files; `Tools.of` fills it in.
        turns: pieces that the model draws for an answer at most: one call less than that.
        result_tokens: of what the tools put out after one piece, the frame of the messages included; more is cut.
        seconds: for one call.
        syntax: of calls (`verify.tools.SYNTAXES`), or `auto`.
    """

    words: tuple[str, ...] = field(metadata={"runtime": True})
    content: str
    turns: int = 4  # ASSUMED
    result_tokens: int = 256  # ASSUMED
    seconds: float = 10.0  # ASSUMED
    syntax: str = "auto"

    @classmethod
    def of(cls, words: Sequence[str], **settings: Any) -> Tools:
        """
        Raises:
            SettingsError: a word that names no tool, or a setting out of range.
        """
        for word in words:
            if word not in BUILTIN and not (".py:" in word and Path(word.rpartition(":")[0]).is_file()):
                raise SettingsError(
                    f"--tool {word} is none of {', '.join(BUILTIN)} and no file.py:function that there is; "
                    f"{nearest(word, BUILTIN)}"
                )
        held = [(word,) if word in BUILTIN else _held(word) for word in words]
        return cls(words=tuple(words), content=content_id(held), **settings)

    def __post_init__(self) -> None:
        if not self.words or self.turns < 2 or self.result_tokens < 1 or not self.seconds > 0:
            raise SettingsError(
                f"tools need at least one word, turns of 2 or more ({self.turns}: a call and what follows it), "
                f"result_tokens of 1 or more ({self.result_tokens}) and seconds above 0 ({self.seconds})"
            )
        if self.syntax != "auto" and self.syntax not in SYNTAXES:
            raise SettingsError(f"the syntax of calls {self.syntax!r} is none of auto, {', '.join(SYNTAXES)}")

    def opener(self) -> Callable[[], Desk]:
        """What makes the tools of one answer.

        Raises:
            SettingsError: a file that cannot be loaded, a function that is no tool, or no sandbox for `python`.
        """
        functions = [calculator if word == "calculator" else _loaded(word) for word in self.words if word != "python"]
        executor = find_executor() if "python" in self.words else None
        Desk(functions, executor).close()  # refuses what is no tool
        return lambda: Desk(functions, executor)


def _held(word: str) -> tuple[str, str]:
    """What a word means, wherever its file is."""
    file, _, name = word.rpartition(":")
    return Path(file).read_text(encoding="utf-8"), name


def _loaded(word: str) -> Callable[..., Any]:
    file, _, name = word.rpartition(":")
    spec = importlib.util.spec_from_file_location(f"burnish_tool_{Path(file).stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(f"{file} cannot be loaded: {type(error).__name__}: {error}") from error
    if not callable(found := getattr(module, name, None)):
        raise SettingsError(f"{file} has no function {name!r}")
    return found
