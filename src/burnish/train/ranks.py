"""The processes that train together, as the loop sees them. `Alone` is the one that most trainings have.

    who does what           call, packs, each
    what all of them know   total, union, first
    what each of them has   take, optimiser, parts, progress, gathered, plain, whole

`parallel.several` is the other kind; where one process trains, nothing of it is imported.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor, nn

from burnish.errors import SettingsError
from burnish.protocols import Work
from burnish.train.batch import Example, packs
from burnish.train.checkpoint import Progress
from burnish.train.optim import Optimiser
from burnish.train.optim.parts import Parts
from burnish.train.parallel.shards import WholeProgress

Value = TypeVar("Value")


class Alone:
    """One process: all rows, all gradients and all weights are its own."""

    rank, world = 0, 1
    parts = Parts()  # where the rows of what is trained are, from when there is an optimiser

    def call(self, function: Callable[..., Any], *inputs: Any, work: Work | None, **how: Any) -> None:
        """Have the other processes enter the same function with the same arguments."""

    def take(self, model: nn.Module, *, recompute: int, sequence: int) -> None:
        """Take over a prepared model before it is measured or trained.

        Args:
            recompute: decoder layers of a group that the backward pass computes again.
            sequence: processes that share the tokens of a pack.

        Raises:
            SettingsError: more processes a pack than there are, or than its heads can be dealt to.
        """
        if sequence > 1:
            raise SettingsError(
                f"sequence_parallel is {sequence} and one process trains; start as many as share a pack: torchrun "
                f"--nproc-per-node {sequence} -m burnish.train ..., or set sequence_parallel=1"
            )

    def optimiser(self, model: nn.Module, **how: Any) -> Optimiser:
        """The optimiser of what this process holds; arguments as `Optimiser`."""
        return Optimiser(model, **how)

    def progress(self, scratch: Path | None, **how: Any) -> Progress:
        """Checkpoints and metrics; arguments as `Progress`."""
        return WholeProgress(scratch, **how)

    def packs(self, examples: Sequence[Example], *, budget: int) -> Iterator[tuple[list[Example], float]]:
        """The packs of a batch that this process computes, with the weight of each in the sums over all processes."""
        for part in packs(examples, budget=budget):
            yield part, 1.0

    def total(self, values: Tensor) -> Tensor:
        """The sum over the processes."""
        return values

    def union(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """What any process has found, by name."""
        return found

    def first(self, make: Callable[[], Value]) -> Value:
        """What the first process makes; it alone makes it."""
        return make()

    def each(self, items: Sequence[Any], work: Callable[[Sequence[Any], int], list[Any]]) -> list[Any]:
        """`work` on all items, in their order. It gets a run of them and the place of its first, and no gradient."""
        return work(items, 0)

    def gathered(self, model: nn.Module) -> AbstractContextManager[None]:
        """Within it the model's parameters are whole tensors, to be read."""
        return nullcontext()

    def plain(self, model: nn.Module, blank: Callable[[], nn.Module]) -> nn.Module | None:
        """A plain model with the weights of this one, not to be changed; None in a process that does not write.

        Args:
            blank: makes a model of the same form, with any weights.
        """
        return model

    def whole(self, model: nn.Module) -> bool:
        """Bring the model together for writing; whether it is this process that writes it."""
        return True


_current: ContextVar[Alone | None] = ContextVar("burnish_ranks", default=None)


def ranks() -> Alone:
    """The processes that train together with this one."""
    return _current.get() or Alone()


def set_ranks(value: Alone | None) -> None:
    """Set them for good, as a process does when it has joined the others; None: it is alone."""
    _current.set(value)


def weighted(loss: Tensor, counted: Mapping[str, Tensor], weight: float) -> tuple[Tensor, Mapping[str, Tensor]]:
    """A pack's loss and sums, as they count in the sums over all processes."""
    if weight == 1.0:
        return loss, counted
    return weight * loss, {name: weight * value for name, value in counted.items()}
