"""Files of the ecosystem, read as nouns. Which convention a file follows is seen from its columns, and said.

    convention          columns                                        read as
    burnish             the fields of one of our nouns                 that noun
    GSM8K               question, answer ("... #### 72")               prompt (checker `math`), demonstration
    preference          chosen, rejected, with prompt or conversations preference, prompt
                        or neither: then what both dialogues share
    prompt-completion   prompt, completion                             demonstration, prompt
    messages            messages: [{role, content}]  (OpenAI)          demonstration, prompt
    ShareGPT            conversations: [{from, value}]                 demonstration, prompt
    Alpaca              instruction, with input, output, system,       demonstration, prompt
                        history
    prompt              prompt: text or messages                       prompt

    HelpSteer           prompt, response, and graded attributes        demonstration, prompt
    stepwise            prompt, completions (a list), labels (a list)  demonstration, prompt
    text                text                                           document

A message may say `"train": false` or `"weight": 0` (OpenAI): an assistant's message that is context only.
Any of them may carry ability, language, checker, reference, task, route, difficulty, tags; a preference also strength
(1 to 4, or in words), margin, capability (or category, or RewardBench's subset), edited, annotator, chosen_score and
rejected_score (or score_chosen and score_rejected), and chosen_grades and rejected_grades ({question: reply},
`GRADES`); a demonstration also score, or label (true or false), or attributes ({name: number}). Files end in .jsonl or
.json, plain or gzipped, or in .parquet.
"""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from burnish.errors import DataError
from burnish.records.dialogues import CONVENTIONS, HELPSTEER, Dialogue, Row, Unfit, as_text, document_text, misspelt
from burnish.records.nouns import (
    GRADES,
    STRENGTHS,
    Attribute,
    Candidate,
    Demonstration,
    Document,
    Dropped,
    Preference,
    Prompt,
    content_id,
    dropped,
    plain,
)
from burnish.records.table import from_plain


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadResult:
    """What a file held: the rows, those that were left out with reasons, and the convention it follows."""

    rows: tuple[Any, ...]
    dropped: tuple[Dropped, ...]
    convention: str


