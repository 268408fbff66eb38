"""DeepSeek-V2: SFT, then GRPO in two stages: reasoning, then what people prefer (arXiv:2405.04434, section 4).

      prompts -> own answers that are right -> SFT --+-> stage 1: math and code         +-> stage 2: everything else
                 in the shares of 4.1                |   K answers checked, executed    |   answers compared by people
                                                     |   -> right over wrong            |   -> helpful and safety RMs,
                                                     |   -> reasoning RM                |      and rules
                                                     |   -> GRPO under it               |   -> GRPO under their sum
                                                     +-> evaluate, tax of the others ---+-> evaluate, tax of math, code

Sections followed: 4.1 (SFT), 4.2 (reward data, reward models, GRPO, two stages), 4.4 (alignment tax). Out of reach and
what stands in: the 1.5 M SFT rows, whose authors the report does not name (own answers that a checker finds right),
people (the annotator that is given; the report marks a simulated one), the engine for many machines, model size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

from burnish import annotate, chat, curate, evaluate, llm, train
from burnish.protocols import Annotator, Checker
from burnish.records import Demonstration, Prompt, Sampling, Weights
from burnish.runs import Rows, Run
from burnish.train import on_policy

# Abilities of a group; one that is in none of them is general language. A prompt without one has its checker's name.
GROUPS = {"math": ("math", "arithmetic"), "code": ("code",), "safety": ("safety",)}
REASONING = (*GROUPS["math"], *GROUPS["code"])
REWARDS = ("reasoning", "helpful", "safety", "rules")
PREFIXES = ("", "heldout-")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Every number of the recipe. The comment is its source; `paper` holds the report's values."""

    seed: int  # ASSUMED: not reported
    warm: int  # ASSUMED: own answers that teach a base the chat format
    sampled: int  # ASSUMED: prompts whose answers may become SFT rows
    samples: int  # ASSUMED: answers a prompt, of the SFT data and of the reasoning RM's
    selection: Literal["reward", "random"]  # ASSUMED: "reward" keeps a right one; "random" is a control
    temperature: float  # ASSUMED: of SFT data
    top_p: float  # ASSUMED: of SFT data
    new_tokens: int  # ASSUMED: longest answer; DeepSeekMath §4.2 has 1,024
    mixed: int  # §4.1: 1.5 M SFT rows
    safety_share: float  # §4.1: 0.3 M of the 1.5 M
    shares: tuple[float, float, float]  # ASSUMED: language, math, code of the rest; DeepSeek LLM's, which V2 builds on
    judged: int  # ASSUMED: reasoning prompts whose answers are checked for the reasoning RM
    annotated: int  # ASSUMED: other prompts that are compared
    heldout_pairs: int  # ASSUMED: held-out prompts of each kind, to measure the reward models
    similarity: float  # ASSUMED: pairs above this edit similarity are dropped (§4.2: "quality filtering")
    proportion: float  # ASSUMED: most rows of an ability over the rarest (§4.2: "proportion adjustments")
    reward_form: Literal["pair", "point"]  # §4.2: "pair" or "point", the report uses either
    reasoning_reward: Literal["model", "checker"]  # §4.2: "model", trained on outcomes; "checker" is the outcome
    sft_lr: float  # §4.1: 5e-6
    sft_epochs: int  # §4.1: 2
    sft_batch: int  # ASSUMED: not reported
    reward_lr: float  # ASSUMED: 2e-5 (DeepSeekMath §4.2)
    reward_epochs: int  # ASSUMED: not reported
    reward_batch: int  # ASSUMED: not reported
    rl_lr: tuple[float, float]  # ASSUMED: of stage 1 and stage 2; 1e-6 (DeepSeekMath §4.2)
    beta: tuple[float, float]  # ASSUMED: of stage 1 and stage 2; 0.04 (DeepSeekMath §4.2)
    level: Literal["token", "sequence"]  # §4.2: the ratio of whole sequences, as printed; DeepSeekMath has "token"
    clip_ratio: float  # ASSUMED: 0.2, no value is published
    group: int  # ASSUMED: 64 answers a prompt (DeepSeekMath §4.2)
    rl_prompts: int  # ASSUMED: 16 groups a round, 1,024 answers (DeepSeekMath §4.2)
    rl_temperature: float  # ASSUMED: of answers that are explored, checked for the reasoning RM, or compared
    reasoning_rounds: int  # ASSUMED: 144 K questions once (DeepSeekMath §4.2); 0 leaves stage 1 out
    preference_rounds: int  # ASSUMED: not reported; 0 leaves stage 2 out
    coefficients: tuple[float, float, float]  # ASSUMED: c1, c2, c3 of helpful, safety, rules, each standardised
    tolerance: float  # ASSUMED: how far the skills of the other stage may fall (§4.4: alignment tax)
    schedule: str  # ASSUMED: of SFT and reward models; GRPO is constant
    warmup: float  # ASSUMED: not reported
    weight_decay: float  # ASSUMED: not reported
    clip: float  # ASSUMED: not reported
    chat: str  # ASSUMED: a base model without a template gets this format
    batch_tokens: int  # plumbing: token budget of a pack


