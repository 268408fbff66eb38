"""One row of any convention of the ecosystem as one shape: a context, its answer, or its ranked answers.

Used by `conventions`, which reads the files and makes nouns. A convention is a set of columns and a function of a row.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any

from burnish.records.nouns import Message, Step

Row = dict[str, Any]
# Names of speakers in the wild -> ours. `ipython` is whatever a tool printed.
ROLE = {
    **dict.fromkeys(("system", "developer"), "system"),
    **dict.fromkeys(("user", "human"), "user"),
    **dict.fromkeys(("assistant", "gpt", "chatgpt", "model", "bing", "function_call"), "assistant"),
    **dict.fromkeys(("tool", "function", "ipython", "observation", "function_response"), "ipython"),
}


_HALF = re.compile("[\ud800-\udfff]")


class Unfit(Exception):
    """One row is not what its convention asks for; the message says what is wrong and the fix."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue:
    """Any convention's row in one shape: turns that wait for an answer, the answer (and its labelled steps, if it has
    such), the ranked answers (best first)."""

    context: tuple[Message, ...]
    response: tuple[Message, ...] = ()
    steps: tuple[Step, ...] = ()
    ranked: tuple[tuple[str, tuple[Message, ...]], ...] = ()
    extra: Row = field(default_factory=dict)


def _text(value: Any, what: str) -> str:
    if isinstance(value, list) and value and all(isinstance(p, dict) and p.get("type") == "text" for p in value):
        value = "".join(str(part.get("text", "")) for part in value)
    if not isinstance(value, str):
        raise Unfit(f"{what} is a {type(value).__name__}; it must be text")
    if _HALF.search(value):
        raise Unfit(f"{what} holds half of a surrogate pair, which is no text; mend the row")
    return value


def as_text(value: Any) -> str:
    """A column as text: what is a list or an object there (a checker's reference) as JSON."""
    return json.dumps(value, ensure_ascii=False) if isinstance(value, (list, dict)) else str(value)


def _message(item: Any) -> Message:
    if not isinstance(item, dict):
        raise Unfit(f"a message is a {type(item).__name__}; it must be an object with role and content")
    said, value = item.get("role", item.get("from")), item.get("content", item.get("value"))
    role = ROLE.get(str(said).lower())
    if role is None:
        raise Unfit(f"unknown role {said!r}; known are {', '.join(ROLE)}")
    train = _switch(item, role)
    if not value and item.get("tool_calls"):
        content = json.dumps(item["tool_calls"], ensure_ascii=False)
        return Message(role=role, content=content, end="message", train=train)
    end = "message" if said == "function_call" or item.get("end") == "message" else "turn"
    return Message(role=role, content=_text(value, f"the content of a {said} message"), end=end, train=train)


def _switch(item: Row, role: str) -> bool:
    """Whether a message may be trained: its `train` (true, false), or `weight` (1, 0) as OpenAI's files have it."""
    given = {name: item[name] for name in ("train", "weight") if item.get(name) is not None}
    for name, value in given.items():
        if value not in (0, 1) or not isinstance(value, (bool, int, float)):
            expected = "true or false" if name == "train" else "0 or 1"
            raise Unfit(f"{name} of a message must be {expected}, found {value!r}")
        if role != "assistant" and value:
            raise Unfit(f"a {role} message says {name}: {value!r}; only assistant messages are trained, so delete it")
    if len({bool(value) for value in given.values()}) > 1:
        raise Unfit("a message says train and weight, and they differ; delete one of them")
    return role != "assistant" or all(given.values())


def _messages(value: Any, role: str) -> tuple[Message, ...]:
    """A dialogue from a list of messages, one message, or the text of one message by `role`."""
    if isinstance(value, dict):
        return (_message(value),)
    if not isinstance(value, list) or (value and isinstance(value[0], dict) and value[0].get("type") == "text"):
        return (Message(role=role, content=_text(value, f"the {role}'s text")),)
    if any(isinstance(item, str) for item in value):
        raise Unfit(f"the {role}'s text is a list of texts; give one text, or messages with role and content")
    found = [_message(item) for item in value]
    for index in range(len(found) - 1):
        # A call waits for its result within the turn, whether or not the file says so.
        if found[index].role == "assistant" and found[index + 1].role == "ipython":
            found[index] = replace(found[index], end="message")
    return tuple(found)


