"""`burnish score`: verdicts and labels of a file as numbers with intervals. Only `pairs --judge` asks a model."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from burnish.judge.measure import Estimate, PairScores

FILE = "JSON lines, JSON, Parquet or .csv."
File = Annotated[Path, typer.Argument(help=FILE)]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Scale = Annotated[str, typer.Option(help="Lowest and highest label of a numeric scale, such as 1,5.")]
Missing = Annotated[str, typer.Option(help="Labels that mean no verdict, comma-separated; empty cells always do.")]
Seed = Annotated[int, typer.Option(help="Seed of the bootstrap.")]


def agreement(
    file: File,
    *,
    raters: Annotated[str, typer.Option(help="Columns of labels, one a rater, comma-separated; two or more.")],
    scale: Scale = "",
    missing: Missing = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """How far raters agree: each two of them, and all by Krippendorff's alpha. With --scale, labels are numbers."""
    from burnish.errors import SettingsError
    from burnish.judge.measure import accuracy, cohen_kappa, krippendorff_alpha, quadratic_kappa, spearman

    names = _words(raters)
    if len(names) < 2:
        raise SettingsError(f"--raters {raters!r}: name two columns or more, such as judge,human")
    found = _labels(file, names, scale, missing)
    told: dict[str, Any] = {}
    for first, second in combinations(names, 2):
        pair, where = (found[first], found[second]), f"{first} and {second}"
        told[f"{where}: equal"] = accuracy(*pair)
        if scale:
            told[f"{where}: quadratic kappa"] = quadratic_kappa(*pair, seed=seed)
            told[f"{where}: Spearman"] = spearman(*pair, seed=seed)
        else:
            told[f"{where}: Cohen's kappa"] = cohen_kappa(*pair, seed=seed)
    table = list(zip(*(found[name] for name in names), strict=True))
    for level in ("ordinal", "interval") if scale else ("nominal",):
        told[f"all: alpha, {level}"] = krippendorff_alpha(table, level, seed=seed)
    _print(told, as_json, file)


