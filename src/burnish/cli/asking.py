"""Verdicts on the rows of a file, by a checker, a server or a reward model."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from burnish.cli.servers.books import columns


def judge(
    file: Annotated[
        Path, typer.Argument(help="Rows: prompt, chosen, rejected; or prompt, completion(s); or messages.")
    ],
    *,
    judge_: Annotated[
        list[str],
        typer.Option("--judge", help="http://host:8000/v1#model, or a reward model folder; repeated, a panel decides."),
    ],
    out: Annotated[Path, typer.Option(help="JSONL of the rows with verdicts.")],
    how: Annotated[
        str, typer.Option(help="What a server is asked: pairwise, golden, rubric, quality, absolute, critique.")
    ] = "",
    rubric: Annotated[Path | None, typer.Option(help="JSON of criteria with levels, for --how rubric.")] = None,
    both: Annotated[bool, typer.Option("--both/--one-order", help="Compare in both orders, or in one drawn.")] = True,
    ties: Annotated[bool, typer.Option("--ties/--no-ties", help="Whether a comparison may end in a tie.")] = True,
    panel: Annotated[
        str, typer.Option(help="How a panel decides: majority, or mean. Default: majority of winners, mean of scores.")
    ] = "",
    chat: Annotated[str, typer.Option(help="Chat format of a reward model without a template: chatml, ...")] = "",
    prefix: Annotated[str, typer.Option(help="Before the names of the verdict's columns, such as qwen_.")] = "",
    seed: Annotated[int, typer.Option(help="Seed of the order drawn.")] = 0,
    budget_tokens: Annotated[int, typer.Option(help="Stop after so many tokens; 0 is no limit.")] = 0,
    budget_money: Annotated[float, typer.Option(help="The same in US dollars.")] = 0.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what asking would cost at most.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Judge the rows of a file: a verdict each, or why there is none. Replies are kept in OUT.requests/ and resumed."""
    from burnish.cli.verbs import _check_place, _working, _write, check_lines
    from burnish.cli.workers import judge_of
    from burnish.judge import judge_rows
    from burnish.records import read_answered, write_jsonl

    limits = {"tokens": budget_tokens, "money": budget_money}
    settings = {"how": how, "rubric": rubric, "both": both, "ties": ties, "seed": seed, "limits": limits}
    settings |= {"chat": chat, "device": device, "dtype": dtype}
    chosen = panel_of([judge_of(spec, **settings) for spec in judge_], panel)
    check_lines(out, file)
    rows = read_answered(file)
    kept = out.with_name(out.name + ".requests") / "judge.sqlite"
    if dry_run:
        tell_costs(chosen, rows, prefix, kept)
        return
    _check_place(out.parent)
    before = _kept(kept)
    with _working(kept=kept) as work:
        judged, metrics = judge_rows(rows, chosen, prefix=prefix, work=work)
    plain_rows = (json.loads(json.dumps(row, default=str)) for row in judged)
    _write(out, write_jsonl, plain_rows)
    after = _kept(kept)
    metrics["kept"] = dict(zip(("replies", "tokens", "money"), after, strict=True))
    metrics["new"] = {"replies": after[0] - before[0], "tokens": after[1] - before[1]}
    if as_json:
        print(json.dumps({"file": str(file), "out": str(out), "judge": chosen.name, "metrics": metrics}))
        return
    print("\n".join(_told(chosen.name, metrics)))
    verdicts = len(judged) - sum(metrics["no_verdict"].values())
    print(f"{len(rows):,} rows, {verdicts:,} verdicts, {len(judged) - verdicts:,} unscored -> {out}", file=sys.stderr)


def panel_of(judges: list[Any], rule: str) -> Any:
    """The one judge, or all of them as a panel.

    Raises:
        SettingsError: a rule for one judge; a judge that would vote twice; they do not all compare or all score.
    """
    from burnish.errors import SettingsError
    from burnish.judge import Panel

    names = [judge.name for judge in judges]
    if twice := next((name for name in names if names.count(name) > 1), ""):
        raise SettingsError(f"two of the judges are the same ({twice}), which would give it two votes; name it once")
    if len(judges) == 1:
        if rule:
            raise SettingsError(f"--panel {rule} is for several judges, and one is named; repeat --judge")
        return judges[0]
    return Panel(members=tuple(judges), rule=rule or ("majority" if hasattr(judges[0], "rank") else "mean"))


