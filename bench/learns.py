"""Does each method learn? Every method of `burnish train` must move its own metric on the microworld.

    python bench/learns.py [--seeds 3] [--rows 384] [--heldout 200] [--only dpo,kto] [--json]

Rows are tasks of the microworld with a careful author's answer (chosen, label 1) and a careless one's (rejected, 0);
scores, strengths and attributes come from the oracle without error. The start is the shipped base with the ChatML
format; methods that need a policy or a teacher start from, or learn from, the same base after SFT. Metrics are read on
held-out tasks, before and after:

    sft                 loss of the answer's tokens; the share of them that are the likeliest is told beside it
    reward*             share of pairs in which the careful answer scores higher; attributes: mean Pearson
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
from random import Random
from statistics import mean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scoring
from burnish.microworld import Oracle, base_weights
from burnish.microworld.prompting import as_prompt, tasks
from burnish.models import load_causal, prepare
from burnish.records import Attribute, Candidate, Demonstration, Message, Preference, Response, Sampling, Weights
from burnish.runs import Run
from burnish.train import METHODS, give_chat, train_rows

FAMILIES = ("arithmetic", "ordering", "records")
NAMES = ("correctness", "length")
WRITTEN = Sampling(temperature=0.0, max_new_tokens=256)  # what a response row must tell; nothing is sampled
# Peak learning rates at which a model of 2 million parameters moves within a dozen steps. ASSUMED, like the bars.
RATES = {"sft": 2e-3, "distill": 2e-3, "rpo": 5e-4, "dpo": 5e-4, "ipo": 5e-4, "critique-dpo": 5e-4, "kto": 5e-4}
REWARD_RATE = 1e-3
SETTINGS: dict[str, dict[str, Any]] = {
    "reward-anchored": {"low": 0.0, "high": 6.0},
    "reward-attributes": {"names": NAMES},
}
SECONDS = 120.0  # a training with its evaluation
BARS = {"token loss": -0.2, "pair accuracy": 0.1, "margin accuracy": 0.1, "Pearson": 0.2, "KL": -0.2}


def material(split: str, count: int, seed: int) -> tuple[list[Demonstration], list[Demonstration], list[Preference]]:
    """Careful answers; careful and careless ones with labels and attributes; and pairs of the two."""
    rng, oracle = Random(f"burnish/learns/{split}/{seed}"), Oracle(seed=seed)
    careful, rated, pairs = [], [], []
    streams = [tasks(split, family, seed=seed) for family in FAMILIES]
    while len(pairs) < count:
        task = next(streams[len(pairs) % len(streams)])
        bad = rng.choice((task.hasty, task.sloppy))
        prompt = as_prompt(task, "bench")
        said = [(Message(role="assistant", content=text),) for text in (task.answer, bad)]
        answers = [
            Response(prompt=prompt.id, messages=m, model="author", sampling=WRITTEN, index=i)
            for i, m in enumerate(said)
        ]
        worth = [oracle.utility(prompt, answer) for answer in answers]
        verdict = oracle.rank(prompt, answers)
        if worth[0] <= worth[1] or verdict.winner != 0:
            continue
        for label, (messages, value) in enumerate(reversed(list(zip(said, worth, strict=True)))):
            graded = (float(value >= 4.0), float(min(len(messages[0].content), 120)) / 120)
            attributes = tuple(Attribute(name=n, value=v) for n, v in zip(NAMES, graded, strict=True))
            how = {"prompt": prompt.id, "context": task.messages, "attributes": attributes}
            rated.append(Demonstration(**how, response=messages, score=float(label)))
        careful.append(rated[-1])
        both = zip(("chosen", "rejected"), said, worth, strict=True)
        candidates = tuple(Candidate(role=role, messages=m, score=value) for role, m, value in both)
        how = {"prompt": prompt.id, "context": task.messages, "strength": verdict.strength}
        pairs.append(Preference(**how, candidates=candidates))
    return careful, rated, pairs


def kind_of(method: str) -> str:
    """Which metric is a method's own."""
    if METHODS[method].teacher:
        return "KL"
    if method.startswith("reward"):
        return "Pearson" if method == "reward-attributes" else "pair accuracy"
    return "margin accuracy" if METHODS[method].noun is Preference or method == "kto" else "token loss"


