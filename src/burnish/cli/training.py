"""`burnish train METHOD`: one training on a file of rows, as a run that can be killed, resumed, traced and shown."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.running import Verbose
from burnish.errors import SettingsError

FEW_STEPS = 5  # below it, the defaults for large files were probably not meant

MethodName = Annotated[
    str,
    typer.Argument(
        help="pretrain, sft, reward, reward-soft, reward-anchored, reward-attributes, reward-pointwise, reward-steps, "
        "dpo, ipo, critique-dpo, rpo, kto, distill; on fresh answers to prompts: grpo, grpo-reward-kl, rloo, mdloo, "
        "warp, online-dpo, distill-online."
    ),
]
Model = Annotated[
    str,
    typer.Option(
        help="Where training starts: a folder in Hugging Face layout, a run, a hub id, or microworld (the small base "
        "model that comes with Burnish)."
    ),
]
Data = Annotated[
    list[str],
    typer.Option(
        help="Rows (JSONL, JSON, Parquet): text, messages, prompt/completion, prompt/chosen/rejected; with strength, "
        "margin, chosen_score, chosen_grades, label, attributes or completions and labels where the method reads them; "
        "prompts alone for methods on fresh answers, with reference, checker, route. "
        "May be repeated."
    ),
]
Teacher = Annotated[
    str, typer.Option(help="For distill and distill-online: the model to learn from, a folder or a hub id.")
]
MergeBase = Annotated[
    str, typer.Option(help="For --set merging=...: the model that --model was tuned from, a folder or a hub id.")
]
Keep = Annotated[
    str, typer.Option(help="For grpo-reward-kl: rows of supervised training on which to stay near the start.")
]
Reward = Annotated[
    list[str],
    typer.Option(
        help="For methods on fresh answers, but distill-online: what one is worth. A checker (math, ...), checker "
        "(each prompt's own), a reward model folder, http://host:8000/v1#model, or file.py:function in TRL's form; "
        "SPEC*0.5 weighs it, ROUTE=SPEC is for the prompts of a route. May be repeated: the weighted sum."
    ),
]
Sampler = Annotated[
    str,
    typer.Option(help="For the same: a server that draws the answers, http://host:8000/v1#model. Default: in process."),
]
Reload = Annotated[
    list[str],
    typer.Option(
        help="With --sampler: how it is told to read new weights: vllm, sglang, none, or a path and a JSON body such "
        'as \'/reload {"path": "{folder}"}\'. May be repeated: one after another.'
    ),
]
SamplerFolder = Annotated[
    str, typer.Option(help="With --sampler: where weights are written for it, on a disk that both see.")
]
Tool = Annotated[
    list[str],
    typer.Option(
        help="For the same: what answers may call: calculator, python (in the sandbox), or file.py:function. May be "
        "repeated."
    ),
]


def train(
    method: MethodName,
    *,
    model: Model = "",
    data: Data = [],  # noqa: B006
    teacher: Teacher = "",
    merge_base: MergeBase = "",
    keep: Keep = "",
    reward: Reward = [],  # noqa: B006
    sampler: Sampler = "",
    reload: Reload = ["vllm"],  # noqa: B006
    sampler_folder: SamplerFolder = "",
    tool: Tool = [],  # noqa: B006
    max_turns: Annotated[int, typer.Option(help="With --tool: pieces of an answer, one more than its calls.")] = 4,
    tool_tokens: Annotated[int, typer.Option(help="With --tool: tokens that the tools may put out at a time.")] = 256,
    out: Annotated[str, typer.Option(help="Run folder. Default: runs/train-METHOD. The same command goes on.")] = "",
    set_: Annotated[list[str], typer.Option("--set", help="A setting: key=value. May be repeated.")] = [],  # noqa: B006
    show: Annotated[
        bool, typer.Option("--settings", help="Print every setting with its source; train nothing.")
    ] = False,
    chat: Annotated[str, typer.Option(help="Chat format for a model without a template: chatml or llama3.")] = "chatml",
    on_error: Annotated[str, typer.Option(help="A malformed row: raise, or drop it and count it.")] = "raise",
    iterations: Annotated[
        int | None,
        typer.Option(help="Times to train, each from and against the result before. Default: 3 for rpo, else 1."),
    ] = None,
    limit: Annotated[int, typer.Option(help="Only the first rows of a file; 0 takes all.")] = 0,
    track: Annotated[
        str, typer.Option(help="Curves, besides metrics.jsonl: tensorboard, wandb, trackio, mlflow; or none.")
    ] = "tensorboard",
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    dtype: Annotated[str, typer.Option(help="auto, float32, bfloat16, float16 or float64.")] = "auto",
    threads: Annotated[int, typer.Option(help="Torch threads; fixed at the first start. 0: automatic.")] = 0,
    on_change: Annotated[str, typer.Option(help="When a step exists with other settings: refuse or rerun.")] = "refuse",
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout when done.")] = False,
    verbose: Verbose = False,
) -> None:
    """Train a model on a file of rows, or go on with it where it stopped."""
    known, settings = chosen(method, set_)
    if show:
        print_settings(method, settings, getattr(known, "iterations", None))
        return
    for name, given in (("--model", model), ("--data", data)):
        if not given:
            raise SettingsError(f"{name} is missing; see burnish train --help")
    options = {"teacher": teacher, "reward": reward, "merge_base": merge_base, "keep": keep, "iterations": iterations}
    drawn = {"sampler": sampler, "reload": reload, "folder": sampler_folder}
    options["drawn"] = drawn | {"tools": tool, "turns": max_turns, "result_tokens": tool_tokens}
    refuse_early(method, settings, options, data)
    job = _Job(method, model, data, settings, chat=chat, on_error=on_error, limit=limit, track=track, **options)
    folder = Path(out or f"runs/train-{method}")
    where = {"device": device, "dtype": dtype, "threads": threads or None}
    final, told = carry_out(job, folder, where, on_change=on_change, verbose=verbose)
    finish(folder, final, method, as_json, told=told)


def chosen(method: str, words: list[str]) -> tuple[Any, Any]:
    """A method by name, and its settings with what `--set` says."""
    from burnish.runs import nearest, override
    from burnish.train import METHODS
    from burnish.train.on_policy import FRESH

    known = {**METHODS, **FRESH}
    if method not in known:
        raise SettingsError(f"there is no method {method!r}; {nearest(method, known)}")
    return known[method], override(known[method].settings(), words)


def carry_out(job: _Job, folder: Path, where: dict[str, Any], *, on_change: str, verbose: bool) -> tuple[Path, bool]:
    """Play the job as a run; its final weights, and whether it told its numbers on the way."""
    from burnish.cli.console import Console
    from burnish.cli.running import play
    from burnish.cli.workers import described
    from burnish.runs import Run, choose_compute
    from burnish.train.ranks import ranks

    # One process trains; it gets the machine's cores.
    compute, listener = choose_compute(**where, workers=1), Console(verbose=verbose)
    about = {
        "recipe": f"train {job.method}",
        "scale": "",
        "command": ["burnish", *sys.argv[1:]],
        "settings": described(job.settings, type(job.settings)()),
        "processes": ranks().world,
    }
    run = Run(folder, compute=compute, on_change=on_change, listener=listener, about={**about, "simulated": []})
    return play(run, lambda: job.steps(run), listener), listener.done > 0


def refuse_early(method: str, settings: Any, given: dict[str, Any], data: list[str]) -> None:
    """Refuse values out of range, and options that do not go with the method, before a file is read."""
    from burnish.train import check_shares, planned
    from burnish.train.on_policy import FRESH, check_keep, planned_fresh

    iterations = given["iterations"]
    if iterations is not None and iterations < 1:
        raise SettingsError(f"--iterations is {iterations}; a method runs at least once")
    rewarded = [name for name, known in FRESH.items() if known.rewards]
    if (method in rewarded) != bool(given["reward"]):
        raise SettingsError(f"{method} {'needs --reward' if method in rewarded else 'takes no --reward'}; "
                            f"--reward says what a fresh answer is worth, for {', '.join(rewarded)}")  # fmt: skip
    if method not in FRESH and (given["drawn"]["sampler"] or given["drawn"]["tools"]):
        raise SettingsError(f"{method} takes no --sampler and no --tool; those are for {', '.join(FRESH)}")
    check_keep(getattr(settings, "keep_weight", 0.0), rows=bool(given["keep"]))
    weights = {name: given[name] or None for name in ("teacher", "merge_base")}
    if method in FRESH:
        if iterations:
            raise SettingsError(f"{method} takes no --iterations; --set rounds=N says how long")
        planned_fresh(settings, method, **weights)
        return
    planned(method, settings, **weights)
    if getattr(settings, "mix", ()):
        check_shares(settings.mix, [Path(file).name for file in data])


class _Job:
    """A training as the runner plays it: rows in, a chat format where there is none, the method."""

    def __init__(self, method: str, model: str, data: list[str], settings: Any, **how: Any) -> None:
        from burnish.cli.fresh.rewards import columns_of, rewarder_of
        from burnish.cli.fresh.samplers import drawn_by
        from burnish.cli.workers import policy_weights
        from burnish.records import with_columns

        self.method, self.settings, self.how = method, settings, how
        self.rows, self.left = [], []
        names = [Path(file).name for file in data]
        columns = columns_of(how["reward"] or ())
        for file in data:
            if names.count(Path(file).name) > 1:
                raise SettingsError(
                    f"--data names two files {Path(file).name}; rename one, as rows say where they stood"
                )
            found = read_file(method, settings, Path(file), how["on_error"])
            rows = list(found.rows)[: how["limit"] or None]
            self.rows += with_columns(rows, file, columns) if how["reward"] else rows
            self.left += found.dropped
        self.model = policy_weights(model)
        others = {name: how[name] for name in ("teacher", "merge_base") if how[name]}
        self.others = {name: policy_weights(spec) for name, spec in others.items()}
        self.keep = reader_of("sft")(Path(how["keep"]), on_error=how["on_error"]) if how["keep"] else None
        self.rewarder = rewarder_of(how["reward"], self.rows) if how["reward"] else None
        self.drawn = drawn_by(how["drawn"])

    def steps(self, run: Any) -> Any:
        """The steps of the run; returns the trained weights."""
        from burnish.chat import has_template
        from burnish.records import Document
        from burnish.runs import Runtime
        from burnish.train import METHODS, give_chat, take_rows, tracker, train_iterations
        from burnish.train.on_policy import FRESH, train_fresh

        rows = run.step("rows", take_rows, self.rows, self.left)
        start = self.model
        raw = self.method not in FRESH and METHODS[self.method].noun is Document
        if not raw and not has_template(start.path):
            start = run.step("chat", give_chat, start, format=self.how["chat"])
        names = tuple(name for name in self.how["track"].split(",") if name not in ("", "none"))
        told = tracker(names, run.folder, name=f"{self.method} {run.folder.name}", settings=asdict(self.settings))
        how = {"method": self.method, "track": told, **self.others, **asdict(self.settings)}
        if self.method in FRESH:
            how |= {"track": Runtime(told), "rewarder": self.rewarder, **self.drawn}
            if self.keep is not None:
                how["keep"] = run.step("keep", take_rows, list(self.keep.rows), self.keep.dropped)
            return run.step(self.method, train_fresh, start, rows, **how)
        return train_iterations(run, start, rows, iterations=self.how["iterations"], **how)


def read_file(method: str, settings: Any, file: Path, on_error: str) -> Any:
    """The rows of a file for a method.

    Raises:
        DataError: as its reader; where answers are missing that the method could do without, it says how.
    """
    from burnish.errors import DataError

    try:
        return reader_of(method, settings)(file, on_error=on_error)
    except DataError as error:
        if getattr(settings, "share", 1.0) < 1:
            raise DataError(f"{error}; share is {settings.share}: prompts without answers go with share=1") from error
        raise


def reader_of(method: str, settings: Any = None) -> Callable[..., Any]:
    """What reads the files of a method, with its settings if they matter (None: the defaults)."""
    from burnish.records import (
        Demonstration,
        Document,
        Prompt,
        read_demonstrations,
        read_documents,
        read_preferences,
        read_prompts,
    )
    from burnish.train import METHODS
    from burnish.train.on_policy import FRESH

    fresh = FRESH.get(method)
    noun = METHODS[method].noun if fresh is None else fresh.noun(settings or fresh.settings())
    readers = {Demonstration: read_demonstrations, Document: read_documents, Prompt: read_prompts}
    return readers.get(noun, read_preferences)


def print_settings(method: str, settings: Any, iterations: int | None) -> None:
    """A line a setting: name, value, source. `iterations` is None for a method that knows none."""
    from burnish.cli.workers import described

    print(f"{method}: {type(settings).__doc__}\n")
    for name, told in described(settings, type(settings)()).items():
        value = ",".join(map(str, told["value"])) or "none" if isinstance(told["value"], tuple) else told["value"]
        shown = str(value).lower() if isinstance(value, bool) or value is None else str(value)
        print(f"{name:<20}{shown:<14} {told['source']}")
    if iterations is not None:
        print(f"\n--iterations        {iterations:<14} trainings, each from and against the result of the one before")


def finish(folder: Path, final: Path, method: str, as_json: bool, *, told: bool) -> None:
    """Print what came of it, unless it was told as it went on, and where it is."""
    from burnish.cli.console import counted, summary
    from burnish.cli.running import as_object
    from burnish.report import write_report
    from burnish.runs import RunView
    from burnish.train.on_policy import FRESH

    view = RunView(folder)
    page = folder / "report.html"
    write_report(folder, page)
    last = view.steps[-1]
    to = sys.stderr if as_json else sys.stdout
    if not told:
        numbers = filter(None, [counted(last.note["counts"]), summary(last.note["metrics"])])
        print(f"{last.name}: {'; '.join(numbers)}", file=to)
    steps, rows = last.note["metrics"].get("steps", 0), last.note["counts"]["kept"]
    asked_for = last.note["identity"]["settings"].get("rounds")  # whoever gives a number of rounds knows it
    if steps < FEW_STEPS and not asked_for:
        few = f"only {steps} update{'s'[: steps != 1]} on {rows} rows"
        more = "raise rounds" if method in FRESH else "lower batch_rows or raise epochs"
        print(f"{few}: {more} (--set) if that was not meant", file=sys.stderr)
    if as_json:
        print(json.dumps(as_object(view, f"train {method}", final, page), ensure_ascii=False))
    print(f"report  {page}", file=to)
    if last.kind == "causal" and method != "pretrain":  # which leaves a base, with or without a chat format
        print(f"burnish chat {shlex.quote(str(final))}", file=to)
    else:
        print(f"weights {final}", file=to)