def verify(
    kind: Annotated[
        str, typer.Argument(help="A checker (math, constraints, code, tools, ...), or auto: each row's own.")
    ],
    *,
    data: Annotated[
        Path, typer.Option(help="Rows: prompt, response; or prompt, completion(s); or messages; or sampled.")
    ],
    out: Annotated[Path | None, typer.Option(help="JSONL of the rows with verdict, reward and reason.")] = None,
    reference: Annotated[
        str, typer.Option(help="Column of what the checker compares with, or several, comma-separated, as one object.")
    ] = "",
    prompts: Annotated[Path | None, typer.Option(help="File of prompts, for rows that `burnish sample` wrote.")] = None,
    prefix: Annotated[str, typer.Option(help="Before the names of the verdict's columns, such as math_.")] = "",
    workers: Annotated[int, typer.Option(min=0, help="Processes that share the work. 0: automatic.")] = 0,
    unsafe_execution: Annotated[
        bool,
        typer.Option("--unsafe-execution", help="Run model-written code with your own rights where nothing isolates."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Rewards without a model: a verdict on every response of a file, and a table of results by type.

    Rows that cannot be read, or whose answer cannot be checked, are kept with the reason and no number; where nothing
    can be scored the command ends with status 1. With --out verdicts are kept as they come: a killed run goes on when
    the same command is given again, and a finished one begins anew.

    \b
    burnish verify math --data answers.jsonl --reference gold --out verdicts.jsonl
    burnish verify auto --data samples.jsonl --prompts prompts.jsonl --workers 8
    burnish verify constraints --data ifeval.jsonl --reference instruction_id_list,kwargs
    """
    from burnish.cli.verbs import _write
    from burnish.records import AnsweredRow, write_jsonl
    from burnish.runs.compute import cores
    from burnish.verify.rewards import AUTO, verify_rows

    checkers = _checkers([kind] if kind != AUTO else [], unsafe_execution)
    rows = _answers(data, reference, prompts)
    if kind == AUTO:
        checkers = _checkers({row.prompt.checker for row in rows if isinstance(row, AnsweredRow)}, unsafe_execution)
    told = [kind, reference, prefix, *(f"{name} {checker!r}" for name, checker in sorted(checkers.items()))]
    with _kept_beside(out, told, [data, *([prompts] if prompts else [])]) as work:
        found = verify_rows(rows, kind, checkers=checkers, prefix=prefix, workers=workers or cores(), work=work)
        if out:
            _write(out, write_jsonl, (json.loads(json.dumps(row, default=str)) for row in found.rows))
    lines = [_with_interval(line) for line in found.table]
    reasons = dict(list(found.reasons.items())[:20])
    if as_json:
        totals = {"rows": len(rows), "bad": found.bad, "types": lines, "reasons": reasons}
        print(json.dumps({"data": str(data), "out": str(out) if out else None, "kind": kind, **totals}))
    else:
        print("\n".join(columns([_verified(line) for line in lines])))
        print(f"{len(rows):,} rows, {found.bad:,} unreadable" + (f" -> {out}" if out else ""), file=sys.stderr)
    if lines[0]["value"] is None:
        told = "".join(f"\n  {number:,} {reason}" for reason, number in list(reasons.items())[:5])
        print(f"nothing could be scored:{told}", file=sys.stderr)
        raise typer.Exit(1)


def _checkers(names: Iterable[str], unsafe: bool) -> dict[str, Any]:
    """All checkers, the microworld's among them where one is named; with --unsafe-execution those that run code may do
    so without isolation where there is none."""
    from burnish.verify import CHECKERS
    from burnish.verify.rewards import with_executor

    found = dict(CHECKERS)
    if any(name not in found for name in names):
        from burnish.microworld import checkers

        found |= checkers()
    if unsafe and any(hasattr(checker, "executor") for checker in found.values()):
        from burnish.verify.sandbox import find_executor

        executor = find_executor(unsafe=True)
        found = {name: with_executor(checker, executor) for name, checker in found.items()}
    return found


def _answers(data: Path, reference: str, prompts: Path | None) -> list[Any]:
    """The rows of a file, with the reference from the columns named.

    Raises:
        DataError: no such file; no row has the column; no row has a model's answer.
    """
    from burnish.errors import DataError
    from burnish.records import AnsweredRow, passed_over, read_prompts, walk_answered, with_reference

    known = {prompt.id: prompt for prompt in read_prompts(prompts).rows} if prompts else {}
    rows = list(walk_answered(data, known, gold=True))
    if not any(isinstance(row, AnsweredRow) for row in rows) and (bare := [row for row in rows if row.unanswered]):
        raise DataError(f"{data} holds no answer of a model to check; {bare[0].reason}")
    if said := passed_over(rows):
        print(said, file=sys.stderr)
    names = [name.strip() for name in reference.split(",") if name.strip()]
    return with_reference(rows, names, str(data)) if names else rows


@contextmanager
def _kept_beside(out: Path | None, told: list[str], files: list[Path]) -> Iterator[Any]:
    """`Work` whose journal stands beside the result until that is there; a temporary one without a result."""
    from hashlib import file_digest

    from burnish import __version__
    from burnish.cli.console import bar
    from burnish.cli.verbs import _check_place, _working
    from burnish.errors import RunError
    from burnish.records import content_id
    from burnish.runs.storage import remove
    from burnish.runs.work import StepWork

    with bar("verify") as say:
        if out is None:
            with _working(report=say) as work:
                yield work
            return
        if not out.parent.exists():
            print(f"{out.parent} is not there; it is made", file=sys.stderr)
        _check_place(out.parent)
        if out.is_dir():
            raise RunError(f"{out} is a folder; name a file with --out")
        digests = []
        for path in files:
            if out.exists() and out.samefile(path):
                raise RunError(f"--out {out} is the file that is read; name another one")
            with path.open("rb") as held:
                digests.append(file_digest(held, "sha256").hexdigest())
        place = out.with_name(out.name + ".work")
        if place.exists() and not (place / "work.json").exists():
            raise RunError(f"{place} is in the way of what is kept meanwhile; move it, or choose another --out")
        work = StepWork(place, content_id([__version__, *told, *digests]), say)
        try:
            yield work
        finally:
            work.close()
        remove(work.place)


def _with_interval(line: Any) -> dict[str, Any]:
    from burnish.judge.intervals import wilson

    scored = line.correct + line.wrong
    low, high = wilson(line.correct, scored)
    return {**asdict(line), "value": line.correct / scored if scored else None, "low": low, "high": high}


def _verified(line: dict[str, Any]) -> dict[str, str]:
    none = line["value"] is None
    return {
        "": " ".join(part for part in (line["by"], line["name"]) if part),
        **{name: f"{line[name]:,}" for name in ("n", "correct", "wrong", "unscored")},
        "right": "-" if none else f"{100 * line['value']:.1f} %",
        "95 %": "-" if none else f"[{100 * line['low']:.1f}, {100 * line['high']:.1f}]",
    }


def tell_costs(judge: Any, rows: list[Any], prefix: str, kept: Path) -> None:
    """What a judge, or a panel's members together, would cost at most."""
    from burnish.cli.servers.estimates import tell_estimate
    from burnish.llm.operations import REASKS

    members = getattr(judge, "members", (judge,))
    asked = [request for member in members for request in first_requests(member, rows, prefix)]
    tell_estimate(asked, kept, members[0].asker, reasks=REASKS)


def first_requests(judge: Any, rows: list[Any], prefix: str = "") -> list[Any]:
    """What a judge would ask before any reply is read.

    Raises:
        SettingsError: the judge asks nobody.
    """
    from dataclasses import replace

    from burnish.errors import SettingsError
    from burnish.judge import judge_rows
    from burnish.judge.files import Listing

    if not hasattr(judge, "asker"):
        raise SettingsError("--dry-run estimates what a server would cost; a reward model costs nothing")
    listing = Listing(judge.asker.identity)
    judge_rows(rows, replace(judge, asker=listing), prefix=prefix)
    return listing.requests


def _kept(path: Path) -> tuple[int, int, float]:
    """Replies, tokens and US dollars of a store; zeros where there is none."""
    from burnish.llm.requests import Store
    from burnish.llm.requests.books import spent_in

    if not path.exists():
        return 0, 0, 0.0
    with Store(path) as store:
        count = len(store)
    return (count, *spent_in(path))


def _short(answer: str) -> str:
    return answer if len(answer) <= 12 else "first answer"


def _told(name: str, metrics: dict[str, Any]) -> list[str]:
    from burnish.judge.files import share_of

    # Shares with Wilson's interval.
    lost, lines = metrics["no_verdict"], [name]
    total = metrics.get("comparisons", metrics.get("answers"))
    if "comparisons" in metrics:
        won, ties, pairs = metrics["won"], metrics["ties"], metrics["both_orders_read"]
        lines += [f"consistent        {share_of(pairs - metrics['inconsistent'], pairs)}"] if pairs else []
        lines += [
            f"{_short(metrics['first_answer']) + ' wins':<17} {share_of(metrics['first_answer_won'], won)}",
            f"ties              {share_of(ties, won + ties)}",
        ]
        one = f"{share_of(metrics['first_won'], metrics['decided'])} (0.5 is no position bias)"
        lines += [] if "members" in metrics else [f"first shown wins  {one}"]
        for member in metrics.get("members", ()):
            pairs, bias = member["both_orders_read"], share_of(member["first_won"], member["decided"])
            same = f"consistent {share_of(pairs - member['inconsistent'], pairs)}; " if pairs else ""
            lines.append(f"  {member['name']}: {same}first shown wins {bias}")
    else:
        mean = "-" if metrics["mean"] is None else f"{metrics['mean']:.4f}"
        lines.append(f"mean score        {mean}, n = {metrics['scored']:,}")
    if metrics.get("agreement") is not None:
        lines.append(f"judges agree      {metrics['agreement']:.3f} of the pairs of their verdicts")
    lines.append(f"unscored          {share_of(sum(lost.values()), total)}")
    lines += [f"  {number:,} {reason}" for reason, number in sorted(lost.items(), key=lambda one: -one[1])]
    kept, new = metrics["kept"], metrics["new"]
    if kept["replies"]:
        lines.append(f"tokens            {kept['tokens']:,} of {kept['replies']:,} replies, "
                     f"{new['tokens']:,} of {new['replies']:,} new ones")  # fmt: skip
    return lines
