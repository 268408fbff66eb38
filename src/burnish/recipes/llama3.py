"""Llama 3: six rounds of reward modelling, rejection sampling, SFT and DPO (The Llama 3 Herd of Models, section 4).

      prompts -> two policies answer -> people compare -> reward model -> best of K -> SFT -> DPO -> average
         ^        of the round before   4 strengths, edits   from the     cleaned,     from the    latest    at RM,
         |                                                   pre-trained  pruned,      pre-trained batches   SFT and
         |                                                   checkpoint   mixed        checkpoint            DPO
         +---------------------------------- evaluate, promote <---------------------------------------------+

Sections followed: 4.1 (modelling), 4.2.1 (preference data), 4.2.2 (SFT data, rejection sampling), 4.2.3 (cleaning,
pruning). Out of reach and what stands in: people (the annotator that is given: a checker, a reward model, or the
microworld's oracle, which the report marks as simulated), the topic classifier (the prompt's declared ability),
the judge of the 3-point scale (the one that is given, or none), capability data of 4.3 (later work), model size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from burnish import annotate, chat, curate, evaluate, judge, llm, merge, train
from burnish.protocols import Annotator, Checker, Judge
from burnish.records import Demonstration, Prompt, Sampling, Weights
from burnish.runs import Call, Rows, Run


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every number of the recipe. The comment is its source; `paper` holds the report's values."""

    rounds: int  # §3.1: six rounds
    seed: int  # ASSUMED: not reported
    warm: int  # ASSUMED: own answers that teach a base the chat format before round one
    annotated: int  # ASSUMED: prompts compared in a round; the report does not say
    heldout_pairs: int  # ASSUMED: held-out prompts compared, to measure the reward model
    sampled: int  # ASSUMED: prompts for rejection sampling in a round; the report does not say
    samples: int  # §3.8: K between 10 and 30 answers a prompt
    temperature: float  # ASSUMED: 0.8 for English (§6)
    compared_at: float  # ASSUMED: temperature of the answers that are compared; 1, so that two models differ
    top_p: float  # ASSUMED: 0.95 (§6)
    new_tokens: int  # ASSUMED: longest answer
    strength: int  # §3.3: only "better" (3) and "significantly better" (4) pairs are trained on
    similarity: float  # ASSUMED: pairs above this edit similarity are dropped (§6: 0.9)
    edits: bool  # §3.7: annotators edit the chosen answer; edited > chosen > rejected (§3.3)
    selection: str  # §3.8: "reward" keeps the best of K under the reward model; "random" is a control
    quality_quartile: float  # §3.10: share of best reward scores of a topic that count as high quality
    apology_share: float  # ASSUMED: share of apologetic answers after capping (§6: 1 %)
    exclamation_share: float  # ASSUMED: share of answers with more than two exclamation marks (§6: 3 %)
    mixed: int  # ASSUMED: rows of the SFT mix; the report gives shares only (Table 7)
    margin: float  # ASSUMED: how much better than the average another model must be on dev prompts to be promoted
    variants: int  # ASSUMED: models averaged at each stage (§3.6 does not say how many)
    reward_lr: float  # ASSUMED: not reported
    reward_epochs: int  # ASSUMED: not reported
    reward_batch: int  # ASSUMED: not reported
    sft_lr: float  # §3.4: 1e-5
    sft_epochs: int  # ASSUMED: the report gives 8,500 to 9,000 steps (§3.4), not epochs
    sft_batch: int  # ASSUMED: 128 (§6)
    dpo_lr: float  # §3.5: 1e-5
    dpo_epochs: int  # ASSUMED: 1 (§6)
    dpo_batch: int  # ASSUMED: 128 (§6)
    beta: float  # §3.5: 0.1
    nll_weight: float  # §3.5: 0.2
    schedule: str  # ASSUMED: cosine to 10 % (§6)
    warmup: float  # ASSUMED: 3 % (§6)
    weight_decay: float  # ASSUMED: not reported
    clip: float  # ASSUMED: not reported
    chat: str  # §3.2 is Llama 3's own format; a base model without a template gets this one
    batch_tokens: int  # plumbing: token budget of a pack


