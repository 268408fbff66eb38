"""`Chat`: dialogues to token ids with masks, and sampled ids back to messages."""

from __future__ import annotations

import difflib
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from itertools import groupby, pairwise
from pathlib import Path

from burnish.chat.dialogue import check_dialogue, check_response
from burnish.chat.formats import FORMATS, Format, Own, recognise
from burnish.chat.pieces import CONTENT, HEADER, Encoded, Piece, pieces_of, pieces_of_all
from burnish.chat.reading import Reader, flatten
from burnish.chat.tokens import Source, Tokens, read_source
from burnish.errors import ChatError
from burnish.records import Message, content_id

_CODEC = 1  # raise when the ids that a dialogue encodes to change


class Chat:
    """One tokenizer with one format. Make it with `load_chat`."""

    def __init__(self, source: Source, format: Format) -> None:
        self.folder = source.folder
        self.format = format
        self.tokens = Tokens(source, format.control)
        self._prompt = lru_cache(maxsize=256)(self._prompt_uncached)
        stops = [self.tokens.id_of(t) for t in format.stops]
        told = source.generation.get("eos_token_id")
        stops += told if isinstance(told, list) else [told]
        stops.append(self.tokens.named("eos_token"))
        self.stop_ids: tuple[int, ...] = tuple(
            dict.fromkeys(s for s in stops if isinstance(s, int) and s < self.tokens.vocabulary)
        )
        self.bos_id: int | None = self.tokens.named("bos_token")
        self.vocabulary: int = self.tokens.vocabulary

    def __repr__(self) -> str:
        return f"Chat({str(self.folder)!r}, format={self.format.name!r})"

    @cached_property
    def identity(self) -> str:
        """What decides the ids of a dialogue, as one content id; the folder's place does not."""
        source = self.tokens.source
        template = source.template if self.format.name == "own" else ""
        return content_id([_CODEC, self.format.name, template, source.spec, source.named])

    @cached_property
    def pad_id(self) -> int:
        """The pad token; without one, a special token the format never emits; without any, the last stop token."""
        named = self.tokens.named("pad_token")
        if named is not None:
            return named
        spare = sorted(set(self.tokens.special_names) - self.emitted - set(self.stop_ids))
        if spare or self.stop_ids:
            return spare[0] if spare else self.stop_ids[-1]
        raise ChatError(f"{self.folder} has no pad and no stop token; --chat llama3 or --chat chatml adds them")

    @cached_property
    def emitted(self) -> frozenset[int]:
        """Special ids that the format writes."""
        structure = self.format.structure
        texts = [pattern[-1] for pattern in (*structure.openings, *structure.leads, *structure.closings)]
        return frozenset(unit for text in texts for unit in self.tokens.split(text) if isinstance(unit, int))

    def _prompt_uncached(self, context: tuple[Message, ...]) -> tuple[tuple[Piece, ...], list[int], list[int]]:
        check_dialogue(context, calls_by_successor=self.format.calls_by_successor)
        frames, header = self.format.prompt(context)
        pieces = [*pieces_of_all(frames, context), Piece(text=header, role="assistant", kind=HEADER)]
        ids, owners = self.tokens.encode(pieces)
        return tuple(pieces), ids, owners

    def encode_prompt(self, context: Sequence[Message]) -> tuple[int, ...]:
        """Ids of a dialogue that waits for an answer; they end with the assistant's generation header."""
        return tuple(self._prompt(tuple(context))[1])

    def encode(
        self, context: Sequence[Message], response: Sequence[Message] = (), *, train_on: str = "last"
    ) -> Encoded:
        """A dialogue and the answer to it, as ids with roles, kinds and masks.

        Args:
            context: all that is given; nothing of it is trained, whoever speaks, unless `train_on` says so.
            response: one assistant turn: an answer, or call, result (`ipython`), answer. What the assistant emits in
                it is trained: contents, stop tokens, the python tag. Headers, tool output and what the format writes
                after a stop token are not, nor is a message whose `train` is False.
            train_on: `last` trains the response alone, `all` also what the assistant says in the context. The ids are
                the same.

        Raises:
            ChatError: the dialogue is malformed, or the template cannot carry it; with `all`, also a template that
                writes an earlier turn in another way than it was sampled in.
        """
        context, response = tuple(context), tuple(response)
        check_response(response)
        check_dialogue((*context, *response), calls_by_successor=self.format.calls_by_successor)
        pieces, ids, owners = self._prompt(context)
        said = self._said(context, response)
        more, their = self.tokens.encode(said, after=ids[-1] if ids else None)
        belongs = [pieces[o] for o in owners] + [said[o] for o in their]
        length, everywhere = len(ids), train_on == "all"
        if everywhere:
            self._check_turns(context, response, (*ids, *more))
        return Encoded(
            ids=(*ids, *more),
            roles=tuple(p.role for p in belongs),
            kinds=tuple(p.kind for p in belongs),
            trained=tuple((everywhere or i >= length) and p.said for i, p in enumerate(belongs)),
            formatting=tuple(p.kind != CONTENT for p in belongs),
            prompt_length=length,
        )

    def _said(self, context: tuple[Message, ...], response: tuple[Message, ...]) -> list[Piece]:
        """The pieces of an answer, without the header that the prompt ends with."""
        frames = self.format.answer(context, response) if response else ()
        pieces = (pieces_of(f, response[i], prompted_away=i == 0) for i, f in enumerate(frames))
        return [piece for some in pieces for piece in some]

    def step_ends(self, context: Sequence[Message], response: Sequence[Message], ends: Sequence[int]) -> list[int]:
        """The tokens on which parts of an answer's last message end, as indices into `encode(context, response).ids`.

        Args:
            ends: characters of the last message up to which the parts reach, ascending, none twice. A token that
                reaches into the next part belongs to the part that it begins in.

        Raises:
            ChatError: the template rewrites the message, or two parts end on one token.
        """
        context, response = tuple(context), tuple(response)
        encoded, said = self.encode(context, response), self._said(context, response)
        place = max((i for i, piece in enumerate(said) if piece.kind == CONTENT), default=-1)
        text, written = response[-1].content, said[place].text if place >= 0 else ""
        shift = text.find(written)
        cuts = [min(end - shift, len(written)) for end in ends]
        if not written or shift < 0 or any(end < 1 for end in cuts) or ends[-1] > len(text):
            raise ChatError(
                "the template does not carry the answer's last message as it is, so its steps have no place"
            )
        bounds = [0, *cuts, len(written)]
        parts = [replace(said[place], text=written[a:b], cut=said[place].cut and not a) for a, b in pairwise(bounds)]
        _, owners = self.tokens.encode(
            [*said[:place], *(part for part in parts if part.text), *said[place + 1 :]],
            after=encoded.ids[encoded.prompt_length - 1] if encoded.prompt_length else None,
        )
        found = [encoded.prompt_length + bisect_right(owners, place + number) - 1 for number in range(len(cuts))]
        if len(set(found)) < len(found) or len(owners) != len(encoded.completion):
            raise ChatError("two steps of the answer end on one token; write each step as a line of its own")
        return found

    def _check_turns(self, context: Sequence[Message], response: Sequence[Message], ids: Sequence[int]) -> None:
        """Raise `ChatError` unless each earlier turn stands in the dialogue with the ids it has as its last turn."""
        dialogue = (*context, *response)
        start = 0
        for speaks, group in groupby(dialogue, key=lambda message: message.role in ("assistant", "ipython")):
            end = start + len(tuple(group))
            if speaks and start < len(context):
                alone = self.encode(dialogue[:start], dialogue[start:end])
                kept = max((i + 1 for i, trained in enumerate(alone.trained) if trained), default=0)
                if alone.ids[:kept] != tuple(ids[:kept]):
                    raise ChatError(
                        f"the chat template writes message {start + 1} (assistant) in another way once the dialogue "
                        f"goes on, so that it cannot be trained there; train on last answers only, or use --chat llama3"
                    )
            start = end

    @cached_property
    def _reader(self) -> Reader:
        structure = self.format.structure

        def symbols(text: str) -> tuple[int | str, ...]:
            return flatten(self.tokens.split(text))

        # A base model's own end of text ends an answer too, and is no part of what was said.
        stops = [("", "turn", (number,)) for number in self.stop_ids if number in self.tokens.special_names]

        def long_first(patterns: Sequence[tuple]) -> tuple:
            return tuple(sorted(patterns, key=lambda p: -len(p[-1])))

        return Reader(
            openings=long_first([(role, symbols(text)) for role, text in structure.openings]),
            leads=long_first([(end, symbols(text)) for end, text in structure.leads]),
            closings=long_first([*((role, end, symbols(text)) for role, end, text in structure.closings), *stops]),
            names=self.tokens.special_names,
            calls_by_successor=structure.calls_by_successor,
            whole=structure.whole,
        )

    def decode(self, token_ids: Sequence[int], *, completion: bool = False) -> tuple[Message, ...]:
        """Messages of a sampled completion, or of a whole encoded dialogue, which begins with BOS or a header.

        A completion cut short is a message without its terminator: it gets `end="turn"`. Structure that makes no
        sense, as an untrained model samples it, stays visible as text, and nothing raises.

        Args:
            completion: the ids answer a prompt, even if they begin with a header. Always so in a template that
                writes no special tokens around messages, where a whole dialogue cannot be read back.
        """
        units = self.tokens.units(token_ids, after_special=self._opens_after_special)
        return self._reader.read(flatten(units), completion=completion)

    @cached_property
    def _opens_after_special(self) -> bool:
        try:
            ids = self.encode_prompt((Message(role="user", content="x"),))
        except ChatError:
            return False
        return bool(ids) and ids[-1] in self.tokens.special_names

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of ids, special tokens left out."""
        return self.tokens.text(token_ids)

    def encode_text(self, text: str, *, bos: bool = True) -> tuple[int, ...]:
        """Plain text for a base model, without any format; special tokens in it stay text."""
        return self.tokens.encode_text(text, bos=bos)


def load_chat(folder: str | Path, *, format: str | None = None) -> Chat:
    """The tokenizer in a folder, with its own template or the named lab format (`llama3`, `chatml`).

    Raises:
        ChatError: no tokenizer, no template and no format given, an unknown format, or tokens it needs are missing.
    """
    source = read_source(folder)
    if format is not None and format not in FORMATS:
        near = difflib.get_close_matches(format, FORMATS, 1)
        hint = f"did you mean {near[0]}?" if near else f"use one of {', '.join(FORMATS)}"
        raise ChatError(f"there is no chat format {format!r}; {hint}")
    if format is None and not source.template:
        raise ChatError(f"{source.folder} has no chat template; pass --chat llama3 or --chat chatml to give it one")
    name = format or recognise(source.template)
    return Chat(source, FORMATS[name](source) if name else Own(source))


def has_template(folder: str | Path) -> bool:
    """The folder's tokenizer brings a chat template, so that `load_chat` needs no format."""
    return bool(read_source(folder).template)


def load_tokens(folder: str | Path) -> Tokens:
    """The tokenizer in a folder without any chat format: for base models that complete text."""
    return Tokens(read_source(folder))