def calibration(
    file: File,
    *,
    judge: Annotated[str, typer.Option(help="Column of the judge's verdicts.")],
    human: Annotated[str, typer.Option(help="Column of people's labels.")],
    scale: Scale = "",
    tie: Annotated[str, typer.Option(help="The labels that are a tie, comma-separated.")] = "",
    missing: Missing = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """A judge against people: choices (the default) or, with --scale, ratings."""
    from burnish.errors import DataError
    from burnish.judge.measure import calibrate_choices, calibrate_scale

    found = _labels(file, [judge, human], scale, missing)
    if scale:
        done = calibrate_scale(found[judge], found[human], seed=seed)
    else:
        ties = _words(tie)
        sides = [[ties[0] if label in ties else label for label in found[column]] for column in (judge, human)]
        if ties and not any(ties[0] in side for side in sides):
            raise DataError(f"{file} has no label {tie} in {judge} or {human}; it has {_some(found[judge])}")
        done = calibrate_choices(*sides, tie=ties[0] if ties else None, seed=seed)
    what = "mean label" if scale else "people agree"
    by = {f"verdict {_name(verdict)}: {what}": estimate for verdict, estimate in done.by_verdict.items()}
    table = [{"verdict": v, "label": h, "n": n} for (v, h), n in done.table.items()]
    _print({**done.measures, **by}, as_json, file, table=table)


def order(
    file: File,
    *,
    forward: Annotated[str, typer.Option(help="Column: which place won with the answers in order.")],
    backward: Annotated[str, typer.Option(help="Column: which place won with the answers swapped.")],
    first: Annotated[str, typer.Option(help="The label of the place shown first.")] = "A",
    second: Annotated[str, typer.Option(help="The label of the place shown second.")] = "B",
    tie: Annotated[str, typer.Option(help="The label of a tie.")] = "tie",
    missing: Missing = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """What the order of the answers does to a judge: consistency, ties, position bias."""
    from burnish.errors import DataError
    from burnish.judge.measure import order_rates

    found = _labels(file, [forward, backward], "", missing)
    codes = {first: 0, second: 1, tie: -1}
    for column in (forward, backward):
        for label in found[column]:
            if label is not None and label not in codes:
                raise DataError(
                    f"{file}: {label!r} in column {column} is none of {first}, {second}, {tie}; name the labels with "
                    "--first, --second and --tie, and those that are no verdict with --missing"
                )
    sides = ([None if x is None else codes[x] for x in found[column]] for column in (forward, backward))
    _print(order_rates(*sides, seed=seed), as_json, file)


def win_rate(
    file: File,
    *,
    win: Annotated[str, typer.Option(help="Column: how much the model won, 0 to 1, or on --scale.")] = "win",
    item: Annotated[str, typer.Option(help="Column of the instruction; rows of one are drawn together.")] = "",
    model: Annotated[str, typer.Option(help="Column of the model; without it all rows are of one.")] = "",
    answer: Annotated[str, typer.Option(help="Column of the model's answer, for --control.")] = "answer",
    baseline: Annotated[str, typer.Option(help="Column of the baseline's answer, for --control.")] = "baseline",
    control: Annotated[
        str, typer.Option(help="length (AlpacaEval 2) or style (Arena-Hard), beside the plain rate.")
    ] = "",
    scale: Annotated[str, typer.Option(help="Numbers of a loss and of a win; AlpacaEval's are 1,2.")] = "0,1",
    missing: Missing = "",
    seed: Seed = 0,
    as_json: Json = False,
) -> None:
    """Win rate of each model against a baseline, plain or with length or style held."""
    from burnish.errors import SettingsError
    from burnish.judge.measure import Duel, length_controlled, style_controlled
    from burnish.judge.measure import win_rate as plain_rate

    if control not in ("", "length", "style"):
        raise SettingsError(f"--control {control}: choose length or style")
    lost, won = _scale(scale)
    texts = [answer, baseline] if control else []
    rows = _rows(file, [name for name in (win, item, model, *texts) if name])
    wins = _numbers(file, win, [_cell(row[win], _words(missing)) for row in rows], (lost, won))
    duels = [
        Duel(
            item=str(row[item]) if item else place,
            model=str(row[model]) if model else "model",
            win=None if value is None else (value - lost) / (won - lost),
            answer=str(row[answer] or "") if control else "",
            baseline=str(row[baseline] or "") if control else "",
        )
        for place, (row, value) in enumerate(zip(rows, wins, strict=True))
    ]
    names = list(dict.fromkeys(duel.model for duel in duels))
    told = {name: plain_rate([d for d in duels if d.model == name], seed=seed) for name in names}
    if control == "length":
        held = length_controlled(duels, seed=seed)
        told |= {f"{name}, length-controlled": held[name].rate for name in names}
    elif control == "style":
        rates = style_controlled(duels, seed=seed).rates
        told |= {f"{name}, style-controlled": rates[name] for name in names}
    _print(told, as_json, file)


def pairs(
    file: Annotated[Path, typer.Argument(help="Pairs: chosen, rejected, prompt, and RewardBench's subset if any.")],
    *,
    reward: Annotated[str, typer.Option(help="A reward model: a folder in Hugging Face layout.")] = "",
    judge: Annotated[
        list[str], typer.Option(help="In its place http://host:8000/v1#model; repeated, an odd panel votes.")
    ] = [],  # noqa: B006 (typer reads the default)
    both: Annotated[
        bool, typer.Option("--both/--one-order", help="Ask judges in both orders, or in one drawn.")
    ] = False,
    ties: Annotated[
        bool, typer.Option("--ties/--no-ties", help="Whether judges may say tie, which counts 0.5.")
    ] = False,
    requests: Annotated[str, typer.Option(help="Folder where replies are kept. Default: FILE.requests.")] = "",
    budget_tokens: Annotated[int, typer.Option(help="Stop judges after so many tokens; 0 is no limit.")] = 0,
    budget_money: Annotated[float, typer.Option(help="The same in US dollars.")] = 0.0,
    mix: Annotated[str, typer.Option(help="Weights of the heads of an attribute model, comma-separated.")] = "",
    chat: Annotated[str, typer.Option(help="Chat format of a model without a template: llama3, chatml, ...")] = "",
    limit: Annotated[int, typer.Option(help="Only the first rows; 0 takes all.")] = 0,
    seed: Seed = 0,
    as_json: Json = False,
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Score a pair file by RewardBench's rules: strict ties, subsets, sections, overall. By a reward model or judge."""
    from burnish.errors import DataError, SettingsError
    from burnish.records import read_preferences

    if bool(reward) == bool(judge):
        raise SettingsError("name who scores the pairs: --reward FOLDER, or --judge http://host:8000/v1#model")
    read = read_preferences(file)
    if not read.rows:
        raise DataError(f"{file} holds no pair")
    rows = read.rows[: limit or None]
    if reward:
        done = _by_reward(rows, reward, mix, chat, seed, (device, dtype))
    else:
        kept = Path(requests or f"{file}.requests") / "pairs.sqlite"
        done = _by_judges(rows, judge, {"both": both, "ties": ties, "seed": seed}, (budget_tokens, budget_money), kept)
    _print_pairs(done, file, len(read.dropped), as_json, by_rule=bool(judge))


def _by_reward(rows: Any, reward: str, mix: str, chat: str, seed: int, where: tuple[str, str]) -> PairScores:
    from burnish.cli.verbs import _working
    from burnish.cli.workers import policy_weights, with_compute
    from burnish.errors import SettingsError
    from burnish.judge import RewardModel
    from burnish.judge.measure import score_pairs

    try:
        weights = tuple(float(part) for part in _words(mix)) or None
    except ValueError:
        raise SettingsError(f"--mix {mix}: write numbers separated by commas, such as 0.7,0.3") from None
    with_compute(*where)
    judge = RewardModel(policy_weights(reward), format=chat or None, mix=weights)
    with _working() as work:
        return score_pairs(rows, lambda texts: judge.score(texts, work=work), seed=seed)


def _by_judges(rows: Any, specs: list[str], how: dict[str, Any], limits: tuple[int, float], kept: Path) -> PairScores:
    from burnish.cli.verbs import _check_place, _working
    from burnish.cli.workers import Asked, server_of
    from burnish.errors import SettingsError
    from burnish.judge import Pairwise, judge_preferences

    askers = [server_of(spec, Asked(limits=limits)) for spec in specs]
    if None in askers:
        raise SettingsError(f"--judge {specs[askers.index(None)]} is no server; write it as http://host:8000/v1#model")
    if len(askers) % 2 == 0:
        raise SettingsError(f"{len(askers)} judges can be split; name an odd number with --judge")
    _check_place(kept.parent)
    with _working() as work:
        work.requests = kept
        return judge_preferences(rows, [Pairwise(asker=a, **how) for a in askers], seed=how["seed"], work=work)


def _print_pairs(done: PairScores, file: Path, dropped: int, as_json: bool, *, by_rule: bool) -> None:
    names = {f"subset {name}": estimate for name, estimate in done.subsets.items()}
    sections = {f"section {name}": estimate for name, estimate in done.sections.items()}
    told = {"overall": done.overall, **sections, **names, "of pairs with a verdict": done.of_scored, **done.by_length}
    counts = {"ties": done.ties, "reasons": done.reasons, "missing": list(done.missing), "dropped": dropped}
    _print(told, as_json, file, **counts)
    if not as_json:
        print(f"{done.ties} ties (counted as lost); {dropped} rows of the file left out")
        without = "without a verdict, counted 0.5 by the rule" if by_rule else "without a score"
        print("".join(f"{number} {without}: {reason}\n" for reason, number in done.reasons.items()), end="")
        if done.missing:
            print(f"the file has no pair of {', '.join(done.missing)}; the overall value is that of the other sections")


def _print(told: dict[str, Estimate], as_json: bool, file: Path, **more: Any) -> None:
    from burnish.records import plain

    if as_json:
        rows = [{"name": name, **plain(estimate)} for name, estimate in told.items()]
        print(json.dumps({"file": str(file), "rows": rows, **more}, ensure_ascii=False))
        return
    width = max(map(len, told))
    for name, estimate in told.items():
        print(f"{name:<{width}}  {_line(estimate)}")


def _line(estimate: Estimate) -> str:
    value = "-" if estimate.value is None else f"{estimate.value:.4f}"
    interval = "" if estimate.low is None else f" [{estimate.low:.4f}, {estimate.high:.4f}]"
    unscored = f", {estimate.unscored} unscored" if estimate.unscored else ""
    why = f"  ({estimate.why})" if estimate.why else ""
    return f"{value:>8}{interval:<20} n = {estimate.n}{unscored}{why}"


def _rows(file: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    """Rows that all have the columns.

    Raises:
        DataError: a column that no row has, or not every row (an absent cell of a row is an empty one: None).
    """
    from burnish.errors import DataError
    from burnish.records import read_rows

    rows = read_rows(file)
    have = list(dict.fromkeys(name for row in rows for name in row))
    for name in columns:
        if name not in have:
            raise DataError(f"{file} has no column {name!r}; it has {', '.join(map(str, have))}")
    return [{name: row.get(name) for name in have} for row in rows]


def _labels(file: Path, columns: Sequence[str], scale: str, missing: str) -> dict[str, list[Any]]:
    """Column -> labels: numbers on the scale, else words; None where there is none."""
    rows, out = _rows(file, columns), _words(missing)
    cells = {name: [_cell(row[name], out) for row in rows] for name in columns}
    if scale:
        return {name: _numbers(file, name, values, _scale(scale)) for name, values in cells.items()}
    return {name: [None if value is None else _name(value) for value in values] for name, values in cells.items()}


def _numbers(file: Path, column: str, cells: Sequence[Any], scale: tuple[float, float]) -> list[float | None]:
    from burnish.errors import DataError

    low, high = min(scale), max(scale)
    found: list[float | None] = []
    for place, cell in enumerate(cells, 1):
        try:
            value = None if cell is None else float(cell)
        except (TypeError, ValueError):
            raise DataError(
                f"{file}: row {place} has {cell!r} in column {column}, which is no number; name such labels with "
                "--missing"
            ) from None
        if value is not None and not low <= value <= high + 1e-9 * (1 + abs(high)):
            raise DataError(
                f"{file}: row {place} has {value:g} in column {column}, outside the scale {low:g} to {high:g}"
            )
        found.append(value if value is None else min(value, high))
    return found


def _cell(value: Any, missing: Sequence[str]) -> Any:
    return None if value is None or value == "" or _name(value) in missing else value


def _some(labels: Sequence[Any]) -> str:
    return ", ".join(sorted({_name(label) for label in labels if label is not None})[:8]) or "none"


def _name(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _scale(text: str) -> tuple[float, float]:
    from burnish.errors import SettingsError

    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--scale {text}: write the lowest and the highest number, such as 1,5") from None
    if low == high:
        raise SettingsError(f"--scale {text}: the two numbers are equal")
    return low, high


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
