"""`burnish run RECIPE`: choose the workers, run the rounds, print the table, write the report."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

Recipe = Annotated[str, typer.Argument(help="Which recipe: llama3, deepseek_v2.")]
Scale = Annotated[str, typer.Option(help="smoke (under a minute), laptop (minutes), paper (the report's numbers).")]
Policy = Annotated[
    str, typer.Option(help="Base model: a folder in Hugging Face layout or a hub id. Default: the embedded one.")
]
Prompts = Annotated[
    str, typer.Option(help="File of prompts (JSONL, JSON, Parquet; messages, Alpaca, GSM8K, TRL columns).")
]
Heldout = Annotated[str, typer.Option(help="File of held-out prompts. Default: a fifth of --prompts, by hash.")]
AnnotatorSpec = Annotated[
    str,
    typer.Option(
        help="Who compares answers: a checker (math, constraints), a reward model folder, http://host:8000/v1#model, "
        "or simulated."
    ),
]
JudgeSpec = Annotated[
    str,
    typer.Option(
        "--judge",
        help="Who grades for pruning: http://host:8000/v1#model, a checker, or none. Default: as --annotator.",
    ),
]
Rewards = Annotated[
    list[str],
    typer.Option(
        "--reward",
        help="For deepseek_v2: NAME=SPEC in place of a reward that it would make itself; NAME is reasoning, helpful, "
        "safety or rules, SPEC as for burnish train grpo (math, a reward model folder, file.py:function, ...).",
    ),
]
Tokens = Annotated[int, typer.Option(help="Stop asking servers after so many tokens; 0 is no limit.")]
Money = Annotated[float, typer.Option(help="The same in US dollars.")]
Out = Annotated[str, typer.Option(help="Run folder. Default: runs/RECIPE-SCALE. The same command again goes on.")]
Set = Annotated[list[str], typer.Option("--set", help="Override a setting: key=value. May be repeated.")]
Chat = Annotated[str, typer.Option(help="Chat format for a base model without a template: chatml or llama3.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Name every step that is reused.")]
Seed = Annotated[int, typer.Option(help="Seed of the run (the setting `seed`).")]


def run(
    recipe: Recipe,
    *,
    scale: Scale = "laptop",
    policy: Policy = "",
    prompts: Prompts = "",
    heldout: Heldout = "",
    annotator: AnnotatorSpec = "",
    judge: JudgeSpec = "",
    reward: Rewards = [],  # noqa: B006
    budget_tokens: Tokens = 0,
    budget_money: Money = 0.0,
    out: Out = "",
    set_: Set = [],  # noqa: B006 (typer reads the default)
    chat: Chat = "",
    seed: Seed = 0,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float64.")] = "auto",
    threads: Annotated[
        int, typer.Option(help="Torch threads of a process; fixed at the first start. 0: automatic.")
    ] = 0,
    workers: Annotated[int, typer.Option(help="Processes that share the work. 0: automatic.")] = 0,
    on_change: Annotated[str, typer.Option(help="When a step exists with other settings: refuse or rerun.")] = "refuse",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print steps, rows, tokens and estimated hours; run nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout when done.")] = False,
    verbose: Verbose = False,
) -> None:
    """Run a recipe, or go on with it where it stopped."""
    from burnish.cli import workers as people
    from burnish.cli.console import Console
    from burnish.errors import SettingsError
    from burnish.recipes import SCALES, STAGED, load_recipe
    from burnish.runs import Run, choose_compute, nearest, override

    module = load_recipe(recipe)
    if scale not in SCALES:
        raise SettingsError(f"--scale {scale} is not known; {nearest(scale, SCALES)}")
    extra = [*([f"chat={chat}"] if chat else []), *([f"seed={seed}"] if seed else [])]
    settings = override(module.scale(scale), [*set_, *extra])
    check_counts(settings)
    limits = (budget_tokens, budget_money)
    asked = people.Asked(policy, prompts, heldout, annotator, judge, tuple(reward), limits=limits)
    folder = Path(out or f"runs/{recipe}-{scale}")
    if dry_run:
        print_plan(module, settings, asked, folder)
        return
    compute = choose_compute(device=device, dtype=dtype, threads=threads or None, workers=workers or None)
    listener = Console(verbose=verbose)
    chosen = people.assemble(module, asked, settings)
    about = {
        "recipe": recipe, "scale": scale, "rounds": "stage" if recipe in STAGED else "round",
        "command": ["burnish", *sys.argv[1:]], "settings": people.described(settings, module.scale("paper")),
        "simulated": chosen.simulated,
    }  # fmt: skip
    chosen.look(unless=folder / "final")
    opened = Run(folder, compute=compute, on_change=on_change, listener=listener, about=about)
    final = play(opened, lambda: module.recipe(opened, settings, chosen.workers), listener)
    finish(folder, final, recipe, as_json)


def check_counts(settings: Any) -> None:
    """Raise `SettingsError` for a count that cannot be: every whole number but the seed is at least 1, a few are 0."""
    from burnish.errors import SettingsError

    for name, value in vars(settings).items():
        least = 0 if name in ("warm", "reasoning_rounds", "preference_rounds") else 1
        if type(value) is int and name != "seed" and value < least:
            raise SettingsError(f"--set {name}={value}: {name} must be at least {least}")


def play(run: Any, steps: Callable[[], Any], listener: Any) -> Path:
    """All steps, and the weights they return in `final/`. Workers end before the folder is let go."""
    from burnish.runs.workers import stop_workers

    with run:
        try:
            weights = steps()
            final = run.export("final", weights)
            listener.ended()
        except BaseException:
            stop_workers()
            raise
        finally:
            listener.close()
    return final


def finish(folder: Path, final: Path, recipe: str, as_json: bool) -> None:
    """Write the report; print the table (or the JSON object), the report's path and the line that chats."""
    from burnish.cli.servers.lost import told_lost
    from burnish.cli.tables import print_rounds, print_stages
    from burnish.recipes import STAGED
    from burnish.report import write_report
    from burnish.runs import RunView

    view = RunView(folder)
    page = folder / "report.html"
    write_report(folder, page)
    to = sys.stderr if as_json else sys.stdout
    (print_stages if recipe in STAGED else print_rounds)(view, to)
    for step in view.steps:
        if "skipped" in step.note:
            print(f"{step.name}: {step.note['skipped']}", file=to)
    for line in told_lost(view):
        print(line, file=to)
    if as_json:
        print(json.dumps(as_object(view, recipe, final, page), ensure_ascii=False))
    print(f"report  {page}", file=to)
    print(f"burnish chat {shlex.quote(str(final))}", file=to)


