"""Single verbs on a folder of weights: talk to it, sample from it, evaluate it, average several."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model", help="A folder in Hugging Face layout, a finished run, a hub id, or http://host:8000/v1#model."
    ),
]
Style = Annotated[str, typer.Option(help="chat, or completion for a base model without a chat template.")]


def _client(model: str, style: str, device: str, dtype: str, *, compile: bool = False) -> Any:
    from burnish.errors import SettingsError
    from burnish.llm.requests import parse_endpoint

    if endpoint := parse_endpoint(model):
        if compile:
            raise SettingsError(f"--compile is for a folder of weights, and {model} is a server")
        return endpoint
    from burnish.chat import has_template
    from burnish.cli.workers import policy_weights
    from burnish.errors import ChatError
    from burnish.llm import Local
    from burnish.runs import choose_compute
    from burnish.runs.compute import set_compute
    from burnish.runs.workers import fix_threads

    compute = choose_compute(device=device, dtype=dtype)
    set_compute(compute)
    fix_threads(compute.threads)
    weights = policy_weights(model)
    if style == "chat" and not has_template(weights.path):
        raise ChatError(
            f"{weights.path} has no chat template; pass --style completion, or train it with a format first"
        )
    return Local(weights=weights, style=style, compile=compile)


def chat(
    model: Annotated[str, typer.Argument(help="A folder of weights, a finished run, or http://host:8000/v1#model.")],
    *,
    style: Style = "chat",
    system: Annotated[str, typer.Option(help="A system prompt.")] = "",
    temperature: float = 0.7,
    max_new_tokens: int = 256,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Talk to a model. One line is one message; an empty line or Ctrl-D ends; piped input is answered line by line."""
    from burnish.records import Message, Prompt, Sampling

    client = _client(model, style, device, dtype)
    said = [Message(role="system", content=system)] if system else []
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    person = sys.stdin.isatty()
    while True:
        try:
            line = input("you> " if person else "")
        except EOFError:
            break
        if not line.strip():
            break
        said.append(Message(role="user", content=line))
        prompt = Prompt(messages=tuple(said), source="chat")
        answers = client.answer([prompt], n=1, sampling=sampling)
        if not answers:
            print("(the dialogue has become longer than the model's context; start again)", file=sys.stderr)
            break
        said += answers[0].messages
        print(f"model> {answers[0].text}" if person else answers[0].text, flush=True)


def sample(
    *,
    model: Model,
    prompts: Annotated[Path, typer.Option(help="File of prompts.")],
    out: Annotated[Path, typer.Option(help="JSONL of responses.")],
    n: Annotated[int, typer.Option("-n", "-k", help="Answers a prompt.")] = 1,
    style: Style = "chat",
    temperature: float = 0.8,
    top_p: float = 1.0,
    max_new_tokens: int = 256,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
    compile: Annotated[bool, typer.Option("--compile", help="Compile a token's step (docs/performance.md).")] = False,
    budget_tokens: Annotated[int, typer.Option(help="Stop a server after so many tokens; 0 is no limit.")] = 0,
    budget_money: Annotated[float, typer.Option(help="The same in US dollars.")] = 0.0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what asking a server would cost at most.")
    ] = False,
) -> None:
    """Draw K answers to every prompt of a file. A server's are kept in OUT.requests/ and not paid for twice."""
    from burnish.cli.servers.estimates import print_estimate, with_budget
    from burnish.cli.servers.lost import print_lost
    from burnish.llm import lost_answers, sample_responses
    from burnish.records import Sampling, answered_row, read_asked, write_jsonl

    check_lines(out, prompts)
    _check_place(out.parent)
    rows = read_asked(prompts)
    asked = list({row.prompt.id: row.prompt for row in rows}.values())
    sampling = Sampling(temperature=temperature, top_p=top_p, max_new_tokens=max_new_tokens, seed=seed)
    client = with_budget(_client(model, style, device, dtype, compile=compile), budget_tokens, budget_money)
    kept = out.with_name(out.name + ".requests") / "sample.sqlite"
    if dry_run:
        print_estimate(client, asked, n, sampling, kept)
        return
    with _working(kept=kept) as work:
        answers = sample_responses(asked, client=client, n=n, sampling=sampling, work=work).rows
    if answers:
        given: dict[str, list[Any]] = {prompt.id: [] for prompt in asked}
        for answer in answers:
            given[answer.prompt].append(answer)
        _write(out, write_jsonl, (answered_row(row.prompt, answer, row.columns)
                                  for row in rows for answer in given[row.prompt.id]))  # fmt: skip
    print(f"{len(asked):,} prompts, {len(answers):,} responses -> {out if answers else 'nothing is written'}",
          file=sys.stderr)  # fmt: skip
    if len(rows) > len(asked):
        print(f"{len(rows) - len(asked):,} of {len(rows):,} rows equal another, were asked once and have the same "
              "answers", file=sys.stderr)  # fmt: skip
    print_lost(lost_answers(asked, answers, client, sampling, n), n * len(asked), kept)
    if not answers:
        raise typer.Exit(1)


