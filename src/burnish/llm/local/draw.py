"""One token per row from its logits: inverse distribution function over float64 weights; the largest when greedy.

Rows are taken a few at a time, so that their weights stay in a core's cache, in memory that is used again. Weights are
summed in blocks; the block that a number falls in is found first, and then the token within it.
"""

from __future__ import annotations

import torch

from burnish.errors import ModelError

CELLS = 1 << 18  # weights that are worked on at a time on a CPU: 2 MiB, what a core's second cache holds
BLOCK = 128  # tokens of a block


class Room:
    """Memory for weights that the draws of a batch use again."""

    def __init__(self) -> None:
        self.cells: torch.Tensor | None = None

    def rows(self, vocabulary: int, device: torch.device, wanted: int) -> torch.Tensor:
        """[n, V + padding] float64 with n <= `wanted`; the padding, up to a whole number of blocks, is 0."""
        width = -(-vocabulary // BLOCK) * BLOCK
        count = min(wanted, max(1, CELLS // width)) if device.type == "cpu" else wanted
        cells = self.cells
        if cells is None or cells.shape[1] != width or len(cells) < count or cells.device != device:
            cells = self.cells = torch.zeros(count, width, dtype=torch.float64, device=device)
        cells[:, vocabulary:] = 0.0
        return cells[:count]


def draw(
    logits: torch.Tensor,
    uniform: torch.Tensor,
    *,
    temperature: float,
    top_p: float = 1.0,
    room: Room | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token per row.

    Args:
        logits: [R, V], any float type.
        uniform: [R] float64 in [0, 1); not read at temperature 0.
        temperature: logits are divided by it; 0 takes the first largest logit.
        top_p: the smallest set of most likely tokens whose probability reaches it is drawn from
            (Holtzman et al. 2020, section 3.1); ties go to the lower id.
        room: memory to use again in the next call.

    Returns:
        token [R] int64, and its log-probability under the unscaled, untruncated model [R] float64, nats.

    Raises:
        ModelError: logits that are not numbers.
    """
    (count, vocabulary), device = logits.shape, logits.device
    most = (room or Room()).rows(vocabulary, device, count)
    top = logits.amax(-1, keepdim=True).double()
    norms, tokens = [], []
    for at in range(0, count, len(most)):
        rows, peak = logits[at : at + len(most)], top[at : at + len(most)]
        weights = most[: len(rows)]
        cells = weights[:, :vocabulary]
        cells.copy_(rows).sub_(peak).exp_()
        sums = _by_block(weights)
        norms.append(sums.sum(-1))
        if temperature == 0:
            continue
        if temperature != 1:
            cells.copy_(rows).sub_(peak).div_(temperature).exp_()
        if top_p < 1:
            cells.copy_(_nucleus(cells, top_p))
        if temperature != 1 or top_p < 1:
            sums = _by_block(weights)
        tokens.append(_find(weights, sums, uniform[at : at + len(most)]))
    norm = torch.cat(norms).log()
    if not bool(torch.isfinite(norm).all()):
        raise ModelError("the model's logits are not finite: its weights hold NaN, or overflow in this dtype")
    token = logits.argmax(-1) if temperature == 0 else torch.cat(tokens)
    return token, (logits.gather(-1, token[:, None]).double() - top)[:, 0] - norm


def _by_block(weights: torch.Tensor) -> torch.Tensor:
    """Sums [n, B] of weights [n, B * BLOCK]."""
    return weights.unflatten(1, (-1, BLOCK)).sum(-1)


def _find(weights: torch.Tensor, sums: torch.Tensor, uniform: torch.Tensor) -> torch.Tensor:
    """[n] the first token up to which the weights add to more than uniform * total.

    Both searches aim strictly below the last sum, so that what is found has a weight of its own even where a product
    rounds up. Where weights are not numbers anything is found; the caller looks.
    """
    nothing = torch.zeros((), dtype=sums.dtype, device=sums.device)
    until = sums.cumsum(-1)
    total = until[:, -1:]
    target = torch.minimum(uniform[:, None] * total, torch.nextafter(total, nothing))
    block = torch.searchsorted(until, target, right=True).clamp_(max=sums.shape[1] - 1)
    before = torch.where(block > 0, until.gather(1, (block - 1).clamp_(min=0)), nothing)
    first = torch.arange(0, sums.numel(), sums.shape[1], device=sums.device)
    inside = weights.view(-1, BLOCK).index_select(0, first + block[:, 0]).cumsum_(-1)
    aim = torch.minimum((target - before).clamp_(min=0), torch.nextafter(inside[:, -1:], nothing))
    place = torch.searchsorted(inside, aim, right=True).clamp_(max=BLOCK - 1)
    return (block * BLOCK + place)[:, 0]


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """Weights [R, V] with all but the smallest likeliest set that reaches `top_p` of each row's sum put to 0."""
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(-1)
    before = cumulative - ordered
    ordered = ordered.masked_fill(before >= top_p * cumulative[:, -1:], 0.0)
    return torch.zeros_like(weights).scatter_(-1, order, ordered)
