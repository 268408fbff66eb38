"""What is wrong with a chat template, found before it costs a training run.

Every check encodes small dialogues and looks at what comes out; none reads the template's text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from tokenizers import Tokenizer

from burnish.chat.codec import Chat
from burnish.chat.formats import Own
from burnish.chat.pieces import CONTENT
from burnish.errors import ChatError
from burnish.records import Message

_SYSTEM = Message(role="system", content="Be brief.")
_USER = Message(role="user", content="One?")
_SAID = Message(role="assistant", content="Two.")
_MORE = Message(role="user", content="Three?")
_CALL = Message(role="assistant", content="add(1, 1)", end="message")
_TOOL = Message(role="ipython", content="2")
_THINK = Message(role="assistant", content="<think>\n1 + 1\n</think>\n\nTwo.")
_BOS_FIX = "begin the template with {{ bos_token }}"
_LAB = "use --chat llama3 or --chat chatml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong: `error` spoils training, `warning` is worth knowing; and how to mend it."""

    severity: Literal["error", "warning"]
    what: str
    fix: str


def _bos(chat: Chat) -> Iterator[Finding]:
    if chat.bos_id is None:
        return
    ids, name = chat.encode((_USER,), (_SAID,)).ids, chat.tokens.source.named["bos_token"]
    leading = next((i for i, number in enumerate(ids) if number != chat.bos_id), len(ids))
    if leading > 1:
        yield Finding(
            severity="error",
            what=f"a dialogue begins with {leading} BOS tokens ({name})",
            fix="write BOS once, in the template",
        )
    if leading == 0 and chat.tokens.source.adds_bos:
        yield Finding(
            severity="error",
            what=f"a dialogue begins without BOS ({name}), which the tokenizer puts before plain text",
            fix=_BOS_FIX,
        )
    elif leading == 0 and chat.bos_id not in chat.stop_ids:
        yield Finding(
            severity="warning",
            what=f"the tokenizer names a BOS ({name}) that neither it nor the template writes",
            fix=f"{_BOS_FIX} if the base model was trained with it",
        )


def _stop(chat: Chat, after_training: bool) -> Iterator[Finding]:
    encoded = chat.encode((_USER,), (_SAID,))
    ends = [i for i, kind, t in zip(encoded.ids, encoded.kinds, encoded.trained, strict=True) if t and kind != CONTENT]
    if not ends or ends[-1] not in chat.stop_ids or ends[-1] not in chat.tokens.special_names:
        yield Finding(
            severity="error" if after_training else "warning",
            what="an assistant's answer ends without a stop token, so that training never teaches the model to stop",
            fix=f"end assistant messages of the template with the eos token, or {_LAB}",
        )


def _prefix(chat: Chat) -> Iterator[Finding]:
    for answer, when in ((_SAID, ""), (_THINK, " with thinking in it")):
        try:
            first = chat.encode((_USER,), (answer,))
            later = chat.encode_prompt((_USER, answer, _MORE))
        except ChatError as error:
            yield Finding(severity="warning" if when else "error", what=str(error), fix=_LAB)
            continue
        kept = max((i + 1 for i, trained in enumerate(first.trained) if trained), default=len(first.ids))
        if later[:kept] != first.ids[:kept]:
            yield Finding(
                severity="warning",
                what=f"the template writes an assistant message{when} in another way once the dialogue goes on",
                fix=f"train on last turns only, which is what rows do, or {_LAB}",
            )


def _markers(chat: Chat) -> Iterator[Finding]:
    names = sorted({chat.tokens.special_names[i] for i in chat.emitted})
    marked = Message(role="user", content=" ".join(names) + " x")
    encoded = chat.encode((marked,), (_SAID,))
    inside = [i for i, kind in zip(encoded.ids, encoded.kinds, strict=True) if kind == CONTENT]
    if any(i in chat.tokens.special_names for i in inside):
        yield Finding(
            severity="error",
            what=f"a marker that a user types ({', '.join(names)}) becomes a structural token",
            fix=f"remove such text from the prompts, or {_LAB}",
        )
    elif isinstance(chat.format, Own) and names:
        text = chat.format.template.render([{"role": "user", "content": marked.content}], generation=True)
        plain = Tokenizer.from_str(json.dumps(chat.tokens.source.spec)).encode(text, add_special_tokens=False).ids
        ours = chat.encode_prompt((marked,))
        if sum(i in chat.emitted for i in plain) > sum(i in chat.emitted for i in ours):
            yield Finding(
                severity="warning",
                what=f"the template does not shield structure from text: a typed {names[0]} is text here, but "
                "structure in programs that tokenise the rendered dialogue in one go",
                fix="remove special tokens from user text where the model is served",
            )


def _pad(chat: Chat) -> Iterator[Finding]:
    fix = "set pad_token in tokenizer_config.json to a token that the template never writes"
    shown = chat.tokens.special_names.get(chat.pad_id, str(chat.pad_id))
    if chat.tokens.named("pad_token") is None:
        yield Finding(
            severity="warning",
            what=f"the tokenizer has no pad token; {shown} stands in for it",
            fix=fix,
        )
    if chat.pad_id in chat.emitted:
        yield Finding(
            severity="warning",
            what=f"the pad token {shown} is one that the template writes, so that a reader who skips padding also "
            "skips structure",
            fix=fix,
        )


def _roles(chat: Chat) -> Iterator[Finding]:
    for what, context, response in (
        ("system messages", (_SYSTEM, _USER), (_SAID,)),
        ("tool calls and their results", (_USER,), (_CALL, _TOOL, _SAID)),
    ):
        try:
            chat.encode(context, response)
        except ChatError as error:
            yield Finding(severity="warning", what=f"the template cannot carry {what}: {error}", fix=_LAB)


def _faithful(chat: Chat) -> Iterator[Finding]:
    spaced = Message(role="assistant", content=" Two. \n")
    encoded = chat.encode((_USER,), (spaced,))
    back = chat.decode(encoded.completion)
    if back != (spaced,) and chat.decode(chat.encode((_USER,), (_SAID,)).completion) == (_SAID,):
        yield Finding(
            severity="warning",
            what="the template trims white space around an answer, so that it is trained without it",
            fix=f"nothing, if answers do not depend on it; else {_LAB}",
        )
    dialogue = (_USER, _SAID, _MORE, _SAID)
    if chat.decode(chat.encode(dialogue[:-1], dialogue[-1:]).ids) != dialogue:
        yield Finding(
            severity="warning",
            what="a whole dialogue cannot be read back from its ids: "
            + (chat.format.structure.whole or "it reads back as another one"),
            fix="decode completions alone, which is what sampling does",
        )
    if isinstance(chat.format, Own) and chat.format.template.asks_date:
        yield Finding(
            severity="warning",
            what="the template can print today's date; a fixed date is used, so that ids are the same every day",
            fix="nothing, or name the date in a system message",
        )


def audit(chat: Chat, *, after_training: bool = False) -> list[Finding]:
    """Everything that is wrong with the chat format of a tokenizer folder, errors first.

    `after_training` makes an answer without a stop token an error (before SFT it is a warning: it can be taught).
    """
    try:
        chat.encode((_USER,), (_SAID,))
    except ChatError as error:
        return [Finding(severity="error", what=f"a question and its answer cannot be encoded: {error}", fix=_LAB)]
    found = [
        *_bos(chat),
        *_stop(chat, after_training),
        *_prefix(chat),
        *_markers(chat),
        *_pad(chat),
        *_roles(chat),
        *_faithful(chat),
    ]
    return sorted(found, key=lambda finding: finding.severity)
