"""NEFTune: uniform noise on the embeddings of each sequence while it trains (Jain et al., arXiv:2310.05914)."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from burnish.errors import ModelError, SettingsError
from burnish.models.forward import body

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def noise_bound(alpha: float, *, tokens: int | Tensor, width: int) -> float | Tensor:
    """alpha / sqrt(L d): the largest noise element on a sequence of L tokens of d channels (Algorithm 1)."""
    return alpha / (tokens * width) ** 0.5


def sequence_spans(positions: Tensor) -> list[tuple[int, int, Tensor]]:
    """The sequences of a flat run of tokens, read off their logical positions.

        positions  0 1 2 3 | 0 1 2 3 2 3 4       a sequence begins at 0; a jump back to |prompt| begins an answer
        lengths    4 4 4 4 | 4 4 4 4 5 5 5       of the prompt and that answer together

    Args:
        positions: [T] of a pack, on the CPU; the first is 0.

    Returns:
        (first token, one past the last, [n] the length L that each token counts) of each sequence, or of a prompt with
        the answers that share it. A shared prompt counts the length of its first answer (ASSUMED; demonstrations, which
        NEFTune is for, have one answer).
    """
    breaks = torch.ones_like(positions, dtype=torch.bool)
    breaks[1:] = positions[1:] != positions[:-1] + 1
    begin = breaks.nonzero()[:, 0]
    end = torch.cat([begin[1:], torch.tensor([len(positions)])])
    lengths = (positions[end - 1] + 1).repeat_interleave(end - begin)
    starts = (positions == 0).nonzero()[:, 0].tolist()
    stops = [*starts[1:], len(positions)]
    return [(first, last, lengths[first:last]) for first, last in zip(starts, stops, strict=True)]


@dataclass(slots=True, kw_only=True)
class _Noise:
    """The two hooks: one reads how the next forward is laid out, one adds to what the embedding gives."""

    alpha: float
    seed: int
    step: int
    layout: list[tuple[int, int, int, Tensor]] | None = None
    ids: Tensor | None = None

    def look(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Where each sequence lies in the [B, S] tokens: (row, first, one past the last, lengths)."""
        self.layout = None
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is None:
            return
        self.ids = ids.cpu()
        positions, mask = kwargs.get("position_ids"), kwargs.get("attention_mask")
        padded = mask is not None and mask.ndim == 2 and not bool(mask.all())
        if positions is not None and not padded:
            rows = positions.cpu().expand(ids.shape)
            if rows[:, 0].any():
                raise ModelError("NEFTune needs whole sequences, but the first position of this forward is not 0")
            self.layout = [(row, *span) for row in range(len(rows)) for span in sequence_spans(rows[row])]
            return
        if mask is not None and mask.ndim != 2:
            raise ModelError("NEFTune reads lengths from a [rows, tokens] attention mask; give such a mask or none")
        self.layout = []
        for row, here in enumerate(mask.cpu().bool() if padded else torch.ones_like(self.ids, dtype=torch.bool)):
            length, first = int(here.sum()), int(here.int().argmax())
            if not here[first : first + length].all():
                raise ModelError(f"row {row} of the attention mask has gaps; pad on one side only")
            self.layout.append((row, first, first + length, torch.full((length,), length)))

    def key(self, ids: Tensor) -> int:
        """63 bits from the seed, the step and a sequence's own ids: the same in every pack, order and process."""
        text = f"{self.seed}\x1f{self.step}\x1f".encode() + ids.to(torch.int64).numpy().tobytes()
        return int.from_bytes(hashlib.blake2b(text, digest_size=8, person=b"burnish.noise").digest(), "little") >> 1

    def add(self, module: nn.Module, args: tuple[Any, ...], out: Tensor) -> Tensor:
        """The embeddings [B, S, d] with noise on every token of a sequence, none on padding."""
        if not module.training:
            return out
        if self.layout is None or self.ids is None or out.shape[:2] != self.ids.shape:
            raise ModelError(
                "NEFTune cannot tell the sequences of this forward apart; call the model with input_ids, and "
                "position_ids or an attention mask"
            )
        width = out.shape[-1]
        generator = torch.Generator(device=out.device)
        # drawn in float32 whatever the model's type, so that a float64 check sees the noise of the run
        noise = torch.zeros(out.shape, dtype=torch.float32, device=out.device)
        for row, first, last, lengths in self.layout:
            generator.manual_seed(self.key(self.ids[row, first:last]))
            drawn = torch.rand(last - first, width, generator=generator, device=out.device)
            bound = noise_bound(self.alpha, tokens=lengths.to(drawn), width=width)
            noise[row, first:last] = (2 * drawn - 1) * bound[:, None]
        wide = torch.promote_types(out.dtype, torch.float32)
        return (out.to(wide) + noise.to(wide)).to(out.dtype)


@contextmanager
def noisy_embeddings(model: PreTrainedModel, *, alpha: float, seed: int, step: int) -> Iterator[None]:
    """Within it, forwards of `model` see noisy embeddings.

        X' = X + alpha / sqrt(L d) * U,    U elementwise uniform on [-1, 1)

    NEFTune (Algorithm 1); Yi trains with alpha 45 (34B) and 5 (6B) (arXiv:2403.04652 §3; spec Y13). L is the length of
    the token's own sequence, prompt and answer, not of the pack or the padded batch it lies in. The noise has no
    gradient and depends on the seed, the step and the sequence's ids alone (ASSUMED; the paper keys nothing): any
    split into packs and a resumed run draw the same numbers, and a row that comes twice in a step gets the same twice.
    Another kind of device draws other numbers.

    This house trains models in eval mode, so that dropout is off; the context therefore puts the input embedding alone
    into training mode, and back. `model.eval()` inside it, or leaving it, ends the noise. Alpha 0 touches nothing.
    Where an architecture scales its embeddings after the look-up (Gemma), the noise is scaled with them, as in
    transformers' own version.

    Args:
        model: packed or plain; called with `input_ids` and, for several sequences in a row, `position_ids`.
        alpha: 0 or more.
        seed: of the run.
        step: the optimiser step; the same for all parts of one batch.

    Raises:
        SettingsError: alpha is negative or not a number.
        ModelError: (in the forward) the sequences of a batch cannot be told apart.
    """
    if not (alpha >= 0 and math.isfinite(alpha)):
        raise SettingsError(f"alpha is {alpha}; NEFTune takes 0 (no noise) or a positive number such as 5")
    if alpha == 0:
        yield
        return
    noise, embedding = _Noise(alpha=alpha, seed=seed, step=step), model.get_input_embeddings()
    hooks = [
        body(model).register_forward_pre_hook(noise.look, with_kwargs=True),
        embedding.register_forward_hook(noise.add),
    ]
    before, embedding.training = embedding.training, True
    try:
        yield
    finally:
        embedding.training = before and embedding.training  # an eval() inside stays
        for hook in hooks:
            hook.remove()
