"""Answers in several turns: a piece that calls tools gets what they put out, and the model goes on from there.

    prompt | piece, drawn | tool message and the next header, read | piece, drawn | ...

What was drawn stays as the ids that were drawn, and is trained; what stands between is neither. A tool that fails says
so to the model. A call that cannot be read, or one more than `Tools.turns` allows, ends the answer as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish.errors import ChatError
from burnish.records import Message, Prompt, Response, Sampling
from burnish.train.on_policy.rollout import Group
from burnish.train.on_policy.rollouts.pieces import Piece, Start, response_of
from burnish.train.on_policy.rollouts.tools import Desk, Tools
from burnish.verify.tools import Call, calls_of, run_calls

_CUT = " [cut]"
_TRIES = 8  # to shorten what a tool put out


@dataclass(slots=True, kw_only=True)
class _Answer:
    """One answer under way.

    Args:
        said: what came so far, of the model and of tools.
        drawn: which ids the model drew.
    """

    prompt: Prompt
    start: Start
    ids: list[int] = field(default_factory=list)
    drawn: list[bool] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    said: tuple[Message, ...] = ()
    finish: str = "stop"
    lost: str = ""
    desk: Desk | None = None

    def add(self, piece: Piece, messages: tuple[Message, ...]) -> None:
        """What the model drew."""
        self.lost, self.finish = piece.lost, piece.finish
        self.ids += piece.ids
        self.drawn += [True] * len(piece.ids)
        self.logprobs += piece.logprobs
        self.said = (*self.said, *messages)

    def read(self, ids: Sequence[int], called: Message, results: Sequence[Message]) -> None:
        """What the tools put out after the last piece."""
        self.ids += ids
        self.drawn += [False] * len(ids)
        self.said = (*self.said[:-1], called, *results)


class ToolSampler:
    """Draws answers that may call tools; the pieces come from a sampler in this process or at a server."""

    def __init__(self, drawer: Any, tools: Tools) -> None:
        """Args:
        drawer: a `LocalDrawer` or `ServerSampler`.
        """
        self.drawer, self.tools = drawer, tools
        self.style, self.room = drawer.style, drawer.room
        self.open: Callable[[], Desk] = tools.opener()

    def follow(self) -> None:
        """As `ServerSampler.follow`, where a server draws."""
        self.drawer.follow()

    def fits(self, prompt: Prompt, new_tokens: int, *, most: int | None = None) -> str:
        """As `rollout.Sampler.fits`, with room for what the tools put out."""
        return self.drawer.fits(prompt, new_tokens + (self.tools.turns - 1) * self.tools.result_tokens, most=most)

    def draw(self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, first: int, number: int) -> list[Group]:
        """As `rollout.Sampler.draw`; `max_new_tokens` is of all that the model draws for an answer."""
        groups = self.drawer.draw(prompts, n=n, sampling=sampling, first=first, number=number)
        answers = [[self._begun(group, response, sampling) for response in group.responses] for group in groups]
        under_way = [answer for some in answers for answer in some]
        try:
            for _ in range(self.tools.turns - 1):
                under_way = [answer for answer in under_way if self._goes_on(answer, sampling)]
                if not under_way:
                    break
                starts = [self._next(answer, sampling) for answer in under_way]
                for answer, piece in zip(under_way, self.drawer.pieces(starts, sampling), strict=True):
                    answer.add(piece, self.drawer.style.messages(piece.ids) if piece.ids else ())
        finally:
            for answer in (one for some in answers for one in some):
                if answer.desk is not None:
                    answer.desk.close()
        return [self._grouped(g, some, sampling, number) for g, some in zip(groups, answers, strict=True)]

    def _begun(self, group: Group, response: Response, sampling: Sampling) -> _Answer:
        start = Start(
            ids=group.ids, place=group.place, prompt=group.prompt.id, index=response.index, offset=0,
            most=sampling.max_new_tokens,
        )  # fmt: skip
        answer = _Answer(prompt=group.prompt, start=start)
        piece = Piece(ids=response.token_ids, logprobs=response.logprobs, finish=response.finish)
        answer.add(piece, response.messages)
        return answer

    def _next(self, answer: _Answer, sampling: Sampling) -> Start:
        """Where the answer goes on."""
        drawn = len(answer.logprobs)
        ids = (*answer.start.ids, *answer.ids)
        return replace(answer.start, ids=ids, offset=drawn, most=sampling.max_new_tokens - drawn)

    def _goes_on(self, answer: _Answer, sampling: Sampling) -> bool:
        """Run what the last piece calls, and add what comes of it; False where the answer has ended."""
        said = answer.said[-1] if answer.said else None
        over = answer.lost or answer.finish != "stop" or len(answer.logprobs) >= sampling.max_new_tokens
        if over or said is None or said.role != "assistant":
            return False
        (parsed,) = calls_of([said], self.tools.syntax)
        if parsed.failures or not parsed.calls:
            return False
        results = self._run(answer, parsed.calls)
        called = replace(said, end="message")
        found = self._between((*answer.prompt.messages, *answer.said[:-1]), called, results)
        if found is None:
            return False
        ids, shown = found
        answer.read(ids, called, shown)
        return True

    def _run(self, answer: _Answer, calls: Sequence[Call]) -> list[str]:
        answer.desk = answer.desk or self.open()
        return [r.content for r in run_calls(calls, answer.desk.registry, seconds=self.tools.seconds)]

    def _between(
        self, context: Sequence[Message], called: Message, results: Sequence[str]
    ) -> tuple[tuple[int, ...], list[Message]] | None:
        """The ids from a call's last drawn token to where the model speaks again, and the tools' messages in them.

        The dialogue is encoded with some answer after it; of what comes out, only these ids are used. None where the
        frame alone is longer than `result_tokens`, or the format has no place for it.
        """
        texts, most = list(results), self.tools.result_tokens
        for _ in range(_TRIES):
            shown = [Message(role="ipython", content=text) for text in texts]
            try:
                ids = _gap(self.drawer.style.chat, context, (called, *shown))
            except ChatError:
                return None
            if len(ids) <= most:
                return ids, shown
            share = 0.8 * most / len(ids)
            texts = [text[: int(share * len(text.removesuffix(_CUT)))].removesuffix(_CUT) + _CUT for text in texts]
        return None

    def _grouped(self, group: Group, answers: Sequence[_Answer], sampling: Sampling, number: int) -> Group:
        how = {"sampling": sampling, "number": number}
        came = [answer for answer in answers if not answer.lost]
        responses = []
        for answer in came:
            piece = Piece(ids=tuple(answer.ids), logprobs=tuple(answer.logprobs), finish=answer.finish)
            responses.append(response_of(self.drawer, answer.prompt, answer.start, piece, messages=answer.said, **how))
        lost = (*group.lost, *(answer.lost for answer in answers if answer.lost))
        drawn = tuple(tuple(answer.drawn) for answer in came)
        return replace(group, responses=tuple(responses), drawn=drawn, lost=lost)


def _gap(chat: Any, context: Sequence[Message], turn: Sequence[Message]) -> tuple[int, ...]:
    """The ids between the first and the last message of a turn: after the one's stop token, before the other's text."""
    encoded = chat.encode(context, (*turn, Message(role="assistant", content="x")))
    said = encoded.trained[encoded.prompt_length :]
    first = said.index(True)
    end = next(place for place in range(first, len(said)) if not said[place])
    last = len(said) - 1 - said[::-1].index(True)
    begin = last
    while begin and said[begin - 1]:
        begin -= 1
    return encoded.ids[encoded.prompt_length + end : encoded.prompt_length + begin]