PAPER = Settings(
    seed=0, warm=10_000, sampled=1_500_000, samples=10, selection="reward", temperature=0.8, top_p=0.95,
    new_tokens=1024, mixed=1_500_000, safety_share=0.2, shares=(0.312, 0.466, 0.222), judged=100_000,
    annotated=100_000, heldout_pairs=2_000, similarity=0.9, proportion=2.0, reward_form="pair",
    reasoning_reward="model", sft_lr=5e-6, sft_epochs=2, sft_batch=128, reward_lr=2e-5, reward_epochs=1,
    reward_batch=128, rl_lr=(1e-6, 1e-6), beta=(0.04, 0.04), level="sequence", clip_ratio=0.2, group=64,
    rl_prompts=16, rl_temperature=1.0, reasoning_rounds=9_000, preference_rounds=2_000, coefficients=(1.0, 1.0, 1.0),
    tolerance=0.03, schedule="cosine", warmup=0.03, weight_decay=0.1, clip=1.0, chat="chatml", batch_tokens=65_536,
)  # fmt: skip

# Two million parameters need short answers, more passes, larger steps; seven in ten abilities are general language.
LAPTOP = {
    "warm": 32, "sampled": 1500, "samples": 5, "new_tokens": 48, "mixed": 1000, "safety_share": 0.1, "judged": 1000,
    "shares": (0.78, 0.11, 0.11), "annotated": 1500, "heldout_pairs": 400, "similarity": 0.98, "sft_lr": 4e-4,
    "sft_epochs": 5, "sft_batch": 16, "reward_lr": 5e-4, "reward_epochs": 2, "reward_batch": 16, "level": "token",
    "rl_lr": (5e-5, 2e-5), "beta": (0.04, 0.1), "group": 8, "reasoning_rounds": 40, "preference_rounds": 10,
    "weight_decay": 0.01, "batch_tokens": 4096, "reasoning_reward": "checker",
}  # fmt: skip
SMOKE = {
    **LAPTOP, "warm": 16, "sampled": 80, "samples": 4, "new_tokens": 32, "mixed": 160, "judged": 40, "annotated": 24,
    "heldout_pairs": 16, "sft_epochs": 2, "sft_batch": 8, "reward_epochs": 1, "reward_batch": 8, "group": 4,
    "rl_prompts": 4, "reasoning_rounds": 2, "preference_rounds": 2, "reasoning_reward": "model",
}  # fmt: skip


def scale(name: str) -> Settings:
    """The settings of one of three scales: smoke, laptop, paper."""
    return Settings(**{**vars(PAPER), **{"paper": {}, "laptop": LAPTOP, "smoke": SMOKE}[name]})


@dataclass(frozen=True, kw_only=True)
class Workers:
    """Who answers, compares, grades and rewards. A recipe never asks which. `rewards`: own ones of `REWARDS`."""

    policy: Weights
    prompts: Sequence[Prompt]
    heldout: Sequence[Prompt]
    annotator: Annotator | None
    checkers: Mapping[str, Checker]
    examples: Sequence[Demonstration] = ()
    rewards: Mapping[str, on_policy.Rewarder] = field(default_factory=dict)


