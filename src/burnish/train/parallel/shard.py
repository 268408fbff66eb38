"""Weights, gradients and optimiser state in parts: FSDP2, one part of each tensor's rows a process.

    parameters   rows in equal chunks; a layer is gathered when its forward and its backward need it
    gradients    summed, not averaged: losses are divided by what the whole batch holds
    optimiser    AdamW on the rows that a process holds, in float32 at least; nothing of it is ever gathered

FSDP2 gathers what a module's own forward is called on. The loop calls a model's body and reads its head directly, so
what lies outside of the layers (embeddings, last norm, heads) is gathered when the body is called, and kept until its
gradient is there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor

from burnish.errors import ModelError, SettingsError
from burnish.models.forward import body, device_of
from burnish.train.optim import Optimiser
from burnish.train.optim.parts import Parts
from burnish.train.optim.recompute import PROBE, decoder_layers
from burnish.train.parallel.shards import Held, whole_of

HALF = (torch.bfloat16, torch.float16)
TOLERANCE = 1e-3  # of the probe's largest state, float32; parameters are the same bits, only where they lie is not


def units(model: nn.Module) -> list[FSDPModule]:
    """All parts of the model that are gathered by themselves."""
    return [module for module in model.modules() if isinstance(module, FSDPModule)]


def local(tensor: Tensor) -> Tensor:
    """The rows of it that this process holds; they share its memory."""
    return tensor.to_local().detach() if isinstance(tensor, DTensor) else tensor.detach()


def shard(model: Any, *, group: int) -> None:
    """Cut a model's parameters into one part a process, in place.

    Args:
        model: prepared; the same weights in each process.
        group: decoder layers that are gathered together: those that the backward pass computes again together.

    Raises:
        ModelError: the model gives other numbers when it is cut.
    """
    try:
        layers = decoder_layers(model)
    except SettingsError:  # no one list of layers: all of the model is gathered at once
        layers = []
    mesh = init_device_mesh(device_of(model).type, (dist.get_world_size(),))
    wide = MixedPrecisionPolicy(reduce_dtype=torch.float32) if model.dtype in HALF else MixedPrecisionPolicy()
    scalars = {parameter for parameter in model.parameters() if parameter.ndim == 0}
    how = {"mesh": mesh, "mp_policy": wide, "ignored_params": scalars}
    before = _probe(model)
    groups = [layers[at : at + group] for at in range(0, len(layers), group)]
    for some in groups:
        fully_shard(some if len(some) > 1 else some[0], reshard_after_forward=True, **how)
    fully_shard(model, reshard_after_forward=False, **how)
    for unit in units(model):
        unit.set_gradient_divide_factor(1.0)
        unit.set_force_sum_reduction_for_comms(True)
    # The order of what is gathered ahead is written down: by itself it would follow forwards without a gradient, of
    # which one process may have had more than another.
    for number, some in enumerate(groups):
        some[0].set_modules_to_backward_prefetch([groups[number - 1][0] if number else model])
    body(model).register_forward_pre_hook(lambda module, given: model.unshard())
    after = _probe(model)
    reshard(model)
    if not (after - before).abs().max() <= TOLERANCE * before.abs().max().clamp_min(1e-30):
        raise ModelError(
            f"{type(model).__name__} gives other numbers when its weights are cut; train it by one process"
        )


def _probe(model: Any) -> Tensor:
    """States of a small forward through the whole model, which also tells FSDP2 which unit is the root."""
    found: list[Tensor] = []
    hook = body(model).register_forward_hook(lambda module, given, out: found.append(out[0]))
    ids = torch.arange(PROBE, device=device_of(model))[None] % model.config.get_text_config().vocab_size
    try:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
    finally:
        hook.remove()
    return found[0].to(torch.promote_types(found[0].dtype, torch.float32))


def reshard(model: nn.Module) -> None:
    """Let go of all that was gathered."""
    for unit in units(model):
        unit.reshard()


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """Within it every process has the whole model, and forwards without a gradient need no other process."""
    before = units(model)
    for unit in before:
        unit.set_reshard_after_forward(False, recurse=False)
        unit.unshard()
    try:
        yield
    finally:
        for unit in before:
            unit.set_reshard_after_forward(unit is not model, recurse=False)
            unit.reshard()


def whole(model: Any, *, keep: bool) -> None:
    """Put the parameters together again, on the CPU; with `keep` the model is then a plain one, else it is of no use.

    Every process takes part.
    """
    reshard(model)
    made: dict[int, nn.Parameter] = {}
    for module in list(model.modules()):
        for name, parameter in list(module._parameters.items()):
            if not isinstance(parameter, DTensor):
                continue
            if id(parameter) not in made:
                full = parameter.full_tensor().detach()
                made[id(parameter)] = nn.Parameter(full.cpu() if keep else full[:0], parameter.requires_grad)
            module._parameters[name] = made[id(parameter)]
    if keep:
        for module in units(model):
            module.__class__ = type(module).__mro__[FSDPModule._orig_cls_mro_index]
        for parameter in model.parameters():
            parameter.data = parameter.data.cpu()


@torch.no_grad()
def copied(model: nn.Module, into: nn.Module | None) -> None:
    """Copy the parameters into a plain model of the same form; None only takes part. Every process does."""
    reshard(model)
    there = {} if into is None else dict(into.named_parameters())
    for name, parameter in model.named_parameters():
        full = parameter.full_tensor() if isinstance(parameter, DTensor) else parameter
        if there:
            there[name].copy_(full)


class Shares(Parts):
    """The tensors of `held` are cut, and this process has these rows of each; all others are whole everywhere."""

    def __init__(self, held: Mapping[str, Held]) -> None:
        self.held, self.rank, self.world = held, dist.get_rank(), dist.get_world_size()

    def shape(self, name: str, part: Tensor) -> torch.Size:
        return torch.Size(self.held[name].shape) if name in self.held else part.shape

    def cut(self, name: str, whole: Tensor) -> Tensor:
        held = self.held.get(name)
        return whole if held is None else whole[held.first : held.last]

    def whole(self, name: str, part: Tensor) -> Tensor:
        if name not in self.held:
            return part
        rows, *rest = self.held[name].shape
        padded = part.new_zeros(-(-rows // self.world), *rest)
        padded[: len(part)] = part
        return self.all(name, padded)[0].flatten(0, 1)[:rows]

    def room(self, name: str, part: Tensor) -> int:
        if name not in self.held:
            return part.numel()
        rows, *rest = self.held[name].shape
        return -(-rows // self.world) * math.prod(rest)

    def all(self, name: str, values: Tensor) -> tuple[Tensor, int]:
        if name not in self.held:
            return values[None], 0
        found = values.new_empty(self.world, *values.shape)
        dist.all_gather(list(found.unbind()), values.contiguous())
        return found, self.rank


class ShardedOptimiser(Optimiser):
    """AdamW over the rows that this process holds. Parameters that are not cut are the same in each process."""

    def __init__(self, model: nn.Module, **how: Any) -> None:
        """Arguments as `Optimiser`."""
        self.model = model
        self.whole: list[Tensor] = []
        super().__init__(model, **how)

    def held(self, model: nn.Module) -> Iterator[tuple[str, Tensor]]:
        reshard(model)
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                self.whole.append(parameter)
                yield name, local(parameter)

    def places(self) -> dict[str, Held]:
        """What is here of each parameter."""
        found = {}
        for name, parameter in zip(self.names, self.whole, strict=True):
            if isinstance(parameter, DTensor):  # FSDP2 cuts as torch.chunk does: ceil(rows / processes) in each
                size = -(-parameter.shape[0] // dist.get_world_size())
                first = min(dist.get_rank() * size, parameter.shape[0])
                last = min(first + size, parameter.shape[0])
                found[name] = Held(shape=tuple(parameter.shape), first=first, last=last)
            else:
                found[name] = whole_of(parameter)
        return found

    def parts(self) -> Shares:
        cut = {n for n, parameter in zip(self.names, self.whole, strict=True) if isinstance(parameter, DTensor)}
        return Shares({name: held for name, held in self.places().items() if name in cut})

    def gather(self) -> None:
        for parameter, master in zip(self.whole, self.masters, strict=True):
            if parameter.grad is None:
                continue
            grad = local(parameter.grad).to(master.dtype)
            master.grad = grad if master.grad is None else master.grad.add_(grad)
            parameter.grad = None

    def gradient_norm(self) -> Tensor:
        """As `Optimiser`, over all processes; the gradients of what is not cut are summed on the way."""
        device = self.masters[0].device
        here, shared = (torch.zeros((), dtype=torch.float64, device=device) for _ in range(2))
        for parameter, master in zip(self.whole, self.masters, strict=True):
            if isinstance(parameter, DTensor):
                if master.grad is not None:
                    here += torch.linalg.vector_norm(master.grad, dtype=torch.float64) ** 2
                continue
            if master.grad is None:
                master.grad = torch.zeros_like(master)
            dist.all_reduce(master.grad)
            shared += torch.linalg.vector_norm(master.grad, dtype=torch.float64) ** 2
        dist.all_reduce(here)
        return (here + shared).sqrt()

    def step(self, rate: float, norm: float) -> None:
        super().step(rate, norm)
        reshard(self.model)  # what a forward without a gradient has left gathered is old now

    def load(self, state: Any) -> None:
        super().load(state)
        reshard(self.model)

    def finish(self) -> None:
        super().finish()
        reshard(self.model)

    def forget(self) -> None:
        super().forget()
        for parameter in self.whole:
            parameter.grad = None
