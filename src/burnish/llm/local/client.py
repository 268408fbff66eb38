"""The in-process sampler: a model folder as a `protocols.Client`.

    prompts -> ids (styles) -> batches (batches) -> rows (local_decode, one batch a call, over worker processes)
            -> journal, a batch an entry -> Response rows

A model is loaded once a process and kept for the next call.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch

from burnish.chat import load_chat, load_tokens
from burnish.errors import ModelError, SettingsError
from burnish.llm.local.batches import Batch, plan, size_of
from burnish.llm.local.decode import Decoder, open_decoder
from burnish.llm.local.randomness import key, uniforms
from burnish.llm.local.rows import Limits
from burnish.llm.local.styles import STYLES, ChatStyle, CompletionStyle
from burnish.models import dtype_named, load_causal
from burnish.protocols import Work
from burnish.records import (
    Demonstration,
    Prompt,
    Response,
    Sampling,
    Weights,
    content_id,
    context_length,
    model_config,
    plain,
)
from burnish.runs import compute, parallel

logger = logging.getLogger(__name__)

DRAWING = 2  # raise when the same request may give other tokens: it is part of the journal's key
_KEPT_MODELS = 2
_decoders: OrderedDict[tuple[str, str, str, bool], Decoder] = OrderedDict()

TOO_LONG = "prompt longer than the context"
EMPTY = "empty prompt"


@dataclass(frozen=True, slots=True)
class Local:
    """Answers with the weights in a folder.

    Args:
        weights: a causal language model in Hugging Face layout, with its tokenizer.
        style: `chat`, `completion` or `few-shot` (see `styles`).
        examples: worked examples for `few-shot`.
        format: a named chat format (`llama3`, `chatml`) in place of the tokenizer's own template.
        compile: draw through `torch.compile` (`layers`), which takes some seconds in each process that draws.
    """

    weights: Weights
    style: str = "chat"
    examples: tuple[Demonstration, ...] = ()
    format: str | None = None
    compile: bool = field(default=False, metadata={"later": True})

    def __post_init__(self) -> None:
        if self.style not in STYLES:
            raise SettingsError(f"there is no prompt style {self.style!r}; choose one of {', '.join(STYLES)}")
        if (self.style == "few-shot") != bool(self.examples):
            raise SettingsError("the style few-shot needs examples, and no other style takes any")
        if self.weights.kind != "causal":
            raise ModelError(f"{self.weights.path} is a {self.weights.kind} model; only a causal one can answer")

    @property
    def name(self) -> str:
        """What `Response.model` holds: the weights' content id, and the style when it is not `chat`."""
        return self.weights.id if self.style == "chat" else f"{self.weights.id}@{self.style}"

    def refuse(self, prompts: Sequence[Prompt], sampling: Sampling) -> list[tuple[Prompt, str, str]]:
        """Prompts that `answer` leaves out, each with a reason and a word of detail; nothing is ever truncated."""
        style, room = _style(self), context_length(self.weights.path)
        refused = []
        for prompt in prompts:
            length = len(style.encode(prompt))
            if not length:
                refused.append((prompt, EMPTY, "its text has no token"))
            elif length + sampling.max_new_tokens > room:
                detail = f"{length} tokens and {sampling.max_new_tokens} new ones, but the model holds {room}"
                refused.append((prompt, TOO_LONG, detail))
        return refused

    def answer(
        self, prompts: Sequence[Prompt], *, n: int, sampling: Sampling, work: Work | None = None
    ) -> list[Response]:
        """`n` answers to each prompt that is not refused: prompts as given, then sample index.

        A row depends on the weights, the prompt's id and tokens, its index and `sampling`; through rounding in the
        model's own sums also on the batch it is drawn in, and batches are a pure function of the whole call.

        Raises:
            SettingsError: `n` or a field of `sampling` out of range.
            ModelError: weights that cannot be loaded, or logits that are not finite.
        """
        check_sampling(n, sampling)
        refused = {id(prompt) for prompt, _, _ in self.refuse(prompts, sampling)}
        asked = [prompt for prompt in prompts if id(prompt) not in refused]
        style, here = _style(self), compute()
        encoded = [style.encode(prompt) for prompt in asked]
        item = torch.finfo(dtype_named(here.dtype)).bits // 8
        size = size_of(model_config(self.weights.path), item)
        batches = plan([len(ids) for ids in encoded], n, sampling.max_new_tokens, size)
        calls = [
            (self, [encoded[i] for i in b.prompts], [asked[i].id for i in b.prompts], b, sampling) for b in batches
        ]
        request = [DRAWING, self.name, self.format, style.identity, here.dtype, n, plain(sampling)]
        request += ["compiled"] * self.compile
        digest = content_id([*request, [[p.id, ids] for p, ids in zip(asked, encoded, strict=True)]])
        results = _run(calls, digest, work)
        rows = [{} for _ in asked]
        for batch, drawn in zip(batches, results, strict=True):
            for row in range(batch.rows):
                place, sample = divmod(row, batch.count)
                found = (drawn["ids"][row], drawn["logprobs"][row], drawn["finish"][row])
                rows[batch.prompts[place]][batch.first + sample] = found
        return [
            self._response(prompt, style, index, rows[i][index], sampling)
            for i, prompt in enumerate(asked)
            for index in range(n)
        ]

    def _response(
        self, prompt: Prompt, style: Any, index: int, row: tuple[list[int], list[float], str], sampling: Sampling
    ) -> Response:
        ids, logprobs, finish = row
        return Response(
            prompt=prompt.id,
            messages=style.messages(ids),
            token_ids=tuple(ids),
            logprobs=tuple(logprobs),
            model=self.name,
            sampling=sampling,
            index=index,
            finish=finish,
            parents=(prompt.id,),
        )


