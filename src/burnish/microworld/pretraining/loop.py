"""Pre-training of the base from scratch: resumable, seeded, equal for equal thread counts.

Batches are a pure function of (seed, step): pools of documents are sorted by length and cut under a token budget, so
that little padding is computed, and the batches of a pool are taken in a seeded order.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer

from burnish.microworld.corpus import document
from burnish.microworld.pretraining.vocabulary import BOS, EOS, PAD, learn_tokenizer, load_tokenizer, save_tokenizer
from burnish.microworld.pretraining.wiring import lay_out

POOL = 512  # documents sorted together
BARE = 0.2  # share of documents without BOS, so that prompts without one are no strangers


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """Everything the base depends on, beside the code and the thread count. All ASSUMED: tuned on this world."""

    seed: int = 20
    pools: int = 230
    batch_tokens: int = 512
    question_weight: float = 0.2
    learning_rate: float = 6e-4
    warmup: float = 0.02
    floor: float = 0.02
    hidden: int = 192
    layers: int = 5
    heads: int = 6
    kv_heads: int = 2
    intermediate: int = 448


def new_model(settings: PretrainSettings, tokenizer: Tokenizer) -> Any:
    """A randomly initialised Llama of the settings' shape, tied embeddings, seeded."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=settings.hidden, intermediate_size=settings.intermediate,
        num_hidden_layers=settings.layers, num_attention_heads=settings.heads,
        num_key_value_heads=settings.kv_heads, max_position_embeddings=2048, tie_word_embeddings=True,
        bos_token_id=tokenizer.token_to_id(BOS), eos_token_id=tokenizer.token_to_id(EOS),
        pad_token_id=tokenizer.token_to_id(PAD), rms_norm_eps=1e-5, initializer_range=0.05,
    )  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = LlamaForCausalLM(config)
    lay_out(model, torch.Generator().manual_seed(settings.seed))
    return model


Batch = tuple[torch.Tensor, torch.Tensor]
_Row = tuple[list[int], list[float]]


def _rows(settings: PretrainSettings, tokenizer: Tokenizer, pool: int, rng: Random) -> list[_Row]:
    """The documents of one pool as ids and loss weights, in their order."""
    bos, eos = tokenizer.token_to_id(BOS), tokenizer.token_to_id(EOS)
    rows = []
    for number in range(pool * POOL, (pool + 1) * POOL):
        # A piece ends where a word ends, so that its tokens are those of the whole text.
        ids, weights = [], []
        for place, piece in enumerate(document(settings.seed, number).pieces):
            fresh = tokenizer.encode(piece, add_special_tokens=False).ids
            ids += fresh
            weights += [1.0 if place % 2 else settings.question_weight] * len(fresh)
        if rng.random() >= BARE:
            ids, weights = [bos, *ids], [0.0, *weights]
        rows.append(([*ids, eos], [*weights, 1.0]))
    return rows


def pool_batches(settings: PretrainSettings, tokenizer: Tokenizer, pool: int) -> list[Batch]:
    """The batches of one pool: ids int64 [rows, tokens], padded on the right, and their loss weights float32."""
    pad = tokenizer.token_to_id(PAD)
    rng = Random(f"burnish/microworld/pretrain/{settings.seed}/{pool}")
    rows = sorted(_rows(settings, tokenizer, pool, rng), key=lambda row: len(row[0]))
    batches, batch = [], []
    for row in rows:
        if batch and (len(batch) + 1) * len(row[0]) > settings.batch_tokens:
            batches.append(batch)
            batch = []
        batch.append(row)
    batches.append(batch)
    rng.shuffle(batches)
    filled = []
    for batch in batches:
        width = max(len(ids) for ids, _ in batch)
        filled.append(
            (
                torch.tensor([ids + [pad] * (width - len(ids)) for ids, _ in batch]),
                torch.tensor([weights + [0.0] * (width - len(weights)) for _, weights in batch]),
            )
        )
    return filled