def _split(dialogue: tuple[Message, ...]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """Context and final answer: the answer is all that follows the last user message."""
    cut = max((i for i, message in enumerate(dialogue) if message.role == "user"), default=-1) + 1
    return dialogue[:cut], dialogue[cut:]


def _final(answer: str) -> tuple[str, str]:
    """(what stands after ####, or all; the number that it is, or nothing)."""
    marked = answer.rpartition("####")[2].strip() if "####" in answer else answer.strip()
    number = marked.replace(",", "").lstrip("$")
    return marked, number if re.fullmatch(r"[-+]?\d*\.?\d+(?:/\d+)?%?", number) else ""


def gold_dialogue(row: Row) -> Dialogue:
    """The prompt of a row with a question; its column answer is the reference, unless it has one."""
    asked, more = (Message(role="user", content=_text(row["question"], "the column question")),), {}
    if row.get("answer") is not None:
        marked, number = _final(as_text(row["answer"]))
        more = {"checker": "math", "reference": number} if number else {"reference": marked}
    given = {name: value for name, value in row.items() if value is not None}
    return Dialogue(context=asked, extra={**row, **more, **given})


def _gsm8k(row: Row) -> Dialogue:
    answer = _text(row["answer"], "the column answer")
    marked, reference = _final(answer)
    if not reference:
        raise Unfit(f"the answer ends in no '#### N' (found {marked[-30:]!r}); add the final number")
    question = Message(role="user", content=_text(row["question"], "the column question"))
    response = (Message(role="assistant", content=answer),)
    return Dialogue(context=(question,), response=response, extra={"checker": "math", "reference": reference, **row})


def _hh(text: str) -> tuple[Message, ...]:
    """Anthropic's hh-rlhf form: turns opened by "Human:" and "Assistant:" on lines of their own."""
    parts = re.split(r"(?:\A|\n\n)(Human|Assistant): ?", text)
    if len(parts) < 3 or parts[0].strip():
        raise Unfit("there is no prompt column, and chosen is no dialogue; add a column prompt")
    names = {"Human": "user", "Assistant": "assistant"}
    pairs = zip(parts[1::2], parts[2::2], strict=True)
    return tuple(Message(role=names[who], content=said.strip()) for who, said in pairs)


def _shared(one: tuple[Message, ...], two: tuple[Message, ...]) -> int:
    """Length of the dialogue that two answers share, cut before the answer itself."""
    same = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), min(len(one), len(two)))
    return max((i + 1 for i in range(same) if one[i].role in ("user", "ipython")), default=0)


def _preference(row: Row) -> Dialogue:
    before = next((row[name] for name in ("prompt", "conversations", "messages") if row.get(name) is not None), None)
    names = [name for name in ("edited", "chosen", "rejected") if row.get(name) is not None]
    if before is None and isinstance(row["chosen"], str):
        answers = [_hh(_text(row[name], name)) for name in names]
    else:
        answers = [_messages(row[name], "assistant") for name in names]
    context = () if before is None else _messages(before, "user")
    if before is None:
        cut = min(_shared(answers[0], other) for other in answers[1:])
        context, answers = answers[0][:cut], [answer[cut:] for answer in answers]
    elif all(len(answer) > len(context) and answer[: len(context)] == context for answer in answers):
        answers = [answer[len(context) :] for answer in answers]
    if not all(answer and answer[-1].role == "assistant" for answer in answers):
        raise Unfit("chosen and rejected must end in an assistant's message")
    return Dialogue(context=context, ranked=tuple(zip(names, answers, strict=True)), extra=row)


