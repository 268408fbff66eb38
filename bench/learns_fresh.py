"""Does training on fresh answers learn? GRPO, RLOO, MDLOO, online DPO and distillation on the microworld.

    python bench/learns_fresh.py [--seeds 3] [--heldout 300] [--only grpo,shuffled] [--out FOLDER] [--json]

The start of a seed is the shipped base after SFT on demonstrations of three abilities with exact checkers, half of them
by the microworld's careless author, who forgets carries and takes the first name that is told: it can do better than it
does. The prompts of the rounds are other tasks, those of the metrics are held out. Metrics are read before and after:
greedy, which the bars are of, and `drawn` (two answers at temperature 1). KL is KL(policy || start) in nats a token,
over the whole vocabulary, on the policy's own drawn answers.

    grpo, rloo, mdloo, online-dpo  rewarded by the checkers: greedy accuracy rises by 5 points with every seed
    shuffled                       GRPO, the checkers' rewards dealt out anew among all answers of a round: no gain
    distill                        arithmetic; a student learns from a teacher of twice its layers on its own answers,
                                   and in as many steps on given ones: own answers teach more with every seed
    flawed                         GRPO, longer answers are worth more and the checker weighs 0: the reward rises, and
                                   the share of right answers does not

A row is the mean over seeds in points with its 95 % interval, paired by prompt and pooled over the seeds. The bar for a
training is five minutes on two cores; one thread is used. `--out` keeps the run: the same command goes on where it was,
and `burnish report FOLDER` draws rewards, the share of right answers, KL, length and entropy over the rounds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from bench import scoring
from bench.deepening import deepen
from burnish import microworld
from burnish.chat import load_chat
from burnish.evaluate import paired_difference, score_model
from burnish.evaluate.accuracy import RESPONSES, VERDICTS
from burnish.llm.local import Local
from burnish.microworld.prompting import as_prompt, tasks
from burnish.models import load_causal, prepare
from burnish.records import Demonstration, Judgement, Message, Prompt, Response, Sampling, Weights, read_parquet
from burnish.runs import Compute, Run
from burnish.train import give_chat, train_rows
from burnish.train.on_policy import CheckerReward, FunctionReward, Reward, WeightedReward, train_fresh
from burnish.train.on_policy.groups import Group, Rewarded, example_of

ABILITIES = ("arithmetic", "multilingual", "ordering")  # code is right throughout after SFT: nothing is left to gain
NEW = 48  # tokens of an answer
DRAWN = 2  # answers to a held-out prompt at temperature 1
# What a model of two million parameters needs to move within a minute or two. ASSUMED, like the bars.
START: dict[str, Any] = {"method": "sft", "lr": 5e-4, "epochs": 3, "batch_rows": 16}
SHOWN, CARELESS = 720, 0.5  # demonstrations of the start, and the share of them that a careless author wrote
ASKED = 1200  # prompts of the rounds
ROUNDS: dict[str, Any] = {
    "rounds": 14, "prompts": 24, "samples": 8, "refills": 0, "max_new_tokens": NEW, "lr": 1e-4, "warmup": 0.05,
}  # fmt: skip
METHODS: dict[str, dict[str, Any]] = {
    "grpo": {"beta": 0.02},
    "rloo": {"beta": 0.02},
    "mdloo": {"beta": 0.02, "gamma": 0.02, "updates": 2},
    "online-dpo": {"beta": 0.1, "updates": 2},
}
HACKED: dict[str, Any] = {"lr": 2e-4, "rounds": 20}  # what GRPO needs to find the flaw of a reward
TAUGHT: dict[str, Any] = {
    "rounds": 60, "prompts": 16, "temperature": 0.7, "max_new_tokens": NEW, "lr": 5e-4, "schedule": "cosine",
    "warmup": 0.05, "beta": 0.0,
}  # fmt: skip
STUDENT, TEACHER = 64, 320  # demonstrations of arithmetic that each has seen
KINDS = (*METHODS, "shuffled", "distill", "flawed")
BAR, KL_BAR, SECONDS, RISE = 5.0, 0.2, 300.0, 0.1
LONG = "def long(completions):\n    return [min(len(text), 160) / 160 for text in completions]\n"


@dataclass(frozen=True, kw_only=True)
class Shuffled:
    """The checkers' rewards, dealt out anew among all answers of a call: as many of each, and they say nothing.

    Args:
        seed: of the order, which also depends on the round.
    """

    seed: int
    name: str = "shuffled"

    def rewards(
        self, prompts: Mapping[str, Prompt], responses: Sequence[Response], *, work: Any = None
    ) -> list[Reward]:
        """One a response; the true one is told beside it."""
        found = checked().rewards(prompts, responses, work=work)
        dealt = [reward.value for reward in found]
        Random(f"burnish/shuffled/{self.seed}/{responses[0].model}/{responses[0].prompt}").shuffle(dealt)
        both = zip(dealt, found, strict=True)
        return [Reward(value=v, why="" if v is not None else "unscored", parts={"checker": r.value}) for v, r in both]


def checked() -> CheckerReward:
    """1 for a right answer, 0 for a wrong one."""
    return CheckerReward(checkers=microworld.checkers())


@dataclass(frozen=True, kw_only=True)
class Marks:
    """Held-out prompts answered by a model: prompt -> share of right answers; the drawn ones by prompt."""

    greedy: dict[str, float]
    drawn: dict[str, float]
    answers: dict[str, list[Response]]


@dataclass(kw_only=True)
class Found:
    """One training of one seed. `beside` is what is told of it; `short` says what keeps it from its bar."""

    before: Marks
    after: Marks
    beside: str = ""
    kl: float = 0.0
    seconds: float = 0.0
    short: list[str] = field(default_factory=list)


def demonstration(prompt: Prompt) -> Demonstration:
    """The prompt with the careful author's answer."""
    said = Message(role="assistant", content=json.loads(prompt.reference)["answer"])
    return Demonstration(prompt=prompt.id, context=prompt.messages, response=(said,))