def as_object(view: Any, recipe: str, final: Path, page: Path) -> dict[str, Any]:
    """The run as one object: stage -> metrics, path, counts, seconds."""
    stages = {
        step.name: {
            "kind": step.kind,
            "metrics": step.note["metrics"],
            "counts": step.note["counts"],
            "path": str(step.folder),
            "seconds": step.note["seconds"],
            **({"skipped": step.note["skipped"]} if "skipped" in step.note else {}),
        }
        for step in view.steps
    }
    return {"recipe": recipe, "out": str(view.folder), "final": str(final), "report": str(page), "stages": stages}


def print_plan(module: Any, settings: Any, asked: Any, folder: Path) -> None:
    """Steps, rows, tokens and estimated hours at the speed this machine has been measured to reach.

    Raises:
        WorkerError: a server does not answer, or has not the model.
    """
    from burnish.cli import workers as people
    from burnish.llm.requests import Budget

    people.look_at(asked, unless=folder / "final")
    shape, servers = people.measure(asked), {"judgements": 0, "pruned": 0}
    rate = {"sample": 2.0, "score": 2.0, "train": 6.0}  # floating-point operations a token and parameter
    total = 0.0
    print(f"{'step':<24}{'rows':>12}{'tokens':>16}{'hours':>10}")
    for name, rows, tokens, kind in module.plan(settings, shape.prompt_tokens, settings.new_tokens):
        if kind == "ask":  # of servers, else a matter of seconds
            servers[name.rpartition("/")[2]] += rows
            continue
        hours = rate[kind] * tokens * shape.parameters / shape.flops / 3600
        total += hours
        print(f"{name:<24}{rows:>12,}{tokens:>16,}{hours:>10.2f}")
    print(f"{'all':<24}{'':>12}{'':>16}{total:>10.2f}")
    print(
        f"\n{shape.parameters:,} parameters; {shape.flops / 1e9:.0f} GFLOP/s on {shape.device}, measured just now; "
        f"answers counted at their longest ({settings.new_tokens} tokens), so this is an upper estimate."
    )
    told = people.asking_costs(asked, servers, shape, settings.new_tokens)
    if told.requests:
        print(f"servers: {told.requests:,} requests, {told.costs()}")
        if above := told.above(Budget(tokens=asked.limits[0] or None, money=asked.limits[1] or None)):
            print(above)
