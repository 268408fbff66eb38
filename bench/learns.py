"""Does each method learn? Every method of `burnish train` must move its own metric on the microworld.

    python bench/learns.py [--seeds 3] [--rows 384] [--heldout 200] [--only dpo,kto] [--json]

Rows are tasks of the microworld with a careful author's answer (chosen, label 1) and a careless one's (rejected, 0);
scores, strengths, grades and attributes come from the oracle without error. The start is the shipped base with the
ChatML format (`pretrain`: without one); methods that need a policy or a teacher start from, or learn from, the same
base after SFT. `rpo` runs its three iterations. Metrics are read on held-out tasks, before and after:

    pretrain            loss of all tokens of documents of code by the careful author, as for a code expert
    sft                 loss of the answer's tokens; the share of them that are the likeliest is told beside it
    reward*             share of pairs in which the careful answer scores higher; attributes: mean Pearson
    reward-steps        share of pairs of a right and a wrong step, after the same steps, in which it scores higher;
                        in the wrong one a carry is forgotten or, half and half, invented
    dpo, ipo, ..., kto  share of pairs in which the careful answer gained more log-probability than the other
    distill             KL(teacher || student) of the answer's tokens

A row is the mean over seeds with its lowest and highest; it holds when every seed moved by the bar. Each training is
under two minutes on two cores. Scores of the oracle are simulated.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scoring
from bench.lessons import NAMES, Lessons, material
from burnish.microworld import base_weights
from burnish.models import load_causal, prepare
from burnish.records import Preference, Weights
from burnish.runs import Run
from burnish.train import METHODS, give_chat, train_iterations, train_rows

# Peak learning rates at which a model of 2 million parameters moves within a dozen steps. ASSUMED, like the bars.
RATES = {"sft": 2e-3, "distill": 2e-3} | dict.fromkeys(("dpo", "ipo", "critique-dpo", "rpo", "kto"), 5e-4)
RATES["pretrain"] = 5e-4  # below the peak that the base was made with, 6e-4
REWARD_RATE = 1e-3
SETTINGS: dict[str, dict[str, Any]] = {
    "reward-anchored": {"low": 0.0, "high": 6.0},
    "reward-attributes": {"names": NAMES},
}
SECONDS = 120.0  # a training with its evaluation
BARS = {
    "token loss": -0.2, "document loss": -0.05, "pair accuracy": 0.1, "step accuracy": 0.1, "margin accuracy": 0.1,
    "Pearson": 0.2, "KL": -0.2,
}  # fmt: skip


def kind_of(method: str) -> str:
    """Which metric is a method's own."""
    own = {"pretrain": "document loss", "reward-steps": "step accuracy", "reward-attributes": "Pearson"}
    if method in own:
        return own[method]
    if METHODS[method].teacher:
        return "KL"
    if method.startswith("reward"):
        return "pair accuracy"
    return "margin accuracy" if METHODS[method].noun is Preference or method == "kto" else "token loss"


def heldout_rows(method: str, lessons: Lessons) -> Sequence[Any]:
    """The rows that a method's metric is read on."""
    kind = kind_of(method)
    if kind in ("pair accuracy", "margin accuracy"):
        return lessons.pairs
    own = {"document loss": lessons.documents, "step accuracy": lessons.steps, "Pearson": lessons.rated}
    return own.get(kind, lessons.careful)


def training_rows(method: str, lessons: Lessons) -> Sequence[Any]:
    """The rows that a method is trained on: those of its metric, unless it reads answers one by one."""
    rows = heldout_rows(method, lessons)
    return rows if isinstance(rows[0], METHODS[method].noun) else lessons.rated


class Metric:
    """A method's metric on held-out rows; made before the first step, so that it knows the start."""

    def __init__(self, method: str, model: Any, base: Weights, teacher: Weights, held: Lessons) -> None:
        self.method, self.kind = method, kind_of(method)
        rows = heldout_rows(method, held)
        self.examples = scoring.encoded(base, rows)
        self.rows = {row.id: row for row in rows}
        self.teacher = load_causal(teacher) if self.kind == "KL" else None
        if self.teacher is not None:
            prepare(self.teacher)
        self.start = scoring.answer_sums(model, self.examples) if self.kind == "margin accuracy" else {}

    def read(self, model: Any) -> tuple[float, str]:
        """The metric now, and what is told beside it."""
        if self.kind in ("token loss", "document loss"):
            loss, right = scoring.token_figures(model, self.examples)
            return loss, f"token accuracy {right:.3f}"
        if self.kind == "KL":
            return scoring.divergence(model, self.teacher, self.examples), ""
        if self.kind == "Pearson":
            scores = scoring.reward_scores(model, self.examples)
            return self._pearson([scores[e.id][0].tolist() for e in self.examples])
        if self.kind == "step accuracy":
            found = scoring.step_scores(model, self.examples)
            # (right answer, the same with one wrong step) in turn: the two steps at that place, after equal ones
            pairs = zip(self.examples[::2], self.examples[1::2], strict=True)
            places = [(one.id, other.id, other.values.index(0.0)) for one, other in pairs]
            return _ordered([(found[one][at].item(), found[other][at].item()) for one, other, at in places]), ""
        if self.kind == "margin accuracy":
            now = scoring.answer_sums(model, self.examples)
            gained = [(now[e.id] - self.start[e.id]).tolist() for e in self.examples]
            return _ordered(gained), self._gaps(gained)
        scores = scoring.reward_scores(model, self.examples)
        return _ordered([scores[e.id][:, 0].tolist() for e in self.examples]), self._grades(model)

    def _pearson(self, scores: list[list[float]]) -> tuple[float, str]:
        found = []
        for place, name in enumerate(NAMES):
            labels = [next(a.value for a in self.rows[e.id].attributes if a.name == name) for e in self.examples]
            found.append(scoring.pearson([s[place] for s in scores], labels))
        return mean(found), ", ".join(f"{n} {value:.2f}" for n, value in zip(NAMES, found, strict=True))

    def _gaps(self, gained: list[list[float]]) -> str:
        """What RPO aims at beside the order: gaps of what was gained that follow the gaps of the given scores."""
        if self.method != "rpo":
            return ""
        both = [self.rows[e.id].candidates for e in self.examples]
        found = scoring.pearson([a - b for a, b in gained], [best.score - worst.score for best, worst in both])
        return f"Pearson of its gaps and the scores' {found:.2f}"

    def _grades(self, model: Any) -> str:
        """Of the graded heads, the share of grades that is hit and what the commonest class would hit."""
        if getattr(model, "grades", None) is None:
            return ""
        given = {
            e.id: [{g.name: int(g.value) for g in c.grades} for c in self.rows[e.id].candidates] for e in self.examples
        }
        told = scoring.grade_figures(model, self.examples, given)
        return ", ".join(f"{name} {hit:.2f} (commonest class {most:.2f})" for name, (hit, most) in told.items())


