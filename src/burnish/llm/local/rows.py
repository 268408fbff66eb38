"""The decode loop: a token for each living row, until all have ended."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch

from burnish.llm.local.draw import Room, draw


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How rows are drawn and when they end.

    Args:
        stop_ids: tokens that end a row; they are kept in it.
        watched: tokens after which `ended` is asked, which must be a superset of those that can complete a stop text.
        ended: tells whether the ids drawn so far end the row.
        lengths: tokens that each row may draw, from 1 to `max_new_tokens`; None lets all draw so many.
    """

    max_new_tokens: int
    temperature: float
    top_p: float = 1.0
    stop_ids: tuple[int, ...] = ()
    watched: frozenset[int] = frozenset()
    ended: Callable[[Sequence[int]], bool] | None = None
    lengths: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """What came of a batch, one entry per row (prompt by prompt, its samples in order)."""

    token_ids: list[list[int]]
    logprobs: list[list[float]]
    finish: list[str]


class Path(Protocol):
    """One way to step a model."""

    def start(self, prompts: Sequence[Sequence[int]], samples: int, budget: int) -> torch.Tensor:
        """Read the prompts; answers logits after each prompt's last token, [P, V]."""

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        """Append one token to each row, [R]; answers the next logits, [R, V]."""

    def keep(self, alive: torch.Tensor) -> None:
        """Let rows go; `alive` is a mask over the present rows, [R]."""


def draw_rows(
    path: Path, prompts: Sequence[Sequence[int]], samples: int, uniforms: np.ndarray, limits: Limits
) -> Drawn:
    """The loop: draw a token for each living row, let the finished go, step the rest."""
    count, most = len(prompts) * samples, limits.max_new_tokens
    logits = path.start(prompts, samples, most).repeat_interleave(samples, 0)
    device, room = logits.device, Room()
    numbers = torch.from_numpy(uniforms).to(device).t().contiguous()  # [T, R], as all that is kept by position
    tokens = torch.zeros(most, count, dtype=torch.long, device=device)
    logprobs = torch.zeros(most, count, dtype=torch.float64, device=device)
    lengths = torch.full((count,), most, dtype=torch.long, device=device)
    stopped = torch.zeros(count, dtype=torch.bool, device=device)
    rows = torch.arange(count, device=device)
    ending = _Ending(limits, device)
    how = {"temperature": limits.temperature, "top_p": limits.top_p, "room": room}
    for position in range(most):
        token, logprob = draw(logits, numbers[position].index_select(0, rows), **how)
        tokens[position].index_copy_(0, rows, token)
        logprobs[position].index_copy_(0, rows, logprob)
        stops, over = ending.at(position, rows, token, tokens)
        if over is not None and bool(over.any()):
            gone, alive = rows[over], ~over
            lengths[gone], stopped[gone] = position + 1, True if stops is over else stops[over]
            rows, token = rows[alive], token[alive]
            if len(rows):
                path.keep(alive)
        if not len(rows) or position + 1 == most:
            break
        logits = path.step(token)
    ends = lengths.tolist()
    return Drawn(
        token_ids=[row[:end] for row, end in zip(tokens.t().tolist(), ends, strict=True)],
        logprobs=[row[:end] for row, end in zip(logprobs.t().tolist(), ends, strict=True)],
        finish=["stop" if s else "length" for s in stopped.tolist()],
    )


class _Ending:
    """Which rows end with the token that was just drawn."""

    def __init__(self, limits: Limits, device: torch.device) -> None:
        self.limits = limits
        self.stops = torch.tensor(limits.stop_ids, dtype=torch.long, device=device)
        self.lengths = None if limits.lengths is None else torch.tensor(limits.lengths, device=device)

    def at(
        self, position: int, rows: torch.Tensor, token: torch.Tensor, tokens: torch.Tensor
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Masks [R] over the present rows, None where no row can: that stop here, and that end here, stopped or full.

        Args:
            rows: [R] numbers of the present rows. token: [R] what they drew at `position`.
            tokens: [T, all rows] all that has been drawn.
        """
        over = torch.isin(token, self.stops) if len(self.stops) else None
        if self.limits.ended is not None:  # only rows that drew a watched token are decoded
            found = torch.zeros(len(rows), dtype=torch.bool)
            for place, drawn in enumerate(token.tolist()):
                if drawn in self.limits.watched:
                    found[place] = self.limits.ended(tokens[: position + 1, rows[place]].tolist())
            found = found.to(token.device)
            over = found if over is None else over | found
        if self.lengths is None:
            return over, over
        full = self.lengths[rows] <= position + 1
        return (torch.zeros_like(full), full) if over is None else (over, over | full)