def material(seed: int) -> tuple[list[Demonstration], list[Prompt]]:
    """What the start is shown, by a careful and by a careless author, and the prompts of the rounds: other tasks."""
    rng, taken = Random(f"burnish/learns_fresh/{seed}"), set[str]()
    streams = [tasks("train", family, seed=seed, taken=taken) for family in ABILITIES]
    drawn = [next(streams[number % len(streams)]) for number in range(SHOWN + ASKED)]
    shown = []
    for task in drawn[:SHOWN]:
        text = rng.choice((task.hasty, task.sloppy)) if rng.random() < CARELESS else task.answer
        prompt = as_prompt(task, "bench")
        said = (Message(role="assistant", content=text),)
        shown.append(Demonstration(prompt=prompt.id, context=prompt.messages, response=said))
    return shown, [as_prompt(task, "bench") for task in drawn[SHOWN:]]


def marks(run: Run, name: str, weights: Weights, held: Sequence[Prompt]) -> Marks:
    """Greedy and drawn answers to held-out prompts, checked."""
    shares, answers = [], {}
    for word, temperature, n in (("greedy", 0.0, 1), ("drawn", 1.0, DRAWN)):
        sampling = Sampling(temperature=temperature, max_new_tokens=NEW, seed=1)
        how = {"client": Local(weights=weights), "checkers": microworld.checkers(), "sampling": sampling, "n": n}
        rows = run.step(f"{word}-{name}", score_model, held, **how)
        by_prompt: dict[str, list[float]] = {}
        for verdict in read_parquet(Path(rows.path) / VERDICTS, Judgement):
            if verdict.score is not None:
                by_prompt.setdefault(verdict.prompt, []).append(verdict.score)
        shares.append({prompt: fmean(scores) for prompt, scores in by_prompt.items()})
        answers = {}
        for answer in read_parquet(Path(rows.path) / RESPONSES, Response):
            answers.setdefault(answer.prompt, []).append(answer)
    return Marks(greedy=shares[0], drawn=shares[1], answers=answers)


def divergence(policy: Weights, start: Weights, held: Sequence[Prompt], found: Marks, most: int = 100) -> float:
    """Mean KL(policy || start) of the tokens that the policy drew to the first `most` prompts, in nats."""
    chat, models = load_chat(policy.path), [load_causal(weights) for weights in (start, policy)]
    for model in models:
        prepare(model)
    groups = [
        Group(prompt=p, place=i, ids=tuple(chat.encode_prompt(p.messages)), responses=tuple(found.answers[p.id]))
        for i, p in enumerate(held[:most])
    ]
    return scoring.divergence(*models, [example_of(Rewarded(group=group, rewards=())) for group in groups])


