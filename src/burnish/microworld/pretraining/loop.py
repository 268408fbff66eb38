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
from burnish.microworld.pretraining.optimiser import Muon
from burnish.microworld.pretraining.vocabulary import BOS, EOS, PAD, learn_tokenizer, load_tokenizer, save_tokenizer

POOL = 512  # documents sorted together
BARE = 0.2  # share of documents without BOS, so that prompts without one are no strangers


@dataclass(frozen=True, slots=True, kw_only=True)
class PretrainSettings:
    """Everything the base depends on, beside the code and the thread count. All ASSUMED: tuned on this world."""

    seed: int = 20
    pools: int = 200
    batch_tokens: int = 2048
    question_weight: float = 0.2
    learning_rate: float = 0.02
    embedding_rate: float = 0.004
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
        return LlamaForCausalLM(config)


def pool_batches(settings: PretrainSettings, tokenizer: Tokenizer, pool: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of one pool: ids int64 [rows, tokens], padded on the right, and loss weights float32 of that shape."""
    bos, eos, pad = (tokenizer.token_to_id(token) for token in (BOS, EOS, PAD))
    rng = Random(f"burnish/microworld/pretrain/{settings.seed}/{pool}")
    rows = []
    for number in range(pool * POOL, (pool + 1) * POOL):
        # A piece ends where a word ends, so that its tokens are those of the whole text.
        pieces = [e.ids for e in tokenizer.encode_batch(list(document(settings.seed, number).pieces), add_special_tokens=False)]
        ids = [token for piece in pieces for token in piece] + [eos]
        weights = [settings.question_weight if i % 2 == 0 else 1.0 for i, piece in enumerate(pieces) for _ in piece] + [1.0]
        bare = rng.random() < BARE
        rows.append((ids, weights) if bare else ([bos, *ids], [0.0, *weights]))
    rows.sort(key=lambda row: len(row[0]))
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


def _optimisers(model: Any, settings: PretrainSettings) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, Adam for the embedding (tied to the head) and the norms."""
    hidden = [p for name, p in model.named_parameters() if p.ndim > 1 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim <= 1 or "embed" in name]
    chosen = [Muon(hidden, lr=settings.learning_rate), torch.optim.Adam(rest, lr=settings.embedding_rate, betas=(0.9, 0.98))]
    for optimiser in chosen:
        for group in optimiser.param_groups:
            group["peak"] = group["lr"]
    return chosen


def _train_step(model: Any, optimisers: list[torch.optim.Optimizer], ids: torch.Tensor, weights: torch.Tensor) -> float:
    """One step on the weighted mean cross-entropy; the loss in nats a token."""
    # Padding stands on the right, so causal attention needs no mask for it.
    hidden = model.model(input_ids=ids[:, :-1]).last_hidden_state
    real = weights[:, 1:] > 0
    each = torch.nn.functional.cross_entropy(model.lm_head(hidden[real]), ids[:, 1:][real], reduction="none")
    loss = (each * weights[:, 1:][real]).sum() / weights[:, 1:].sum()
    model.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    for optimiser in optimisers:
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
    optimisers = _optimisers(model, settings)
    start, seconds, tokens = 0, 0.0, 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(state["model"])
        for optimiser, kept in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(kept)
        start, seconds, tokens = state["pool"], state["seconds"], state["tokens"]
        say(f"going on from pool {start} of {settings.pools}")
    say(f"{sum(p.numel() for p in model.parameters()):,} parameters, {settings.pools * POOL:,} documents")
    model.train()
    for pool, losses, count, took in _pools(model, optimisers, tokenizer, settings, start):
        seconds, tokens = seconds + took, tokens + count
        line = {"pool": pool, "loss": round(sum(losses) / len(losses), 4), "tokens": tokens, "seconds": round(seconds)}
        say(json.dumps(line))
        state = {"model": model.state_dict(), "optimisers": [o.state_dict() for o in optimisers], "pool": pool + 1,
                 "seconds": seconds, "tokens": tokens}  # fmt: skip
        if (pool + 1) % 5 == 0 or pool + 1 == settings.pools:
            _save(checkpoint, state)
    return model.eval()


def _pools(
    model: Any, optimisers: list[torch.optim.Optimizer], tokenizer: Tokenizer, settings: PretrainSettings, start: int
) -> Iterator[tuple[int, list[float], int, float]]:
    """Train pool by pool; yields its number, the losses, the real tokens and the seconds."""
    for pool in range(start, settings.pools):
        begun, losses, count = time.monotonic(), [], 0
        batches = pool_batches(settings, tokenizer, pool)
        for number, (ids, weights) in enumerate(batches):
            share = _share(settings, (pool + number / len(batches)) / settings.pools)
            for group in (group for optimiser in optimisers for group in optimiser.param_groups):
                group["lr"] = share * group["peak"]
            losses.append(_train_step(model, optimisers, ids, weights))
            count += int((weights > 0).sum())
        yield pool, losses, count, time.monotonic() - begun
