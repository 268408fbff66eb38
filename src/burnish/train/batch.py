"""From rows to token batches: what is trained on, in which order, in which packs.

Everything here is a pure function of rows, settings and seed; nothing depends on the order in which rows arrive.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from burnish.chat import Chat, Encoded
from burnish.errors import ChatError, DataError
from burnish.models import Row
from burnish.records import Demonstration, Dropped, Message, Preference, dropped
from burnish.runs import Outcome

TOO_LONG = "longer than the context"
TOO_FEW = "fewer than two candidates"
MALFORMED = "not a well-formed dialogue"
EQUAL = "equal answers"
UNTRAINED = "nothing in it is trained"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Example:
    """A tokenised row.

    Args:
        id: id of the row it was made from.
        row: the shared prompt and the responses, token ids.
        trained: [tokens of all responses] bool, what the loss sees; not tool output, nor headers inside a response.
        formatting: the same shape, headers and terminators: what DPO masks.
        ranks: rank of each response, 0 is best.
        values: numbers of the row that its method reads (margin, rewards, labels); NaN where there is none.
        tokens: what a pack spends on it: prompt once, plus all responses.
    """

    id: str
    row: Row
    trained: np.ndarray
    formatting: np.ndarray
    ranks: tuple[int, ...] = (0,)
    values: tuple[float, ...] = ()
    tokens: int

    @property
    def trained_tokens(self) -> int:
        return int(self.trained.sum())


def trained_each(example: Example) -> list[int]:
    """Trained tokens of each response."""
    ends = np.cumsum([len(response) for response in example.row.responses])[:-1]
    return [int(part.sum()) for part in np.split(example.trained, ends)]


def _key(*parts: object) -> bytes:
    return hashlib.blake2b("\0".join(str(part) for part in parts).encode(), digest_size=16).digest()


class Untrained(Exception):
    """The switches of a row's messages leave nothing to train in one of its answers."""


def _example(row_id: str, encoded: Sequence[Encoded], ranks: tuple[int, ...]) -> Example:
    """One prompt, several answers. The prompt is the same tokens in each, since each is encoded after it."""
    start = encoded[0].prompt_length
    prompt = tuple(encoded[0].ids[:start])
    if any(tuple(e.ids[: e.prompt_length]) != prompt for e in encoded):
        raise DataError(f"row {row_id}: its answers do not share one tokenised prompt; mend the chat template")
    for rank, answer in zip(ranks, encoded, strict=True):
        if not any(answer.trained):
            if "assistant" in answer.roles[start:]:
                raise Untrained(f"every message of answer {rank + 1} is switched off")
            raise DataError(f"row {row_id}: answer {rank + 1} has no trained token; it needs an assistant message")
    # With trained turns in the context, the prompt ends before the first of them; its first token has no prediction.
    start = max(1, min(start, *(answer.trained.index(True) for answer in encoded)))
    responses = tuple(tuple(e.ids[start:]) for e in encoded)
    return Example(
        id=row_id,
        row=Row(prompt=prompt[:start], responses=responses),
        trained=np.array([t for e in encoded for t in e.trained[start:]], dtype=bool),
        formatting=np.array([f for e in encoded for f in e.formatting[start:]], dtype=bool),
        ranks=ranks,
        tokens=start + sum(len(r) for r in responses),
    )


def named(row: Any) -> str:
    """How an error names a row: its id, and the file and line where it came from one."""
    return f"row {row.id} ({row.source})" if row.source else f"row {row.id}"


def take_rows(rows: Sequence[Any], left: Sequence[Dropped] = ()) -> Outcome:
    """Step: take the rows of a file into a run, with those that could not be read (`left`)."""
    return Outcome(rows=list(rows), dropped=list(left), taken=len(rows) + len(left))


def encode_demonstration(chat: Chat, row: Demonstration, *, train_on: str = "last") -> Example:
    """Context = all turns but the last, target = the final response (spec §3.4); `all` trains each assistant turn."""
    return _example(row.id, [chat.encode(row.context, row.response, train_on=train_on)], (0,))


def encode_ranking(chat: Chat, row: Preference) -> Example:
    """All candidates of a row, shuffled with their ranks by a key of the row's id (spec §3.3)."""
    order = sorted(range(len(row.candidates)), key=lambda i: _key("candidates", row.id, i))
    return _example(row.id, [chat.encode(row.context, row.candidates[i].messages) for i in order], tuple(order))


def encode_pair(chat: Chat, row: Preference) -> Example:
    """The best candidate against the worst (ASSUMED for rows of three: edited against rejected)."""
    pair: list[Sequence[Message]] = [row.candidates[0].messages, row.candidates[-1].messages]
    return _example(row.id, [chat.encode(row.context, messages) for messages in pair], (0, 1))


