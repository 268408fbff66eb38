"""Gradient checkpointing over groups of decoder layers: less memory for a second forward of the layers.

Only the states between groups are kept (Chen et al. 2016, arXiv:1604.06174; groups of several layers are Baichuan's,
arXiv:2410.14940; spec B5). The backward pass computes a group again, from the same bits to the same bits. A layer gets
the pack as its mask argument, which the group keeps, so nothing but the layers has to be in sight then.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from burnish.errors import ModelError, SettingsError
from burnish.models.forward import body

if TYPE_CHECKING:
    from transformers import PreTrainedModel

PROBE = 8  # tokens of the forward that looks at a model's layers
TOLERANCE = 1e-2  # of the probe's largest state: rounding in half precision; a layer left out is far above


def stored_states(group: int, *, layers: int, activations: float) -> float:
    """What a token holds at the peak, in hidden states: k n + L / k (spec B5).

    Args:
        group: k, layers that are computed again together.
        layers: L of the model.
        activations: n, what the backward pass of one layer keeps of a token, in hidden states.
    """
    return group * activations + layers / group


def best_group(*, layers: int, activations: float) -> int:
    """The whole k with the least memory: the better of the two beside sqrt(L / n), from 1 to L (spec B5).

    Arguments as for `stored_states`.
    """
    ideal = math.sqrt(layers / activations)
    whole = (min(layers, max(1, k)) for k in (math.floor(ideal), math.ceil(ideal)))
    return min(whole, key=lambda k: (stored_states(k, layers=layers, activations=activations), k))


def decoder_layers(model: PreTrainedModel) -> list[nn.Module]:
    """The decoder layers in their order.

    Raises:
        SettingsError: the architecture has no one list of them.
    """
    count = model.config.get_text_config().num_hidden_layers
    found = [m for m in body(model).children() if isinstance(m, nn.ModuleList) and len(m) == count]
    if len(found) != 1:
        raise SettingsError(f"{type(model).__name__} has no one list of its {count} layers; set recompute=0")
    return list(found[0])


class Recompute:
    """Computes the decoder layers of a model in groups that the backward pass computes again.

    All layers of a group but the last only note their call and hand on what they were given; the last runs them all.
    This is exact where a model does nothing with the states between two layers, which is checked in each forward, and
    once as a whole by a probe.
    """

    def __init__(self, model: PreTrainedModel, *, group: int) -> None:
        """Args:
        model: as it will be trained, with its adapters.
        group: layers a group, from 1 to all of them.

        Raises:
            SettingsError: a group out of range, or a model whose layers cannot be grouped.
        """
        self.layers = decoder_layers(model)
        if not 1 <= group <= len(self.layers):
            raise SettingsError(
                f"recompute is {group}; it is from 1 to the model's {len(self.layers)} layers, or 0 (off)"
            )
        self.group, self.name = group, type(model).__name__
        self.tuples = [False] * len(self.layers)
        self.waiting: list[Callable[[Tensor], Any]] = []
        self.handed: Tensor | None = None
        self._probe(model)

    @contextmanager
    def active(self) -> Iterator[None]:
        """Within it, forwards that need a gradient keep the states between groups only.

        Raises:
            ModelError: the model does something with the states between two layers of a group.
        """
        before = [vars(layer).get("forward") for layer in self.layers]
        for number, layer in enumerate(self.layers):
            layer.forward = self._deferred(number, layer.forward)
        try:
            yield
            if self.waiting:
                raise self._unfit()
        finally:
            self.waiting, self.handed = [], None
            for layer, own in zip(self.layers, before, strict=True):
                del layer.forward  # the class's own again
                if own is not None:
                    layer.forward = own

    def _deferred(self, number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        first = number % self.group == 0
        last = (number + 1) % self.group == 0 or number + 1 == len(self.layers)

        def call(*args: Any, **kwargs: Any) -> Any:
            if not torch.is_grad_enabled():
                return forward(*args, **kwargs)
            states, rest = (args[0], args[1:]) if args else (kwargs.pop("hidden_states"), ())
            if first == bool(self.waiting) or not (first or states is self.handed):
                raise self._unfit()
            self.waiting.append(lambda states: forward(states, *rest, **kwargs))
            if last:
                calls, self.waiting, self.handed = self.waiting, [], None
                # Models train in eval mode, so there is no random state to bring back.
                return checkpoint(_run, calls, states, use_reentrant=False, preserve_rng_state=False)
            self.handed = states
            return (states,) if self.tuples[number] else states

        return call

    def _unfit(self) -> ModelError:
        return ModelError(f"{self.name} does something between its layers; set recompute=1, or 0 (off)")

    def _probe(self, model: PreTrainedModel) -> None:
        """What form each layer gives its states in; and that a small forward is the same with groups and without."""
        device = model.get_input_embeddings().weight.device
        ids = torch.arange(PROBE, device=device)[None] % model.config.get_text_config().vocab_size
        forms: list[Any] = []
        hooks = [layer.register_forward_hook(lambda module, given, out: forms.append(out)) for layer in self.layers]
        try:
            with torch.no_grad():
                wanted = body(model)(input_ids=ids, use_cache=False)[0]
        finally:
            for hook in hooks:
                hook.remove()
        known = [isinstance(form, Tensor) or (isinstance(form, tuple) and len(form) == 1) for form in forms]
        if self.group > 1 and not (len(forms) == len(self.layers) and all(known)):
            raise SettingsError(f"the layers of {self.name} give more than their states; set recompute=1, or 0 (off)")
        self.tuples = [isinstance(form, tuple) for form in forms]
        try:
            with torch.enable_grad(), self.active():
                found = body(model)(input_ids=ids, use_cache=False)[0].detach()
        except ModelError as error:
            raise SettingsError(str(error)) from error
        if not (found - wanted).abs().max() <= TOLERANCE * wanted.abs().max():
            raise SettingsError(str(self._unfit()))


def _run(calls: list[Callable[[Tensor], Any]], states: Tensor) -> Any:
    """The layers of one group, one after the other; in the form that the last one gives."""
    for call in calls[:-1]:
        out = call(states)
        states = out[0] if isinstance(out, tuple) else out
    return calls[-1](states)
