"""Pre-training of the base from scratch, through the engine's `pretrain` objective: resumable, seeded.

What is this world's own: documents come from the corpus by number, a question's tokens weigh a fifth, some documents
lack BOS, and an optimiser batch holds documents of like length. The rest is `burnish.train`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import nn

from burnish.chat import Tokens
from burnish.microworld.corpus import document
from burnish.microworld.pretraining.vocabulary import BOS, EOS, PAD, learn_tokenizer, load_tokenizer, save_tokenizer
from burnish.microworld.pretraining.wiring import lay_out
from burnish.models import load_causal, save_model
from burnish.records import Dropped
from burnish.train import Example, Loop, Session, open_session
from burnish.train.documents import document_example
from burnish.train.objectives import Pretraining
from burnish.train.objectives.method import Part, column, trained_logprobs

POOL = 512  # documents sorted together
BARE = 0.2  # share of documents without BOS, so that prompts without one are no strangers
SAVED = 5  # pools between checkpoints


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


@dataclass(slots=True, kw_only=True)
class WorldText(Pretraining):
    """Weighted next-token prediction on the documents of the corpus. Unit: the summed weights of the batch.

    Args:
        settings: of the training.
        ends: for each pool, the steps that are done when it is.
    """

    settings: PretrainSettings
    ends: list[int] = field(default_factory=list)

    def read(
        self, codec: Tokens, rows: Sequence[int], *, max_length: int, refuse_above: float
    ) -> tuple[list[Example], list[Dropped]]:
        """The documents of these pools, in the order of their numbers; none is dropped."""
        return [example for pool in rows for example in self._pool(codec, pool)], []

    def _random(self, pool: int) -> Random:
        return Random(f"burnish/microworld/pretrain/{self.settings.seed}/{pool}")

    def _pool(self, codec: Tokens, pool: int) -> list[Example]:
        bos, eos = codec.named("bos_token"), codec.named("eos_token")
        rng = self._random(pool)
        examples = []
        for number in range(pool * POOL, (pool + 1) * POOL):
            # A piece ends where a word ends, so that its tokens are those of the whole text.
            ids, weights = [], []
            for place, piece in enumerate(document(self.settings.seed, number).pieces):
                fresh = codec.encode_text(piece, bos=False)
                ids += fresh
                weights += [1.0 if place % 2 else self.settings.question_weight] * len(fresh)
            if rng.random() >= BARE:
                ids, weights = [bos, *ids], [0.0, *weights]
            example = document_example(str(number), (*ids, eos))
            examples.append(replace(example, values=(*weights[1:], 1.0)))
        return examples

    def batches(
        self, examples: Sequence[Example], *, batch_rows: int, epochs: int, seed: int, length_group: int
    ) -> list[list[int]]:
        """Documents of a pool by length, cut so that they would cost `batch_tokens` padded; batches in seeded order."""
        found: list[list[int]] = []
        for pool, start in enumerate(range(0, len(examples), POOL)):
            batches: list[list[int]] = [[]]
            for index in sorted(range(start, start + POOL), key=lambda i: examples[i].tokens):
                if batches[-1] and (len(batches[-1]) + 1) * examples[index].tokens > self.settings.batch_tokens:
                    batches.append([])
                batches[-1].append(index)
            rng = self._random(pool)
            for _ in range(POOL):
                rng.random()  # the draws for BOS come first
            rng.shuffle(batches)
            found += batches
            self.ends.append(len(found))
        return found

    def units(self, examples: Sequence[Example]) -> float:
        return sum(sum(example.values) for example in examples)

    def part(self, model: nn.Module, examples: Sequence[Example], units: float) -> Part:
        logprobs, _ = trained_logprobs(model, examples)
        return -(logprobs * column(examples, logprobs.device).to(logprobs.dtype)).sum() / units, {}

    def metrics(self, sums: Mapping[str, float], units: float) -> dict[str, float]:
        return {}


@dataclass(frozen=True, slots=True)
class _Place:
    """What the engine needs of a step: a folder that outlives a kill."""

    scratch: Path


def pretrain(folder: Path, settings: PretrainSettings, *, say: Callable[[str], None] = print) -> Any:
    """Train the base, or go on with it. `folder` holds the tokenizer, the start and a checkpoint, in the end `model/`.

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
    start = save_model(new_model(settings, load_tokenizer(folder)), folder / "start", tokenizer_from=folder)
    method = WorldText(settings=settings)
    loop = Loop(
        lr=settings.learning_rate, epochs=1, batch_rows=1, warmup=settings.warmup, schedule="cosine",
        floor=settings.floor, beta2=0.98, seed=settings.seed, weight_decay=0.0, clip=1.0,
    )  # fmt: skip
    session = open_session(start, range(settings.pools), method=method, loop=loop, work=_Place(folder))
    session.totals.setdefault("milliseconds", 0)
    if session.step:
        say(f"going on from step {session.step} of {len(session.batches)}")
    parameters = sum(p.numel() for p in session.model.parameters())
    say(f"{parameters:,} parameters, {settings.pools * POOL:,} documents")
    for pool, end in enumerate(method.ends):
        if session.step < end:
            say(json.dumps(_train_pool(session, pool, end, since=method.ends[pool - 1] if pool else 0)))
            if (pool + 1) % SAVED == 0 or pool + 1 == settings.pools:
                session.save()
    return load_causal(save_model(session.model, folder / "model", tokenizer_from=folder)).eval()


def _train_pool(session: Session, pool: int, end: int, *, since: int) -> dict[str, Any]:
    """Train to the end of a pool; its number, mean loss, and the tokens and seconds of the training so far."""
    while session.step < end:
        begun = time.monotonic()
        session.update([session.examples[index] for index in session.batches[session.step]])
        session.totals["milliseconds"] += round(1000 * (time.monotonic() - begun))
    losses = [json.loads(line)["loss"] for line in session.progress.lines[since:end]]
    told = {"pool": pool, "loss": round(sum(losses) / len(losses), 4), "tokens": session.totals["tokens"]}
    return {**told, "seconds": round(session.totals["milliseconds"] / 1000)}
