"""A small run in the shape of the recipe's: real steps through `Run`, toy functions that make real rows."""

from __future__ import annotations

import contextlib
import json
import math
from pathlib import Path
from random import Random

from burnish.records import (
    Candidate,
    Demonstration,
    Judgement,
    Message,
    Preference,
    Prompt,
    Response,
    Score,
    Weights,
    dropped,
)
from burnish.runs import Compute, Outcome, Run

ABILITIES = ("arithmetic", "code", "constraints", "facts", "languages", "puzzles", "records", "safety", "tools")
HOSTILE = '</script><img src=x onerror="document.documentElement.dataset.hacked=1">&amp; <b>bold</b> \u2028 {{ 7*7 }}'

SETTINGS = {
    "rounds": {"value": 2, "paper": 6, "kind": "DEVIATION", "source": "DEVIATION: two rounds here; §3.1"},
    "k": {"value": 8, "paper": 10, "kind": "source", "source": "§3.8: K in 10 to 30"},
    "beta": {"value": 0.1, "paper": 0.1, "kind": "source", "source": "§3.5"},
    "dpo_lr": {"value": 1e-05, "paper": 1e-05, "kind": "source", "source": "§3.5"},
    "weight_decay": {"value": 0.1, "paper": None, "kind": "ASSUMED", "source": "ASSUMED: not published"},
    "strengths": {
        "value": [3, 4],
        "paper": [3, 4],
        "kind": "source",
        "source": "§3.3, better and significantly better",
    },
    "policy": {"value": "/home/someone/models/base", "paper": None, "kind": "plumbing", "source": ""},
}
ABOUT = {
    "recipe": "llama3",
    "scale": "laptop",
    "command": ["/usr/local/bin/burnish", "run", "llama3", "--out=/home/someone/runs/toy", "--policy", "/srv/m/base"],
    "settings": SETTINGS,
    "simulated": ["annotator", "judge"],
}


def interval(p: float, n: int) -> tuple[float, float]:
    half = 1.96 * math.sqrt(p * (1 - p) / n)
    return max(p - half, 0.0), min(p + half, 1.0)