@dataclass
class State:
    """What goes from stage to stage."""

    base: Weights
    pool: Rows
    heldout: Rows
    policies: list[llm.Local] = field(default_factory=list)
    scores: list[Rows] = field(default_factory=list)
    drawn: list[Rows] = field(default_factory=list)


def recipe(run: Run, s: Settings, w: Workers) -> Weights:
    """SFT and both stages. Returns the weights of the last."""
    pool = run.step("prompts", curate.take_prompts, w.prompts, by_checker=True)
    heldout = run.step("heldout", curate.take_prompts, w.heldout, by_checker=True)
    base = w.policy if chat.has_template(w.policy.path) else run.step("base", train.give_chat, w.policy, format=s.chat)
    state = State(base, pool, heldout)
    supervised(run, s, w, state, first_policy(run, s, w, state))
    for number, (stage, rounds) in enumerate(((reasoning, s.reasoning_rounds), (preference, s.preference_rounds)), 1):
        if rounds:
            with run.round(number):
                stage(run, s, w, state)
    return state.policies[-1].weights


def first_policy(run: Run, s: Settings, w: Workers, state: State) -> llm.Local:
    """The base in the prompt style it answers best in, which writes the SFT data. The base after a short SFT on its own
    raw answers, which teaches it the chat format and nothing else, goes on where no row of that data is right."""
    best, _ = evaluate.best_start(run, state.heldout, llm.styles_of(state.base, w.examples), **grading(s, w))
    how = {"client": best, "sampling": drawing(s, 0), "seed": s.seed, **train.tuning(s, "sft")}
    prompts = draw(run, s, state, "format-prompts", state.pool, s.warm)
    state.policies = [llm.Local(weights=train.teach_format(run, state.base, prompts, **how))]
    return best


def supervised(run: Run, s: Settings, w: Workers, state: State, author: llm.Local) -> None:
    """§4.1: SFT rows in the shares of safety, language, math and code (D1), and SFT on them from the base (D2)."""
    prompts = draw(run, s, state, "sample-prompts", state.pool, s.sampled)
    samples = run.step("samples", llm.sample_responses, prompts, client=author, n=s.samples, sampling=drawing(s, 1))
    verdicts = run.step("rewards", evaluate.check_responses, prompts, samples, checkers=w.checkers)
    choice = {"selection": s.selection, "seed": s.seed, "minimum": 1.0 if s.selection == "reward" else None}
    best = run.step("best", curate.best_of_k, prompts, samples, verdicts, round=0, **choice)
    run.step("best-accuracy", evaluate.best_of_accuracy, prompts, samples, best, checkers=w.checkers)
    parts = {n: (1 - s.safety_share) * x for n, x in zip(("language", "math", "code"), s.shares, strict=True)}
    mix = {"count": s.mixed, "seed": s.seed, "shares": parts | {"safety": s.safety_share}}
    group = partial(curate.group_of, groups=GROUPS, rest="language")
    mixed = run.step("mixed", curate.mix_rows, best, source_of=group, **mix)
    how = {"otherwise": state.policies[0].weights, "seed": s.seed, **train.tuning(s, "sft")}
    state.policies = [policy := llm.Local(weights=run.step("sft", train.train_sft, state.base, mixed, **how))]
    state.scores = [run.step("scores-sft", evaluate.score_model, state.heldout, client=policy, **grading(s, w))]


def reasoning(run: Run, s: Settings, w: Workers, state: State) -> None:
    """§4.2, stage 1: r = RM_reasoning, on math and code."""
    pools = routes(run, state, inverse=False)
    rewarder = w.rewards.get("reasoning")
    if rewarder is None and s.reasoning_reward == "checker":
        rewarder = on_policy.CheckerReward(checkers=w.checkers, name="reasoning")
    elif rewarder is None and len(pools[0]):
        rows, held = (outcomes(run, s, w, state, pool, prefix) for pool, prefix in zip(pools, PREFIXES, strict=True))
        rewarder = rewarders(run, s, state, {"reasoning": (rows, held)}).get("reasoning")
    explore(run, s, w, state, pools, rewarder, rounds=s.reasoning_rounds, lr=s.rl_lr[0], beta=s.beta[0])


