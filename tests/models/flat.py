"""The flat second implementation that the packed core must agree with: eager attention, one sequence at a time."""

from __future__ import annotations

import copy
import random

import torch

from burnish.models import Row


def draw_rows(vocabulary: int, shapes: list[tuple[int, tuple[int, ...]]], seed: int = 0) -> list[Row]:
    """Random rows; a shape is (prompt length, response lengths)."""
    draw = random.Random(seed)

    def some(count: int) -> tuple[int, ...]:
        return tuple(draw.randrange(vocabulary) for _ in range(count))

    return [Row(some(prompt), tuple(some(size) for size in sizes)) for prompt, sizes in shapes]


def eager(model: torch.nn.Module) -> torch.nn.Module:
    """A copy with eager attention, in eval mode."""
    twin = copy.deepcopy(model)
    if twin._can_set_attn_implementation():
        twin.set_attn_implementation("eager")
    return twin.eval()


def flat_logprobs(model: torch.nn.Module, rows: list[Row], *, causal: bool = False) -> torch.Tensor:
    """[N] log-probabilities in the order row, response, token: full logits of each sequence alone."""
    out = []
    for row in rows:
        before = list(row.prompt)
        for response in row.responses:
            logits = model(torch.tensor([[*before, *response]]), use_cache=False).logits[0]
            wide = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
            places = torch.arange(len(before) - 1, len(before) + len(response) - 1)
            out.append(wide[places, torch.tensor(response, dtype=torch.int64)])
            if causal:
                before += response
    return torch.cat(out)


def flat_scores(model: torch.nn.Module, rows: list[Row]) -> torch.Tensor:
    """[R] or [R, heads] reward scores of each sequence alone, by the class's own forward."""
    out = [model(torch.tensor([[*row.prompt, *response]])).logits[0] for row in rows for response in row.responses]
    scores = torch.stack(out)
    return scores[:, 0] if scores.shape[1] == 1 else scores


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    """|one - other| / |other| in the tensor norm."""
    one, other = one.detach().double(), other.detach().double()
    return float((one - other).norm() / other.norm().clamp_min(1e-300))
