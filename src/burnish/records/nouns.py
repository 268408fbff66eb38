"""The nouns. Frozen, slotted, keyword-only; every row has a content-hashed id and the ids of its parents.

A row's id is the hash of all its fields but the id itself, so equal rows have equal ids on every machine and an
edited row is another row. `parents` holds ids of rows (never of files): a response's parent is its prompt, a
judgement's parents are the responses it compared, and so on back to the prompts; `burnish trace` walks them.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, fields, is_dataclass
from functools import cache
from typing import Any

ROLES = ("system", "user", "assistant", "ipython")
STRENGTHS = {1: "marginally better", 2: "slightly better", 3: "better", 4: "significantly better"}
# What people are asked of one answer by itself, and the three replies in the order of their classes 0, 1, 2 (Apple,
# arXiv:2407.21075; spec B.1). The replies on verbosity are unverified.
GRADES = {
    "instruction_following": ("major issue", "minor issue", "no issue"),
    "verbosity": ("too verbose", "too short", "just right"),
    "truthfulness": ("major issue", "minor issue", "no issue"),
    "harmlessness": ("major issue", "minor issue", "no issue"),
}


_LEAVES = frozenset({str, int, float, bool, type(None)})


# A field that came later: it is left out of the plain form while it has its default, so that ids of old rows stay.
LATER: dict[str, Any] = {"later": True}


@cache
def _field_names(kind: type) -> tuple[str, ...] | None:
    return tuple(f.name for f in fields(kind)) if is_dataclass(kind) else None


@cache
def later_fields(kind: type) -> dict[str, Any]:
    """Name -> default of the fields of a noun that its plain form may lack."""
    return {f.name: f.default for f in fields(kind) if f.metadata.get("later")}


def plain(value: Any) -> Any:
    """A noun as JSON-ready plain data: dataclasses become dicts, tuples become lists."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, (list, tuple)):
        return [item if type(item) in _LEAVES else plain(item) for item in value]
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    names = _field_names(type(value))
    if names is None:
        return value
    found = {name: plain(getattr(value, name)) for name in names}
    for name, default in later_fields(type(value)).items():
        if found[name] == plain(default):
            del found[name]
    return found