def outcomes(run: Run, s: Settings, w: Workers, state: State, pool: Rows, prefix: str) -> Rows:
    """D3: answers of the SFT model, executed or compared with the truth; right over wrong; filtered; in proportion."""
    prompts = draw(run, s, state, f"{prefix}judge-prompts", pool, s.heldout_pairs if prefix else s.judged)
    how = {"client": state.policies[0], "n": s.samples, "sampling": drawing(s, 2, s.rl_temperature)}
    samples = run.step(f"{prefix}samples", llm.sample_responses, prompts, **how)
    verdicts = run.step(f"{prefix}verdicts", evaluate.check_responses, prompts, samples, checkers=w.checkers)
    pairs = run.step(f"{prefix}pairs", curate.outcome_pairs, prompts, samples, verdicts, round=1, seed=s.seed)
    if prefix:
        return pairs
    return run.step("gated", curate.gate_pairs, pairs, strength=None, similarity=s.similarity)  # "quality filtering"


def preference(run: Run, s: Settings, w: Workers, state: State) -> None:
    """§4.2, stage 2: r = c1 RM_helpful + c2 RM_safety + c3 RM_rule, on all other prompts (D7)."""
    pools, given, tables = routes(run, state, inverse=True), {"rules": on_policy.RuleReward(), **w.rewards}, {}
    if len(pools[0]) and not {"helpful", "safety"} <= given.keys():
        both = [compare(run, s, w, state, pool, prefix) for pool, prefix in zip(pools, PREFIXES, strict=True)]
        for name in [name for name in ("helpful", "safety") if name not in given]:
            how, rows = {"abilities": GROUPS["safety"], "inverse": name == "helpful"}, zip(PREFIXES, both, strict=True)
            tables[name] = tuple(run.step(f"{prefix}{name}-rows", curate.only, r, **how) for prefix, r in rows)
        given |= rewarders(run, s, state, tables)
    named = zip(s.coefficients, REWARDS[1:], strict=True)  # a part without a reward model (no rows) is left out
    parts = tuple((c, given[name]) for c, name in named if name in given)
    summed = on_policy.WeightedReward(parts=parts, standardise=True)
    explore(run, s, w, state, pools, summed, rounds=s.preference_rounds, lr=s.rl_lr[1], beta=s.beta[1])


def compare(run: Run, s: Settings, w: Workers, state: State, pool: Rows, prefix: str) -> Rows:
    """The SFT model and the one after stage 1 answer, the annotator compares (ASSUMED: the report does not say who)."""
    prompts = draw(run, s, state, f"{prefix}annotate-prompts", pool, s.heldout_pairs if prefix else s.annotated)
    people, answers = {"annotator": w.annotator, "edits": False, "round": 2, "models": 1}, []
    for x, client, stream in (("a", state.policies[0], 3), ("b", state.policies[-1], 4)):
        how = {"client": client, "n": 1, "sampling": drawing(s, stream, s.rl_temperature)}
        answers.append(run.step(f"{prefix}answers-{x}", llm.sample_responses, prompts, **how))
    verdicts = run.step(f"{prefix}judgements", annotate.compare_pairs, prompts, answers, **people)
    pairs = run.step(f"{prefix}preferences", annotate.make_preferences, prompts, answers, verdicts, round=2)
    if prefix:
        return pairs
    return run.step("gated", curate.gate_pairs, pairs, strength=None, similarity=s.similarity)  # "quality filtering"


def rewarders(run: Run, s: Settings, state: State, tables: Any) -> dict[str, on_policy.Rewarder]:
    """D4: after "proportion adjustments", reward models from the SFT model; one without rows is left out."""
    rule = {"most": s.proportion, "seed": s.seed}
    even = {n: (run.step(f"{n}-reward-rows", curate.proportioned, x, **rule), held) for n, (x, held) in tables.items()}
    how = {"form": s.reward_form, "seed": s.seed, "refuse_above": 1.0, **train.tuning(s, "reward")}
    return train.train_rewarders(run, state.policies[0].weights, even, **how)


