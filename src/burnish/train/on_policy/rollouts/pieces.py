"""A run of drawn tokens, and the place in an answer that it goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from burnish.llm.local.styles import ChatStyle
from burnish.records import Message, Prompt, Response, Sampling


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """Where tokens are to be drawn.

    Args:
        ids: all that stands before them.
        place: of the prompt among all that were asked since the start; with the prompt's id and `index`, the number of
            the answer, it says which random numbers are used.
        offset: tokens of the answer that were drawn before.
        most: tokens to draw at most.
    """

    ids: tuple[int, ...]
    place: int
    prompt: str
    index: int
    offset: int
    most: int

    @property
    def name(self) -> str:
        """Of the stream of random numbers, as `rollout.Sampler` names it."""
        return f"{self.place}\x1f{self.prompt}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """What was drawn, or why nothing was.

    Args:
        ids, logprobs: the tokens, and their log-probabilities in nats under the unscaled model.
        finish: `stop` or `length`.
        lost: why there is nothing; empty when there is something.
    """

    ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    finish: str = "stop"
    lost: str = ""


class Drawer(Protocol):
    """Draws pieces: in this process or at a server."""

    style: ChatStyle
    name: str
    room: int

    def pieces(self, starts: Sequence[Start], sampling: Sampling) -> list[Piece]: ...


def response_of(
    drawer: Drawer, prompt: Prompt, start: Start, piece: Piece, *, sampling: Sampling, number: int,
    messages: tuple[Message, ...] = (),
) -> Response:  # fmt: skip
    """An answer of round `number`; its messages are read from its ids unless they are given."""
    return Response(
        prompt=prompt.id,
        messages=messages or drawer.style.messages(piece.ids),
        token_ids=piece.ids,
        logprobs=piece.logprobs,
        model=f"{drawer.name}@{number}",
        sampling=sampling,
        index=start.index,
        finish=piece.finish,
        parents=(prompt.id,),
    )