class Metric:
    """A method's metric on held-out rows; made before the first step, so that it knows the start."""

    def __init__(
        self, method: str, session: Any, base: Weights, teacher: Weights, held: tuple[list, list, list]
    ) -> None:
        careful, rated, pairs = held
        self.kind, self.model = kind_of(method), session.model
        rows: Sequence[Any] = {"Pearson": rated, "pair accuracy": pairs, "margin accuracy": pairs}.get(
            self.kind, careful
        )
        self.examples = scoring.encoded(base, rows)
        self.rows = {row.id: row for row in rows}
        self.teacher = load_causal(teacher) if self.kind == "KL" else None
        if self.teacher is not None:
            prepare(self.teacher)
        self.start = scoring.answer_sums(self.model, self.examples) if self.kind == "margin accuracy" else {}

    def read(self) -> tuple[float, str]:
        """The metric now, and what is told beside it."""
        if self.kind == "token loss":
            loss, right = scoring.token_figures(self.model, self.examples)
            return loss, f"token accuracy {right:.3f}"
        if self.kind == "KL":
            return scoring.divergence(self.model, self.teacher, self.examples), ""
        if self.kind == "Pearson":
            scores = scoring.reward_scores(self.model, self.examples)
            return self._pearson([scores[e.id][0].tolist() for e in self.examples])
        if self.kind == "margin accuracy":
            now = scoring.answer_sums(self.model, self.examples)
            gained = [(now[e.id] - self.start[e.id]).tolist() for e in self.examples]
        else:
            scores = scoring.reward_scores(self.model, self.examples)
            gained = [scores[e.id][:, 0].tolist() for e in self.examples]
        return mean(0.5 if a == b else float(a > b) for a, b in gained), ""

    def _pearson(self, scores: list[list[float]]) -> tuple[float, str]:
        found = []
        for place, name in enumerate(NAMES):
            labels = [next(a.value for a in self.rows[e.id].attributes if a.name == name) for e in self.examples]
            found.append(scoring.pearson([s[place] for s in scores], labels))
        return mean(found), ", ".join(f"{n} {value:.2f}" for n, value in zip(NAMES, found, strict=True))


def learn(
    method: str, seed: int, weights: dict[str, Weights], rows: int, held: tuple[list, list, list]
) -> dict[str, Any]:
    """Train one method with one seed; the metric before and after."""
    careful, rated, pairs = material("train", rows, seed)
    kind = kind_of(method)
    given: Sequence[Any] = pairs if METHODS[method].noun is Preference else rated
    if kind in ("token loss", "KL"):
        given = careful
    base = weights["policy" if kind == "margin accuracy" else "chat"]
    teacher = weights["policy"] if METHODS[method].teacher else None
    rate = RATES.get(method, REWARD_RATE)
    how = {"lr": rate, "epochs": 1, "batch_rows": 32, "seed": seed, "pack_tokens": scoring.PACK}
    session = scoring.start(base, given, method, teacher=teacher, **how | SETTINGS.get(method, {}))
    metric = Metric(method, session, base, weights["policy"], held)
    before, _ = metric.read()
    scoring.finish(session)
    after, beside = metric.read()
    return {"before": before, "after": after, "beside": beside}


def starts(run: Run, rows: int, seed: int) -> dict[str, Weights]:
    """The base with a chat format, and the policy that SFT makes of it on other rows than are trained on later."""
    chat = run.step(f"chat-{seed}", give_chat, base_weights(), format="chatml")
    careful, _, _ = material("train", rows, seed + 1000)
    how = {"method": "sft", "lr": RATES["sft"], "epochs": 2, "batch_rows": 32, "seed": seed}
    return {"chat": chat, "policy": run.step(f"policy-{seed}", train_rows, chat, careful, **how)}


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
