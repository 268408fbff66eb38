"""AdamW on float32 masters, learning-rate schedules, gradient clipping, and state without pickles."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from burnish.errors import ModelError, SettingsError
from burnish.train.optim.average import Average
from burnish.train.optim.online_merging import Merger, OnlineMerging
from burnish.train.optim.parts import Parts

SCHEDULES = ("cosine", "linear", "constant")
FLOOR = 0.1  # the cosine ends at a tenth of the peak (ASSUMED, spec §6; Llama 3's schedule is not published)
BETAS = (0.9, 0.999)  # ASSUMED: the reports give none; Kingma and Ba 2015 (PyTorch's default)
EPSILON = 1e-8  # ASSUMED, as above


def learning_rate(step: int, *, steps: int, peak: float, warmup: float, schedule: str, floor: float = FLOOR) -> float:
    """The learning rate of a step.

    Args:
        step: 0-based optimiser step.
        steps: optimiser steps in all.
        peak: learning rate after warm-up.
        warmup: share of all steps spent in a linear rise; at least one step unless 0.
        schedule: `cosine` to the floor, `linear` to 0, or `constant`.
        floor: share of the peak that the cosine ends at.
    """
    rise = math.ceil(warmup * steps)
    if step < rise:
        return peak * (step + 1) / rise
    done = (step - rise) / max(1, steps - rise)
    if schedule == "cosine":
        return peak * (floor + (1 - floor) * (1 + math.cos(math.pi * done)) / 2)
    return peak * (1 - done) if schedule == "linear" else peak


def check_schedule(*, schedule: str, warmup: float, lr: float) -> None:
    """Raises SettingsError for values out of range."""
    if schedule not in SCHEDULES:
        raise SettingsError(f"schedule is {schedule!r}; choose one of {', '.join(SCHEDULES)}")
    if not 0 <= warmup < 1:
        raise SettingsError(f"warmup is {warmup}; it is the share of steps that warm up, from 0 to below 1")
    if not (lr > 0 and math.isfinite(lr)):
        raise SettingsError(f"lr is {lr}; it must be a positive number")


class Optimiser:
    """AdamW (Loshchilov and Hutter 2019) over a model's parameters.

    Parameters in half precision have float32 masters: gradients are gathered in float32, the masters are updated, and
    the parameters are their rounding. Matrices decay, vectors (norms, biases) do not (ASSUMED, common practice).
    """

    def __init__(
        self,
        model: torch.nn.Module,
        *,
        weight_decay: float,
        clip: float | None,
        beta2: float = BETAS[1],
        ema: float = 0.0,
        merging: OnlineMerging | None = None,
        base: Mapping[str, Tensor] | None = None,
    ) -> None:
        """Args:
        weight_decay: decoupled, per unit of learning rate.
        clip: largest global 2-norm of the gradient; None does not clip.
        beta2: decay of the second moment.
        ema: decay of the average of the weights; 0 keeps none.
        merging: merges each step of AdamW with a pull away from `base`; None does not.
        base: with `merging`, the weights by name that the model's own were tuned from.

        Raises:
            SettingsError: merging without a base.
            ModelError: the base is not of this model.
        """
        self.clip = clip
        self.names: list[str] = []
        self.parameters: list[Tensor] = []
        self.masters: list[Tensor] = []
        for name, parameter in self.held(model):
            half = parameter.dtype in (torch.bfloat16, torch.float16)
            self.names.append(name)
            self.parameters.append(parameter)
            self.masters.append(parameter.detach().float() if half else parameter)
        groups = [
            {"params": [m for m in self.masters if m.ndim >= 2], "weight_decay": weight_decay},
            {"params": [m for m in self.masters if m.ndim < 2], "weight_decay": 0.0},
        ]
        groups, betas = [g for g in groups if g["params"]], (BETAS[0], beta2)
        self.adam = torch.optim.AdamW(groups, lr=0.0, betas=betas, eps=EPSILON, fused=True)
        if merging is not None and base is None:
            raise SettingsError("online merging needs the base model that the starting weights were tuned from")
        how = {"base": base or {}, "how": merging, "parts": self.parts()}
        self.merger = None if merging is None else Merger(self.names, self.masters, **how)
        self.average = Average(self.masters, decay=ema) if ema else None

    def held(self, model: torch.nn.Module) -> Iterator[tuple[str, Tensor]]:
        """What is trained, by name, as this process holds it."""
        return ((name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad)

    def parts(self) -> Parts:
        """Where the rows of what is trained are."""
        return Parts()

    def gather(self) -> None:
        """Take over the gradients of one micro-batch; to be called after each backward pass."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is parameter or parameter.grad is None:
                continue
            master.grad = parameter.grad.float() if master.grad is None else master.grad.add_(parameter.grad)
            parameter.grad = None

    def gradient_norm(self) -> Tensor:
        """Global 2-norm of the gathered gradient, before clipping; a scalar tensor."""
        gradients = [m.grad for m in self.masters if m.grad is not None]
        return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))

    def step(self, rate: float, norm: float) -> None:
        """Clip by the given norm, update at the given rate, forget the gradients."""
        gradients = [m.grad for m in self.masters if m.grad is not None]
        if self.clip is not None and norm > self.clip:
            torch._foreach_mul_(gradients, self.clip / norm)
        for group in self.adam.param_groups:
            group["lr"] = rate
        self.adam.step()
        if self.merger is not None:
            self.merger.update()
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                parameter.detach().copy_(master)
        if self.average is not None:
            self.average.update()
        self.forget()

    def forget(self) -> None:
        """Drop all gradients."""
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            parameter.grad = master.grad = None

    def state(self) -> dict[str, Tensor]:
        """Masters, moments, what merging needs and the average by name; the parameters are the masters' rounding."""
        found: dict[str, Tensor] = {}
        for name, master in zip(self.names, self.masters, strict=True):
            found[f"weight/{name}"] = master.detach()
            for key, value in self.adam.state.get(master, {}).items():
                found[f"{key}/{name}"] = value
        if self.merger is not None:
            found |= self.merger.state()
        return found | ({} if self.average is None else self.average.state(self.names))

    def finish(self) -> None:
        """Leave in the model what the training results in: the average, where one is kept, else the last weights.

        The state is of no use afterwards.
        """
        if self.average is not None:
            self.average.write(self.parameters)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit.

        Raises:
            ModelError: the state belongs to another model.
        """
        mine = {name: master.shape for name, master in zip(self.names, self.masters, strict=True)}
        kept = {k.removeprefix("weight/"): v.shape for k, v in state.items() if k.startswith("weight/")}
        if kept != mine:
            raise ModelError(
                "the training checkpoint belongs to another model; remove the step's folder to start again"
            )
        with torch.no_grad():
            for name, parameter, master in zip(self.names, self.parameters, self.masters, strict=True):
                master.copy_(state[f"weight/{name}"])
                if master is not parameter:
                    parameter.copy_(master)
                moments = {k: state[f"{k}/{name}"] for k in ("step", "exp_avg", "exp_avg_sq") if f"{k}/{name}" in state}
                if moments:
                    self.adam.state[master] = {k: v.to(master.device, copy=True) for k, v in moments.items()}
        if self.merger is not None:
            self.merger.load(state)
        if self.average is not None:
            self.average.load(self.names, state)