def explore(run: Run, s: Settings, w: Workers, state: State, pools: list[Rows], reward: Any, **own: Any) -> None:
    """D5: GRPO against the model before (`own`: rounds, lr, beta); then what was gained, and what it cost (§4.4)."""
    if reward is None or not len(pools[0]):
        return
    before, prompts = state.policies[-1], draw(run, s, state, "rl-prompts", pools[0], own["rounds"] * s.rl_prompts)
    how = {"prompts": s.rl_prompts, "samples": s.group, "temperature": s.rl_temperature, "level": s.level, **own}
    how |= {"clip_low": s.clip_ratio, "clip_high": s.clip_ratio, "weight_decay": s.weight_decay, "clip": s.clip}
    how |= {"max_new_tokens": s.new_tokens, "pack_tokens": s.batch_tokens, "refuse_above": 1.0, "seed": s.seed}
    how |= {"rewarder": reward, "method": "grpo"}
    trained = run.step("grpo", on_policy.train_fresh, before.weights, prompts, otherwise=before.weights, **how)
    state.policies.append(llm.Local(weights=trained))
    sides = {"before": before, "after": state.policies[-1], "rewarder": reward, "tolerance": s.tolerance}
    sides |= {"heldout": state.heldout, "own": pools[1], "was": state.scores[-1], **grading(s, w)}
    state.scores.append(evaluate.weigh_stage(run, "grpo", drawn=drawing(s, 5, s.rl_temperature), **sides))


def routes(run: Run, state: State, *, inverse: bool) -> list[Rows]:
    """The prompts of a stage, to train on and held out: math and code, or (`inverse`) all others."""
    how = {"abilities": REASONING, "inverse": inverse}
    return [run.step(f"{x}pool", curate.only, rows, **how) for x, rows in zip(PREFIXES, (state.pool, state.heldout))]


def draw(run: Run, s: Settings, state: State, name: str, pool: Rows, count: int) -> Rows:
    """Prompts of a step, abilities in equal shares, unused ones first."""
    how = {"count": count, "grades": {}, "seed": s.seed}
    state.drawn.append(run.step(name, curate.draw_prompts, pool, list(state.drawn), **how))
    return state.drawn[-1]


def drawing(s: Settings, stream: int, temperature: float | None = None) -> Sampling:
    """How answers are drawn: as SFT data, or at a temperature without a cut; each stream has its own random numbers."""
    heat, top_p = (s.temperature, s.top_p) if temperature is None else (temperature, 1.0)
    return Sampling(temperature=heat, top_p=top_p, max_new_tokens=s.new_tokens, seed=1000 * s.seed + stream)


def grading(s: Settings, w: Workers) -> dict[str, Any]:
    """Greedy answers, checked."""
    return {"checkers": w.checkers, "sampling": Sampling(temperature=0.0, max_new_tokens=s.new_tokens)}


def asks(s: Settings) -> int:
    """How many prompts a generator is asked for; stage 2, which draws from most abilities, has enough of them."""
    return s.warm + s.sampled + s.judged + s.annotated + s.rl_prompts * s.reasoning_rounds


def plan(s: Settings, prompt_tokens: int, answer_tokens: int) -> list[tuple[str, int, int, str]]:
    """(step, rows, tokens, kind of work), for a dry run; kind is `sample`, `score`, `train` or `ask`."""
    one, pair = prompt_tokens + answer_tokens, prompt_tokens + 2 * answer_tokens
    drawn, checked = s.sampled * s.samples, s.judged * s.samples
    rows = [
        ("samples", drawn, drawn * answer_tokens, "sample"),
        ("sft", s.mixed, s.sft_epochs * s.mixed * one, "train"),
        ("r1/samples", checked, checked * answer_tokens, "sample"),
        ("r1/rm-reasoning", pairs := checked // 2, s.reward_epochs * pairs * pair, "train"),
        ("r2/judgements", compared := s.annotated + s.heldout_pairs, compared * pair, "ask"),
        ("r2/rm-helpful, safety", s.annotated, s.reward_epochs * s.annotated * pair, "train"),
    ]
    for number, rounds in ((1, s.reasoning_rounds), (2, s.preference_rounds)):
        groups, tokens = rounds * s.rl_prompts, prompt_tokens + s.group * answer_tokens
        for kind in ("sample", "score", "train"):
            rows.append((f"r{number}/grpo, {kind}", groups * s.group, groups * tokens, kind))
    return rows
