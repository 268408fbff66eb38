"""The command line: parse, call, print. Heavy rooms are imported inside the commands, so that `--help` is quick.

Exit codes: 0 done, 1 no answer came (`sample`), 2 an error the user can mend (one sentence on stderr), 130 interrupted
(with the line that resumes).
"""

from __future__ import annotations

import sys

import typer

from burnish import __version__
from burnish.cli import asking, inspecting, interrupts, preview, running, scoring, serving, training, verbs
from burnish.cli.servers import books
from burnish.errors import BurnishError

app = typer.Typer(
    help="Post-train language models with a published recipe: run it, look at what happened, use its parts alone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
data_app = typer.Typer(help="Training rows as a model sees them, and some to try with.", no_args_is_help=True)
score_app = typer.Typer(help="Measure judges and models from verdicts and labels in files.", no_args_is_help=True)
merge_app = typer.Typer(help="Combine the weights of several models.", no_args_is_help=True)

app.command("run")(running.run)
app.command("train")(training.train)
app.command("show")(inspecting.show)
app.command("trace")(inspecting.trace)
app.command("explain")(inspecting.explain)
app.command("report")(inspecting.report)
app.command("judge")(asking.judge)
app.command("verify")(asking.verify)
app.command("requests")(books.requests)
app.command("chat")(verbs.chat)
app.command("sample")(verbs.sample)
app.command("evaluate")(verbs.evaluate)
app.command("serve-oracle")(serving.serve_oracle)
merge_app.command("average")(verbs.average)
app.add_typer(merge_app, name="merge")
score_app.command("agreement")(scoring.agreement)
score_app.command("calibration")(scoring.calibration)
score_app.command("order")(scoring.order)
score_app.command("winrate")(scoring.win_rate)
score_app.command("pairs")(scoring.pairs)
app.add_typer(score_app, name="score")
data_app.command("preview")(preview.preview)
data_app.command("microworld")(preview.microworld)
app.add_typer(data_app, name="data")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"burnish {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass


def main() -> None:
    """Entry point of the `burnish` command."""
    try:
        with interrupts.watched():
            app()
    except BurnishError as error:
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", []))
        print(f"burnish: error: {error}{notes}", file=sys.stderr)
        sys.exit(2)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)


__all__ = ["app", "main"]
