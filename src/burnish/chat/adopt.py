"""A chat format for a base model that has none: special tokens, template, stop ids and a pad token.

Only tokenizer files are written. The embeddings are resized to `Adopted.vocabulary` by the caller, the rows of
`Adopted.added_ids` at the mean of the others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from burnish.chat.codec import load_chat
from burnish.chat.formats import FORMATS, chatml, jinja, llama3
from burnish.chat.tokens import Source, Tokens, read_json, read_source
from burnish.errors import ChatError

_NEEDS = {"llama3": (*llama3.ROUTINE, *llama3.CALLS), "chatml": (chatml.START, chatml.END)}
_STOPS = {"llama3": (llama3.EOT, llama3.EOM), "chatml": (chatml.END,)}
_PADS = {"llama3": llama3.PAD, "chatml": chatml.PAD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """What was done to a tokenizer.

    Args:
        added: tokens that were not in the vocabulary; `added_ids` their ids, whose embeddings are new or were spare.
        vocabulary: the rows an embedding needs now; a model may keep more.
        stop_ids: for config and generation config; the format's terminators, then the base's own end of text.
    """

    added: tuple[str, ...]
    added_ids: tuple[int, ...]
    vocabulary: int
    stop_ids: tuple[int, ...]
    pad_id: int


def _named(source: Source, name: str) -> dict[str, str]:
    """The named special tokens of the adopted tokenizer."""
    named = dict(source.named)
    if name == "llama3":
        named.setdefault("bos_token", llama3.BOS)
    pad = named.get("pad_token")
    # A pad token must stand for nothing else: not for structure, not for a character the vocabulary lacks.
    taken = {*_NEEDS[name], named.get("bos_token"), named.get("unk_token")}
    if pad is None or pad in taken:
        named["pad_token"] = _PADS[name]
    named["eos_token"] = _STOPS[name][0]
    return named


def _write(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", "utf-8")


def _tokenizer_files(source: Source, out: Path, named: dict[str, str], tokens: list[str]) -> None:
    tokenizer = Tokenizer.from_str(json.dumps(source.spec))
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in tokens])
    spec = json.loads(tokenizer.to_str())
    for token in spec["added_tokens"]:  # one that was there as an ordinary added token is structure from now on
        token["special"] = token["special"] or token["content"] in tokens
    (out / "tokenizer.json").write_text(json.dumps(spec, indent=2, ensure_ascii=False), "utf-8")
    config = {k: v for k, v in source.config.items() if k != "chat_template"} | named
    config.setdefault("tokenizer_class", "PreTrainedTokenizerFast")
    if "added_tokens_decoder" in config:
        config["added_tokens_decoder"] = {
            str(t["id"]): {k: v for k, v in t.items() if k != "id"} for t in spec["added_tokens"]
        }
    _write(out / "tokenizer_config.json", config)
    told = read_json(source.folder / "special_tokens_map.json")
    if told:  # older readers prefer this file to the config
        _write(out / "special_tokens_map.json", told | named)


def adopt(source_folder: str | Path, out_folder: str | Path, name: str) -> Adopted:
    """Give the tokenizer in a folder the chat format `name`, and write its files into another (or the same) folder.

    Any template the tokenizer has is replaced. The written template is Jinja that other programs render to the same
    ids; `load_chat(out_folder)` knows it for the lab format that it is.

    Raises:
        ChatError: unknown format, no tokenizer, or the folder cannot be written.
    """
    if name not in FORMATS:
        raise ChatError(f"there is no chat format {name!r}; use one of {', '.join(FORMATS)}")
    source, out = read_source(source_folder), Path(out_folder)
    before = Tokens(source)
    named = _named(source, name)
    first = [named["bos_token"]] if name == "llama3" else []
    tokens = list(dict.fromkeys([*first, *_NEEDS[name], named["pad_token"]]))
    added = tuple(text for text in tokens if before.id_of(text) is None)
    with_bos = name == "llama3" or source.adds_bos
    try:
        out.mkdir(parents=True, exist_ok=True)
        _tokenizer_files(source, out, named, tokens)
        (out / "chat_template.jinja").write_text(jinja(name, bos=with_bos), "utf-8")
        chat = load_chat(out)
        stops = [chat.tokens.id_of(text) for text in _STOPS[name]]
        base = source.generation.get("eos_token_id")
        stops += [*(base if isinstance(base, list) else [base]), before.named("eos_token")]
        generation = source.generation | {
            "eos_token_id": list(dict.fromkeys(s for s in stops if s is not None)),
            "pad_token_id": chat.pad_id,
        }
        if chat.bos_id is not None:
            generation["bos_token_id"] = chat.bos_id
        _write(out / "generation_config.json", generation)
    except OSError as error:
        raise ChatError(f"the tokenizer cannot be written to {out} ({error}); choose a folder that can be") from error
    chat = load_chat(out)
    ids = tuple(i for text in added if (i := chat.tokens.id_of(text)) is not None)
    return Adopted(added=added, added_ids=ids, vocabulary=chat.vocabulary, stop_ids=chat.stop_ids, pad_id=chat.pad_id)
