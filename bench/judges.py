"""How judges are measured, on real data: replies read, kappas, win rates, length held, best-of-n picks.

Needs a folder of public judge data ($BURNISH_DATA, or ../shared/data beside the repository): Arena-Hard's first GPT-4
judgements, Prometheus' MT-Bench and Vicuna feedback, AutoIF's answers, the PandaLM and Auto-J labels, AlpacaEval's
annotations and leaderboard, RewardBench's best-of-n samples. Asks no model anything. About half a minute.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from burnish.judge.measure import (
    Duel,
    Estimate,
    best_of_n,
    calibrate_choices,
    cohen_kappa,
    krippendorff_alpha,
    length_controlled,
    style_controlled,
    win_rate,
)
from burnish.judge.replies import read_object, read_rating

DATA = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
READ_BAR, EXACT, ERRORS = 0.995, 1e-9, 3.0
# How many of the unread replies a person can read, looked at one by one: none. Seven of Arena-Hard's run in a loop or
# into code until they are cut off, before any rating (the file has a score for three of them that is not in the text).
BY_HAND = {"arena_bench_v1_judgments": 0}

Row = dict[str, Any]


def rows(name: str) -> list[Row]:
    """Rows of a data file."""
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def row(name: str, value: float | None, detail: str, *, bar: float | None = None, holds: bool | None = None) -> Row:
    """One row of the report; without a bar it only shows."""
    return {"name": name, "value": value, "bar": bar, "holds": holds, "detail": detail}


def told(estimate: Estimate, scale: float = 1.0) -> str:
    """`0.82 [0.78, 0.87]`, or why there is none."""
    if estimate.value is None:
        return estimate.why
    interval = "" if estimate.low is None else f" [{scale * estimate.low:.3f}, {scale * estimate.high:.3f}]"
    return f"{scale * estimate.value:.3f}{interval}"


def replies() -> Iterator[tuple[str, str, float | None, str]]:
    """(set, reply, what the file says it is, what the reader says: a number as text, or why none)."""
    name = "arena_bench_v1_judgments"
    for record in rows(f"arena_hard/{name}"):
        read = read_rating(record["judgment"])
        yield name, record["judgment"], record["score"], read.unscored or f"{read.value:g}"
    for name in ("prometheus_mt_bench_eval", "prometheus_vicuna_eval"):
        for record in rows(f"mt_bench/{name}"):
            for said, score in zip(record["gpt4_feedback"], record["gpt4_score"], strict=True):
                reply = f"Feedback: {said} [RESULT] {score}"  # the form its prompt asks for; the file holds it in two
                read = read_rating(reply, low=1, high=5)
                yield name, reply, score, read.unscored or f"{read.value:g}"
    for name in ("query_rft_score", "query_score_filter"):
        for record in rows(f"autoif_samples/{name}"):
            read = read_rating(record["gen"][0], low=0)
            yield name, record["gen"][0], None, read.unscored or f"{read.value:g}"
    for record in rows("autoif_samples/eval_func_rft"):
        for reply in record["gpt-answer"]:
            found = read_object(reply, ["func", "cases"])
            yield "eval_func_rft", reply, None, found if isinstance(found, str) else "object"


def reading() -> tuple[list[Row], list[str]]:
    """Parse rates, and the replies that stay unread or are read otherwise than the file says."""
    counts: dict[str, list[int]] = {}
    rest: list[str] = []
    for name, reply, score, read in replies():
        seen = counts.setdefault(name, [0, 0, 0])
        number = seen[0]
        seen[0] += 1
        unread = not (read == "object" or read.replace(".", "", 1).isdigit())
        wrong = not unread and score is not None and float(read) != score
        seen[1] += unread
        seen[2] += wrong
        if unread or wrong or (score is None and name.startswith("arena")):
            end = reply[-90:].replace("\n", " ")
            rest.append(f"{name} {number}: {read} (the file says {score}) ... {end!r}")
    made = []
    for name, (total, unread, wrong) in counts.items():
        readable = total - unread + BY_HAND.get(name, unread)  # not looked at: all count
        share = (total - unread) / readable
        detail = f"{total - unread} of {readable} that a person can read, of {total}; {wrong} unlike the file's score"
        made.append(row(f"read_{name}", share, detail, bar=READ_BAR, holds=share >= READ_BAR and wrong == 0))
    return made, rest


def labels() -> list[Row]:
    """PandaLM's annotators with each other and with two judges; Auto-J's labels against the longer answer."""
    found = rows("pandalm/testset")
    people = [[int(r[f"annotator{k}"]) for r in found] for k in (1, 2, 3)]
    read = {"Tie": 0, "0": 0, "1": 1, "2": 2}
    made = []
    for a, b in ((0, 1), (0, 2), (1, 2)):
        kappa = cohen_kappa(people[a], people[b])
        flat = flat_kappa(people[a], people[b])
        detail = f"{told(kappa)}; flat script {flat:.6f}"
        holds = abs(kappa.value - flat) < EXACT
        made.append(row(f"pandalm_annotators_{a + 1}_{b + 1}", kappa.value, detail, bar=EXACT, holds=holds))
    alpha = krippendorff_alpha(list(zip(*people, strict=True)))
    made.append(row("pandalm_annotators_alpha", alpha.value, f"{told(alpha)}, nominal, three annotators"))
    for judge in ("gpt_result", "pandalm_result"):
        verdicts = [read.get(str(r[judge])) for r in found]
        said = calibrate_choices(verdicts, people[0], tie=0).measures
        kept = [(v, h) for v, h in zip(verdicts, people[0], strict=True) if v is not None]
        flat = flat_kappa([v for v, _ in kept], [h for _, h in kept])
        equal = sum(v == h for v, h in kept) / len(kept)
        kappa = said["Cohen's kappa"]
        ties = [said[f"tie rate of {who}"].value for who in ("the judge", "people")]
        detail = (
            f"{told(kappa)}; agreement {told(said['accuracy'])}, {said['accuracy'].unscored} unscored; "
            f"ties {ties[0]:.3f} against {ties[1]:.3f}"
        )
        holds = abs(kappa.value - flat) < EXACT and abs(said["accuracy"].value - equal) < EXACT
        made.append(row(f"pandalm_{judge}", kappa.value, detail, bar=EXACT, holds=holds))
    pairs = rows("autoj/pairwise")
    humans = [int(r["label"]) for r in pairs]
    sizes = [(len(r["response 1"]), len(r["response 2"])) for r in pairs]
    longer = [2 if a == b else int(b > a) for a, b in sizes]
    said = calibrate_choices(longer, humans, tie=2).measures
    flat = flat_kappa(longer, humans)
    kappa, decided = said["Cohen's kappa"], said["accuracy without ties"]
    detail = f"{told(kappa)}; agreement {told(said['accuracy'])}, without ties {told(decided)}"
    made.append(row("autoj_longer_answer", kappa.value, detail, bar=EXACT, holds=abs(kappa.value - flat) < EXACT))
    return made


def flat_kappa(first: list, second: list) -> float:
    """Cohen's kappa written out, to compare with."""
    n = len(first)
    same = sum(1 for a, b in zip(first, second, strict=True) if a == b) / n
    chance = sum(first.count(x) * second.count(x) for x in set(first) | set(second)) / n**2
    return (same - chance) / (1 - chance)