def evaluate(
    *,
    model: Model,
    data: Annotated[Path, typer.Option(help="File of prompts with reference answers.")],
    checker: Annotated[str, typer.Option(help="Checker for rows that name none: math, constraints, ...")] = "",
    out: Annotated[Path | None, typer.Option(help="JSONL of the graded responses.")] = None,
    n: Annotated[int, typer.Option("-n", "-k", help="Answers a prompt (greedy when 1 and temperature 0).")] = 1,
    style: Style = "chat",
    temperature: float = 0.0,
    max_new_tokens: int = 256,
    seed: int = 0,
    limit: Annotated[int, typer.Option(help="Only the first rows; 0 takes all.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Accuracy of a model on a file, with 95 % intervals, by ability."""
    from dataclasses import replace

    from burnish import microworld
    from burnish.evaluate import score_model
    from burnish.records import Sampling, plain, read_prompts, write_jsonl
    from burnish.verify import CHECKERS, get_checker

    if out:
        _check_place(out.parent)
    rows = list(read_prompts(data).rows)[: limit or None]
    if checker:
        get_checker(checker)
        rows = [row if row.checker else replace(row, checker=checker, id="") for row in rows]
    sampling = Sampling(temperature=temperature, max_new_tokens=max_new_tokens, seed=seed)
    client = _client(model, style, device, dtype)
    checkers = {**CHECKERS, **microworld.checkers()}
    with _working() as work:
        outcome = score_model(rows, client=client, checkers=checkers, sampling=sampling, n=n, work=work)
        if out:
            _write(out, write_jsonl, _graded(work.folder, rows))
    if as_json:
        print(json.dumps({"model": model, "data": str(data), "scores": [plain(s) for s in outcome.rows]}))
        return
    for score in outcome.rows:
        value = (
            "-"
            if score.value is None
            else f"{100 * score.value:5.1f} %  [{100 * score.low:.1f}, {100 * score.high:.1f}]"
        )
        unscored = f", {score.unscored} unscored" if score.unscored else ""
        print(f"{score.task:<20} {value}  n = {score.n}{unscored}")


def average(
    models: Annotated[list[str], typer.Argument(help="Folders of weights, all of one architecture and tokenizer.")],
    out: Annotated[Path, typer.Option(help="Folder for the result; must not exist yet.")],
    weights: Annotated[str, typer.Option(help="Comma-separated, summing to 1. Default: equal.")] = "",
) -> None:
    """Average the weights of several models, one tensor at a time."""
    from burnish.cli.workers import policy_weights
    from burnish.errors import RunError, SettingsError
    from burnish.merge import average as merge_average
    from burnish.runs.storage import publish

    members = [policy_weights(m) for m in models]
    try:
        shares = [float(part) for part in weights.split(",")] if weights else [1 / len(members)] * len(members)
    except ValueError:
        raise SettingsError(f"--weights {weights}: write numbers separated by commas, such as 0.7,0.3") from None
    if out.exists():
        raise RunError(f"{out} exists already; choose another --out")
    with _working(out) as work:
        merge_average(members, coefficients=shares, work=work)
        publish(work.folder, out)
    print(out)


def check_lines(out: Path, *read: Path) -> None:
    """Refuse a result that would overwrite what is read, or whose ending promises other than JSON lines.

    Raises:
        RunError: it is a folder, or one of the files read.
        SettingsError: its ending.
    """
    from burnish.errors import RunError, SettingsError

    if out.is_dir():
        raise RunError(f"{out} is a folder; name a file with --out")
    if any(path.exists() and out.exists() and path.samefile(out) for path in read):
        raise RunError(f"--out {out} is the file that is read, and would be overwritten; choose another --out")
    if out.suffix.lower() in (".parquet", ".json", ".csv", ".gz"):
        raise SettingsError(f"--out {out}: the result is JSON lines; name it {out.with_suffix('.jsonl').name}")


def _write(path: Path, writer: Any, rows: Any) -> None:
    """By rename, so that a file is whole or not there."""
    from burnish.runs.storage import disk_errors

    with disk_errors(path):
        draft = path.with_name(path.name + ".draft")
        writer(rows, draft)
        draft.replace(path)


def _check_place(folder: Path) -> None:
    """Raise `RunError` where no file can be made, before anything is computed for it."""
    import tempfile

    from burnish.errors import RunError
    from burnish.runs.storage import disk_errors, make_folder

    make_folder(folder)
    with disk_errors(folder):
        try:
            tempfile.TemporaryFile(dir=folder).close()
        except FileNotFoundError as error:  # file systems that hold no files of ours, such as /proc
            raise RunError(f"no file can be made in {folder}; choose another place with --out") from error


@contextmanager
def _working(beside: Path | None = None, *, kept: Path | None = None, report: Any = None) -> Iterator[Any]:
    """The `Work` of a single verb: progress on stderr, and a folder beside the result that goes with it.

    `kept` is the store of what it asks of servers, which stays, unless nothing came back.
    """
    import tempfile

    from burnish.runs.storage import disk_errors, remove
    from burnish.runs.work import StepWork

    parent = beside.parent if beside else Path(tempfile.gettempdir())
    _check_place(parent)
    with disk_errors(parent):
        place = Path(tempfile.mkdtemp(prefix=".burnish-", dir=parent))
    work = StepWork(place, "verb", report or _say)
    work.requests = kept or work.requests
    try:
        yield work
    finally:
        work.close()
        remove(place)
        if kept is not None and kept.exists() and not _holds_any(kept):
            remove(kept.parent)


def _holds_any(kept: Path) -> bool:
    from burnish.llm.requests import Store

    with Store(kept) as store:
        return len(store) > 0


def _say(done: int, total: int, note: str) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total} {note}\033[K", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _graded(folder: Path, prompts: list[Any]) -> Iterator[dict[str, Any]]:
    """The prompts, responses and verdicts of an evaluation, side by side."""
    from burnish.records import answered_row, read_parquet

    asked = {prompt.id: prompt for prompt in prompts}
    verdicts = {row.responses[0]: row for row in read_parquet(folder / "verdicts.parquet")}
    for row in read_parquet(folder / "responses.parquet"):
        verdict = verdicts[row.id]
        yield {**answered_row(asked[row.prompt], row), "score": verdict.score, "unscored": verdict.unscored}