def encode_all(
    encode: Callable[[Chat, Any], Example],
    chat: Chat,
    rows: Sequence[Demonstration | Preference],
    *,
    max_length: int,
    refuse_above: float,
    isolate: bool = True,
) -> tuple[list[Example], list[Dropped]]:
    """Tokenise rows and drop, with a reason, those that do not fit.

    Args:
        encode: `encode_demonstration`, `encode_ranking` or `encode_pair`.
        max_length: tokens a prompt and one of its answers may have together (all of its answers, if not `isolate`).
        refuse_above: the share of dropped rows above which training is refused; 1 never refuses while a row is left.
            Rows in which nothing is trained were switched off by their author and do not count (ASSUMED).

    Raises:
        DataError: no row is left, or more than `refuse_above` of them were dropped; a row has no trained token.
    """
    examples: list[Example] = []
    lost: list[Dropped] = []
    for row in rows:
        if isinstance(row, Preference) and len(row.candidates) < 2:
            lost.append(dropped(row, TOO_FEW, f"{len(row.candidates)} candidates"))
            continue
        try:
            example = encode(chat, row)
        except ChatError as error:
            lost.append(dropped(row, MALFORMED, str(error)))
            continue
        except Untrained as untrained:
            lost.append(dropped(row, UNTRAINED, str(untrained)))
            continue
        if len(set(example.row.responses)) < len(example.row.responses):
            lost.append(dropped(row, EQUAL, "two of its answers are the same tokens"))
            continue
        longest = len(example.row.prompt) + max(len(r) for r in example.row.responses)
        length = longest if isolate else example.tokens
        if length > max_length:
            lost.append(dropped(row, TOO_LONG, f"{length} tokens, {max_length} fit"))
        else:
            examples.append(example)
    check_left(examples, lost, rows=len(rows), refuse_above=refuse_above)
    return examples, lost


def check_left(examples: Sequence[Example], lost: Sequence[Dropped], *, rows: int, refuse_above: float) -> None:
    """Refuse a training that lost too many of its rows.

    Raises:
        DataError: no row is left, or more than `refuse_above` of them were dropped against their author's will.
    """
    unwanted = sum(row.reason != UNTRAINED for row in lost)
    if not examples or unwanted > refuse_above * rows:
        said = f"; the first: {lost[0].reason} ({lost[0].detail}), row {lost[0].parents[0]}" if lost else ""
        raise DataError(
            f"{len(lost)} of {rows} training rows were dropped, and {len(examples)} are left{said}. Mend such "
            "rows, raise max_length up to the model's context if they are long, or raise refuse_above"
        )


def epoch_order(examples: Sequence[Any], *, seed: int, epoch: int, length_group: int = 0) -> list[int]:
    """Indices in the order of one epoch: sorted by a hash of (seed, epoch, row id, how often the id came before).

    Args:
        examples: rows with an `id`, and with `tokens` for groups.
        length_group: rows of a group of like length, or 0 to order rows one by one. Rows are sorted by length and cut
            into groups, which are shuffled (LongAlign, arXiv:2401.18058, GLM-4; spec G4). What is left over when groups
            are full is a smaller group from a drawn place in that order, at the end of the epoch (ASSUMED).
    """
    seen: dict[str, int] = {}
    keys = []
    for index, example in enumerate(examples):
        seen[example.id] = seen.get(example.id, -1) + 1
        keys.append((_key("order", seed, epoch, example.id, seen[example.id]), index))
    keys.sort()
    if not length_group:
        return [index for _, index in keys]
    by_length = sorted((index for _, index in keys), key=lambda index: -examples[index].tokens)
    full, rest = divmod(len(by_length), length_group)
    at = int.from_bytes(_key("rest", seed, epoch), "big") % (full + 1) * length_group
    left, by_length = by_length[at : at + rest], by_length[:at] + by_length[at + rest :]
    groups = [by_length[start : start + length_group] for start in range(0, len(by_length), length_group)]
    order = sorted(range(full), key=lambda number: _key("group", seed, epoch, number))
    return [index for number in order for index in groups[number]] + left


def optimiser_batches(
    examples: Sequence[Example], *, batch_rows: int, epochs: int, seed: int, length_group: int = 0
) -> list[list[int]]:
    """Cut the epochs, laid end to end, into batches of `batch_rows`; only the very last may be smaller.

    So each row is seen exactly `epochs` times, and no small batch takes a full-sized step in the middle.
    """
    how = {"seed": seed, "length_group": length_group}
    stream = [index for epoch in range(epochs) for index in epoch_order(examples, epoch=epoch, **how)]
    return [stream[start : start + batch_rows] for start in range(0, len(stream), batch_rows)]


def prompt_batches(examples: Sequence[Example], *, batch_prompts: int, epochs: int, seed: int) -> list[list[int]]:
    """As `optimiser_batches`, with all rows of a prompt next to each other and a batch of `batch_prompts` prompts.

    Self-Contrast (spec G12): a batch of 128 prompts holds the k pairs of each, so there are as many steps for any k. In
    an epoch's order a prompt stands where its first row stands.
    """
    stream: list[list[int]] = []
    for epoch in range(epochs):
        together: dict[tuple[int, ...], list[int]] = {}
        for index in epoch_order(examples, seed=seed, epoch=epoch):
            together.setdefault(examples[index].row.prompt, []).append(index)
        stream += together.values()
    cut = (stream[start : start + batch_prompts] for start in range(0, len(stream), batch_prompts))
    return [[index for rows in batch for index in rows] for batch in cut]


def packs(examples: Sequence[Example], *, budget: int) -> Iterator[list[Example]]:
    """Split a batch into packs of at most `budget` tokens: longest first, each into the first pack with room.

    An example longer than the budget gets a pack of its own.
    """
    bins: list[tuple[int, list[Example]]] = []
    for example in sorted(examples, key=lambda e: -e.tokens):
        for place, (used, inside) in enumerate(bins):
            if used + example.tokens <= budget:
                bins[place] = (used + example.tokens, [*inside, example])
                break
        else:
            bins.append((example.tokens, [example]))
    yield from (inside for _, inside in bins)
