"""Files of prompts with one answer or more, each row kept beside what was read from it: what a judge is given.

columns                                   answers
chosen, rejected                          `chosen`, `rejected` (and `edited`)
prompt, completions: a list               `1`, `2` and so on
any other row with an answer              `answer`
(prompt and completion, messages, conversations, instruction, question and answer)

Rows of `Response`, as `burnish sample` writes them, hold no more than the id of their prompt: `walk_answered` takes the
prompts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any

from burnish.errors import DataError
from burnish.records.conventions import prompt_of, raw_rows
from burnish.records.dialogues import CONVENTIONS, Dialogue, Row, Unfit
from burnish.records.nouns import Demonstration, Message, Preference, Prompt, Response, plain
from burnish.records.table import from_plain

_OWN = {
    "prompt",
    "messages",
    "token_ids",
    "finish",
}  # what tells a row of Response from a dialogue with a prompt column
_DIALOGUES = ("GSM8K", "prompt-completion", "HelpSteer", "messages", "ShareGPT", "Alpaca")


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredRow:
    """A row of a file: its columns as they stand, its prompt, and its answers by name."""

    columns: Row
    prompt: Prompt
    answers: dict[str, Response]


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadRow:
    """A row of a file that is no prompt with an answer.

    Args:
        place: the file and the line or row.
        columns: as they stand; None where the line is no JSON object, and then `text` is all there is.
    """

    place: str
    reason: str
    columns: Row | None
    text: str


def read_answered(path: str | Path) -> list[AnsweredRow]:
    """The rows of a file, in their order and none left out. Ids depend on what a row says, not on where it stands.

    Raises:
        DataError: no such file, no row, or a row without a prompt or an answer, with its line.
    """
    rows = []
    for row in walk_answered(path):
        if isinstance(row, UnreadRow):
            raise DataError(f"{row.place}: {row.reason}")
        rows.append(row)
    return rows


def walk_answered(
    path: str | Path, prompts: Mapping[str, Prompt] = MappingProxyType({})
) -> Iterator[AnsweredRow | UnreadRow]:
    """The rows of a file one by one, those that cannot be read with the reason.

    Args:
        prompts: by id; rows of `Response` (`burnish sample --out`) name their prompt by it.

    Raises:
        DataError: no such file, or no row.
    """
    path, empty = Path(path), True
    try:
        for number, row, text in raw_rows(path):
            empty = False
            columns = None if isinstance(row, str) else row
            try:
                if columns is None:
                    raise Unfit(str(row))
                yield _sampled(columns, prompts) if set(columns) >= _OWN else _answered(columns)
            except (Unfit, DataError) as unfit:
                yield UnreadRow(place=f"{path}:{number}", reason=str(unfit), columns=columns, text=text)
    except (OSError, EOFError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise DataError(f"{path} {reason}; give the path of a .jsonl, .json or .parquet file") from error
    if empty:
        raise DataError(f"{path} is empty; it must hold at least one row")


def _sampled(row: Row, prompts: Mapping[str, Prompt]) -> AnsweredRow:
    """A row of `Response`, with whatever columns beside its own."""
    names = {field.name for field in fields(Response)}
    response = from_plain(Response, {name: value for name, value in row.items() if name in names})
    if response.prompt not in prompts:
        raise Unfit(
            f"the row is a sampled answer to the prompt {response.prompt}, which is not among those given; give the "
            "file of prompts that it was sampled from (--prompts)"
        )
    return AnsweredRow(columns=row, prompt=prompts[response.prompt], answers={"answer": response})


def answered_row(prompt: Prompt, response: Response) -> Row:
    """A prompt and one answer as a row of a file that every reader here takes: TRL's columns prompt and completion.

    What else is known stands beside them: the prompt's checker, reference and the like where it has them, the
    answer's id, model, sampling, token ids and log-probabilities.
    """
    own = {name: value for name, value in plain(response).items() if name not in ("prompt", "messages", "parents")}
    about = {k: value for k, value in plain(prompt).items() if k not in ("id", "messages", "parents") and value}
    texts = {"prompt": _spoken(prompt.messages), "completion": _spoken(response.messages)}
    return {**texts, **about, "prompt_id": prompt.id, **own}


def _spoken(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _answered(row: Row) -> AnsweredRow:
    found, answers = _dialogue(row)
    prompt = prompt_of(found, "")
    made: dict[str, Response] = {}
    for name, messages in answers.items():
        if not messages or messages[-1].role != "assistant":
            raise Unfit(f"{name} does not end in an assistant's answer")
        again = sum(response.messages == messages for response in made.values())  # equal answers are two all the same
        made[name] = Response(
            prompt=prompt.id, messages=messages, model=str(row.get("model") or ""), index=again, parents=(prompt.id,)
        )
    return AnsweredRow(columns=row, prompt=prompt, answers=made)


def _dialogue(row: Row) -> tuple[Dialogue, dict[str, Any]]:
    have = {name for name, value in row.items() if value is not None}
    if {"context", "candidates"} <= have:
        preference = from_plain(Preference, row)
        return Dialogue(context=preference.context, extra=row), {c.role: c.messages for c in preference.candidates}
    if {"context", "response"} <= have:
        shown = from_plain(Demonstration, row)
        return Dialogue(context=shown.context, extra=row), {"answer": shown.response}
    if {"chosen", "rejected"} <= have:
        found = CONVENTIONS["preference"][1](row)
        return found, dict(found.ranked)
    if {"prompt", "completions"} <= have and "labels" not in have:
        if not isinstance(row["completions"], list) or not row["completions"]:
            raise Unfit("completions must be a list of answers")
        each = [CONVENTIONS["prompt-completion"][1]({**row, "completion": said}) for said in row["completions"]]
        return each[0], {str(place): found.response for place, found in enumerate(each, 1)}
    for name in _DIALOGUES:
        needs, read = CONVENTIONS[name]
        if have.issuperset(needs):
            found = read(row)
            return found, dict(found.ranked) or {"answer": found.response}
    raise Unfit(
        f"the columns {', '.join(sorted(row)) or '(none)'} hold no prompt with an answer; rename them to prompt, "
        "chosen, rejected, or prompt, completion(s), or messages"
    )