PAPER = Settings(
    rounds=6, seed=0, warm=10_000, annotated=100_000, heldout_pairs=2_000, sampled=100_000, samples=10,
    temperature=0.8, compared_at=1.0, top_p=0.95, new_tokens=2048, strength=3, similarity=0.9, edits=True,
    selection="reward", quality_quartile=0.25, apology_share=0.01, exclamation_share=0.03, mixed=1_100_000,
    margin=0.02, variants=2, reward_lr=1e-5, reward_epochs=1, reward_batch=128, sft_lr=1e-5, sft_epochs=1,
    sft_batch=128, dpo_lr=1e-5, dpo_epochs=1, dpo_batch=128, beta=0.1, nll_weight=0.2, schedule="cosine", warmup=0.03,
    weight_decay=0.1, clip=1.0, chat="llama3", batch_tokens=65_536,
)  # fmt: skip

# What a model of two million parameters needs instead: fewer rows, larger steps, answers so short that a digit decides.
LAPTOP = {
    "rounds": 3, "warm": 500, "annotated": 2000, "heldout_pairs": 400, "sampled": 1800, "samples": 10,
    "new_tokens": 48, "similarity": 0.98, "apology_share": 0.15, "mixed": 1500, "reward_lr": 5e-4, "reward_epochs": 2,
    "reward_batch": 16, "sft_lr": 4e-4, "sft_epochs": 5, "sft_batch": 16, "dpo_lr": 1e-4, "dpo_batch": 32,
    "weight_decay": 0.01, "chat": "chatml", "batch_tokens": 4096,
}  # fmt: skip
SMOKE = {
    **LAPTOP, "rounds": 2, "warm": 16, "annotated": 24, "heldout_pairs": 16, "sampled": 16, "samples": 4,
    "new_tokens": 32, "mixed": 16, "reward_epochs": 1, "reward_batch": 8, "sft_epochs": 1, "sft_batch": 8,
    "dpo_batch": 8,
}  # fmt: skip


def scale(name: str) -> Settings:
    """The settings of one of three scales: smoke, laptop, paper."""
    return Settings(**{**vars(PAPER), **{"paper": {}, "laptop": LAPTOP, "smoke": SMOKE}[name]})


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who answers, compares and grades. A recipe never asks which."""

    policy: Weights
    prompts: Sequence[Prompt]
    heldout: Sequence[Prompt]
    dev: Sequence[Prompt]
    annotator: Annotator
    checkers: Mapping[str, Checker]
    judge: Judge | None = None
    examples: Sequence[Demonstration] = ()


@dataclass
class State:
    """What goes from round to round."""

    base: Weights
    pool: Rows
    heldout: Rows
    dev: Rows
    policies: list[llm.Local] = field(default_factory=list)
    grades: dict[str, float] = field(default_factory=dict)
    preferences: list[Rows] = field(default_factory=list)
    measures: list[Rows] = field(default_factory=list)
    drawn: list[Rows] = field(default_factory=list)


def recipe(run: Run, s: Settings, w: Workers) -> Weights:
    """All rounds. Returns the promoted weights of the last."""
    pool = run.step("prompts", curate.take_prompts, w.prompts)
    heldout = run.step("heldout", curate.take_prompts, w.heldout)
    dev = run.step("dev", curate.take_prompts, w.dev)
    has_chat = chat.has_template(w.policy.path)
    base = w.policy if has_chat else run.step("base", train.give_chat, w.policy, format=s.chat)
    state = State(base, pool, heldout, dev)
    # §3.5: formatting tokens masked, NLL on the chosen answer; the reference is the model it starts from (ASSUMED).
    dpo = train.tuning(s, "dpo", beta=s.beta, nll_weight=s.nll_weight)
    first_policies(run, s, w, state)
    for number in range(1, s.rounds + 1):
        with run.round(number):
            state.preferences.append(preference_batch(run, s, w, state, number))
            state.measures.append(heldout_pairs(run, s, w, state, number))
            reward = reward_model(run, s, state)
            mix = supervised_data(run, s, w, state, reward, number)
            tuned = variants(run, s, "sft", train.train_sft, (base, mix), train.tuning(s, "sft"))
            chosen = variants(run, s, "dpo", train.train_dpo, (tuned[-1], state.preferences[-1]), dpo)
            promote(run, s, w, state, {"sft": tuned[-1], "dpo": chosen[0], "average": chosen[-1]})
    return state.policies[0].weights


def first_policies(run: Run, s: Settings, w: Workers, state: State) -> None:
    """The base in the prompt style it answers best in, and the base after a short SFT on its own raw answers, which
    teaches it the chat format and nothing else. ASSUMED: the report's first round has earlier chat models."""
    styles = llm.styles_of(state.base, w.examples)
    best, scores = evaluate.best_start(run, state.heldout, styles, **grading(s, w))
    prompts = draw(run, s, state, "format-prompts", s.warm, {})
    how = {"client": best, "sampling": drawing(s, 0, 0), "seed": s.seed, **train.tuning(s, "sft")}
    warm = train.teach_format(run, state.base, prompts, **how)
    run.step("format-scores", evaluate.score_model, state.heldout, client=llm.Local(weights=warm), **grading(s, w))
    state.policies = [best, llm.Local(weights=warm)]
    state.grades = scores.metrics["by_ability"]


