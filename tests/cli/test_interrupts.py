"""An interrupt that a library swallows or turns into its own error is still an interrupt: 130, and one message."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import pytest

from burnish import cli
from burnish.cli import interrupts


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    before, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    yield
    signal.signal(signal.SIGINT, before)
    sys.unraisablehook = hook
    interrupts._came.clear()


def struck(then: BaseException | None) -> None:
    """Ctrl-C; then what a library makes of it."""
    try:
        signal.raise_signal(signal.SIGINT)
    except KeyboardInterrupt:
        if then is not None:
            raise then from None


@pytest.mark.parametrize("then", [ModuleNotFoundError("no such thing"), KeyboardInterrupt(), SystemExit(1)])
@pytest.mark.parametrize("verb", ["run", "chat"])
def test_130_whatever_becomes_of_the_interrupt(then, verb, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["burnish", verb, "it is"])
    monkeypatch.setattr(cli, "app", lambda: struck(then))
    with pytest.raises(SystemExit) as stop:
        cli.main()
    said = capsys.readouterr().err
    assert stop.value.code == 130 and "interrupted" in said
    assert ("burnish run 'it is'" in said) == (verb == "run")  # a chat has nothing to go on with


@pytest.mark.parametrize(
    ("words", "goes_on"),
    [
        (["sample", "--model", "http://h/v1#m"], True),
        (["sample", "--model", "folder"], False),  # its draws are kept by no one
        (["judge", "pairs.jsonl", "--judge=http://h/v1#m"], True),
        (["judge", "pairs.jsonl", "--judge", "folder"], False),
        (["verify", "math", "--out=o.jsonl"], True),
    ],
)
def test_the_line_that_resumes(words, goes_on, capsys, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["burnish", *words])
    interrupts.interrupted()
    assert ("Go on with:\n  burnish " in capsys.readouterr().err) == goes_on


def test_an_interrupt_that_was_lost_strikes_before_the_next_step(monkeypatch) -> None:
    from burnish.cli.console import Console

    def app() -> None:
        listener = Console(quiet=True)
        listener.started("one", "new")
        struck(None)
        listener.started("two", "new")
        raise AssertionError("went on")

    monkeypatch.setattr(cli, "app", app)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 130


def test_a_log_without_a_terminal_gets_a_line_now_and_then(monkeypatch, capsys) -> None:
    from burnish.cli import console

    monkeypatch.setattr(console, "SECONDS", 0.0)
    listener = console.Console()
    listener.started("r1/sft", "interrupted")
    listener.progress("r1/sft", 3, 8, "loss 0.5")
    monkeypatch.setattr(console, "SECONDS", 60.0)
    listener.progress("r1/sft", 4, 8, "loss 0.4")
    step = {"counts": {"taken": 8, "kept": 8, "dropped": {}, "unscored": {}}, "seconds": 1.0}
    for name in ("r1/sft", "r2/sft"):
        listener.finished(name, {**step, "metrics": {"notices": ["dropout is off"]}})
    said = capsys.readouterr().err
    assert "r1/sft goes on where it was interrupted" in said
    assert "r1/sft: 3 of 8, loss 0.5" in said and "4 of 8" not in said
    assert said.count("note: dropout is off") == 1


def test_without_an_interrupt_nothing_changes(monkeypatch) -> None:
    before = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(cli, "app", lambda: (_ for _ in ()).throw(ValueError("a bug")))
    with pytest.raises(ValueError, match="a bug"):
        cli.main()
    assert signal.getsignal(signal.SIGINT) is before