def seconds_of(weights: Weights) -> float:
    """Of the step that made them."""
    return json.loads((Path(weights.path) / "step.json").read_text(encoding="utf-8"))["seconds"]


def ends(weights: Weights, name: str) -> tuple[float, float]:
    """A number of `metrics.jsonl`: the means of the first and of the last three updates."""
    lines = [json.loads(line) for line in (Path(weights.path) / "metrics.jsonl").read_text("utf-8").splitlines()]
    values = [line[name] for line in lines if name in line]  # an update without a group tells only its round
    return fmean(values[:3]), fmean(values[-3:])


class Seed:
    """All trainings of one seed; the start is made once."""

    def __init__(self, run: Run, seed: int, heldout: int) -> None:
        self.run, self.seed = run, seed
        self.held = microworld.prompts("heldout", heldout, seed=0, families=ABILITIES)
        self.shown, self.asked = material(seed)
        self.chat = run.step("chat", give_chat, microworld.base_weights(), format="chatml")
        self._start: tuple[Weights, Marks] | None = None

    def start(self) -> tuple[Weights, Marks]:
        """The model that the rounds begin with, and what it can."""
        if self._start is None:
            weights = self.run.step("start", train_rows, self.chat, self.shown, **START, seed=self.seed)
            self._start = weights, marks(self.run, "start", weights, self.held)
        return self._start

    def learn(self, kind: str) -> Found:
        """Train; what held-out prompts say before and after."""
        if kind == "distill":
            return self.distill()
        method = kind if kind in METHODS else "grpo"
        start, before = self.start()
        chosen = {**ROUNDS, **METHODS[method], **(HACKED if kind == "flawed" else {})}
        how = {"method": method, "rewarder": self.rewarder(kind), **chosen, "seed": self.seed}
        policy = self.run.step(kind, train_fresh, start, self.asked, **how)
        after = marks(self.run, kind, policy, self.held)
        found = Found(before=before, after=after, seconds=seconds_of(policy))
        found.kl = divergence(policy, start, self.held, after)
        beside = {} if kind in METHODS else {"right": "reward_checker"}
        named = {"reward": "reward", **beside, "entropy": "entropy", "tokens": "answer_tokens"}
        told = {word: ends(policy, name) for word, name in named.items()}
        found.beside = "in the rounds " + ", ".join(f"{w} {a:.3g} to {b:.3g}" for w, (a, b) in told.items())
        rise = told["reward"][1] - told["reward"][0]
        if kind == "flawed" and rise < RISE:
            found.short.append(f"the reward rose by {rise:.2f}, less than {RISE}")
        if kind in METHODS and found.kl > KL_BAR:
            found.short.append(f"KL {found.kl:.3f} is above {KL_BAR}")
        return found

    def rewarder(self, kind: str) -> Any:
        """Who rewards: the checkers, unless a row is about something else."""
        if kind == "shuffled":
            return Shuffled(seed=self.seed)
        return self.flawed() if kind == "flawed" else checked()

    def flawed(self) -> WeightedReward:
        """As `--reward long.py:long --reward checker*0`."""
        path = self.run.folder / "long.py"
        path.write_text(LONG, encoding="utf-8")
        return WeightedReward(parts=((1.0, FunctionReward.of(f"{path}:long")), (0.0, checked())))

    def distill(self) -> Found:
        """A student after as many steps on given answers (before) and on its own (after)."""
        told = microworld.prompts("train", STUDENT + TEACHER, seed=self.seed, families=("arithmetic",))
        rows = [demonstration(p) for p in told]
        held = microworld.prompts("heldout", len(self.held), seed=0, families=("arithmetic",))
        how = {"method": "sft", "lr": 5e-4, "batch_rows": 16, "seed": self.seed}
        student = self.run.step("student", train_rows, self.chat, rows[:STUDENT], epochs=8, **how)
        larger = self.run.step("larger", deepen, self.chat)
        teacher = self.run.step("teacher", train_rows, larger, rows[STUDENT:], epochs=4, **how)
        made, score = {}, {}
        for name, share in (("given", 0.0), ("own", 1.0)):
            how = {"method": "distill-online", "teacher": teacher, "share": share, **TAUGHT, "seed": self.seed}
            made[name] = self.run.step(name, train_fresh, student, rows[:240], **how)
        for name, weights in {"student": student, "teacher": teacher, **made}.items():
            score[name] = marks(self.run, name, weights, held)
        both = [f"{n} {100 * fmean(score[n].greedy.values()):.1f}" for n in ("student", "teacher")]
        told = f"greedy of the {' and of the '.join(both)}"
        seconds = max(map(seconds_of, made.values()))
        found = Found(before=score["given"], after=score["own"], beside=told, seconds=seconds)
        found.kl = divergence(made["own"], student, held, score["own"])
        return found


