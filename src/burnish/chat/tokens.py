"""A tokenizer folder, and text with structure in it to token ids and back.

A rendered dialogue is cut at the special tokens *of its structure*; what lies between is tokenised once, as a whole,
with special tokens switched off, so that a marker typed by a user stays text. The ids equal those of tokenising the
rendered string in one go, as `transformers` does, because the tokenizer itself cuts at special tokens first.
"""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer

from burnish.chat.pieces import CONTENT, Piece
from burnish.errors import ChatError

NAMED = ("bos_token", "eos_token", "pad_token", "unk_token", "sep_token", "cls_token", "mask_token")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file, {} when there is no such file; `ChatError` when it is not one."""
    if not path.is_file():
        return {}
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ChatError(f"{path} cannot be read as JSON ({error}); download or save the tokenizer again") from error
    if not isinstance(value, dict):
        raise ChatError(f"{path} holds no JSON object; download or save the tokenizer again")
    return value


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """What lies in a tokenizer folder.

    Args:
        spec: tokenizer.json as plain data, without truncation and padding.
        config: tokenizer_config.json.
        named: the named special tokens that are in the vocabulary, e.g. {"eos_token": "</s>"}.
        template: the folder's own chat template, empty if there is none.
        generation: generation_config.json.
        adds_bos: the tokenizer itself puts its BOS before plain text, as the base model saw it.
    """

    folder: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    named: dict[str, str]
    template: str
    generation: dict[str, Any]
    adds_bos: bool

    @property
    def added(self) -> tuple[str, ...]:
        """Text of every added token that is more than white space, longest first."""
        texts = {t["content"] for t in self.spec.get("added_tokens", []) if t["content"].strip()}
        return tuple(sorted(texts, key=lambda t: (-len(t), t)))


def _token_text(value: Any) -> str:
    return value.get("content", "") if isinstance(value, dict) else (value or "")


def _template(folder: Path, config: dict[str, Any]) -> str:
    file = folder / "chat_template.jinja"  # takes precedence over the config, as in transformers
    if file.is_file():
        return file.read_text("utf-8")
    template = config.get("chat_template") or ""
    if isinstance(template, list):
        template = {entry.get("name"): entry.get("template") for entry in template}
    if isinstance(template, dict):
        template = template.get("default") or ""
    return template


def read_source(folder: str | Path) -> Source:
    """Read a tokenizer folder; `ChatError` names what is missing."""
    folder = Path(folder)
    file = folder / "tokenizer.json"
    if not file.is_file():
        what = "is not a folder" if not folder.is_dir() else "holds no tokenizer.json"
        raise ChatError(
            f"{folder} {what}; give a Hugging Face model folder, and save an old tokenizer anew with "
            "AutoTokenizer.from_pretrained(folder).save_pretrained(folder)"
        )
    spec, config = read_json(file), read_json(folder / "tokenizer_config.json")
    try:
        tokenizer = Tokenizer.from_str(json.dumps(spec))
    except Exception as error:  # the library raises a bare Exception
        raise ChatError(f"{file} is not a tokenizer ({error}); download or save it again") from error
    extra = sorted((int(i), t) for i, t in (config.get("added_tokens_decoder") or {}).items())
    for _, token in extra:  # old folders name some added tokens only in the config
        if tokenizer.token_to_id(token["content"]) is None:
            fields = {k: token[k] for k in ("single_word", "lstrip", "rstrip", "normalized") if k in token}
            tokenizer.add_tokens([AddedToken(token["content"], special=token.get("special", False), **fields)])
    spec = json.loads(tokenizer.to_str()) | {"truncation": None, "padding": None}
    told = read_json(folder / "special_tokens_map.json") | {k: v for k, v in config.items() if v}
    texts = {name: _token_text(told.get(name)) for name in NAMED}
    named = {name: text for name, text in texts.items() if text and tokenizer.token_to_id(text) is not None}
    first = tokenizer.encode("a", add_special_tokens=True).ids[:1]
    return Source(
        folder=folder,
        spec=spec,
        config=config,
        named=named,
        template=_template(folder, config),
        generation=read_json(folder / "generation_config.json"),
        adds_bos="bos_token" in named and first == [tokenizer.token_to_id(named["bos_token"])],
    )


def _without_prefix(part: Any, *, inside: bool) -> Any:
    """A normaliser or pre-tokeniser that does not add a space: after a special token, or (`inside`) amid a text."""
    if not isinstance(part, dict):
        return part
    kind = part.get("type")
    if kind == "Prepend" and inside:
        return None
    if kind == "Metaspace" and (inside or part.get("prepend_scheme") == "first"):
        return part | {"prepend_scheme": "never"}
    if kind == "ByteLevel" and inside:
        return part | {"add_prefix_space": False}
    for name in ("normalizers", "pretokenizers"):
        if name in part:
            kept = [_without_prefix(p, inside=inside) for p in part[name]]
            return part | {name: [p for p in kept if p is not None]}
    return part


def _any_of(texts: Iterable[str]) -> re.Pattern[str]:
    """Finds the leftmost of the texts, the longest where several begin."""
    return re.compile("|".join(map(re.escape, sorted(texts, key=lambda t: (-len(t), t)))) or "(?!)")


class Tokens:
    """A tokenizer that knows structure from content.

    Args:
        source: the folder.
        control: added tokens that content must never become, beside those that are marked special.
    """

    def __init__(self, source: Source, control: Sequence[str] = ()) -> None:
        self.source = source
        added = [t | {"special": t["special"] or t["content"] in control} for t in source.spec.get("added_tokens", [])]
        spec = source.spec | {"added_tokens": added}
        self._start = self._build(spec)
        self._after, self._inside = (self._variant(spec, inside=inside) for inside in (False, True))
        specials = [t for t in added if t["special"]]
        self.special_ids: dict[str, int] = {t["content"]: t["id"] for t in specials}
        self._strips = {t["id"]: (t.get("lstrip", False), t.get("rstrip", False)) for t in specials}
        self._words = {t["id"]: t["content"] for t in added if not t["special"]}
        self.special_names = {number: name for name, number in self.special_ids.items()}
        self._specials = _any_of(self.special_ids)
        self._word_pattern = _any_of(self._words.values())
        self._fixed: dict[tuple[bool | None, str], tuple[int, ...]] = {}

    @staticmethod
    def _build(spec: dict[str, Any]) -> Tokenizer:
        tokenizer = Tokenizer.from_str(json.dumps(spec))
        tokenizer.encode_special_tokens = True
        return tokenizer

    def _variant(self, spec: dict[str, Any], *, inside: bool) -> Tokenizer:
        changed = {k: _without_prefix(spec.get(k), inside=inside) for k in ("normalizer", "pre_tokenizer")}
        if all(changed[k] == spec.get(k) for k in changed):
            return self._start
        return self._build(spec | changed)

    def id_of(self, text: str) -> int | None:
        """The id of a token given by its text, None when it is not in the vocabulary."""
        return self._start.token_to_id(text)

    def named(self, name: str) -> int | None:
        """The id of a named special token (`bos_token`, ...), None when the tokenizer has none."""
        text = self.source.named.get(name)
        return None if text is None else self.id_of(text)

    @cached_property
    def table(self) -> dict[str, int]:
        """Every token by its text, with its id."""
        return self._start.get_vocab(with_added_tokens=True)

    @cached_property
    def vocabulary(self) -> int:
        """One more than the largest id: the rows an embedding needs."""
        return max(self.table.values()) + 1

    def split(self, markup: str) -> list[int | str]:
        """Structure text as special ids and the text between them."""
        units: list[int | str] = []
        position = 0
        for match in self._specials.finditer(markup):
            units += [markup[position : match.start()], self.special_ids[match.group()]]
            position = match.end()
        return [unit for unit in [*units, markup[position:]] if unit != ""]

    def encode(self, pieces: Sequence[Piece], *, after: int | None = None) -> tuple[list[int], list[int]]:
        """Ids, and for each id the index of the piece that it belongs to.

        `after` is the id that stands before, so that a continuation is tokenised as one.
        """
        ids: list[int] = []
        owners: list[int] = []
        run: list[tuple[str, int]] = []
        open_end = None if after is None else after not in self.special_names  # None: at the very beginning
        eat = False  # the last special token swallows the white space after it

        def flush() -> None:
            nonlocal open_end
            if run:
                for number, owner in self._encode_run(run, pieces, open_end):
                    ids.append(number)
                    owners.append(owner)
                open_end = True
                run.clear()

        for index, piece in enumerate(pieces):
            if piece.cut:
                flush()
                eat = False
            for unit in [piece.text] if piece.kind == CONTENT else self.split(piece.text):
                if isinstance(unit, str):
                    text = unit.lstrip() if eat else unit
                    if text:
                        run.append((text, index))
                        eat = False
                    continue
                left, eat = self._strips[unit]
                while left and run:
                    text, owner = run.pop()
                    if text.rstrip():
                        run.append((text.rstrip(), owner))
                        break
                flush()
                ids.append(unit)
                owners.append(index)
                open_end = False
        flush()
        return ids, owners

    def _encode_run(
        self, run: Sequence[tuple[str, int]], pieces: Sequence[Piece], open_end: bool | None
    ) -> list[tuple[int, int]]:
        """Ids of a text without special tokens, each with the piece it belongs to.

        A token that reaches over several pieces belongs to the content among them, else to the first.
        """
        text = "".join(part for part, _ in run)
        if len(run) == 1:
            owner = run[0][1]
            known = self._fixed.get((open_end, text))
            if known is None:
                known = tuple(number for number, _, _ in self._encode_plain(text, open_end))
                if pieces[owner].kind != CONTENT:
                    self._fixed[open_end, text] = known
            return [(number, owner) for number in known]
        starts = list(accumulate((len(part) for part, _ in run), initial=0))[:-1]
        found = []
        for number, start, stop in self._encode_plain(text, open_end):
            first, last = bisect_right(starts, start) - 1, bisect_right(starts, max(start, stop - 1)) - 1
            owners = [owner for _, owner in run[first : last + 1]]
            found.append((number, next((o for o in owners if pieces[o].kind == CONTENT), owners[0])))
        return found

    def _encode_plain(self, text: str, open_end: bool | None) -> list[tuple[int, int, int]]:
        """(id, start, stop) of each token; an added word that is no special token divides a text as specials do."""
        which = {None: self._start, False: self._after, True: self._inside}[open_end]
        word = self._word_pattern.search(text) if open_end and self._inside is not self._after else None
        parts = [(which, 0, text)]
        if word:
            parts = [(which, 0, text[: word.start()]), (self._after, word.start(), text[word.start() :])]
        found = []
        for tokenizer, offset, part in parts:
            encoding = tokenizer.encode(part, add_special_tokens=False)
            spans = zip(encoding.ids, encoding.offsets, strict=True)
            found += [(number, offset + start, offset + stop) for number, (start, stop) in spans]
        return found

    def encode_text(self, text: str, *, bos: bool = True) -> tuple[int, ...]:
        """Plain text, special tokens in it kept as text; with the tokenizer's BOS where it adds one itself."""
        ids = tuple(self._start.encode(text, add_special_tokens=False).ids)
        first = self.named("bos_token")
        return (first, *ids) if bos and self.source.adds_bos and first is not None else ids

    @cached_property
    def _anchor(self) -> tuple[int, str] | None:
        """A token whose text does not depend on its place: decoding after it keeps a leading space."""
        for letter in "aAex0.\n":
            ids = self._inside.encode(letter, add_special_tokens=False).ids
            if len(ids) == 1 and self._start.decode([ids[0]] * 2, skip_special_tokens=False) == letter * 2:
                return ids[0], letter
        return None

    @cached_property
    def _prefixes_after_special(self) -> bool:
        """The tokenizer adds a space to text right after a special token."""
        return self._text(self._after.encode("x", add_special_tokens=False).ids) == " x"

    def _text(self, ids: Sequence[int]) -> str:
        if not ids:
            return ""
        if self._anchor is None:
            return self._start.decode(list(ids), skip_special_tokens=False)
        number, letter = self._anchor
        return self._start.decode([number, *ids], skip_special_tokens=False)[len(letter) :]

    def text(self, ids: Sequence[int]) -> str:
        """The text of ids as they stand amid a text, special tokens left out."""
        return "".join(unit for unit in self.units(ids, after_special=False) if isinstance(unit, str))

    def units(self, ids: Sequence[int], *, after_special: bool) -> list[int | str]:
        """Ids as special ids and the text between them; the inverse of what `encode` does to structure.

        Ids beyond the vocabulary (a model's embedding may have more rows) stand for nothing.
        """
        units: list[int | str] = []
        run: list[int] = []
        follows = after_special

        def flush() -> None:
            text = self._text(run)
            if follows and self._prefixes_after_special:
                text = text.removeprefix(" ")
            if text and units and isinstance(units[-1], str):
                units[-1] += text
            elif text:
                units.append(text)
            run.clear()

        for number in ids:
            if number in self.special_names:
                flush()
                units.append(number)
                follows = True
            elif number in self._words:  # the tokenizer divides a text at these too
                flush()
                follows = False
                run.append(number)
                flush()
                follows = True
            elif number < self.vocabulary:
                run.append(number)
        flush()
        return units