def duels() -> list[Duel]:
    """AlpacaEval's annotations: preference 1 is the baseline, 2 the model."""
    return [
        Duel(item=i, model=m, win=o["preference"] - 1, answer=o["output"], baseline=r["baseline_output"])
        for i, r in enumerate(rows("alpaca_eval/annotations"))
        for m, o in r["outputs"].items()
        if o is not None
    ]


def win_rates() -> list[Row]:
    """Plain against a flat script and the leaderboard; with length and style held beside it (per cent)."""
    with (DATA / "alpaca_eval" / "weighted_alpaca_eval_gpt4_turbo_leaderboard.csv").open() as lines:
        board = {r[""]: r for r in csv.DictReader(lines)}
    everything = duels()
    held, style = length_controlled(everything), style_controlled(everything)
    made, rates = [], {}
    for name in dict.fromkeys(d.model for d in everything):
        wins = [d.win for d in everything if d.model == name]
        plain = win_rate([d for d in everything if d.model == name])
        gap = (100 * plain.value - float(board[name]["win_rate"])) / float(board[name]["standard_error"])
        exact = abs(plain.value - sum(wins) / len(wins)) < EXACT
        rates[name] = (plain.value, held[name].rate.value, style.rates[name].value)
        published = [float(board[name][key]) for key in ("win_rate", "length_controlled_winrate")]
        detail = (
            f"{told(plain, 100)}, leaderboard {published[0]:.2f} ({gap:+.2f} se); length held "
            f"{told(held[name].rate, 100)}, leaderboard {published[1]:.2f}; style held {told(style.rates[name], 100)}"
        )
        made.append(row(f"alpaca_{name}", 100 * plain.value, detail, bar=ERRORS, holds=exact and abs(gap) <= ERRORS))
    for name in ("alpaca-7b", "gpt-3.5-turbo-1106"):
        spread = [rates[f"{name}_verbose"][k] / rates[f"{name}_concise"][k] for k in range(3)]
        ratios = ", ".join(f"{k} {x:.2f}" for k, x in zip(("plain", "length held", "style held"), spread, strict=True))
        detail = f"win rate of the verbose twin over the concise one: {ratios}"
        made.append(row(f"twins_{name}", spread[1], detail))
    betas = ", ".join(f"{name} {value:+.2f}" for name, value in style.features.items())
    made.append(row("style_preferred", None, f"log odds a standard deviation: {betas}"))
    return made


def picks() -> list[Row]:
    """Mean preference (1 the baseline, 2 the model) that each reward model's pick of 16 reaches, samples 0 to 10."""
    found = rows("rewardbench_bon/tulu2_samples")
    preferences = [[s.get("preference") for s in r["samples"]] for r in found]
    made = []
    for name, reached in best_of_n(preferences, [r["best_of_16"] for r in found]).items():
        detail = (
            f"{told(reached.picked)}, n = {reached.picked.n} ({reached.picked.unscored} picks out of range); a random "
            f"pick {reached.chance.value:.3f}, gain {told(reached.gain)}, the best possible {reached.best.value:.3f}"
        )
        made.append(row(f"best_of_16_{name}", reached.picked.value, detail))
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if not DATA.is_dir():
        sys.exit(f"{DATA} is absent; point BURNISH_DATA at a folder that holds the judge data")
    made, rest = reading()
    made += [*labels(), *win_rates(), *picks()]
    if arguments.json:
        print(json.dumps({"bench": "judges", "rows": made, "rest": rest}, ensure_ascii=False))
        return
    for one in made:
        value = "" if one["value"] is None else f"{one['value']:.4f}"
        state = {None: "", True: "holds", False: "FAILS"}[one["holds"]]
        print(f"{one['name']:56} {value:>9} {state:6} {one['detail']}")
    print("\nReplies to look at by hand: unread, read otherwise than the file says, or without a score in the file")
    print("\n".join(rest))


if __name__ == "__main__":
    main()