def compare(run: Run, s: Settings, w: Workers, state: State, prompts: Rows, number: int, *, prefix: str = "") -> Rows:
    """§3.7: two different policies of the round before answer; the annotator compares with four strengths and edits."""
    how = [replace(drawing(s, number, i), temperature=s.compared_at) for i in (0, 1)]
    answers = [
        run.step(f"{prefix}answers-{x}", llm.sample_responses, prompts, client=client, n=1, sampling=sampling)
        for x, client, sampling in zip("ab", state.policies, how, strict=True)
    ]
    people = {"annotator": w.annotator, "edits": s.edits, "round": number}
    verdicts = run.step(f"{prefix}judgements", annotate.compare_pairs, prompts, answers, **people)
    return run.step(f"{prefix}preferences", annotate.make_preferences, prompts, answers, verdicts, round=number)


def preference_batch(run: Run, s: Settings, w: Workers, state: State, number: int) -> Rows:
    """The comparisons of the round, through the gates of §3.3."""
    prompts = draw(run, s, state, "annotate-prompts", s.annotated, state.grades)
    pairs = compare(run, s, w, state, prompts, number)
    return run.step("gated", curate.gate_pairs, pairs, strength=s.strength, similarity=s.similarity)


def heldout_pairs(run: Run, s: Settings, w: Workers, state: State, number: int) -> Rows:
    """The same comparison on held-out prompts, ungated and never trained on: what the reward model is measured by."""
    settings = {"count": s.heldout_pairs, "grades": {}, "seed": s.seed}
    prompts = run.step("heldout-prompts", curate.draw_prompts, state.heldout, **settings)
    return compare(run, s, w, state, prompts, number, prefix="heldout-")


def reward_model(run: Run, s: Settings, state: State) -> Weights:
    """§3.3: Bradley-Terry without margin, on all preferences so far, from the pre-trained checkpoint."""
    everything = run.step("reward-rows", curate.union, list(state.preferences))
    reward = variants(run, s, "rm", train.train_reward, (state.base, everything), train.tuning(s, "reward"))[-1]
    if reward.kind == "reward":
        run.step("rm-accuracy", judge.pair_accuracy, list(state.measures), reward=reward)
    return reward


def supervised_data(run: Run, s: Settings, w: Workers, state: State, reward: Weights, number: int) -> Rows:
    """§3.8: best of K under the reward model. §3.9: rules. §3.10: topic and quality. Table 7: the mix."""
    prompts = draw(run, s, state, "sample-prompts", s.sampled, {})
    how = {"client": state.policies[0], "n": s.samples, "sampling": drawing(s, number, 2)}
    samples = run.step("samples", llm.sample_responses, prompts, **how)
    # Without a reward model (no pair so far) nothing is scored, and the steps below record 0 rows.
    rewards: Any = []
    if reward.kind == "reward":
        rewards = run.step("rewards", judge.score_responses, prompts, samples, reward=reward)
    choice = {"selection": s.selection, "seed": s.seed}
    best = run.step("best", curate.best_of_k, prompts, samples, rewards, round=number, **choice)
    run.step("best-accuracy", evaluate.best_of_accuracy, prompts, samples, best, checkers=w.checkers)
    rules = curate.pattern_rules(apology=s.apology_share, exclamation=s.exclamation_share)
    cleaned = run.step("cleaned", curate.clean, best, rules=rules)
    pruned = run.step("pruned", curate.prune, cleaned, prompts, judge=w.judge, share=s.quality_quartile, **choice)
    return run.step("mixed", curate.mix_rows, pruned, count=s.mixed, seed=s.seed)