def weights(*parents, label: str, kind: str = "causal", metrics: str = "", steps: int = 0, work=None) -> Outcome:
    """A folder that `weights_in` accepts: one tensor of eight bytes, a config, and perhaps a curve."""
    data = Random(label).randbytes(8)
    header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
    (work.folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    model = "LlamaForSequenceClassification" if kind == "reward" else "LlamaForCausalLM"
    (work.folder / "config.json").write_text(json.dumps({"architectures": [model]}))
    if metrics:
        (work.folder / "metrics.jsonl").write_text(
            "".join(json.dumps(line) + "\n" for line in curve(label, metrics, steps))
        )
    taken = sum(len(p) for p in parents if isinstance(p, list))
    lost = (
        [dropped(row, "longer than the context") for p in parents if isinstance(p, list) for row in p[:1]]
        if metrics
        else []
    )
    return Outcome(taken=taken, kept=taken - len(lost), dropped=lost, metrics={"steps": steps, "notices": []})


def curve(label: str, kind: str, steps: int) -> list[dict]:
    draw, lines = Random(label), []
    for step in range(1, steps + 1):
        t = step / steps
        line = {"step": step, "lr": 1e-3 * (1 - t), "grad_norm": 1 + draw.random(), "rows": 8, "tokens": 300}
        if kind == "sft":
            line["loss"] = 0.5 + 1.6 * math.exp(-4 * t) + draw.gauss(0, 0.06)
        elif kind == "reward":
            line |= {"loss": 0.7 - 0.4 * t + draw.gauss(0, 0.05), "accuracy": 0.5 + 0.35 * t, "margin": t}
        else:
            line |= {"chosen": -0.6 - 0.08 * t + draw.gauss(0, 0.01), "rejected": -0.8 - 0.5 * t + draw.gauss(0, 0.02)}
            line |= {
                "loss": 0.7 - 0.3 * t + draw.gauss(0, 0.02),
                "margin": t,
                "accuracy": 0.5 + 0.4 * t,
                "dpo": 0.5,
                "nll": 0.7,
            }
        lines.append(line)
    return lines


def prompts(count: int, *, salt: str) -> list[Prompt]:
    draw, rows = Random(salt), []
    for i in range(count):
        a, b = draw.randrange(10, 99), draw.randrange(10, 99)
        text = f"Tom has {a} pears and gets {b} more. How many now? ({salt} {i})"
        messages = (Message(role="user", content=HOSTILE if i == 0 else text),)
        if i % 4 == 1:
            messages = (Message(role="system", content="Answer in one line and show your steps."), *messages)
        ability = ABILITIES[i % len(ABILITIES)]
        difficulty, tags = round(draw.random(), 2), ("two digits",)
        rows.append(
            Prompt(
                messages=messages, ability=ability, difficulty=difficulty, tags=tags, reference=str(a + b), source="toy"
            )
        )
    return rows


def answers(rows: list[Prompt], policy: Weights, *, k: int, seed: int) -> list[Response]:
    found = []
    for row in rows:
        for index in range(k):
            draw = Random(f"{row.id} {index} {seed}")
            said = draw.choice(("3+5=8", "7+9+1=17", "4+2=6", "0+6=6"))
            words = "; ".join([said] * draw.randrange(1, 6)) + f". The answer is {draw.randrange(20, 190)}."
            text = HOSTILE if row.messages[0].content == HOSTILE and index == 1 else words
            ids = tuple(draw.randrange(512) for _ in range(max(3, len(text) // 3 + draw.randrange(8))))
            message = Message(role="assistant", content=text)
            sample = {
                "token_ids": ids,
                "model": policy.id,
                "index": index,
                "finish": "length" if index == 7 else "stop",
            }
            found.append(Response(prompt=row.id, messages=(message,), parents=(row.id,), **sample))
    return found


def preferences(rows: list[Prompt], a: list[Response], b: list[Response], *, number: int, annotator) -> Outcome:
    kept, lost = [], []
    for index, (row, one, two) in enumerate(zip(rows, a, b, strict=True)):
        if index % 11 == 5:
            lost.append(dropped(row, "tie"))
        elif index % 23 == 7:
            lost.append(dropped(row, "no checker", unscored=True))
        else:
            ranked = [("chosen", one), ("rejected", two)]
            pair = tuple(Candidate(role=r, messages=x.messages, response=x.id, model=x.model) for r, x in ranked)
            made = {
                "strength": index % 4 + 1,
                "annotator": "simulated",
                "round": number,
                "parents": (row.id, one.id, two.id),
            }
            kept.append(Preference(prompt=row.id, context=row.messages, candidates=pair, **made))
    return Outcome(rows=kept, dropped=lost, taken=len(rows))


def gate(rows: list[Preference]) -> Outcome:
    kept = [row for row in rows if row.strength and row.strength > 2]
    lost = [dropped(row, "strength below better") for row in rows if not row.strength or row.strength <= 2]
    return Outcome(rows=kept, dropped=lost, taken=len(rows))


def nothing(rows: list) -> Outcome:
    return Outcome(dropped=[dropped(row, "similar to one of this round") for row in rows], taken=len(rows))


def score_rows(model: Weights, *, level: float, metric: str = "accuracy", tasks=ABILITIES, n: int = 60) -> list[Score]:
    found = []
    for place, task in enumerate(("all", *tasks)):
        value = min(max(level + 0.04 * ((place * 5) % 7 - 3), 0.02), 0.98) if place else level
        count = n * len(tasks) if task == "all" else n
        low, high = interval(value, count)
        found.append(
            Score(
                model=model.id, task=task, metric=metric, value=value, low=low, high=high, n=count, unscored=place % 2
            )
        )
    return found


def by_task(model: Weights, *, levels: tuple[float, ...], tasks: tuple[str, ...], n: int = 60) -> list[Score]:
    """An accuracy for each task, and their mean for all."""
    values = {"all": sum(levels) / len(levels), **dict(zip(tasks, levels, strict=True))}
    return [
        Score(model=model.id, task=t, metric="accuracy", value=v, low=interval(v, n)[0], high=interval(v, n)[1], n=n)
        for t, v in values.items()
    ]


def promote(rows: list[Score], *, name: str) -> Outcome:
    return Outcome(rows=rows, taken=len(rows), metrics={"promoted": name})


def best_scores(*, mean: float, best: float) -> list[Score]:
    pairs = {"mean of K": mean, "best of K": best}
    return [
        Score(model="m", task=t, metric="accuracy", value=v, low=interval(v, 400)[0], high=interval(v, 400)[1], n=400)
        for t, v in pairs.items()
    ]


def reward(rows: list[Response], model: Weights) -> Outcome:
    found, lost = [], []
    for row in rows:
        draw = Random(row.id)
        judged = {"prompt": row.prompt, "responses": (row.id,), "judge": model.id, "parents": (row.id,)}
        if draw.random() < 0.01:
            lost.append(
                dropped(Judgement(**judged, unscored="too long"), "too long for the reward model", unscored=True)
            )
        else:
            found.append(Judgement(**judged, score=draw.gauss(0.2, 1.1)))
    return Outcome(rows=found, dropped=lost, taken=len(rows))


def best(asked: list[Prompt], rows: list[Response], judged: list[Judgement], *, number: int) -> Outcome:
    scores = {j.responses[0]: j for j in judged}
    kept, lost = [], []
    for prompt in asked:
        group = [row for row in rows if row.prompt == prompt.id and row.id in scores]
        top = max(group, key=lambda row: (scores[row.id].score, row.id))
        for row in group:
            if row is top:
                made = {"ability": prompt.ability, "model": row.model, "score": scores[row.id].score, "round": number}
                parents = (prompt.id, row.id, scores[row.id].id)
                kept.append(
                    Demonstration(
                        prompt=prompt.id, context=prompt.messages, response=row.messages, parents=parents, **made
                    )
                )
            else:
                lost.append(dropped(row, "not the best of K", f"reward {scores[row.id].score:.2f}"))
    return Outcome(rows=kept, dropped=lost, taken=len(kept) + len(lost))


def thin_out(rows: list[Demonstration], *, every: int, reason: str, judge: str = "") -> Outcome:
    """Drops every so many-th row; the others are made anew, as a rule that edits rows does."""
    kept, lost = [], []
    for index, row in enumerate(rows):
        if index % every == every - 1:
            lost.append(dropped(row, reason, f"row {index}"))
        else:
            kept.append(row)
    return Outcome(rows=kept, dropped=lost, taken=len(rows))


LEVELS = {1: (0.52, 0.55, 0.57), 2: (0.61, 0.65, 0.68), 3: (0.67, 0.69, 0.71)}


def toy_run(
    folder: Path, *, per_round: int = 22, k: int = 4, rounds: int = 2, steps: int = 30, stop: str = "", about=ABOUT
) -> Path:
    """Run the toy recipe; `stop` ends it before the step of that name (`r2/best`), as an interruption would."""
    with Run(folder, compute=Compute(threads=1), about=about) as run:
        with contextlib.suppress(InterruptedError):
            _recipe(run, per_round, k, rounds, steps, stop)
    return folder


def _recipe(run: Run, per_round: int, k: int, rounds: int, steps: int, stop: str) -> None:
    def step(name, function, /, *inputs, **settings):
        if run.prefix + name == stop:
            raise InterruptedError
        return run.step(name, function, *inputs, **settings)

    base = step("base", weights, label="base")
    for style, level in (("chat", 0.2), ("completion", 0.301), ("few-shot", 0.342)):
        step(f"start-{style}", score_rows, base, level=level)
    policy, so_far = base, []
    for number in range(1, rounds + 1):
        with run.round(number):
            policy = _round(step, base, policy, so_far, number=number, per_round=per_round, k=k, steps=steps)


def _round(step, base, policy, so_far, *, number: int, per_round: int, k: int, steps: int):
    sft_level, dpo_level, average_level = LEVELS[number]
    asked = step("annotate-prompts", prompts, per_round, salt=f"annotate {number}")
    a = step("answers-a", answers, asked, policy, k=1, seed=1)
    b = step("answers-b", answers, asked, policy, k=1, seed=2)
    pairs = step("preferences", preferences, asked, a, b, number=number, annotator="simulated")
    gated = step("gated", gate, pairs)
    so_far.append(gated)
    ha = step("heldout-answers-a", answers, asked, policy, k=1, seed=3)
    hb = step("heldout-answers-b", answers, asked, policy, k=1, seed=4)
    held = step("heldout-preferences", preferences, asked, ha, hb, number=number, annotator="simulated")
    rms = [
        step(
            f"rm-{v}",
            weights,
            base,
            list(so_far),
            label=f"rm {v} {number}",
            kind="reward",
            metrics="reward",
            steps=steps,
        )
        for v in "ab"
    ]
    rm = step("rm-average", weights, *rms, label=f"rm average {number}", kind="reward")
    kinds = ("strength 1", "strength 2", "strength 3", "strength 4", "edited over chosen")
    step("rm-accuracy", score_rows, rm, level=0.7 + 0.03 * number, metric="pair accuracy", tasks=kinds, n=held.count)
    wanted = step("sample-prompts", prompts, per_round, salt=f"sample {number}")
    drawn = step("samples", answers, wanted, policy, k=k, seed=5)
    judged = step("rewards", reward, drawn, rm)
    top = step("best", best, wanted, drawn, judged, number=number)
    step("best-accuracy", best_scores, mean=0.3 + 0.1 * number, best=0.5 + 0.1 * number)
    cleaned = step("cleaned", thin_out, top, every=9, reason="over-apologetic")
    pruned = step("pruned", thin_out, cleaned, every=5, reason="similar to a better row", judge="simulated")
    mixed = step("mixed", thin_out, pruned, every=8, reason="over the family's share")
    return _train(step, base, mixed, gated, number=number, steps=steps, levels=(sft_level, dpo_level, average_level))


def _train(step, base, mixed, gated, *, number: int, steps: int, levels):
    sfts = [step(f"sft-{v}", weights, base, mixed, label=f"sft {v} {number}", metrics="sft", steps=steps) for v in "ab"]
    sft = step("sft-average", weights, *sfts, label=f"sft average {number}")
    latest = step("fresh", nothing, gated) if number == 2 else gated
    dpos = [
        step(f"dpo-{v}", weights, sft, latest, otherwise=sft, label=f"dpo {v} {number}", metrics="dpo", steps=steps)
        for v in "ab"
    ]
    dpo = step("dpo-average", weights, *dpos, label=f"dpo average {number}")
    for name, model, level in zip(("sft", "dpo", "average"), (sft, dpos[0], dpo), levels, strict=True):
        step(f"scores-{name}", score_rows, model, level=level)
    # Another level than the held-out one, so that no number of the page can come from here by mistake.
    chosen_on = step("dev-average", score_rows, dpo, level=0.9)
    step("promoted", promote, chosen_on, name="average")
    return dpo
