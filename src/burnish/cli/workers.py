"""Who does the work of a run: from command-line words to a policy, prompts, an annotator, checkers and a judge."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from burnish.errors import DataError, RunError, SettingsError

HELDOUT_SHARE = 0.2  # ASSUMED: share of a prompt file that is never trained on
EMBEDDED = "microworld"  # the name of the base model that comes with the package
DEV_SHARE = 0.1  # ASSUMED: share that only chooses between checkpoints


@dataclass(frozen=True)
class Asked:
    """What the command line said."""

    policy: str = ""
    prompts: str = ""
    heldout: str = ""
    annotator: str = ""
    judge: str = ""
    rewards: tuple[str, ...] = ()  # NAME=SPEC, of a recipe that takes rewards
    limits: tuple[int, float] = (0, 0.0)  # tokens and US dollars that servers may cost; 0 is no limit


@dataclass(frozen=True)
class Chosen:
    """The recipe's workers, which of them are simulated, and those of them that ask a server."""

    workers: Any
    simulated: list[str]

    def look(self, *, unless: Path) -> None:
        """Raises WorkerError for a server that does not answer, or has not the model; a run that is done needs none."""
        for worker in (self.workers.annotator, getattr(self.workers, "judge", None)):
            if hasattr(worker, "asker") and not unless.exists():
                worker.asker.look()


@dataclass(frozen=True)
class Shape:
    """What a dry run multiplies: parameters, tokens of a prompt, floating-point operations a second."""

    parameters: int
    prompt_tokens: int
    flops: float
    device: str


def policy_weights(spec: str) -> Any:
    """Weights of a folder, of a run (its `final`), of a hub id, or the embedded base (`microworld`, or nothing).

    Raises:
        RunError: a run that has no `final` yet.
    """
    from burnish import microworld
    from burnish.models import locate, weights_of

    if spec and (Path(spec) / "run.json").exists():
        if not (Path(spec) / "final").exists():
            raise RunError(f"{spec} is a run without final weights; give its command again, or a folder of its steps")
        spec = str(Path(spec) / "final")
    embedded = spec in ("", EMBEDDED) and not Path(spec or ".", "config.json").exists()
    return microworld.base_weights() if embedded else weights_of(locate(spec))


def assemble(module: Any, asked: Asked, settings: Any) -> Chosen:
    """Build the workers of a recipe.

    Raises:
        SettingsError: a spec that does not exist, or an annotator that cannot judge these prompts.
        DataError: an unreadable or empty file.
    """
    from burnish import microworld
    from burnish.cli.rewards.named import given_rewards, needs_annotator
    from burnish.verify import CHECKERS

    checkers, taken = {**CHECKERS, **microworld.checkers()}, {field.name for field in fields(module.Workers)}
    if not asked.prompts:
        pools = embedded_prompts(settings, module.asks(settings))
    else:
        pools = file_prompts(asked)
    if "dev" not in taken:  # nothing to choose between
        pools["prompts"] = [*pools.pop("dev"), *pools["prompts"]]
    rewards = given_rewards(module, asked, pools["prompts"])
    annotator, judge, simulated = None, None, []
    if needs_annotator(module, asked, settings, pools["prompts"], rewards):
        annotator, judge, simulated = annotator_of(asked, [*pools["prompts"], *pools["heldout"]], checkers)
    if asked.judge:
        judge = pruning_judge(asked, checkers)
        simulated = [role for role in simulated if role != "judge"]
    if asked.judge and "judge" not in taken:
        raise SettingsError(f"{module.__name__.rpartition('.')[2]} has nothing to prune; leave out --judge")
    given = {
        "annotator": annotator,
        "checkers": checkers,
        "judge": judge,
        "rewards": rewards,
        # Three: the base was trained on short documents, and ten examples are longer than any of them.
        "examples": () if asked.prompts else tuple(microworld.few_shot(settings.seed)[:3]),
        **pools,
    }
    mine = {name: value for name, value in given.items() if name in taken}
    workers = module.Workers(policy=policy_weights(asked.policy), **mine)
    return Chosen(workers, [role for role in simulated if role in taken])


def embedded_prompts(settings: Any, count: int) -> dict[str, Any]:
    """The microworld's prompts: a pool to draw rounds from, some to choose by, and held-out ones nobody trains on."""
    from burnish import microworld

    families = len(microworld.FAMILIES)
    dev = families * (3 if settings.annotated < 100 else 30)  # ASSUMED: enough to choose between checkpoints
    heldout = families * (6 if settings.annotated < 100 else 60)  # at least 60 items a family, except at smoke scale
    drawn = microworld.prompts("train", count + dev, seed=settings.seed)
    return {
        "prompts": drawn[dev:],
        "dev": drawn[:dev],
        "heldout": microworld.prompts("heldout", heldout, seed=settings.seed),
    }


