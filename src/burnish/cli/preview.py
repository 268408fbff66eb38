"""`burnish data preview FILE --model DIR`: rows as a model will see them, and what of them is trained on."""

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
    "untrained": ("red", "in the answer, never trained (tool output, headers)"),
}


def preview(
    file: Annotated[Path, typer.Argument(help="Rows in any convention that burnish train reads.")],
    *,
    model: Annotated[
        str, typer.Option(help="A folder in Hugging Face layout, or a hub id: its tokenizer and template.")
    ],
    method: Annotated[str, typer.Option(help="The method the rows are for; see burnish train --help.")] = "",
    set_: Annotated[list[str], typer.Option("--set", help="A setting of the method: key=value.")] = [],  # noqa: B006
    chat: Annotated[str, typer.Option(help="A chat format in place of the tokenizer's own: chatml or llama3.")] = "",
    rows: Annotated[int, typer.Option(help="How many rows to show.")] = 3,
    full: Annotated[bool, typer.Option("--full", help="Show long stretches whole, not only their two ends.")] = False,
) -> None:
    """Show rows as tokens, coloured by what training does with them, and list the rows that would be dropped."""
    from rich.console import Console

    from burnish.chat import load_chat
    from burnish.cli.workers import policy_weights
    from burnish.errors import DataError, SettingsError
    from burnish.records import Demonstration, context_length, read_demonstrations, read_preferences
    from burnish.runs import nearest, override
    from burnish.train import METHODS, encode_all

    if method and method not in METHODS:
        raise SettingsError(f"there is no method {method!r}; {nearest(method, METHODS)}")
    try:
        named = method or "dpo"
        found = (read_demonstrations if METHODS[named].noun is Demonstration else read_preferences)(
            file, on_error="drop"
        )
    except DataError:
        if method:
            raise
        named, found = "sft", read_demonstrations(file, on_error="drop")
    settings = override(METHODS[named].settings(), set_)
    folder = policy_weights(model).path
    codec = load_chat(folder, format=chat or None)
    known = METHODS["sft" if METHODS[named].teacher else named]
    built = known.build(settings if known is METHODS[named] else known.settings())
    longest = settings.max_length or context_length(folder)
    examples, lost = encode_all(
        built.encode, codec, found.rows, max_length=longest, refuse_above=1.0, isolate=built.isolate
    )
    screen = Console(highlight=False, soft_wrap=True)
    screen.print(f"{file}: {found.convention}, for {named}; a token ends at each [dim]|[/dim]")
    for mark, (style, meaning) in MARKS.items():
        screen.print(f"  [{style}]{mark:<12}[/{style}] {meaning}")
    kept = {example.id for example in examples}
    for row in [row for row in found.rows if row.id in kept][:rows]:
        show_row(screen, codec, row, full)
    tell(screen, examples, [*found.dropped, *lost])


def answers_of(row: Any) -> list[tuple[str, Any]]:
    """(name, messages) of each answer of a row."""
    if hasattr(row, "candidates"):
        return [(candidate.role, candidate.messages) for candidate in row.candidates]
    return [("response", row.response)]


def show_row(screen: Any, codec: Any, row: Any, full: bool = False) -> None:
    """A row's prompt, and each of its answers, a line a stretch of equal tokens."""
    from rich.text import Text

    screen.print(f"\n[bold]{row.id}[/bold] {getattr(row, 'source', '') or getattr(row, 'annotator', '')}")
    for place, (name, messages) in enumerate(answers_of(row)):
        encoded = codec.encode(row.context, messages)
        if place == 0:
            print_stretches(screen, codec, encoded, range(encoded.prompt_length), full)
        screen.print(Text(f" {name}", style="bold"))
        print_stretches(screen, codec, encoded, range(encoded.prompt_length, len(encoded.ids)), full)


def print_stretches(screen: Any, codec: Any, encoded: Any, places: range, full: bool = False) -> None:
    """Tokens at these places, grouped by role and by what training does with them; a long group by its two ends."""
    from rich.text import Text

    def mark(place: int) -> tuple[str, str]:
        if place < encoded.prompt_length:
            return encoded.roles[place], "prompt"
        if not encoded.trained[place]:
            return encoded.roles[place], "untrained"
        return encoded.roles[place], "formatting" if encoded.formatting[place] else "trained"

    named = codec.tokens.special_names
    for (role, what), group in groupby(places, key=mark):
        ids = [encoded.ids[place] for place in group]
        texts = [named.get(i) or codec.text((i,)).replace("\n", "⏎") for i in ids]
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
    screen.print(
        f"\n{len(examples)} rows would be trained on, {trained:,} trained tokens; prompt and longest answer have "
        f"{sizes[len(sizes) // 2]} tokens in the middle, {sizes[-1]} at most"
    )
    if lost:
        screen.print(f"{len(lost)} rows would be dropped:")
    for reason, number in Counter(row.reason for row in lost).most_common():
        first = next(row for row in lost if row.reason == reason)
        screen.print(f"  {number} {reason}; the first: {first.detail or first.parents[0]}", markup=False)