def _share(settings: PretrainSettings, done: float) -> float:
    """The share of the peak learning rate when `done` of the training is done: linear warm-up, cosine decay."""
    if done < settings.warmup:
        return done / settings.warmup
    cosine = 0.5 * (1 + math.cos(math.pi * (done - settings.warmup) / (1 - settings.warmup)))
    return settings.floor + (1 - settings.floor) * cosine


def _train_step(model: Any, optimiser: torch.optim.Optimizer, ids: torch.Tensor, weights: torch.Tensor) -> float:
    """One step on the weighted mean cross-entropy; the loss in nats a token."""
    # Padding stands on the right, so causal attention needs no mask for it.
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    real = weights[:, 1:] > 0
    each = torch.nn.functional.cross_entropy(model.lm_head(hidden[real]), ids[:, 1:][real], reduction="none")
    loss = (each * weights[:, 1:][real]).sum() / weights[:, 1:].sum()
    model.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    return float(loss.detach())


def _save(path: Path, state: dict[str, Any]) -> None:
    fresh = path.with_suffix(".new")
    torch.save(state, fresh)  # scratch of one machine, deleted at the end; what ships is safetensors
    os.replace(fresh, path)


def pretrain(folder: Path, settings: PretrainSettings, *, say: Callable[[str], None] = print) -> Any:
    """Train the base, or go on with it. `folder` holds the tokenizer, the log and a checkpoint until it is done.

    The same settings in the same folder go on where they were; other settings are refused.

    Raises:
        ValueError: the folder holds a training with other settings.
    """
    folder.mkdir(parents=True, exist_ok=True)
    noted = folder / "settings.json"
    if noted.exists() and json.loads(noted.read_text()) != asdict(settings):
        raise ValueError(f"{folder} holds a training with other settings; choose another --work folder")
    noted.write_text(json.dumps(asdict(settings)))
    if not (folder / "tokenizer.json").exists():
        save_tokenizer(learn_tokenizer(settings.seed), folder)
    tokenizer = load_tokenizer(folder)
    model = new_model(settings, tokenizer)
    optimiser = torch.optim.Adam(model.parameters(), lr=settings.learning_rate, betas=(0.9, 0.98))
    start, seconds, tokens = 0, 0.0, 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        optimiser.load_state_dict(state["optimiser"])
        start, seconds, tokens = state["pool"], state["seconds"], state["tokens"]
        say(f"going on from pool {start} of {settings.pools}")
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters, {settings.pools * POOL:,} documents")
    model.train()
    for pool, losses, count, took in _pools(model, optimiser, tokenizer, settings, start):
        seconds, tokens = seconds + took, tokens + count
        line = {"pool": pool, "loss": round(sum(losses) / len(losses), 4), "tokens": tokens, "seconds": round(seconds)}
        say(json.dumps(line))
        state = {"model": model.state_dict(), "optimiser": optimiser.state_dict(), "pool": pool + 1,
                 "seconds": seconds, "tokens": tokens}  # fmt: skip
        if (pool + 1) % 5 == 0 or pool + 1 == settings.pools:
            _save(checkpoint, state)
    return model.eval()


def _pools(
    model: Any, optimiser: torch.optim.Optimizer, tokenizer: Tokenizer, settings: PretrainSettings, start: int
) -> Iterator[tuple[int, list[float], int, float]]:
    """Train pool by pool; yields its number, the losses, the real tokens and the seconds."""
    for pool in range(start, settings.pools):
        begun, losses, count = time.monotonic(), [], 0
        batches = pool_batches(settings, tokenizer, pool)
        for number, (ids, weights) in enumerate(batches):
            share = _share(settings, (pool + number / len(batches)) / settings.pools)
            for group in optimiser.param_groups:
                group["lr"] = share * settings.learning_rate
            losses.append(_train_step(model, optimiser, ids, weights))
            count += int((weights > 0).sum())
        yield pool, losses, count, time.monotonic() - begun
