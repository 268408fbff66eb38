"""Tokenizers made on the spot, in the kinds that real models bring, and templates in the manner of real ones."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

from burnish.records import Message

SPECIALS = ["<pad>", "<s>", "</s>", "<|im_start|>", "<|im_end|>", "<|start_header_id|>", "<|end_header_id|>"]
SPECIALS += ["<|eot_id|>", "<|eom_id|>", "<|python_tag|>", "<start_of_turn>", "<end_of_turn>", "[INST]", "[/INST]"]
WORDS = ["<think>", "</think>", "<tool_call>", "</tool_call>"]  # added, but not special, as Qwen has them
CORPUS = [
    "system user assistant tool ipython model\n\nYou are a helpful assistant.\n",
    "What is 12 + 34? The answer is 46.\n\n\nHello there, how are you today?  Fine!\n",
    "### User:\nhello\n\n### Assistant:\nhello there\n\n",
    "a\n\nb\n\n\nc\n\n\n\nd\n\n" * 9,
    "Grüße aus Köln, 你好世界, and 'quotes' aren't \"rare\".\n \n  x = f(y)\n\treturn x\n",
] * 4
SPLIT = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level() -> Tokenizer:
    """As Llama 3 and Qwen2: a regular expression, then bytes."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(SPLIT), "isolated"), pre_tokenizers.ByteLevel(False, use_regex=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420, initial_alphabet=alphabet, special_tokens=SPECIALS, show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def _sentencepiece(tokenizer: Tokenizer) -> Tokenizer:
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def _bytes_bpe() -> Tokenizer:
    pieces = [*SPECIALS[:3], "<unk>", *(f"<0x{i:02X}>" for i in range(256)), "▁"]
    letters = sorted(set("".join(CORPUS)) - {" "})
    merges = [("▁", c) for c in letters if c.isalpha()] + [("\n", "\n"), ("e", "r"), ("a", "n"), ("i", "s")]
    vocab = {p: i for i, p in enumerate(dict.fromkeys([*pieces, *letters, *("".join(m) for m in merges)]))}
    tokenizer = Tokenizer(models.BPE(vocab, merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIALS])
    return _sentencepiece(tokenizer)


def metaspace(scheme: str) -> Tokenizer:
    """As Llama 2 and Mistral in their present files."""
    tokenizer = _bytes_bpe()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme=scheme, split=False)
    return tokenizer


def legacy() -> Tokenizer:
    """As Llama 2 in its first files: a normaliser that puts a space before every text."""
    tokenizer = _bytes_bpe()
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return tokenizer


def unigram() -> Tokenizer:
    """A Unigram model, whose best division of a text depends on all of it."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    trainer = trainers.UnigramTrainer(
        vocab_size=200, special_tokens=[*SPECIALS, "<unk>"], unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.Fuse()])
    return tokenizer


KINDS = {
    "byte_level": byte_level,
    "metaspace_first": lambda: metaspace("first"),
    "metaspace_always": lambda: metaspace("always"),
    "metaspace_never": lambda: metaspace("never"),
    "legacy": legacy,
    "unigram": unigram,
}


def save(folder: Path, tokenizer: Tokenizer, template: str = "", *, adds_bos: bool = False, **named: str) -> Path:
    """A tokenizer folder as a model brings it."""
    folder.mkdir(parents=True, exist_ok=True)
    if adds_bos:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A", special_tokens=[("<s>", tokenizer.token_to_id("<s>"))]
        )
        named.setdefault("bos_token", "<s>")
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in WORDS])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": "</s>"} | named
    if template:
        config["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps({k: v for k, v in config.items() if v}), "utf-8")
    return folder


TEMPLATES = {
    "llama": (
        "{{ bos_token }}{% for m in messages %}"
        "{{ '<|start_header_id|>' + (m.role if m.role != 'tool' else 'ipython') + '<|end_header_id|>\n\n' }}"
        "{{ m.content | trim + '<|eot_id|>' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
    ),
    "chatml": (
        "{% for m in messages %}{% if loop.first and m.role != 'system' %}"
        "{{ '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n' }}{% endif %}"
        "{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    "gemma": (
        "{{ bos_token }}{% if messages[0].role == 'system' %}"
        "{{ raise_exception('System role not supported') }}{% endif %}"
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}"
        "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
        "{% set role = 'model' if m.role == 'assistant' else m.role %}"
        "{{ '<start_of_turn>' + role + '\n' + m.content | trim + '<end_of_turn>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
    ),
    "tools": (
        "{% for m in messages %}"
        "{% if m.role == 'tool' %}"
        "{% if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}{{ '<|im_start|>user' }}{% endif %}"
        "{{ '\n<tool_response>\n' + m.content + '\n</tool_response>' }}"
        "{% if loop.last or messages[loop.index0 + 1].role != 'tool' %}{{ '<|im_end|>\n' }}{% endif %}"
        "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    # As Qwen3: thinking is dropped from earlier turns, and an answer without any gets an empty block.
    "thinking": (
        "{% set ns = namespace(last=0) %}{% for m in messages %}{% if m.role == 'user' %}"
        "{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{% for m in messages %}"
        "{% if m.role == 'assistant' %}{% set thought, said = '', m.content %}"
        "{% if '</think>' in m.content %}"
        "{% set thought = m.content.split('</think>')[0].split('<think>')[-1].strip('\n') %}"
        "{% set said = m.content.split('</think>')[-1].lstrip('\n') %}{% endif %}"
        "{{ '<|im_start|>assistant\n' }}"
        "{% if loop.index0 > ns.last %}{{ '<think>\n' + thought + '\n</think>\n\n' }}{% endif %}"
        "{{ said + '<|im_end|>\n' }}"
        "{% else %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    # An empty thinking block in the last message only, so that a call is written differently once it is answered.
    "last_only": (
        "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}"
        "{% if m.role == 'assistant' and loop.last %}{{ '<think>\n\n</think>\n\n' }}{% endif %}"
        "{{ m.content + '<|im_end|>\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
    ),
    # As Mistral: a system message is merged into the user message behind it, eos after answers.
    "merged": (
        "{{ bos_token }}{% set ns = namespace(system='') %}{% for m in messages %}"
        "{% if m.role == 'system' %}{% set ns.system = m.content + '\n\n' %}"
        "{% elif m.role == 'user' %}{{ '[INST]' + ' ' + ns.system + m.content + '[/INST]' }}{% set ns.system = '' %}"
        "{% elif m.role == 'assistant' %}{{ ' ' + m.content + eos_token }}"
        "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}{% endfor %}"
    ),
    # Text markers only, and nothing that stops.
    "plain": (
        "{% for m in messages %}{{ '### ' + m.role | title + ':\n' + m.content + '\n\n' }}{% endfor %}"
        "{% if add_generation_prompt %}{{ '### Assistant:\n' }}{% endif %}"
    ),
}


def said(role: str, content: str, end: str = "turn") -> Message:
    return Message(role=role, content=content, end=end)


SYSTEM = said("system", "You are brief.")
ASK = said("user", "What is 12 + 34?")
CALL = said("assistant", "add(12, 34)", "message")
RESULT = said("ipython", "46")
ANSWER = said("assistant", "The answer is 46.")
THANKS = said("user", "Grüße, and 50 + 50?\n\nPlease.")
LAST = said("assistant", "  100 \n\nBye")