def file_prompts(asked: Asked) -> dict[str, Any]:
    """Prompts of a file; unless another file is given, a fifth by hash is held out and a tenth chooses checkpoints."""
    import hashlib

    from burnish.cli.fresh.rewards import columns_of
    from burnish.records import read_prompts, with_columns

    columns = columns_of([pair.partition("=")[2] for pair in asked.rewards])

    def read(file: str) -> list[Any]:
        return with_columns(read_prompts(Path(file)).rows, file, columns)

    rows, held = read(asked.prompts), read(asked.heldout) if asked.heldout else []
    pools: dict[str, list[Any]] = {"prompts": [], "dev": [], "heldout": held}
    for row in rows:
        place = int(hashlib.blake2b((row.task or row.id).encode(), digest_size=4).hexdigest(), 16) / 2**32
        if place < HELDOUT_SHARE and not asked.heldout:
            pools["heldout"].append(row)
        else:
            pools["dev" if HELDOUT_SHARE <= place < HELDOUT_SHARE + DEV_SHARE else "prompts"].append(row)
    for name, part in pools.items():
        if not part:
            raise DataError(f"{asked.prompts} has {len(rows)} prompts, which leaves none for {name}; give more prompts")
    return pools


def annotator_of(asked: Asked, prompts: list[Any], checkers: dict[str, Any]) -> tuple[Any, Any, list[str]]:
    """The annotator of a spec, the judge for pruning, and the roles that are simulated."""
    from burnish import annotate, microworld

    spec = asked.annotator or ("simulated" if not asked.prompts else "")
    if spec == "simulated":
        unknown = [p for p in prompts if not microworld.checks_known_truth(p)]
        if unknown:
            raise SettingsError(
                f"--annotator simulated needs prompts of known truth, and {len(unknown)} are not the microworld's "
                f"(the first: {unknown[0].source or unknown[0].id}); name a checker (math) or a reward model folder"
            )
        oracle = microworld.Oracle()
        return annotate.Simulated(oracle=oracle), oracle, ["annotator", "judge"]
    if not spec:
        names = sorted({p.checker for p in prompts if p.checker})
        said = f"these prompts name {', '.join(names)}" if names else "these prompts name no checker"
        raise SettingsError(
            f"say who compares answers: --annotator CHECKER, a reward model folder or a server ({said})"
        )
    if asker := server_of(spec, asked):
        from burnish.judge import Pairwise, Quality

        return Pairwise(asker=asker), Quality(asker=asker), []
    if (Path(spec) / "config.json").exists():
        from burnish.judge import RewardModel
        from burnish.models import weights_of

        return annotate.JudgeAnnotator(judge=RewardModel(weights=weights_of(spec))), None, []
    if spec not in checkers:
        from burnish.runs import nearest

        raise SettingsError(
            f"--annotator {spec} is no checker, no reward model folder and no server (http://host:8000/v1#model); "
            f"{nearest(spec, checkers)}"
        )
    if not any(p.reference for p in prompts):
        raise SettingsError(
            f"--annotator {spec} needs reference answers, and none of the {len(prompts)} prompts has one; add a column "
            "reference, or GSM8K's answer"
        )
    checker = annotate.CheckerAnnotator(checker=checkers[spec])
    return checker, checker, []


def look_at(asked: Asked, *, unless: Path) -> None:
    """Raises WorkerError for a server that does not answer, or has not the model; a run that is done needs none."""
    for spec in dict.fromkeys((asked.annotator, asked.judge)):
        if not unless.exists() and (asker := server_of(spec, asked)):
            asker.look()


def server_of(spec: str, asked: Asked) -> Any:
    """The endpoint of a spec, with what the run may spend; None where the spec is no URL."""
    from burnish.cli.servers.estimates import with_budget
    from burnish.llm.requests import parse_endpoint

    endpoint = parse_endpoint(spec)
    return with_budget(endpoint, *asked.limits) if endpoint else None


def pruning_judge(asked: Asked, checkers: dict[str, Any]) -> Any:
    """Who grades for pruning, where `--judge` says so: a server (three points), a checker, or nobody.

    Raises:
        SettingsError: none of these.
    """
    from burnish import annotate
    from burnish.judge import Quality
    from burnish.runs import nearest

    if asked.judge == "none":
        return None
    if asker := server_of(asked.judge, asked):
        return Quality(asker=asker)
    if asked.judge not in checkers:
        raise SettingsError(f"--judge {asked.judge} is no server (http://host:8000/v1#model), no checker and not none; "
                            f"{nearest(asked.judge, checkers)}")  # fmt: skip
    return annotate.CheckerAnnotator(checker=checkers[asked.judge])


