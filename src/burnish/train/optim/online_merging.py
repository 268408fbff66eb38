"""Online merging: every step of Adam is merged with a step towards what supervised tuning had learnt.

    theta_r: the starting weights (SFT),  theta_b: the base they came from,  tau = theta_r - theta_b

    theta        --Adam(W)-->  theta + delta
    OnDARE       theta' = theta + (1 - alpha) F(delta) + alpha F(tau),        F keeps each entry with probability p
    OnTIES       theta' = theta + (1 - alpha) F(delta) (+) alpha F(tau),      F keeps the share p that is largest

Lu et al. 2024 (arXiv:2405.17931; spec llama3_qwen2.md §5.6), used by Qwen2 against the alignment tax (§4.13; variant
and values unpublished). Around any objective: it sees gradients only through Adam's step.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

from burnish.errors import ModelError, SettingsError
from burnish.train.optim.parts import Parts

METHODS = ("dare", "ties")
RESCALES = ("none", "inv_p", "l1")
VOTES = ("weighted", "unweighted")


@dataclass(frozen=True, slots=True, kw_only=True)
class OnlineMerging:
    """How steps are merged.

    Attributes:
        method: `dare` (OnDARE) or `ties` (OnTIES).
        keep: p, the share of entries that a sparsified step keeps. 0.01 is the released run's; robust down to 5e-4,
            OnTIES less so.
        alpha: the share of tau in each step; it is not scaled by the learning rate, so T steps pull by T alpha p tau.
            The authors advise to start from 1e-7.
        rescale: what makes up for dropped entries. `none` is the paper's (rescaled steps grow unstable), `inv_p`
            divides by p, as the released code's sparsifier does, `l1` restores the 1-norm.
        remask: draw the entries of tau anew at each merge (the algorithm) or once (the released code). For `dare`;
            the largest entries of tau are always the same.
        vote: of `ties`, where the two terms have opposite signs: the larger of the weighted terms stays (the paper), or
            that of the unweighted ones (the released code, which drops most of Adam's step where |tau| >> |delta|).
        every: K: the steps of K - 1 updates are Adam's own; with the K-th, all K are merged as one. Steps left over at
            the end stay as they are (ASSUMED).
        seed: of the masks.
    """

    method: Literal["dare", "ties"]
    keep: float = 0.01
    alpha: float = 1e-7
    rescale: Literal["none", "inv_p", "l1"] = "none"
    remask: bool = True
    vote: Literal["weighted", "unweighted"] = "weighted"
    every: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises SettingsError for a value out of range."""
        for name, known in (("method", METHODS), ("rescale", RESCALES), ("vote", VOTES)):
            if getattr(self, name) not in known:
                raise SettingsError(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(known)}")
        if not 0 < self.keep <= 1:
            raise SettingsError(f"keep is {self.keep}; it is the share of entries that a step keeps, above 0 to 1")
        if not 0 <= self.alpha <= 1:
            raise SettingsError(f"alpha is {self.alpha}; it is the share of the pull in each step, 0 to 1")
        if self.every < 1:
            raise SettingsError(f"every is {self.every}; steps are merged every 1 or more updates")


class Merger:
    """The buffers of a merging run, beside the optimiser: tau, and the weights after the last merge.

    Masks are keyed by (seed, number of the merge, parameter name), so a resumed run draws what the first one would
    have. They are drawn over whole tensors, of which a process that holds some rows takes those; another kind of device
    draws others.
    """

    def __init__(
        self,
        names: Sequence[str],
        masters: Sequence[Tensor],
        *,
        base: Mapping[str, Tensor],
        how: OnlineMerging,
        parts: Parts | None = None,
    ) -> None:
        """Args:
        names, masters: the optimiser's own tensors, float32 or wider, holding the starting weights theta_r.
        base: theta_b by name, whole.
        parts: where the rows of the masters are; None is all here.

        Raises:
            ModelError: the base lacks a parameter, or has it in another shape.
        """
        self.how, self.parts = how, parts or Parts()
        self.names, self.masters = list(names), list(masters)
        self.updates = 0
        self.pulls: list[Tensor] = []
        for name, master in zip(names, masters, strict=True):
            shape = self.parts.shape(name, master)
            if name not in base or base[name].shape != shape:
                found = list(base[name].shape) if name in base else "none"
                raise ModelError(
                    f"online merging needs {name} of shape {list(shape)} in the base model, which has {found}; "
                    "give the model that the starting weights were tuned from, and train all weights (lora_rank=0)"
                )
            self.pulls.append(master.detach() - self.parts.cut(name, base[name]).to(master))
        self.before = [master.detach().clone() for master in masters]

    @torch.no_grad()
    def update(self) -> None:
        """Merge what Adam has just done to the masters, if it is time; to be called after each of its steps."""
        self.updates += 1
        if self.updates % self.how.every:
            return
        for name, master, before, pull in zip(self.names, self.masters, self.before, self.pulls, strict=True):
            self._merge(name, master, before, pull)
            before.copy_(master)

    def _merge(self, name: str, master: Tensor, before: Tensor, pull: Tensor) -> None:
        """theta' in the place of theta + delta."""
        alpha, delta = self.how.alpha, master.detach() - before
        mine, my_scale = self._sparse(delta, name, "step")
        theirs, their_scale = self._sparse(pull, name, "pull")
        if self.how.method == "ties":
            mine, theirs = self._elect(delta, pull, mine, theirs, my_scale, their_scale)
        # Adam's own result where its step stays: adding delta to theta again would round differently
        merged = master if mine is None else torch.where(mine, master, before)
        factor = (1 - alpha) * my_scale - 1
        if factor:
            merged = merged + factor * (delta if mine is None else torch.where(mine, delta, 0.0))
        if alpha:
            merged = merged + alpha * their_scale * (pull if theirs is None else torch.where(theirs, pull, 0.0))
        if merged is not master:
            master.copy_(merged)

    def _sparse(self, values: Tensor, name: str, kind: str) -> tuple[Tensor | None, float]:
        """Which entries stay (None: all), and what they are multiplied by."""
        keep = self.how.keep
        if keep == 1:
            return None, 1.0
        if self.how.method == "dare":
            merge = 0 if kind == "pull" and not self.how.remask else self.updates // self.how.every
            generator = torch.Generator(device=values.device).manual_seed(self._key(merge, kind, name))
            # drawn in float32 whatever the type of the weights, so that a float64 check sees the run's masks
            shape = self.parts.shape(name, values)
            drawn = torch.rand(shape, generator=generator, device=values.device)
            mask = self.parts.cut(name, drawn) < keep
        else:
            mask = self._largest(name, values)
        if self.how.rescale == "inv_p":
            return mask, 1 / keep
        if self.how.rescale == "l1":
            sums = torch.stack([values.abs().sum(), torch.where(mask, values, 0.0).abs().sum()]).double()
            whole, left = self.parts.all(name, sums)[0].sum(0).tolist()
            return mask, whole / left if left else 1.0
        return mask, 1.0

    def _largest(self, name: str, values: Tensor) -> Tensor:
        """Mask over the entries here: the `keep` n largest of the whole tensor, of equal ones the first."""
        flat = values.abs().flatten()
        # ASSUMED: at least one entry of a tensor stays
        count = max(1, round(self.how.keep * math.prod(self.parts.shape(name, values))))
        most = min(count, self.parts.room(name, values))
        best = flat.topk(min(most, len(flat))).values
        found, here = self.parts.all(name, functional.pad(best, (0, most - len(best)), value=-1.0))
        border = found.flatten().topk(count).values[-1]
        left = count - int((found > border).sum()) - int((found[:here] == border).sum())
        mask = flat > border
        mask[(flat == border).nonzero()[: max(0, left), 0]] = True
        return mask.view(values.shape)

    def _key(self, merge: int, kind: str, name: str) -> int:
        text = f"{self.how.seed}\x1f{merge}\x1f{kind}\x1f{name}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"burnish.merge").digest(), "little") >> 1

    def _elect(
        self,
        delta: Tensor,
        pull: Tensor,
        mine: Tensor | None,
        theirs: Tensor | None,
        my_scale: float,
        their_scale: float,
    ) -> tuple[Tensor, Tensor]:
        """Which entries of each term stay after the vote over their signs: a (+) b."""
        weighted = self.how.vote == "weighted"
        one = delta * my_scale if mine is None else torch.where(mine, delta * my_scale, 0.0)
        other = pull * their_scale if theirs is None else torch.where(theirs, pull * their_scale, 0.0)
        if weighted:
            one, other = (1 - self.how.alpha) * one, self.how.alpha * other
        # the sign of the sum is that of the larger one; where they cancel both go (ASSUMED)
        sign = (one + other).sign()
        return (one.sign() == sign) & (one != 0), (other.sign() == sign) & (other != 0)

    def state(self) -> dict[str, Tensor]:
        """tau under `pull/NAME`, the weights of the last merge under `before/NAME` if it was not now, and the count."""
        found = {"merge_updates": torch.tensor([self.updates])}
        found |= {f"pull/{name}": pull for name, pull in zip(self.names, self.pulls, strict=True)}
        if self.updates % self.how.every:
            found |= {f"before/{name}": before for name, before in zip(self.names, self.before, strict=True)}
        return found

    @torch.no_grad()
    def load(self, state: Mapping[str, Tensor]) -> None:
        """Continue from `state()`, bit for bit, with the masters already loaded.

        Raises:
            ModelError: the checkpoint has no merging, or one that merged at other steps.
        """
        missing = "merge_updates" not in state or any(f"pull/{name}" not in state for name in self.names)
        updates = 0 if missing else int(state["merge_updates"])
        midway = updates % self.how.every != 0
        if missing or (midway and any(f"before/{name}" not in state for name in self.names)):
            raise ModelError(
                "the training checkpoint holds no online merging of this kind; remove the step's folder to start again"
            )
        self.updates = updates
        for name, master, before, pull in zip(self.names, self.masters, self.before, self.pulls, strict=True):
            pull.copy_(state[f"pull/{name}"])
            before.copy_(state[f"before/{name}"] if midway else master.detach())
