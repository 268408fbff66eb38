"""Tasks as prompts with their checkers: what recipes, evaluations and tests draw from the microworld."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from burnish.errors import SettingsError
from burnish.microworld.families import FAMILIES, REGISTRY
from burnish.microworld.split import SPLITS, split_of
from burnish.microworld.tasks import Dials, Task
from burnish.protocols import Checker, Verdict
from burnish.records import Demonstration, Message, Prompt, Response, content_id

PREFIX = "microworld/"
_PATIENCE = 20_000  # draws without a fresh task before a family counts as exhausted


def tasks(
    split: str, family: str, *, seed: int, dials: Dials | None = None, taken: set[str] | None = None
) -> Iterator[Task]:
    """An endless stream of distinct tasks of one family and split; `taken` holds canonical keys not to draw again.

    Raises:
        SettingsError: the family or split is unknown, or the family has no fresh task left.
    """
    if family not in REGISTRY:
        raise SettingsError(f"the microworld has no family {family!r}; its families are {', '.join(FAMILIES)}")
    if split not in SPLITS:
        raise SettingsError(f"the microworld has no split {split!r}; its splits are {', '.join(SPLITS)}")
    taken, dials = set() if taken is None else taken, dials or Dials()
    # A string seeds Random through SHA-512: equal on every machine, unlike hash().
    rng = Random(f"burnish/microworld/{split}/{family}/{seed}")
    while True:
        for _ in range(_PATIENCE):
            task = REGISTRY[family].draw(rng, dials)
            if task.key not in taken and split_of(task.key) == split:
                break
        else:
            raise SettingsError(f"the {split} split of {family!r} has no fresh task left; ask for fewer prompts")
        taken.add(task.key)
        yield task


def as_prompt(task: Task, source: str) -> Prompt:
    """The task as a prompt; the reference is JSON with the gold data and the careful author's answer."""
    return Prompt(
        messages=task.messages, source=source, ability=task.family, language=task.language,
        difficulty=task.difficulty, tags=task.tags, checker=PREFIX + task.family,
        reference=json.dumps({**task.gold, "answer": task.answer}, ensure_ascii=False, sort_keys=True), task=task.key,
    )  # fmt: skip


def prompts(
    split: str, count: int, *, seed: int, families: Sequence[str] | None = None, dials: Dials | None = None
) -> list[Prompt]:
    """`count` prompts, balanced over the families and in turn, no canonical task twice, equal for equal arguments.

    Raises:
        SettingsError: a family or the split is unknown, or has fewer tasks than asked for.
    """
    taken: set[str] = set()
    names = FAMILIES if families is None else tuple(families)
    streams = [tasks(split, name, seed=seed, dials=dials, taken=taken) for name in names]
    source = f"{PREFIX}{split}/{seed}"
    return [as_prompt(next(streams[number % len(streams)]), source) for number in range(count)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FamilyChecker:
    """The exact verifier of one family; it reads the gold data from `Prompt.reference`."""

    family: str

    @property
    def name(self) -> str:
        return PREFIX + self.family

    def check(self, prompt: Prompt, response: Response) -> Verdict:
        return self.check_text(prompt, response.text)

    def check_text(self, prompt: Prompt, text: str) -> Verdict:
        """The verdict on a bare text; a reference of another world is unscored."""
        try:
            gold = json.loads(prompt.reference)
            reason = REGISTRY[self.family].check(gold, text)
        except (ValueError, KeyError, TypeError) as error:
            return Verdict(correct=None, reason=f"the reference does not fit {self.name}: {error!r}")
        return Verdict(correct=not reason, reason=reason)


_CHECKERS = {PREFIX + name: FamilyChecker(family=name) for name in FAMILIES}


def checkers() -> dict[str, Checker]:
    """The verifiers by the name that `Prompt.checker` holds: `microworld/<family>`."""
    return dict(_CHECKERS)


def checks_known_truth(prompt: Prompt) -> bool:
    """True where the oracle knows the answer: the prompt is one of this world's, with its gold data."""
    if prompt.checker not in _CHECKERS:
        return False
    try:
        gold = json.loads(prompt.reference)
    except ValueError:
        return False
    return isinstance(gold, dict) and "answer" in gold


def few_shot(seed: int, *, families: Sequence[str] | None = None) -> list[Demonstration]:
    """One careful train-split example a family, to put before a question. Never a training target."""
    rows = []
    for name in FAMILIES if families is None else families:
        task = next(tasks("train", name, seed=seed))
        rows.append(
            Demonstration(
                prompt=as_prompt(task, f"{PREFIX}few-shot/{seed}").id,
                context=task.messages,
                response=(Message(role="assistant", content=task.answer),),
                ability=name,
                source=f"{PREFIX}few-shot/{task.key}",
                difficulty=task.difficulty,
            )
        )
    return rows


def export_gsm8k(rows: Sequence[Prompt], path: Path) -> int:
    """Write arithmetic prompts as GSM8K rows: question, and an answer of steps, a line each, that ends in `#### N`.

    Raises:
        SettingsError: a prompt is no arithmetic of this world.
    """
    with open(path, "w", encoding="utf-8") as out:
        for prompt in rows:
            if prompt.ability != "arithmetic" or not checks_known_truth(prompt):
                raise SettingsError(f"prompt {prompt.id} is no arithmetic; export family 'arithmetic' only")
            gold = json.loads(prompt.reference)
            steps = gold["answer"].split(". ")[0].split(", ")
            answer = "\n".join([*steps, f"#### {gold['number']}"])
            row = {"question": prompt.messages[-1].content, "answer": answer}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    return len(rows)


def response_to(prompt: Prompt, text: str, *, model: str = "text", index: int = 0) -> Response:
    """A text as a response to a prompt, for tests and small experiments."""
    return Response(
        prompt=prompt.id, messages=(Message(role="assistant", content=text),),
        model=content_id(model) if model == "text" else model, index=index, parents=(prompt.id,),
    )  # fmt: skip
