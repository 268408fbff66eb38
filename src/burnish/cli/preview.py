"""`burnish data`: rows as a model will see them, with what of them is trained on; and files to try training with."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import Annotated, Any

import typer

HEAD, TAIL = 40, 20  # tokens shown of a long stretch

# What a token is to training, and how it is shown.
MARKS = {
    "prompt": ("dim", "seen, never trained"),
    "trained": ("bold green", "trained"),
    "formatting": ("bold yellow", "trained, and masked in DPO's log-ratios"),
    "untrained": ("red", "in the answer, not trained (tool output, headers, messages that are switched off)"),
}


def preview(
    file: Annotated[Path, typer.Argument(help="Rows in any convention that burnish train reads.")],
    *,
    model: Annotated[
        str, typer.Option(help="A folder in Hugging Face layout, or a hub id: its tokenizer and template.")
    ],
    method: Annotated[str, typer.Option(help="The method the rows are for; see burnish train --help.")] = "",
    set_: Annotated[list[str], typer.Option("--set", help="A setting of the method: key=value.")] = [],  # noqa: B006
    chat: Annotated[str, typer.Option(help="Chat format for a model without a template: chatml or llama3.")] = "chatml",
    rows: Annotated[int, typer.Option(help="How many rows to show.")] = 3,
    full: Annotated[bool, typer.Option("--full", help="Show long stretches whole, not only their two ends.")] = False,
) -> None:
    """Show rows as tokens, coloured by what training does with them, and list the rows that would be dropped."""
    from rich.console import Console

    from burnish.chat import load_tokens
    from burnish.cli.workers import policy_weights
    from burnish.errors import SettingsError
    from burnish.records import context_length
    from burnish.runs import nearest, override
    from burnish.train import METHODS

    if method and method not in METHODS:
        raise SettingsError(f"there is no method {method!r}; {nearest(method, METHODS)}")
    named, found = read_for(method, file)
    settings = override(METHODS[named].settings(), set_)
    folder = policy_weights(model).path
    train_on = getattr(settings, "train_on", "last")
    # A teacher is not asked here: what is trained of a row is the same as in SFT.
    taught = METHODS["sft"].settings(train_on=train_on)
    built = METHODS["sft"].build(taught) if METHODS[named].teacher else METHODS[named].build(settings)
    codec = load_tokens(folder) if built.raw else chat_of(folder, chat)
    longest = min(settings.max_length or 1 << 62, context_length(folder))
    examples, lost = built.read(codec, found.rows, max_length=longest, refuse_above=1.0)
    screen = Console(highlight=False, soft_wrap=True)
    screen.print(f"{file}: {found.convention}, for {named}; a token ends at each [dim]|[/dim]")
    for mark, (style, meaning) in MARKS.items():
        screen.print(f"  [{style}]{mark:<12}[/{style}] {meaning}")
    gone = {row.parents[0] for row in lost}
    for row in [row for row in found.rows if row.id not in gone][:rows]:
        if built.raw:
            show_text(screen, codec, row, [example for example in examples if example.id == row.id], full)
        else:
            show_row(screen, codec, row, train_on, full)
    tell(screen, [example for example in examples if example.id not in gone], [*found.dropped, *lost])


def chat_of(folder: str, format: str) -> Any:
    """The chat format a training would work with: the folder's own, else `format`, whose tokens are added to a copy."""
    import tempfile

    from burnish.chat import adopt, has_template, load_chat

    if has_template(folder):
        return load_chat(folder)
    with tempfile.TemporaryDirectory(prefix="burnish-") as place:
        adopt(folder, place, format)
        return load_chat(place)


def read_for(method: str, file: Path) -> tuple[str, Any]:
    """The rows of a file for a method; without one, for the first of dpo, sft and pretrain that it is a file of."""
    from burnish.cli.training import reader_of
    from burnish.errors import DataError

    wrong = None
    for named in [method] if method else ["dpo", "sft", "pretrain"]:
        try:
            return named, reader_of(named)(file, on_error="drop")
        except DataError as error:
            # of the three, what SFT says is wrong helps most
            wrong = error if named != "pretrain" or method else wrong
    raise wrong


def answers_of(row: Any) -> list[tuple[str, Any]]:
    """(name, messages) of each answer of a row."""
    if hasattr(row, "candidates"):
        return [(candidate.role, candidate.messages) for candidate in row.candidates]
    return [("response", row.response)]