def variants(
    run: Run, s: Settings, stage: str, function: Any, inputs: tuple[Weights, Rows], settings: dict
) -> list[Weights]:
    """§3.6: trainings that differ in data order and learning rate (ASSUMED: x 1, x 0.7, ...), and last their average.

    Without rows the steps are recorded as skipped and the starting weights go on."""
    calls = [
        Call(
            name=f"{stage}-{'abcdefgh'[i]}", function=function, inputs=inputs, otherwise=inputs[0],
            settings={**settings, "lr": settings["lr"] * 0.7**i, "seed": s.seed + i},
        )
        for i in range(s.variants)
    ]  # fmt: skip
    members = run.together(*calls)
    if len({member.id for member in members}) == 1:
        return [*members, members[0]]
    equal = [1 / len(members)] * len(members)
    return [*members, run.step(f"{stage}-average", merge.average, members, coefficients=equal)]


def promote(run: Run, s: Settings, w: Workers, state: State, models: dict[str, Weights]) -> None:
    """Evaluate on held-out prompts, choose on others (dev) between the round's models and the incumbent."""
    clients = {name: llm.Local(weights=weights) for name, weights in models.items()}
    for n, c in clients.items():
        run.step(f"scores-{n}", evaluate.score_model, state.heldout, client=c, **grading(s, w))
    clients["incumbent"] = state.policies[0]
    how = grading(s, w)
    scores = {n: run.step(f"dev-{n}", evaluate.score_model, state.dev, client=c, **how) for n, c in clients.items()}
    order, handicap = ["average", "dpo", "sft", "incumbent"], {"average": 0.0}  # another must beat it by the margin
    ranked = sorted(order, key=lambda n: handicap.get(n, s.margin) - (scores[n].metrics["accuracy"] or 0.0))
    # The next best of this round answers beside it (§3.7); the incumbent where the round has no other weights.
    same = {name: client.weights.id == clients[ranked[0]].weights.id for name, client in clients.items()}
    second = min(ranked[1:], key=lambda name: (same[name], name == "incumbent"))
    run.step("promoted", evaluate.promoted, scores[ranked[0]], name=ranked[0], second=second)
    state.policies = [clients[ranked[0]], clients[second]]
    state.grades = scores[ranked[0]].metrics["by_ability"]


def draw(run: Run, s: Settings, state: State, name: str, count: int, grades: dict[str, float]) -> Rows:
    """Prompts of this round, more of the abilities with low grades, unused ones first."""
    settings = {"count": count, "grades": grades, "seed": s.seed}
    state.drawn.append(run.step(name, curate.draw_prompts, state.pool, list(state.drawn), **settings))
    return state.drawn[-1]


def drawing(s: Settings, number: int, stream: int) -> Sampling:
    """How answers are drawn; each round and stream has its own random numbers."""
    seed = 1000 * s.seed + 10 * number + stream
    return Sampling(temperature=s.temperature, top_p=s.top_p, max_new_tokens=s.new_tokens, seed=seed)


def grading(s: Settings, w: Workers) -> dict[str, Any]:
    """Greedy answers, checked."""
    return {"checkers": w.checkers, "sampling": Sampling(temperature=0.0, max_new_tokens=s.new_tokens)}


def asks(s: Settings) -> int:
    """How many prompts all rounds draw, at most."""
    return s.warm + s.rounds * (s.annotated + s.sampled)


def plan(s: Settings, prompt_tokens: int, answer_tokens: int) -> list[tuple[str, int, int, str]]:
    """(step, rows, tokens, kind of work) of every round, for a dry run; kind is `sample`, `score`, `train` or `ask`."""
    one, pair, rows = prompt_tokens + answer_tokens, prompt_tokens + 2 * answer_tokens, []
    for r in range(1, s.rounds + 1):
        pairs, drawn = s.annotated * r, s.sampled * s.samples
        rows += [
            (f"r{r}/answers", 2 * s.annotated, 2 * s.annotated * answer_tokens, "sample"),
            (f"r{r}/judgements", compared := s.annotated + s.heldout_pairs, compared * pair, "ask"),
            (f"r{r}/rm x {s.variants}", pairs, s.variants * s.reward_epochs * pairs * pair, "train"),
            (f"r{r}/samples", drawn, drawn * answer_tokens, "sample"),
            (f"r{r}/rewards", drawn, s.sampled * prompt_tokens + drawn * answer_tokens, "score"),
            (f"r{r}/pruned", s.sampled, s.sampled * one, "ask"),
            (f"r{r}/sft x {s.variants}", s.mixed, s.variants * s.sft_epochs * s.mixed * one, "train"),
            (f"r{r}/dpo x {s.variants}", s.annotated, s.variants * s.dpo_epochs * s.annotated * pair, "train"),
        ]
    return rows
