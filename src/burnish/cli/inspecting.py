"""Looking at a run: what steps it has, where a row came from, why a step ran again, the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

Folder = Annotated[Path, typer.Argument(help="A run folder.")]


def show(
    run: Folder,
    step: Annotated[str, typer.Argument(help="A step, for its rows.")] = "",
    rows: Annotated[int, typer.Option(help="How many rows to show, of the kept and of the dropped.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole step.json, or all of them.")] = False,
) -> None:
    """List a run's steps, or the first rows of one step with their ids."""
    from burnish.cli.console import counted, summary
    from burnish.runs import RunView

    view = RunView(run)
    if as_json:
        told = view.step(step).note if step else {**view.about, "steps": [found.note for found in view.steps]}
        print(json.dumps(told, indent=2, ensure_ascii=False))
        return
    if step:
        found = view.step(step)
        print("\n".join(_summary(found)))
        for row in found.rows()[:rows]:
            print(_line(row))
        for row in found.dropped()[:rows]:
            print(f"{row.parents[0] if row.parents else row.id}  dropped: {row.reason} {row.detail}")
        print("\n".join(_sampled(found.samples(), rows)), end="\n" * bool(found.samples()))
        return
    about = view.about
    print(f"{about.get('recipe', 'run')} {about.get('scale', '')}  started {about['started']}")
    for found in view.steps:
        said = found.note.get("skipped") or f"{counted(found.note['counts'])}; {summary(found.note['metrics'])}"
        print(f"{found.name:<28} {found.kind:<8} {found.note['seconds']:>8.1f} s  {said}")


def _summary(step: Any) -> list[str]:
    """A step in a few lines: what it did, with what numbers, settings and parents."""
    from burnish.cli.console import counted

    note, identity = step.note, step.note["identity"]
    told = note.get("skipped") or counted(note["counts"])
    metrics = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in note["metrics"].items()}
    parents = [parent["step"] or f"{parent['id']} (from outside)" for parent in note["parents"]]
    parts = {
        "function": identity["function"],
        "from": ", ".join(dict.fromkeys(parents)),
        "settings": ", ".join(f"{k} {_short(v)}" for k, v in identity["settings"].items()),
        "metrics": ", ".join(f"{k} {_short(v)}" for k, v in metrics.items()),
        "fingerprint": f"{note['fingerprint']}  (the whole note: --json)",
    }
    head = f"{step.name}  {step.kind}  {note['seconds']:.1f} s: {told}"
    return [head, *(f"  {name:<12} {value}" for name, value in parts.items() if value)]


def _sampled(samples: list[dict[str, Any]], most: int) -> list[str]:
    """Answers of the last round of a training on fresh ones, `most` of the best, of the worst, of those without one."""
    last = [row for row in samples if row["round"] == samples[-1]["round"]]
    lines = [f"answers of round {last[0]['round']}, with their rewards"] if last else []
    for pick in ("best", "worst", "missing"):
        for row in [one for one in last if one["pick"] == pick][:most]:
            worth, why = ("-", f"  ({row['why']})") if row["reward"] is None else (f"{row['reward']:.4g}", "")
            asked, said = (_brief(row[key]) for key in ("messages", "answer"))
            lines.append(f"  {pick:<8} {worth:<8} {asked!r} -> {said!r}{why}")
    return lines


def _brief(messages: list[dict[str, str]]) -> str:
    """The beginning of the last of some messages, in a line."""
    return " ".join(messages[-1]["content"].split())[:60] if messages else ""


def _short(value: Any) -> str:
    """A setting in a line: a worker or a function by its name, never a table."""
    if isinstance(value, dict) and (named := value.get("type") or value.get("function")):
        return str(named)
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:48]}... ({len(text):,} characters)"


def _line(row: Any) -> str:
    kind = type(row).__name__.lower()
    return f"{row.id}  {kind:<13} {_said(row)}"


