"""The microworld's tasks as files that any trainer reads, in the columns of public data."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from burnish.errors import SettingsError
from burnish.microworld.families import FAMILIES
from burnish.microworld.prompting import as_prompt, tasks

KINDS = ("demonstrations", "pairs", "prompts", "heldout")


def file_rows(count: int, *, seed: int, families: Sequence[str] = FAMILIES) -> dict[str, list[dict[str, Any]]]:
    """Rows of four files (`KINDS`), `count` of each, families in turn; no task is in two of them.

    Demonstrations are the careful author's; a pair is his answer and one of a careless author's that differs;
    prompts, and the held-out ones, which no training file of any seed has, name their checker and hold its reference.

    Raises:
        SettingsError: a family is unknown, or has fewer tasks than asked for; a count below 1.
    """
    if count < 1:
        raise SettingsError(f"{count} rows make no file; ask for one or more")
    taken, rng = set[str](), Random(f"burnish/microworld/files/{seed}")
    streams = {
        split: [tasks(split, name, seed=seed, taken=taken) for name in families] for split in ("train", "heldout")
    }
    found: dict[str, list[dict[str, Any]]] = {}
    for kind in KINDS:
        drawn = streams["heldout" if kind == "heldout" else "train"]
        found[kind] = [_row(kind, next(drawn[place % len(drawn)]), rng) for place in range(count)]
    return found


def _row(kind: str, task: Any, rng: Random) -> dict[str, Any]:
    asked = [{"role": message.role, "content": message.content} for message in task.messages]

    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    if kind == "demonstrations":
        return {"prompt": asked, "completion": said(task.answer), "ability": task.family}
    if kind == "pairs":
        worse = [text for text in (task.hasty, task.sloppy) if text != task.answer] or [task.terse]
        return {
            "prompt": asked,
            "chosen": said(task.answer),
            "rejected": said(rng.choice(worse)),
            "ability": task.family,
        }
    prompt = as_prompt(task, "")
    told = {"ability": task.family, "language": task.language, "checker": prompt.checker, "reference": prompt.reference}
    return {"prompt": asked, **told}
