"""Files of prompts with one answer or more, each row kept beside what was read from it: what a judge is given.

columns, the first that are there              answers
chosen, rejected                               `chosen`, `rejected` (and `edited`)
completions, else completion, else response,   `answer`; of a list of answers `1`, `2` and so on
with prompt, else question, else instruction,
else messages or conversations
messages, conversations, instruction           `answer`
question, answer                               `answer`; for a checker no answer: prompt and reference (`gold`)

Rows of `Response` hold no more than the id of their prompt: `walk_answered` takes the prompts. `read_asked` reads files
of prompts, each row beside what it asks; what is sampled of it is written by `answered_row`, with the row's columns.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from burnish.errors import DataError
from burnish.records.conventions import _build, _content, prompt_of, raw_rows, read_prompts
from burnish.records.dialogues import CONVENTIONS, Dialogue, Row, Unfit, gold_dialogue
from burnish.records.nouns import Demonstration, Message, Preference, Prompt, Response, plain
from burnish.records.table import from_plain

_OWN = {
    "prompt",
    "messages",
    "token_ids",
    "finish",
}  # what tells a row of Response from a dialogue with a prompt column
_OF_PROMPTS = {"prompt", "ability", "checker", "reference", "task", "language", "tags", "difficulty"}
_MEANT = {name for needs, _ in CONVENTIONS.values() for name in needs} | {"context", "candidates"}
_DIALOGUES = ("messages", "ShareGPT", "Alpaca", "GSM8K")
ANSWERS = ("completions", "completion", "response")  # columns of what a model said, the first that is there
_ASKED = ("prompt", "question", "instruction", "messages", "conversations")  # columns of what it was asked


class Unanswered(Unfit):
    """A row without a model's answer."""


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
        unanswered: no column of it holds what a model said.
    """

    place: str
    reason: str
    columns: Row | None
    text: str
    unanswered: bool = False


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
    path: str | Path, prompts: Mapping[str, Prompt] = MappingProxyType({}), *, gold: bool = False
) -> Iterator[AnsweredRow | UnreadRow]:
    """The rows of a file one by one, those that cannot be read with the reason.

    Args:
        prompts: by id; rows of `Response` (`burnish sample --out`) name their prompt by it.
        gold: `answer` beside `question` is the reference, never what a model said.

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
                yield _sampled(columns, prompts) if set(columns) >= _OWN else _answered(columns, gold)
            except (Unfit, DataError) as unfit:
                none = isinstance(unfit, Unanswered)
                yield UnreadRow(
                    place=f"{path}:{number}", reason=str(unfit), columns=columns, text=text, unanswered=none
                )
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


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedRow:
    """A row of a file of prompts: its own columns beyond the prompt, and what it asks.

    Args:
        columns: those that say nothing of the prompt, by their names in the file.
    """

    columns: Row
    prompt: Prompt


def read_asked(path: str | Path) -> list[AskedRow]:
    """Every row of a file of prompts, in its order; rows that ask the same share one prompt, that of the first.

    Raises:
        DataError: see `read_prompts`.
    """
    read = read_prompts(path)
    known = {_content(prompt): prompt for prompt in read.rows}
    own = read.convention == "burnish"
    return [
        AskedRow(
            columns={} if own else {name: value for name, value in row.items() if name not in _OF_PROMPTS},
            prompt=known[_content(_build(Prompt, read.convention, row, ""))],
        )
        for _, row, _ in raw_rows(Path(path))
        if isinstance(row, dict)
    ]


def answered_row(prompt: Prompt, response: Response, columns: Mapping[str, Any] = MappingProxyType({})) -> Row:
    """A prompt and one answer as a row of a file that every reader here takes: TRL's columns prompt and completion.

    What else is known stands beside them: the prompt's checker, reference and the like where it has them, the
    answer's id, model, sampling, token ids and log-probabilities.

    Args:
        columns: of the prompt's row in its file. One with a name that means something here (`id`, or `answer`, which
            would be read as GSM8K's) is written as `file_` and its name.
    """
    own = {name: value for name, value in plain(response).items() if name not in ("prompt", "messages", "parents")}
    about = {k: value for k, value in plain(prompt).items() if k not in ("id", "messages", "parents") and value}
    texts = {"prompt": _spoken(prompt.messages), "completion": _spoken(response.messages)}
    made = {**texts, **about, "prompt_id": prompt.id, **own}
    return {**made, **{f"file_{n}" if n in made or n in _MEANT else n: value for n, value in columns.items()}}


def _spoken(messages: Sequence[Message]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in messages]


def _answered(row: Row, gold: bool = False) -> AnsweredRow:
    found, answers = _dialogue(row, gold)
    prompt = prompt_of(found, "")
    made: dict[str, Response] = {}
    for name, messages in answers.items():
        if not messages:
            raise Unanswered("the row holds no answer of a model; add one as the column response")
        if messages[-1].role != "assistant":
            raise Unfit(f"{name} does not end in an assistant's answer")
        again = sum(response.messages == messages for response in made.values())  # equal answers are two all the same
        made[name] = Response(
            prompt=prompt.id, messages=messages, model=str(row.get("model") or ""), index=again, parents=(prompt.id,)
        )
    return AnsweredRow(columns=row, prompt=prompt, answers=made)


