"""One token per row from its logits: inverse distribution function over float64 weights; the largest when greedy."""

from __future__ import annotations

import torch

from burnish.errors import ModelError


def draw(
    logits: torch.Tensor, uniform: torch.Tensor, *, temperature: float, top_p: float = 1.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw a token per row.

    Args:
        logits: [R, V], any float type.
        uniform: [R] float64 in [0, 1); not read at temperature 0.
        temperature: logits are divided by it; 0 takes the first largest logit.
        top_p: the smallest set of most likely tokens whose probability reaches it is drawn from
            (Holtzman et al. 2020, section 3.1); ties go to the lower id.

    Returns:
        token [R] int64, and its log-probability under the unscaled, untruncated model [R] float64, nats.

    Raises:
        ModelError: logits that are not numbers.
    """
    shifted = logits.double()
    shifted = shifted - shifted.amax(-1, keepdim=True)
    weights = shifted.exp()
    norm = weights.sum(-1).log()
    if not bool(torch.isfinite(norm).all()):
        raise ModelError("the model's logits are not finite: its weights hold NaN, or overflow in this dtype")
    if temperature == 0:
        token = logits.argmax(-1)
    else:
        if temperature != 1:
            weights = (shifted / temperature).exp()
        if top_p < 1:
            weights = _nucleus(weights, top_p)
        cumulative = weights.cumsum(-1)
        total = cumulative[:, -1]
        # Strictly below the total, so that the token found has a weight of its own even where the product rounds up.
        target = torch.minimum(uniform * total, torch.nextafter(total, torch.zeros_like(total)))
        token = torch.searchsorted(cumulative, target[:, None], right=True)[:, 0]
    return token, shifted.gather(-1, token[:, None])[:, 0] - norm


def _nucleus(weights: torch.Tensor, top_p: float) -> torch.Tensor:
    """Weights [R, V] with all but the smallest likeliest set that reaches `top_p` of each row's sum put to 0."""
    ordered, order = weights.sort(dim=-1, descending=True, stable=True)
    cumulative = ordered.cumsum(-1)
    before = cumulative - ordered
    ordered = ordered.masked_fill(before >= top_p * cumulative[:, -1:], 0.0)
    return torch.zeros_like(weights).scatter_(-1, order, ordered)