def judge_of(
    spec: str,
    *,
    how: str,
    rubric: Path | None,
    both: bool,
    ties: bool,
    seed: int,
    limits: dict[str, float],
    chat: str,
    device: str,
    dtype: str,
) -> Any:
    """The judge of `burnish judge`: a server asked in one of several ways, or a reward model folder.

    Raises:
        SettingsError: a spec that is neither, or an option that does not go with it.
    """  # fmt: skip
    from burnish.cli.servers.estimates import with_budget
    from burnish.judge import RewardModel, read_rubric
    from burnish.judge.files import HOW, judge_asking
    from burnish.llm.requests import parse_endpoint
    from burnish.runs import nearest

    if endpoint := parse_endpoint(spec):
        how = how or "pairwise"
        if how not in HOW:
            near = nearest(how, HOW)
            meant = f"; {near}" if near.startswith("did") else ""
            raise SettingsError(f"--how {how} is none of {', '.join(HOW)}{meant}")
        if how != "pairwise" and not (both and ties):
            raise SettingsError(f"--one-order and --no-ties are for --how pairwise, not for {how}")
        more = {"both": both, "ties": ties, "seed": seed} if how == "pairwise" else {}
        asker = with_budget(endpoint, int(limits["tokens"]), limits["money"])
        return judge_asking(how, asker, rubric=read_rubric(rubric) if rubric else None, **more)
    if not (Path(spec) / "config.json").exists():
        raise SettingsError(f"--judge {spec} is no server (http://host:8000/v1#model) and no reward model folder")
    if how or rubric or not (both and ties) or any(limits.values()):
        raise SettingsError(f"--judge {spec} is a reward model, which scores answers one by one: leave out --how, "
                            "--rubric, --one-order, --no-ties and the budget")  # fmt: skip
    with_compute(device, dtype)
    return RewardModel(policy_weights(spec), format=chat or None)


def with_compute(device: str, dtype: str) -> None:
    """Compute in this process, on this device."""
    from burnish.runs import choose_compute
    from burnish.runs.compute import set_compute
    from burnish.runs.workers import fix_threads

    compute = choose_compute(device=device, dtype=dtype)
    set_compute(compute)
    fix_threads(compute.threads)


def asking_costs(asked: Asked, work: dict[str, int], shape: Shape, answer_tokens: int) -> Any:
    """What servers would be asked at most by a run: an `Estimate`, scaled up from a question of mean length each.

    Args:
        work: rows of the steps `judgements` and `pruned`, over all rounds.
        answer_tokens: answers are counted at their longest.
    """
    from burnish.judge import Pairwise, Quality
    from burnish.judge.files import Listing
    from burnish.llm.operations import REASKS
    from burnish.llm.requests import Estimate, estimate
    from burnish.records import Message, Prompt, Response

    word = "abcd "  # about a token
    prompt = Prompt(messages=(Message(role="user", content=word * shape.prompt_tokens),))
    texts = (word * answer_tokens, "efgh " * answer_tokens)
    both = tuple(Response(prompt=prompt.id, messages=(Message(role="assistant", content=text),)) for text in texts)
    compares, grades = server_of(asked.annotator, asked), server_of(asked.judge or asked.annotator, asked)
    total = Estimate()
    for endpoint, rows, put in (
        (compares, work["judgements"], lambda asker: Pairwise(asker=asker).compare([(prompt, both)])),
        (grades, work["pruned"], lambda asker: Quality(asker=asker).judge([prompt], both[:1])),
    ):
        if endpoint is not None:
            put(listing := Listing(endpoint.identity))
            total = total.plus(estimate(listing.requests, reasks=REASKS).times(rows))
    return total


def described(settings: Any, paper: Any) -> dict[str, Any]:
    """Every setting with its value, that of the published (`paper`), and where the number comes from."""
    from burnish.runs import sources

    said = sources(type(settings))
    table = {}
    for field in fields(settings):
        value, published, source = getattr(settings, field.name), getattr(paper, field.name), said[field.name]
        kind = "DEVIATION" if source.kind == "source" and value != published else source.kind
        table[field.name] = {"value": value, "paper": published, "kind": kind, "source": source.text}
    return table


def measure(asked: Asked) -> Shape:
    """Parameters of the policy, tokens of its prompts, and the speed of a matrix product on this machine."""
    from burnish.chat import load_tokens
    from burnish.models import matrix_rate, stream_tensors

    weights = policy_weights(asked.policy)
    parameters = sum(tensor.numel() for _, tensor in stream_tensors(Path(weights.path)))
    flops, device = matrix_rate()
    from burnish import microworld
    from burnish.records import read_prompts

    rows = read_prompts(Path(asked.prompts)).rows if asked.prompts else microworld.prompts("train", 50, seed=0)
    tokens = load_tokens(weights.path)
    lengths = [sum(len(tokens.encode_text(m.content)) for m in row.messages) for row in list(rows)[:50]]
    return Shape(parameters, sum(lengths) // len(lengths), flops, device)