def show_text(screen: Any, tokens: Any, row: Any, pieces: list[Any], full: bool = False) -> None:
    """A document, a line a piece."""
    from burnish.chat import Encoded

    screen.print(f"\n[bold]{row.id}[/bold] {row.source}, pieces: {len(pieces)}")
    for piece in pieces:
        ids = (*piece.row.prompt, *piece.row.responses[0])
        size, trained = len(ids), (False, *piece.trained.tolist())
        none = (False,) * size
        shown = Encoded(ids=ids, roles=("text",) * size, kinds=none, trained=trained, formatting=none, prompt_length=1)
        print_stretches(screen, tokens, shown, range(size), full)


def show_row(screen: Any, codec: Any, row: Any, train_on: str = "last", full: bool = False) -> None:
    """A row's prompt, and each of its answers, a line a stretch of equal tokens."""
    from rich.text import Text

    screen.print(f"\n[bold]{row.id}[/bold] {getattr(row, 'source', '') or getattr(row, 'annotator', '')}")
    for place, (name, messages) in enumerate(answers_of(row)):
        encoded = codec.encode(row.context, messages, train_on=train_on)
        if place == 0:
            print_stretches(screen, codec.tokens, encoded, range(encoded.prompt_length), full)
        screen.print(Text(f" {name}", style="bold"))
        print_stretches(screen, codec.tokens, encoded, range(encoded.prompt_length, len(encoded.ids)), full)


def microworld(
    *,
    out: Annotated[Path, typer.Option(help="Folder for demonstrations, pairs, prompts and heldout, .jsonl each.")],
    count: Annotated[int, typer.Option(help="Rows of each file.")] = 600,
    abilities: Annotated[str, typer.Option(help="With commas, of the ten families. Default: all in turn.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the tasks.")] = 0,
) -> None:
    """Write tasks of the embedded world as training files, to try any method with `--model microworld`.

    \b
    burnish data microworld --out files
    burnish train sft --model microworld --data files/demonstrations.jsonl --out runs/sft
    burnish train grpo --model runs/sft --data files/prompts.jsonl --reward checker --out runs/grpo
    burnish evaluate --model runs/grpo --data files/heldout.jsonl
    """
    from burnish.cli.verbs import _check_place, _write
    from burnish.microworld import FAMILIES, file_rows
    from burnish.records import write_jsonl

    names = [name.strip() for name in abilities.split(",") if name.strip()]
    found = file_rows(count, seed=seed, families=names or FAMILIES)
    _check_place(out)
    for kind, rows in found.items():
        _write(out / f"{kind}.jsonl", write_jsonl, rows)
        print(f"{len(rows):,} rows -> {out / kind}.jsonl")


def print_stretches(screen: Any, tokens: Any, encoded: Any, places: range, full: bool = False) -> None:
    """Tokens at these places, grouped by role and by what training does with them; a long group by its two ends."""
    from rich.text import Text

    def mark(place: int) -> tuple[str, str]:
        if not encoded.trained[place]:
            return encoded.roles[place], "prompt" if place < encoded.prompt_length else "untrained"
        return encoded.roles[place], "formatting" if encoded.formatting[place] else "trained"

    named = tokens.special_names
    for (role, what), group in groupby(places, key=mark):
        ids = [encoded.ids[place] for place in group]
        texts = [named.get(i) or tokens.text((i,)).replace("\n", "⏎") for i in ids]
        line = Text(f"  {role:<10}{what:<12}{len(texts):>5}  ")
        left_out = 0 if full else max(0, len(texts) - HEAD - TAIL)
        for place, text in enumerate(texts):
            if place == HEAD and left_out:
                line.append(f" ... {left_out} more (--full shows them) ... ", style="dim")
            if not HEAD <= place < HEAD + left_out:
                line.append(text, style=MARKS[what][0])
                line.append("|", style="dim")
        screen.print(line)


def tell(screen: Any, examples: list[Any], lost: list[Any]) -> None:
    """Counts, lengths, and the rows that would be dropped, by reason."""
    sizes = sorted(len(e.row.prompt) + max(map(len, e.row.responses)) for e in examples)
    trained = sum(e.trained_tokens for e in examples)
    rows = len({example.id for example in examples})
    screen.print(
        f"\n{rows} rows would be trained on, {trained:,} trained tokens; prompt and longest answer have "
        f"{sizes[len(sizes) // 2]} tokens in the middle, {sizes[-1]} at most"
    )
    if lost:
        screen.print(f"{len(lost)} rows would be dropped:")
    for reason, number in Counter(row.reason for row in lost).most_common():
        first = next(row for row in lost if row.reason == reason)
        screen.print(f"  {number} {reason}; the first: {first.detail or first.parents[0]}", markup=False)
