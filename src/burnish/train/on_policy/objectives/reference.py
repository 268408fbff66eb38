"""What becomes of the reference while training goes on, and of the weight of the divergence from it.

fixed      the model that training starts from
every:N    the policy as it is every N rounds                 iterative GRPO (DeepSeekMath §4.1.4; spec D5)
ema:MU     a moving average of the policy, step by step       WARP's anchor (arXiv:2406.16768, Algorithm 1; spec M7)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from burnish.errors import ModelError, SettingsError
from burnish.losses.on_policy import adapted_beta, moved_anchor
from burnish.train.ranks import ranks

STATE = "reference/"  # what its weights are called in a checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Following:
    """How the reference follows the policy; not at all by default.

    Attributes:
        every: rounds after which it becomes the policy; 0 never.
        mu: share of the policy that enters it after each update; 0 none.
    """

    every: int = 0
    mu: float = 0.0

    @classmethod
    def of(cls, text: str) -> Following:
        """From the setting `reference`: `fixed`, `every:N` or `ema:MU`.

        Raises:
            SettingsError: none of these.
        """
        word, _, number = text.partition(":")
        try:
            if word == "every" and int(number) >= 1:
                return cls(every=int(number))
            if word == "ema" and 0 < float(number) <= 1:
                return cls(mu=float(number))
        except ValueError:
            pass
        if text == "fixed":
            return cls()
        raise SettingsError(
            f"reference is {text!r}; write fixed, every:N (it becomes the policy every N rounds) or ema:MU (a share "
            "above 0 to 1 of the policy enters it at each update)"
        )

    @property
    def moves(self) -> bool:
        """Whether it is not the model that training starts from for ever."""
        return bool(self.every or self.mu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapting:
    """How the weight of the divergence is adapted after each update (Ziegler et al. 2019, arXiv:1909.08593 §2.2).

    Attributes:
        target: nats of an answer.
        horizon: answers in which a divergence far off its target changes beta by a fifth.
    """

    target: float
    horizon: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Adapting | None:
        """From the setting `adapt`: nothing, or target and horizon.

        Raises:
            SettingsError: something else, or a number that is not positive.
        """
        if not numbers:
            return None
        if len(numbers) != 2 or not all(n > 0 and math.isfinite(n) for n in numbers):
            told = ",".join(f"{n:g}" for n in numbers)
            raise SettingsError(
                f"adapt is {told}; give two positive numbers, the target in nats of an answer and the horizon in "
                "answers (adapt=6,10000), or nothing"
            )
        return cls(target=numbers[0], horizon=numbers[1])

    def next(self, beta: float, kl: float, answers: int) -> float:
        """The weight of the next update, from the mean divergence of the answers of this one."""
        return adapted_beta(beta, kl, target=self.target, horizon=self.horizon, responses=answers)


class MovingReference:
    """A reference that follows the policy in place. In half precision it is the rounding of an average in float32.

    Every process holds it whole. Where several train, each moves the rows whose policy it holds, and gets the others.
    """

    def __init__(self, frozen: nn.Module, how: Following) -> None:
        self.how = how
        self.parameters = dict(frozen.named_parameters())
        self.wide: dict[str, Tensor] = {}  # the rows of this process where they are more than their rounding

    def _rows(self, name: str) -> Tensor:
        return self.wide[name] if name in self.wide else ranks().parts.cut(name, self.parameters[name])

    def _set(self, name: str, rows: Tensor) -> None:
        """These rows, of this process, and those of the others."""
        parameter = self.parameters[name]
        parameter.copy_(ranks().parts.whole(name, rows.to(parameter.dtype)))
        if rows.dtype != parameter.dtype:
            self.wide[name] = rows

    @torch.no_grad()
    def reset(self, model: nn.Module) -> None:
        """Make it the policy."""
        with ranks().gathered(model):
            for name, parameter in model.named_parameters():
                self.parameters[name].copy_(parameter)
        self.wide = {}

    @torch.no_grad()
    def follow(self, names: Sequence[str], masters: Sequence[Tensor]) -> None:
        """Take in the weights of one update, as the optimiser holds them."""
        moved = moved_anchor([self._rows(name) for name in names], masters, mu=self.how.mu)
        for name, rows in zip(names, moved, strict=True):
            self._set(name, rows)

    def state(self) -> dict[str, Tensor]:
        """Its weights, by name: the rows of this process."""
        return {STATE + name: self._rows(name).detach() for name in self.parameters}

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit.

        Raises:
            ModelError: the checkpoint holds no such reference.
        """
        for name, parameter in self.parameters.items():
            if STATE + name not in state:
                raise ModelError(
                    "the training checkpoint holds no reference that moves; remove the step's folder to start again"
                )
            self._set(name, state[STATE + name].to(parameter.device))