def _ordered(pairs: Sequence[Sequence[float]]) -> float:
    """Share of pairs of which the first is greater; a tie is a half."""
    return mean(0.5 if a == b else float(a > b) for a, b in pairs)


def learn(method: str, seed: int, weights: dict[str, Weights], rows: int, held: Lessons) -> dict[str, Any]:
    """Train one method with one seed, as often as `burnish train` does; the metric before and after."""
    known, given = METHODS[method], training_rows(method, material("train", rows, seed))
    starts_from = {"margin accuracy": "policy", "document loss": "base"}
    base = weights[starts_from.get(kind_of(method), "chat")]
    teacher = weights["policy"] if known.teacher else None
    rate = RATES.get(method, REWARD_RATE)
    how = {"lr": rate, "epochs": 1, "batch_rows": 32, "seed": seed, "pack_tokens": scoring.PACK}
    how |= SETTINGS.get(method, {})
    session = scoring.start(base, given, method, teacher=teacher, **how)
    metric = Metric(method, session.model, base, weights["policy"], held)
    before, _ = metric.read(session.model)
    if known.iterations == 1:
        scoring.finish(session)
        after, beside = metric.read(session.model)
        return {"before": before, "after": after, "beside": beside}
    with tempfile.TemporaryDirectory(prefix="burnish-learns-") as place, Run(Path(place) / "run") as run:
        model = load_causal(train_iterations(run, base, given, method=method, **how))
        prepare(model)
    after, beside = metric.read(model)
    return {"before": before, "after": after, "beside": f"{known.iterations} iterations; {beside}"}


def starts(run: Run, rows: int, seed: int) -> dict[str, Weights]:
    """The base, the same with a chat format, and the policy that SFT makes of it on rows that are not used later."""
    base = base_weights()
    chat = run.step(f"chat-{seed}", give_chat, base, format="chatml")
    careful = material("train", rows, seed + 1000).careful
    how = {"method": "sft", "lr": RATES["sft"], "epochs": 2, "batch_rows": 32, "seed": seed}
    return {"base": base, "chat": chat, "policy": run.step(f"policy-{seed}", train_rows, chat, careful, **how)}


def row_of(method: str, found: list[dict[str, Any]], seconds: float) -> dict[str, Any]:
    """One row of the table: the mean movement, its band, and whether every seed moved by the bar."""
    kind = kind_of(method)
    moved = [one["after"] - one["before"] for one in found]
    bar = BARS[kind]
    holds = all(m <= bar for m in moved) if bar < 0 else all(m >= bar for m in moved)
    holds = holds and seconds <= SECONDS
    before, after = (mean(one[key] for one in found) for key in ("before", "after"))
    low, high = (edge(one["after"] for one in found) for edge in (min, max))
    detail = f"{kind} {before:.3f} to {after:.3f} ({low:.3f} to {high:.3f})"
    detail += f"; {found[0]['beside']}" if found[0]["beside"] else ""
    value = {"name": method, "value": round(mean(moved), 4), "bar": bar, "holds": holds}
    return value | {"detail": f"{detail}; {seconds:.0f} s a seed"}


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--rows", type=int, default=384, help="rows (pairs) of a training; one epoch in batches of 32")
    parser.add_argument("--heldout", type=int, default=200, help="held-out tasks")
    parser.add_argument("--only", default="", help=f"with commas, of {', '.join(METHODS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    names = [name for name in asked.only.split(",") if name] or list(METHODS)
    if unknown := [name for name in names if name not in METHODS]:
        parser.error(f"there is no method {unknown[0]!r}; there are {', '.join(METHODS)}")
    held = material("heldout", asked.heldout, 0)
    rows = []
    with tempfile.TemporaryDirectory(prefix="burnish-learns-") as place, Run(Path(place) / "run") as run:
        weights = [starts(run, asked.rows, seed) for seed in range(asked.seeds)]
        for name in names:
            began = time.perf_counter()
            found = [learn(name, seed, weights[seed], asked.rows, held) for seed in range(asked.seeds)]
            rows.append(row_of(name, found, (time.perf_counter() - began) / asked.seeds))
            print(f"{name}: {rows[-1]['detail']}", file=sys.stderr)
    if asked.json:
        print(json.dumps({"bench": "learns", "rows": rows}))
        return
    for row in rows:
        verdict = "holds" if row["holds"] else "FAILS"
        print(f"{row['name']:<20}{row['value']:>+8.3f}  bar {row['bar']:>+5.2f}  {verdict}  {row['detail']}")


if __name__ == "__main__":
    main()
