"""The three ways a model may be stepped through the loop of `rows`.

    Grouped     prompts read once for their K samples, prompts of any length in one batch (attention); a token goes
                through the model's own modules, or, for a form that `layers` knows, through the same sums without them
    Plain       the model's own cache; prompts of one length at a time
    Recompute   no cache: the whole row at each token; slow, and right for every causal model

`open_decoder` tries them in this order on a small probe against the model's own eager forward without a cache, and
takes the first that agrees; anything but the first comes with a notice.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedModel

from burnish.errors import ModelError
from burnish.llm.local.attention import ATTENTION, GroupedCache, KeyValues, attending
from burnish.llm.local.layers import Layers, check_compiler, why_not
from burnish.llm.local.rows import Drawn, Limits, draw_rows

READ_TOKENS = 4096  # prompt tokens (padding included) of one forward: activations stay within a core's cache
COMMON_TOKENS = 16  # prompts that begin with so many equal tokens have them read once for all
# How far log-probabilities may lie from the eager forward in the probe, nats, by dtype: the largest difference, or in
# half precision, where unlikely tokens carry most of the rounding, the largest expected one. Wide, since an error in a
# mask or position moves them by far more, and transformers takes norms and rotary angles in float32 whatever the dtype.
AGREEMENT = {torch.float64: 1e-5, torch.float32: 1e-3, torch.bfloat16: 0.2, torch.float16: 0.05}
_LENGTH_BOUND_ROTARY = ("dynamic", "longrope")  # their angles depend on the longest position in the batch


class Grouped:
    """See the module's docstring and `attention`."""

    def __init__(self, model: PreTrainedModel, *, bare: bool = False, compile: bool = False) -> None:
        """Args:
        bare: step without the model's modules, through `layers`.
        compile: with `bare`, through `torch.compile`.
        """
        self.model, self.bare, self.compile = model, bare, compile
        self.tail = "logits_to_keep" in inspect.signature(model.forward).parameters

    def start(self, prompts: Sequence[Sequence[int]], samples: int, budget: int) -> torch.Tensor:
        device, common = self.model.device, common_tokens(prompts)
        rest = [prompt[common:] for prompt in prompts]
        lengths = torch.tensor([len(p) for p in rest], device=device)
        self.state = KeyValues(lengths=lengths, samples=samples, budget=max(1, budget - 1), common=common)
        self.cache = GroupedCache(self.state)
        if common:
            self.state.reading = "common"
            self._read(torch.tensor([list(prompts[0][:common])], device=device), lengths.new_tensor([common - 1]), 0)
        logits = []
        for chunk in _chunks([len(p) for p in rest], READ_TOKENS):
            part = rest[chunk]
            ids = torch.zeros(len(part), max(map(len, part)), dtype=torch.long)
            for row, prompt in enumerate(part):
                ids[row, : len(prompt)] = torch.tensor(prompt)
            self.state.reading = chunk
            logits.append(self._read(ids.to(device), lengths[chunk] - 1, common))
        self.state.reading = None
        self.position = common + lengths.repeat_interleave(samples)
        self.drawn = 0
        longest = int(self.position.max()) + budget
        self.layers = Layers(self.model, longest, compile=self.compile) if self.bare else None
        return torch.cat(logits)

    def _read(self, ids: torch.Tensor, last: torch.Tensor, first: int) -> torch.Tensor:
        """Logits at place `last` [p] of each row of ids [p, l], whose first token stands at position `first`."""
        wanted, place = last.unique(return_inverse=True)
        extra: dict[str, Any] = {"logits_to_keep": wanted} if self.tail else {}
        positions = torch.arange(first, first + ids.shape[1], device=ids.device)[None]
        with attending(self.state):
            out = self.model(ids, position_ids=positions, past_key_values=self.cache, use_cache=True, **extra).logits
        rows = torch.arange(len(ids), device=ids.device)
        return out[rows, place] if self.tail else out[rows, last]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.state.begin_step(self.drawn)
        positions = self.position + self.drawn
        self.drawn += 1
        if self.layers is not None:
            return self.layers.step(self.state, tokens, positions)
        how = {"position_ids": positions[:, None], "past_key_values": self.cache, "use_cache": True}
        with attending(self.state):
            out = self.model(tokens[:, None], **how)
        return out.logits[:, -1]

    def keep(self, alive: torch.Tensor) -> None:
        self.state.keep(alive)
        self.position = self.position[alive]


