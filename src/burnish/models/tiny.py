"""Tiny random models and a byte-level tokenizer, made on the spot: for tests, toy runs and dry runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from burnish.errors import ModelError
from burnish.models.store import save_model
from burnish.records import Weights

if TYPE_CHECKING:
    from transformers import PreTrainedModel

SPECIALS = ("<|begin|>", "<|end|>", "<|pad|>")  # ids 256, 257, 258 after the bytes
ARCHITECTURES = ("llama", "qwen2", "qwen3", "gemma2")
BYTES = 256


def tiny_tokenizer(folder: str | Path, *, specials: tuple[str, ...] = SPECIALS, begin: bool = True) -> int:
    """Write a tokenizer of the 256 bytes and the special tokens; returns its size.

    Args:
        folder: where tokenizer.json and tokenizer_config.json go.
        specials: special tokens, in the order of their ids from 256 on; the first begins a text, the second ends it,
            the third (if any) pads.
        begin: whether plain text is encoded with the first special token before it.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    letters = bytes_to_unicode()
    tokenizer = Tokenizer(models.BPE(vocab={letters[b]: b for b in range(BYTES)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in specials])
    names: dict[str, Any] = dict(zip(("bos_token", "eos_token", "pad_token"), specials, strict=False))
    if len(specials) > 1:
        names["unk_token"] = specials[1]  # never emitted over bytes; some classes would add a token of their own
    if begin and specials:
        first = (specials[0], tokenizer.token_to_id(specials[0]))
        tokenizer.post_processor = processors.TemplateProcessing(single=f"{first[0]} $A", special_tokens=[first])
    Path(folder).mkdir(parents=True, exist_ok=True)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return tokenizer.get_vocab_size()


def tiny_model(
    architecture: str = "llama",
    *,
    seed: int = 0,
    vocabulary: int = BYTES + len(SPECIALS),
    width: int = 32,
    layers: int = 2,
    scale: float = 1.0,
    dtype: str = "float32",
    **overrides: Any,
) -> PreTrainedModel:
    """A random model: four heads over two key heads, an MLP of twice the width, float32 weights drawn from `seed`.

    Args:
        architecture: llama, qwen2, qwen3 or gemma2.
        scale: factor on every weight matrix; larger than 1 makes attention sharp, so that a wrong mask shows.
        overrides: fields of the architecture's own config.

    Raises:
        ModelError: no such architecture.
    """
    import transformers

    if architecture not in ARCHITECTURES:
        raise ModelError(f"there is no tiny {architecture!r}; choose one of {', '.join(ARCHITECTURES)}")
    config = transformers.AutoConfig.for_model(
        architecture,
        **{
            "vocab_size": vocabulary,
            "hidden_size": width,
            "intermediate_size": 2 * width,
            "num_hidden_layers": layers,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "head_dim": width // 4,
            "max_position_embeddings": 2048,
            "bos_token_id": BYTES if vocabulary > BYTES else None,
            "eos_token_id": BYTES + 1 if vocabulary > BYTES + 1 else None,
            "pad_token_id": None,
            "tie_word_embeddings": architecture != "llama",
            **({"query_pre_attn_scalar": width // 4, "sliding_window": 64} if architecture == "gemma2" else {}),
            **overrides,
        },
    )
    with torch.random.fork_rng(devices=[]):  # transformers draws from the global generator; leave it as it was
        torch.manual_seed(seed)
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim > 1:
                weight *= scale
    return model.to(getattr(torch, dtype)).eval()


def tiny_model_folder(
    path: str | Path,
    architecture: str = "llama",
    seed: int = 0,
    vocabulary: int | None = None,
    *,
    specials: tuple[str, ...] = SPECIALS,
    **settings: Any,
) -> Weights:
    """Write a tiny random model and its byte-level tokenizer; settings as for `tiny_model`.

    `vocabulary` None means the tokenizer's size; a larger number leaves rows unused, as many real models do.
    """
    size = tiny_tokenizer(path, specials=specials)
    if vocabulary is not None and vocabulary < size:
        raise ModelError(f"the tiny tokenizer has {size} tokens; {vocabulary} rows are too few")
    model = tiny_model(architecture, seed=seed, vocabulary=vocabulary or size, **settings)
    return save_model(model, path)
