"""Real pairs, the shapes of rows that a comparison may ask for, and the models that train on them."""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from burnish.chat import adopt
from burnish.models import new_reward, save_model
from burnish.records import Candidate, Message, Preference, Weights

WIDTH, LAYERS, HEADS, INNER, VOCABULARY = 256, 6, 4, 704, 16_384
PROMPT_TIMES = 4  # how much longer than the answers a long prompt is, in characters
ANSWERS = (40, 320)  # characters of the answers beside long prompts, so that a row stays within the limit
SPLIT = "\n\nAssistant:"


def read_pairs(count: int) -> list[Preference]:
    """hh-rlhf as preferences: the dialogue up to the last answer, and the two answers."""
    root = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))
    path = root / "hh_rlhf" / "harmless_base.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there; set BURNISH_DATA to the folder that holds hh_rlhf/")
    rows = []
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            context, _, chosen = row["chosen"].rpartition(SPLIT)
            other, _, rejected = row["rejected"].rpartition(SPLIT)
            if context != other or not chosen.strip() or not rejected.strip() or chosen == rejected:
                continue
            said = tuple(_messages(context))
            answers = (("chosen", chosen.strip()), ("rejected", rejected.strip()))
            candidates = tuple(
                Candidate(role=role, messages=(Message(role="assistant", content=text),)) for role, text in answers
            )
            rows.append(Preference(prompt=str(len(rows)), context=said, candidates=candidates))
            if len(rows) == count:
                break
    return rows


def _messages(text: str) -> list[Message]:
    found = []
    for part in text.split("\n\nHuman:")[1:]:
        question, *answers = part.split(SPLIT)
        found.append(Message(role="user", content=question.strip() or "."))
        found += [Message(role="assistant", content=answer.strip() or ".") for answer in answers]
    return found


def long_prompts(pairs: Sequence[Preference]) -> list[Preference]:
    """The pairs with short answers, their dialogues led by turns of other rows: prompts four times as long as answers.

    A prompt is that many characters, to the last message; a pair whose own dialogue is longer is left out.
    """
    least, most = ANSWERS
    out, turns = [], [(row.context[-1].content, row.candidates[0].messages[0].content) for row in pairs]
    for number, row in enumerate(pairs):
        sizes = [len(c.messages[0].content) for c in row.candidates]
        room = PROMPT_TIMES * sum(sizes) // len(sizes) - sum(len(m.content) for m in row.context)
        if not all(least <= size <= most for size in sizes) or room < 0 or len(row.context) % 2 == 0:
            continue
        led: list[Message] = []
        at = number
        while room > 1:
            at = (at + 1) % len(turns)
            asked = turns[at][0][: room // 2]
            answered = turns[at][1][: room - len(asked)]
            room -= len(asked) + len(answered)
            led += [Message(role="user", content=asked), Message(role="assistant", content=answered)]
        out.append(replace(row, id="", context=(*led, *row.context)))
    return out


@dataclass(frozen=True)
class Shape:
    """Of a random Llama: `pieces` is the size of its tokenizer."""

    width: int = WIDTH
    layers: int = LAYERS
    heads: int = HEADS
    inner: int = INNER
    pieces: int = VOCABULARY


def make_model(
    folder: Path, rows: Sequence[Preference], *, vocabulary: int = VOCABULARY, shape: Shape | None = None
) -> Weights:
    """A random Llama with a byte-pair tokenizer trained on the rows and the ChatML format; and its reward model.

    A larger `vocabulary` enlarges the embeddings and the head; the tokenizer stays.
    """
    shape = shape or Shape()
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    texts = [m.content for row in rows for m in (*row.context, *(c.messages[0] for c in row.candidates))]
    trainer = trainers.BpeTrainer(
        vocab_size=shape.pieces - 8,
        special_tokens=["<|end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    raw = folder / "raw"
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|end|>").save_pretrained(raw)
    adopted = adopt(raw, folder / "tokenizer", "chatml")
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        num_key_value_heads=shape.heads,
        max_position_embeddings=2048,
        tie_word_embeddings=True,
        pad_token_id=adopted.pad_id,
        eos_token_id=list(adopted.stop_ids),
        bos_token_id=None,
    )
    base = save_model(LlamaForCausalLM(config), folder / "base", tokenizer_from=folder / "tokenizer")
    reward = new_reward(base, seed=0, spread=0.01)
    save_model(reward, folder / "reward", tokenizer_from=folder / "tokenizer", pad_id=adopted.pad_id)
    return base