def _text(messages: Any) -> str:
    return " | ".join(f"{m.role}: {m.content}" for m in messages)


def _said(row: Any) -> str:
    """A row in one line: what it says, and where it comes from."""
    match type(row).__name__:
        case "Prompt":
            return f"[{row.ability or '-'}] {_text(row.messages)}  (source {row.source or '-'})"
        case "Response":
            s = row.sampling
            how = f"temperature {s.temperature:g}, top-p {s.top_p:g}, seed {s.seed}" if s else "-"
            return f"{_text(row.messages)}  (model {row.model}, sample {row.index}, {how}, {row.finish})"
        case "Judgement":
            verdict = row.unscored and f"unscored: {row.unscored}"
            verdict = verdict or (f"score {row.score:.4g}" if row.score is not None else "")
            if not verdict:
                verdict = "tie" if row.winner == -1 else f"winner {row.winner}, strength {row.strength}"
            return f"{verdict}  (judge {row.judge}, shown {list(row.shown)}) {row.transcript}"
        case "Preference":
            ranked = " > ".join(f"{c.role} {_text(c.messages)!r}" for c in row.candidates)
            return f"strength {row.strength}, annotator {row.annotator}, round {row.round}: {ranked}"
        case "Demonstration":
            score = "" if row.score is None else f", reward {row.score:.4g}"
            return f"{_text(row.response)}  (rule {row.source}, model {row.model}, round {row.round}{score})"
        case "Dropped":
            return f"{row.noun.lower()} dropped: {row.reason} {row.detail}"
    return str(row)


def trace(run: Folder, row: Annotated[str, typer.Argument(help="A row's id, or its beginning.")]) -> None:
    """Print where a row comes from, back to its prompt, and which checkpoints were trained on it."""
    from burnish.runs import RunView

    view = RunView(run)
    for ancestor in view.ancestry(row):
        pad = "  " * ancestor.depth
        print(f"{pad}{_line(ancestor.row)}")
        note = _origin(view, ancestor)
        print(f"{pad}  in {ancestor.step}{note}{f'; {ancestor.fate}' if ancestor.fate else ''}")
    trained = view.trained_on(row)
    print("trained on it: " + (", ".join(f"{s.name} ({s.id})" for s in trained) or "no checkpoint"))


def _origin(view: Any, ancestor: Any) -> str:
    """Which step made the weights a response was drawn from, by their fingerprint."""
    model = getattr(ancestor.row, "model", "")
    if not model:
        return ""
    made = view.origin(model.split("@")[0])
    return f"; weights {model} from {made.name}" if made else f"; weights {model} (the policy given)"


def explain(run: Folder, step: Annotated[str, typer.Argument(help="A step: its name or the end of it.")]) -> None:
    """Say why a step ran again: the fields that differ from its earlier version."""
    from burnish.runs import RunView

    view, other, changed = RunView(run).explain(step)
    print(f"{view.name}  {view.note['identity']['function']}  fingerprint {view.note['fingerprint']}")
    if other is None or other.name != view.name:
        print("it never ran again: there is no earlier version of it under superseded/")
    if other is None:
        return
    where = "its earlier version" if other.name == view.name else "for comparison, the nearest step of this function"
    print(f"{where}: {other.folder.relative_to(run)}, {len(changed)} fields differ")
    for path, old, new in changed:
        print(f"  {path}: {json.dumps(old, ensure_ascii=False)} -> {json.dumps(new, ensure_ascii=False)}")
    if view.note["code"] != other.note["code"]:
        print("  (the code of the function has changed since; recorded as drift, no reason to run again)")


def report(
    run: Folder, to: Annotated[Path | None, typer.Option(help="Where to write; default RUN/report.html.")] = None
) -> None:
    """Write a run's report again, also of an unfinished run."""
    from burnish.report import write_report

    target = to or run / "report.html"
    write_report(run, target)
    print(target)