def check_sampling(n: int, sampling: Sampling) -> None:
    """Raise `SettingsError` for a count, temperature, length or top_p that nothing can be drawn with."""
    if n < 1 or sampling.max_new_tokens < 1:
        raise SettingsError(f"n ({n}) and max_new_tokens ({sampling.max_new_tokens}) must be at least 1")
    if not 0 <= sampling.temperature < float("inf"):
        raise SettingsError(f"temperature must be 0 (greedy) or a positive number, not {sampling.temperature}")
    if not 0 < sampling.top_p <= 1:
        raise SettingsError(f"top_p must lie in (0, 1], not {sampling.top_p}")


def _run(calls: Sequence[tuple[Any, ...]], digest: str, work: Work | None) -> list[dict[str, Any]]:
    """One result a call, finished ones from the journal, fresh ones into it."""
    results: list[dict[str, Any] | None] = [None] * len(calls)
    if work is not None:
        results = [work.journal.get(f"{digest}/{i}") for i in range(len(calls))]
    rows = [call[3].rows for call in calls]
    total = sum(rows)
    done = sum(r for r, result in zip(rows, results, strict=True) if result is not None)
    missing = [i for i, result in enumerate(results) if result is None]
    if work is not None:
        work.progress(done, total, "samples")
    notices = set()
    for place, result in parallel(sample_batch, [calls[i] for i in missing]):
        notices.add(result.pop("notice"))
        results[missing[place]] = result
        done += rows[missing[place]]
        if work is not None:
            work.journal.put(f"{digest}/{missing[place]}", result)
            work.progress(done, total, "samples")
    for notice in sorted(notices - {""}):
        logger.warning("%s is %s", calls[0][0].weights.path, notice)
    return results


def sample_batch(
    client: Local, prompts: Sequence[Sequence[int]], names: Sequence[str], batch: Batch, sampling: Sampling
) -> dict[str, Any]:
    """Draw one batch in this process; JSON-ready lists, one entry a row: ids, logprobs, finish; and a notice."""
    here = compute()
    decoder = loaded(client.weights, here.dtype, here.device, compile=client.compile)
    style = _style(client)
    keys = [key(sampling.seed, name, batch.first + s) for name in names for s in range(batch.count)]
    limits = Limits(
        max_new_tokens=sampling.max_new_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        stop_ids=style.stop_ids,
        watched=style.watched,
        ended=style.ended if style.watched else None,
    )
    drawn = decoder.generate(prompts, batch.count, uniforms(keys, sampling.max_new_tokens), limits)
    return {"ids": drawn.token_ids, "logprobs": drawn.logprobs, "finish": drawn.finish, "notice": decoder.notice}


def loaded(weights: Weights, dtype: str, device: str, *, compile: bool = False) -> Decoder:
    """The decoder of these weights, loaded on first use in this process; the two last used are kept."""
    name = (weights.id, dtype, device, compile)
    if name not in _decoders:
        while len(_decoders) >= _KEPT_MODELS:
            _decoders.popitem(last=False)
        _decoders[name] = open_decoder(load_causal(weights, dtype=dtype, device=device), compile=compile)
    _decoders.move_to_end(name)
    return _decoders[name]


@lru_cache(maxsize=8)
def _style(client: Local) -> ChatStyle | CompletionStyle:
    if client.style == "chat":
        return ChatStyle(load_chat(client.weights.path, format=client.format))
    return CompletionStyle(load_tokens(client.weights.path), client.examples)