def gain(found: Sequence[Found], which: str) -> tuple[float, float, float]:
    """After less before in points with its interval, paired by prompt, pooled."""
    sides = [(getattr(one.before, which), getattr(one.after, which)) for one in found]
    both = [(a[prompt], b[prompt]) for a, b in sides for prompt in a if prompt in b]
    return tuple(100 * value for value in paired_difference([a for a, _ in both], [b for _, b in both]))


def row_of(kind: str, found: Sequence[Found]) -> dict[str, Any]:
    """One row of the table, with what keeps it from its bar."""
    value, low, high = gain(found, "greedy")
    moved = [100 * (fmean(f.after.greedy.values()) - fmean(f.before.greedy.values())) for f in found]
    short = [why for one in found for why in one.short]
    bar = BAR if kind in METHODS else 0.0
    if kind in METHODS or kind == "distill":
        short += [f"a seed moved by {m:+.1f}" for m in moved if m < bar or m <= 0]
    elif low > 0:
        short += [f"it gains: the interval lies above 0 ({low:+.1f} to {high:+.1f})"]
    slowest = max(one.seconds for one in found)
    short += [f"{slowest:.0f} s, above {SECONDS:.0f}"] if slowest > SECONDS else []
    sides = (", ".join(f"{100 * fmean(s):.1f}" for s in sets) for sets in (
        [f.before.greedy.values() for f in found], [f.after.greedy.values() for f in found],
        [f.before.drawn.values() for f in found], [f.after.drawn.values() for f in found],
    ))  # fmt: skip
    greedy, greedy_after, drawn, drawn_after = sides
    words = ("given", "own") if kind == "distill" else ("from", "to")
    detail = f"95 % {low:+.1f} to {high:+.1f}; greedy {words[0]} {greedy} {words[1]} {greedy_after}; "
    detail += f"drawn {words[0]} {drawn} {words[1]} {drawn_after}; "
    detail += f"KL {', '.join(f'{f.kl:.3f}' for f in found)}; {'; '.join(f.beside for f in found)}; {slowest:.0f} s"
    row = {"name": kind, "value": round(value, 2), "bar": bar, "holds": not short}
    return row | {"detail": detail + (f"; SHORT: {'; '.join(short)}" if short else "")}


def train(folder: Path, asked: argparse.Namespace, found: dict[str, list[Found]]) -> None:
    """All trainings, seed by seed; `found` takes them in."""
    with Run(folder, compute=Compute(threads=asked.threads)) as run:
        for seed in range(asked.seeds):
            with run.round(seed + 1):
                trained = Seed(run, seed, asked.heldout)
                for kind, rows in found.items():
                    rows.append(trained.learn(kind))
                    print(f"seed {seed}, {kind}: {row_of(kind, rows[-1:])['detail']}", file=sys.stderr)


def main() -> None:
    """Parse, train, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--heldout", type=int, default=300, help="held-out prompts, a third of each ability")
    parser.add_argument("--only", default="", help=f"with commas, of {', '.join(KINDS)}")
    parser.add_argument("--threads", type=int, default=1, help="of the one process")
    parser.add_argument("--out", default="", help="keep the run here")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    kinds = [kind for kind in asked.only.split(",") if kind] or list(KINDS)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        parser.error(f"there is no {unknown[0]!r}; there are {', '.join(KINDS)}")
    found: dict[str, list[Found]] = {kind: [] for kind in kinds}
    with tempfile.TemporaryDirectory(prefix="burnish-learns-") as place:
        train(Path(asked.out) if asked.out else Path(place) / "run", asked, found)
    rows = [row_of(kind, one) for kind, one in found.items()]
    if asked.json:
        print(json.dumps({"bench": "learns_fresh", "rows": rows}))
        return
    for row in rows:
        verdict = "holds" if row["holds"] else "FAILS"
        print(f"{row['name']:<12}{row['value']:>+7.1f}  bar {row['bar']:>+5.1f}  {verdict}  {row['detail']}")


if __name__ == "__main__":
    main()
