"""Columns of a file beside those that the nouns have: what a reward function of the user's is given by name."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import fields, replace
from pathlib import Path

from burnish.records.conventions import raw_rows
from burnish.records.nouns import Prompt

# Of the dialogue itself, or of the prompt: a function has these by other names.
_OWN = {f.name for f in fields(Prompt)} | {"prompt", "prompts", "completion", "completions", "conversations"}


def with_columns(prompts: Sequence[Prompt], path: str | Path, names: Collection[str] | None) -> list[Prompt]:
    """Prompts of a file with these columns of their rows; a prompt that gets any has another id.

    Args:
        names: the columns, where a row of the file has them, None in a row that lacks one; None takes all columns that
            are neither the dialogue nor a prompt's own.
    """
    if names is not None and not names:
        return list(prompts)
    path = Path(path)
    rows = {f"{path.name}:{number}": row for number, row, _ in raw_rows(path) if isinstance(row, dict)}
    there = {name for row in rows.values() for name in row}
    wanted = sorted(there - _OWN if names is None else there & set(names))
    given = []
    for prompt in prompts:
        if wanted and (row := rows.get(prompt.source)) is not None:
            text = json.dumps({name: row.get(name) for name in wanted}, ensure_ascii=False, default=str)
            prompt = replace(prompt, columns=text, id="")
        given.append(prompt)
    return given