class Plain:
    """The model's own cache. Prompts must have one length: no padding may reach a recurrent or windowed layer."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def start(self, prompts: Sequence[Sequence[int]], samples: int, budget: int) -> torch.Tensor:
        out = self.model(torch.tensor(list(prompts), device=self.model.device), use_cache=True)
        self.cache = out.past_key_values
        if self.cache is None:
            raise ModelError(f"{type(self.model).__name__} gives no cache")
        self.cache.batch_repeat_interleave(samples)
        return out.logits[:, -1]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        out = self.model(tokens[:, None], past_key_values=self.cache, use_cache=True)
        self.cache = out.past_key_values
        return out.logits[:, -1]

    def keep(self, alive: torch.Tensor) -> None:
        self.cache.batch_select_indices(alive.nonzero()[:, 0])


class Recompute:
    """No cache: each token costs a forward over the whole row. Prompts must have one length."""

    def __init__(self, model: PreTrainedModel) -> None:
        self.model = model

    def start(self, prompts: Sequence[Sequence[int]], samples: int, budget: int) -> torch.Tensor:
        ids = torch.tensor(list(prompts), device=self.model.device)
        self.rows = ids.repeat_interleave(samples, 0)
        return self.model(ids, use_cache=False).logits[:, -1]

    def step(self, tokens: torch.Tensor) -> torch.Tensor:
        self.rows = torch.cat([self.rows, tokens[:, None]], dim=1)
        return self.model(self.rows, use_cache=False).logits[:, -1]

    def keep(self, alive: torch.Tensor) -> None:
        self.rows = self.rows[alive]


@dataclass
class Decoder:
    """A model and the path it is stepped by.

    Args:
        attention: the implementation the model came with, which every path but the grouped one runs on.
        notice: why it is not the grouped path; empty when it is.
        bare, compile: as of the grouped path.
    """

    model: PreTrainedModel
    path: type[Grouped] | type[Plain] | type[Recompute]
    attention: str
    notice: str = ""
    bare: bool = False
    compile: bool = False

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], samples: int, uniforms: np.ndarray, limits: Limits) -> Drawn:
        """Draw `samples` rows for each prompt.

        Args:
            prompts: token ids, none empty, each short enough for `limits.max_new_tokens` more.
            uniforms: float64 [len(prompts) * samples, max_new_tokens] in [0, 1), see `randomness.uniforms`.
        """
        path = self._path_for(max(map(len, prompts)) + limits.max_new_tokens)
        self.model.set_attn_implementation(ATTENTION if path is Grouped else self.attention)
        if path is Grouped:
            grouped = Grouped(self.model, bare=self.bare, compile=self.compile)
            return draw_rows(grouped, prompts, samples, uniforms, limits)
        rows: dict[int, tuple[list[int], list[float], str]] = {}
        for length in sorted({len(p) for p in prompts}):
            members = [i for i, p in enumerate(prompts) if len(p) == length]
            numbers = [m * samples + s for m in members for s in range(samples)]
            lengths = None if limits.lengths is None else tuple(limits.lengths[number] for number in numbers)
            mine = replace(limits, lengths=lengths)
            drawn = draw_rows(path(self.model), [prompts[m] for m in members], samples, uniforms[numbers], mine)
            rows.update(zip(numbers, zip(drawn.token_ids, drawn.logprobs, drawn.finish, strict=True), strict=True))
        ids, logprobs, finish = (list(column) for column in zip(*(rows[r] for r in sorted(rows)), strict=True))
        return Drawn(token_ids=ids, logprobs=logprobs, finish=finish)

    def _path_for(self, longest: int) -> type[Grouped] | type[Plain] | type[Recompute]:
        bound = rotary_threshold(self.model.config)
        return Recompute if bound is not None and longest > bound else self.path


def common_tokens(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, each keeping one of its own; 0 when it is too few to pay off."""
    if len(prompts) < 2:
        return 0
    first, last = min(prompts), max(prompts)  # in lexical order, what these two share all share
    most = min(map(len, prompts)) - 1
    common = next((i for i in range(most) if first[i] != last[i]), most)
    return common if common >= COMMON_TOKENS else 0


def _chunks(lengths: Sequence[int], most: int) -> list[slice]:
    """Runs of prompts whose padded size stays within `most` tokens (one prompt at least)."""
    chunks, start, longest = [], 0, 0
    for index, length in enumerate(lengths):
        longest = max(longest, length)
        if index > start and longest * (index + 1 - start) > most:
            chunks.append(slice(start, index))
            start, longest = index, length
    return [*chunks, slice(start, len(lengths))]


# Choosing the path