def _open(path: Path) -> Iterator[tuple[int, bytes]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rb") as lines:
        yield from enumerate(lines, 1)


def _decode(number: int, line: bytes) -> tuple[int, Row | str, str]:
    """(line number, row or what is wrong, raw text)."""
    raw = line.decode("utf-8", "replace").strip("\ufeff\r\n ")
    try:
        row = json.loads(line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip())
    except UnicodeDecodeError:
        return number, "the line is not UTF-8; save the file as UTF-8", raw
    except (ValueError, RecursionError) as error:
        return number, f"the line is not valid JSON: {_wrong(error)}; mend or delete it", raw
    return _object(number, row, raw)


def _wrong(error: Exception) -> str:
    """What is wrong with JSON, without Python's own count of lines, which is not the file's."""
    if isinstance(error, json.JSONDecodeError):
        ends = error.pos >= len(error.doc.rstrip())
        return "it ends too early" if ends else f"{error.msg.removesuffix(' at')}, at character {error.colno}"
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


def _object(number: int, row: Any, raw: str) -> tuple[int, Row | str, str]:
    if not isinstance(row, dict):
        return number, f"the row is a {type(row).__name__}; it must be a JSON object with named columns", raw
    return number, row, raw


def raw_rows(path: Path) -> Iterator[tuple[int, Row | str, str]]:
    """(line or row number, the row or what is wrong with it, its text) of a file of any convention."""
    name = path.name.lower().removesuffix(".gz")
    if name.endswith((".jsonl", ".ndjson")):
        for number, line in _open(path):
            if line.strip():
                yield _decode(number, line)
    elif name.endswith(".json"):
        try:
            data = json.loads(b"".join(line for _, line in _open(path)).decode("utf-8-sig") or "[]")
        except (ValueError, RecursionError) as error:
            place = f":{error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
            raise DataError(
                f"{path}{place} is not valid JSON: {_wrong(error)}; a .json file holds one list of objects, and a file "
                "with one object a line is named .jsonl"
            ) from error
        for number, row in enumerate(data if isinstance(data, list) else [data], 1):
            yield _object(number, row, json.dumps(row, ensure_ascii=False))
    elif name.endswith(".parquet"):
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            table = pq.read_table(path)
        except pa.ArrowException as error:
            raise DataError(f"{path} cannot be read as Parquet: {error}") from error
        for number, row in enumerate(table.to_pylist(), 1):
            yield number, row, json.dumps(row, ensure_ascii=False, default=str)
    else:
        raise DataError(f"{path} has no known ending; use .jsonl, .jsonl.gz, .json, .json.gz or .parquet")


_HOLDS = {
    Prompt: tuple(CONVENTIONS),
    Demonstration: ("GSM8K", "prompt-completion", "stepwise", "HelpSteer", "messages", "ShareGPT", "Alpaca"),
    Preference: ("preference", "Alpaca"),
    Document: ("text",),
}
_READ_BY = {  # what is named to who gives a file to the wrong method
    Preference: "dpo, ipo, critique-dpo, rpo, reward, reward-soft and reward-anchored",
    Demonstration: "sft, kto, distill, reward-attributes, reward-pointwise and reward-steps",
}
TEXT = ("text",)  # the columns of raw text, which is no dialogue


def _needs(convention: str) -> tuple[str, ...]:
    return TEXT if convention == "text" else CONVENTIONS[convention][0]


def _detect(cls: type, row: Row, path: Path) -> str:
    columns = {name for name, value in row.items() if value is not None}
    for noun in _HOLDS:
        own = {f.name for f in fields(noun)}
        if {"id", "parents"} <= set(row) <= own and len(row) > len(own) // 2:
            if noun is not cls:
                raise DataError(f"{path} holds {noun.__name__} rows, not {cls.__name__} rows; give the other file")
            return "burnish"
    for name in CONVENTIONS if cls is not Document else ("text",):
        if columns.issuperset(_needs(name)) and name in _HOLDS[cls]:
            return name
    has = f"{path} has the columns {', '.join(sorted(row)) or '(none)'}"
    for noun, methods in _READ_BY.items():
        other = next((n for n in CONVENTIONS if noun is not cls and _holds(noun, n, columns)), "")
        if cls in _READ_BY and other:
            raise DataError(
                f"{has} of a {noun.__name__.lower()} file ({other}), which burnish train reads for {methods}; "
                f"give a {cls.__name__.lower()} file, or use one of those methods"
            )
    if cls is Document:
        raise DataError(f"{has}, which are no document file; rename the column that holds the text to text")
    expected = "; ".join(f"{name}: {', '.join(_needs(name))}" for name in _HOLDS[cls])
    raise DataError(f"{has}, which are no {cls.__name__.lower()} file{misspelt(columns, map(_needs, _HOLDS[cls]))}; "
                    f"rename them to one of these sets: {expected}")  # fmt: skip


def _holds(cls: type, convention: str, columns: set[str]) -> bool:
    return convention in _HOLDS[cls] and columns.issuperset(_needs(convention))


def _number(row: Row, name: str) -> float | None:
    value = row.get(name)
    if value is None:
        return None
    # a whole number of hundreds of digits is JSON too, and no float
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= sys.float_info.max:
        raise Unfit(f"{name} must be a finite number, found {value!r:.40}")
    return float(value)


def _score(row: Row, role: str) -> float | None:
    """The score of an answer of a preference: chosen_score or score_chosen."""
    named = [n for n in (f"{role}_score", f"score_{role}") if row.get(n) is not None]
    return _number(row, named[0]) if named else None


def _grades(row: Row, role: str) -> tuple[Attribute, ...]:
    """The column chosen_grades, edited_grades or rejected_grades: replies in words, or as classes 0 to 2."""
    given = row.get(f"{role}_grades") or {}
    if not isinstance(given, dict) or not set(given) <= set(GRADES):
        raise Unfit(f"{role}_grades must be an object with some of {', '.join(GRADES)}; found {given!r:.80}")
    found = []
    for name, value in given.items():
        words = {word: place for place, word in enumerate(GRADES[name])}
        grade = words.get(value.strip().lower().replace("_", " "), value) if isinstance(value, str) else value
        if grade is None:
            continue
        if isinstance(grade, bool) or grade not in (0, 1, 2):
            raise Unfit(f"{name} of {role}_grades must be 0 to 2 or one of {', '.join(words)}; found {value!r:.40}")
        found.append(Attribute(name=name, value=float(grade)))
    return tuple(found)


def _strength(row: Row) -> int | None:
    value = row.get("strength")
    if isinstance(value, str):
        value = {words: level for level, words in STRENGTHS.items()}.get(value.strip().lower(), value)
    if value is not None and (not isinstance(value, (int, float)) or value not in STRENGTHS):
        raise Unfit(f"strength must be 1 to 4 or one of {', '.join(STRENGTHS.values())}; found {value!r}")
    return None if value is None else int(value)


def _label(row: Row) -> float | None:
    """The column score, or label as 1 (true) and 0 (false)."""
    value = row.get("label")
    if row.get("score") is not None or value is None:
        return _number(row, "score")
    if value not in (0, 1):
        raise Unfit(f"label must be true or false, found {value!r}")
    return float(value)


def _attributes(row: Row) -> tuple[Attribute, ...]:
    """The column attributes, else HelpSteer's columns."""
    given = row.get("attributes")
    if given is None:
        rated = row.get("prompt") is not None and row.get("response") is not None
        given = {name: row[name] for name in HELPSTEER if rated and row.get(name) is not None}
    if not isinstance(given, dict):
        raise Unfit(f"attributes must be an object of numbers by name, found {given!r}")
    return tuple(Attribute(name=name, value=_number(given, name)) for name in given if given[name] is not None)


def prompt_of(found: Dialogue, source: str) -> Prompt:
    """The prompt of a dialogue, with the columns beside it.

    Raises:
        Unfit: nothing in it waits for an answer.
    """
    row = found.extra
    if not found.context or found.context[-1].role not in ("user", "ipython"):
        raise Unfit("the dialogue holds no user message that waits for an answer")
    if not found.context[-1].content.strip():
        raise Unfit("the last user message is blank; write it or delete the row")
    named = {
        name: as_text(row[name])
        for name in ("ability", "checker", "reference", "task", "route", "language")
        if row.get(name)
    }
    tags = row.get("tags") or ()
    if not isinstance(tags, (list, tuple)):
        raise Unfit("tags must be a list")
    return Prompt(
        messages=found.context,
        source=source,
        difficulty=_number(row, "difficulty"),
        tags=tuple(str(tag) for tag in tags),
        **named,
    )


def _as_noun(cls: type, found: Dialogue, source: str) -> Any:
    prompt = prompt_of(found, source)
    if cls is Prompt:
        return prompt
    row = found.extra
    if cls is Demonstration:
        if not found.response or found.response[-1].role != "assistant" or not found.response[-1].content.strip():
            raise Unfit("the dialogue does not end in an assistant's answer, or the answer is blank; add it")
        more = {
            "score": _label(row),
            "attributes": _attributes(row),
            "steps": found.steps,
            "difficulty": prompt.difficulty,
            "model": str(row.get("model") or ""),
        }
        return Demonstration(
            prompt=prompt.id,
            context=found.context,
            response=found.response,
            ability=prompt.ability,
            source=source,
            **more,
        )
    if not found.ranked:
        raise Unfit("the row holds no ranked answers; add chosen and rejected")
    return Preference(
        prompt=prompt.id,
        context=found.context,
        candidates=tuple(
            Candidate(role=role, messages=said, score=_score(row, role), grades=_grades(row, role))
            for role, said in found.ranked
        ),
        strength=_strength(row),
        margin=_number(row, "margin"),
        source=source,
        annotator=str(row.get("annotator") or source.rpartition(":")[0]),
        capability=prompt.ability or str(row.get("capability") or row.get("category") or row.get("subset") or ""),
    )


def _build(cls: type, convention: str, row: Row, source: str) -> Any:
    if convention == "burnish":
        try:
            return from_plain(cls, row)
        except (DataError, TypeError, AttributeError, ValueError) as error:
            raise Unfit(str(error)) from error
    needs = _needs(convention)
    missing = [name for name in needs if row.get(name) is None]
    if missing:
        raise Unfit(
            f"the column {missing[0]!r} is missing; found {', '.join(sorted(row)) or '(none)'}, "
            f"expected {', '.join(needs)} ({convention})"
        )
    if cls is Document:
        return Document(text=document_text(row), corpus=source.rpartition(":")[0], source=source)
    return _as_noun(cls, CONVENTIONS[convention][1](row), source)


def _content(noun: Any) -> str:
    """What makes two rows the same, whichever line of whichever file they stand on."""
    place = {
        "Prompt": ("source",),
        "Demonstration": ("source", "prompt"),
        "Preference": ("source", "annotator", "prompt"),
    }
    place["Document"] = ("corpus", "source")
    skip = ("id", "parents", *place[type(noun).__name__])
    return content_id({name: value for name, value in plain(noun).items() if name not in skip})


def _read(cls: type, path: str | Path, on_error: str) -> ReadResult:
    if on_error not in ("raise", "drop"):
        raise ValueError("on_error is 'raise' or 'drop'")
    path, convention, seen = Path(path), "", set()
    if cls is Document and path.suffix.lower() == ".txt" and path.is_file():
        raise DataError(f'{path} is plain text; write it as .jsonl, a line a document: {{"text": "..."}}')
    rows: list[Any] = []
    left: list[Dropped] = []
    try:
        for number, row, raw in raw_rows(path):
            where = f"{path}:{number}"
            try:
                if isinstance(row, str):
                    raise Unfit(row)
                convention = convention or _detect(cls, row, path)
                noun = _build(cls, convention, row, f"{path.name}:{number}")
            except Unfit as unfit:
                if on_error == "raise":
                    raise DataError(f"{where}: {unfit}") from None
                left.append(Dropped(row=raw, noun="line", reason="malformed row", detail=f"{where}: {unfit}"))
                continue
            key = _content(noun)
            if key in seen:
                left.append(dropped(noun, "duplicate", where))
            elif cls is Preference and len({content_id(c.messages) for c in noun.candidates}) < len(noun.candidates):
                left.append(dropped(noun, "equal answers", where))
            else:
                rows.append(noun)
            seen.add(key)
    except (OSError, EOFError) as error:
        reason = "does not exist" if isinstance(error, FileNotFoundError) else f"cannot be read: {error}"
        raise DataError(f"{path} {reason}; give the path of a .jsonl, .json or .parquet file") from error
    if not rows and not left:
        raise DataError(f"{path} is empty; it must hold at least one row")
    if not rows:
        raise DataError(f"{path} holds no usable row; the first one: {left[0].detail}")
    return ReadResult(rows=tuple(rows), dropped=tuple(left), convention=convention)


def read_prompts(path: str | Path, *, on_error: str = "raise") -> ReadResult:
    """Prompts of a file in any convention; an answer in the file is left aside, GSM8K's final one is the reference.

    Args:
        on_error: `raise` at the first row that does not fit, or `drop` it with its reason.

    Raises:
        DataError: naming file and line, what is wrong and the fix; also for a file that holds no usable row.
    """
    return _read(Prompt, path, on_error)


def read_demonstrations(path: str | Path, *, on_error: str = "raise") -> ReadResult:
    """Dialogues with the answer to imitate: context is all up to the last user message, the response what follows."""
    return _read(Demonstration, path, on_error)


def read_preferences(path: str | Path, *, on_error: str = "raise") -> ReadResult:
    """Ranked answers; a row whose answers are equal is dropped and counted."""
    return _read(Preference, path, on_error)


def read_documents(path: str | Path, *, on_error: str = "raise") -> ReadResult:
    """Raw texts: the column text. A text that stands twice in the file is dropped and counted."""
    return _read(Document, path, on_error)