def _alpaca(row: Row) -> Dialogue:
    turns = [Message(role="system", content=_text(row["system"], "the column system"))] if row.get("system") else []
    history = row.get("history") or []
    if not isinstance(history, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in history):
        raise Unfit("history must be a list of [question, answer] pairs")
    for pair in history:
        turns += [Message(role="user", content=_text(pair[0], "history"))]
        turns += [Message(role="assistant", content=_text(pair[1], "history"))]
    asked = [_text(row[name], f"the column {name}") for name in ("instruction", "input") if row.get(name)]
    context = (*turns, Message(role="user", content="\n".join(asked)))
    output = row.get("output")
    if isinstance(output, list):
        if len(output) != 2:
            raise Unfit(f"output is a list of {len(output)}; it must be one text, or [better, worse]")
        # The form of pairwise Alpaca files: output = [better, worse].
        pair = tuple(_messages(answer, "assistant") for answer in output)
        return Dialogue(context=context, ranked=(("chosen", pair[0]), ("rejected", pair[1])), extra=row)
    return Dialogue(context=context, response=_messages(output, "assistant") if output else (), extra=row)


def _turns(column: str) -> Callable[[Row], Dialogue]:
    def read(row: Row) -> Dialogue:
        dialogue = _messages(row[column], "user")
        if row.get("system"):
            dialogue = (Message(role="system", content=_text(row["system"], "the column system")), *dialogue)
        context, response = _split(dialogue)
        return Dialogue(context=context, response=response, extra=row)

    return read


def _completion(row: Row) -> Dialogue:
    context, response = _messages(row["prompt"], "user"), _messages(row["completion"], "assistant")
    return Dialogue(context=context, response=response, extra=row)


def _stepwise(row: Row) -> Dialogue:
    """TRL's stepwise supervision: the steps of one answer, a line each, and what each is worth."""
    texts, labels = row["completions"], row["labels"]
    if not isinstance(texts, list) or not isinstance(labels, list) or not texts or len(texts) != len(labels):
        raise Unfit("completions and labels must be lists of one length, a step and its label each")
    steps: list[Step] = []
    said = ""
    for place, (given, label) in enumerate(zip(texts, labels, strict=True), 1):
        text = _text(given, f"step {place}").strip()
        if not text:
            raise Unfit(f"step {place} is blank; write it, or delete it and its label")
        if label is not None and (not isinstance(label, (bool, int, float)) or not 0 <= label <= 1):
            raise Unfit(f"the label of step {place} must be true, false or from 0 to 1; found {label!r:.40}")
        said += text if not said else "\n" + text
        steps.append(Step(end=len(said), label=None if label is None else float(label)))
    answer = (Message(role="assistant", content=said),)
    return Dialogue(context=_messages(row["prompt"], "user"), response=answer, steps=tuple(steps), extra=row)


def _rated(row: Row) -> Dialogue:
    context, response = _messages(row["prompt"], "user"), _messages(row["response"], "assistant")
    return Dialogue(context=context, response=response, extra=row)


def misspelt(columns: Iterable[str], sets: Iterable[Sequence[str]]) -> str:
    """` (did you mean completion by completions?)`, where renaming near names would make up one of the sets."""
    columns = sorted(columns)
    for needed in sets:
        near = {name: get_close_matches(name, columns, n=1, cutoff=0.75) for name in needed if name not in columns}
        if near and all(near.values()):
            said = ", ".join(f"{name} by {found[0]}" for name, found in near.items())
            return f" (did you mean {said}?)"
    return ""


def document_text(row: Row) -> str:
    """The text of a row of raw text."""
    text = _text(row["text"], "the column text")
    if not text.strip():
        raise Unfit("the text is blank; delete the row")
    return text


def _prompt(row: Row) -> Dialogue:
    return Dialogue(context=_messages(row["prompt"], "user"), extra=row)


# The attributes of HelpSteer2 (arXiv:2406.08673), which are columns of their own.
HELPSTEER = ("helpfulness", "correctness", "coherence", "complexity", "verbosity")

# In the order of detection: the first whose columns are all there.
CONVENTIONS: dict[str, tuple[tuple[str, ...], Callable[[Row], Dialogue]]] = {
    "GSM8K": (("question", "answer"), _gsm8k),
    "preference": (("chosen", "rejected"), _preference),
    "prompt-completion": (("prompt", "completion"), _completion),
    "stepwise": (("prompt", "completions", "labels"), _stepwise),
    "HelpSteer": (("prompt", "response"), _rated),
    "messages": (("messages",), _turns("messages")),
    "ShareGPT": (("conversations",), _turns("conversations")),
    "Alpaca": (("instruction",), _alpaca),
    "prompt": (("prompt",), _prompt),
}