def _dialogue(row: Row, gold: bool = False) -> tuple[Dialogue, dict[str, Any]]:
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
    steps = "completions" in have and "labels" in have  # stepwise supervision: the steps of one answer
    said = next((name for name in ANSWERS if name in have and not (steps and name == "completions")), "")
    if said and not have.isdisjoint(_ASKED):
        return _said(row, said)
    if null := next((name for name in ANSWERS if name in row and name not in have), ""):
        raise Unanswered(f"{null} is null; it must hold the answer of a model")
    for name in _DIALOGUES:
        needs, read = CONVENTIONS[name]
        if have.issuperset(needs) and not (gold and name == "GSM8K"):
            found = read(row)
            return found, dict(found.ranked) or {"answer": found.response}
    if gold and {"question", "answer"} <= have:
        raise Unanswered("question and answer are prompt and reference here; add what the model said as response")
    raise Unanswered(_unread(row, have))


def _unread(row: Row, have: set[str]) -> str:
    """Why a row holds no prompt with an answer: an empty column, a missing one, or names that nobody knows."""
    whole = ({"chosen", "rejected"}, {"prompt", "completion"}, {"prompt", "completions"}, {"prompt", "response"},
             {"question", "answer"}, {"messages"}, {"conversations"})  # fmt: skip
    for needed in whole:
        if needed <= set(row) and (empty := sorted(needed - have)):
            return f"the column {' and '.join(empty)} is empty (null); write it, or delete the row"
    for one, other in (("chosen", "rejected"), ("rejected", "chosen")):
        if one in row:
            return f"there is a column {one} and no column {other}; add {other}, or name a single answer completion"
    if "prompt" in have:
        return (
            f"there is a prompt and no answer (the columns are {', '.join(sorted(row))}); add chosen and rejected, or "
            "response, completion or completions"
        )
    return (
        f"the columns {', '.join(sorted(row)) or '(none)'} hold no prompt with an answer; rename them to prompt, "
        "chosen, rejected, or prompt with response or completion(s), or messages"
    )


def _said(row: Row, name: str) -> tuple[Dialogue, dict[str, Any]]:
    """The dialogue of a row whose column `name` is what a model said: one answer, or a list of them."""
    value, asked = row[name], next(column for column in _ASKED if row.get(column) is not None)
    several = isinstance(value, list) and value and all(isinstance(one, (str, list)) for one in value)
    if name == "completions" and (not isinstance(value, list) or not value):
        raise Unfit("completions must be a list of answers")
    each = list(value) if several or name == "completions" else [value]
    if asked == "question":
        before = gold_dialogue(row)
    elif asked == "prompt":
        before = CONVENTIONS["prompt"][1](row)
    else:
        convention = {"instruction": "Alpaca", "messages": "messages", "conversations": "ShareGPT"}[asked]
        before = CONVENTIONS[convention][1]({**row, "output": None})
    read = CONVENTIONS["prompt-completion"][1]
    texts = [read({"prompt": "", "completion": one}).response for one in each]
    found = replace(before, response=texts[0], ranked=())
    if len(each) == 1 and name != "completions":
        return found, {"answer": texts[0]}
    return found, {str(number): text for number, text in enumerate(texts, 1)}


def passed_over(rows: Sequence[AnsweredRow | UnreadRow]) -> str:
    """Which of several columns of answers are read, where a file has more than one of them; else nothing."""
    for row in rows:
        have = [name for name in ("chosen", *ANSWERS) if (row.columns or {}).get(name) is not None]
        if isinstance(row, AnsweredRow) and len(have) > 1:
            rest = " and ".join(have[1:])
            return f"{have[0]} is taken for the answers, not {rest}; rename the column that you mean to {have[0]}"
    return ""


def with_reference(rows: Sequence[AnsweredRow | UnreadRow], names: Sequence[str], place: str) -> list[Any]:
    """The rows, the prompt's reference taken from these columns: one as it is, several as one JSON object.

    Args:
        place: of the file, for messages.

    Raises:
        DataError: no row has one of the columns, or no line is a JSON object.
    """
    have = list(dict.fromkeys(name for row in rows for name in row.columns or {}))
    if lost := next((name for name in names if name not in have), ""):
        broken = next((row for row in rows if row.columns is None), None)
        if broken is not None and not have:
            raise DataError(f"{broken.place}: {broken.reason}")
        told = f"{place} has no column {lost!r} for --reference; it has {', '.join(have)}"
        raise DataError(told + (f" ({broken.place}: {broken.reason})" if broken is not None else ""))
    made: list[Any] = []
    for row in rows:
        if isinstance(row, AnsweredRow):
            held = [row.columns.get(name) for name in names]
            value = held[0] if len(names) == 1 else dict(zip(names, held, strict=True))
            text = "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            row = replace(row, prompt=replace(row.prompt, reference=text, id=""))
        made.append(row)
    return made
