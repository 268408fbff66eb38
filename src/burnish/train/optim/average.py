"""An exponential moving average of the weights, kept in float32 beside the optimiser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from burnish.errors import ModelError, SettingsError

TELL = 0.1  # ASSUMED: share of the starting weights in the average from which a notice says so


def check_decay(decay: float) -> None:
    """Raises SettingsError for a decay that is not in [0, 1)."""
    if not 0 <= decay < 1:
        raise SettingsError(f"ema is {decay}; it is the decay of an average of the weights, from 0 (off) to below 1")


def starting_share(decay: float, steps: int) -> str:
    """A notice where so few steps leave much of the starting weights in the average; empty where they do not."""
    share = decay**steps
    if not decay or share <= TELL:
        return ""
    return f"ema {decay} over {steps} steps leaves {100 * share:.3g} % of the starting weights in the result"


class Average:
    """theta_ema <- decay * theta_ema + (1 - decay) * theta after every optimiser step (Polyak and Juditsky 1992).

    It starts at the starting weights, without a correction of the bias towards them: WARP's anchor is the same with
    decay = 1 - mu (arXiv:2406.16768, Algorithm 1; spec M7). Shadows are in float32 at least, whatever the parameters
    are in: at decay 0.999 a half-precision shadow would stand still.
    """

    def __init__(self, masters: Sequence[Tensor], *, decay: float) -> None:
        """Args:
        masters: the optimiser's own tensors, float32 or wider; read after every step.
        decay: in [0, 1).

        Raises:
            SettingsError: a decay out of range.
        """
        check_decay(decay)
        self.decay = decay
        self.masters = list(masters)
        self.shadows = [
            master.detach().to(torch.promote_types(master.dtype, torch.float32), copy=True) for master in masters
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Take in the weights of one optimiser step."""
        torch._foreach_lerp_(self.shadows, [m.detach() for m in self.masters], 1 - self.decay)

    @torch.no_grad()
    def write(self, parameters: Sequence[Tensor]) -> None:
        """Put the average in the place of the parameters, rounded to their type."""
        for parameter, shadow in zip(parameters, self.shadows, strict=True):
            parameter.copy_(shadow)

    def state(self, names: Sequence[str]) -> dict[str, Tensor]:
        """The shadows under `ema/NAME`."""
        return {f"ema/{name}": shadow for name, shadow in zip(names, self.shadows, strict=True)}

    @torch.no_grad()
    def load(self, names: Sequence[str], state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit.

        Raises:
            ModelError: the checkpoint has no average.
        """
        for name, shadow in zip(names, self.shadows, strict=True):
            if f"ema/{name}" not in state:
                raise ModelError(
                    "the training checkpoint holds no average of the weights; remove the step's folder to start again"
                )
            shadow.copy_(state[f"ema/{name}"])
