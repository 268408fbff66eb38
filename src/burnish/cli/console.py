"""What a person sees while a run goes on: a line a finished step, a bar for the one under way. All on stderr."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from burnish.cli.interrupts import check
from burnish.runs.step import Listener

SECONDS = 20.0  # plumbing: between two lines of a step under way, where there is no terminal to draw a bar on


def counted(counts: dict[str, Any]) -> str:
    """`120 in, 96 kept, 20 tie, 4 unscored`: a step's accounting in one line."""
    parts = [f"{counts['taken']} in, {counts['kept']} kept"]
    parts += [f"{number} {reason}" for reason, number in counts["dropped"].items()]
    parts += [f"{number} unscored ({reason})" for reason, number in counts["unscored"].items()]
    return ", ".join(parts)


FRESH = ("steps", "first_reward", "reward", "reference_kl", "answer_tokens", "cut_short")


def summary(metrics: dict[str, Any]) -> str:
    """The few numbers of a step that are worth a line."""
    shown = {k: v for k, v in metrics.items() if isinstance(v, (int, float)) and not isinstance(v, bool)}
    if "first_reward" in shown:  # fresh answers: their loss says nothing, and what is missing must be seen
        lost = [name for name in ("all_rewards_missing", "all_answers_lost") if shown.get(name)]
        names = [name for name in (*FRESH, *lost) if name in shown]
    else:
        names = list(shown)[:4]
    return ", ".join(f"{name} {shown[name]:.4g}" for name in names)


class Console(Listener):
    """Prints to stderr; a bar with time left, or a line every `SECONDS` in a log. Reused steps are a count a round."""

    def __init__(self, quiet: bool = False, verbose: bool = False) -> None:
        from rich.console import Console as Rich

        self.verbose = verbose
        self.reuse: list[str] = []
        self.rich = Rich(stderr=True, quiet=quiet, highlight=False)
        self.bars: dict[str, int] = {}
        self.told: dict[str, float] = {}
        self.noticed: set[str] = set()
        self.live: Any = None
        self.began = time.time()
        self.done = 0

    def _progress(self) -> Any:
        from rich import progress

        if self.live is None:
            self.live = progress.Progress(
                progress.TextColumn("  {task.description}"),
                progress.BarColumn(bar_width=24),
                progress.MofNCompleteColumn(),
                progress.TimeRemainingColumn(compact=True),
                progress.TextColumn("{task.fields[note]}"),
                console=self.rich,
                transient=True,
                disable=not self.rich.is_terminal,
            )
            self.live.start()
        return self.live

    def started(self, name: str, why: str) -> None:
        check()
        self._tell_reuse()
        if why == "interrupted":
            self.rich.print(f"       {name} goes on where it was interrupted", markup=False, soft_wrap=True)
        elif why != "new":
            self.rich.print(f"  [yellow]{name}[/] again: {why}", markup=True)
        self.told[name] = time.time()
        self.bars[name] = self._progress().add_task(name, total=None, note="")

    def progress(self, name: str, done: int, total: int, note: str) -> None:
        if name in self.bars:
            self._progress().update(self.bars[name], completed=done, total=total, note=note)
            if not self.rich.is_terminal and time.time() - self.told[name] >= SECONDS:
                self.told[name] = time.time()
                share = f"{done} of {total}" + (f", {note}" if note else "")
                self.rich.print(f"{time.time() - self.began:6.0f} s  {name}: {share}", markup=False, soft_wrap=True)

    def _end(self, name: str) -> None:
        if name in self.bars:
            self._progress().remove_task(self.bars.pop(name))
        if self.live is not None and not self.bars:
            self.live.stop()
            self.live = None

    def finished(self, name: str, step: dict[str, Any]) -> None:
        self._end(name)
        self._tell_reuse()
        self.done += 1
        said = step.get("skipped") or "; ".join(filter(None, [counted(step["counts"]), summary(step["metrics"])]))
        self.rich.print(
            f"{time.time() - self.began:6.0f} s  {name}: {said} [{step['seconds']:.1f} s]", markup=False, soft_wrap=True
        )
        for notice in step["metrics"].get("notices") or []:
            if notice not in self.noticed:
                self.noticed.add(notice)
                self.rich.print(f"          note: {notice}", markup=False, soft_wrap=True)

    def reused(self, name: str, step: dict[str, Any]) -> None:
        if self.reuse and self.reuse[0].rpartition("/")[0] != name.rpartition("/")[0]:
            self._tell_reuse()
        self.reuse.append(name)
        if self.verbose:
            self._tell_reuse()

    def _tell_reuse(self) -> None:
        if self.reuse:
            place = self.reuse[0].rpartition("/")[0]
            several = f"{place}: {len(self.reuse)} steps" if place else f"{len(self.reuse)} steps"
            told = self.reuse[0] if len(self.reuse) == 1 else several
            self.rich.print(f"       reused  {told}", markup=False, soft_wrap=True)
        self.reuse.clear()

    def close(self) -> None:
        self._tell_reuse()
        if self.live is not None:
            self.live.stop()

    def ended(self) -> None:
        """After the last step: say so when there was nothing left to do."""
        self._tell_reuse()
        if not self.done:
            self.rich.print("everything was there already; nothing was computed", markup=False)


@contextmanager
def bar(name: str) -> Iterator[Callable[[int, int, str], None]]:
    """A bar for one verb by itself, which is gone when the block ends; nothing without a terminal."""
    console = Console()
    console.started(name, "new")
    try:
        yield lambda done, total, note: console.progress(name, done, total, note)
    finally:
        console._end(name)