def open_decoder(model: PreTrainedModel, *, compile: bool = False) -> Decoder:
    """Probe `model` and choose its path. Its attention implementation is switched when the grouped path serves it.

    Args:
        compile: step through `torch.compile` where the model's form is known to `layers`. The same tokens;
            log-probabilities move by rounding.

    Raises:
        SettingsError: to compile, without a C++ compiler.
    """
    original = model.config._attn_implementation
    strange = why_not(model)
    reasons = [f"not compiled: {strange}"] if compile and strange else []
    grouped = [{"bare": False}] if strange else [{"bare": True}, {"bare": False}]
    if compile and not strange:
        check_compiler()
        grouped.insert(0, {"bare": True, "compile": True})
    for path, how in [*((Grouped, one) for one in grouped), (Plain, {})]:
        try:
            if path is Grouped:
                model.set_attn_implementation(ATTENTION)
            reason = _disagreement(model, path, how)
            if not reason and path is Grouped:
                reason = _disagreement(model, path, how, range(1, COMMON_TOKENS + 1))
        except Exception as error:  # any failure of a path on this architecture means: not this path
            reason = f"{type(error).__name__}: {error}"
        if not reason:
            notice = f"sampled through its own cache, prompts grouped by length ({reasons[0]})" if reasons else ""
            if path is Grouped and reasons:
                through = "without compiling" if how["bare"] else "through its own modules"
                notice = f"stepped {through} ({reasons[0]})"
            return Decoder(model, path, original, notice, **how)
        model.set_attn_implementation(original)
        reasons.append(reason)
    return Decoder(model, Recompute, original, f"sampled without a cache, which is slow ({'; '.join(reasons)})")


@torch.inference_mode()
def _disagreement(
    model: PreTrainedModel, path: type[Grouped] | type[Plain], how: dict[str, bool], before: Sequence[int] = ()
) -> str:
    """Empty when the path gives the eager forward's log-probabilities on prompts that begin with `before`, else why."""
    config = model.config.get_text_config()
    generator = np.random.default_rng(20240731)
    top = min(config.vocab_size, 1000)
    sizes = (7, 5, 3) if path is Grouped else (5, 5, 5)
    prompts = [[*before, *generator.integers(1, top, size).tolist()] for size in sizes]
    drawn = torch.from_numpy(generator.integers(1, top, (6, 3))).to(model.device)
    stepper, samples = path(model, **how), 2
    logits = [stepper.start(prompts, samples, 4).repeat_interleave(samples, 0), stepper.step(drawn[:, 0])]
    alive = torch.tensor([False, False, True, True, False, True], device=model.device)
    stepper.keep(alive)
    logits += [stepper.step(drawn[alive, 1]), stepper.step(drawn[alive, 2])]
    if path is Grouped and (strange := _unseen_window(config, stepper.state)):
        return strange
    here, half = model.config._attn_implementation, model.dtype in (torch.bfloat16, torch.float16)
    worst = 0.0
    try:
        model.set_attn_implementation("eager")
        for place, row in enumerate(alive.nonzero()[:, 0].tolist()):
            prompt = prompts[row // samples]
            ids = torch.tensor([[*prompt, *drawn[row].tolist()]], device=model.device)
            full = model(ids, use_cache=False).logits[0, len(prompt) - 1 :].double().log_softmax(-1)
            ours = torch.stack([logits[0][row], logits[1][row], logits[2][place], logits[3][place]])
            apart = (ours.double().log_softmax(-1) - full).abs()
            worst = max(worst, float((apart * full.exp()).sum(-1).max() if half else apart.max()))
    finally:
        model.set_attn_implementation(here)
    bound = AGREEMENT.get(model.dtype, 0.2)
    return "" if worst <= bound else f"log-probabilities {worst:.2g} nats off the eager forward"


def _unseen_window(config: Any, state: KeyValues) -> str:
    """A window or chunk in the configuration that attention was never told of; a short probe cannot see it."""
    kinds = getattr(config, "layer_types", None) or []
    if set(kinds) - {"full_attention", "sliding_attention"}:
        return f"layers of kind {', '.join(sorted(set(kinds)))}"
    window = getattr(config, "sliding_window", None)
    for index, layer in state.layers.items():
        slides = kinds[index] == "sliding_attention" if index < len(kinds) else window is not None
        if slides and (window is None or layer.window != window):
            return f"layer {index} slides over a window that its attention is not told"
    if getattr(config, "attention_chunk_size", None):
        return "attention in chunks"
    return ""


def rotary_threshold(config: Any) -> int | None:
    """Positions beyond which a model's rotary angles depend on the longest row of the batch; None if they never do."""
    config = config.get_text_config()
    found = getattr(config, "rope_parameters", None) or {}
    kinds = [found] if "rope_type" in found else [v for v in found.values() if isinstance(v, dict)]
    bounds = [
        kind.get("original_max_position_embeddings")
        or getattr(config, "original_max_position_embeddings", None)
        or config.max_position_embeddings
        for kind in kinds
        if kind.get("rope_type") in _LENGTH_BOUND_ROTARY
    ]
    return min(bounds) if bounds else None