def content_id(value: Any) -> str:
    """16 hexadecimal digits that depend on the content alone (BLAKE2b of canonical JSON)."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()


def _fill_id(row: Any) -> None:
    if not row.id:
        data = {name: value for name, value in plain(row).items() if name != "id"}
        object.__setattr__(row, "id", content_id([type(row).__name__, data]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message of a dialogue.

    Args:
        role: one of `ROLES`; `ipython` is what a tool printed.
        content: the text, without any template marker.
        end: `turn` when the turn passes to the other speaker (eot), `message` when it goes on (eom: a tool call).
        train: False makes an assistant's message context only, wherever it stands (OpenAI's weight 0).
    """

    role: str
    content: str
    end: str = "turn"
    train: bool = field(default=True, metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How responses are drawn. `temperature` 0 is greedy; `seed` and the prompt id key the random numbers."""

    temperature: float
    max_new_tokens: int
    top_p: float = 1.0
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Prompt:
    """A dialogue that waits for an answer.

    Args:
        messages: the dialogue so far; the last message is a user's or a tool's.
        source: where it comes from (a file and its row, or a generator with its seed).
        ability: the family it exercises (arithmetic, code, safety, ...).
        checker: the name of the checker that can verify an answer, empty if there is none.
        reference: what that checker needs (the gold answer, or JSON); never shown to a policy.
        task: the canonical key of the task (family and operands, before language, template and style).
        route: which reward its answers get in training on fresh answers; empty where there is one for all.
        columns: what else its row held and a reward function asks for, as a JSON object; never shown to a policy.
    """

    messages: tuple[Message, ...]
    source: str = ""
    ability: str = ""
    language: str = "en"
    difficulty: float | None = None
    tags: tuple[str, ...] = ()
    checker: str = ""
    reference: str = ""
    task: str = ""
    route: str = field(default="", metadata=LATER)
    columns: str = field(default="", metadata=LATER)
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """One sampled answer, with the ids that were really drawn.

    Args:
        prompt: id of the prompt.
        messages: the answer parsed into messages (one assistant message, or call, result, answer).
        token_ids: the sampled ids, terminator included when it was drawn.
        logprobs: log p of each id under the sampling distribution's unscaled model, nats.
        model: content id of the weights (or name of the endpoint's model).
        index: which of the K samples of its prompt.
        finish: `stop` or `length`.
    """

    prompt: str
    messages: tuple[Message, ...]
    token_ids: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    model: str = ""
    sampling: Sampling | None = None
    index: int = 0
    finish: str = "stop"
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)

    @property
    def text(self) -> str:
        """What the assistant says in the end: the content of its last message."""
        said = [m.content for m in self.messages if m.role == "assistant"]
        return said[-1] if said else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """A verdict on one response (a score) or on several (a comparison), or *unscored* and why.

    Args:
        prompt: id of the prompt.
        responses: ids of the responses, in the order of the rows (not the order shown).
        judge: who judged, with what identity.
        score: the number for a single response; higher is better.
        winner: index into `responses`; -1 is a tie; None when nothing was compared.
        strength: 1 to 4 (`STRENGTHS`), None for a tie or a score.
        unscored: the reason why there is no verdict; empty when there is one.
        shown: the order in which the responses were shown, as indices into `responses`.
        transcript: what the judge saw and said, as far as it has words.
    """

    prompt: str
    responses: tuple[str, ...]
    judge: str
    score: float | None = None
    winner: int | None = None
    strength: int | None = None
    unscored: str = ""
    shown: tuple[int, ...] = ()
    transcript: str = ""
    edited: tuple[Message, ...] = ()
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attribute:
    """One graded side of an answer, such as helpfulness, on its source's scale."""

    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One reasoning step of an answer: where its text ends, in characters of the last message, and its label.

    `label` is 0 (wrong) to 1 (right), or None where nobody labelled it.
    """

    end: int
    label: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Demonstration:
    """A dialogue and the answer to imitate.

    Args:
        context: all turns before the target.
        response: the target messages; only assistant messages in it are trained.
        model: content id of the weights that wrote the target.
        score: the reward it was chosen by, or the label it came with (1 good, 0 bad), if any.
        attributes: what people graded it for, if they did.
        steps: the steps of its last message in their order, where they are labelled one by one.
        source: the rule that made the row (rejection sampling, a file, ...).
    """

    prompt: str
    context: tuple[Message, ...]
    response: tuple[Message, ...]
    ability: str = ""
    source: str = ""
    model: str = ""
    score: float | None = None
    attributes: tuple[Attribute, ...] = ()
    steps: tuple[Step, ...] = field(default=(), metadata=LATER)
    difficulty: float | None = None
    round: int = 0
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A raw text for pre-training, without turns.

    Args:
        corpus: which part of a mix it belongs to: the name of its file.
        source: the file and the line.
    """

    text: str
    corpus: str = ""
    source: str = ""
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One ranked answer of a preference row.

    Args:
        role: edited, chosen or rejected.
        response: id of the response row it was, if it was one.
        score: its reward or absolute score, where the source has one.
        grades: classes (`GRADES`) of the answer by itself, where the source has them; any of the four may be missing.
    """

    role: str
    messages: tuple[Message, ...]
    response: str = ""
    model: str = ""
    score: float | None = None
    grades: tuple[Attribute, ...] = field(default=(), metadata=LATER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Preference:
    """A dialogue with two or three answers ranked edited > chosen > rejected.

    Args:
        candidates: best first.
        strength: 1 to 4 (`STRENGTHS`), None where the source has none.
        margin: a number beside the ranking, where the source has one.
        capability: the ability family, or the source's own category.
        source: the file and the line, where it was read from one.
    """

    prompt: str
    context: tuple[Message, ...]
    candidates: tuple[Candidate, ...]
    strength: int | None = None
    margin: float | None = None
    annotator: str = ""
    capability: str = ""
    source: str = field(default="", metadata=LATER)
    round: int = 0
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rollout:
    """A fresh row for on-policy training: ids, which of them are trained, their log-probabilities, and a reward.

    `reward` is None when it is missing, which is never the same as 0.
    """

    prompt: str
    prompt_ids: tuple[int, ...]
    token_ids: tuple[int, ...]
    trained: tuple[bool, ...]
    logprobs: tuple[float, ...]
    reward: float | None = None
    model: str = ""
    index: int = 0
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """One number about one model: `value` on `task` with its 95 % interval, from `n` rows, `unscored` beside them."""

    model: str
    task: str
    metric: str
    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    unscored: int = 0
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """A row that did not go on: the row itself as JSON, the rule that dropped it, and a word of detail.

    `unscored` marks rows that could not be judged, which is not the same as judged and found wanting.
    """

    row: str
    noun: str
    reason: str
    detail: str = ""
    unscored: bool = False
    parents: tuple[str, ...] = ()
    id: str = field(default="")

    def __post_init__(self) -> None:
        _fill_id(self)


def dropped(row: Any, reason: str, detail: str = "", *, unscored: bool = False) -> Dropped:
    """Wrap any noun as a dropped row that keeps its id among the parents."""
    text = json.dumps(plain(row), sort_keys=True, ensure_ascii=False)
    return Dropped(
        row=text, noun=type(row).__name__, reason=reason, detail=detail, unscored=unscored, parents=(row.id,)
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """A folder of weights in Hugging Face layout. `id` hashes its contents (`weights_in`); `path` is not identity."""

    path: str
    id: str
    kind: str = "causal"
