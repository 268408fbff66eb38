"""Reward models on real rows that they were not trained on.

    python bench/real_rows.py [--model DIR] [--only pairs,attributes,calibration] [--folds 5] [--svg FILE] [--json]

    pairs        Bradley-Terry on hh-rlhf (harmless-base), the last question alone as prompt: pair accuracy on held-out
                 dialogues, with Wilson's interval and what preferring the shorter answer gives
    attributes   regression on UniEval's human grades of Topical-Chat answers and of SFRES and SFHOT utterances: Pearson
                 for each attribute, held-out sources
    calibration  soft labels on UniEval's pairs of one source, strength by the gap of their overall grades: predicted
                 probability against observed frequency, by bins of probability and by strength, and the expected
                 calibration error; `--svg` draws it

Rows are cut into five parts by a hash of their prompt; each part is scored by a model trained on the other four, so
that every row is held out once (the five models share training rows, which the interval leaves out of account).
Without `--model` a random Llama of 0.4 million parameters is trained, with a tokenizer of these rows: it has never read
anything else, so its figures say that the methods learn and not what a reward model can do. `--model shipped` is the
microworld's base, which knows no English prose. Nothing has a bar. Needs `$BURNISH_DATA` or ../shared/data.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import itertools
import json
import math
import os
import statistics
import sys
import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scoring
from bench.training.material import Shape, make_model, read_pairs
from burnish.chat import load_chat
from burnish.errors import BurnishError
from burnish.evaluate import wilson
from burnish.microworld import base_weights
from burnish.models import weights_of
from burnish.records import Attribute, Candidate, Demonstration, Message, Preference, Weights
from burnish.report.drawing import Scale, Svg
from burnish.runs import Run
from burnish.train import give_chat

FOLDS = 5
LONGEST = 2048  # tokens; the context of the shipped base
SMALL = Shape(width=64, layers=2, heads=4, inner=128, pieces=4096)
EPOCHS = {"pairs": 2, "attributes": 6, "calibration": 3}  # ASSUMED: sets of 170 to 1,162 rows
SETS = {
    "topical_chat": ("naturalness", "coherence", "engagingness", "groundedness", "understandability"),
    "sfres": ("informativeness", "naturalness"),
    "sfhot": ("informativeness", "naturalness"),
}
GAPS = (0.25, 0.75, 1.5, 2.5)  # ASSUMED: gaps of the overall grade from which a preference has strength 1 to 4
BINS = 10
PARTS = ("pairs", "attributes", "calibration")


def fold_of(row: Any) -> int:
    """Decided by the prompt alone, so that no dialogue stands on both sides."""
    source = json.dumps([message.content for message in row.context])
    return hashlib.blake2b(source.encode(), digest_size=8).digest()[0] % FOLDS


def some(rows: Sequence[Any], most: int) -> list[Any]:
    """At most so many of the rows, evenly from the whole."""
    count = min(most, len(rows))
    return [rows[number * len(rows) // count] for number in range(count)]


def graded(name: str) -> list[dict[str, Any]]:
    """The rows of one of UniEval's sets."""
    root = Path(os.environ.get("BURNISH_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    path = root / "unieval" / f"{name}.jsonl.gz"
    if not path.exists():
        raise SystemExit(f"{path} is not there; set BURNISH_DATA to the folder that holds unieval/")
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _asked(row: dict[str, Any]) -> tuple[Message, ...]:
    return (Message(role="user", content=f"{row['source']}\n{row.get('context', '')}".strip()),)


def demonstrations(name: str) -> list[Demonstration]:
    """Answers with their human grades."""
    return [
        Demonstration(
            prompt=row["source"][:64],
            context=_asked(row),
            response=(Message(role="assistant", content=row["system_output"].strip() or "."),),
            attributes=tuple(Attribute(name=n, value=float(row["scores"][n])) for n in SETS[name]),
        )
        for row in graded(name)
    ]


def standard(rows: Sequence[Demonstration]) -> list[Demonstration]:
    """The grades with mean 0 and deviation 1, so that no step goes into the mean; a correlation does not see it."""
    table: dict[str, list[float]] = defaultdict(list)
    for one in rows:
        for grade in one.attributes:
            table[grade.name].append(grade.value)
    mean = {name: statistics.fmean(values) for name, values in table.items()}
    spread = {name: statistics.pstdev(values) or 1.0 for name, values in table.items()}
    return [
        replace(
            one,
            id="",
            attributes=tuple(replace(g, value=(g.value - mean[g.name]) / spread[g.name]) for g in one.attributes),
        )
        for one in rows
    ]


def preferences() -> list[Preference]:
    """All pairs of two answers to one source whose overall grades are apart, with a strength by how far."""
    out = []
    for name in SETS:
        by_source: dict[str, list[dict[str, Any]]] = defaultdict(list)
        for row in graded(name):
            by_source[row["source"]].append(row)
        for rows in by_source.values():
            for one, other in itertools.combinations(rows, 2):
                gap = one["scores"]["overall"] - other["scores"]["overall"]
                better, worse = (one, other) if gap > 0 else (other, one)
                strength = sum(abs(gap) >= least for least in GAPS)
                if not strength or better["system_output"] == worse["system_output"]:
                    continue
                candidates = tuple(
                    Candidate(
                        role=role, messages=(Message(role="assistant", content=r["system_output"].strip() or "."),)
                    )
                    for role, r in (("chosen", better), ("rejected", worse))
                )
                how = {"prompt": one["source"][:64], "context": _asked(one), "strength": strength}
                out.append(Preference(**how, candidates=candidates))
    return out


def crossed(
    base: Weights, rows: Sequence[Any], method: str, asked: argparse.Namespace, **how: Any
) -> dict[str, Tensor]:
    """Row id -> [answers, heads] scores, by a model that was trained on the folds without the row."""
    found: dict[str, Tensor] = {}
    for number in range(asked.folds):
        train, held = [[row for row in rows if (fold_of(row) == number) == out] for out in (False, True)]
        settings = {"lr": asked.lr, "batch_rows": 32, "seed": asked.seed, "max_length": LONGEST, **how}
        session = scoring.start(base, train, method, **settings)
        scoring.finish(session)
        found |= scoring.reward_scores(session.model, scoring.encoded(base, held, max_length=LONGEST))
    return found


def pairs(asked: argparse.Namespace, run: Run) -> list[dict[str, Any]]:
    """Held-out pair accuracy on hh-rlhf."""
    rows = [replace(one, id="", context=one.context[-1:]) for one in some(read_pairs(1 << 20), asked.rows)]
    base = ready(asked, run, "pairs", rows)
    scores = crossed(base, rows, "reward", asked, epochs=asked.epochs or EPOCHS["pairs"])
    right, count = sum(float(s[0, 0] > s[1, 0]) for s in scores.values()), len(scores)
    low, high = wilson(right, count)
    sizes = [[len(c.messages[0].content) for c in one.candidates] for one in rows if one.id in scores]
    shorter = sum(chosen < rejected for chosen, rejected in sizes) / len(sizes)
    detail = f"{right:.0f} of {count} held-out pairs, 95 % interval {low:.3f} to {high:.3f}; the shorter {shorter:.3f}"
    return [row("hh_rlhf_pair_accuracy", right / count, detail)]


def attributes(asked: argparse.Namespace, run: Run) -> list[dict[str, Any]]:
    """Held-out Pearson correlation with the human grade, attribute by attribute."""
    out, base = [], ready(asked, run, "attributes", preferences())
    for name, names in SETS.items():
        rows = standard(some(demonstrations(name), asked.rows))
        epochs = asked.epochs or EPOCHS["attributes"]
        scores = crossed(base, rows, "reward-attributes", asked, names=names, epochs=epochs)
        labels = {r.id: {a.name: a.value for a in r.attributes} for r in rows}
        folds = [[r.id for r in rows if fold_of(r) == number and r.id in scores] for number in range(asked.folds)]
        for place, attribute in enumerate(names):
            # fold by fold, for each has a model of its own, with an offset of its own
            found = [
                ([scores[key][0, place].item() for key in f], [labels[key][attribute] for key in f]) for f in folds
            ]
            each = [scoring.pearson(said, given) for said, given in found]
            told = f"mean of {len(each)} parts ({min(each):.3f} to {max(each):.3f}), {len(scores)} held-out answers"
            out.append(row(f"{name}_{attribute}", sum(each) / len(each), told))
    return out


def reliability(
    predicted: Sequence[float], happened: Sequence[bool], bins: int = BINS
) -> list[tuple[float, float, int]]:
    """(mean predicted probability, observed frequency, count) of each bin of equal width that is not empty."""
    inside: dict[int, list[tuple[float, bool]]] = defaultdict(list)
    for p, y in zip(predicted, happened, strict=True):
        inside[min(bins - 1, int(p * bins))].append((p, y))
    return [
        (sum(p for p, _ in found) / len(found), sum(y for _, y in found) / len(found), len(found))
        for _, found in sorted(inside.items())
    ]


def calibration_error(curve: Sequence[tuple[float, float, int]]) -> float:
    """Expected calibration error: mean distance of frequency and prediction, weighted by count (Naeini et al. 2015)."""
    return sum(n * abs(seen - said) for said, seen, n in curve) / sum(n for _, _, n in curve)


def calibration(asked: argparse.Namespace, run: Run) -> list[dict[str, Any]]:
    """Probabilities of a soft-label reward model against what people preferred, on held-out pairs."""
    rows = some(preferences(), asked.rows)
    base = ready(asked, run, "calibration", rows)
    scores = crossed(base, rows, "reward-soft", asked, epochs=asked.epochs or EPOCHS["calibration"])
    strength = {r.id: r.strength for r in rows}
    predicted, happened = [], []
    by_strength: dict[int, list[float]] = defaultdict(list)
    for key, score in scores.items():
        chosen = 1 / (1 + math.exp(-float(score[0, 0] - score[1, 0])))
        by_strength[strength[key]].append(chosen)
        # shown in an order that a hash draws, so that what happened is not always the first
        first = hashlib.blake2b(key.encode(), digest_size=1).digest()[0] % 2 == 0
        predicted.append(chosen if first else 1 - chosen)
        happened.append(first)
    curve = reliability(predicted, happened)
    error = calibration_error(curve)
    told = "; ".join(f"{said:.2f} said, {seen:.2f} seen ({n})" for said, seen, n in curve)
    out = [row("soft_label_calibration_error", error, told)]
    points = []
    for level, found in sorted(by_strength.items()):
        said, right = sum(found) / len(found), sum(p > 0.5 for p in found)
        sure = sum(max(p, 1 - p) for p in found) / len(found)
        low, high = wilson(right, len(found))
        points.append((level, sure, right / len(found)))
        detail = f"of the chosen answer; of the one it prefers {sure:.3f}, which is right in {right / len(found):.3f}"
        detail += f" ({low:.3f} to {high:.3f}) of {len(found)} pairs"
        out.append(row(f"soft_label_probability_strength_{level}", said, detail))
    if asked.svg:
        Path(asked.svg).write_text(draw(curve, points, error), encoding="utf-8")
    return out


STYLE = """text{font:11px sans-serif;fill:#333}.axis{stroke:#999;fill:none}.even{stroke:#bbb;stroke-dasharray:4 3}
.curve{stroke:#2a6f97;fill:none;stroke-width:2}.bin{fill:#2a6f97}.level{fill:#c1666b}"""


def draw(curve: Sequence[tuple[float, float, int]], points: Sequence[tuple[int, float, float]], error: float) -> str:
    """The reliability curve as one SVG document: bins as dots; strengths, of the answer it prefers, as squares."""
    svg = Svg(360, 340, f"Calibration of the soft-label reward model, error {error:.3f}")
    x, y = Scale(0, 1, 50, 330), Scale(0, 1, 290, 30)
    svg.path(f"M{x(0)} {y(1)}V{y(0)}H{x(1)}", "axis")
    svg.line(x(0), y(0), x(1), y(1), "even")
    for tick in (0, 0.25, 0.5, 0.75, 1):
        svg.text(x(tick), y(0) + 16, f"{tick:g}", anchor="middle")
        svg.text(x(0) - 6, y(tick) + 4, f"{tick:g}", anchor="end")
    svg.text(x(0.5), 326, "predicted probability", anchor="middle")
    svg.text(x(0), 20, f"observed frequency (expected calibration error {error:.3f})")
    svg.polyline([(x(said), y(seen)) for said, seen, _ in curve], "curve")
    for said, seen, count in curve:
        svg.dot(x(said), y(seen), "bin", size=2 + min(4.0, math.log10(count + 1) * 1.6))
    below = y(0) + 12.0
    for level, said, right in sorted(points, key=lambda point: point[2]):
        svg.dot(x(said), y(right), "level", shape="square")
        below = min(y(right) + 4, below - 12)  # labels never overlap
        svg.text(x(1) - 54, below, f"strength {level}")
        svg.line(x(said) + 5, y(right), x(1) - 57, below - 4, "even")
    body = str(svg.finish(natural=True)).replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
    head, rest = body.split(">", 1)
    return f"{head}><style>{STYLE}</style>{rest}\n"


def row(name: str, value: float, detail: str) -> dict[str, Any]:
    """A row without a bar."""
    return {"name": name, "value": round(value, 4), "bar": 0, "holds": True, "detail": detail}


def ready(asked: argparse.Namespace, run: Run, part: str, rows: Sequence[Preference]) -> Weights:
    """The model to start from: a random one made for the rows, the shipped base with a chat format, or a folder's."""
    if not asked.model:
        return make_model(Path(run.folder) / f"random-{part}", rows, vocabulary=SMALL.pieces, shape=SMALL)
    weights = base_weights() if asked.model == "shipped" else weights_of(asked.model)
    try:
        load_chat(Path(weights.path))
    except BurnishError:
        return run.step("chat", give_chat, weights, format="chatml")
    return weights


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="", help="folder of a causal model, or shipped; a random one unless given")
    parser.add_argument("--only", default="", help=f"with commas, of {', '.join(PARTS)}")
    parser.add_argument("--rows", type=int, default=1164, help="most rows of each set")
    parser.add_argument("--folds", type=int, default=FOLDS, choices=range(1, FOLDS + 1), help="parts to hold out")
    parser.add_argument("--epochs", type=int, default=0, help=f"of each part: {EPOCHS}")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--svg", default="", help="where to draw the calibration")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    names = [name for name in asked.only.split(",") if name] or list(PARTS)
    if unknown := [name for name in names if name not in PARTS]:
        parser.error(f"there is no part {unknown[0]!r}; there are {', '.join(PARTS)}")
    work = {"pairs": pairs, "attributes": attributes, "calibration": calibration}
    with tempfile.TemporaryDirectory(prefix="burnish-real-rows-") as place, Run(Path(place) / "run") as run:
        rows = [line for name in names for line in work[name](asked, run)]
    if asked.json:
        print(json.dumps({"bench": "real_rows", "rows": rows}))
        return
    for line in rows:
        print(f"{line['name']:<36}{line['value']:>8.3f}  {line['detail']}")


if __name__ == "__main__":
    main()
