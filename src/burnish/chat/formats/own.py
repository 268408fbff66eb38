"""Any tokenizer's own Jinja template, its structure found by rendering and never by looking for markers.

The dialogue is rendered once with placeholders for contents; what stands between placeholders is structure. It is
divided by rendering the first k messages (the end of message k) and the generation prompt (where an assistant
begins to speak). Then the real dialogue is rendered, and must be this structure with the real contents in it. Where
it is not, because the template looks into contents, each message is located by rendering the real dialogue with two
different contents in its place.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise

from burnish.chat.pieces import Frame
from burnish.chat.reading import Structure
from burnish.chat.template import Template, to_json
from burnish.chat.tokens import Source
from burnish.errors import ChatError
from burnish.records import Message

# Dialogues that show how a template writes each role first and later; those it refuses are left out.
PROBES = (
    ("system", "user", "assistant", "user", "assistant"),
    ("user", "assistant", "user", "assistant"),
    ("system", "user", "assistant", "ipython", "assistant", "user", "assistant"),
    ("user", "assistant", "ipython", "assistant", "user", "assistant"),
)
TRIMS = (lambda c: c, str.strip, str.lstrip, str.rstrip, to_json)  # what templates do to a content
# Two contents that no template trims or looks into, different at both ends so that a comparison finds both.
ONE, OTHER = "qzv{}one", "kxw{}other"


def _common(a: str, b: str) -> int:
    return next((i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))


def _common_end(a: str, b: str, limit: int) -> int:
    return min(_common(a[::-1], b[::-1]), limit)


class Own:
    """The format that a tokenizer folder brings along."""

    name = "own"
    calls_by_successor = True

    def __init__(self, source: Source) -> None:
        self.template = Template(source.template, source.named, str(source.folder))
        self._where = source.folder
        self._added = re.compile("|".join(map(re.escape, source.added)) or "(?!)")
        self._plan = lru_cache(maxsize=4096)(self._plan_uncached)
        self._tool_role = self._find_tool_role()
        probes = self._probes()
        shown = [(role, f) for roles, frames in probes for role, f in zip(roles, frames, strict=True)]
        self.stops = self._first_tokens([f.closing for role, f in shown if role == "assistant"])
        # What opens and ends messages is structure even where the tokenizer does not mark it special; other added
        # tokens (<think>, <tool_call>) are words that a model says in its contents.
        self.control = self._first_tokens([text for _, f in shown for text in (f.header, f.closing)])
        self.structure = self._structure(probes)

    def _first_tokens(self, texts: Sequence[str]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(found.group() for text in texts if (found := self._added.search(text))))

    # ---- rendering -------------------------------------------------------------------------------------------

    def _render(self, messages: Sequence[tuple[str, str]], *, generation: bool = False) -> str:
        named = [{"role": self._tool_role if r == "ipython" else r, "content": c} for r, c in messages]
        return self.template.render(named, generation=generation)

    def _try(self, messages: Sequence[tuple[str, str]], *, generation: bool = False) -> str | None:
        try:
            return self._render(messages, generation=generation)
        except ChatError:
            return None

    def _find_tool_role(self) -> str:
        """The name this template has for a tool's result, empty if it prints none."""
        for name in ("tool", "ipython"):
            self._tool_role = name
            shown = self._try([("user", "q"), ("assistant", "c"), ("ipython", ONE.format(0))])
            if shown is not None and ONE.format(0) in shown:
                return name
        return ""

    def _probes(self) -> list[tuple[tuple[str, ...], list[Frame]]]:
        found = []
        for roles in PROBES:
            try:
                found.append((roles, self._plan(roles, False)[0]))
            except ChatError:
                continue
        return found

    # ---- structure by placeholders ---------------------------------------------------------------------------

    def _plan_uncached(self, roles: tuple[str, ...], generation: bool) -> tuple[list[Frame], str]:
        """Frames of these roles with placeholder contents, and the generation header behind them."""
        if "ipython" in roles and not self._tool_role:
            raise ChatError(
                f"the chat template of {self._where} has no role for a tool's result; "
                "use --chat llama3 or --chat chatml"
            )
        messages = [(role, ONE.format(index)) for index, role in enumerate(roles)]
        full = self._render(messages, generation=generation)
        spans, position = [], 0
        for index, (role, content) in enumerate(messages):
            if (times := full.count(content)) != 1:
                what = "drops" if not times else "prints more than once"
                raise ChatError(
                    f"the chat template of {self._where} {what} message {index + 1} ({role}) of a dialogue of "
                    f"{', '.join(roles)}; leave such messages out, or use --chat llama3 or --chat chatml"
                )
            start = full.index(content)
            if start < position:
                raise ChatError(
                    f"the chat template of {self._where} changes the order of messages; "
                    "use --chat llama3 or --chat chatml"
                )
            spans.append((start, position := start + len(content)))
        return self._divide(messages, full, spans, generation=generation)

    def _divide(
        self, messages: Sequence[tuple[str, str]], full: str, spans: Sequence[tuple[int, int]], *, generation: bool
    ) -> tuple[list[Frame], str]:
        """Share out what stands between contents: closing and trailing, then header and lead of the next message."""
        frames, begin = [], 0
        for index, (role, _) in enumerate(messages):
            start, stop = spans[index]
            last = index + 1 == len(messages)
            until = len(full) if last else spans[index + 1][0]
            speak, prompted = start, True
            if role == "assistant":
                prompt = self._try(messages[:index], generation=True)
                prompted = prompt is not None and full.startswith(prompt) and begin <= len(prompt) <= start
                speak = len(prompt) if prompted and prompt is not None else start
            end = stop + self._shared_end(messages, index, full[stop:until]) if not last or generation else until
            closing = full[stop:end]
            token = self._added.search(closing)
            cut = token.end() if token and role == "assistant" else len(closing)
            frames.append(
                Frame(
                    header=full[begin:speak],
                    lead=full[speak:start],
                    content=full[start:stop],
                    closing=closing[:cut],
                    trailing=closing[cut:],
                    prompted=prompted,
                )
            )
            begin = end
        return frames, full[begin:]

    def _shared_end(self, messages: Sequence[tuple[str, str]], index: int, behind: str) -> int:
        """How much of the text behind a message is its own: what also stands there when it is the last one."""
        mark = ONE.format(index)
        alone = self._try([*messages[:index], (messages[index][0], mark)])
        return _common(alone.split(mark)[1], behind) if alone is not None and alone.count(mark) == 1 else 0

    # ---- real dialogues --------------------------------------------------------------------------------------

    def _fill(self, plan: Sequence[Frame], tail: str, contents: Sequence[str], full: str) -> list[Frame] | None:
        """The plan with real contents, if that is exactly what the template wrote."""
        filled, position = [], 0
        for index, (frame, content) in enumerate(zip(plan, contents, strict=True)):
            after = plan[index + 1].header + plan[index + 1].lead if index + 1 < len(plan) else tail
            position += len(frame.header) + len(frame.lead) if index == 0 else 0
            around = frame.closing + frame.trailing + after
            said = next((t for t in (trim(content) for trim in TRIMS) if full.startswith(t + around, position)), None)
            if said is None or (index == 0 and not full.startswith(frame.header + frame.lead)):
                return None
            position += len(said) + len(around)
            filled.append(
                Frame(
                    header=frame.header,
                    lead=frame.lead,
                    content=said,
                    closing=frame.closing,
                    trailing=frame.trailing,
                    prompted=frame.prompted,
                )
            )
        return filled if position == len(full) else None

    def _locate(self, messages: list[tuple[str, str]], index: int, full: str, *, generation: bool) -> tuple[int, int]:
        """Where the content of one message stands, by rendering the dialogue with two other contents in its place."""
        role, content = messages[index]
        one, other = (
            self._try([*messages[:index], (role, text), *messages[index + 1 :]], generation=generation)
            for text in (ONE.format(0), OTHER.format(0))
        )
        if one is not None and other is not None and one != other:
            start = _common(one, other)
            rest = _common_end(one, other, min(len(one), len(other)) - start)
            fits = start + rest <= len(full) and full[:start] == one[:start]
            if fits and full[len(full) - rest :] == one[len(one) - rest :]:
                return start, len(full) - rest
        if role == "assistant":  # the structure depends on what is said: it begins where the generation prompt ends
            prompt = self._try(messages[:index], generation=True)
            if prompt is not None and full.startswith(prompt):
                for text in (content, content.strip()):
                    if full.startswith(text, len(prompt)):
                        return len(prompt), len(prompt) + len(text)
        raise ChatError(
            f"the chat template of {self._where} rewrites message {index + 1} ({role}), so that its content cannot be "
            "told from structure; change the message, or use --chat llama3 or --chat chatml"
        )

    def _layout(self, messages: Sequence[Message], *, generation: bool) -> tuple[list[Frame], str]:
        plan, tail = self._plan(tuple(m.role for m in messages), generation)
        contents = [(m.role, m.content) for m in messages]
        full = self._render(contents, generation=generation)
        filled = self._fill(plan, tail, [c for _, c in contents], full)
        if filled is not None:
            return filled, tail
        spans = [self._locate(contents, i, full, generation=generation) for i in range(len(contents))]
        if any(a[1] > b[0] for a, b in pairwise(spans)):
            raise ChatError(
                f"the chat template of {self._where} mixes the contents of messages; use --chat llama3 or --chat chatml"
            )
        return self._divide(contents, full, spans, generation=generation)

    def prompt(self, context: Sequence[Message]) -> tuple[list[Frame], str]:
        """Frames of the context, and the generation header."""
        return self._layout(context, generation=True)

    def answer(self, context: Sequence[Message], response: Sequence[Message]) -> list[Frame]:
        """Frames of the response behind its context; `ChatError` if the template changes the prompt behind it."""
        frames = self._layout([*context, *response], generation=False)[0]
        for index, (frame, message) in enumerate(zip(frames, [*context, *response], strict=True)):
            if index < len(context) or message.role != "assistant":
                continue
            if not frame.prompted:
                raise ChatError(
                    f"the chat template of {self._where} does not begin message {index + 1} (assistant) with its "
                    "generation prompt, so that a sampled answer and a trained one would differ; use --chat llama3 "
                    "or --chat chatml"
                )
            if frame.content not in (message.content, *(trim(message.content) for trim in TRIMS[1:4])):
                raise ChatError(
                    f"the chat template of {self._where} rewrites message {index + 1} (assistant), which is to be "
                    "trained; change the message, or use --chat llama3 or --chat chatml"
                )
        return frames[len(context) :]

    # ---- reading back ----------------------------------------------------------------------------------------

    def _structure(self, probes: Sequence[tuple[tuple[str, ...], Sequence[Frame]]]) -> Structure:
        """What a parser needs, gathered from the probe dialogues."""
        openings, leads, closings, whole = {}, {}, {}, ""
        for roles, frames in probes:
            for role, frame in zip(roles, frames, strict=True):
                openings[role, frame.header] = None
                if role == "assistant":
                    openings[role, frame.header + frame.lead] = None
                    leads["", frame.lead] = None
                if self._added.search(frame.closing):
                    closings[role, "turn", frame.closing + frame.trailing] = None
                else:
                    whole = f"a message of role {role} ends without a special token"
        if not probes or any(not self._added.search(header) for _, header in openings):
            whole = whole or "a message begins without a special token"
        return Structure(
            openings=tuple(key for key in openings if self._added.search(key[1])),
            leads=tuple(key for key in leads if key[1]),
            closings=tuple(closings),
            calls_by_successor=True,
            whole=whole,
        )
